"""The harmonic filling against closed forms: Laplace's equation is solved, at any size."""

import cv2
import numpy as np
import pytest
from test_bands import OnlySlices

from util.pictures import harmonic
from util.pictures.harmonic import coarse_fill, harmonic_fill


def plane(height, width):
    """x, y and x - y over a picture, float32 (height, width, 3), of a range near 1."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    return np.stack([x, y, x - y], axis=-1)


def holes_of(height, width):
    """Holes of many kinds, none at the border, which the plane's slope would meet."""
    rng = np.random.default_rng(0)
    box, thin, noise = np.zeros((3, height, width), bool)
    box[height // 5 : -2, 3 : -width // 6] = True
    thin[2:-2, width // 2 : width // 2 + 2] = thin[height // 2, 2:-2] = True
    noise[1:-1, 1:-1] = rng.random((height - 2, width - 2)) < 0.6
    return [box, thin, noise]


@pytest.mark.parametrize("size", [(16, 16), (70, 33), (101, 300)])
def test_ramps_are_reproduced_and_known_pixels_kept(size):
    clear = plane(*size)
    for hole in holes_of(*size):
        given = np.where(hole[..., None], np.float32(7), clear)
        made = harmonic_fill(given, hole)
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made[~hole], clear[~hole])
        np.testing.assert_allclose(made, clear, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_pixel_is_the_mean_of_its_neighbours(channels):
    picture = np.random.default_rng(1).random((90, 120, channels), np.float32)
    for hole in holes_of(90, 120):
        hole[:30, :40] = True  # to the border, where a pixel has fewer neighbours
        made = harmonic_fill(picture, hole)
        padded = np.pad(made, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
        sides = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
        np.testing.assert_allclose(made[hole], np.nanmean(sides, axis=0)[hole], atol=1e-3)
        assert made.min() >= picture[~hole].min()
        assert made.max() <= picture[~hole].max()


def test_a_ring_between_two_circles_is_the_logarithm_of_the_radius():
    y, x = np.mgrid[-100:101, -100:101]
    radius = np.hypot(x, y)
    hole = (radius > 10) & (radius < 90)
    wanted = np.log(np.maximum(radius, 1) / 10) / np.log(9)
    made = harmonic_fill(np.float32(wanted)[..., None], hole)
    np.testing.assert_allclose(made[hole][..., 0], wanted[hole], atol=0.01)


def test_few_steps_are_enough_for_a_large_hole(monkeypatch):
    rng, steps = np.random.default_rng(2), []
    products = harmonic._products
    monkeypatch.setattr(harmonic, "_products", lambda *a: (steps.append(1), products(*a))[1])
    hole = np.zeros((500, 400), bool)
    hole[1:-1, 1:-1] = True
    harmonic_fill(rng.random((500, 400, 3), np.float32), hole)
    assert 0 < len(steps) <= 2 * 12


def test_nothing_missing_and_nothing_known():
    picture = plane(20, 30)
    for hole in (np.zeros((20, 30), bool), np.ones((20, 30), bool)):
        np.testing.assert_array_equal(harmonic_fill(picture, hole), picture)


# ---- at any size ----


@pytest.mark.parametrize("cells", [1, 2, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_large_picture_is_filled_in_strips(cells, dtype, monkeypatch):
    monkeypatch.setattr(harmonic, "_MOST_PIXELS", 460 * 223 / cells**2)
    clear = np.rint(100 + 100 * plane(460, 223)).astype(dtype)
    hole = np.zeros((460, 223), bool)
    hole[100:400, 60:160] = True
    given = np.where(hole[..., None], dtype(9), clear)
    source = OnlySlices(given)
    strips = list(coarse_fill(source, hole))
    assert [at.start for at, _ in strips] == [0, *(at.stop for at, _ in strips[:-1])]
    made = np.concatenate([part for _, part in strips])
    np.testing.assert_allclose(made[hole], clear[hole].astype(float), atol=0.7 + 0.3 * cells)
    assert source.most <= 64 * (cells + 1)


@pytest.mark.parametrize("size", [(12, 40_000), (40_000, 12), (60, 40_000)])
def test_a_side_may_be_longer_than_opencv_looks_up_at_once(size):
    clear = np.rint(100 + 100 * plane(*size)).astype(np.uint8)
    hole = np.zeros(size, bool)
    hole[3:-3, 3:-3] = True
    strips = list(coarse_fill(np.where(hole[..., None], np.uint8(9), clear), hole))
    made = np.concatenate([part for _, part in strips])
    np.testing.assert_allclose(made[hole], clear[hole].astype(float), atol=2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("cell", [1, 2, 3, 7])
def test_what_is_looked_up_part_by_part_is_the_same(cell, channels, monkeypatch):
    coarse = np.random.default_rng(3).random((90, 80, channels), np.float32)
    rows, columns = ((np.arange(n * cell, dtype=np.float32) + 0.5) / cell - 0.5 for n in (90, 80))
    wanted = cv2.remap(
        coarse, *np.meshgrid(columns, rows), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).reshape(len(rows), len(columns), channels)
    monkeypatch.setattr(harmonic, "_MOST_COLUMNS", 31)
    parts = [rows[top : top + 64] for top in range(0, len(rows), 64)]
    made = np.concatenate([harmonic._looked_up(coarse, part, columns) for part in parts])
    np.testing.assert_array_equal(made, wanted)
