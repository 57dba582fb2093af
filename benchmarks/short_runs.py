"""Train a script for some minutes in a folder of its own, and read what it has written there."""

import csv
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from util.settings import as_text, option_of

PROJECT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.stem for path in PROJECT.glob("mod_*.py"))


def run(script, *words):
    """Run a script in a process of its own; what it said is shown if it fails."""
    done = subprocess.run(
        [sys.executable, str(PROJECT / f"{script}.py"), *words],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        sys.exit(f"{script}.py {' '.join(words)}\nended with {done.returncode}:\n{done.stderr}")


def words_of(settings):
    """Return settings, a dictionary, as words of a command line."""
    return [f"{option_of(name)}={as_text(value)}" for name, value in settings.items()]


def rows_of(path):
    """Return the rows of a CSV file, each as a dictionary."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def train(script, folder, steps, settings, *words):
    """Train in a folder; return its last checkpoint. Scores and sheets are made at the end alone.

    settings : dict name -> value
    words : more settings, as a person types them
    """
    usual = {
        "runs_folder": folder,
        "steps": steps,
        "log_every": 1 if steps < 60 else 10 if steps < 200 else 50,
        "validate_every": steps + -steps % 50,
        "sheet_every": steps,
        "save_every": steps,
    }
    run(script, *words_of({**usual, **settings}), *words)
    return Path(folder, script, "checkpoints", f"step-{steps:07d}.npz")


def seconds_a_step(train_in, tried=60):
    """Return how long a step takes.

    train_in : ``train_in(folder, steps)`` -> last checkpoint, a run whose speed is measured
    tried : int
        Its steps, 60 or, where they are slow, 6.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(train_in(folder, tried).parents[1] / "log.csv")
    # Not the first sixth: there it is traced; nor the last, which waits for scores and sheets.
    first, last = rows[0], rows[4]
    return (float(last["time_s"]) - float(first["time_s"])) / (4 * tried / 6)


def steps_in(minutes, train_in, tried=60):
    """Return how many steps take so many minutes: from 100 on a multiple of 50, one at least."""
    steps = 60 * minutes / seconds_a_step(train_in, tried)
    return max(1, round(steps) if steps < 100 else round(steps / 50) * 50)


def trained_for(minutes, script, folder, settings, tried=60):
    """Return the last checkpoint of a run of so many minutes in a folder.

    What is there already is not trained again. Settings and tried as of `train` and
    `seconds_a_step`.
    """
    if kept := sorted(Path(folder, script, "checkpoints").glob("step-*.npz")):
        return kept[-1]
    train_in = partial(train, script, settings=settings)
    return train_in(folder, steps_in(minutes, train_in, tried))
