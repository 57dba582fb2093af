"""Kills, full disks and Ctrl-C at moments that nobody chose: nothing is lost, nothing is half.

By default apply is killed and interrupted once; with CHAOS=1 in the environment train, apply and
evaluate are killed 20 times and interrupted 20 times, each, in about half an hour. CHAOS is the
seed of what is drawn.
"""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import ENDURED, PROJECT, contents, ended, no_trace, task_of, write_pictures
from stand_ins import clearer, run_task, use

from util.run import checkpoint
from util.run.report import Report
from util.train.state import TrainState

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems"),
]

SEED = int(os.environ.get("CHAOS", "0"))
TIMES = 20 if SEED else 1
SIZES = 20

STEPS = ENDURED["steps"]
only_when_asked = pytest.mark.skipif(
    not SEED, reason="test_processes does it at chosen moments; CHAOS=1 draws 20 more"
)


def moments(longest_s):
    """Return moments spread over a time, one drawn in each of as many equal parts.

    None in the first half second: before its first line runs, Python alone hears a signal.
    """
    shares = (np.arange(TIMES) + np.random.default_rng(SEED).uniform(size=TIMES)) / TIMES
    return (0.5 + shares * (longest_s - 0.5)).tolist()


def interrupted(process, after_s, number):
    """Send a signal after a while unless the process has ended; return (status, what it said)."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after_s)
    process.send_signal(number)
    return ended(process)


# --- training -----------------------------------------------------------------------------------


@only_when_asked
def test_kill_9_in_training(reference, runner):
    undisturbed, run = reference(), runner(**ENDURED)
    for after_s in moments(undisturbed.took_s):
        interrupted(run.start(pace_s=0.05), after_s, signal.SIGKILL)
        if run.newest():
            step, digest = run.digest()
            assert digest == undisturbed.digests[step]
        if run.newest() == STEPS:
            shutil.rmtree(run.run_dir)
    status, text = run.run()
    assert status == 0, text
    undisturbed.check_same_end(run)


@only_when_asked
def test_ctrl_c_in_training(reference, runner):
    undisturbed, run = reference(), runner(**ENDURED)
    for after_s in moments(undisturbed.took_s):
        status, text = interrupted(run.start(), after_s, signal.SIGINT)
        # Python that ends itself, when the work is done, hears no signal any more.
        assert status == 0 or (status == -signal.SIGINT and run.newest() == STEPS), text
        assert no_trace(text), text
        assert "KeyboardInterrupt" not in text
        if run.newest():
            step, digest = run.digest()
            assert digest == undisturbed.digests[step]
        if run.newest() == STEPS:
            undisturbed.check_same_end(run)
            shutil.rmtree(run.run_dir)
    status, text = run.run()
    assert status == 0, text
    undisturbed.check_same_end(run)


# --- apply and evaluate -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("cloudy") / "in", 5, 12, 3)


def work(undisturbed, *words):
    """Start mod_defog.py on the undisturbed run's network."""
    runs = undisturbed.runner.values["runs_folder"]
    words = [str(PROJECT / "mod_defog.py"), *words, f"--runs-folder={runs}", "--devices=cpu"]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *words], **how)


COMMANDS = {
    "apply": lambda pictures, folder: ["apply", str(pictures), f"--out={folder}"],
    "evaluate": lambda pictures, folder: [
        *("evaluate", f"--data={pictures}", "--count=12", f"--csv={folder / 'scores.csv'}"),
        f"--cache-folder={folder.parent / 'cache'}",
    ],
}


COSTS = ("seconds", "memory_mb")


def results(folder):
    """Return dict name -> content of every result in a folder, of tables without what it cost."""
    found = {n: data for n, data in contents(folder).items() if ".tmp-" not in n}
    for name, data in found.items():
        if name.endswith(".csv"):
            rows = csv.DictReader(data.decode().splitlines())
            found[name] = [[item for item in row.items() if item[0] not in COSTS] for row in rows]
    return found


@pytest.mark.parametrize("command", ["apply", pytest.param("evaluate", marks=only_when_asked)])
def test_kill_9_and_ctrl_c_in_use(reference, pictures, tmp_path, command):
    undisturbed, words = reference(), COMMANDS[command]
    (tmp_path / "whole").mkdir()
    begun = time.monotonic()
    status, text = ended(work(undisturbed, *words(pictures, tmp_path / "whole")))
    longest_s = time.monotonic() - begun
    assert status == 0, text
    expected = results(tmp_path / "whole")
    assert expected
    out = tmp_path / "out"
    for number in (signal.SIGKILL, signal.SIGINT):
        for after_s in moments(longest_s):
            if results(out) == expected:
                shutil.rmtree(out)
            out.mkdir(exist_ok=True)
            status, text = interrupted(work(undisturbed, *words(pictures, out)), after_s, number)
            assert no_trace(text), text
            if status == -number:  # of Ctrl-C only when the work is done: then Python ends itself
                assert number == signal.SIGKILL or results(out) == expected, text
            else:
                assert status in (130, 0), text
            for name, content in results(out).items():
                assert content == expected[name]  # nothing is half, nothing is other
    status, text = ended(work(undisturbed, *words(pictures, out)))
    assert status == 0, text
    assert results(out) == expected


# --- a full disk --------------------------------------------------------------------------------


@contextlib.contextmanager
def files_up_to(size):
    """Let no file of this process grow over a size, as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)


def sizes_up_to(most):
    """Return sizes from 0 to a little less than what is needed, evenly spread."""
    return np.linspace(0, most - 1, SIZES).astype(int).tolist()


def test_a_full_disk_does_not_stop_training_nor_spoil_the_last_checkpoint(
    reference, runner, capsys
):
    run = runner(**ENDURED)
    reference().copy_until(run, 16)
    before = contents(run.checkpoints)
    with files_up_to(300_000):
        status, text = run.here(capsys, save_every=4)
    assert status == 1, text  # the very last save failed as well
    assert no_trace(text), text
    for step in (20, 24):
        assert f"step-{step:07d}.npz: could not be saved" in text
    assert "training goes on" in text
    assert contents(run.checkpoints) == before
    assert not list(run.run_dir.glob(".tmp-*"))
    assert run.here(capsys)[0] == 0  # somebody made room
    assert run.newest() == STEPS


def test_a_disk_that_is_full_while_saving(tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path)
    state = TrainState.of(task_of("mod_defog").make_networks(settings), settings)
    path = tmp_path / "step-0000001.npz"
    checkpoint.save(path, state, {"script": "mod_defog"})
    before = path.read_bytes()
    state.step.assign(2)
    for size in sizes_up_to(len(before)):
        with files_up_to(size), pytest.raises(OSError, match=path.name) as error:
            checkpoint.save(path, state, {"script": "mod_defog"})
        assert error.value.filename == str(path)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir() if ".tmp-" in p.name] == []
    checkpoint.save(path, state, {"script": "mod_defog"})  # somebody made room
    assert path.read_bytes() != before


def test_a_disk_that_is_full_while_a_sheet_is_drawn(tmp_path, capsys):
    rng = np.random.default_rng(SEED)
    names = ("cloudy", "clear")
    first, second = ({n: rng.random((3, 64, 64, 3), np.float32) for n in names} for _ in "ab")

    def drawn(folder, columns):
        report = Report(folder, title="mod_defog", start_step=0, total_steps=2, batch_size=4)
        report.sheet(1, columns)
        report.close()
        return {n: data for n, data in contents(folder).items() if n.endswith(".png")}

    wanted, before = drawn(tmp_path / "elsewhere", second), drawn(tmp_path / "run", first)
    assert len(wanted) == 2
    for size in sizes_up_to(min(map(len, wanted.values()))):
        with files_up_to(size):
            assert drawn(tmp_path / "run", second) == before
        assert not list((tmp_path / "run").rglob(".tmp-*"))
    said = capsys.readouterr()
    assert "training goes on" in said.out + said.err
    assert drawn(tmp_path / "run", second) == wanted


def test_a_disk_that_is_full_while_a_result_is_written(tmp_path, monkeypatch, capsys):
    network = clearer()[0]
    use(monkeypatch, network)
    folder = write_pictures(tmp_path / "in", 6, 1, 3)
    words = ("apply", folder, f"--out={tmp_path / 'out'}", "--devices=cpu")
    assert run_task(capsys, network.task, *words)[0] == 0
    expected = contents(tmp_path / "out")
    assert len(expected) == 2
    for size in sizes_up_to(max(map(len, expected.values()))):
        shutil.rmtree(tmp_path / "out")
        with files_up_to(size):
            status, said = run_task(capsys, network.task, *words)
        assert status == 2
        assert "Make room in" in said
        assert no_trace(said), said
        there = contents(tmp_path / "out")
        assert there.items() < expected.items()
        assert "0.png" not in there  # that it is there means that it is done
    assert run_task(capsys, network.task, *words)[0] == 0
    assert contents(tmp_path / "out") == expected
    assert cv2.imread(str(tmp_path / "out" / "0.png")) is not None
