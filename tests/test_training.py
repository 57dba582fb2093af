"""A few real steps of every script, at a tiny size, in this process."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    PROJECT,
    SCRIPTS,
    arrays_of,
    digest_of,
    log_of,
    meta_of,
    state_arrays,
    task_of,
    write_pictures,
)

from util.run import checkpoint
from util.run.folder import RunFolder
from util.run.report import Report
from util.samples.batches import stack
from util.samples.split import Split
from util.say import UserError
from util.train import begin, loop
from util.use import trained

pytestmark = pytest.mark.usefixtures("empty_pictures")
every_script = pytest.mark.parametrize("script", SCRIPTS)


def started(task, settings):
    """Return a new state, its compiled step and the training samples."""
    sample, _ = task.samples(settings, progress=False)
    keras.utils.set_random_seed(settings.seed)
    state = task.make_state(settings)
    return state, loop.make_step(task, state, settings), sample


def batch_of(sample, settings, step=0):
    numbers = range(step * settings.batch_size, (step + 1) * settings.batch_size)
    return {name: tf.constant(v) for name, v in stack(sample, numbers).items()}


def train(task, settings, folder=None):
    """Run the real loop; return its exit status and the newest checkpoint's path."""
    run_dir = folder or RunFolder(task.name, settings).path
    status = loop.train(task, settings, tf.distribute.get_strategy())
    return status, max((run_dir / "checkpoints").glob("step-*.npz"))


# --- networks -----------------------------------------------------------------------------------


def test_mod_defog_has_as_many_weights_as_published(tiny_settings, tmp_path):
    source = {"norm": "batch", "upsampling": "transposed", "head": "unmix"}
    settings = tiny_settings(tmp_path, base_width=8, **source)
    (network,) = task_of("mod_defog").make_state(settings).networks.values()
    counted = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert counted == 2_392_524


@every_script
def test_what_is_restored_has_the_size_of_the_picture(script, tiny_settings, tmp_path):
    task = task_of(script)
    # Each kind of what the network's last channels mean.
    heads = ("unmix", "direct") if hasattr(task.settings, "head") else (None,)
    for head in heads:
        settings = tiny_settings(tmp_path, script, **({"head": head} if head else {}))
        networks = task.make_state(settings).networks
        rng = np.random.default_rng(0)
        batch = {n: rng.random((2, 64, 96, c), np.float32) for n, c in task.kind.given.items()}
        restored = task.restore(networks, {n: tf.constant(v) for n, v in batch.items()}, settings)
        assert restored["restored"].shape == (2, 64, 96, 3)
        for values in restored.values():
            assert values.shape[:3] == (2, 64, 96)
            assert 0 <= float(tf.reduce_min(values)) <= float(tf.reduce_max(values)) <= 1


# What makes every network of a script train, on its reconstruction.
# A membrane fits smooth pictures too well for twenty steps to better it.
_REPAINTING = {"reconstruction_steps": 1000, "balance_ratio": 0.0, "painting": "fill"}
LEARNING = {
    "mod_mend": {"gate_loss": 1e9},
    "mod_GAN_spot": _REPAINTING,
    "mod_GAN_poly": _REPAINTING,
    # The sigmoid: a constant added to all scores changes no other loss of a critic.
    "mod_deblurgan": {"adversarial": "source", "dropout": 0.0},
}


def loss_of(metrics):
    """Return the loss that a script's main network minimises: the first of its losses."""
    return float(next(value for name, value in metrics.items() if name.startswith("loss")))


# --- steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "norm"),
    # All of them train with batch norm, whose averages move as well; how the others are built
    # into the networks is tested with those.
    [("mod_defog", "none"), ("mod_mend", "none"), *((s, "batch") for s in SCRIPTS)],
)
def test_every_variable_moves_the_loss_of_one_batch_falls_and_a_file_holds_all_of_it(
    script, norm, tiny_settings, tmp_path
):
    settings = tiny_settings(
        tmp_path,
        script,
        norm=norm,
        warmup_steps=0,
        steps=1000,
        learning_rate=3e-3,
        **LEARNING.get(script, {}),
    )
    task = task_of(script)
    state, step, sample = started(task, settings)
    batch = batch_of(sample, settings)
    before = {v.path: v.numpy() for network in state.networks.values() for v in network.variables}
    first = loss_of(step(batch)[0])
    for _ in range(20):
        metrics, skipped = step(batch)
    assert loss_of(metrics) < 0.9 * first
    assert int(skipped) == int(state.skipped) == 0
    assert int(state.step) == 21
    for network in state.networks.values():
        for variable in network.variables:
            if "bias" in variable.path and norm != "none":
                continue  # a norm right behind it takes any constant out again
            assert not np.array_equal(before[variable.path], variable.numpy()), variable.path

    # To a file, and back into a state that has gone further: the same steps end alike.
    checkpoint.save(tmp_path / "kept" / "step-0000021.npz", state, {})
    kept, ends = state.digest(), []
    for _ in range(2):
        for number in (1, 2):
            step(batch_of(sample, settings, number))
        ends.append(state.arrays())
        assert state.digest() != kept
        checkpoint.restore_newest(tmp_path / "kept", state)
        assert state.digest() == kept
    for name, values in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], values, err_msg=name)
    assert step.experimental_get_tracing_count() == 1  # tracing takes longer than many steps


@every_script
def test_a_step_with_nan_changes_only_the_counters(script, one_by_one):
    state, step, make, _ = one_by_one(script, norm="batch")
    batch = make()
    step(batch)
    before = state.arrays()
    name = next(iter(task_of(script).kind.given))
    spoilt = batch[name].numpy()
    spoilt[1, 5, 5, 0] = np.nan
    step({**batch, name: tf.constant(spoilt)})
    after = state.arrays()
    changed = {n for n in before if not np.array_equal(before[n], after[n], equal_nan=True)}
    assert changed == {"step", "skipped", "skipped_in_a_row"}


# --- the loop -----------------------------------------------------------------------------------


def test_stopping_after_any_step_changes_nothing(tiny_settings, tmp_path, monkeypatch):
    task = task_of(SCRIPTS[0])
    straight = tiny_settings(tmp_path / "straight")
    status, path = train(task, straight)
    assert status == 0
    assert path.name == "step-0000012.npz"

    # Sheets at other steps, the early one among them: to look changes nothing either.
    pieces = tiny_settings(tmp_path / "pieces", sheet_every=11)
    digests, stops = set(), (1, 5, 12)  # at the very first step, within an interval, at the end
    for stop_after in stops:
        with monkeypatch.context() as patch:
            done = []
            patch.setattr(Report, "step", lambda self, step, done=done: done.append(step))
            patch.setattr(
                loop.interrupt,
                "requested",
                lambda done=done, stop=stop_after: done[-1] >= stop,
            )
            status, part = train(task, pieces)
        assert status == 0
        assert part.name == f"step-{stop_after:07d}.npz"
        digests.add(digest_of(part))
    assert len(digests) == len(stops)  # different steps differ, so equality says something
    assert digest_of(part) == digest_of(path)
    sheets = {p.stem[-2:] for p in (part.parents[1] / "sheets").iterdir()}
    assert sheets == {"10", "11", "12"}


# The scripts whose steps change more than networks and optimisers: it is in the digests, too.
MOVING = {
    "mod_mend": {"variables/stage1_mean_loss"},
    "mod_GAN_poly": {
        f"variables/{name}" for name in ("history_pictures", "balance_losses", "balance_count")
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("script", MOVING)
def test_going_on_within_an_interval_ends_like_a_straight_run(script, tiny_settings, tmp_path):
    """Stopping itself, which is common to all scripts, is tested above."""
    task = task_of(script)
    straight, pieces = (
        tiny_settings(tmp_path / name, script, save_every=5, sheet_every=12)
        for name in ("straight", "pieces")
    )
    status, end = train(task, straight)
    assert status == 0
    middle = end.with_name("step-0000005.npz")
    before, after = state_arrays(middle), state_arrays(end)
    assert MOVING[script] <= {n for n in after if not np.array_equal(before[n], after[n])}
    run = RunFolder(script, pieces)
    run.checkpoints.mkdir(parents=True)
    shutil.copy(middle, run.checkpoints)
    status, again = train(task, pieces)
    assert status == 0
    assert digest_of(again) == digest_of(end) != digest_of(middle)
    assert log_of(run.path) == [r for r in log_of(end.parents[1]) if int(r["step"]) > 5]


# Ops whose output is their input's memory.
_SAME_MEMORY = {"Reshape", "Identity", "ExpandDims", "Squeeze", "StopGradient", "EnsureShape"}


def sums_in_any_order(graph):
    """Return the sums of a traced step that TensorFlow may begin with one summand or another.

    AddN puts the first summand that nothing else still needs in front. While others may be at work
    on it, which one that is depends on who is quicker; the first two may change places freely.
    """
    live, wanted = set(), [t.op for t in graph.outputs] + graph.control_outputs
    wanted += [op for op in graph.get_operations() if op.op_def.is_stateful]
    while wanted:
        op = wanted.pop()
        if op not in live:
            live.add(op)
            wanted += [*(t.op for t in op.inputs), *op.control_inputs]

    def needed_once(tensor):
        takers = live & set(tensor.consumers())
        if sum(given is tensor for op in takers for given in op.inputs) > 1:
            return False
        return tensor.op.type not in _SAME_MEMORY or needed_once(tensor.op.inputs[0])

    sums = [op for op in live if op.type == "AddN" and len(op.inputs) > 2]
    assert not any("AddN" in str(f) for f in graph.as_graph_def().library.function)
    return [op for op in sums if not any(map(needed_once, op.inputs[:2]))]


@every_script
def test_sums_of_gradients_are_added_in_an_order_that_is_fixed(script, tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path, script)
    _, step, sample = started(task_of(script), settings)
    found = sums_in_any_order(step.get_concrete_function(batch_of(sample, settings)).graph)
    assert not found, [[t.name for t in op.inputs] for op in found]


def test_a_sum_whose_order_depends_on_who_is_quicker_is_seen():
    @tf.function(autograph=False)
    def step(x):
        a, b, c = tf.exp(x), tf.sin(x), tf.cos(x)
        fixed, free = tf.add_n([a, tf.tanh(x), b]), tf.add_n([a, b, c])
        return fixed + free, tf.reduce_sum(a), tf.reduce_sum(b)

    graph = step.get_concrete_function(tf.zeros(3)).graph
    assert [len(op.inputs) for op in sums_in_any_order(graph)] == [3]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["mod_defog", "mod_colorize", "mod_deblurgan"])
def test_going_on_at_full_size_ends_like_a_straight_run(script, tmp_path):
    """In small networks sums come out alike in any order, and hid that these three did not."""
    often = {"log": 4, "save": 4, "validate": 4000, "sheet": 4000}
    words = [f"--{name}-every={steps}" for name, steps in often.items()]
    words += ["--steps=8", "--validation-samples=1", f"--cache-folder={tmp_path / 'cache'}"]

    def end(name):
        words_here = [sys.executable, f"{PROJECT / script}.py", f"--runs-folder={tmp_path / name}"]
        subprocess.run([*words_here, *words], check=True, capture_output=True, timeout=600)
        return tmp_path / name / script / "checkpoints" / "step-0000008.npz"

    straight = end("straight")
    middle = straight.with_name("step-0000004.npz")
    checkpoints = tmp_path / "pieces" / script / "checkpoints"
    checkpoints.mkdir(parents=True)
    shutil.copy(middle, checkpoints)
    assert digest_of(end("pieces")) == digest_of(straight) != digest_of(middle)


def test_another_seed_gives_another_run(tiny_settings, tmp_path):
    task = task_of("mod_defog")
    ends = [
        digest_of(train(task, tiny_settings(tmp_path / str(s), seed=s, steps=2))[1]) for s in (0, 1)
    ]
    assert ends[0] != ends[1]


def test_twenty_bad_steps_in_a_row_stop_with_the_last_good_state_kept(
    tiny_settings, tmp_path, capsys
):
    """As when a picture store breaks for good: all samples from number 40 on are NaN."""
    task = task_of("mod_defog")

    def spoilt(settings, progress=True, grounds=None, split=None):
        sample, validation = task.samples(settings, progress, grounds, split)

        def broken(number):
            values = sample(number)
            if number >= 40:
                values["cloudy"] = np.full_like(values["cloudy"], np.nan)
            return values

        return broken, validation

    bad = replace(task, samples=spoilt)
    settings = tiny_settings(tmp_path, steps=200, save_every=10, norm="batch", keep_checkpoints=9)
    status, path = train(bad, settings)
    assert status == 1
    assert "20 steps in a row" in capsys.readouterr().err
    good, end = state_arrays(path.with_name("step-0000010.npz")), state_arrays(path)
    assert int(end["step"]) < 40
    assert int(end["skipped"]) == int(end["step"]) - 10 >= 20
    for name, array in good.items():
        if name.startswith(("networks/", "optimizers/")):
            np.testing.assert_array_equal(end[name], array, err_msg=name)

    status, path = train(task, settings.__class__(**{**vars(settings), "steps": 40}))
    assert status == 0  # with sound samples it goes on from there
    assert int(state_arrays(path)["skipped_in_a_row"]) == 0


def test_weights_that_blew_up_push_no_sound_ones_out(tiny_settings, tmp_path, capsys):
    """The step that blows weights up is finite itself; all after it are not, at any rate."""

    def train_step(state, batch, settings):
        weights = state.networks["unet"].trainable_variables
        slope = tf.cast(state.step == 4, tf.float32)  # the fifth step is the one that moves them
        slope = tf.where(tf.reduce_max(tf.abs(weights[0])) > 100.0, np.nan, slope)

        def compute(batch):
            return {"unet": [slope + tf.zeros_like(w) for w in weights]}, {"loss": slope}

        return state.update(compute, batch).metrics

    task = replace(task_of("mod_defog"), train_step=train_step)
    seldom = {"validate_every": 200, "sheet_every": 200, "keep_checkpoints": 2}
    start = partial(tiny_settings, tmp_path, **{"steps": 200, "warmup_steps": 0} | seldom)
    run = RunFolder(task.name, start())

    def names():
        return [step for step, _ in reversed(checkpoint.found(run.checkpoints))]

    assert train(task, start(learning_rate=1e3, save_every=4))[0] == 1
    assert names() == [4, 8, 12, 16, 20, 24]
    said = capsys.readouterr().err
    assert "with the weights of step 5. If those have blown up, remove step-0000008.npz and" in said
    assert f"newer ones from {run.checkpoints} and go on from step-0000004.npz with a lower" in said

    for path in run.checkpoints.glob("step-000002*"):
        path.unlink()
    assert train(task, start(learning_rate=1e-5, save_every=100))[0] == 1
    assert names() == [4, 8, 12, 16]  # nothing was learned, so nothing new is saved
    said = capsys.readouterr().err
    assert "with the weights of step 5. If those have blown up, remove step-0000008.npz and" in said

    of = partial(checkpoint.path_of, run.checkpoints)
    # A best network that came later is of no more use than they are.
    for best, said in ((4, f" --from {run.best}"), (8, "")):
        os.replace(of(best), run.best)
        assert train(task, start(learning_rate=1e-5, save_every=100))[0] == 1
        expected = f"begin anew with --fresh{said} and a lower learning_rate"
        assert expected in capsys.readouterr().err


def test_a_batch_that_devices_cannot_share_is_refused(tiny_settings, tmp_path):
    class TwoReplicas:
        num_replicas_in_sync = 2
        cluster_resolver = None

    with pytest.raises(UserError, match="batch_size = 3"):
        loop.train(task_of("mod_defog"), tiny_settings(tmp_path, batch_size=3), TwoReplicas())


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(*3 * [None])])
def test_too_little_memory_names_what_takes_it(tiny_settings, tmp_path, error):
    def full(*given):
        raise error

    task, settings = task_of("mod_mend"), tiny_settings(tmp_path, "mod_mend")
    with pytest.raises(UserError) as refused:
        loop.train(replace(task, train_step=full), settings, tf.distribute.get_strategy())
    taken = "batch_size = 4, crop_px = 64, stage1_width = 2, stage2_width = 2: lower"
    assert taken in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_without_pictures_names_the_setting(tiny_settings, tmp_path):
    (tmp_path / "empty").mkdir()
    settings = tiny_settings(tmp_path, clear_folder=str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"clear_folder = .*empty.*no picture found"):
        task_of("mod_defog").samples(settings)


def test_the_best_score_stands_only_if_its_network_was_saved(tiny_settings, tmp_path, monkeypatch):
    """Else a later network, better than what is on the disk, would not be kept."""
    task, settings = task_of("mod_defog"), tiny_settings(tmp_path, steps=4)
    save = loop.checkpoint.save

    def failing(path, state, meta):
        if path.name == "best.npz":
            raise OSError(28, "No space left on device")
        save(path, state, meta)

    monkeypatch.setattr(loop.checkpoint, "save", failing)
    _, path = train(task, settings)
    with np.load(path) as archive:
        assert np.isnan(archive["best_score"])


def test_a_new_run_begins_with_the_networks_it_is_given(tiny_settings, tmp_path, capsys):
    task = task_of("mod_defog")
    settings = tiny_settings(tmp_path / "first", steps=2)
    _, path = train(task, settings)
    still = {"learning_rate": 1e-12, "steps": 1}
    settings = tiny_settings(tmp_path / "second", **still)
    strategy = tf.distribute.get_strategy()
    assert loop.train(task, settings, strategy, path) == 0
    assert f"the networks begin as those of {path} (step 2)" in capsys.readouterr().err
    (newest,) = RunFolder(task.name, settings).checkpoints.glob("step-*.npz")
    with np.load(path) as before, np.load(newest) as after:
        for name in filter(lambda n: n.startswith("networks/"), before.files):
            np.testing.assert_allclose(after[name], before[name], atol=1e-9)
        assert after["step"] == 1
    # Once there is a run it goes on, whatever it began with.
    settings = tiny_settings(tmp_path / "second", **still | {"steps": 2})
    assert loop.train(task, settings, strategy, tmp_path / "gone.npz") == 0
    other = tiny_settings(tmp_path / "third", base_width=4)
    with pytest.raises(UserError, match="belongs to other networks"):
        loop.train(task, other, strategy, path)
    with pytest.raises(UserError, match=r"--from .*gone\.npz: no such file"):
        loop.train(task, other, strategy, tmp_path / "gone.npz")


def test_what_a_run_begins_with_is_its_best_network_until_it_is_bettered(tiny_settings, tmp_path):
    task = task_of("mod_defog")
    _, path = train(task, tiny_settings(tmp_path / "first", steps=2))
    harmful = {"learning_rate": 0.5, "warmup_steps": 0, "log_every": 1, "validate_every": 1}
    settings = tiny_settings(tmp_path / "second", steps=2, **harmful)
    assert loop.train(task, settings, tf.distribute.get_strategy(), path) == 0
    run = RunFolder(task.name, settings)
    with np.load(path) as before, np.load(run.best) as best:
        assert best["step"] == 0
        for name in filter(lambda n: n.startswith("networks/"), before.files):
            np.testing.assert_array_equal(best[name], before[name])
    rows = log_of(run.path)
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    score = f"validation_{task.measure.best[0]}"
    assert float(rows[0][score]) > max(float(row[score]) for row in rows[1:])
    assert not rows[0]["loss"]
    assert rows[1]["loss"]


def test_where_averages_restore_they_begin_with_the_networks_given(
    tiny_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop._Start, "steps", lambda *given: 0)  # what is before them is looked at
    task, path = task_of("mod_GAN_spot"), tmp_path / "weights.npz"
    settings = tiny_settings(tmp_path, task.name)
    keras.utils.set_random_seed(5)
    given = task.make_networks(settings)
    checkpoint.save_networks(path, given, 7, {"script": task.name})
    checkpoint.load_networks(path, given)  # in half precision, as the file has them
    assert loop.train(task, settings, tf.distribute.get_strategy(), path) == 0
    with np.load(RunFolder(task.name, settings).best) as best:
        assert best["step"] == 0
        for variable in given["generator"].variables:
            for kind in ("networks", "averages"):
                found = best[f"{kind}/generator/{variable.path}"]
                np.testing.assert_array_equal(found, variable.numpy())


def test_another_scripts_weights_are_taken_where_they_fit(tiny_settings, tmp_path):
    spot, path = task_of("mod_GAN_spot"), tmp_path / "weights.npz"
    given = spot.make_networks(tiny_settings(tmp_path, spot.name))
    checkpoint.save_networks(path, given, 7, {"script": spot.name})
    for script in ("mod_GAN_poly", "mod_defog"):
        task = task_of(script)
        state = task.make_state(tiny_settings(tmp_path, script))
        if script == "mod_GAN_poly":
            begin.begin_with(path, task, state)
            continue
        with pytest.raises(UserError) as refused:
            begin.begin_with(path, task, state)
        expected = f"--from {path}: belongs to mod_GAN_spot, not to mod_defog"
        assert str(refused.value) == expected


def test_what_the_weights_lack_begins_anew(tiny_settings, tmp_path):
    """Those that paint come without a discriminator."""
    task, settings = task_of("mod_GAN_spot"), tiny_settings(tmp_path, "mod_GAN_spot")
    given, path = task.make_networks(settings), tmp_path / "weights.npz"
    checkpoint.save_networks(path, given, 7, {})
    state = task.make_state(settings)
    before = state.arrays()
    begin.begin_with(path, task, state)
    for variable in given["generator"].variables:
        found = state.arrays()[f"networks/generator/{variable.path}"]
        np.testing.assert_allclose(found, variable.numpy(), atol=1e-3)
    same = [n for n, array in state.arrays().items() if np.array_equal(array, before[n])]
    assert any(name.startswith("networks/discriminator") for name in same)
    assert "networks/generator/down1/kernel" not in same


def test_a_run_keeps_its_split_and_says_what_came_and_went(tiny_settings, tmp_path, capsys):
    """Best is measured again when what is held back is no longer what it was."""
    folder = write_pictures(tmp_path / "clear", 3, 6, 3)  # of six, 3 is held back
    task = task_of("mod_defog")
    how = {"clear_folder": str(folder), "validate_every": 1, "log_every": 1, "noise_share": 1.0}
    start = partial(tiny_settings, tmp_path, **how)
    _, path = train(task, start(steps=1))
    assert "clear_folder:" not in capsys.readouterr().err
    first = meta_of(path)["split"]
    assert meta_of(path.parents[1] / "best.npz")["split"] == first
    before = arrays_of(path)["best_score"]

    _, path = train(task, start(steps=2))
    assert "clear_folder:" not in capsys.readouterr().err
    assert meta_of(path)["split"] == first

    for number in "abcd":  # of ten, two are held back: one of the new
        shutil.copy(folder / "0.png", folder / f"{number}.png")
    (folder / "5.png").unlink()
    shutil.copy(path.parents[1] / "best.npz", tmp_path / "best.npz")
    _, path = train(task, start(steps=3, validate_every=100, learning_rate=1e-9))
    said = "clear_folder: of its pictures 4 came (3 to train on, 1 held back), 1 went\n"
    assert capsys.readouterr().err.count(said) == 1
    assert meta_of(path)["split"] != first
    again = arrays_of(path)["best_score"]
    assert again != before

    settings = start(steps=3)
    network = trained.load(task, settings, tmp_path / "best.npz")
    _, validation = task.samples(settings, False, None, Split(settings, meta_of(path)))
    assert {p.name for p in validation.ground.store.paths} == {"3.png", "c.png"}
    measured = loop.Validation(task, network.networks, settings, validation).scores()
    expected = measured[task.measure.best[0]]
    assert again == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("script", "changes"),
    [
        ("mod_defog", {"norm": "own", "head": "direct"}),
        ("mod_pix2pix", {"norm": "batch", "used_as_trained": True, "output": "direct"}),
    ],
)
def test_what_is_validated_beside_others_is_what_apply_makes_of_it_alone(
    script, changes, tiny_settings, tmp_path
):
    task, settings = task_of(script), tiny_settings(tmp_path, script, batch_size=3, **changes)
    state, _, sample = started(task, settings)
    several = loop.Validation(task, state.networks, settings, sample).outputs()["restored"]
    assert len(several) == 4  # in two batches: the second is filled up
    for number, restored in enumerate(several):
        batch = {n: tf.constant(v) for n, v in stack(sample, [number]).items()}
        alone = task.restore(state.networks, batch, settings)["restored"]
        np.testing.assert_allclose(restored, alone[0], atol=1e-5)


def test_best_is_measured_again_on_other_samples_and_only_then(
    tiny_settings, tmp_path, monkeypatch
):
    task, measured, best_score = task_of("mod_defog"), [], loop._best_score
    clear = {"clear_share": 1.0, "veil_share": 0.0, "cumulus_share": 0.0, "haze_share": 0.0}
    start = partial(tiny_settings, tmp_path, noise_share=1.0, learning_rate=1e-9, **clear)
    _, path = train(task, start(steps=1))
    before = arrays_of(path)["best_score"]

    def noted(*given):
        measured.append(best_score(*given))
        return measured[-1]

    monkeypatch.setattr(loop, "_best_score", noted)
    train(task, start(steps=2))
    assert measured == []
    _, path = train(task, replace(start(steps=3), clear_share=0.0, greatest_opacity=(1.0, 1.0)))
    (again,) = measured
    assert arrays_of(path)["best_score"] == pytest.approx(again, rel=1e-5)
    assert abs(again - before) > 0.1
    train(task, replace(start(steps=4), clear_share=0.0, greatest_opacity=(1.0, 1.0)))
    assert measured == [again]


def test_where_the_best_network_is_gone_the_next_one_is_kept(
    tiny_settings, tmp_path, monkeypatch, capsys
):
    scores = iter([{"psnr_seen": value} for value in (30.0, 20.0, np.nan)])
    monkeypatch.setattr(loop.Validation, "scores", lambda self: next(scores))
    still = replace(task_of("mod_defog"), train_step=lambda *given: {"loss": tf.constant(1.0)})
    start = partial(tiny_settings, tmp_path, validate_every=2, sheet_every=100)
    run = RunFolder(still.name, start())
    for steps in (2, 4):
        _, path = train(still, start(steps=steps))
        assert f"the best network is {run.best}" in capsys.readouterr().err
        assert checkpoint.step_in(run.best) == steps
        run.best.unlink()
    assert arrays_of(path)["best_score"] == 20.0
    train(still, start(steps=6))  # a score that is no number makes no network the best
    assert "the best network is" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "name", "value", "changes"),
    [
        ("mod_GAN_cloud", "adversarial_weight", 0.5, True),
        ("mod_GAN_poly", "adversarial_weight", 0.5, False),  # its score is of the hole alone
        ("mod_pix2pix", "used_as_trained", True, True),
        ("mod_pix2pix", "clear_below", 0.4, True),
        ("mod_defog", "clear_below", 0.4, False),
        ("mod_defog", "dimmed", 0.3, True),
        ("mod_mend", "cloud_white", 0.5, True),
        ("mod_mend", "learning_rate", 0.5, False),
        ("mod_mend", "seed", 5, True),
    ],
)
def test_which_settings_change_a_score(script, name, value, changes, tiny_settings, tmp_path):
    task, settings = task_of(script), tiny_settings(tmp_path, script)
    meta = json.loads(json.dumps(loop.describe(task, settings, {})))
    assert not begin.scores_changed(task, settings, meta)
    assert begin.scores_changed(task, replace(settings, **{name: value}), meta) == changes
    assert set(task.scored_with) <= vars(settings).keys()


# --- two devices --------------------------------------------------------------------------------

# Logical devices must be made before TensorFlow starts, so this is a process of its own.
_TWO = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import numpy as np
import tensorflow as tf
from util.run import machines
two = machines.choose_strategy("cpu:0,cpu:1")
import keras
from conftest import state_arrays, task_of, tiny_values
from util.train import loop
from util.samples.batches import batches
from util.run.folder import RunFolder
from util.run import draw
from util.run.report import Report

folder, clear, clouds, script = Path(sys.argv[3]), sys.argv[4], sys.argv[5], sys.argv[6]
one = tf.distribute.OneDeviceStrategy("/cpu:0")
task = task_of(script)

# Each device drops out other entries, so what one and two learn can only be alike without.
alike = {"dropout": 0.0} if hasattr(task.settings, "dropout") else {}

def make(name, **changes):
    return task.settings(**tiny_values(folder / name, script, alike | changes, clear, clouds))

plain = dict(norm="none", clip_norm=0.05)
if script == "mod_mend":
    plain["gate_loss"] = 1e9  # both stages train
cases = [plain]
# Not mod_GAN_cloud: so deep and narrow with batch norm it turns rounding into a hundredth of its
# gradient, on one device too, where the pictures of a batch come in another order.
if script == "mod_defog" or "GAN" in script and script != "mod_GAN_cloud":
    cases.insert(0, dict(norm="batch", clip_norm=0.0))
if hasattr(task.settings, "past_share"):
    # All that replicas share between them counts from the first step on.
    at_once = dict(adversarial_weight=1.0, reconstruction_steps=0, adversarial_rise_steps=0)
    cases = [{**case, **at_once, "past_share": 0.75} for case in cases]
    # A generator whose every layer has a gradient from the first step on; values as they are.
    cases = [{**case, "painting": "fill", "past_bits": 32} for case in cases]
# Two scripts that share their step: each takes a part of what can be chosen.
if script == "mod_GAN_spot":
    cases = cases[:1]
if script == "mod_GAN_poly":
    how = {"adversarial": "wgan-gp", "critic_steps": 2, "spectral_norm": True}
    cases = [{**cases[1], **how}]
if script == "mod_deblurgan":
    plain["adversarial"] = "wgan"
for case in cases:
    settings = make("x", warmup_steps=0, learning_rate=1.0, **case)
    sample, _ = task.samples(settings, progress=False)
    seen, after = {}, {}
    for strategy in (one, two):
        tf.config.run_functions_eagerly(strategy is one)  # to trace takes longer than a step
        keras.utils.set_random_seed(1)
        with strategy.scope():
            state = task.make_state(settings)
            # Plain descent: weights move by the gradient itself, whatever its size.
            for name, network in state.networks.items():
                state.optimizers[name] = keras.optimizers.SGD(1.0)
                state.optimizers[name].build(network.trainable_variables)
        if "history_fill" in state.variables:  # two slots are empty still
            held = state.variables["history_pictures"]
            past = np.random.default_rng(0).random(held.shape, np.float32)
            past[4:] = 0
            held.assign(past)
            state.variables["history_fill"].assign(4)
        before = state.arrays()
        step = loop.make_step(task, state, settings)
        batch = next(iter(batches(
            sample, batch_size=settings.batch_size, first_step=3, strategy=strategy)))
        parts = {n: strategy.experimental_local_results(v) for n, v in batch.items()}
        assert len(parts["clear"]) == strategy.num_replicas_in_sync
        seen[strategy] = {n: np.concatenate([p.numpy() for p in v]) for n, v in parts.items()}
        metrics, _ = step(batch)
        end = state.arrays()
        assert int(end["skipped"]) == 0
        after[strategy] = {n: end[n] - before[n] for n in end if n.startswith("networks/")}
        after[strategy] |= {n: v for n, v in end.items() if n.startswith("variables/")}
        after[strategy] |= {n: v.numpy() for n, v in metrics.items()}
        for variable in state.variables.values():
            copies = [v.numpy() for v in strategy.experimental_local_results(variable)]
            assert all(np.array_equal(copies[0], copy) for copy in copies)
    for name in seen[one]:
        np.testing.assert_array_equal(seen[one][name], seen[two][name])
    assert after[one].keys() == after[two].keys()
    for name, moved in after[one].items():
        # Not clipped, the norm that is shown is the mean of the replicas' own.
        if name != "gradient_norm" or settings.clip_norm:
            # A norm takes the bias before it out again: what is left of its gradient is rounding.
            np.testing.assert_allclose(after[two][name], moved, rtol=1e-4, atol=4e-5,
                                       err_msg=f"{case} {name}")
    for name in state.networks:
        assert max(np.abs(v).max() for n, v in after[one].items()
                   if n.startswith(f"networks/{name}/")) > 0, (case, name)
    if "history_fill" in state.variables:
        held = [after[s]["variables/history_pictures"] for s in (one, two)]
        np.testing.assert_array_equal(held[0][..., 3], held[1][..., 3])
        # The first three of the joined batch are new, and so of both replicas.
        new = [n for n in range(len(past)) if not np.array_equal(held[1][n], past[n])]
        assert len(new) == 3 and new[1:] == [4, 5], new
        holes = seen[two]["hole"][:3, ..., 0]
        np.testing.assert_array_equal(held[1][[4, 5, new[0]], ..., 3], holes)
        assert int(after[two]["variables/history_fill"]) == 6

    if case is cases[0]:  # a NaN on one replica skips the step on both
        def half_spoilt(number):
            given = next(iter(task.kind.given))
            return {n: v * np.nan if number == 3 and n == given else v
                    for n, v in sample(number).items()}
        ready = iter(batches(
            half_spoilt, batch_size=settings.batch_size, first_step=0, strategy=two))
        before = state.arrays()
        step(next(ready))
        after = state.arrays()
        assert {n for n in after if not np.array_equal(after[n], before[n], equal_nan=True)} == {
            "step", "skipped", "skipped_in_a_row"}
        for variable in state.networks[next(iter(state.networks))].variables:
            np.testing.assert_array_equal(*(v.numpy() for v in variable.value.values))
        step(next(ready))
        assert int(state.skipped_in_a_row.numpy()) == 0

# Saved on two, gone on with on one: the script that is traced soonest.
if script == "mod_pix2pix":
    tf.config.run_functions_eagerly(False)

    draw.save_png = lambda figure, *paths: None

    def run(name, strategy, steps):
        settings = make(name, norm="none", steps=12, validate_every=12, sheet_every=12)
        done = []
        Report.step = lambda self, step: done.append(step)
        loop.interrupt.requested = lambda: done[-1] >= steps
        assert loop.train(task, settings, strategy) == 0
        return max(RunFolder(task.name, settings).checkpoints.glob("step-*.npz"))

    run("both", two, 6)
    arrays, reference = state_arrays(run("both", one, 12)), state_arrays(run("one", one, 12))
    assert arrays.keys() == reference.keys()
    assert int(arrays["step"]) == 12
    for name, array in reference.items():
        np.testing.assert_allclose(arrays[name], array, rtol=1e-2, atol=1e-4, err_msg=name)
print("two devices are as one")
"""


@pytest.mark.slow
@every_script
def test_two_devices_train_as_one(script, tmp_path, clear_folder, cloud_folder):
    arguments = [str(PROJECT), str(PROJECT / "tests"), str(tmp_path), str(clear_folder)]
    process = subprocess.run(
        [sys.executable, "-c", _TWO, *arguments, str(cloud_folder), script],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert "two devices are as one" in process.stdout, process.stdout + process.stderr
