"""Real processes, really interrupted and killed: what was begun ends as if nothing had happened.

The oracle is a run that nobody disturbed: the SHA-256 over its whole state, step by step.
"""

import inspect
import json
import os
import re
import shutil
import signal
import socket
import time
from dataclasses import fields
from functools import partial

import numpy as np
import pytest
from conftest import (
    SCRIPTS,
    Reference,
    Runner,
    contents,
    ended,
    log_of,
    no_trace,
    state_arrays,
    task_of,
)

from util import command, interrupt

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems"),
]

STEPS = 24
SETTINGS = {
    "steps": STEPS,
    "log_every": 4,
    "validate_every": 8,
    "sheet_every": 12,
    "save_every": 1,
    "keep_checkpoints": 100,
}


# What a script's steps change besides networks and optimisers: it is in the digests, too.
_OF_GANS = {"history_pictures", "balance_losses", "balance_count"}
MOVING = {
    "mod_mend": {"variables/stage1_mean_loss"},
    "mod_GAN_spot": {f"variables/{name}" for name in _OF_GANS},
    "mod_GAN_poly": {f"variables/{name}" for name in _OF_GANS},
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory, clear_folder, cloud_folder):
    """Return a function: script -> its undisturbed run, made once."""
    made = {}

    def get(script=SCRIPTS[0]):
        if script not in made:
            folder = tmp_path_factory.mktemp(script)
            made[script] = Reference(Runner(folder, script, clear_folder, cloud_folder, **SETTINGS))
        return made[script]

    return get


# --- Ctrl-C, and on -----------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_ctrl_c_and_on_ends_like_an_undisturbed_run(reference, runner, script):
    undisturbed, run = reference(script), runner(script, **SETTINGS)
    assert len(set(undisturbed.digests.values())) == STEPS  # else equality would prove nothing
    assert [int(row["step"]) for row in undisturbed.log] == [4, 8, 12, 16, 20, 24]
    moving = MOVING.get(script, set())
    ends = [
        state_arrays(undisturbed.runner.checkpoints / f"step-{step:07d}.npz")
        for step in (STEPS - 1, STEPS)
    ]
    assert moving <= {n for n in ends[0] if not np.array_equal(ends[0][n], ends[1][n])}

    process = run.start(pace_s=0.5, save_every=5)
    run.wait_for(process, 5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # an impatient second press
    status, text = ended(process)
    assert status == 0, text
    assert no_trace(text), text
    assert "finishing this step" in text
    assert "saving, please wait" in text
    step, digest = run.digest()
    assert 5 < step < STEPS
    assert digest == undisturbed.digests[step]
    assert f"stopped at step {step}, saved in {run.checkpoints}" in text
    assert f"python {script}.py" in text

    status, text = run.run()
    assert status == 0, text
    assert f"going on at step {step} from" in text
    undisturbed.check_same_end(run)

    if script == SCRIPTS[0]:
        status, text = run.run()  # nothing is left to do
        assert status == 0
        assert "has reached its 24 steps" in text


def test_a_second_process_sigterm_and_a_terminal_that_goes_away(reference, runner):
    undisturbed, run = reference(), runner(**SETTINGS)
    # Slow enough to be at work still when the second process has loaded, on a busy machine too.
    process = run.start(pace_s=2.0)
    run.wait_for(process, 1)
    status, text = run.run(steps=5)  # meanwhile, on the same folder
    assert status == 2
    assert f"being trained by process {process.pid} on" in text
    assert "runs_folder" in text
    assert no_trace(text)
    assert process.poll() is None

    process.send_signal(signal.SIGTERM)
    status, text = ended(process)
    assert status == 143, text
    assert no_trace(text), text
    first = run.newest()
    assert f"stopped at step {first}" in text
    assert first < STEPS

    # Where the tests themselves run under nohup, the script would rightly ignore SIGHUP, too.
    heard = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    process = run.start(pace_s=1.0, save_every=STEPS, preexec_fn=heard)
    for line in process.stderr:
        if "going on at step" in line:
            break
    # The tracing of the step lies between: the bar's first line says that steps are being taken.
    for line in process.stderr:
        if line.startswith("step "):
            break
    process.stderr.close()  # whatever is printed from now on fails, as in a closed terminal
    process.send_signal(signal.SIGHUP)
    process.stdout.read()
    assert process.wait(timeout=600) == 129
    second = run.newest()
    assert first < second < STEPS
    assert run.digest()[1] == undisturbed.digests[second]

    assert run.run()[0] == 0
    undisturbed.check_same_end(run)


@pytest.mark.parametrize("after_s", [0.8, 2.0])
def test_ctrl_c_while_tensorflow_loads_ends_quietly(runner, after_s):
    process = runner(steps=100_000).start()
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    status, text = ended(process)
    assert status == 0, text
    assert no_trace(text), text
    assert "KeyboardInterrupt" not in text


# --- kill -9 ------------------------------------------------------------------------------------


def test_kill_9_again_and_again_ends_like_an_undisturbed_run(reference, runner):
    undisturbed, run = reference(), runner(**SETTINGS)
    rng = np.random.default_rng(20)
    in_a_save = 0
    for attempt in range(3):
        process = run.start(pace_s=0.05)
        run.wait_for(process, run.newest() + int(rng.integers(1, 5)))
        if attempt % 2:
            time.sleep(float(rng.uniform(0, 0.1)))
        else:
            until = time.monotonic() + 1
            while not list(run.checkpoints.glob(".tmp-*")) and time.monotonic() < until:
                pass  # a save takes only milliseconds: no time to sleep
        process.send_signal(signal.SIGKILL)
        assert ended(process)[0] == -signal.SIGKILL
        in_a_save += bool(list(run.checkpoints.glob(".tmp-*")))
        step, digest = run.digest()
        assert digest == undisturbed.digests[step]  # the newest file is whole, and right
    assert run.newest() < STEPS
    (run.run_dir / ".tmp-best.npz").write_bytes(b"left by a kill")
    status, text = run.run()
    assert status == 0, text
    undisturbed.check_same_end(run)
    print(f"{in_a_save} of 3 kills fell into a save")


# --- disks, damage, settings --------------------------------------------------------------------


def _no_large_files():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_a_full_disk_does_not_stop_training_nor_spoil_the_last_checkpoint(reference, runner):
    undisturbed, run = reference(), runner(**SETTINGS)
    undisturbed.copy_until(run, 16)
    before = contents(run.checkpoints)
    status, text = run.run(preexec_fn=_no_large_files, save_every=4)
    assert status == 1, text  # the very last save failed as well
    assert no_trace(text), text
    for step in (20, 24):
        assert f"step-{step:07d}.npz: could not be saved" in text
    assert "training goes on" in text
    assert contents(run.checkpoints) == before
    assert not list(run.run_dir.glob(".tmp-*"))
    assert run.run()[0] == 0  # somebody made room
    undisturbed.check_same_end(run)


def test_settings_data_and_checkpoints_that_changed(reference, runner, clear_folder, tmp_path):
    undisturbed, run = reference(), runner(**SETTINGS)
    undisturbed.copy_until(run, 18)
    before = contents(run.run_dir)
    status, text = run.run(base_width=3, norm="batch", crop_px=96)
    assert status == 2
    assert no_trace(text), text
    for line in ("base_width: 2 before, 3 now", "'none' before, 'batch' now", "64 before, 96 now"):
        assert line in text
    assert "--fresh" in text
    assert contents(run.run_dir) == before

    newest = run.checkpoints / "step-0000018.npz"
    newest.write_bytes(newest.read_bytes()[:-1000])
    bad = shutil.copytree(clear_folder, tmp_path / "other") / "bad picture.png"
    bad.write_bytes((bad.parent / "0.png").read_bytes()[:400])
    rate = undisturbed.runner.values.get(
        "learning_rate", task_of(run.script).settings().learning_rate
    )
    status, text = run.run(clear_folder=bad.parent, learning_rate=rate / 4, noise_share=0.75)
    assert status == 0, text
    assert no_trace(text), text
    assert f"learning_rate: {rate!r} before, {rate / 4!r} now\n" in text
    assert re.search(r"noise_share: 0\.5 before, 0\.75 now, so other samples", text)
    assert re.search(r"clear_folder: .* now, so other samples", text)
    assert text.count(bad.name) == 1, text
    assert "step-0000018.npz: damaged" in text
    assert "going on at step 17 from" in text
    assert (run.checkpoints / "damaged-step-0000018.npz").exists()
    step, digest = run.digest()
    assert step == STEPS
    assert digest != undisturbed.digests[STEPS]
    pairs = list(zip(undisturbed.log, log_of(run.run_dir), strict=True))
    for old, new in pairs:
        share = 1 if int(old["step"]) <= 16 else 0.25
        if int(old["step"]) != 20:  # steps at both rates are in this row
            expected = share * float(old["learning_rate"])
            assert float(new["learning_rate"]) == pytest.approx(expected, rel=1e-5)


def test_mistakes_are_told_all_at_once(runner):
    run = runner()
    status, text = run.run(
        *("--batch-sizes=3", "--jit-compile=maybe"), crop_px=65, learning_rate=-1, validate_every=3
    )
    assert status == 2
    assert no_trace(text), text
    for part in (
        *("5 mistake(s)", "--batch-sizes=3: not understood; did you mean --batch-size"),
        *("--jit-compile maybe: must be true|false", "crop_px = 65: must be a multiple of 32"),
        *("learning_rate = -1.0: must be above 0", "validate_every = 3: must be a multiple"),
    ):
        assert part in text, text
    assert not run.run_dir.exists()


def test_without_pictures_the_folder_and_its_setting_are_named(runner, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "page.jpg").write_text("<html>not found</html>")
    for setting, folder in (("clear_folder", "not there"), ("cloud_folder", "broken")):
        status, text = runner().run(**{setting: tmp_path / folder})
        assert status == 2
        assert no_trace(text), text
        assert str(tmp_path / folder) in text
        assert setting in text


def test_fresh_moves_the_old_run_to_the_history_whole(reference, runner):
    run = runner(**SETTINGS)
    reference().copy_until(run, STEPS)
    before = contents(run.run_dir)
    status, text = run.run("--fresh", steps=2, base_width=3)
    assert status == 0, text
    (moved,) = (run.folder / "History" / run.script).iterdir()
    assert str(moved) in text
    assert contents(moved) == before
    assert run.newest() == 2
    assert json.loads((run.run_dir / "settings.json").read_text())["base_width"] == 3


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_setting_with_its_comment(script, capsys, monkeypatch):
    monkeypatch.setattr(interrupt, "listen", lambda: None)  # pytest keeps its own handlers
    with pytest.raises(SystemExit) as end:
        command.main(task_of(script), "what it does", ["--help"])
    assert end.value.code == 0
    text = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    settings = task_of(script).settings
    # A class may set a value anew, with a comment of its own: its lines come first.
    source = "\n".join(inspect.getsource(cls) for cls in settings.__mro__[:-1])
    for field in fields(settings):
        assert f"--{field.name.replace('_', '-')}" in text
        # The comment beside the setting, or in the brackets that the formatter made.
        beside = re.search(rf"^    {field.name}: .*?#[ ](.*?)$", source, re.M | re.S)[1]
        assert "".join(beside.split()) in text, field.name


# --- two machines -------------------------------------------------------------------------------


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_two_workers_train_as_one_and_stop_together(reference, runner):
    undisturbed, run = reference(), runner(**SETTINGS)
    workers = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    processes = []
    for index in (0, 1):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes.append(run.start(pace_s=0.3, env={"TF_CONFIG": json.dumps(place)}))
    run.wait_for(processes[0], 4)
    processes[1].send_signal(signal.SIGINT)  # the other one, which does not save
    for process in processes:
        status, text = ended(process)
        assert status == 0, text
        assert no_trace(text), text
        if process is processes[0]:
            assert re.search(r"stopped at step \d+, saved in", text), text
    step = run.newest()
    assert 4 <= step < STEPS

    # Sums over two halves differ from the sum over the whole in their last bits only.
    alone = state_arrays(undisturbed.runner.checkpoints / f"step-{step:07d}.npz")
    together = state_arrays(run.checkpoints / f"step-{step:07d}.npz")
    assert alone.keys() == together.keys()
    worst = max(float(np.abs(alone[n].astype(float) - together[n]).max()) for n in alone)
    print(f"largest difference after {step} steps: {worst:.2e}")
    for name, array in alone.items():
        np.testing.assert_allclose(together[name], array, rtol=1e-3, atol=1e-5, err_msg=name)

    status, text = run.run()
    assert status == 0, text
    assert f"going on at step {step} from" in text
    assert run.newest() == STEPS
