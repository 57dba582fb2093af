"""Coloured fringes: brought near to the ground around, only under cloud, however it is cut."""

from itertools import pairwise

import numpy as np
import pytest
from stand_ins import picture

from util.restore import rolling
from util.restore.fringes import without_fringes


def whole(pixels, opacity, white=None, cuts=()):
    white = white or np.iinfo(pixels.dtype).max
    tops = [0, *cuts, len(pixels)]
    parts = [(a, pixels[a:b].copy(), opacity[a:b].copy()) for a, b in pairwise(tops)]
    found = list(without_fringes(iter(parts), white))
    assert [top for top, *_ in found] == list(
        np.cumsum([0, *(len(rows) for _, rows, _ in found)])[:-1]
    )
    np.testing.assert_array_equal(np.concatenate([part for *_, part in found]), opacity)
    return np.concatenate([rows for _, rows, _ in found])


def violet(rows, width, dtype=np.uint8, times=1):
    """Return grey ground with a violet column, and its opacity: half, and nothing at the left."""
    pixels = np.full((rows, width, 3), 100 * times, dtype)
    pixels[:, width // 2, ::2] += 40 * times
    opacity = np.full((rows, width), 128, np.uint8)
    opacity[:, : width // 4] = 0
    return pixels, opacity


@pytest.mark.parametrize(("dtype", "times", "white"), [(np.uint8, 1, 255), (np.uint16, 40, 10_200)])
def test_a_violet_line_comes_near_to_the_ground_around_and_its_brightness_stays(
    dtype, times, white
):
    pixels, opacity = violet(60, 80, dtype, times)
    made = whole(pixels, opacity, white).astype(int)
    line = made[:, 40]
    off = (line[:, 1] - (line[:, 0] + line[:, 2]) / 2) / times
    around = -40 / (4 * np.sqrt(2 * np.pi))  # what a normal distribution of sigma 4 px leaves of it
    assert off == pytest.approx(around - 0.01 * 255, abs=1)
    np.testing.assert_allclose(line.mean(axis=-1), pixels[:, 40].mean(axis=-1), atol=1)
    np.testing.assert_array_equal(made[:, :20], pixels[:, :20])


def test_colours_of_ground_that_are_alike_or_not_covered_stay_to_the_bit():
    pixels, opacity = violet(60, 80)
    np.testing.assert_array_equal(whole(pixels, opacity * 0), pixels)
    np.testing.assert_array_equal(whole(pixels, opacity // 5 * (opacity < 129)), pixels)
    green = np.full((60, 80, 3), (20, 90, 40), np.uint8)
    np.testing.assert_array_equal(whole(green, opacity), green)


def test_red_and_blue_ground_keeps_its_red_and_blue():
    """What is brighter in red than in blue is not looked at."""
    pixels = np.full((60, 80, 3), 100, np.uint8)
    pixels[:, ::7, 0] += 60
    pixels[:, ::7, 2] -= 60
    np.testing.assert_array_equal(whole(pixels, np.full((60, 80), 128, np.uint8)), pixels)


@pytest.mark.parametrize("cuts", [[1], [5, 9, 30], [12, 13, 36, 49], range(1, 50)])
def test_however_it_is_cut(cuts, monkeypatch):
    monkeypatch.setattr(rolling, "_PIXELS", 1)  # or so small a picture were put together again
    pixels = picture(0, 50, 40)
    opacity = picture(1, 50, 40)[..., 0]
    np.testing.assert_array_equal(whole(pixels, opacity, cuts=cuts), whole(pixels, opacity))
