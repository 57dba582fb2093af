"""Every script: a checkpoint is found, loaded, applied to pictures and evaluated."""

import csv

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SCRIPTS, smooth_picture, task_of

from util import command, interrupt
from util.pictures.read import read_picture
from util.pictures.write import write_picture
from util.run import checkpoint
from util.run.folder import RunFolder
from util.train import loop


@pytest.fixture
def at_work(tiny_settings, tmp_path, capsys):
    """Return a function: script -> function that runs its command line on an untrained network."""

    def make(script):
        task, settings = task_of(script), tiny_settings(tmp_path, script)
        keras.utils.set_random_seed(1)
        run = RunFolder(task.name, settings)
        state = task.make_state(settings)
        for network in state.networks.values():
            for weight in network.trainable_variables:
                if weight.name == "bias":  # some begin by returning what they are given
                    weight.assign_add(tf.fill(weight.shape, 0.05))
        checkpoint.save(run.best, state, loop.describe(task, settings, {}))
        places = {n: getattr(settings, n) for n in vars(settings) if n.endswith("_folder")}
        options = [f"--{n.replace('_', '-')}={p}" for n, p in places.items() if p]

        def work(*words):
            with pytest.raises(SystemExit) as end:
                command.main(task, "", [*map(str, words), *options, "--devices=cpu"])
            interrupt.leave()
            said = capsys.readouterr()
            assert end.value.code == 0, said.out + said.err
            return said.out + said.err

        return work

    return make


@pytest.mark.parametrize("script", SCRIPTS)
def test_applied_and_evaluated(script, at_work, tmp_path):
    task, work = task_of(script), at_work(script)
    source, masks, out = tmp_path / "in", tmp_path / "masks", tmp_path / "out"
    for folder in (source, masks):
        folder.mkdir()
    rng = np.random.default_rng(3)
    for name, size in (("a.png", (70, 90)), ("b.tif", (64, 40))):
        pixels = smooth_picture(rng, *size, 3)
        write_picture(source / name, pixels.astype(np.uint16) * 257 if name == "b.tif" else pixels)
        hole = np.zeros(size, np.uint8)
        hole[20:40, 10:30] = 255
        assert cv2.imwrite(str(masks / f"{name[0]}.png"), hole)
    holes = ["--holes", masks] if task.kind.takes_hole else []
    said = work("apply", source, "--out", out, *holes)
    assert "2 restored" in said
    opacity = ["a_opacity.png", "b_opacity.png"] if task.kind.finds_opacity else []
    assert sorted(path.name for path in out.iterdir()) == sorted(["a.png", "b.tif", *opacity])
    for name in ("a.png", "b.tif"):
        came, made = read_picture(source / name), read_picture(out / name)
        assert (made.shape, made.dtype) == (came.shape, came.dtype)
        assert not np.array_equal(made, came)
        if task.kind.takes_hole:
            known = np.ones(came.shape[:2], bool)
            known[20:40, 10:30] = False
            np.testing.assert_array_equal(made[known], came[known])

    table = tmp_path / "table.csv"
    work("evaluate", "--count", 2, "--csv", table)
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["script"] for row in rows} == {script}
    assert {row["picture"] for row in rows} == {"sample 0000", "sample 0001"}
    assert len({row["method"] for row in rows}) >= 3  # the network and its rivals
    scores = [name for name in rows[0] if name.startswith(("psnr", "hole_psnr"))]
    assert scores
    assert all(float(row[scores[0]]) > 0 for row in rows)
