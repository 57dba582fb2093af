"""Kills, full disks and Ctrl-C at moments that nobody chose: nothing is lost, nothing is half.

By default one of each; with CHAOS=1 in the environment train, apply and evaluate are killed 20
times and interrupted 20 times, each, in about half an hour. CHAOS is the seed of what is drawn.
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
from conftest import PROJECT, Reference, Runner, contents, ended, no_trace, task_of, write_pictures
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

RUN = {
    "steps": 24, "log_every": 4, "validate_every": 8, "sheet_every": 12, "save_every": 1,
    "keep_checkpoints": 100,
}  # fmt: skip


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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, clear_folder, cloud_folder):
    """A run that nobody disturbed, and how long it took from its start to its end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    begun = time.monotonic()
    run = Reference(Runner(folder, "mod_defog", clear_folder, cloud_folder, **RUN))
    return run, time.monotonic() - begun


# --- training -----------------------------------------------------------------------------------


def test_kill_9_in_training(undisturbed, runner):
    reference, longest_s = undisturbed
    run = runner(**RUN)
    for after_s in moments(longest_s):
        interrupted(run.start(pace_s=0.05), after_s, signal.SIGKILL)
        if run.newest():
            step, digest = run.digest()
            assert digest == reference.digests[step]
        if run.newest() == RUN["steps"]:
            shutil.rmtree(run.run_dir)
    status, text = run.run()
    assert status == 0, text
    reference.check_same_end(run)


def test_ctrl_c_in_training(undisturbed, runner):
    reference, longest_s = undisturbed
    run = runner(**RUN)
    for after_s in moments(longest_s):
        status, text = interrupted(run.start(), after_s, signal.SIGINT)
        # Python that ends itself, when the work is done, hears no signal any more.
        assert status == 0 or (status == -signal.SIGINT and run.newest() == RUN["steps"]), text
        assert no_trace(text), text
        assert "KeyboardInterrupt" not in text
        if run.newest():
            step, digest = run.digest()
            assert digest == reference.digests[step]
        if run.newest() == RUN["steps"]:
            reference.check_same_end(run)
            shutil.rmtree(run.run_dir)
    status, text = run.run()
    assert status == 0, text
    reference.check_same_end(run)


# --- apply and evaluate -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("cloudy") / "in", 5, 12, 3)


def work(reference, *words):
    """Start mod_defog.py on the reference's network."""
    runs = reference.runner.values["runs_folder"]
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


@pytest.mark.parametrize("command", COMMANDS)
def test_kill_9_and_ctrl_c_in_use(undisturbed, pictures, tmp_path, command):
    reference, _ = undisturbed
    words = COMMANDS[command]
    (tmp_path / "whole").mkdir()
    begun = time.monotonic()
    status, text = ended(work(reference, *words(pictures, tmp_path / "whole")))
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
            status, text = interrupted(work(reference, *words(pictures, out)), after_s, number)
            assert no_trace(text), text
            if status == -number:  # of Ctrl-C only when the work is done: then Python ends itself
                assert number == signal.SIGKILL or results(out) == expected, text
            else:
                assert status in (130, 0), text
            for name, content in results(out).items():
                assert content == expected[name]  # nothing is half, nothing is other
    status, text = ended(work(reference, *words(pictures, out)))
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
