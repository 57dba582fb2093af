"""Tiny networks in the place of trained ones, and the command line in this process."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import mod_defog
from configure import Common, Defog, GANPoly
from util import command, interrupt
from util.measure.evaluation import CLOUDS, HAZE, HOLES
from util.restore import holes, whole
from util.task import Task
from util.use import trained
from util.use.trained import Trained

TINY = {"crop_px": 64, "validation_samples": 3, "devices": "cpu"}  # apply_margin_px stays 160


def two_convolutions(channels, seed=0):
    """Return a network (B, H, W, channels) -> (B, H, W, 3) that sees 2 pixels far."""
    rng = np.random.default_rng(seed)
    picture = keras.Input((None, None, channels))
    inner = keras.layers.Conv2D(4, 3, padding="same", activation="tanh")(picture)
    outer = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid")(inner)
    network = keras.Model(picture, outer)
    network.set_weights([rng.normal(0, 0.5, w.shape) for w in network.get_weights()])
    return network


def filler(samples=None, **changes):
    """Return a Trained that fills holes, and the list of the batches that it is given."""

    def restore(networks, batch, settings):
        patch = networks["net"](tf.concat([batch["holed"], batch["hole"]], axis=-1))
        return {"restored": batch["holed"] + patch * batch["hole"], "patch": patch}

    return _trained("mod_filler", GANPoly, restore, holes.KIND, HOLES, samples, changes)


def dehazer(samples=None, **changes):
    """Return a Trained that restores every pixel, and the list of the batches that it is given."""

    def restore(networks, batch, settings):
        return {"restored": networks["net"](batch["hazy"])}

    kind = whole.every_pixel("hazy")
    return _trained("mod_dehazer", Common, restore, kind, HAZE, samples, changes)


def clearer(samples=None, **changes):
    """Return a Trained that finds opacity, and the list of the batches that it is given."""

    def restore(networks, batch, settings):
        made = networks["net"](batch["cloudy"])
        return {"restored": made, "found_opacity": tf.maximum(made[..., :1] - 0.4, 0)}

    return _trained("mod_clearer", Defog, restore, whole.CLOUD, CLOUDS, samples, changes)


def _trained(name, settings, restore, kind, measure, samples, changes):
    task = Task(
        name=name, settings=settings, samples=samples, make_networks=None, make_state=None,
        train_step=None, restore=restore, sheet=None, kind=kind, measure=measure,
    )  # fmt: skip
    networks = {"net": two_convolutions(sum(kind.given.values()))}
    settings = settings(**{**TINY, **changes})
    calls = []

    def counted(batch):
        calls.append({n: np.array(v) for n, v in batch.items()})
        assert batch.keys() == kind.given.keys()
        return restore(networks, batch, settings)

    return Trained(task, settings, networks, Path("none.npz"), 0, counted), calls


# --- the command line ---------------------------------------------------------------------------


def run_task(capsys, task, *arguments):
    """Run a task's command line; return (exit status, what it printed)."""
    with pytest.raises(SystemExit) as end:
        command.main(task, "what it learns", list(map(str, arguments)))
    interrupt.leave()
    said = capsys.readouterr()
    return end.value.code, said.out + said.err


def run(capsys, *arguments):
    """Run mod_defog's command line; see `run_task`."""
    return run_task(capsys, mod_defog.TASK, *arguments)


def at(folders):
    """Return the words that lead to the run of the fixture `folders`."""
    return f"--runs-folder={folders['runs_folder']}", "--devices=cpu"


def use(monkeypatch, network):
    """Let the command line find this network."""
    monkeypatch.setattr(trained, "load", lambda *args: network)


def picture(seed, height, width, dtype=np.uint8):
    """Return random pixels (height, width, 3)."""
    rng, top = np.random.default_rng(seed), np.iinfo(dtype).max
    return rng.integers(0, top, (height, width, 3), endpoint=True).astype(dtype)
