"""The store serves crops of many files; the oracle is a slice of the array that was written."""

import os
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import tifffile
from make_zoo import BAD, files_in, noise, scene

from util.pictures import store as store_module
from util.pictures.find import find_pictures
from util.pictures.pixels import PictureError, as_float
from util.pictures.read import read_picture
from util.pictures.store import PictureStore
from util.pictures.write import write_picture


@pytest.fixture
def data(tmp_path):
    """Three files, one format each, and the arrays in them."""
    arrays = [noise(80, 100, seed=1), noise(70, 90, np.uint16, 2), noise(64, 64, seed=3)]
    folder = tmp_path / "data"
    folder.mkdir()
    paths = [folder / "a.png", folder / "b.png", folder / "c.tif"]
    for path, pixels in zip(paths, arrays, strict=True):
        write_picture(path, pixels)
    return paths, arrays, tmp_path / "cache"


def test_crops_are_slices(data):
    paths, arrays, cache = data
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


def test_grey_store_gives_luma(data):
    paths, arrays, cache = data
    store = PictureStore(paths, cache, crop_px=32, grey=True, progress=False)
    for index, pixels in enumerate(arrays):
        top = np.iinfo(pixels.dtype).max
        luma = (pixels @ np.array([0.299, 0.587, 0.114])) / top
        crop = store.crop(index, 0, 3, 32, 32)
        assert crop.shape == (32, 32, 1)
        assert np.abs(crop[..., 0] - luma[:32, 3:35]).max() <= 0.51 / top


def test_large_uncompressed_tiff_is_mapped_not_converted(tmp_path):
    pixels = np.zeros((3000, 3000, 3), np.uint8)
    pixels[...] = np.arange(3000)[:, None, None] % 251
    path = tmp_path / "large.tif"
    write_picture(path, pixels)
    store = PictureStore([path], tmp_path / "cache", crop_px=256, max_pixels=1000)
    assert np.array_equal(store.crop(0, 2700, 2000, 256, 256), as_float(pixels[2700:2956, :256]))
    assert files_in(tmp_path / "cache") == []


@pytest.mark.parametrize("byteorder", "<>")
def test_mapped_16_bit_tiff_equals_the_read_one(tmp_path, byteorder):
    pixels = noise(60, 50, np.uint16)
    for bands, photometric in (
        (pixels, "rgb"),
        (pixels[..., 0], "minisblack"),
        (np.concatenate([pixels, pixels], -1), "minisblack"),
    ):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, bands, photometric=photometric, byteorder=byteorder, planarconfig=1)
        for scale in (None, 10_000):
            store = PictureStore([path], tmp_path / "cache", crop_px=16, full_scale=scale)
            assert np.array_equal(store.whole(0), as_float(read_picture(path, full_scale=scale)))
    assert files_in(tmp_path / "cache") == []


def test_compressed_tiff_is_converted_once(zoo, tmp_path, monkeypatch):
    paths = [zoo["zlib tiff"], zoo["turned tiff"], zoo["planar tiff"]]
    PictureStore(paths, tmp_path, crop_px=32, progress=False)
    noted = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(noted) == 3
    monkeypatch.setattr(store_module, "read_picture", None)  # decoding again would fail
    store = PictureStore(paths, tmp_path, crop_px=32, progress=False)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == noted
    assert np.array_equal(store.whole(0), as_float(scene()))
    assert store.sizes.tolist() == [[48, 64], [64, 48], [48, 64]]


def test_settings_have_their_own_cache_files(data):
    paths, _, cache = data
    PictureStore(paths, cache, crop_px=32, progress=False)
    PictureStore(paths, cache, crop_px=32, grey=True, progress=False)
    PictureStore(paths, cache, crop_px=32, full_scale=10_000, progress=False)
    assert len(files_in(cache)) == 6


def test_edited_file_is_converted_again(data):
    paths, arrays, cache = data
    PictureStore(paths, cache, crop_px=32, progress=False)
    write_picture(paths[0], arrays[0][::-1])
    os.utime(paths[0], ns=(1, 1))
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    assert np.array_equal(store.whole(0), as_float(arrays[0][::-1]))


@pytest.mark.parametrize("damage", ["cut", "empty", "header"])
def test_damaged_cache_is_remade_at_start(data, damage):
    paths, arrays, cache = data
    PictureStore(paths, cache, crop_px=32, progress=False)
    for file in cache.iterdir():
        code = file.read_bytes()
        file.write_bytes({"cut": code[:-7], "empty": b"", "header": b"?" * len(code)}[damage])
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    for index, pixels in enumerate(arrays):
        assert np.array_equal(store.whole(index), as_float(pixels))


def test_damaged_cache_is_remade_during_the_run(data, capsys):
    paths, arrays, cache = data
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    store.crop(0, 0, 0, 32, 32)
    for file in cache.iterdir():
        os.truncate(file, 200)
    for index, pixels in enumerate(arrays):
        assert np.array_equal(store.whole(index), as_float(pixels))
    assert capsys.readouterr().err == ""


def test_8_threads_equal_one(data, monkeypatch):
    paths, _, cache = data
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
    assert f"and {len(store.skipped) - 10} more, see PictureStore.skipped" in err


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


def test_vanished_file_is_said_once_and_replaced(data, capsys):
    paths, arrays, cache = data
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


def test_store_knows_what_it_lost(zoo, data):
    paths, arrays, cache = data
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


def test_no_thread_gets_another_picture_unawares(data):
    paths, arrays, cache = data
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


def test_replacement_is_moved_to_a_place_that_fits(data):
    paths, arrays, cache = data
    order = [paths[2], paths[1], paths[0]]
    store = PictureStore(order, cache, crop_px=32, progress=False)
    shutil.rmtree(cache)
    paths[0].unlink()
    crop = store.crop(2, 40, 60, 40, 40)  # c.tif is next and measures 64 x 64
    assert np.array_equal(crop, as_float(arrays[2][24:64, 24:64]))


def test_truncated_mapped_file_does_not_kill(data):
    paths, arrays, cache = data
    store = PictureStore([paths[2], paths[0]], cache, crop_px=32, progress=False)
    store.crop(0, 0, 0, 32, 32)
    os.truncate(paths[2], 5000)
    assert np.array_equal(store.crop(0, 32, 32, 32, 32), as_float(arrays[0][32:64, 32:64]))


def test_what_a_killed_start_left_is_swept(data):
    paths, _, cache = data
    cache.mkdir()
    for name, age in ((".tmp-old.npy", 7200), (".tmp-new.npy", 60)):
        (cache / name).write_bytes(b"x")
        os.utime(cache / name, (time.time() - age,) * 2)
    PictureStore(paths[2:], cache, crop_px=32)
    assert files_in(cache) == [".tmp-new.npy"]  # perhaps another start's, still at work


def test_two_starts_at_once_do_no_harm(data):
    paths, arrays, cache = data
    stores = []

    def start():
        stores.append(PictureStore(paths, cache, crop_px=32, progress=False))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 4
    assert all(np.array_equal(store.whole(1), as_float(arrays[1])) for store in stores)
    assert len(files_in(cache)) == 2


def test_unwritable_cache_is_an_error_with_its_path(data, monkeypatch):
    paths, _, cache = data

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*cache"):
        PictureStore(paths, cache, crop_px=32, progress=False)
    assert files_in(cache) == []


def test_many_files_start_quickly_by_the_index(tmp_path, monkeypatch):
    code = cv2.imencode(".bmp", scene()[:16, :16])[1].tobytes()
    paths = [tmp_path / f"{n:04d}.bmp" for n in range(600)]
    for path in paths:
        path.write_bytes(code)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    cache = tmp_path / "cache"
    first = PictureStore(paths, cache, crop_px=16, progress=False)
    with monkeypatch.context() as patch:
        for name in ("read_picture", "_cached_place", "_mapped_place"):
            patch.setattr(store_module, name, None)  # the index alone must do
        second = PictureStore(paths, cache, crop_px=16, progress=False)
        assert np.array_equal(first.sizes, second.sizes)
        assert np.array_equal(second.crop(599, 0, 0, 16, 16), as_float(scene()[:16, :16, ::-1]))
    next(cache.glob("index-*.json")).write_text('{"a": [1]}')
    next(cache.glob("*.npy")).unlink()
    third = PictureStore(paths, cache, crop_px=16, progress=False)
    assert len(third) == 600


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_impossible_full_scale_is_refused(zoo, tmp_path, scale):
    with pytest.raises(ValueError, match="full_scale"):
        PictureStore([zoo["png"]], tmp_path, crop_px=8, full_scale=scale)
