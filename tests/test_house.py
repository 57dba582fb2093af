"""The six steps of docs/house.md: a script that moves in needs its own file, settings and rows.

It lies in a folder of its own, beside a copy of configure.py that has its class and its rows; util
is the project's, untouched.
"""

import csv
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import PROJECT, digest_of

pytestmark = pytest.mark.slow  # two processes

# Step 1: settings.
SETTINGS = '''
@settings_class
class Stripes(Common):
    """Settings of mod_stripes.py."""

    stripe_px: int = 8  # width of a dark stripe and of the gap beside it
    channels: int = 4  # of the network's only hidden layer
'''
ROWS = """    "stripe_px": row(OTHER_SAMPLES, between(1, 64)),
    "channels": row(FIXED, between(1, 64)),
"""

# Steps 2 to 6: the script.
SCRIPT = '''"""Learn to take dark stripes off a picture.

    striped (S, S, 3) --> two convolutions --> restored (S, S, 3)
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from configure import Stripes
from util import command
from util.measure.evaluation import Evaluation
from util.restore import whole
from util.samples.damage import Samples
from util.samples.ground import open_grounds
from util.task import Task
from util.train.losses import l1
from util.train.state import TrainState

# --- networks ---


def make_networks(settings):
    """Return {"net": (B, H, W, 3) -> (B, H, W, 3)}."""
    picture = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(settings.channels, 3, padding="same", activation="relu")(picture)
    x = keras.layers.Conv2D(3, 3, padding="same")(x)
    return {"net": keras.Model(picture, keras.layers.Add()([picture, x]), name="net")}


# --- samples: what it eats ---


def stripes(keys, clear, *, stripe_px):
    """Darken every other stripe of ground."""
    start = keys("stripes").integers(2 * stripe_px)
    dark = (np.arange(len(clear)) + start) // stripe_px % 2 == 0
    return {"striped": np.where(dark[:, None, None], clear * np.float32(0.4), clear),
            "clear": clear}


def samples(settings, progress=True, grounds=None, split=None):
    """Return samples to train and to validate with."""
    damage = partial(stripes, stripe_px=settings.stripe_px)
    return [Samples(g, damage) for g in grounds or open_grounds(settings, progress, split)]


# --- losses and step ---


def make_state(settings):
    """Return the state of a training."""
    return TrainState.of(make_networks(settings), settings)


def train_step(state, batch, settings):
    """Take one step."""

    def compute(batch):
        net = state.networks["net"]
        with tf.GradientTape() as tape:
            loss = l1(net(batch["striped"], training=True), batch["clear"])
        return {"net": tape.gradient(loss, net.trainable_variables)}, {"loss": loss}

    return state.update(compute, batch).metrics


# --- what a person sees ---


def restore(networks, batch, settings):
    """Return the picture without stripes."""
    return {"restored": tf.clip_by_value(networks["net"](batch["striped"]), 0.0, 1.0)}


def sheet(outputs):
    """Return the columns of a sheet."""
    return {"striped": outputs["striped"], "restored": outputs["restored"]}


TASK = Task(
    name="mod_stripes",
    settings=Stripes,
    samples=samples,
    make_networks=make_networks,
    make_state=make_state,
    train_step=train_step,
    restore=restore,
    sheet=sheet,
    kind=whole.every_pixel("striped"),
    measure=Evaluation(damaged="striped"),
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
'''


# Many command lines, one process: to load TensorFlow takes longer than each of them.
LINES = """
import json, sys
from util import command, interrupt  # first, as in a script: it sets how TensorFlow computes
import keras, mod_stripes

for words in json.loads(sys.argv[1]):
    keras.utils.clear_session()  # layers are counted from one again, as in a new process
    try:
        command.main(mod_stripes.TASK, mod_stripes.__doc__, words)
    except SystemExit as end:
        interrupt.leave()
        assert end.code == 0, words
    print("=====", flush=True)
"""


def words_of(*words, runs="runs", **changes):
    usual = {
        "crop-px": 64, "batch-size": 4, "validation-samples": 4, "warmup-steps": 0,
        "learning-rate": 0.01, "log-every": 2, "validate-every": 4, "sheet-every": 4,
        "save-every": 4, "devices": "cpu", "clear-folder": "clear", "runs-folder": runs,
    }  # fmt: skip
    changes = {name.replace("_", "-"): value for name, value in changes.items()}
    options = [f"--{name}={value}" for name, value in {**usual, **changes}.items()]
    return [*map(str, words), *options]


def test_the_six_steps(tmp_path, clear_folder):
    text = (PROJECT / "configure.py").read_text(encoding="utf-8")
    head, mark, rows = text.partition("\n# --- one row a setting")
    opening = "Common.rows = {\n"
    assert mark
    assert opening in rows
    text = head + SETTINGS + "\n" + mark + rows.replace(opening, opening + ROWS)
    (tmp_path / "configure.py").write_text(text, encoding="utf-8")
    (tmp_path / "mod_stripes.py").write_text(SCRIPT, encoding="utf-8")
    shutil.copytree(clear_folder, tmp_path / "clear")

    def python(*words):
        found = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert found.returncode == 0, found.stdout
        return found.stdout

    # It trains.
    python("mod_stripes.py", *words_of(steps=8))
    straight, pieces = (tmp_path / name / "mod_stripes" for name in ("runs", "pieces"))
    assert {p.name for p in straight.iterdir()} >= {"best.npz", "latest.png", "log.csv"}
    shutil.copytree(straight, pieces)
    (pieces / "checkpoints" / "step-0000008.npz").unlink()

    lines = [
        words_of(runs="pieces", steps=8),
        words_of(runs="pieces", steps=9, stripe_px=5),
        words_of("apply", "clear", "--out", "restored"),
        words_of("evaluate", "--csv", "table.csv"),
        words_of("evaluate", "--data", "clear", "--count", 6, "--csv", "data.csv"),
        words_of("export", "--format", "savedmodel", "--out", "net"),
        words_of("--help"),
    ]
    said = python("-c", LINES, json.dumps(lines)).split("=====\n")

    # It goes on, exactly.
    assert "going on at step 4" in said[0]
    ends = [digest_of(place / "checkpoints" / "step-0000008.npz") for place in (straight, pieces)]
    assert ends[0] == ends[1]
    assert digest_of(straight / "checkpoints" / "step-0000004.npz") != ends[0]
    assert "so other samples from here on" in said[1]

    # It applies.
    written = sorted(p.name for p in (tmp_path / "restored").iterdir())
    assert written == sorted(p.name for p in clear_folder.iterdir())  # and no opacity beside them
    sizes = [
        cv2.imread(str(place / written[0])).shape for place in (tmp_path / "restored", clear_folder)
    ]
    assert sizes[0] == sizes[1]

    # It is evaluated.
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"network", "nothing"}
    assert len(rows) == 8
    mean = {
        m: np.mean([float(r["psnr_whole"]) for r in rows if r["method"] == m])
        for m in ("network", "nothing")
    }
    assert mean["network"] != mean["nothing"]
    assert "all 6 pictures" in said[4]

    # It is exported.
    assert "restored: " in said[5]
    assert (tmp_path / "net" / "saved_model.pb").exists()
    assert "--stripe-px" in said[6]
