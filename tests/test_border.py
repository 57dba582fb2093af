"""Black borders that no tag tells of: found where they are, and nowhere else."""

import numpy as np
import pytest
from make_zoo import noise

from util.pictures.border import border_in, is_black, near_border, step_of
from util.pictures.original import Original

WHOLE = slice(None), slice(None)


def picture(height=120, width=160, dtype=np.uint8):
    """Return ground that is nowhere black."""
    return (50 + noise(height, width) // 2).astype(dtype)


def turned(pixels):
    """Return what a turned scene leaves out of a picture, bool (H, W)."""
    y, x = np.indices(pixels.shape[:2])
    return x + 0.3 * y < 60


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_it_is_no_ground_and_filled_and_stays(dtype):
    came = picture(dtype=dtype)
    border = turned(came)
    came[border] = 0
    came[50:54, 150:154] = 0  # dark ground, too far to be mirrored
    original = Original(came.copy())
    assert original.ground is None
    original.leave_out_border()
    np.testing.assert_array_equal(original.ground, ~border)
    seen, _ = original.picture(255)
    assert original.fill(seen)[border].min() > 0
    original.take(np.zeros_like(seen), 255)
    np.testing.assert_array_equal(original.values[border], came[border])
    assert not original.values[~border].any()


def test_what_jpeg_makes_of_black_belongs_to_it():
    came = picture()
    border = turned(came)
    came[border] = noise(*came.shape[:2])[border] % 3
    original = Original(came)
    original.leave_out_border()
    np.testing.assert_array_equal(original.ground, ~border)


def test_dark_ground_is_none():
    came = picture()
    came[40:100, 40:120] = 0  # a lake, however large, has no corner of the picture
    came[:20, :20] = 0  # smaller than a border
    original = Original(came)
    original.leave_out_border()
    assert original.ground is None


def test_a_black_picture_has_none():
    original = Original(np.zeros((90, 90, 3), np.uint8))
    original.leave_out_border()
    assert original.ground is None


def test_of_one_that_is_turned_by_exif_it_turns_along():
    came = picture()
    border = turned(came)
    came[border] = 0
    original = Original(came, orientation=6)
    original.leave_out_border()
    np.testing.assert_array_equal(original.ground, np.rot90(~border, -1))


def test_a_large_one_is_found_thinned_out_and_exact_in_any_part():
    black = turned(np.empty((1500, 2100, 3)))
    step = step_of(*black.shape)
    assert step == 3
    border = border_in(np.ascontiguousarray(black[::step, ::step]), step)
    found = black & near_border(border, black.shape, *WHOLE)
    np.testing.assert_array_equal(found, black)
    rows, columns = slice(100, 130), slice(10, 70)
    part = near_border(border, black.shape, rows, columns)
    np.testing.assert_array_equal(part, near_border(border, black.shape, *WHOLE)[rows, columns])


def test_black_is_nought_in_all_bands():
    values = np.array([[[0, 0, 0], [0, 0, 1], [3, 0, 0]]])
    assert is_black(values.astype(np.uint16)).tolist() == [[True, False, False]]
    assert is_black(values.astype(np.uint8)).tolist() == [[True, True, False]]
