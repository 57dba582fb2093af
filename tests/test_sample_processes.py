"""Samples drawn by other processes: the same bits, and nothing is lost when one goes."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT, SCRIPTS, digest_of, task_of, write_pictures
from drawn import crop, fails_oddly, has_tensorflow, prints, row, slow, uneven

from util.pictures.pixels import PictureError
from util.pictures.store import PictureStore
from util.run import machines
from util.run.folder import RunFolder
from util.samples.batches import drawing, stack
from util.samples.processes import Processes
from util.train import loop

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells about processes")


def batch_like(arrays):
    return {name: np.full_like(values, np.nan) for name, values in arrays.items()}


@pytest.fixture
def processes():
    """Return a function (sample, count) -> Processes, which are ended after the test."""
    made = []

    def make(sample, count=2):
        made.append(Processes(sample, count))
        return made[-1]

    yield make
    for drawers in made:
        drawers.close()


# --- the same bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_process_draws_the_same_samples(script, tiny_settings, tmp_path, processes):
    sample = task_of(script).samples(tiny_settings(tmp_path, script), progress=False)[0]
    numbers = [7, 3, 11, 4]
    expected = stack(sample, numbers)
    found = batch_like(expected)
    processes(sample, 1).fill(found, numbers)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_pairs_and_depth_maps_are_handed_over(tiny_settings, tmp_path, processes, clear_folder):
    depths = write_pictures(tmp_path / "depth", 1, 6, 1)  # of the sizes of clear_folder's
    task = task_of("mod_deblurgan")
    for changes in ({"depth_folder": str(depths)}, {"hazy_folder": str(clear_folder)}):
        settings = tiny_settings(tmp_path, "mod_deblurgan", **changes)
        sample = task.samples(settings, progress=False)[0]
        expected = stack(sample, range(3))
        found = batch_like(expected)
        processes(sample, 1).fill(found, range(3))
        np.testing.assert_array_equal(found["hazy"], expected["hazy"])


def test_batches_smaller_and_larger_than_the_number_of_processes(processes):
    drawers = processes(row, 3)
    for count in (1, 3, 8):
        found = {"row": np.zeros((count, 3), np.float32), "pid": np.zeros((count, 1), np.float32)}
        drawers.fill(found, range(10, 10 + count))
        np.testing.assert_array_equal(found["row"][:, 0], np.arange(10, 10 + count))
        assert float(os.getpid()) not in found["pid"]
    assert len(np.unique(found["pid"])) == 3


@pytest.mark.usefixtures("empty_pictures")
def test_a_run_ends_the_same_whoever_draws(tiny_settings, tmp_path):
    ends = {}
    for count in (0, 2):
        settings = tiny_settings(tmp_path / str(count), steps=4, sample_processes=count)
        task = task_of("mod_defog")
        assert loop.train(task, settings, tf.distribute.get_strategy()) == 0
        folder = RunFolder(task.name, settings).path / "checkpoints"
        ends[count] = digest_of(max(folder.glob("step-*.npz")))
    assert ends[0] == ends[2]


def test_a_process_never_loads_tensorflow(processes):
    found = {"has": np.full((1, 1), np.nan, np.float32)}
    processes(has_tensorflow, 1).fill(found, [0])
    assert found["has"][0, 0] == 0


def test_what_is_printed_does_not_come_among_the_pixels(processes):
    found = {"row": np.zeros((2, 3), np.float32)}
    processes(prints, 1).fill(found, [5, 6])
    np.testing.assert_array_equal(found["row"][:, 0], [5, 6])


# --- when something goes wrong ------------------------------------------------------------------


@pytest.mark.parametrize("of", [ValueError, OSError, PictureError])
def test_what_a_sample_raises_is_raised_here(of, processes):
    drawers = processes(partial(row, fails_at=2, of=of), 1)
    found = {"row": np.zeros((4, 3), np.float32), "pid": np.zeros((4, 1), np.float32)}
    with pytest.raises(of, match="sample 2"):
        drawers.fill(found, range(4))


def test_an_error_that_cannot_be_handed_over_is_told(processes):
    with pytest.raises(RuntimeError, match="OddError: 1 and 2"):
        processes(fails_oddly, 1).fill({"row": np.zeros((1, 3), np.float32)}, [0])


def test_samples_of_several_sizes_are_refused(processes):
    with pytest.raises(ValueError, match="row of sample 1 has shape"):
        processes(uneven, 1).fill({"row": np.zeros((2, 3), np.float32)}, [0, 1])


def test_a_process_that_is_killed_is_done_without(processes, capsys):
    drawers = processes(row, 2)
    found = {"row": np.zeros((4, 3), np.float32), "pid": np.zeros((4, 1), np.float32)}
    drawers.fill(found, range(4))
    here, first = float(os.getpid()), sorted(set(found["pid"].ravel()))
    os.kill(int(first[0]), signal.SIGKILL)
    for start in (4, 8):
        drawers.fill(found, range(start, start + 4))
        np.testing.assert_array_equal(found["row"][:, 0], np.arange(start, start + 4))
        assert set(found["pid"].ravel()) <= {here, first[1]}
    assert capsys.readouterr().err.count("ended (status -9)") == 1


def test_a_process_that_cannot_start_is_done_without(processes, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = {"row": np.zeros((2, 3), np.float32), "pid": np.zeros((2, 1), np.float32)}
    processes(row, 2).fill(found, range(2))
    np.testing.assert_array_equal(found["row"][:, 0], [0, 1])
    assert capsys.readouterr().err.count("could not be started") >= 1


def test_what_cannot_be_handed_over_is_drawn_by_threads(capsys):
    with drawing(lambda number: row(number), 2) as fill:
        found = {"row": np.zeros((2, 3), np.float32), "pid": np.zeros((2, 1), np.float32)}
        fill(found, [1, 2])
    np.testing.assert_array_equal(found["row"][:, 0], [1, 2])
    assert "threads draw them" in capsys.readouterr().err


def test_what_a_process_cannot_import_is_drawn_here(processes, monkeypatch, capsys):
    # As a function of a script is, which is "__main__" here and something else there.
    monkeypatch.setattr(sys.modules["__main__"], "row", row, raising=False)
    monkeypatch.setattr(row, "__module__", "__main__")
    found = {"row": np.zeros((2, 3), np.float32), "pid": np.zeros((2, 1), np.float32)}
    processes(row, 2).fill(found, range(2))
    np.testing.assert_array_equal(found["row"][:, 0], [0, 1])
    said = capsys.readouterr().err
    assert said.count("cannot be handed to processes") == 1
    assert "Traceback" not in said


def test_a_lost_file_is_said_once(processes, tmp_path, capsys):
    folder = write_pictures(tmp_path / "clear", 3, 3, 3)
    paths = sorted(folder.glob("*.png"))
    store = PictureStore(paths, tmp_path / "cache", crop_px=64, progress=False)
    for file in (tmp_path / "cache").glob("*.npy"):
        file.unlink()
    paths[1].unlink()
    found = {"crop": np.zeros((6, 64, 64, 3), np.float32)}
    processes(partial(crop, store), 2).fill(found, range(6))
    np.testing.assert_array_equal(found["crop"][1], found["crop"][2])  # the next one's
    assert capsys.readouterr().err.count(f"lost {paths[1]}") == 1


def test_closed_processes_are_gone_and_batches_still_come(processes):
    drawers = processes(row, 2)
    found = {"row": np.zeros((4, 3), np.float32), "pid": np.zeros((4, 1), np.float32)}
    drawers.fill(found, range(4))
    children = {int(pid) for pid in found["pid"].ravel()}
    drawers.close()
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    drawers.fill(found, range(4, 8))
    assert set(found["pid"].ravel()) == {float(os.getpid())}


def test_closing_waits_for_nothing_and_says_nothing(processes, capsys):
    drawers, found = processes(slow, 1), {"row": np.zeros((8, 3), np.float32)}
    filling = threading.Thread(target=drawers.fill, args=(found, range(8)))
    filling.start()
    time.sleep(0.9)  # the process has started, or is about to
    drawers.close()
    filling.join()
    np.testing.assert_array_equal(found["row"][:, 0], np.arange(8))
    assert not capsys.readouterr().err


_PARENT = """
import sys, time
sys.path[:0] = sys.argv[1:3]
import numpy as np
from drawn import row
from util.samples.processes import Processes
found = {"row": np.zeros((4, 3), np.float32), "pid": np.zeros((4, 1), np.float32)}
Processes(row, 2).fill(found, range(4))
print(*{int(pid) for pid in found["pid"].ravel()}, flush=True)
while True:  # a signal that comes right before one long sleep would not end that
    time.sleep(0.05)
"""


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(how):
    places = [str(PROJECT), str(PROJECT / "tests")]
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, *places], stdout=subprocess.PIPE, text=True
    )
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.send_signal(how)
    parent.wait(60)
    until = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in children):
        assert time.monotonic() < until, f"{children} are still there"
        time.sleep(0.05)


# --- how many -----------------------------------------------------------------------------------


class OnGpus:
    """Stand in for a strategy on some GPUs."""

    def __init__(self, count):
        devices = [f"/job:localhost/replica:0/task:0/device:GPU:{n}" for n in range(count)]
        self.extended = self
        self.worker_devices = tuple(devices)


def test_threads_draw_for_a_cpu_and_processes_for_gpus(monkeypatch):
    monkeypatch.setattr(machines, "_cores", lambda: 64)
    assert machines.sample_processes(tf.distribute.get_strategy()) == 0
    assert [machines.sample_processes(OnGpus(n)) for n in (1, 2, 8)] == [12, 24, 64]
    monkeypatch.setattr(machines, "_cores", lambda: 2)
    assert machines.sample_processes(OnGpus(1)) == 2


def test_the_devices_of_real_strategies_are_seen_as_cpus():
    for strategy in (tf.distribute.OneDeviceStrategy("/cpu:0"), tf.distribute.MirroredStrategy()):
        assert machines.sample_processes(strategy) == 0
