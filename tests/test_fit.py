"""The fit of light: what a gain and an offset can undo is undone, and no line does better."""

import numpy as np
import pytest

from util.measure.fit import fitted


def noise(seed):
    return np.random.default_rng(seed).random((24, 32, 3), dtype=np.float32)


def test_a_gain_and_an_offset_of_each_channel_are_undone():
    clear = noise(0)
    darker = clear * np.float32([0.5, 0.75, 0.3]) + np.float32([0.1, 0.0, 0.4])
    before = darker.copy()
    made = fitted(darker, clear)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, clear, atol=1e-6)
    np.testing.assert_array_equal(darker, before)


def test_the_line_of_least_squares():
    picture, clear = noise(1), noise(2)
    clear[..., 1] = 0.3 * clear[..., 1] + 0.5 * picture[..., 1]
    for channel in range(3):
        x, y = picture[..., channel], clear[..., channel]
        wanted = np.polyval(np.polyfit(x.ravel(), y.ravel(), 1), x)
        np.testing.assert_allclose(fitted(picture, clear)[..., channel], wanted, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_a_flat_picture_becomes_the_mean(level):
    clear = noise(3)
    made = fitted(np.full_like(clear, level), clear)
    np.testing.assert_allclose(
        made, np.broadcast_to(clear.mean(axis=(0, 1)), made.shape), atol=1e-6
    )


def test_what_leaves_the_range_is_cut_off():
    clear = np.zeros((10, 10, 3), np.float32)
    clear[:5] = 1
    picture = np.where(clear > 0, np.float32(0.8), np.float32(0.1))
    picture[0, 0] = 1
    made = fitted(picture, clear)
    assert made.min() >= 0
    assert made.max() == 1
