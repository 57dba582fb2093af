"""What the tests share: tiny pictures, tiny settings, and real processes that train on them."""

import util  # noqa: F401, I001  first: TensorFlow computes here as in the scripts

import csv
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[1]

# Every script; a new one joins here. docs/house.md says which tests take all, which ENDURING alone.
SCRIPTS = [
    "mod_defog",
    "mod_mend",
    "mod_GAN_spot",
    "mod_GAN_poly",
    "mod_deblurgan",
    "mod_GAN_cloud",
    "mod_pix2pix",
    "mod_colorize",
]
ENDURING = ["mod_defog", "mod_GAN_poly"]

# Small enough for a start to cost little more than loading TensorFlow. Settings that a script
# does not have are left out.
TINY = {
    "crop_px": 64,
    "batch_size": 4,
    "steps": 12,
    "warmup_steps": 3,
    "validation_samples": 4,
    "base_width": 2,
    "stage1_width": 2,
    "stage2_width": 2,
    "cloud_window_px": (32, 64),
    "noise_cell_px": (5.0, 40.0),
    "noise_octaves": 3,
    "cloud_hole_share": 0.5,
    "past_size": 6,
    "balance_window": 3,
    "reconstruction_steps": 2,
    "adversarial_rise_steps": 4,
    "generator_width": 2,
    "blocks": 1,
    "critic_width": 2,
    "discriminator_width": 2,
    "discriminator_blocks": (1, 1, 1, 1),
    "levels": 5,
    "critic_steps": 2,
    "perceptual_layer": "block1_conv2",
    "log_every": 2,
    "validate_every": 4,
    "sheet_every": 6,
    "save_every": 4,
    "keep_checkpoints": 3,
    "devices": "cpu",
}

_DIGESTED = ("networks/", "optimizers/", "variables/")
_COUNTERS = ("step", "skipped", "skipped_in_a_row")

# Runs a script as a person would, only slower: a fast machine must not finish before it is stopped.
_PACED = """
import runpy, sys, time
pace, sys.argv = float(sys.argv[1]), sys.argv[2:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
from util import interrupt
interrupt.listen()
from util.run import report
step = report.Report.step
report.Report.step = lambda self, done: (time.sleep(pace), step(self, done))[1]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# --- pictures ---------------------------------------------------------------------------------


def smooth_picture(rng, height, width, channels):
    """Return random smooth pixels, uint8 (H, W, C): in noise there is nothing to learn."""
    coarse = rng.random((6, 6, channels)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture.reshape(height, width, channels) * 255, 0, 255).astype(np.uint8)


def write_pictures(folder, seed, count, channels):
    """Write `count` PNG files of 96 to 128 pixels a side into a new folder; return the folder."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        height, width = (int(n) for n in rng.integers(96, 129, 2))
        pixels = smooth_picture(rng, height, width, channels)
        assert cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


@pytest.fixture(scope="session")
def clear_folder(tmp_path_factory):
    """A folder with six pictures of "ground"."""
    return write_pictures(tmp_path_factory.mktemp("pictures") / "clear", 1, 6, 3)


@pytest.fixture(scope="session")
def cloud_folder(tmp_path_factory):
    """A folder with four grey pictures of "cloud"."""
    return write_pictures(tmp_path_factory.mktemp("pictures") / "clouds", 2, 4, 1)


# --- settings ---------------------------------------------------------------------------------


def task_of(script):
    """Return the Task of a script."""
    return importlib.import_module(script).TASK


@pytest.fixture
def tiny_settings(clear_folder, cloud_folder):
    """Return a function: (folder, script=..., **changes) -> tiny settings of a script."""

    def make(folder, script="mod_defog", **changes):
        return task_of(script).settings(
            **tiny_values(folder, script, changes, clear_folder, cloud_folder)
        )

    return make


def tiny_values(folder, script, changes, clear_folder, cloud_folder):
    """Return the tiny settings of a script as a dictionary, its folders below `folder`."""
    values = {
        **TINY,
        "clear_folder": str(clear_folder),
        "cloud_folder": str(cloud_folder),
        "runs_folder": str(folder / "runs"),
        "history_folder": str(folder / "History"),
        "cache_folder": str(folder / "cache"),
    }
    known = {field.name for field in fields(task_of(script).settings)}
    return {**{n: v for n, v in values.items() if n in known}, **changes}


@pytest.fixture
def empty_pictures(monkeypatch):
    """Leave sheets and plots empty: to draw them takes longer than all the steps between them."""
    from util import files
    from util.run import draw

    monkeypatch.setattr(draw, "save_png", lambda _, *paths: [files.write(p, b"") for p in paths])


@pytest.fixture
def one_by_one(tiny_settings, tmp_path):
    """Return a function: script, changes -> state, step, a function number -> batch, settings.

    The step is not compiled: for a step or two that would take longer than the steps.
    """
    import keras
    import tensorflow as tf

    from util.samples.batches import stack

    def make(script, **changes):
        task, settings = task_of(script), tiny_settings(tmp_path, script, **changes)
        keras.utils.set_random_seed(0)
        state = task.make_state(settings)
        sample = task.samples(settings, progress=False)[0]

        def batch(step=0):
            numbers = range(step * settings.batch_size, (step + 1) * settings.batch_size)
            return {n: tf.constant(v) for n, v in stack(sample, numbers).items()}

        def step(given):
            metrics = task.train_step(state, given, settings)
            state.end_step()
            return metrics, state.skipped_in_a_row

        for optimizer in state.optimizers.values():
            optimizer.learning_rate.assign(settings.learning_rate)
        return state, step, batch, settings

    return make


# --- a trained network --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def folders(tmp_path_factory, clear_folder):
    """The folder settings of a run of mod_defog that took two steps."""
    from util import command, interrupt

    place = tmp_path_factory.mktemp("trained")
    values = {f"{n}_folder": str(place / n) for n in ("runs", "history", "cache")}
    values["clear_folder"] = str(clear_folder)
    tiny = {
        "steps": 2, "warmup_steps": 0, "validation_samples": 2, "noise_share": 1.0,
        "noise_octaves": 2, "log_every": 1, "validate_every": 2, "sheet_every": 2, "save_every": 2,
    }  # fmt: skip
    task = task_of("mod_defog")
    settings = task.settings(**{n: v for n, v in TINY.items() if n in vars(task.settings())})
    chosen = {**vars(settings), **tiny, **values}
    words = [
        f"--{n.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, tuple) else v}"
        for n, v in chosen.items()
    ]
    with pytest.raises(SystemExit) as end:
        command.main(task, "", words)
    interrupt.leave()
    assert end.value.code == 0
    return {name: Path(value) for name, value in values.items()}


@pytest.fixture(scope="session")
def network(folders):
    """The network of that run, loaded."""
    from util.use import trained

    task = task_of("mod_defog")
    return trained.load(task, task.settings(**{k: str(v) for k, v in folders.items()}))


# --- processes --------------------------------------------------------------------------------


class Runner:
    """Start a script in processes of its own, all with the same tiny settings and folders."""

    def __init__(self, folder, script, clear_folder, cloud_folder, **changes):
        self.folder, self.script = folder, script
        self.values = tiny_values(folder, script, changes, clear_folder, cloud_folder)
        self.run_dir = folder / "runs" / script
        self.checkpoints = self.run_dir / "checkpoints"

    def arguments(self, changes):
        """Return the settings, with changes, as words of a command line."""
        words = []
        for name, value in {**self.values, **changes}.items():
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(f"--{name.replace('_', '-')}={text}")
        return words

    def start(
        self, *words, pace_s=0.0, env=None, preexec_fn=None, stderr=subprocess.PIPE, **changes
    ):
        """Start the script and return the process; `changes` are settings, `pace_s` slows steps."""
        script = [str(PROJECT / f"{self.script}.py")]
        paced = ["-c", _PACED, str(pace_s)] if pace_s else []
        self.folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, *paced, *script, *self.arguments(changes), *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            preexec_fn=preexec_fn,
        )

    def run(self, *words, **options):
        """Run the script to its end; return (exit status, everything that it printed)."""
        return ended(self.start(*words, **options))

    def here(self, capsys, *words, **changes):
        """Run the script in the process of the tests, which has TensorFlow loaded; see `run`."""
        from stand_ins import run_task

        return run_task(capsys, task_of(self.script), *self.arguments(changes), *words)

    def newest(self):
        """Return the step of the newest checkpoint, 0 if there is none."""
        steps = [int(p.stem.removeprefix("step-")) for p in self.checkpoints.glob("step-*.npz")]
        return max(steps, default=0)

    def wait_for(self, process, step):
        """Wait until the checkpoint of `step` or a later one is there; fail if the process ends."""
        wait_until(process, lambda: self.newest() >= step, f"checkpoint {step} of {self.script}")

    def digest(self):
        """Return the step of the newest checkpoint and its digest."""
        step = self.newest()
        return step, digest_of(self.checkpoints / f"step-{step:07d}.npz")


@pytest.fixture
def runner(tmp_path, clear_folder, cloud_folder):
    """Return a function: (script, **changes) -> Runner in the test's own folder."""

    def make(script=SCRIPTS[0], folder=None, **changes):
        return Runner(folder or tmp_path, script, clear_folder, cloud_folder, **changes)

    return make


def ended(process, timeout_s=600):
    """Wait for a process; return (exit status, everything that it printed)."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"did not end within {timeout_s} s:\n{out}{err}")
    return process.returncode, (out or "") + (err or "")


def wait_until(process, happened, what, timeout_s=600):
    """Wait until ``happened()``; fail if the process ends, or the time, before `what` it is."""
    until = time.monotonic() + timeout_s
    while not happened():
        if process.poll() is not None:
            out, err = process.communicate()
            pytest.fail(f"ended with {process.returncode} before {what}:\n{out}{err}")
        if time.monotonic() > until:
            process.kill()
            pytest.fail(f"waited in vain for {what}")
        time.sleep(0.01)


def no_trace(text):
    return "Traceback" not in text and "Exception ignored" not in text


def log_of(run_dir):
    """Return the rows of log.csv without the time, which may differ."""
    with open(run_dir / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: text for name, text in row.items() if name != "time_s"} for row in rows]


def contents(folder):
    """Return dict relative path -> bytes of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def take_up(run):
    """Take a run up as a start does whose settings are accepted, as far as its first checkpoint."""
    run.compare()
    run.keep()
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "step-0000001.npz").touch()


# Long enough to be stopped anywhere, with a checkpoint of every step to compare with.
ENDURED = {
    "steps": 24,
    "log_every": 4,
    "validate_every": 8,
    "sheet_every": 24,
    "save_every": 1,
    "keep_checkpoints": 100,
}


class Reference:
    """A run that nobody disturbed."""

    def __init__(self, runner):
        self.runner = runner
        begun = time.monotonic()
        status, text = runner.run()
        self.took_s = time.monotonic() - begun
        assert status == 0, text
        self.steps = runner.values["steps"]
        assert f"finished {self.steps} steps" in text
        self.digests = {
            step: digest_of(runner.checkpoints / f"step-{step:07d}.npz")
            for step in range(1, self.steps + 1)
        }
        self.log = log_of(runner.run_dir)

    def copy_until(self, runner, step):
        """Give another runner this run as it was after `step`."""
        shutil.copytree(self.runner.run_dir, runner.run_dir)
        for path in runner.checkpoints.glob("step-*.npz"):
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink()
        # Its folders are not those of the run that is copied.
        file = runner.run_dir / "settings.json"
        file.write_text(file.read_text().replace(str(self.runner.folder), str(runner.folder)))

    def check_same_end(self, runner):
        assert runner.digest() == (self.steps, self.digests[self.steps])
        assert log_of(runner.run_dir) == self.log
        assert not [name for name in contents(runner.run_dir) if ".tmp" in name]


@pytest.fixture(scope="session")
def reference(tmp_path_factory, clear_folder, cloud_folder):
    """Return a function: script -> its undisturbed run with ENDURED, made once."""
    made = {}

    def get(script=SCRIPTS[0]):
        if script not in made:
            folder = tmp_path_factory.mktemp(script)
            made[script] = Reference(Runner(folder, script, clear_folder, cloud_folder, **ENDURED))
        return made[script]

    return get


# --- checkpoints, read without the program's own code -----------------------------------------


def arrays_of(path):
    """Return every array of a checkpoint: dict name -> array."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def meta_of(path):
    """Return the JSON part of a checkpoint."""
    return json.loads(arrays_of(path)["meta"].tobytes())


def state_arrays(path):
    """Return what a run is: networks, optimisers, script's variables and counters."""
    return {
        name: array
        for name, array in sorted(arrays_of(path).items())
        if name.startswith(_DIGESTED) or name in _COUNTERS
    }


def digest_of(path):
    """Return the SHA-256 over the whole state in a checkpoint: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, array in state_arrays(path).items():
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def rewrite(path, change):
    """Apply `change(name, bytes) -> bytes` to each member of an .npz; the CRCs are right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


def npy(array):
    """Return an array as the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


# --- files of every kind ----------------------------------------------------------------------


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """The files of `make_zoo`, good and bad, by name; tests leave them as they are."""
    from make_zoo import make_zoo

    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture
def three_files(tmp_path):
    """Return three files, one format each, the arrays in them, and a folder for a cache."""
    from make_zoo import noise

    from util.pictures.write import write_picture

    arrays = [noise(80, 100, seed=1), noise(70, 90, np.uint16, 2), noise(64, 64, seed=3)]
    folder = tmp_path / "data"
    folder.mkdir()
    paths = [folder / "a.png", folder / "b.png", folder / "c.tif"]
    for path, pixels in zip(paths, arrays, strict=True):
        write_picture(path, pixels)
    return paths, arrays, tmp_path / "cache"
