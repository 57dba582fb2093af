"""What a file holds comes out in its own type; what is no ground is found, filled and kept."""

import numpy as np
import pytest
from make_zoo import noise

from util.pictures.original import Original, filled, is_no_mask
from util.pictures.pixels import PictureError

COLLAR = np.zeros((40, 50), bool)
COLLAR[:, :12] = COLLAR[:7] = True


def values_of(dtype, bands=3):
    """Values over what the type is used for: reflectance up to 10,000, shares, whole ranges."""
    share = noise(40, 50, np.uint16).astype(np.float64) / 65535
    share = np.dstack([share, share[..., :1]])[..., :bands]
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return share.astype(dtype)
    return np.rint(share * {"u1": 255, "u2": 65535}.get(dtype.str[1:], 10_000)).astype(dtype)


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "u4", "f4", "f8"])
def test_values_that_did_not_change_stay_and_the_others_are_brought_back(dtype, orientation):
    came = values_of(dtype, 4)
    original = Original(came.copy(), orientation)
    scale = None if dtype in ("u1", "u2", "f4", "f8") else 10_000.0
    pixels, white = original.picture(scale)
    restored = pixels.copy()
    restored[3:9, 5:8] = restored[3:9, 5:8] // 2
    original.take(restored, scale)
    changed = restored != pixels
    stored = Original(original.values, orientation)._colours()
    before = Original(came, orientation)._colours()
    assert original.values.dtype == came.dtype
    np.testing.assert_array_equal(stored[~changed], before[~changed])
    unit = (scale or 1) if white == 65535 and dtype != "u2" else 65535 if dtype == "u2" else 255
    expected = restored[changed] / (65535 if white == 65535 else 255) * unit
    np.testing.assert_allclose(stored[changed], expected, atol=0.51 if unit > 1 else 1e-5)
    np.testing.assert_array_equal(original.values[..., 3], came[..., 3])


def test_values_beyond_white_and_below_zero_stay_where_nothing_changes():
    came = np.array([[[-50, 0, 12_345]], [[10_000, 5, 6]]], np.int16)
    original = Original(came.copy())
    pixels = original.picture(10_000.0).pixels
    original.take(pixels.copy(), 10_000.0)
    np.testing.assert_array_equal(original.values, came)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("u1", 255), ("u1", 0), ("u2", 0), ("i2", -9999), ("f4", np.nan),
     ("f4", -3.4028234663852886e38)],
)  # fmt: skip
def test_what_is_no_ground_has_no_say_and_comes_back(dtype, nodata):
    made = []
    for fill in (nodata, 7 if dtype != "f4" else np.inf):
        came = np.clip(values_of(dtype), 1, 250 if dtype == "u1" else None)
        if dtype == "f4":
            came /= came.max()
        came[COLLAR] = fill
        original = Original(came.copy(), nodata=fill)
        np.testing.assert_array_equal(original.ground, ~COLLAR)
        pixels = original.picture(10_000.0 if dtype == "i2" else None).pixels
        made.append(original.fill(pixels))
        original.take(made[-1] // 2, 10_000.0 if dtype == "i2" else None)
        np.testing.assert_array_equal(original.values[COLLAR], came[COLLAR])
        assert (original.values[~COLLAR] != came[~COLLAR]).any(axis=-1).mean() > 0.9
    np.testing.assert_array_equal(made[0], made[1])


def test_one_band_of_nodata_0_is_dark_ground_but_of_9999_below_zero_is_none():
    came = np.full((4, 5, 3), 90, np.int16)
    came[1, 2, 0] = 0
    assert Original(came, nodata=0.0).ground is None
    came[1, 2, 0] = -9999
    ground = Original(came, nodata=-9999.0).ground
    assert np.flatnonzero(~ground).tolist() == [7]
    assert Original(came.astype(np.uint8), nodata=-9999.0).ground is None  # cannot have it


def test_filled_mirrors_the_nearest_ground():
    pixels = np.zeros((1, 9, 3), np.uint8)
    pixels[0, :, 0] = [0, 10, 99, 99, 99, 99, 60, 70, 99]
    ground = pixels[..., 0] != 99
    assert filled(pixels, ground)[0, :, 0].tolist() == [0, 10, 0, 0, 60, 70, 60, 70, 60]
    with pytest.raises(PictureError, match="nothing of it is ground"):
        Original(pixels, nodata=0.0).fill(pixels, np.ones((1, 9), bool))


def test_a_result_is_never_nodata_by_accident():
    for nodata, moved in ((0.0, 1), (255.0, 254)):
        came = np.full((4, 5, 3), 90, np.uint8)
        came[0] = nodata
        original = Original(came, nodata=nodata)
        restored = np.full_like(came, nodata)
        original.take(restored)
        assert (original.values[0] == nodata).all()
        assert (original.values[1:] == moved).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f4"])
def test_the_greatest_alpha_of_each_type_is_opaque(dtype):
    top = 1 if dtype == "f4" else np.iinfo(dtype).max
    values = np.full((1, 3, 4), 1, dtype)
    values[0, :, 3] = [0, top / 2, top]
    opaque = Original(values, alpha=3).opaque
    np.testing.assert_allclose(opaque, [[0, 127, 255]], atol=1)


def test_painted_holes_are_opaque_and_the_rest_of_alpha_stays():
    came = np.dstack([values_of("u1"), np.where(COLLAR, 0, 200).astype(np.uint8)])
    came[20:, 30:, 3] = 128
    hole = np.zeros_like(COLLAR)
    hole[5:9, 10:20] = True
    original = Original(came.copy(), alpha=3)
    original.take(np.full((40, 50, 3), 9, np.uint8), hole=hole)
    np.testing.assert_array_equal(original.values[..., 3], np.where(hole, 255, came[..., 3]))
    kept = COLLAR & ~hole
    np.testing.assert_array_equal(original.values[kept], came[kept])
    assert (original.values[~kept][:, :3] == 9).all()


def test_a_band_of_many_values_is_no_mask():
    rng = np.random.default_rng(0)
    edge = np.where(COLLAR, 0, 255).astype(np.uint8)
    edge[:, 12] = rng.integers(0, 255, 40)
    assert not is_no_mask(edge)
    assert not is_no_mask(np.full((9, 9), 128, np.uint8))
    infra_red = rng.integers(0, 200, (40, 50), dtype=np.uint8)
    assert is_no_mask(infra_red)
    assert Original(np.dstack([values_of("u1"), infra_red]), alpha=3).ground is None


@pytest.mark.parametrize(
    ("dtype", "greatest", "said"),
    [("u2", 7900, "perhaps 10000"), ("u2", 900, "perhaps 1023"), ("f4", 0.066, "perhaps 0.07"),
     ("f4", 0.19, "perhaps 0.2"), ("u2", 30_000, None), ("f4", 0.6, None), ("u1", 9, None)],
)  # fmt: skip
def test_little_of_the_range_is_said_with_what_to_set(dtype, greatest, said):
    came = np.full((40, 50, 3), greatest, dtype)
    came[COLLAR] = 65535 if dtype == "u2" else 0
    hint = Original(came, nodata=float(came[0, 0, 0])).unused_range()
    assert (hint is None) == (said is None)
    assert said is None or (said in hint and "full_scale" in hint)
    assert Original(came).unused_range(full_scale=5.0) is None
