"""Tiles: the same result as in one piece, whatever the size; nothing lost, nothing doubled."""

from itertools import pairwise

import numpy as np
import pytest

from configure import Common
from util.restore import tiles

SIZES = [(1, 1), (31, 33), (200, 77), (1000, 40), (64, 64), (300, 700)]
SMALL = {"tile_px": 160, "margin_px": 16}


def blur(batch):
    """A local function of radius 8 on a grid of 32: what lies in the tile's own 32 x 32 block."""
    x = batch["cloudy"]
    b, h, w, c = x.shape
    assert h % 32 == w % 32 == 0
    near = np.pad(x, ((0, 0), (8, 8), (8, 8), (0, 0)), "edge")
    mean = sum(near[:, i : i + h, j : j + w] for i in (0, 5, 16) for j in (0, 9, 16)) / 9
    block = x.reshape(b, h // 32, 32, w // 32, 32, c).mean((2, 4))
    return {"restored": mean + block.repeat(32, 1).repeat(32, 2)}


@pytest.mark.parametrize("size", SIZES)
def test_the_identity_gives_the_picture_back(size):
    picture = np.random.default_rng(0).integers(0, 65536, (*size, 3)).astype(np.uint16)
    result = tiles.run(lambda batch: {"same": batch["cloudy"]}, {"cloudy": picture}, **SMALL)
    np.testing.assert_array_equal(np.rint(result["same"] * 65535).astype(np.uint16), picture)


@pytest.mark.parametrize("size", SIZES)
def test_tiled_equals_whole(size):
    picture = np.random.default_rng(1).random((*size, 3), np.float32)
    tiled = tiles.run(blur, {"cloudy": picture}, **SMALL)["restored"]
    whole = tiles.run(blur, {"cloudy": picture}, tile_px=2048, margin_px=16)["restored"]
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


@pytest.mark.parametrize("margin_px", [0, 4, 8, 16])
def test_too_small_a_margin_is_noticed_by_this_comparison(margin_px):
    """The blur reaches 8 pixels: with as much thrown away nothing shows, with less it does."""
    picture = np.random.default_rng(1).random((300, 700, 3), np.float32)
    whole = tiles.run(blur, {"cloudy": picture}, tile_px=2048, margin_px=margin_px)["restored"]
    tiled = tiles.run(blur, {"cloudy": picture}, tile_px=160, margin_px=margin_px)["restored"]
    noticed = not np.allclose(tiled, whole, atol=1e-6)
    assert noticed == (margin_px < 8)


@pytest.mark.parametrize("size", [*SIZES, (5000, 3000), (10_000, 10_000), (40, 20_000)])
@pytest.mark.parametrize(("tile_px", "margin_px"), [(160, 16), (512, 96), (2304, 96)])
def test_plan_covers_the_picture_with_aligned_tiles_of_bounded_size(size, tile_px, margin_px):
    p = tiles.plan(*size, tile_px=tile_px, margin_px=margin_px)
    assert p.tile_height * p.tile_width <= tile_px**2
    for starts, tile, full, before, side in (
        (p.tops, p.tile_height, p.height, p.above, size[0]),
        (p.lefts, p.tile_width, p.width, p.before, size[1]),
    ):
        assert starts[0] == 0
        assert starts[-1] + tile == full
        assert full >= before + side
        assert all(n % 32 == 0 for n in (*starts, tile, full))
        overlaps = [a + tile - b for a, b in pairwise(starts)]
        assert all(n >= 2 * margin_px + tiles.BLEND_PX for n in overlaps)


def test_a_picture_that_fits_goes_through_in_one_piece():
    assert tiles.plan(600, 620, tile_px=2304, margin_px=96).tiles == 1
    assert tiles.plan(40, 100_000, tile_px=2304, margin_px=96).tiles == 2


def test_the_defaults_cost_little_overlap_on_a_scene_of_4096():
    p = tiles.plan(4096, 4096, tile_px=2304, margin_px=160)
    assert p.work / 4096**2 < 1.29


def test_bands_come_in_order_and_do_not_hold_the_picture():
    picture = np.zeros((2000, 90, 3), np.uint8)
    made = list(tiles.bands(lambda b: {"same": b["cloudy"]}, {"cloudy": picture}, **SMALL))
    assert len(made) > 5
    ends = [top + len(band["same"]) for top, band in made]
    assert [top for top, _ in made] == [0, *ends[:-1]]
    assert ends[-1] == 2000


def test_ramp_throws_the_margins_away_and_sums_to_one():
    weight = tiles.ramp(96, 32)
    assert not weight[:32].any()
    assert (weight[-32:] == 1).all()
    np.testing.assert_allclose(weight + weight[::-1], 1, atol=1e-6)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="tile_px = 64"):
        tiles.plan(10, 10, tile_px=64, margin_px=96)
    with pytest.raises(ValueError, match="no pixels"):
        tiles.plan(0, 10, tile_px=640, margin_px=96)
    with pytest.raises(ValueError, match="does not fit"):
        tiles.run(
            lambda b: {"x": b["cloudy"][:, :32]},
            {"cloudy": np.zeros((70, 70, 3), np.uint8)},
            **SMALL,
        )


def varied_unet(**how):
    """A U-Net with larger weights than at the start: differences come through."""
    from util.networks.unet import unet

    net = unet(2, **how)
    rng = np.random.default_rng(3)
    for variable in net.variables:
        if variable.path.endswith("kernel"):
            fan = np.prod(variable.shape[:-1])
            variable.assign(rng.normal(0, 1.5 / np.sqrt(fan), variable.shape))
    return net


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_the_receptive_field_that_the_margin_stands_for(upsampling):
    """Which rows of a picture move one of its pixels? Measured, for each place on the grid."""
    import tensorflow as tf

    net = varied_unet(norm="none", upsampling=upsampling)
    side, places = 512, range(240, 272)
    picture = tf.constant(np.random.default_rng(4).random((len(places), side, 64, 3), np.float32))
    with tf.GradientTape() as tape:
        tape.watch(picture)
        made = net(picture)
        one_each = sum(made[i, row, 32, 0] for i, row in enumerate(places))
    moved = np.abs(tape.gradient(one_each, picture)).sum(axis=(2, 3)) > 0
    reach = []
    for row, moves in zip(places, moved, strict=True):
        at = np.flatnonzero(moves)
        assert 0 < at[0] < at[-1] < side - 1  # no border cut it off
        reach.append(max(row - at[0], at[-1] - row))
    assert max(reach) == 159  # as the module's docstring says
    assert Common().apply_margin_px > 159


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_unet_in_tiles_equals_the_unet_in_one_piece(norm):
    import tensorflow as tf

    net = varied_unet(norm=norm)
    signature = [{"cloudy": tf.TensorSpec((None, None, None, 3))}]
    function = tf.function(lambda b: {"y": net(b["cloudy"], training=False)}, signature)
    picture = np.random.default_rng(5).random((900, 700, 3), np.float32)
    whole = tiles.run(function, {"cloudy": picture}, tile_px=2304, margin_px=96)["y"]
    exact, near = (
        tiles.run(function, {"cloudy": picture}, tile_px=640, margin_px=margin)["y"]
        for margin in (160, 64)
    )
    np.testing.assert_allclose(exact, whole, atol=1e-4 * np.abs(whole).max())
    assert np.abs(near - whole).max() > 1e-2 * np.abs(whole).max()
    assert function.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("size", [(2400, 90), (2400, 700)])
def test_black_tiles_go_through_once(size):
    picture = np.random.default_rng(1).random((*size, 3), np.float32)
    picture[400:2000] = 0
    calls = []

    def brighter(batch):
        calls.append(batch["cloudy"].any())
        return {name: values + 0.25 for name, values in blur(batch).items()}

    tiled = tiles.run(brighter, {"cloudy": picture}, **SMALL)["restored"]
    assert calls.count(False) == 1
    assert len(calls) < tiles.plan(*size, **SMALL).tiles - 2
    whole = tiles.run(brighter, {"cloudy": picture}, tile_px=2048, margin_px=16)["restored"]
    np.testing.assert_allclose(tiled, whole, atol=1e-6)
