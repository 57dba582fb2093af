"""Pixels are found where they lie, or decoded once; a store then serves what was written."""

import errno
import hashlib
import os
import threading
import time

import cv2
import numpy as np
import pytest
import tifffile
from make_zoo import files_in, noise, scene

from util.pictures import places as places_module
from util.pictures.pixels import PictureError, as_float
from util.pictures.places import Place, Places
from util.pictures.read import read_picture
from util.pictures.store import PictureStore
from util.pictures.write import write_picture


def test_a_place_or_a_reason_for_each_file(zoo, tmp_path):
    paths = [zoo["rgb 8 tiff"], zoo["empty"], zoo["png"], tmp_path / "none.png"]
    places = Places(tmp_path / "cache", grey=False, max_pixels=10**6, full_scale=None)
    mapped, empty, decoded, none = places.find(paths, progress=False)
    assert (empty, none) == ("the file is empty", "No such file or directory")
    assert mapped.file == str(zoo["rgb 8 tiff"])
    assert [decoded.file] == [str(path) for path in (tmp_path / "cache").iterdir()]
    for place in (mapped, decoded):
        pixels = np.memmap(place.file, place.dtype, "r", place.offset, place.shape)
        assert np.array_equal(pixels, scene())
        assert place.holds()
    os.truncate(decoded.file, decoded.end - 1)
    assert not decoded.holds()


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


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_full_scale_of_8_bits(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(60, 50, np.uint8), photometric="rgb", compression=compression)
    store = PictureStore([path], tmp_path / "cache", crop_px=16, full_scale=128)
    assert np.array_equal(store.whole(0), as_float(read_picture(path, full_scale=128)))
    assert (read_picture(path, full_scale=128) != read_picture(path)).any()


def test_compressed_tiff_is_converted_once(zoo, tmp_path, monkeypatch):
    paths = [zoo["zlib tiff"], zoo["turned tiff"], zoo["planar tiff"]]
    PictureStore(paths, tmp_path, crop_px=32, progress=False)
    noted = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(noted) == 3
    monkeypatch.setattr(places_module, "read_original", None)  # decoding again would fail
    store = PictureStore(paths, tmp_path, crop_px=32, progress=False)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == noted
    assert np.array_equal(store.whole(0), as_float(scene()))
    assert store.sizes.tolist() == [[48, 64], [64, 48], [48, 64]]


def test_settings_have_their_own_cache_files(three_files):
    paths, arrays, cache = three_files
    for path, pixels in zip(paths[:2], arrays, strict=False):
        write_picture(path, pixels[..., 0])
    PictureStore(paths, cache, crop_px=32, progress=False)
    PictureStore(paths, cache, crop_px=32, grey=True, progress=False)
    PictureStore(paths, cache, crop_px=32, full_scale=10_000, progress=False)
    assert len(files_in(cache)) == 6


def test_brightness_of_colour_that_was_kept_once_serves_no_more(tmp_path):
    path, cache = tmp_path / "a.png", tmp_path / "cache"
    write_picture(path, noise(40, 40))
    info = os.stat(path)
    before = (2, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, None, True)
    key = hashlib.sha256(repr(before).encode() + os.fsencode(path)).hexdigest()[:40]
    cache.mkdir()
    np.save(cache / f"{key}.npy", noise(40, 40)[..., 0])
    with pytest.raises(PictureError, match="in colour"):
        PictureStore([path], cache, crop_px=32, grey=True)


def test_edited_file_is_converted_again(three_files):
    paths, arrays, cache = three_files
    PictureStore(paths, cache, crop_px=32, progress=False)
    write_picture(paths[0], arrays[0][::-1])
    os.utime(paths[0], ns=(1, 1))
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    assert np.array_equal(store.whole(0), as_float(arrays[0][::-1]))


@pytest.mark.parametrize("how", ["over it", "in its place"])
def test_other_content_of_the_same_size_and_time_is_converted(tmp_path, how):
    """As unpacking an archive leaves it."""
    path, other = tmp_path / "a.bmp", tmp_path / "b.bmp"
    for file, seed in ((path, 1), (other, 2)):
        write_picture(file, noise(40, 40, seed=seed))
        os.utime(file, ns=(1, 1))
    PictureStore([path], tmp_path / "cache", crop_px=32, progress=False)
    if how == "over it":
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(1, 1))
    else:
        os.replace(other, path)
    store = PictureStore([path], tmp_path / "cache", crop_px=32, progress=False)
    assert np.array_equal(store.whole(0), as_float(noise(40, 40, seed=2)))


def test_a_cloud_layer_that_is_hardly_there_is_no_cloud(tmp_path):
    layer = np.dstack([noise(40, 40, np.uint16), np.ones((40, 40), np.uint16)])
    write_picture(tmp_path / "a.png", layer)
    store = PictureStore([tmp_path / "a.png"], tmp_path / "cache", crop_px=32, grey=True)
    assert not store.whole(0).any()


@pytest.mark.parametrize("damage", ["cut", "empty", "header"])
def test_damaged_cache_is_remade_at_start(three_files, damage):
    paths, arrays, cache = three_files
    PictureStore(paths, cache, crop_px=32, progress=False)
    for file in cache.iterdir():
        code = file.read_bytes()
        file.write_bytes({"cut": code[:-7], "empty": b"", "header": b"?" * len(code)}[damage])
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    for index, pixels in enumerate(arrays):
        assert np.array_equal(store.whole(index), as_float(pixels))


def test_what_a_killed_start_left_is_swept(three_files):
    paths, _, cache = three_files
    cache.mkdir()
    for name, age in ((".tmp-old.npy", 7200), (".tmp-new.npy", 60)):
        (cache / name).write_bytes(b"x")
        os.utime(cache / name, (time.time() - age,) * 2)
    PictureStore(paths[2:], cache, crop_px=32)
    assert files_in(cache) == [".tmp-new.npy"]  # perhaps another start's, still at work


def test_two_starts_at_once_do_no_harm(three_files):
    paths, arrays, cache = three_files
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


def test_unwritable_cache_is_an_error_with_its_path(three_files, monkeypatch):
    paths, _, cache = three_files

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
        for name in ("read_original", "_decoded_place", "_mapped_place"):
            patch.setattr(places_module, name, None)  # the index alone must do
        second = PictureStore(paths, cache, crop_px=16, progress=False)
        assert np.array_equal(first.sizes, second.sizes)
        assert np.array_equal(second.crop(599, 0, 0, 16, 16), as_float(scene()[:16, :16, ::-1]))
    next(cache.glob("index-*.json")).write_text('{"a": [1]}')
    next(cache.glob("*.npy")).unlink()
    third = PictureStore(paths, cache, crop_px=16, progress=False)
    assert len(third) == 600


@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3)])
def test_unmapped_pixels_are_cut_as_an_array_is(tmp_path, dtype, shape):
    pixels = noise(9, 21, np.uint16)[..., 0].reshape(-1)[: int(np.prod(shape))].reshape(shape)
    pixels = pixels.astype(dtype)
    path = tmp_path / "pixels"
    path.write_bytes(b"header" + pixels.tobytes())
    unmapped = places_module.Unmapped(Place(str(path), 6, dtype, shape, None))
    for box in (np.s_[2:5, 3:7], np.s_[0:9, 0:1], np.s_[:, :], np.s_[8:9, 6:7]):
        assert np.array_equal(unmapped[box], pixels[box])
        assert unmapped[box].dtype == pixels.dtype
    os.truncate(path, 6 + pixels.nbytes - 1)
    with pytest.raises(ValueError, match="cut"):
        unmapped[8:9, 6:7]


def test_a_disk_that_cannot_be_mapped_is_read(three_files, monkeypatch):
    paths, arrays, cache = three_files
    mapped = PictureStore(paths, cache, crop_px=90, progress=False)  # two of them are padded

    def no_map(*args, **kwargs):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(np, "memmap", no_map)
    store = PictureStore(paths, cache, crop_px=90, progress=False)
    for index in range(3):
        box = (index, 3, 5, 80, 70)
        assert np.array_equal(store.pixels(*box), mapped.pixels(*box))
    assert np.array_equal(PictureStore(paths, cache, crop_px=32).whole(0), as_float(arrays[0]))


def test_a_cache_that_is_full_of_what_is_needed_need_not_be_written(three_files, monkeypatch):
    paths, arrays, cache = three_files
    monkeypatch.setattr(places_module, "_INDEX_FROM", 1)
    PictureStore(paths, cache, crop_px=32, progress=False)
    next(cache.glob("index-*.json")).unlink()

    def read_only(path, content):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(places_module.files, "write", read_only)
    store = PictureStore(paths, cache, crop_px=32, progress=False)
    assert np.array_equal(store.whole(0), as_float(arrays[0]))
