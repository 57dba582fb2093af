"""Real processes, really interrupted and killed: what was begun ends as if nothing had happened.

The oracle is a run that nobody disturbed: the SHA-256 over its whole state, step by step.
"""

import json
import os
import re
import shutil
import signal
import socket
import time
from functools import partial

import numpy as np
import pytest
from conftest import (
    ENDURED,
    ENDURING,
    contents,
    ended,
    log_of,
    no_trace,
    state_arrays,
    task_of,
    wait_until,
)

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems"),
]

STEPS = ENDURED["steps"]


# --- Ctrl-C, and on -----------------------------------------------------------------------------


@pytest.mark.parametrize("script", ENDURING)
def test_ctrl_c_and_on_ends_like_an_undisturbed_run(reference, runner, capsys, script):
    undisturbed, run = reference(script), runner(script, **ENDURED)
    assert len(set(undisturbed.digests.values())) == STEPS  # else equality would prove nothing
    assert [int(row["step"]) for row in undisturbed.log] == [4, 8, 12, 16, 20, 24]

    run.folder.mkdir(parents=True, exist_ok=True)
    said = run.folder / "said.txt"
    with open(said, "w", encoding="utf-8") as errors:
        process = run.start(pace_s=0.5, save_every=5, stderr=errors)
        run.wait_for(process, 5)
        process.send_signal(signal.SIGINT)
        # While the machine is busy two presses at once come through as one.
        heard = "finishing this step"
        wait_until(process, lambda: heard in said.read_text(encoding="utf-8"), heard)
        process.send_signal(signal.SIGINT)  # an impatient second press
        status, text = ended(process)
    text += said.read_text(encoding="utf-8")
    assert status == 0, text
    assert no_trace(text), text
    assert "finishing this step" in text
    assert "saving, please wait" in text
    step, digest = run.digest()
    assert 5 < step < STEPS
    assert digest == undisturbed.digests[step]
    assert f"stopped at step {step}, saved in {run.checkpoints}" in text
    assert f"python {script}.py --runs-folder {run.run_dir.parent}" in text

    status, text = run.run()
    assert status == 0, text
    assert f"going on at step {step} from" in text
    undisturbed.check_same_end(run)

    status, text = run.here(capsys)  # nothing is left to do
    assert status == 0
    assert "has reached its 24 steps" in text


def test_sigterm_and_a_terminal_that_goes_away(reference, runner):
    undisturbed, run = reference(), runner(**ENDURED)
    process = run.start(pace_s=0.5)
    run.wait_for(process, 1)
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


def test_ctrl_c_is_not_for_the_processes_that_draw_samples(reference, runner):
    undisturbed, run = reference(), runner(**ENDURED)
    # A terminal sends it to all that it has started, which is a group of processes.
    process = run.start(pace_s=0.5, sample_processes=2, preexec_fn=os.setsid)
    run.wait_for(process, 2)
    os.killpg(process.pid, signal.SIGINT)
    status, text = ended(process)
    assert status == 0, text
    assert no_trace(text), text
    assert "drawn here" not in text
    step, digest = run.digest()
    assert 2 <= step < STEPS
    assert digest == undisturbed.digests[step]
    status, text = run.run()  # by threads, which draw the same
    assert status == 0, text
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
    undisturbed, run = reference(), runner(**ENDURED)
    rng = np.random.default_rng(20)
    in_a_save = 0
    for attempt in range(2):
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
    print(f"{in_a_save} of 2 kills fell into a save")


# --- damage and settings --------------------------------------------------------------------


def test_settings_data_and_checkpoints_that_changed(
    reference, runner, clear_folder, tmp_path, capsys
):
    undisturbed, run = reference(), runner(**ENDURED)
    undisturbed.copy_until(run, 18)
    before = contents(run.run_dir)
    status, text = run.here(capsys, base_width=3, norm="batch", crop_px=96)
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
    changed = {"clear_folder": bad.parent, "learning_rate": rate / 4, "noise_share": 0.75}
    status, text = run.here(capsys, **changed)
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


def test_fresh_moves_the_old_run_to_the_history_whole(reference, runner, capsys):
    run = runner(**ENDURED)
    reference().copy_until(run, STEPS)
    before = contents(run.run_dir)
    status, text = run.here(capsys, "--fresh", steps=2, base_width=3)
    assert status == 0, text
    (moved,) = (run.folder / "History" / run.script).iterdir()
    assert str(moved) in text
    assert contents(moved) == before
    assert run.newest() == 2
    assert json.loads((run.run_dir / "settings.json").read_text())["base_width"] == 3


# --- two machines -------------------------------------------------------------------------------


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_two_workers_train_as_one_and_stop_together(reference, runner):
    undisturbed, run = reference(), runner(**ENDURED)
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
