"""Detail laid on what was painted: that of like ground, nowhere else, however it is cut."""

from itertools import pairwise

import numpy as np
import pytest

from util.restore.detail import with_detail


def ground(height, width, seed=0):
    """Return fine noise over a dark left half, and a flat bright right half; uint8."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 60.0)
    pixels += rng.normal(0, 12, (height, width, 1))
    pixels[:, width // 2 :] = 180
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def painted(pixels, *holes):
    """Return pixels with smooth holes, (slice, slice) each, and their confidence."""
    made, confidence = pixels.copy(), np.full(pixels.shape[:2], 255, np.uint8)
    for at in holes:
        made[at] = np.rint(pixels[at].mean(axis=(0, 1)))
        confidence[at] = 0
    return made, confidence


def laid(pixels, confidence, share=1.0, white=None, cuts=()):
    opacity = 255 - confidence
    tops = [0, *cuts, len(pixels)]
    parts = [(a, pixels[a:b], opacity[a:b], confidence[a:b]) for a, b in pairwise(tops)]
    found = list(with_detail(iter(parts), share, white or np.iinfo(pixels.dtype).max))
    heights = [len(rows) for _, rows, *_ in found]
    assert [top for top, *_ in found] == list(np.cumsum([0, *heights])[:-1])
    for number, came in ((2, opacity), (3, confidence)):
        np.testing.assert_array_equal(np.concatenate([part[number] for part in found]), came)
    return np.concatenate([rows for _, rows, *_ in found])


LEFT, RIGHT = np.s_[60:100, 40:80], np.s_[60:100, 220:260]


def test_what_is_painted_becomes_as_sharp_as_ground_of_its_colour():
    pixels, confidence = painted(ground(160, 300), LEFT, RIGHT)
    made = laid(pixels, confidence)
    assert np.std(made[LEFT]) == pytest.approx(12, rel=0.15)
    assert np.std(made[RIGHT].astype(float)) < 1
    np.testing.assert_allclose(made[LEFT].mean(), pixels[LEFT].mean(), atol=1.5)
    own = confidence == 255
    np.testing.assert_array_equal(made[own], pixels[own])


def test_a_share_of_the_detail_is_that_share():
    pixels, confidence = painted(ground(160, 300), LEFT)
    half, whole = (laid(pixels, confidence, s).astype(int) - pixels for s in (0.5, 1.0))
    np.testing.assert_allclose(2 * half, whole, atol=1.01)


def test_16_bits_and_a_lower_white_get_the_same_detail():
    pixels, confidence = painted(ground(160, 300), LEFT)
    made = laid(pixels.astype(np.uint16) * 40, confidence, white=255 * 40)
    assert made.dtype == np.uint16
    np.testing.assert_allclose(made / 40, laid(pixels, confidence), atol=0.52)


def test_little_is_laid_on_where_painted_ground_fades_in():
    pixels, confidence = painted(ground(160, 300), LEFT)
    faint = np.where(confidence == 0, 48, confidence).astype(np.uint8)
    off, all_of_it = (laid(pixels, c)[LEFT].astype(int) - pixels[LEFT] for c in (faint, confidence))
    np.testing.assert_allclose(4 * off, all_of_it, atol=2.01)


def test_where_no_ground_is_clear_nothing_is_laid_on():
    pixels = ground(64, 64)
    for confidence in (0, 100):
        made = laid(pixels, np.full((64, 64), confidence, np.uint8))
        np.testing.assert_array_equal(made, pixels)


def test_cloud_seen_through_lends_no_detail():
    pixels = ground(160, 300)
    pixels, confidence = painted(pixels, LEFT)
    dim = np.where(confidence == 255, 180, 0).astype(np.uint8)
    np.testing.assert_array_equal(laid(pixels, dim), pixels)


def test_it_is_the_same_however_the_rows_are_cut_and_in_tiles():
    holes = np.s_[480:560, 100:160], np.s_[900:1000, 470:640], np.s_[1290:1300, 0:20]
    pixels, confidence = painted(ground(1300, 1300), *holes)
    whole = laid(pixels, confidence)
    assert (whole != pixels).any(axis=-1)[confidence == 0].mean() > 0.5
    for cuts in ((700,), range(16, 1300, 16)):
        np.testing.assert_array_equal(laid(pixels, confidence, cuts=cuts), whole)
