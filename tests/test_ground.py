"""Clear ground: varied within its ranges, a pure function of a sample's keys."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_samples import Pictures

from configure import Deblur, Defog
from util.pictures.pixels import GREY, as_float
from util.pictures.write import write_picture
from util.samples.crops import random_zoom
from util.samples.cutouts import open_cutouts
from util.samples.damage import open_layers
from util.samples.ground import Ground, open_grounds, open_store, vary_ground
from util.samples.keys import Keys, keyed_rng
from util.samples.pairs import depth_from, paired_samples
from util.samples.split import Split
from util.say import UserError

STILL = {"ground_gain": 0.0, "ground_offset": 0.0}


# --- varied -------------------------------------------------------------------------------------


def test_variation_of_nothing_changes_nothing():
    rng = np.random.default_rng(4)
    clear = rng.random((8, 8, 3), np.float32)
    np.testing.assert_allclose(vary_ground(rng, clear, **STILL), clear, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "lowest", "highest"),
    [
        ({"ground_gain": 0.1}, 0.45, 0.55),
        ({"ground_offset": 0.1}, 0.4, 0.6),
        ({"ground_tint": 0.2}, 0.4, 0.6),
        ({"ground_curve": 0.4}, 0.4, 0.6),  # 0.5 +- 0.4 / 4
    ],
)
def test_variation_uses_its_whole_range_and_no_more(options, lowest, highest):
    rng = np.random.default_rng(5)
    ground = np.full((1, 1, 3), 0.5, np.float32)
    found = [vary_ground(rng, ground, **STILL | options) for _ in range(400)]
    edge = 0.05 * (highest - lowest)
    assert lowest - 1e-6 <= np.min(found) <= lowest + edge
    assert highest - edge <= np.max(found) <= highest + 1e-6


def test_gain_moves_the_channels_together_and_tint_apart():
    rng = np.random.default_rng(10)
    ground = np.full((1, 1, 3), 0.5, np.float32)

    def spread(**options):
        found = [vary_ground(rng, ground, **STILL | options) for _ in range(50)]
        return np.ptp(found, axis=-1).max()

    assert spread(ground_gain=0.2, ground_curve=0.2) < 1e-6
    assert spread(ground_tint=0.2) > 0.1


def test_the_curve_leaves_black_and_white_where_they_are_and_keeps_the_order():
    rng = np.random.default_rng(11)
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1).repeat(3, -1)
    for _ in range(30):
        found = vary_ground(rng, ramp, **STILL | {"ground_curve": 0.9})[..., 0].ravel()
        assert (found[0], found[-1]) == (0, pytest.approx(1, abs=1e-6))
        assert (np.diff(found) > 0).all()


def test_saturation_moves_colours_about_their_grey():
    rng = np.random.default_rng(12)
    clear = 0.3 + 0.4 * rng.random((6, 6, 3), np.float32)
    grey = (clear @ np.float32(GREY))[..., None]
    strengths = []
    for _ in range(200):
        found = vary_ground(rng, clear, **STILL, ground_saturation=0.5)
        strength = float(((found - grey) * (clear - grey)).sum() / np.square(clear - grey).sum())
        np.testing.assert_allclose(found, grey + strength * (clear - grey), atol=1e-5)
        strengths.append(strength)
    assert 0.5 - 1e-4 <= min(strengths) < 0.55
    assert 1.45 < max(strengths) <= 1.5 + 1e-4


def test_varied_ground_stays_float32_within_0_and_1():
    rng = np.random.default_rng(7)
    clear = np.array([0, 1], np.float32).reshape(1, 2, 1).repeat(3, -1)
    for _ in range(50):
        found = vary_ground(rng, clear, ground_gain=0.5, ground_offset=0.5)
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_of_files_vary_as_their_brightness_does(dtype):
    wild = {"ground_gain": 0.3, "ground_offset": 0.1, "ground_curve": 0.5, "ground_tint": 0.2}
    pixels = np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, (9, 14, 3), dtype)
    for number in range(20):
        found = vary_ground(keyed_rng(0, number, "j"), pixels, **wild)
        expected = vary_ground(keyed_rng(0, number, "j"), as_float(pixels), **wild)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


# --- crops --------------------------------------------------------------------------------------


def test_windows_of_stores_with_pictures_of_one_size_are_alike():
    clear, other = Pictures([(40, 50), (64, 44)]), Pictures([(40, 50), (64, 44)], seed=9)
    ground = Ground(clear, seed=2, crop_px=32, zoom=(0.7, 1.2), varied=STILL)
    for number in range(8):
        keys = Keys(2, number)
        found = ground(keys)
        index = ground.index(keys)
        here = ground.window(clear, index, keys)
        np.testing.assert_allclose(found, as_float(here), atol=1e-6)
        there = ground.window(other, index, keys)
        assert not np.array_equal(here, there)
        again = random_zoom(other, index, keyed_rng(2, number, "ground"), 32, (0.7, 1.2))
        np.testing.assert_array_equal(there, again)


def test_scenes_weigh_alike_and_each_shows_all_its_pictures():
    store = Pictures([(40, 40)] * 7)
    store.paths = [Path(f"{scene}/{n}.png") for scene, n in zip("aaaaabc", range(7), strict=True)]
    ground = Ground(store, seed=2, crop_px=32, zoom=(1, 1), varied=STILL)
    found = [ground.index(Keys(2, number)) for number in range(30)]
    for start in range(0, 30, 3):  # each scene in turn
        assert {store.paths[i].parent.name for i in found[start : start + 3]} == set("abc")
    large = [i for i in found if i < 5]
    for start in range(0, 10, 5):  # all of its pictures before one comes again
        assert sorted(large[start : start + 5]) == [0, 1, 2, 3, 4]


def test_a_generator_goes_on_where_it_was_left_and_can_begin_anew():
    keys, alone = Keys(3, 7), keyed_rng(3, 7, "a")
    first, second = keys("a").random(4), keys("a").random(4)
    np.testing.assert_array_equal(np.concatenate([first, second]), alone.random(8))
    np.testing.assert_array_equal(keys.anew("a").random(4), first)
    assert not np.array_equal(keys("b").random(4), first)


# --- from settings ------------------------------------------------------------------------------


@pytest.mark.parametrize("open_both", [open_grounds, open_layers])
def test_crops_of_a_single_picture_never_cross_what_is_held_back(open_both, tmp_path, capsys):
    """The held back part is white, the other black: each side sees one grey alone."""
    pixels = np.zeros((70, 200, 3), np.uint8)
    pixels[:, 160:] = 255
    write_picture(tmp_path / "a.png", pixels)
    settings = Defog(
        clear_folder=str(tmp_path / "a.png"),
        cloud_folder=str(tmp_path),
        cache_folder=str(tmp_path / "c"),
        crop_px=32,
        cloud_window_px=(16, 40),
    )
    both = [getattr(side, "store", side) for side in open_both(settings, progress=False)]
    rng = np.random.default_rng(0)
    for store, grey in zip(both, (0, 255), strict=True):
        windows = [random_zoom(store, 0, rng, 32, (0.5, 2)) for _ in range(50)]
        assert np.unique(windows) == [grey]
    said = capsys.readouterr().err
    assert "a.png serves both sides: its last 40 columns are held back" in said

    write_picture(tmp_path / "a.png", pixels[:60, :60])
    both = [getattr(side, "store", side) for side in open_both(settings, progress=False)]
    assert [store.sizes.tolist() for store in both] == 2 * [[[60, 60]]]
    assert "a.png serves both sides: it is too small" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("2", "all others (4) are trained on. Mend the bad ones, {}"),
        ("0134", "all others (1) are held back. Mend the bad ones, {}"),
        ("01234", "none of 4 files is a usable picture"),
    ],
)
def test_where_one_side_has_bad_pictures_alone_the_other_is_told_of(bad, said, tmp_path):
    """Of five pictures the middle one is held back."""
    for name in "01234":
        write_picture(tmp_path / f"{name}.png", np.zeros((64, 64, 3), np.uint8))
    where = {"clear_folder": str(tmp_path), "cache_folder": str(tmp_path / "cache")}
    settings = Defog(crop_px=64, **where)
    run = Split(settings)
    open_grounds(settings, False, run)
    for name in bad:
        (tmp_path / f"{name}.png").write_bytes(b"cut")
    meta = {"split": run.stored()}
    for split, way in (
        (None, "or take them out"),
        (Split(settings, meta), "or begin anew with --fresh, without them"),
        (Split(settings, meta, closed=True), "or give --data"),
    ):
        with pytest.raises(UserError) as caught:
            open_grounds(settings, False, split)
        assert said.format(way) in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"cut", "hazy_folder: "),
        (np.zeros((64, 70, 3), np.uint8), "no pair is left to validate with"),
    ],
)
def test_where_all_pairs_held_back_are_bad_the_others_are_told_of(bad, said, tmp_path):
    for folder in ("clear", "hazy"):
        (tmp_path / folder).mkdir()
        for name in "01234":
            write_picture(tmp_path / folder / f"{name}.png", np.zeros((64, 64, 3), np.uint8))
    place = tmp_path / "hazy" / "2.png"
    place.write_bytes(bad) if isinstance(bad, bytes) else write_picture(place, bad)
    names = ("clear", "hazy", "cache")
    settings = Deblur(crop_px=64, **{f"{name}_folder": str(tmp_path / name) for name in names})
    with pytest.raises(UserError, match=rf"{said}.*all others \(4\) are trained"):
        paired_samples(settings, progress=False)


def grey_and_clear(tmp_path, grey):
    """Return folder settings of pictures that are all alike, some of them grey."""
    for name in ("clear", "clouds", "depth", "cut/opacity", "cut/light"):
        pixels = np.full((64, 64, 3), 100, np.uint8) if name in ("clear", "cut/light") else grey
        for number in range(2):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            write_picture(tmp_path / name / f"{number}.tif", pixels)
    names = {"clear": "clear", "cloud": "clouds", "depth": "depth", "cut": "cut", "cache": "cache"}
    return {f"{name}_folder": str(tmp_path / folder) for name, folder in names.items()}


def test_full_scale_is_that_of_pictures_alone(tmp_path):
    where = grey_and_clear(tmp_path, np.full((64, 64), 100, np.uint8))
    depths, how = {"depth_folder": where.pop("depth_folder")}, {"crop_px": 64, "full_scale": 125.0}
    settings = Defog(**where, **how)
    grounds = open_grounds(settings, progress=False)
    assert {ground.store.whole(0).max() for ground in grounds} == {np.float32(100 / 125)}
    cut = open_cutouts(settings, progress=False)
    stores = [*open_layers(settings, progress=False), cut.light, cut.opacity]
    assert {store.whole(0).max() for store in stores} == {np.float32(100 / 255)}
    where = {n: v for n, v in where.items() if n in ("clear_folder", "cache_folder")}
    depth = depth_from(grounds[0], Deblur(**where, **depths, **how), progress=False)
    assert depth(Keys(0, 0)).max() == np.float32(100 / 255)


def test_grey_values_of_another_range_are_told_their_own_remedy(tmp_path):
    where = grey_and_clear(tmp_path, np.full((64, 64), 250, np.float32))
    del where["depth_folder"]
    settings = Defog(**where, crop_px=64, full_scale=300.0)
    for opened in (open_layers, open_cutouts):
        with pytest.raises(UserError) as refused:
            opened(settings, progress=False)
        assert "range; prepare_data.py layers --limits makes" in str(refused.value)
        assert "full_scale" not in str(refused.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_cache_that_cannot_be_written_is_named_with_its_setting(three_files, monkeypatch, number):
    paths, _, cache = three_files

    def fails(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    settings = replace(Defog(), cache_folder=str(cache))
    with pytest.raises(UserError) as caught:
        open_store(paths, "clear_folder", settings, 32, progress=False)
    line = str(caught.value)
    assert line.startswith(f"cache_folder = {cache}: cannot be written ({os.strerror(number)})")
    assert "\n" not in line
    monkeypatch.undo()
    cache.rmdir()
    cache.write_text("a file where a folder belongs")
    with pytest.raises(UserError, match=r"cache_folder = .*set cache_folder"):
        open_store(paths, "clear_folder", settings, 32, progress=False)
