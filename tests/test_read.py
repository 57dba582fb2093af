"""Files of every kind, good and bad, read to pixels; the oracle is the array that was written."""

import io
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tifffile
from conftest import PROJECT
from make_zoo import BAD, bomb_bmp, scene, three
from PIL import Image

from util.pictures.pixels import PictureError
from util.pictures.read import TooLarge, check_head, read, read_alpha, read_original, read_picture

# Good files.


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


@pytest.mark.parametrize("orientation", [0, 9, 60000])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, suffix, orientation):
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        extra = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, scene(), photometric="rgb", extratags=extra, metadata=None)
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(scene()).save(path, exif=exif)
    original = read_original(path)
    assert original.orientation == 1
    assert original.upright().shape == scene().shape


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


# Scale.


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


@pytest.mark.parametrize(
    ("name", "full_scale", "white", "shown"),
    [
        ("png", None, 255, scene()),
        ("png", 10_000, 255, scene()),
        ("png", 255.5, 255, scene()),
        ("png", 128, 128, scene()),
        ("png", 2, 2, scene()),
        ("png", 1, 255, scene()),
        ("alpha", None, 255, scene()),
        ("grey 8", 10_000, 255, three(scene()[..., 0])),
        ("rgb 16 png", None, 65535, scene(np.uint16)),
        ("rgb 16 png", 10_000, 10_000, scene(np.uint16)),
        ("big-endian tiff", 10_000, 10_000, scene(np.uint16)),
        ("9 bands tiff", 10_000, 10_000, scene(np.uint16)),
        ("turned tiff", 10_000, 10_000, np.rot90(three(scene(np.uint16)[..., 0]), -1)),
        ("float tiff", None, 65535, scene(np.uint16)),
        ("float tiff", 10_000, 65535, scene(np.uint16)),
        ("float tiff", 0.5, 65535, np.minimum(scene(np.uint16).astype(int) * 2, 65535)),
    ],
)
def test_pixels_come_as_in_the_file_with_their_white(zoo, name, full_scale, white, shown):
    found = read(zoo[name], full_scale=full_scale)
    assert found.white == white
    assert found.pixels.dtype == (np.uint8 if white <= 255 else np.uint16)
    assert np.array_equal(found.pixels, shown)
    found.pixels[:] = 0  # a result may be written over them


def test_full_scale_leaves_pixels_and_changes_what_they_mean(zoo):
    written = tifffile.imread(zoo["reflectance 16"])
    found = read(zoo["reflectance 16"], full_scale=10_000)
    assert not np.array_equal(found.over_range(), written)
    assert np.array_equal(found.pixels, written)
    assert np.array_equal(
        found.over_range(), read_picture(zoo["reflectance 16"], full_scale=10_000)
    )


def test_full_scale_of_8_bits(zoo):
    came = scene()
    assert came.max() > 128
    expected = np.rint(np.minimum(came / 128, 1) * 255).astype(np.uint8)
    assert np.array_equal(read_picture(zoo["png"], full_scale=128), expected)


def test_other_types_come_over_the_range_of_16_bits(zoo):
    found = read(zoo["reflectance float"], full_scale=10_000)
    assert found.white == 65535
    assert np.abs(found.pixels.astype(int) - scene(np.uint16)).max() <= 1


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
def test_impossible_full_scale_is_refused(zoo, scale):
    with pytest.raises(ValueError, match="full_scale"):
        read_picture(zoo["png"], full_scale=scale)


# Open files.


def outcome(reader, source):
    """Return what a reader finds as dtype, bytes and white, or why it finds nothing."""
    try:
        found = reader(source)
    except PictureError as error:
        return error.reason
    pixels, white = found if isinstance(found, tuple) else (found, None)
    return found is not None and (pixels.dtype, pixels.shape, pixels.tobytes(), white)


@pytest.mark.parametrize("reader", [read, read_alpha])
def test_an_open_file_reads_as_its_path_and_stays_open(zoo, reader):
    paths = {path for path in zoo.values() if path.is_file() and os.access(path, os.R_OK)}
    outcomes = {path: outcome(reader, path) for path in paths}
    assert len({found for found in outcomes.values() if isinstance(found, tuple)}) > 1
    assert len({found for found in outcomes.values() if isinstance(found, str)}) > 5
    for path, expected in outcomes.items():
        # Of the file, of memory, and one without a name, as a server gets them.
        with (
            open(path, "rb") as named,
            io.BytesIO(path.read_bytes()) as memory,
            tempfile.TemporaryFile() as nameless,
        ):
            nameless.write(path.read_bytes())  # and stands at its end
            for file in (named, memory, nameless):
                for _ in range(2):
                    assert outcome(reader, file) == expected, path
                    assert not file.closed


def test_the_error_of_an_open_file_is_the_reason_alone():
    with pytest.raises(PictureError) as caught:
        read(io.BytesIO())
    assert str(caught.value) == caught.value.reason == "the file is empty"


# Bad files.


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


def test_the_head_alone_tells_size_and_kind(zoo, monkeypatch):
    for way in ("PIL.Image.Image.load", "tifffile.TiffPage.asarray", "cv2.imdecode"):
        monkeypatch.setattr(way, lambda *_, **__: pytest.fail("decoded"))
    for name in ("png", "jpeg", "gif", "webp", "bmp", "rgb 16 png", "rgb 16 tiff", "lzw 16 tiff"):
        check_head(zoo[name], max_pixels=48 * 64)
        with pytest.raises(TooLarge, match="claims 64 x 48"):
            check_head(zoo[name], max_pixels=48 * 64 - 1)
    for name in ("bomb png", "bomb bmp"):
        with pytest.raises(TooLarge):
            check_head(zoo[name])
    for name in ("html", "empty", "wrong format", "cut rgb 16 tiff"):
        with pytest.raises(PictureError) as error:
            check_head(zoo[name])
        assert not isinstance(error.value, TooLarge)


def test_bomb_is_refused_by_its_header(zoo):
    assert len(bomb_bmp()) == 74
    for name in ("bomb png", "bomb png 16", "bomb bmp"):
        with pytest.raises(
            PictureError, match=r"60000 x 60000.*3600000000.*max_pixels = 400000000"
        ):
            read_picture(zoo[name])
    with pytest.raises(PictureError, match="max_pixels = 3000"):
        read_picture(zoo["tiled tiff"], max_pixels=3000)
    with pytest.raises(PictureError, match="max_pixels = 3000"):
        read(io.BytesIO(zoo["tiled tiff"].read_bytes()), max_pixels=3000)
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


def test_a_tiff_with_too_few_strips_is_damaged(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", scene(), photometric="rgb", rowsperstrip=16)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages.first.tags[257].overwrite(4000)
    with pytest.raises(PictureError, match="3 of 250 parts"):
        read_picture(tmp_path / "a.tif")


def test_complex_numbers_are_no_brightness_and_no_alpha(tmp_path):
    values = np.zeros((8, 8, 4), np.complex64)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=[2])
    with pytest.raises(PictureError, match="complex64 are no brightness"):
        read_alpha(tmp_path / "a.tif")


def test_the_decoders_themselves_say_nothing(zoo, tmp_path):
    exif = Image.Exif()
    exif[306] = "2026:01:01 12:00:00"
    Image.fromarray(scene()).save(tmp_path / "a.jpg", exif=exif.tobytes()[:-16])
    code = bytearray(zoo["lzw tiff"].read_bytes())
    code[40:60] = b"\xff" * 20
    (tmp_path / "b.tif").write_bytes(code)
    tifffile.imwrite(tmp_path / "c.tif", scene().astype(np.float32), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "c.tif", mode="r+b") as tiff:
        tiff.pages.first.tags[259].overwrite(4)  # fax
    read_all = (
        "import sys; from util.pictures import read\n"
        "for path in sys.argv[1:]:\n"
        "    try: read.read(path); print('picture')\n"
        "    except read.PictureError: print('error')"
    )
    files = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(
        [sys.executable, "-c", read_all, *files], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["picture", "error", "error"]
    assert done.stderr == ""


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
