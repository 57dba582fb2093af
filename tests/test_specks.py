"""What is too small for cloud is ground, where it is known how much of that a pixel shows."""

import util  # noqa: F401, I001  first: TensorFlow computes here as in the scripts

from types import SimpleNamespace
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import tensorflow as tf
from util.restore import tiles
from util.restore.specks import told_scale, wide


@dataclass(frozen=True)
class Finder:
    """Stands for a trained network that finds a given opacity."""

    restore: object
    settings: object


def finder(opacity, margin_px=160, clear_below=0.04):
    settings = SimpleNamespace(apply_margin_px=margin_px, clear_below=clear_below)
    found = tf.constant(opacity[None, ..., None])
    return Finder(lambda batch: {"restored": batch["cloudy"], "found_opacity": found}, settings)


def found_by(trained, shape):
    batch = {"cloudy": tf.ones((1, *shape, 3))}
    return trained.restore(batch)["found_opacity"].numpy()[0, ..., 0]


@pytest.fixture
def roof_and_cloud():
    """A roof of 8 pixels, and a cloud of 30 with a dark lake and a wisp, opacity (96, 96)."""
    opacity = np.zeros((96, 96), np.float32)
    opacity[10:18, 10:18] = 0.9
    opacity[50:80, 50:80] = 0.3
    opacity[60:66, 60:66] = 0.0
    opacity[52:54, 80:86] = 0.1
    return opacity


def test_a_roof_is_ground_and_a_cloud_stays_as_it_was_found(roof_and_cloud):
    found = found_by(told_scale(finder(roof_and_cloud), 5.0), (96, 96))  # 100 m are 20 pixels
    assert not found[:40, :40].any()
    np.testing.assert_array_equal(found[40:, 40:], roof_and_cloud[40:, 40:])


@pytest.mark.parametrize("pixel_m", [0.0, 50.0, 300.0])  # not known, and two that tell nothing
def test_without_a_scale_that_tells_nothing_changes(pixel_m, roof_and_cloud):
    trained = finder(roof_and_cloud)
    assert told_scale(trained, pixel_m) is trained


def test_a_smaller_pixel_makes_the_same_roof_smaller(roof_and_cloud):
    kept = {m: found_by(told_scale(finder(roof_and_cloud), m), (96, 96)) for m in (7.0, 20.0)}
    assert not kept[7.0][:40, :40].any()
    assert (kept[20.0][10:18, 10:18] > 0.5).all()


def test_cloud_reaches_no_further_than_a_tile_sees():
    """Half a square and its width about it: all of that lies within what tiles have in common."""
    opacity = np.zeros((256, 256), np.float32)
    opacity[:, :20] = 0.5  # a front 20 pixels wide, and a wisp that leads away from it
    opacity[128:130] = 0.5
    found = found_by(told_scale(finder(opacity, margin_px=48), 0.1), (256, 256))
    assert (found[128, :40] == 0.5).all()
    assert not found[:, 20 + 48 :].any()


@pytest.mark.parametrize("tile_px", [160, 224])
def test_tiles_find_what_the_whole_picture_finds(tile_px):
    coarse = np.random.default_rng(3).random((20, 28, 3), np.float32)
    cloudy = cv2.resize(coarse, (420, 300), interpolation=cv2.INTER_CUBIC)
    settings = SimpleNamespace(apply_margin_px=48, clear_below=0.8)

    def found(batch):
        return {"restored": batch["cloudy"], "found_opacity": batch["cloudy"][..., :1]}

    restore = told_scale(Finder(found, settings), 5.0).restore
    how = {"tile_px": tile_px, "margin_px": 48}
    parts = tiles.run(restore, {"cloudy": cloudy}, **how)["found_opacity"]
    whole = restore({"cloudy": cloudy[None]})["found_opacity"][0]
    np.testing.assert_array_equal(parts, whole)
    left = (cloudy[..., :1] >= 0.8) & (parts == 0)
    assert 0.01 < left.mean() < 0.9 * (cloudy[..., 0] >= 0.8).mean()


def test_nan_is_left_for_those_who_look_for_it(roof_and_cloud):
    roof_and_cloud[20, 90] = np.nan
    found = found_by(told_scale(finder(roof_and_cloud), 5.0), (96, 96))
    assert np.isnan(found[20, 90])


def test_all_and_nothing_stay():
    assert wide(np.ones((40, 40), bool), 9).all()
    assert not wide(np.zeros((40, 40), bool), 9).any()
