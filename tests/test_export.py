"""export: what was written gives the network's own results, or nothing is left behind."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import task_of
from stand_ins import at, clearer, dehazer, run

import mod_GAN_poly
from util.say import UserError
from util.use import deepness, export
from util.use.trained import Trained


def missing(*names):
    return any(importlib.util.find_spec(name) is None for name in names)


ONNX = pytest.mark.skipif(missing("tf2onnx", "onnxruntime"), reason="optional packages")
KINDS = [
    "keras",
    "savedmodel",
    pytest.param("onnx", marks=ONNX),
    pytest.param("litert", marks=pytest.mark.skipif(
        missing("ai_edge_litert"), reason="optional package")),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, pytest.param("qgis", marks=ONNX)])
def test_each_format_agrees(folders, tmp_path, capsys, kind):
    status, said = run(
        capsys, "export", "--format", kind, "--out", tmp_path / "sub" / "net", *at(folders)
    )
    assert status == 0, said
    assert "greatest difference" in said
    assert "done: " in said
    assert [p.name for p in (tmp_path / "sub").iterdir()] == [f"net{export.FORMATS[kind]}"]


def test_the_file_computes_in_float32_whatever_the_precision_here(folders, tmp_path, capsys):
    words = "export", "--format", "savedmodel", "--out", tmp_path / "net", *at(folders)
    status, said = run(capsys, *words, "--precision", "mixed_bfloat16")
    assert status == 0, said
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    found = loaded.serve(np.zeros((1, 64, 64, 3), np.float32))
    assert {value.dtype for value in found.values()} == {tf.float32}


@pytest.mark.slow
def test_savedmodel_needs_nothing_of_ours_and_takes_any_size(folders, network, tmp_path, capsys):
    out = tmp_path / "net"
    assert run(capsys, "export", "--format", "savedmodel", "--out", out, *at(folders))[0] == 0
    loaded = tf.saved_model.load(str(out))
    x = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)
    found, wanted = loaded.serve(x), network.restore({"cloudy": x})
    for name in ("restored", "found_opacity"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)
    status, said = run(capsys, "export", "--format", "savedmodel", "--out", out, *at(folders))
    assert status == 2
    assert "exists" in said


def test_too_large_a_difference_leaves_nothing(folders, tmp_path, capsys, monkeypatch):
    def bad(network, path, batch):
        path.write_bytes(b"x")
        shape = batch["cloudy"].shape[:3]
        return {"restored": np.zeros((*shape, 3)), "found_opacity": np.ones((*shape, 1))}

    monkeypatch.setitem(export._KINDS, "keras", bad)
    status, said = run(
        capsys, "export", "--format", "keras", "--out", tmp_path / "n.keras", *at(folders)
    )
    assert status == 1
    assert "differ too much" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["onnx", "litert"])
def test_an_absent_package_is_one_line_with_the_remedy(
    folders,
    tmp_path,
    capsys,
    monkeypatch,
    kind,
):
    needs = (("some-package", "no_such_module_here", ""),)
    monkeypatch.setitem(export._NEEDS, kind, needs)
    status, said = run(capsys, "export", "--format", kind, "--out", tmp_path / "n", *at(folders))
    assert status == 2
    assert "pip install some-package" in said.splitlines()[-1]


def test_a_file_names_only_scripts_of_this_project():
    with pytest.raises(Exception, match="no script"):
        export._task("os.path")


# ---- several inputs: an untrained network that fills holes ----


@pytest.fixture(scope="module")
def untrained():
    settings = mod_GAN_poly.TASK.settings(crop_px=64, base_width=2)
    networks = mod_GAN_poly.TASK.make_networks(settings)
    kernel = networks["generator"].get_layer("head2").kernel  # zeros, that would hide all the rest
    kernel.assign(np.full(kernel.shape, 0.05, np.float32))

    def restore(batch):
        return mod_GAN_poly.TASK.restore(networks, batch, settings)

    return Trained(mod_GAN_poly.TASK, settings, networks, Path("none.npz"), 0, restore)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_format_takes_a_hole(untrained, tmp_path, capsys, kind):
    status = export.export(untrained, kind, tmp_path / "net")
    said = capsys.readouterr()
    assert status == 0, said
    assert "restored: " in said.out
    assert "patch: " in said.out
    assert [p.name for p in tmp_path.iterdir()] == [f"net{export.FORMATS[kind]}"]


# ---- the layers that only some scripts have ----


AS_TRAINED = {"norm": "batch", "used_as_trained": True, "output": "direct"}


@pytest.mark.parametrize("kind", ["keras", pytest.param("onnx", marks=[pytest.mark.slow, ONNX])])
@pytest.mark.parametrize(
    ("script", "changes"),
    [
        ("mod_GAN_cloud", {"base_width": 2}),
        ("mod_pix2pix", {"generator_width": 2, "levels": 5}),
        ("mod_pix2pix", {"generator_width": 2, "levels": 5, **AS_TRAINED}),
        ("mod_colorize", {"generator_width": 2, "levels": 5}),
    ],
)
def test_networks_of_every_kind_are_exported(script, changes, kind, tmp_path, capsys):
    """Dropout by the place; attention, which sees means over areas where the picture is larger."""
    task = task_of(script)
    settings = task.settings(crop_px=64, **changes)
    networks = task.make_networks(settings)
    for layer in networks["generator"].layers:
        if layer.name == "attention":
            layer.gamma.assign(0.5)

    def restore(batch):
        return task.restore(networks, batch, settings)

    network = Trained(task, settings, networks, Path("none.npz"), 0, restore)
    status = export.export(network, kind, tmp_path / "net")
    said = capsys.readouterr()
    assert status == 0, said
    assert "restored: " in said.out


def test_the_picture_to_compare_on_has_a_hole():
    task = mod_GAN_poly.TASK
    batch = export._batch(task, export._parity_picture(64))
    assert {n: v.shape for n, v in batch.items()} == {
        n: (1, 64, 64, c) for n, c in task.kind.given.items()
    }
    assert batch["hole"].mean() == 0.25
    assert not (batch["holed"] * batch["hole"]).any()
    assert batch["holed"].any()


# ---- QGIS ----


@pytest.mark.parametrize(("make", "names"), [(clearer, ["found_opacity"]), (dehazer, [])])
def test_planes_are_what_the_network_makes_of_the_picture(make, names, monkeypatch):
    monkeypatch.setattr(deepness, "_SIDE_PX", 64)
    network, _ = make(apply_margin_px=10)
    network = replace(network, restore=lambda b: network.task.restore(network.networks, b, None))
    picture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    (name,) = network.task.kind.given
    found = deepness.by_planes(network)(np.moveaxis(picture, -1, 1))
    assert sorted(found) == sorted(["red", "green", "blue", *names])
    assert {plane.shape for plane in found.values()} == {(1, 1, 64, 64)}
    wanted = network.restore({name: picture})
    got = deepness.joined({n: plane.numpy() for n, plane in found.items()})
    assert sorted(got) == sorted(["restored", *names])
    for name, value in got.items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-6)


def test_what_deepness_reads_of_a_file():
    settings = mod_GAN_poly.TASK.settings(apply_margin_px=160)
    told = {n: json.loads(text) for n, text in deepness.keys(settings, ["blue", "red"]).items()}
    assert told == {
        "model_type": "Regressor", "class_names": [{"0": "blue"}, {"0": "red"}],
        "resolution": 1000, "tile_size": 1024, "tiles_size": 1024, "tiles_overlap": 32,
        "reg_output_scaling": 255,
    }  # fmt: skip
    wide = mod_GAN_poly.TASK.settings(apply_margin_px=500)
    assert deepness.keys(wide, [])["tile_size"] == "2016"
    assert deepness.keys(wide, [])["tiles_overlap"] == "50"


def test_deepness_has_no_holes_to_give(untrained, tmp_path):
    with pytest.raises(UserError, match="--format qgis: Deepness gives"):
        export.export(untrained, "qgis", tmp_path / "net")
