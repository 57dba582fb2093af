"""A trained network is found and built for work alone: without what only a training needs."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SCRIPTS, task_of, write_pictures

from util.restore.turns import over_turns
from util.run import checkpoint
from util.run.folder import RunFolder
from util.samples.crops import turned
from util.samples.split import Split
from util.say import UserError
from util.train import loop
from util.use import evaluate, export, trained


@pytest.fixture
def saved(tiny_settings, tmp_path):
    """Return a function: script -> (task, settings, run) with an untrained checkpoint as best."""

    def make(script="mod_defog", **changes):
        task, settings = task_of(script), tiny_settings(tmp_path, script, **changes)
        keras.utils.set_random_seed(1)
        run = RunFolder(task.name, settings)
        checkpoint.save(run.best, task.make_state(settings), loop.describe(task, settings, {}))
        return task, settings, run

    return make


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_is_built_but_the_networks(script, saved):
    """No optimiser, no VGG16, no earlier pictures: counted as TensorFlow makes variables."""
    task, settings, _ = saved(script)
    made = []

    def counted(next_creator, **how):
        made.append(next_creator(**how))
        return made[-1]

    with tf.variable_creator_scope(counted):
        network = trained.load(task, settings)
    assert len(made) == sum(len(net.variables) for net in network.networks.values())
    made.clear()
    with tf.variable_creator_scope(counted):
        task.make_state(settings)
    assert len(made) > 2 * sum(len(net.variables) for net in network.networks.values())


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_was_saved_restores_as_it_did(script, saved):
    task, settings, run = saved(script)
    network = trained.load(task, replace(settings, seed=5), None)
    rng = np.random.default_rng(0)
    batch = {n: rng.random((2, 64, 64, c), np.float32) for n, c in task.kind.given.items()}
    state = task.make_state(settings)
    checkpoint.load(run.best, state)
    expected = task.restore(
        state.restoring, {n: tf.constant(v) for n, v in batch.items()}, settings
    )
    found = network.restore(batch)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-5)
    assert str(network) == f"{run.best} (step 0)"


def test_a_setting_of_the_network_is_the_checkpoints_one_of_this_start_is_not(saved):
    task, settings, _ = saved(learning_rate=0.25, noise_share=0.75)
    now = replace(settings, base_width=4, clear_below=0.25, learning_rate=0.5, noise_share=0.0)
    found = trained.load(task, now, given=["base_width", "noise_share"]).settings
    assert found.base_width == 2  # of the checkpoint, whatever is set
    assert found.clear_below == 0.25  # of this start
    assert found.learning_rate == 0.25  # of the checkpoint
    assert found.noise_share == 0.0  # of the checkpoint, had it not been given


def test_best_then_newest_then_older_and_damaged_ones_are_named(saved, capsys):
    task, settings, run = saved()
    assert trained.load(task, settings).path == run.best
    for step in (1, 2):
        run.checkpoints.mkdir(exist_ok=True)
        checkpoint.path_of(run.checkpoints, step).write_bytes(run.best.read_bytes())
    run.best.write_bytes(b"x")
    checkpoint.path_of(run.checkpoints, 2).write_bytes(b"y")
    assert trained.load(task, settings).path == checkpoint.path_of(run.checkpoints, 1)
    said = capsys.readouterr().err
    assert said.count("trying an older one") == 2
    checkpoint.path_of(run.checkpoints, 1).write_bytes(b"z")
    with pytest.raises(UserError, match=r"step-0000001\.npz: damaged .*--checkpoint"):
        trained.load(task, settings)


def test_held_back_is_what_the_checkpoint_held_back(saved, tmp_path, capsys):
    task, settings, run = saved()
    folder = write_pictures(tmp_path / "here", 4, 5, 3)
    split = Split(settings)
    paths = sorted(folder.glob("*.png"))
    split.sides("clear_folder", folder, [paths[0], paths[3]])  # 3 is held back, of five it is 2
    checkpoint.save(
        run.best, task.make_state(settings), loop.describe(task, settings, split.stored())
    )
    network = trained.load(
        task, replace(settings, clear_folder=str(folder)), None, ["clear_folder"]
    )
    _, validation = task.samples(network.settings, False, None, network.split)
    assert validation.ground.store.paths == [paths[3]]
    assert "3 that came since the checkpoint are left out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["chosen.txt", "one.png"])
def test_where_a_list_or_a_picture_stands_for_a_folder_it_is_the_checkpoints(saved, tmp_path, name):
    place = tmp_path / name
    place.write_bytes(b"0.png")
    task, settings, _ = saved(clear_folder=str(place))
    now = replace(settings, clear_folder=str(tmp_path))
    assert trained.load(task, now).settings.clear_folder == str(place)
    place.unlink()  # one that is gone: this start's own
    assert trained.load(task, now).settings.clear_folder == str(tmp_path)


def test_pairs_that_have_moved_are_asked_for_and_nothing_is_drawn_in_their_place(saved, tmp_path):
    task, settings, _ = saved("mod_pix2pix", damaged_folder=str(tmp_path / "rain"))
    now, moved = replace(settings, damaged_folder=""), str(tmp_path / "moved")
    with pytest.raises(
        UserError, match=r"^damaged_folder = .*rain: is not there .*--damaged-folde"
    ):
        evaluate._samples(trained.load(task, now), None, 1)
    write_pictures(tmp_path / "data", 5, 2, 3)
    assert evaluate._samples(trained.load(task, now), tmp_path / "data", 1)[2] == 1
    for own, given in (("", ["damaged_folder"]), (moved, [])):
        network = trained.load(task, replace(now, damaged_folder=own), None, given)
        assert (network.settings.damaged_folder, network.gone) == (own, {})


def test_cut_outs_that_have_moved_are_not_asked_for(saved, tmp_path):
    task, settings, _ = saved(cut_folder=str(tmp_path / "cut"), noise_share=1.0)
    network = trained.load(task, replace(settings, cut_folder=""))
    assert evaluate._samples(network, None, 1)[2] == 1


def test_a_split_that_makes_no_sense_is_damage(saved):
    task, settings, run = saved()
    checkpoint.save(run.best, task.make_state(settings), loop.describe(task, settings, {"x": 1}))
    with pytest.raises(UserError, match=r"best\.npz: damaged .*split cannot be read"):
        trained.load(task, settings)


def test_another_scripts_checkpoint_is_refused(saved):
    _, _, run = saved("mod_defog")
    task, settings, _ = saved("mod_mend")
    with pytest.raises(UserError, match="belongs to mod_defog, not to mod_mend"):
        trained.load(task, settings, run.best)
    with pytest.raises(UserError, match="no such file"):
        trained.load(task, settings, run.path / "none.npz")


# --- weights that come along --------------------------------------------------------------------


@pytest.fixture
def shipped(saved, tmp_path, monkeypatch):
    """Return (task, settings, run) without a run, and weights in half precision in its place."""
    task, settings, run = saved(turns=1)
    file = tmp_path / "weights" / "mod_defog.npz"
    monkeypatch.setattr(trained, "weights_file", lambda task: file)
    assert export.export(trained.load(task, settings), "weights", file) == 0
    return task, settings, run, file


def test_shipped_weights_serve_where_there_is_no_run(shipped):
    task, settings, run, file = shipped
    of_run = trained.load(task, settings)
    assert of_run.path == run.best  # the run's own come first
    run.best.unlink()
    found = trained.load(task, settings)
    assert str(found) == f"{file} (step 0, which comes with the project)"
    assert file.stat().st_size < 0.7 * 4 * sum(
        w.size for w in of_run.networks["unet"].get_weights()
    )
    batch = {"cloudy": np.random.default_rng(0).random((1, 64, 64, 3), np.float32)}
    for name, array in of_run.restore(batch).items():
        assert 0 < np.abs(found.restore(batch)[name] - array).max() < 1 / 255
    assert str(run.path.parent) not in str(checkpoint.read_meta(file))  # no folder of ours
    file.unlink()
    with pytest.raises(UserError, match="no trained network yet"):
        trained.load(task, settings)


def test_shipped_weights_of_other_networks_are_refused(shipped):
    task, settings, _, file = shipped
    state = task.make_state(replace(settings, base_width=4))
    with pytest.raises(UserError, match="belongs to other networks"):
        checkpoint.load_networks(file, state.networks)
    with pytest.raises(UserError, match="optimizers/"):  # no run can go on from them
        checkpoint.load(file, task.make_state(settings))


@pytest.mark.parametrize("turns", [1, 2, 8])
def test_turns_of_what_turns_with_the_picture_change_nothing(turns):
    batch = {"a": tf.random.stateless_uniform((1, 32, 64, 3), [1, 2])}
    found = over_turns(lambda b: {"b": 2.0 * b["a"]}, turns, batch)
    np.testing.assert_allclose(found["b"], 2.0 * batch["a"], rtol=1e-6)


@pytest.mark.parametrize("turns", [2, 8])
def test_turns_are_the_flips_and_quarter_turns(turns):
    picture = np.random.default_rng(1).random((4, 4, 1), np.float32)
    seen = []

    def restore(batch):
        seen.append(batch["a"].numpy()[0])
        return {"a": batch["a"]}

    over_turns(restore, turns, {"a": tf.constant(picture[None])})
    for turn, found in enumerate(seen):
        np.testing.assert_array_equal(found, turned(picture, turn))
    assert len({array.tobytes() for array in seen}) == turns


def test_a_network_with_turns_is_the_mean_over_them(saved):
    task, settings, _ = saved(turns=2)
    many, one = (trained.load(task, replace(settings, turns=n)) for n in (2, 1))
    picture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    flipped = one.restore({"cloudy": picture[:, ::-1]})["restored"].numpy()[:, ::-1]
    expected = (one.restore({"cloudy": picture})["restored"] + flipped) / 2
    found = many.restore({"cloudy": picture})["restored"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_network_that_is_told_the_scale_finds_no_specks(saved):
    """Untrained, it finds a little of everything: the fifth that counts here is nowhere dense."""
    task, settings, _ = saved(apply_margin_px=48)
    cloudy = np.random.default_rng(0).random((1, 96, 96, 3), np.float32)
    batch = {"cloudy": tf.constant(cloudy)}
    found = trained.load(task, settings).restore(batch)["found_opacity"].numpy()
    own = replace(settings, clear_below=float(np.quantile(found, 0.8)))
    left = {
        pixel_m: trained.load(task, replace(own, pixel_m=pixel_m)).restore(batch)["found_opacity"]
        for pixel_m in (0.0, 5.0)
    }
    np.testing.assert_array_equal(left[0.0], found)
    gone = left[5.0].numpy() != found
    assert gone.mean() > 0.1
    assert not left[5.0].numpy()[gone].any()
