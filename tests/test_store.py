"""The store serves crops of many files; the oracle is a slice of the array that was written."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from make_zoo import BAD

from util.pictures import store as store_module
from util.pictures.find import find_pictures
from util.pictures.pixels import PictureError, as_float
from util.pictures.read import read_picture
from util.pictures.store import PictureStore
from util.pictures.write import write_picture


def test_crops_are_slices(three_files):
    paths, arrays, cache = three_files
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    assert store.paths == paths
    assert store.skipped == []
    assert store.sizes.dtype == np.int32
    assert store.sizes.tolist() == [[80, 100], [70, 90], [64, 64]]
    for index, pixels in enumerate(arrays):
        expected = pixels / np.float32(np.iinfo(pixels.dtype).max)
        crop = store.crop(index, 7, 11, 32, 40)
        assert crop.dtype == np.float32
        assert np.array_equal(crop, expected[7:39, 11:51])
        assert np.array_equal(store.whole(index), expected)
    for box in ((-1, 0, 8, 8), (0, 0, 81, 8), (60, 0, 32, 32), (0, 0, 0, 8)):
        with pytest.raises(ValueError, match="leaves picture 0"):
            store.crop(0, *box)


def test_a_part_of_a_picture_is_served_as_if_it_were_all(three_files, capsys):
    paths, arrays, cache = three_files
    parts = {
        paths[0]: lambda height, width: (slice(0, height), slice(60, width)),
        paths[2]: lambda height, width: (slice(40, 64), slice(0, 10)),
    }
    store = PictureStore(paths, cache, crop_px=32, progress=False, parts=parts)
    assert store.sizes.tolist() == [[80, 40], [70, 90]]
    assert store.spans == [(slice(0, 80), slice(60, 100)), (slice(0, 70), slice(0, 90))]
    assert np.array_equal(store.whole(0), as_float(arrays[0][:, 60:]))
    assert np.array_equal(store.crop(0, 7, 1, 32, 32), as_float(arrays[0][7:39, 61:93]))
    with pytest.raises(ValueError, match="leaves picture 0"):
        store.crop(0, 0, 9, 32, 32)
    assert "c.tif: 10 x 24 is less than half the crop of 32" in capsys.readouterr().err

    padded = PictureStore(paths[2:], cache, crop_px=20, progress=False, parts=parts)
    assert np.array_equal(padded.whole(0)[:, 5:15], as_float(arrays[2][40:, :10]))


def test_grey_ones_beside_those_that_are_refused_as_colour_are_told(tmp_path, capsys):
    for folder in ("infrared", "layers"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            write_picture(tmp_path / folder / f"{name}.png", np.full((32, 32), 90, np.uint8))
    how = {"crop_px": 32, "grey": True, "progress": False}
    PictureStore(find_pictures(tmp_path), tmp_path / "cache", **how)
    assert capsys.readouterr().err == ""
    yellow = np.full((32, 32, 3), [240, 200, 0], np.uint8)
    write_picture(tmp_path / "infrared" / "c.png", yellow)
    store = PictureStore(find_pictures(tmp_path), tmp_path / "cache", **how)
    assert len(store.paths) == 4
    assert "; 2 grey ones beside it are taken: " in capsys.readouterr().err
    (tmp_path / "infrared" / "c.png").rename(tmp_path / "c.png")
    PictureStore(find_pictures(tmp_path), tmp_path / "cache", **how)
    assert "beside it" not in capsys.readouterr().err


def test_a_part_of_a_mapped_file_is_not_copied(tmp_path):
    pixels = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    parts = {tmp_path / "a.tif": lambda height, width: (slice(32, 64), slice(0, 64))}
    store = PictureStore([tmp_path / "a.tif"], tmp_path / "c", crop_px=32, parts=parts)
    crop = store.pixels(0, 0, 8, 32, 32)
    assert np.array_equal(crop, pixels[32:, 8:40])
    assert crop.base is not None
    assert not list((tmp_path / "c").glob("*.npy"))


def test_grey_store_gives_brightness(three_files):
    paths, arrays, cache = three_files
    tints = np.array([-5, 0, 5])  # so little is no colour
    for path, pixels in zip(paths, arrays, strict=True):
        unit = np.iinfo(pixels.dtype).max // 255
        pixels[...] = np.clip(pixels[..., :1].astype(int) + tints * unit, 0, 255 * unit)
        write_picture(path, pixels)
    tifffile.imwrite(paths[2], arrays[2][..., 0])  # mapped
    arrays[2][...] = arrays[2][..., :1]
    store = PictureStore(paths, cache, crop_px=32, grey=True, progress=False)
    for index, pixels in enumerate(arrays):
        top = np.iinfo(pixels.dtype).max
        luma = (pixels @ np.array([0.299, 0.587, 0.114])) / top
        crop = store.crop(index, 0, 3, 32, 32)
        assert crop.shape == (32, 32, 1)
        assert np.abs(crop[..., 0] - luma[:32, 3:35]).max() <= 0.51 / top


def test_grey_store_refuses_colour_and_names_the_way_out(three_files, capsys):
    """Colour infrared would pass for cloud as bright as its colours, and so would its borders."""
    paths, arrays, cache = three_files
    write_picture(paths[0], arrays[0][..., 0])
    store = PictureStore(paths, cache, crop_px=32, grey=True, progress=False)
    assert store.paths == paths[:1]
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == [f"skipped {path}" for path in paths[1:]]
    assert all("prepare_data.py noaa" in line for line in said)


def test_damaged_cache_is_remade_during_the_run(three_files, capsys):
    paths, arrays, cache = three_files
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    store.crop(0, 0, 0, 32, 32)
    for file in cache.iterdir():
        os.truncate(file, 200)
    for index, pixels in enumerate(arrays):
        assert np.array_equal(store.whole(index), as_float(pixels))
    assert capsys.readouterr().err == ""


def test_8_threads_equal_one(three_files, monkeypatch):
    paths, _, cache = three_files
    monkeypatch.setattr(store_module, "_OPEN_MAPS", 2)  # fewer than pictures: maps come and go
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    random = np.random.default_rng(5)
    boxes = [
        (int(i), int(y), int(x), 32, 32) for i, y, x in random.integers(0, (3, 33, 33), (400, 3))
    ]
    serial = [store.crop(*box) for box in boxes]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda box: store.crop(*box), boxes))
    assert all(np.array_equal(a, b) for a, b in zip(serial, parallel, strict=True))
    assert len(store._maps) <= 2


@pytest.mark.parametrize("name", ["small", "rgb 8 tiff"])
def test_small_picture_is_reflected(zoo, tmp_path, name):
    crop_px = 40 if name == "small" else 60  # the picture is 20 x 24, or 48 x 64
    pixels = read_picture(zoo[name])
    store = PictureStore([zoo[name]], tmp_path, crop_px=crop_px, progress=False)
    pad = [(max(crop_px - side, 0), max(crop_px - side, 0)) for side in pixels.shape[:2]]
    pad = [(both[0] // 2, both[0] - both[0] // 2) for both in pad]
    expected = as_float(np.pad(pixels, [*pad, (0, 0)], mode="reflect"))
    assert store.sizes.tolist() == [list(expected.shape[:2])]
    assert np.array_equal(store.whole(0), expected)
    crop = store.crop(0, 1, 2, crop_px - 3, crop_px - 2)
    assert np.array_equal(crop, expected[1 : crop_px - 2, 2:crop_px])


def test_store_of_the_zoo_takes_the_good_and_names_the_bad(zoo, tmp_path, capsys):
    found = find_pictures(zoo["png"].parent)
    store = PictureStore(found, tmp_path, crop_px=40, full_scale=10_000, progress=True)
    bad = {path: reason for path, reason in store.skipped if path != zoo["no permission"]}
    names = [name for name in BAD if name not in ("wrong format", "dangling link")]
    assert set(bad) == {zoo[name] for name in [*names, "tiny"]}
    assert bad[zoo["tiny"]] == "8 x 8 is less than half the crop of 40"
    assert store.paths == [path for path in found if path not in dict(store.skipped)]
    for index in range(len(store)):
        crop = store.crop(index, 0, 0, 40, 40)
        assert crop.shape == (40, 40, 3)
        assert 0 <= crop.min() < crop.max() <= 1
    err = capsys.readouterr().err
    assert len(re.findall("^skipped ", err, re.M)) == 10
    assert f"and {len(store.skipped) - 10} more" in err


def test_no_usable_picture_is_said_at_once(zoo, tmp_path):
    with pytest.raises(PictureError) as caught:
        PictureStore([zoo["empty"], zoo["html"]], tmp_path, crop_px=32, progress=False)
    for words in (
        str(zoo["empty"].parent),
        "2 files",
        "empty.png",
        "the file is empty",
        "page.jpg",
    ):
        assert words in str(caught.value)
    with pytest.raises(PictureError, match="no picture was found"):
        PictureStore([], tmp_path, crop_px=32)


def test_vanished_file_is_said_once_and_replaced(three_files, capsys):
    paths, arrays, cache = three_files
    store = PictureStore([paths[2], paths[0]], cache, crop_px=32, progress=False)
    store.crop(0, 0, 0, 32, 32)
    paths[2].unlink()
    for _ in range(3):
        assert np.array_equal(store.crop(0, 20, 30, 32, 32), as_float(arrays[0][20:52, 30:62]))
    assert capsys.readouterr().err.count("c.tif") == 1
    assert [path for path, _ in store.skipped] == [paths[2]]
    assert np.array_equal(store.whole(0), as_float(arrays[0]))
    paths[0].unlink()  # its decoded copy still serves
    assert store.crop(0, 0, 0, 32, 32).shape == (32, 32, 3)
    shutil.rmtree(cache)
    with pytest.raises(PictureError, match="no usable picture is left"):
        store.crop(0, 0, 0, 32, 32)


def test_store_knows_what_it_lost(zoo, three_files):
    paths, arrays, cache = three_files
    order = [
        zoo["empty"],
        paths[2],
        paths[0],
        paths[1],
    ]  # what is skipped at the start has no index
    store = PictureStore(order, cache, crop_px=32, progress=False)

    def lost():
        return [store.lost(index) for index in range(len(store))]

    assert np.array_equal(store.whole(0), as_float(arrays[2]))
    assert lost() == [False, False, False]
    paths[2].unlink()
    assert np.array_equal(store.whole(0), as_float(arrays[0]))
    assert lost() == [True, False, False]
    paths[0].unlink()
    assert np.array_equal(store.whole(1), as_float(arrays[0]))  # its decoded copy serves
    shutil.rmtree(cache)
    cache.mkdir()
    assert np.array_equal(store.whole(2), as_float(arrays[1]))  # is decoded again
    assert lost() == [True, False, False]
    assert np.array_equal(store.whole(1), as_float(arrays[1]))
    assert lost() == [True, True, False]


def test_no_thread_gets_another_picture_unawares(three_files):
    paths, arrays, cache = three_files
    store = PictureStore([paths[2], paths[0]], cache, crop_px=32, progress=False)
    own, other = (as_float(pixels)[:32, :32] for pixels in (arrays[2], arrays[0]))
    assert not np.array_equal(own, other)

    def cut(number):
        if number == 100:
            paths[2].unlink()
        crop = store.crop(0, 0, 0, 32, 32)
        return np.array_equal(crop, own), np.array_equal(crop, other), store.lost(0)

    with ThreadPoolExecutor(8) as pool:
        cuts = list(pool.map(cut, range(300)))
    assert any(is_own for is_own, _, _ in cuts)
    assert any(is_other for _, is_other, _ in cuts)
    assert all(is_own or (is_other and lost) for is_own, is_other, lost in cuts)


def test_replacement_is_moved_to_a_place_that_fits(three_files):
    paths, arrays, cache = three_files
    order = [paths[2], paths[1], paths[0]]
    store = PictureStore(order, cache, crop_px=32, progress=False)
    shutil.rmtree(cache)
    paths[0].unlink()
    crop = store.crop(2, 40, 60, 40, 40)  # c.tif is next and measures 64 x 64
    assert np.array_equal(crop, as_float(arrays[2][24:64, 24:64]))


def test_truncated_mapped_file_does_not_kill(three_files):
    paths, arrays, cache = three_files
    store = PictureStore([paths[2], paths[0]], cache, crop_px=32, progress=False)
    store.crop(0, 0, 0, 32, 32)
    os.truncate(paths[2], 5000)
    assert np.array_equal(store.crop(0, 32, 32, 32, 32), as_float(arrays[0][32:64, 32:64]))


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_impossible_full_scale_is_refused(zoo, tmp_path, scale):
    with pytest.raises(ValueError, match="full_scale"):
        PictureStore([zoo["png"]], tmp_path, crop_px=8, full_scale=scale)
