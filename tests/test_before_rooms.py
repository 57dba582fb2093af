"""Runs and checkpoints from before util had rooms still resume and apply, under their old names.

The files in tests/before_rooms/ were written by commit 2598d2d: three steps of mod_defog and
mod_GAN_poly with base width 1, and what their networks then made of one random batch.
"""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT, arrays_of, meta_of, state_arrays, task_of, write_pictures

from util.run import checkpoint
from util.run.folder import RunFolder
from util.train import loop
from util.use import trained
from util.use.trained import as_trained

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


def split_of_then(folder):
    """Return which pictures runs trained on and held back: a fifth of each folder, spread."""
    sides = [], []
    for place in sorted(Path(folder).iterdir()):
        names = sorted(f"{place.name}/{path.name}" for path in place.iterdir())
        held = names[len(names) // 2] if len(names) > 1 else None
        for name in names:
            sides[name == held].append(name)
    return [*sides]


def names_of(sample):
    return ["/".join(path.parts[-2:]) for path in sample.ground.store.paths]


@scripts
def test_an_old_checkpoint_applies_as_it_did(script):
    task = task_of(script)
    then = {"dimmed": 0.0} if script == "mod_defog" else {}  # pictures were shown as they are
    network = trained.load(task, task.settings(**then), FILES / f"{script}.npz")
    assert (network.step, network.settings.base_width) == (3, 1)  # configure.py has other widths
    expected = arrays_of(FILES / "restored.npz")
    for name, found in network.restore(batch_of(task)).items():
        np.testing.assert_allclose(found, expected[f"{script}/{name}"], atol=2e-3, err_msg=name)


@scripts
def test_an_old_run_goes_on(script, tiny_settings, tmp_path, empty_pictures):
    task, file = task_of(script), FILES / f"{script}.npz"
    stored = meta_of(file)["settings"]
    assert ("history_size" in stored) == (script == "mod_GAN_poly")  # it is an old one
    settings = as_trained(tiny_settings(tmp_path, script), stored)
    # Five scenes, which a new run would split by.
    clear = tmp_path / "scenes"
    for scene, count in zip("abcde", (1, 2, 3, 4, 5), strict=True):
        write_pictures(clear / scene, count, count, 3)
    settings = replace(settings, clear_folder=str(clear))
    settings = replace(settings, steps=5, validate_every=1, sheet_every=5, save_every=1)
    run = RunFolder(script, settings)
    run.checkpoints.mkdir(parents=True)
    shutil.copy(file, run.checkpoints / "step-0000003.npz")
    old = {OLD.get(name, name): value for name, value in asdict(settings).items()}
    del old["validation_by"]
    (run.path / "settings.json").write_text(json.dumps(old))

    state = task.make_state(settings)
    assert checkpoint.restore_newest(run.checkpoints, state).name == "step-0000003.npz"
    for name, array in state_arrays(file).items():
        np.testing.assert_array_equal(state.arrays()[name], array, err_msg=name)
    seen = []

    def samples(*given, **how):
        seen.extend(task.samples(*given, **how))
        return seen

    with run.held():
        run.compare()
        goes_on = replace(task, samples=samples)
        assert loop.train(goes_on, settings, tf.distribute.get_strategy()) == 0
    assert checkpoint.found(run.checkpoints)[0][0] == 5
    assert [names_of(part) for part in seen] == split_of_then(settings.clear_folder)
