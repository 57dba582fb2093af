"""What pixels mean: whole numbers and 0..1, there and back."""

import numpy as np
import pytest

from util.pictures.pixels import Picture, as_float, as_pixels, plus, scaled


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_float_and_back_is_the_identity(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    share = as_float(values)
    assert share.dtype == np.float32
    assert share[0] == 0
    assert share[-1] == 1
    assert np.array_equal(as_pixels(share, dtype), values)


def test_as_pixels_rounds_clips_and_refuses_nan():
    picture = np.array([-0.5, 0.0, 0.5, 0.999, 1.0, 7.0], np.float32)
    assert as_pixels(picture, np.uint8).tolist() == [0, 0, 128, 255, 255, 255]
    with pytest.raises(ValueError, match="NaN"):
        as_pixels(np.array([0.5, np.nan], np.float32), np.uint8)
    with pytest.raises(ValueError, match="uint8 or uint16"):
        as_pixels(picture, np.float32)
    with pytest.raises(ValueError, match="uint8 or uint16"):
        as_float(picture)


@pytest.mark.filterwarnings("error")
def test_numbers_too_great_for_32_bits_are_white():
    values = np.array([-1e300, np.nan, 0.25, 3e38, 1e300, np.inf])
    assert scaled(values, 0.5).tolist() == [0, 0, 32768, 65535, 65535, 65535]


@pytest.mark.parametrize("white", [0.5, 255.0, 10_000.0, 65534.0, 100_000.0])
def test_over_range_rescales_and_clips_every_value(white):
    values = np.arange(65536).astype(np.uint16)
    expected = np.rint(np.clip(values / white, 0, 1) * 65535).astype(np.uint16)
    assert not np.array_equal(expected, values)
    assert np.array_equal(Picture(values, white).over_range(), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_over_range_keeps_what_means_that_already(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    kept = Picture(values, float(values[-1])).over_range()
    assert kept is values
    assert np.array_equal(kept, np.arange(len(kept)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_change_is_added_rounded_and_within_the_types_range(dtype):
    top = np.iinfo(dtype).max
    pixels = np.array([[0, 7, 7, 7, top]], dtype)
    change = np.array([[-3, 0, -0.6, 1.4, 2]], np.float32)
    np.testing.assert_array_equal(plus(pixels, change), [[0, 7, 6, 8, top]])
    three = np.dstack([pixels] * 3)
    made = plus(three, np.dstack([change] * 3))
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, np.dstack([[[0, 7, 6, 8, top]]] * 3))
