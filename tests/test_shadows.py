"""Shadows of cloud get their light back: where they fall, and nothing else."""

import cv2
import numpy as np
import pytest
from test_bands import OnlySlices

from util.restore import rolling, shadows
from util.restore.shadows import relight
from util.samples import light

FELL = (9, -14)  # down and right


def scene(*, fell=FELL, depth=0.5, side=256, blobs=12, seed=0):
    """Return ground, float32 0..1, the same in shadow, and the opacity of cloud, uint8."""
    rng = np.random.default_rng(seed)
    tone = cv2.GaussianBlur(rng.standard_normal((side, side, 3)).astype(np.float32), (0, 0), 2)
    ground = np.float32([0.35, 0.4, 0.3]) + tone * 0.25
    cloud = np.zeros((side, side), np.float32)
    for _ in range(blobs):
        at = [int(n) for n in rng.integers(20, side - 20, 2)]
        cv2.circle(cloud, at, int(rng.integers(5, 12) * side / 256), 1.0, -1)
    cloud = cv2.GaussianBlur(cloud, (0, 0), 1)
    return ground, light.shadow(ground, cloud, depth, *fell, 1.0), np.uint8(np.rint(cloud * 255))


def pixels_of(ground, dtype=np.uint8, white=255):
    return np.rint(ground * white).astype(dtype)


def in_shadow(ground, shaded, cloud):
    """Return where ground is in deep shadow, and where in full light; not beneath cloud."""
    share = (shaded / ground).mean(axis=2)
    seen = cloud < 8
    return seen & (share < 0.6), seen & (cv2.dilate(np.uint8(share < 0.99), np.ones((9, 9))) == 0)


@pytest.mark.parametrize("fell", [FELL, (-20, 5), (3, 41)])
def test_shadows_get_their_light_back_and_nothing_else_changes(fell):
    ground, shaded, cloud = scene(fell=fell)
    deep, lit = in_shadow(ground, shaded, cloud)
    came = pixels_of(shaded)
    made = came.copy()
    missing = relight(made, cloud, 255.0)
    before, after = (np.abs(part / 255 - ground)[deep].mean() for part in (came, made))
    assert after < 0.3 * before
    assert (missing[deep] > 0).mean() > 0.9
    np.testing.assert_allclose(np.median(missing[deep]) / 255, 0.5, atol=0.1)
    assert (missing[lit] > 0).mean() < 0.01
    np.testing.assert_array_equal(made[missing == 0], came[missing == 0])


@pytest.mark.parametrize("given", [{"depth": 0.0}, {"blobs": 0}, {"depth": 0.03}])
def test_where_no_shadows_are_surely_found_nothing_is_done(given):
    _, shaded, cloud = scene(**given)
    came = pixels_of(shaded)
    made = came.copy()
    assert not relight(made, cloud, 255.0).any()
    np.testing.assert_array_equal(made, came)


def test_dark_ground_that_no_cloud_shades_stays_as_it_is():
    ground, shaded, cloud = scene()
    lake = np.s_[200:240, 10:60]
    shaded[lake] = ground[lake] * 0.4
    cloud[180:, :110] = 0
    made = pixels_of(shaded)
    came = made.copy()
    assert relight(made, cloud, 255.0).any()
    np.testing.assert_array_equal(made[lake], came[lake])


def test_shadows_that_fall_far_are_found_in_larger_cells():
    ground, shaded, cloud = scene(fell=(30, 110), side=512)
    deep, lit = in_shadow(ground, shaded, cloud)
    missing = relight(pixels_of(shaded), cloud, 255.0)
    assert (missing[deep] > 0).mean() > 0.8
    assert (missing[lit] > 0).mean() < 0.02


def test_16_bits_and_a_lower_white_get_the_same_light():
    _, shaded, cloud = scene()
    made, deeper = pixels_of(shaded), pixels_of(shaded, np.uint16, 6500)
    missing, the_same = relight(made, cloud, 255.0), relight(deeper, cloud, 6500.0)
    assert (np.abs(missing.astype(int) - the_same) <= 4).mean() > 0.99
    np.testing.assert_allclose(deeper / 6500, made / 255, atol=0.03)


def test_of_a_black_shadow_nothing_is_to_be_known():
    ground, shaded, cloud = scene(depth=1.0)
    share = (shaded / ground).mean(axis=2)
    missing = relight(pixels_of(shaded), cloud, 255.0)
    black = (cloud < 8) & (share < 0.01)
    assert (missing[black] == 255).mean() > 0.9
    assert not (missing == 255)[share > 0.5].any()


def test_parts_that_a_picture_is_worked_on_in_do_not_show(monkeypatch):
    _, shaded, cloud = scene(side=300)
    whole, parts = pixels_of(shaded), pixels_of(shaded)
    relight(whole, cloud, 255.0)
    monkeypatch.setattr(shadows, "_BLOCK", 80)
    relight(parts, cloud, 255.0)
    assert (whole != parts).any(axis=2).mean() < 0.005


def test_rows_that_get_their_light_together_do_not_show(monkeypatch):
    _, shaded, cloud = scene()
    whole, strips = pixels_of(shaded), pixels_of(shaded)
    missing = relight(whole, cloud, 255.0)
    monkeypatch.setattr(shadows, "_ROWS", 16)
    monkeypatch.setattr(rolling, "_PIXELS", 1)
    np.testing.assert_array_equal(relight(strips, cloud, 255.0), missing)
    np.testing.assert_array_equal(strips, whole)


def test_ground_may_be_whatever_takes_and_gives_slices():
    class Slices(OnlySlices):
        def __setitem__(self, at, values):
            self._pixels[at] = values

    _, shaded, cloud = scene()
    plain, kept = pixels_of(shaded), pixels_of(shaded)
    np.testing.assert_array_equal(relight(plain, cloud, 255.0), relight(Slices(kept), cloud, 255.0))
    np.testing.assert_array_equal(plain, kept)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (5, 7), (200, 3), (130, 1600)])
def test_a_picture_of_any_size_is_taken(size):
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    for cloud in (np.full(size, 255), np.zeros(size), rng.integers(0, 256, size)):
        missing = relight(ground.copy(), cloud.astype(np.uint8), 255.0)
        assert missing.shape == size
        assert missing.dtype == np.uint8
