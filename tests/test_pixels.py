"""What pixels mean: whole numbers and 0..1, there and back."""

import numpy as np
import pytest

from util.pictures.pixels import as_float, as_pixels


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
