"""Pictures against a zoo of files, good and bad; the oracle is the array that was written."""

import os
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from make_zoo import bomb_bmp, make_zoo, scene
from PIL import Image

from util.pictures import store as store_module
from util.pictures.find import find_pictures
from util.pictures.pixels import PictureError, as_float, as_pixels
from util.pictures.read import read_picture
from util.pictures.store import PictureStore
from util.pictures.write import write_picture

BAD = [
    "cut jpeg",
    "cut png",
    "cut rgb 16 png",
    "cut rgb 16 tiff",
    "cut lzw 16 tiff",
    "cut webp",
    "cut gif",
    "cut bmp",
    "empty",
    "html",
    "bomb png",
    "bomb png 16",
    "bomb bmp",
    "wrong format",
    "format not allowed",
    "dangling link",
]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


def three(grey):
    return np.stack([grey] * 3, axis=-1)


def noise(height, width, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(
        0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True
    )


def files_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# Reading: good files.


@pytest.mark.parametrize(
    "name",
    [
        "png",
        "webp",
        "bmp",
        "png named jpg",
        "alpha",
        "rgb 8 tiff",
        "zlib tiff",
        "lzw tiff",
        "capitals",
        "spaces",
        "unicode",
        "brackets",
    ],
)
def test_8_bit_files_come_back_exactly(zoo, name):
    pixels = read_picture(zoo[name])
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, scene())


@pytest.mark.parametrize(
    "name",
    [
        "rgb 16 png",
        "alpha 16",
        "rgb 16 tiff",
        "big-endian tiff",
        "planar tiff",
        "tiled tiff",
        "lzw 16 tiff",
        "9 bands tiff",
    ],
)
def test_16_bit_files_come_back_exactly(zoo, name):
    pixels = read_picture(zoo[name])
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, scene(np.uint16))


@pytest.mark.parametrize(("name", "dtype"), [("grey 8", "u1"), ("grey 16 png", "u2")])
def test_grey_becomes_three_equal_channels(zoo, name, dtype):
    grey = scene(np.dtype(dtype))[..., 0]
    assert np.array_equal(read_picture(zoo[name]), three(grey))


def test_grey_16_tiff_keeps_its_values(zoo):
    assert np.array_equal(read_picture(zoo["grey 16 tiff"]), three(scene(np.uint16)[..., 0]))


@pytest.mark.parametrize(
    ("name", "error"), [("jpeg", 6), ("cmyk", 12), ("palette", 12), ("gif", 12)]
)
def test_lossy_files_come_back_nearly(zoo, name, error):
    pixels = read_picture(zoo[name])
    assert pixels.shape == scene().shape
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - scene()).mean() < error
    assert pixels.mean() == pytest.approx(scene().mean(), rel=0.02)


def test_1_bit_is_black_and_white(zoo):
    assert np.array_equal(read_picture(zoo["1-bit"]), three(255 * (scene()[..., 0] > 127)))


def test_exif_orientation_6_turns_clockwise(zoo):
    assert np.array_equal(read_picture(zoo["orientation 6"]), np.rot90(scene(), -1))
    grey = three(scene(np.uint16)[..., 0])
    assert np.array_equal(read_picture(zoo["turned tiff"]), np.rot90(grey, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_agrees_with_pillow(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(scene()).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_picture(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_orientation_is_applied_once(tmp_path, compression):
    for bits in (8, 16):
        grey = scene(np.dtype(f"u{bits // 8}"))[..., 0]
        Image.fromarray(grey).save(tmp_path / "a.tif", compression=compression, tiffinfo={274: 8})
        assert np.array_equal(read_picture(tmp_path / "a.tif"), np.rot90(three(grey)))


def test_white_is_zero_is_inverted(tmp_path):
    grey = scene(np.uint16)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="miniswhite")
    assert np.array_equal(read_picture(tmp_path / "a.tif"), three(65535 - grey))


# Reading: scale.


def test_float_within_0_to_1_becomes_16_bit(zoo):
    assert np.array_equal(read_picture(zoo["float tiff"]), scene(np.uint16))
    assert np.array_equal(read_picture(zoo["float tiff"], full_scale=10_000), scene(np.uint16))


def test_float_reflectance_asks_for_full_scale(zoo):
    with pytest.raises(PictureError, match="full_scale"):
        read_picture(zoo["reflectance float"])
    pixels = read_picture(zoo["reflectance float"], full_scale=10_000)
    assert np.abs(pixels.astype(int) - scene(np.uint16)).max() <= 1


def test_full_scale_rescales_and_clips_16_bit(zoo):
    written = tifffile.imread(zoo["reflectance 16"])
    expected = np.rint(np.clip(written / 10_000, 0, 1) * 65535).astype(np.uint16)
    assert np.array_equal(read_picture(zoo["reflectance 16"], full_scale=10_000), expected)
    assert np.array_equal(read_picture(zoo["reflectance 16"]), written)
    assert np.array_equal(read_picture(zoo["png"], full_scale=10_000), scene())


def test_signed_reflectance_and_nan(tmp_path):
    values = np.array([[-9999, 0, 5000], [10_000, 12_000, 2500]], np.int16)
    tifffile.imwrite(tmp_path / "i.tif", values, photometric="minisblack")
    with pytest.raises(PictureError, match="full_scale"):
        read_picture(tmp_path / "i.tif")
    expected = np.array([[0, 0, 32768], [65535, 65535, 16384]])
    assert np.array_equal(read_picture(tmp_path / "i.tif", full_scale=10_000)[..., 0], expected)
    tifffile.imwrite(tmp_path / "n.tif", np.array([[np.nan, 1.0]], np.float32))
    assert np.array_equal(read_picture(tmp_path / "n.tif")[..., 0], [[0, 65535]])


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_impossible_full_scale_is_refused(zoo, tmp_path, scale):
    with pytest.raises(ValueError, match="full_scale"):
        read_picture(zoo["png"], full_scale=scale)
    with pytest.raises(ValueError, match="full_scale"):
        PictureStore([zoo["png"]], tmp_path, crop_px=8, full_scale=scale)


# Reading: bad files.


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_line_with_its_name(zoo, name):
    if name not in zoo:
        pytest.skip("no links on this system")
    with pytest.raises(PictureError) as caught:
        read_picture(zoo[name])
    assert zoo[name].name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(caught.value.reason)


@pytest.mark.parametrize(
    "name", ["png", "jpeg", "rgb 16 png", "lzw 16 tiff", "rgb 16 tiff", "webp"]
)
def test_no_cut_gives_half_a_picture(zoo, tmp_path, name):
    whole = zoo[name].read_bytes()
    for share in (0.02, 0.2, 0.4, 0.6, 0.8, 0.95):
        cut = tmp_path / zoo[name].name
        cut.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(PictureError):
            read_picture(cut)


def test_bomb_is_refused_by_its_header(zoo):
    assert len(bomb_bmp()) == 74
    for name in ("bomb png", "bomb png 16", "bomb bmp"):
        with pytest.raises(
            PictureError, match=r"60000 x 60000.*3600000000.*max_pixels = 400000000"
        ):
            read_picture(zoo[name])
    with pytest.raises(PictureError, match="max_pixels = 3000"):
        read_picture(zoo["tiled tiff"], max_pixels=3000)
    assert read_picture(zoo["tiled tiff"], max_pixels=48 * 64).shape == (48, 64, 3)


def test_no_permission(zoo):
    if os.access(zoo["no permission"], os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(PictureError, match="Permission denied"):
        read_picture(zoo["no permission"])


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[31m\n.png"
    try:
        path.write_bytes(b"nothing")
    except OSError:
        pytest.skip("the file system takes no such name")
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    assert str(caught.value).isprintable()


def test_unreadable_bytes_never_raise_another_error(zoo, tmp_path):
    random = np.random.default_rng(1)
    for name in ("png", "jpeg", "gif", "rgb 16 tiff", "lzw tiff", "zlib tiff", "rgb 16 png"):
        for _ in range(12):
            code = bytearray(zoo[name].read_bytes())
            for place in random.integers(0, min(len(code), 400), 8):
                code[place] = random.integers(0, 256)
            path = tmp_path / zoo[name].name
            path.write_bytes(code)
            try:
                pixels = read_picture(path, max_pixels=100_000)
            except PictureError:
                continue
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3


# Finding.


def test_find_pictures_in_the_zoo(zoo):
    folder = zoo["png"].parent
    found = [path.relative_to(folder).as_posix() for path in find_pictures(folder)]
    assert found == sorted(set(found))
    assert {"CAPITALS.PNG", "data[1]/in_brackets.png", "with some spaces.png"} <= set(found)
    assert "wölken_雲.png" in found
    left_out = {"._a.png", ".thumbnails/small.png", "dangling.png", "picture.ppm"}
    assert not left_out & set(found)
    assert not any(name.startswith("loop/") for name in found)
    assert find_pictures(folder / "data[1]") == [zoo["brackets"]]
    assert find_pictures(zoo["png"]) == [zoo["png"]]


def test_linked_folder_is_entered_once(zoo, tmp_path):
    if "link loop" not in zoo:
        pytest.skip("no links on this system")
    (tmp_path / "far").mkdir()
    shutil.copy(zoo["png"], tmp_path / "far" / "a.png")
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "far", target_is_directory=True)
    assert find_pictures(tmp_path / "data") == [tmp_path / "data" / "one" / "a.png"]


def test_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(PictureError, match=r"nowhere.*give an existing"):
        find_pictures(tmp_path / "nowhere")
    assert find_pictures(tmp_path) == []


def test_unreadable_folder_is_skipped_aloud(zoo, tmp_path, capsys):
    shutil.copy(zoo["png"], tmp_path / "a.png")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    try:
        if os.access(locked, os.R_OK):
            pytest.skip("this user may read everything")
        assert find_pictures(tmp_path) == [tmp_path / "a.png"]
        assert "locked" in capsys.readouterr().err
    finally:
        locked.chmod(0o700)


# Converting and writing.


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


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_write_and_read_back(tmp_path, suffix, dtype):
    path = tmp_path / f"a{suffix}"
    if suffix == ".bmp" and dtype == np.uint16:
        with pytest.raises(ValueError, match="8 bits"):
            write_picture(path, scene(dtype))
        return
    write_picture(path, scene(dtype))
    assert np.array_equal(read_picture(path), scene(dtype))
    write_picture(path, scene(dtype)[..., 0])
    assert np.array_equal(read_picture(path), three(scene(dtype)[..., 0]))
    assert files_in(tmp_path) == [path.name]


def test_write_jpeg_is_near(tmp_path):
    write_picture(tmp_path / "a.jpg", scene())
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - scene()).mean() < 6


def test_write_refuses_what_it_cannot(tmp_path):
    for path, pixels in (
        ("a.gif", scene()),
        ("a", scene()),
        ("a.png", scene().astype(np.float32)),
        ("a.png", scene()[..., :2]),
        ("a.jpg", scene(np.uint16)),
        ("a.png", scene()[:0]),
    ):
        with pytest.raises(ValueError, match=r"uint8|\(H, W, 3\)|use|8 bits"):
            write_picture(tmp_path / path, pixels)
    with pytest.raises(FileNotFoundError, match=r"missing.*a\.png"):
        write_picture(tmp_path / "missing" / "a.png", scene())
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    write_picture(path, scene())
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*a\."):
        write_picture(path, scene()[::-1])
    assert path.read_bytes() == before
    assert files_in(tmp_path) == [path.name]


# The store.


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
