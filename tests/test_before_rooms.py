"""Runs and checkpoints from before util had rooms still resume and apply, under their old names.

The files in tests/before_rooms/ were written by commit 2598d2d: three steps of mod_defog and
mod_GAN_poly with base width 1, and what their networks then made of one random batch.
"""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT, arrays_of, meta_of, state_arrays, task_of

from util.run import checkpoint
from util.run.folder import RunFolder
from util.settings import as_trained
from util.train import loop
from util.use import trained

FILES = PROJECT / "tests" / "before_rooms"
OLD = {"past_size": "history_size", "past_share": "history_share"}
scripts = pytest.mark.parametrize("script", ["mod_defog", "mod_GAN_poly"])


def batch_of(task):
    """Return the batch that restored.npz was made from."""
    rng = np.random.default_rng(0)
    batch = {n: rng.random((1, 64, 64, c), np.float32) for n, c in task.kind.given.items()}
    if "hole" in batch:
        batch["hole"] = np.round(batch["hole"])
        batch["holed"] *= 1 - batch["hole"]
    return batch


@scripts
def test_an_old_checkpoint_applies_as_it_did(script):
    task = task_of(script)
    network = trained.load(task, task.settings(), FILES / f"{script}.npz")
    assert (network.step, network.settings.base_width) == (3, 1)  # configure.py has other widths
    expected = arrays_of(FILES / "restored.npz")
    for name, found in network.restore(batch_of(task)).items():
        np.testing.assert_allclose(found, expected[f"{script}/{name}"], atol=2e-3, err_msg=name)


@scripts
def test_an_old_run_goes_on(script, tiny_settings, tmp_path):
    task, file = task_of(script), FILES / f"{script}.npz"
    stored = meta_of(file)["settings"]
    assert ("history_size" in stored) == (script == "mod_GAN_poly")  # it is an old one
    settings = as_trained(tiny_settings(tmp_path, script), stored)
    settings = replace(settings, steps=5, validate_every=1, sheet_every=5, save_every=1)
    run = RunFolder(script, settings)
    run.checkpoints.mkdir(parents=True)
    shutil.copy(file, run.checkpoints / "step-0000003.npz")
    old = {OLD.get(name, name): value for name, value in asdict(settings).items()}
    (run.path / "settings.json").write_text(json.dumps(old))

    state = task.make_state(settings)
    assert checkpoint.restore_newest(run.checkpoints, state).name == "step-0000003.npz"
    for name, array in state_arrays(file).items():
        np.testing.assert_array_equal(state.arrays()[name], array, err_msg=name)
    with run.held():
        run.take_up()
        assert loop.train(task, settings, tf.distribute.get_strategy()) == 0
    assert checkpoint.found(run.checkpoints)[0][0] == 5
