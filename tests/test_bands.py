"""bands: one path for pictures in memory and in files, whatever is done to them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from stand_ins import clearer, dehazer, filler, picture

from util.restore import holes, whole
from util.restore.bands import bands, restore_picture, tile_counts
from util.task import Kind

SMALL = {"apply_tile_px": 192, "apply_margin_px": 16}
STAND_INS = {"clear": clearer, "haze": dehazer, "holes": filler}


def hole_for(stand_in, height, width):
    """Two holes, one above the other, for who takes one; None for another."""
    if stand_in is not filler:
        return None
    hole = np.zeros((height, width), bool)
    hole[20:60, 30:90] = hole[height - 40 : height - 10, 10:50] = True
    return hole


def joined(made):
    """The rows and the opacity of bands, which must come in order, each once."""
    tops, rows, opacities = zip(*made, strict=True)
    ends = np.cumsum([len(part) for part in rows])
    assert list(tops) == [0, *ends[:-1]]
    opacity = None if opacities[0] is None else np.concatenate(opacities)
    return np.concatenate(rows), opacity


class OnlySlices:
    """A picture in a file: it gives what is asked for by two slices, and nothing else."""

    def __init__(self, pixels):
        self._pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
        self.most = 0  # rows asked for at once

    def __getitem__(self, at):
        rows, columns = at
        for part, side in zip(at, self.shape, strict=False):
            assert type(part.start) is type(part.stop) is int
            assert 0 <= part.start < part.stop <= side
        self.most = max(self.most, rows.stop - rows.start)
        return self._pixels[rows, columns].copy()


# ---- the path ----


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", STAND_INS)
def test_a_file_gives_the_same_rows_as_an_array(kind, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(holes, "_PIXELS", 64 * 150)
    network, calls = STAND_INS[kind](**SMALL)
    pixels = picture(0, 900, 150, dtype)
    hole = hole_for(STAND_INS[kind], 900, 150)
    wanted, opacity = restore_picture(network, pixels, hole)
    assert len(calls) == sum(tile_counts(network, pixels.shape, hole)) > 1
    assert (wanted != pixels).mean() > (0.01 if kind == "holes" else 0.5)
    assert (opacity is not None) == (kind == "clear")
    mapped = np.memmap(tmp_path / "pixels", dtype, "w+", shape=pixels.shape)
    mapped[:] = pixels
    for source in (pixels, mapped, OnlySlices(pixels)):
        rows, found = joined(bands(network, source, hole))
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows, wanted)
        if opacity is not None:
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, opacity)
    assert source.most < 300  # of 900: never the whole picture


@pytest.mark.parametrize("size", [(1, 1), (5, 90), (70, 33)])
@pytest.mark.parametrize("kind", STAND_INS)
def test_small_pictures_are_asked_for_by_slices_too(kind, size):
    network, _ = STAND_INS[kind](**SMALL)
    pixels, hole = picture(1, *size), None
    if kind == "holes":
        hole = picture(2, *size)[..., 0] < 100
    wanted, _ = restore_picture(network, pixels, hole)
    rows, _ = joined(bands(network, OnlySlices(pixels), hole))
    np.testing.assert_array_equal(rows, wanted)


@pytest.mark.parametrize("kind", STAND_INS)
def test_in_place_gives_the_same(kind):
    network, calls = STAND_INS[kind](**SMALL)
    pixels = picture(3, 700, 300)
    hole = hole_for(STAND_INS[kind], 700, 300)
    wanted, _ = restore_picture(network, pixels, hole)
    np.testing.assert_array_equal(pixels, picture(3, 700, 300))
    assert len(calls) > 1
    got, _ = restore_picture(network, pixels, hole, in_place=True)
    assert got is pixels
    np.testing.assert_array_equal(got, wanted)


def test_bands_that_came_out_may_be_written_over():
    network, _ = clearer(**SMALL)
    pixels = picture(4, 700, 100)
    wanted, _ = restore_picture(network, pixels)
    rows = []
    for top, part, _ in bands(network, pixels):
        rows.append(part)
        pixels[top : top + len(part)] = 0
    np.testing.assert_array_equal(np.concatenate(rows), wanted)


@pytest.mark.parametrize("kind", STAND_INS)
def test_full_scale_comes_out_in_the_files_own_values(kind):
    network, _ = STAND_INS[kind](**SMALL)
    came = np.random.default_rng(8).integers(0, 10_001, (200, 150, 3)).astype(np.uint16)
    hole = hole_for(STAND_INS[kind], 200, 150)
    restored, _ = restore_picture(network, came, hole, white=10_000.0)
    wanted, _ = restore_picture(network, (came * (65535 / 10_000)).astype(np.uint16), hole)
    # Where cloud fades out a hair more of opacity shows 50 times.
    np.testing.assert_allclose(restored, wanted / 6.5535, atol=10 if kind == "clear" else 3)
    assert restored.max() <= 10_000
    greatest, _ = restore_picture(network, came, hole, white=65535)
    np.testing.assert_array_equal(greatest, restore_picture(network, came, hole)[0])


def test_progress_is_told_after_each_tile():
    network, calls = dehazer(**SMALL)
    told = []
    restore_picture(network, picture(5, 500, 90), progress=lambda: told.append(len(calls)))
    assert told == list(range(1, len(calls) + 1))
    assert len(told) == sum(tile_counts(network, (500, 90, 3)))


def test_what_is_no_picture_or_no_hole_is_refused():
    whole_picture, _ = dehazer()
    holed, _ = filler()
    pixels, hole = picture(6, 64, 64), np.ones((64, 64), bool)
    for network, arguments, text in (
        (whole_picture, (pixels, hole), "takes no hole"),
        (holed, (pixels,), "takes a hole"),
        (holed, (pixels, hole[1:]), r"bool \(64, 64\)"),
        (holed, (pixels, hole.astype(np.uint8)), "not uint8"),
        (whole_picture, (pixels.astype(np.float32),), "uint8 or uint16"),
        (whole_picture, (pixels[..., :2],), r"\(H, W, 3\)"),
        (whole_picture, (pixels[:0],), r"\(H, W, 3\)"),
    ):
        with pytest.raises(ValueError, match=text):
            bands(network, *arguments)


@pytest.mark.parametrize("kind", STAND_INS)
def test_a_network_that_gives_nan_is_refused(kind):
    network, _ = STAND_INS[kind]()
    net = network.networks["net"]
    net.set_weights([w * np.nan for w in net.get_weights()])
    with pytest.raises(ValueError, match="NaN"):
        restore_picture(network, picture(7, 90, 100), hole_for(STAND_INS[kind], 90, 100))


# ---- kinds of a script's own ----


def of_kind(kind, restore):
    """A network of this kind that is only a function: batch -> dict."""
    network, _ = dehazer(**SMALL)
    return replace(network, task=replace(network.task, kind=kind), restore=restore)


def negative(batch):
    return {"restored": 1 - batch["rainy"], "drops": batch["rainy"][..., :1]}


def test_a_kind_in_one_line():
    network = of_kind(whole.every_pixel("rainy"), negative)
    pixels = picture(9, 300, 70)
    restored, opacity = restore_picture(network, pixels)
    np.testing.assert_array_equal(restored, 255 - pixels)
    assert opacity is None
    sample = {"rainy": pixels.astype(np.float32) / 255, "clear": None}
    found = network.task.kind.complete(network, sample)
    assert found.keys() == {"restored"}
    np.testing.assert_array_equal(found["restored"], 1 - sample["rainy"])


def test_what_is_brighter_than_white_stays_where_it_was_left_white():
    """A network is shown 12,000 as 1.0 where 10,000 is white, and so gives 1.0 back."""
    pixels = picture(11, 300, 70, np.uint16) % 14_000
    pixels[:40] = 10_000 + np.arange(40)[:, None, None]
    pixels[:, :35, 2] = 0  # by which the stand-in knows rain

    def halved(batch):
        rainy = batch["rainy"]
        return {"restored": np.where(rainy[..., 2:] == 0, 0.5 * rainy, rainy)}

    network = of_kind(whole.every_pixel("rainy"), halved)
    restored, _ = restore_picture(network, pixels, white=10_000.0)
    rain = pixels[..., 2] == 0
    np.testing.assert_array_equal(restored[~rain], pixels[~rain])
    wanted = 0.5 * np.minimum(pixels[rain], 10_000)
    np.testing.assert_allclose(restored[rain], wanted, atol=0.51)


def drops_only(came, found, settings, white):
    """Restored where there are drops, as it came elsewhere."""
    made, _ = whole.every_row(came, found, settings, white)
    return np.where(found["drops"] > 0.5, made, came), None


def test_a_kind_that_finishes_rows_in_its_own_way():
    rows = partial(whole.rows, finish=drops_only)
    kind = Kind({"rainy": 3}, {"restored": 3, "drops": 1}, rows, whole.complete)
    pixels = picture(10, 300, 70)
    restored, _ = restore_picture(of_kind(kind, negative), pixels)
    dry = pixels[..., :1] / np.float32(255) <= 0.5
    assert 0.4 < dry.mean() < 0.6
    np.testing.assert_array_equal(restored, np.where(dry, pixels, 255 - pixels))


# ---- what no cloud touches is kept ----


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_clear_pixels_come_out_bit_for_bit(dtype):
    came = picture(5, 50, 60, dtype)
    top = float(np.iinfo(dtype).max)
    opacity = np.random.default_rng(6).uniform(0, 0.1, (50, 60)).astype(np.float32)
    ground = np.random.default_rng(7).random((50, 60, 3), np.float32)
    made = whole.keep_clear(came, ground, opacity, clear_below=0.02, white=top)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made[opacity < 0.02], came[opacity < 0.02])
    thick = opacity >= 0.04
    np.testing.assert_allclose(made[thick], np.rint(ground[thick] * top), atol=1)


def test_no_edge_shows_at_the_threshold():
    came = np.full((1, 1001, 3), 200, np.uint8)
    opacity = np.linspace(0, 0.06, 1001, dtype=np.float32)[None]
    ground = np.zeros((1, 1001, 3), np.float32)
    made = whole.keep_clear(came, ground, opacity, clear_below=0.02, white=255.0)
    assert np.abs(np.diff(made[0, :, 0].astype(int))).max() <= 1


def test_threshold_zero_keeps_nothing_and_nan_is_refused():
    came, ground = picture(1, 4, 4), np.zeros((4, 4, 3), np.float32)
    opacity = np.zeros((4, 4), np.float32)
    assert not whole.keep_clear(came, ground, opacity, clear_below=0.0, white=255.0).any()
    ground[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        whole.keep_clear(came, ground, opacity, clear_below=0.02, white=255.0)
