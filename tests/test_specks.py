"""What is too small for cloud is ground, where it is known how much of that a pixel shows."""

import util  # noqa: F401, I001  first: TensorFlow computes here as in the scripts

from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tensorflow as tf
from util.restore import tiles
from util.restore.specks import told_scale


@dataclass(frozen=True)
class Finder:
    """Stands for a trained network that finds a given opacity."""

    restore: object
    settings: object
    by_rows: object = None


def finder(opacity, margin_px=160, clear_below=0.04):
    settings = SimpleNamespace(apply_margin_px=margin_px, clear_below=clear_below)
    found = tf.constant(opacity[None, ..., None])
    return Finder(lambda batch: {"restored": batch["cloudy"] + 1, "found_opacity": found}, settings)


def found_by(trained, shape):
    batch = {"cloudy": tf.ones((1, *shape, 3))}
    return trained.restore(batch)["found_opacity"].numpy()[0, ..., 0]


@pytest.fixture
def roof_and_cloud():
    """A roof of 8 pixels, and a cloud of 30 with a dark lake in it, opacity (96, 96)."""
    opacity = np.zeros((96, 96), np.float32)
    opacity[10:18, 10:18] = 0.9
    opacity[50:80, 50:80] = 0.3
    opacity[60:66, 60:66] = 0.0
    return opacity


def test_a_roof_is_ground_and_a_cloud_stays_as_it_was_found(roof_and_cloud):
    found = found_by(told_scale(finder(roof_and_cloud), 5.0), (96, 96))  # 100 m are 20 pixels
    assert not found[:40, :40].any()
    # But for its corners, where less than half of a square is cloud.
    np.testing.assert_array_equal(found[60:70, 48:], roof_and_cloud[60:70, 48:])
    assert found[50, 50] > 0.2


@pytest.mark.parametrize("pixel_m", [0.0, 50.0, 300.0])  # not known, and two that tell nothing
def test_without_a_scale_that_tells_nothing_changes(pixel_m, roof_and_cloud):
    trained = finder(roof_and_cloud)
    assert told_scale(trained, pixel_m) is trained


def test_a_smaller_pixel_makes_the_same_roof_smaller(roof_and_cloud):
    kept = {m: found_by(told_scale(finder(roof_and_cloud), m), (96, 96)) for m in (7.0, 20.0)}
    assert not kept[7.0][:40, :40].any()
    assert (kept[20.0][10:18, 10:18] > 0.5).all()


def test_what_leads_away_from_cloud_fades():
    opacity = np.zeros((256, 256), np.float32)
    opacity[:, :60] = opacity[128:130] = 0.5  # a front, and a wisp that leads away from it
    trained = told_scale(finder(opacity, margin_px=48), 0.1)  # 31 pixels, two thirds of the margin
    found = found_by(trained, opacity.shape)
    assert (found[:, :60] == 0.5).all()
    wisp = found[128, 60:]
    assert (np.diff(wisp) <= 0).all()
    assert np.diff(wisp).min() > -0.05
    assert not wisp[32:].any()
    batch = {"cloudy": tf.zeros((1, *opacity.shape, 3))}
    ground = trained.restore(batch)["restored"].numpy()[0, 128, 60:, 0]
    np.testing.assert_allclose(ground, 2 * wisp, atol=1e-6)  # as far as the cloud is believed


@pytest.mark.parametrize("tile_px", [160, 224])
def test_tiles_find_what_the_whole_picture_finds(tile_px):
    coarse = np.random.default_rng(3).random((20, 28, 3), np.float32)
    cloudy = cv2.resize(coarse, (420, 300), interpolation=cv2.INTER_CUBIC)
    settings = SimpleNamespace(apply_margin_px=48, clear_below=0.8)

    def found(batch):
        return {"restored": batch["cloudy"], "found_opacity": batch["cloudy"][..., :1]}

    restore = told_scale(Finder(found, settings), 5.0).restore
    whole, parts = (
        tiles.run(restore, {"cloudy": cloudy}, tile_px=side, margin_px=48)["found_opacity"]
        for side in (480, tile_px)
    )
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    left = (cloudy[..., :1] >= 0.8) & (parts == 0)
    assert 0.01 < left.mean() < 0.9 * (cloudy[..., 0] >= 0.8).mean()


def test_nan_is_left_for_those_who_look_for_it(roof_and_cloud):
    roof_and_cloud[20, 90] = np.nan
    found = found_by(told_scale(finder(roof_and_cloud), 5.0), (96, 96))
    assert np.isnan(found[20, 90])


def test_cloud_all_over_stays():
    opacity = np.full((64, 64), 0.3, np.float32)
    np.testing.assert_array_equal(found_by(told_scale(finder(opacity), 9.0), (64, 64)), opacity)
