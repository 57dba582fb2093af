"""Experts' masks: what a file means, and opacity measured where it says cloud."""

import csv
import math

import numpy as np
import pytest
from stand_ins import clearer, dehazer, picture, run_task, use

from util.measure.baselines import dark_channel_transmission
from util.measure.opacity import CLEAR, CLOUD, SHADOW, THICK, THIN, mask_scores
from util.pictures.pixels import PictureError, as_float
from util.pictures.write import write_picture
from util.use.expert_masks import read_classes

CLASSES = np.repeat(np.uint8([CLEAR, THICK, THIN, SHADOW]), 400).reshape(40, 40)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("cloud", [4, 200, 255])
def test_classes_and_two_values(tmp_path, dtype, cloud):
    write_picture(tmp_path / "classes.png", CLASSES.astype(dtype))
    np.testing.assert_array_equal(read_classes(tmp_path / "classes.png"), CLASSES)
    two = np.where(CLASSES == THICK, cloud, 0).astype(dtype)
    write_picture(tmp_path / "two.png", two)
    np.testing.assert_array_equal(read_classes(tmp_path / "two.png"), (two > 0) * CLOUD)


@pytest.mark.parametrize("values", [[0, 1, 255], [0, 4, 5], [3, 255], [0, 127, 255]])
def test_other_values_are_no_mask(tmp_path, values):
    write_picture(tmp_path / "a.png", np.resize(np.uint8(values), (20, 20)))
    with pytest.raises(PictureError, match=r"a\.png: no mask"):
        read_classes(tmp_path / "a.png")


def test_colours_are_no_mask(tmp_path):
    write_picture(tmp_path / "a.png", np.stack([CLASSES, CLASSES, CLASSES * 0], axis=-1))
    with pytest.raises(PictureError, match="must be grey"):
        read_classes(tmp_path / "a.png")


@pytest.fixture
def places(tmp_path):
    """Return two folders, of pictures and of masks."""
    found = tmp_path / "pictures", tmp_path / "masks"
    for folder in found:
        folder.mkdir()
    return found


def measured(capsys, monkeypatch, places, file):
    stand_in, _ = clearer()
    use(monkeypatch, stand_in)
    words = ("--masks", *places, "--csv", file)
    status, said = run_task(capsys, stand_in.task, "evaluate", *words)
    with open(file, encoding="utf-8", newline="") as opened:
        return stand_in, status, said, list(csv.DictReader(opened))


def test_opacity_is_measured_against_the_mask_of_its_name(places, tmp_path, capsys, monkeypatch):
    pictures, masks = places
    for number, name in enumerate(("classes", "two")):
        write_picture(pictures / f"{name}.png", picture(number, 40, 40))
    write_picture(masks / "classes.png", CLASSES)
    write_picture(masks / "two.tif", np.where(CLASSES == THIN, 255, 0).astype(np.uint8))
    for name, mask in (("size", CLASSES[1:]), ("many", picture(2, 40, 40))):
        write_picture(pictures / f"{name}.png", picture(3, 40, 40))
        write_picture(masks / f"{name}.png", mask)
    file = tmp_path / "m.csv"
    stand_in, status, said, rows = measured(capsys, monkeypatch, places, file)
    assert status == 0
    assert "its mask has 40 x 39 pixels, the picture 40 x 40" in said
    assert "many.png: no mask" in said
    assert said.count("left out") == 2
    names = [(row["picture"], row["method"]) for row in rows]
    methods = ("network", "dark channel prior")
    assert names == [(name, method) for name in ("classes", "two") for method in methods]
    areas = []
    for number, row in enumerate(rows[::2]):
        came = as_float(picture(number, 40, 40))
        classes = CLASSES if number == 0 else (CLASSES == THIN) * CLOUD
        found = stand_in.task.kind.complete(stand_in, {"cloudy": came})["found_opacity"][..., 0]
        prior = 1 - dark_channel_transmission(came)[0]
        for other, opacity in ((row, found), (rows[2 * number + 1], prior)):
            for score, value in mask_scores(opacity, classes).items():
                wanted = pytest.approx(value, rel=1e-4)
                assert other[score] == "" if math.isnan(value) else float(other[score]) == wanted
        areas.append(float(row["auc"]))
    mean = next(line for line in said.splitlines() if line.startswith("mean"))
    shown = mean.split("|")[1].split()
    assert float(shown[0]) == pytest.approx(np.mean(areas), abs=5e-4)
    assert float(shown[1]) == pytest.approx(float(rows[0]["thick_found"]), abs=5e-4)


def test_little_of_the_range_is_told_once(places, tmp_path, capsys, monkeypatch):
    for name in "ab":
        write_picture(places[0] / f"{name}.png", picture(0, 40, 40, np.uint16) // 8)
        write_picture(places[1] / f"{name}.png", CLASSES)
    _, status, said, _ = measured(capsys, monkeypatch, places, tmp_path / "found.csv")
    assert status == 0
    assert said.count("full_scale") == 1
    assert f"{places[0] / 'a.png'}: its values reach 8" in said


def test_nothing_to_measure_and_who_finds_no_opacity(places, tmp_path, capsys, monkeypatch):
    pictures, masks = places
    write_picture(pictures / "a.png", picture(1, 40, 40))
    stand_in, _ = clearer()
    use(monkeypatch, stand_in)
    assert run_task(capsys, stand_in.task, "evaluate", "--masks", *places)[0] == 2
    write_picture(masks / "a.png", CLASSES + 9)
    status, said = run_task(capsys, stand_in.task, "evaluate", "--masks", *places)
    assert status == 1
    assert "no picture could be measured" in said
    stand_in, _ = dehazer()
    use(monkeypatch, stand_in)
    status, said = run_task(capsys, stand_in.task, "evaluate", "--masks", *places)
    assert status == 2
    assert "--masks: not understood" in said


def test_a_black_border_is_no_ground_here_either(places, tmp_path, capsys, monkeypatch):
    """As in what `apply` writes: what a mask says of it has no say."""
    pixels, mask = picture(0, 64, 64), np.zeros((64, 64), np.uint8)
    pixels[:, :34], mask[:, 50:] = 0, 255
    for name, value in (("clear", 0), ("cloud", 255)):
        mask[:, :34] = value
        write_picture(places[0] / f"{name}.png", pixels)
        write_picture(places[1] / f"{name}.png", mask)
    _, status, _, rows = measured(capsys, monkeypatch, places, tmp_path / "found.csv")
    assert status == 0
    found = [row["auc"] for row in rows if row["method"] == "network"]
    assert found[0] == found[1] != "nan"
