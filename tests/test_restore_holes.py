"""Filling holes: what is missing and nothing else, and rows as early as can be."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from stand_ins import filler, picture
from test_bands import joined

from util.restore import holes, tiles
from util.restore.bands import bands, restore_picture

# ---- windows around holes ----


def holes_of(kind, height, width):
    hole = np.zeros((height, width), bool)
    rng = np.random.default_rng(4)
    if kind == "specks":
        hole[rng.integers(0, height, 40), rng.integers(0, width, 40)] = True
    elif kind == "boxes":
        for _ in range(6):
            top, left = rng.integers(0, height), rng.integers(0, width)
            hole[top : top + rng.integers(1, 90), left : left + rng.integers(1, 90)] = True
    elif kind == "diagonal":
        at = np.arange(max(height, width))
        hole[at * height // len(at), at * width // len(at)] = True
    elif kind == "corners":
        hole[0, 0] = hole[-1, -1] = True
    elif kind == "all":
        hole[:] = True
    return hole


@pytest.mark.parametrize("kind", ["specks", "boxes", "diagonal", "corners", "all"])
@pytest.mark.parametrize("size", [(5, 7), (64, 64), (300, 700), (1500, 1100)])
@pytest.mark.parametrize("context_px", [0, 16, 160])
def test_each_missing_pixel_lies_in_one_core_with_context_around(kind, size, context_px):
    hole = holes_of(kind, *size)
    found = holes.windows(hole, context_px=context_px, least_px=64)
    times = np.zeros(size, int)
    work = 0
    for window in found:
        times[window.core_rows, window.core_columns] += 1
        for outer, core, side in zip(window[:2], window[2:], size, strict=True):
            assert 0 <= outer.start <= core.start < core.stop <= outer.stop <= side
            assert outer.start in (0, *range(core.start - context_px + 1))
            assert outer.stop in (side, *range(core.stop + context_px, side + 1))
            length = outer.stop - outer.start
            assert length == side or (length % 32 == 0 and length >= 64)
        work += (window[0].stop - window[0].start) * (window[1].stop - window[1].start)
        # No core is larger than its holes.
        core = hole[window[2:]]
        assert all(edge.any() for edge in (core[0], core[-1], core[:, 0], core[:, -1]))
    starts = [window.core_rows.start for window in found]
    assert starts == sorted(starts)
    assert (times[hole] == 1).all()
    assert times.max() <= 1
    assert work <= hole.size


def test_holes_share_a_window_where_that_is_cheaper():
    hole = np.zeros((2000, 2000), bool)
    hole[300:340, 300:340] = True
    hole[300:340, 420:440] = True  # near
    hole[1500:1510, 1600:1630] = True  # far
    found = holes.windows(hole, context_px=160, least_px=128)
    assert len(found) == 2
    assert found[0] == (slice(128, 512), slice(130, 610), slice(300, 340), slice(300, 440))
    assert found[1][1].stop - found[1][1].start == 352
    assert holes.windows(np.zeros((50, 50), bool), context_px=160, least_px=128) == []


def test_thousands_of_specks_are_no_burden():
    hole = np.zeros((6000, 6000), bool)
    hole[::301, ::401] = True
    found = holes.windows(hole, context_px=32, least_px=64)
    assert len(found) == 300  # 20 x 15, none near another


# ---- pictures ----


def filled(network, pixels, hole, **how):
    return restore_picture(network, pixels, hole, **how)[0]


def two_holes(side=2000):
    hole = np.zeros((side, side), bool)
    hole[300:340, 1500:1550] = True
    hole[1700:1712, 40:60] = True
    return hole


def test_only_windows_around_holes_are_worked_on():
    network, calls = filler()
    came, hole = picture(1, 2000, 2000), two_holes()
    made = filled(network, came, hole)
    windows = holes.windows_of(network.settings, hole)
    assert len(calls) == len(windows) == 2
    assert sum(call["hole"].size for call in calls) < 0.08 * hole.size
    for call, window in zip(list(calls), windows, strict=True):
        at = window[:2]
        holed = np.where(hole[at][..., None], 0, came[at]).astype(np.float32)[None] / 255
        np.testing.assert_array_equal(call["holed"], holed)
        np.testing.assert_array_equal(call["hole"][0, ..., 0], hole[at])
        direct = network.restore({"holed": holed, "hole": np.float32(hole[at])[None, ..., None]})
        direct = np.rint(np.array(direct["restored"][0]) * 255)
        np.testing.assert_array_equal(made[at], direct.astype(np.uint8))
    np.testing.assert_array_equal(made[~hole], came[~hole])
    assert (made[hole] != came[hole]).mean() > 0.9
    in_place = came.copy()
    assert filled(network, in_place, hole, in_place=True) is in_place
    np.testing.assert_array_equal(in_place, made)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (5, 90), (70, 33), (300, 200)])
def test_known_pixels_are_kept_in_any_size(dtype, size):
    network, _ = filler()
    came, hole = picture(2, *size, dtype), picture(3, *size)[..., 0] < 100
    hole[0, 0] = True
    made = filled(network, came, hole)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made[~hole], came[~hole])
    # What was in the hole has no say.
    other = np.where(hole[..., None], came[::-1, ::-1], came)
    np.testing.assert_array_equal(filled(network, other, hole), made)


def test_a_window_larger_than_a_tile_is_filled_without_seams():
    came, hole = picture(4, 700, 500), np.zeros((700, 500), bool)
    hole[20:650, 30:480] = True
    hole[:, 200:220] = False
    whole, whole_calls = filler(apply_margin_px=16)
    tiled, tiled_calls = filler(apply_margin_px=16, apply_tile_px=256)
    ends = []
    for network in (whole, tiled):
        made = filled(network, came.copy(), hole, in_place=True)
        assert made.dtype == came.dtype
        ends.append(made)
    assert len(whole_calls) == 1 < len(tiled_calls)
    assert max(call["hole"].size for call in tiled_calls) <= 256**2
    np.testing.assert_array_equal(*ends)


def test_no_border_shows_where_tiles_disagree():
    """Of a painter whose texture begins anew in each tile, as of one that sees beyond margins."""
    network, calls = filler(apply_margin_px=16, apply_tile_px=256)
    rng = np.random.default_rng(0)

    def texture(batch):
        calls.append(batch)
        noise = cv2.GaussianBlur(rng.random(batch["hole"].shape[1:3], np.float32), None, 3)
        painted = np.clip(0.5 + 5 * (noise - 0.5), 0, 1)
        return {"restored": np.repeat(painted[None, ..., None], 3, axis=3)}

    hole = np.zeros((700, 600), bool)
    hole[10:690, 10:590] = True
    came = np.zeros((700, 600, 3), np.uint8)
    made = filled(replace(network, restore=texture), came, hole)[10:690, 10:590].astype(int)
    assert len(calls) > 9
    for axis in (0, 1):
        steps = np.abs(np.diff(made, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps.max() < 1.5 * np.median(steps)


def test_tiles_without_a_hole_cost_nothing():
    hole = np.zeros((1200, 1200), bool)
    at = np.arange(1200)
    hole[at, at] = True  # its box is the whole picture
    network, calls = filler(apply_margin_px=16, apply_tile_px=256)
    filled(network, picture(5, 1200, 1200), hole)
    assert sum(call["hole"].size for call in calls) < 0.6 * hole.size


def test_completed_is_what_apply_writes_and_soft_edges_are_mixed():
    network, _ = filler()
    clear = picture(7, 80, 100).astype(np.float32) / 255
    hole = np.zeros((80, 100, 1), np.float32)
    hole[20:50, 30:60] = 1
    hole[50, 30:60] = 0.5
    holed = clear * (1 - hole)
    wanted = tiles.run(network.restore, {"holed": holed, "hole": hole}, tile_px=512, margin_px=32)
    found = holes.complete(network, {"holed": holed, "hole": hole})["restored"]
    np.testing.assert_allclose(found, wanted["restored"], atol=1e-6)
    found = holes.complete(network, {"holed": clear, "hole": np.zeros_like(hole)})["restored"]
    np.testing.assert_array_equal(found, clear)


# ---- when rows come out ----


def when(network, calls, pixels, hole):
    """Fill a hole by bands; return how often the network had been called when each row came."""
    found = []
    made = bands(network, pixels, hole)
    rows, _ = joined((found.extend([len(calls)] * len(part[1])), part)[1] for part in made)
    np.testing.assert_array_equal(rows[~hole], pixels[~hole])
    assert (rows[hole] != pixels[hole]).mean() > 0.9
    return found


def test_rows_come_as_soon_as_no_later_window_can_touch_them():
    network, calls = filler(apply_margin_px=16)
    pixels, hole = picture(1, 1500, 200), np.zeros((1500, 200), bool)
    for top in (900, 100, 500):  # in whatever order
        hole[top : top + 40, 20:50] = True
    assert len(holes.windows_of(network.settings, hole)) == 3
    # Before any work the rows above the first hole; after each window those above the next hole.
    assert when(network, calls, pixels, hole) == [0] * 100 + [1] * 400 + [2] * 400 + [3] * 600


def test_rows_beside_a_hole_that_is_not_filled_yet_wait():
    network, calls = filler(apply_margin_px=16)
    pixels, hole = picture(2, 600, 900), np.zeros((600, 900), bool)
    hole[100:300, 10:40] = True
    hole[150:160, 800:850] = True
    assert len(holes.windows_of(network.settings, hole)) == 2
    assert when(network, calls, pixels, hole) == [0] * 100 + [1] * 50 + [2] * 450


def test_rows_of_a_large_hole_come_while_it_is_being_filled():
    network, calls = filler(apply_margin_px=16, apply_tile_px=192)
    pixels, hole = picture(3, 1200, 100), np.zeros((1200, 100), bool)
    hole[50:1150, 10:90] = True
    assert len(holes.windows_of(network.settings, hole)) == 1
    seen = when(network, calls, pixels, hole)
    assert len(calls) > 3
    assert sorted(set(seen)) == list(range(len(calls) + 1))


def test_a_picture_without_a_hole_comes_out_as_it_came():
    network, calls = filler()
    pixels = picture(4, 70, 90)
    rows, opacity = joined(bands(network, pixels, np.zeros((70, 90), bool)))
    np.testing.assert_array_equal(rows, pixels)
    assert opacity is None
    assert not calls
