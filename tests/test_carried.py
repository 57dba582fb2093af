"""What a file carries is in the file of the result; the oracle is the file that was written."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from make_zoo import noise
from PIL import Image, ImageCms

from util.pictures.beside import copy_beside
from util.pictures.carried import Carried, Tag, add_tags, carried_by
from util.pictures.places import _mapped_place
from util.pictures.read import read_original, read_picture
from util.pictures.write import write_picture

GEO = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0, 0, 0, 400000.5, 5300000.25, 0), True),
    (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34736, "d", 2, (6378137.0, 298.25), True),
    (34737, "s", 0, "WGS 84 / UTM zone 32N|", True),
    (42112, "s", 0, "<GDALMetadata>\n<Item name='x'>y</Item></GDALMetadata>", True),
    (42113, "s", 0, "-9999", True),
    (700, "B", 9, b"<x:xmp />", True),
    (50844, "d", 92, tuple(range(92)), True),
    (65000, "I", 2, (1, 2), True),
]


def again(source, result):
    """Read a picture and write it with all it carries."""
    original = read_original(source)
    carried = carried_by(source, original)
    stored = carried.is_stored(result) or original.orientation == 1
    write_picture(result, original.values if stored else original.upright(), carried)
    return original, carried


def raw_tags(path):
    """Return the bytes of each tag of a TIFF."""
    with tifffile.TiffFile(path) as tiff, open(path, "rb") as file:
        found = {}
        for tag in tiff.pages.first.tags:
            file.seek(tag.valueoffset)
            found[tag.code] = (int(tag.dtype), tag.count, file.read(tag.valuebytecount))
        return found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tags_byte_for_byte(tmp_path, order, big):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tifffile.imwrite(
        tmp_path / "a.tif", noise(40, 50).astype(np.int16), photometric="rgb", metadata=None,
        byteorder=order, bigtiff=big, resolution=((720000, 10007), (300, 1)), resolutionunit=3,
        description="a field", datetime="2024:05:01 10:11:12", software="mapper 1",
        iccprofile=profile, extratags=GEO,
    )  # fmt: skip
    again(tmp_path / "a.tif", tmp_path / "b.tif")
    before, after = raw_tags(tmp_path / "a.tif"), raw_tags(tmp_path / "b.tif")
    del before[273], after[273]  # where the pixels begin
    assert after == before
    assert {code for code, *_ in GEO} < after.keys()
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert (tiff.byteorder, tiff.is_bigtiff) == (order, big)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
@pytest.mark.parametrize(
    "how",
    [
        {"tile": (16, 32), "compression": "zlib", "predictor": True},
        {"rowsperstrip": 7, "compression": "zlib"},
        {"tile": (32, 16), "planarconfig": "separate"},
        {},
    ],
)
def test_pixels_bands_tiles_and_compression_as_they_came(tmp_path, dtype, how):
    if dtype == "f4":
        how = {name: value for name, value in how.items() if name != "predictor"}
    whole = np.dstack([noise(40, 50), noise(40, 50, seed=1)]).astype(dtype)
    given = np.moveaxis(whole, -1, 0) if "planarconfig" in how else whole
    kinds = ["unspecified", "unassalpha", "unspecified"]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, given, photometric="rgb", extrasamples=kinds, metadata=None, **how)
    again(path, tmp_path / "b.tif")
    with tifffile.TiffFile(path) as came, tifffile.TiffFile(tmp_path / "b.tif") as made:
        came, made = came.pages.first, made.pages.first
        for name in ("compression", "predictor", "is_tiled", "planarconfig", "extrasamples",
                     "dtype", "chunks"):  # fmt: skip
            assert getattr(made, name) == getattr(came, name), name
        np.testing.assert_array_equal(made.asarray(), given)


def test_grey_becomes_rgb(tmp_path):
    deep = noise(40, 50, np.uint16)[..., :2]
    path = tmp_path / "grey.tif"
    tifffile.imwrite(
        path, deep, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"],
        extratags=GEO,
    )  # fmt: skip
    again(path, tmp_path / "rgb.tif")
    made = tifffile.imread(tmp_path / "rgb.tif")
    np.testing.assert_array_equal(made, deep[..., [0, 0, 0, 1]])
    assert raw_tags(tmp_path / "rgb.tif")[33922] == raw_tags(path)[33922]


def test_a_turned_tiff_stays_as_stored(tmp_path):
    Image.fromarray(noise(40, 50)).save(tmp_path / "a.tif", tiffinfo={274: 6})
    original, _ = again(tmp_path / "a.tif", tmp_path / "b.tif")
    assert original.orientation == 6
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), noise(40, 50))
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif"), np.rot90(noise(40, 50), -1))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_the_mask_of_a_tiff_is_heeded_and_goes_along(tmp_path, order, big):
    mask = np.ones((40, 50), bool)
    mask[:, :13] = False
    made, how = [], {"photometric": "rgb", "planarconfig": "contig"}
    for fill in (0, 200):
        pixels = noise(40, 50)
        pixels[~mask] = fill
        path, result = tmp_path / "a.tif", tmp_path / "b.tif"
        write_picture(path, pixels, Carried({**how, "byteorder": order, "bigtiff": big}, mask=mask))
        assert _mapped_place(path, None) is None  # of all of it crops would be cut
        original = read_original(path)
        np.testing.assert_array_equal(original.ground, mask)
        shown = original.picture().pixels
        made.append(original.fill(shown) // 2)
        original.take(made[-1])
        np.testing.assert_array_equal(original.values[~mask], pixels[~mask])
        write_picture(result, original.values, carried_by(path, original))
        with tifffile.TiffFile(result) as tiff:
            assert [page.subfiletype for page in tiff.pages] == [0, 4]
            np.testing.assert_array_equal(tiff.pages[1].asarray(), mask)
    np.testing.assert_array_equal(*made)


def exif_of(orientation):
    """Return EXIF with a camera, a place, a time, and numbers of several kinds."""
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "a camera"
    exif.get_ifd(0x8769)[0x829A] = (1, 250)
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 10:11:12"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 31.5), 3: "E", 4: (11.0, 34.0, 5.25)})
    return exif


def known(path):
    """Return orientation, and all that is known of camera, time and place, by Pillow."""
    with Image.open(path) as image:
        exif = image.getexif()
        ifds = [dict(exif.get_ifd(code)) for code in (0x8769, 0x8825)]
        return exif.get(274, 1), exif.get(271), ifds


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_exif_and_gps_of_a_tiff(tmp_path, order, big):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, noise(40, 50), photometric="rgb", metadata=None, byteorder=order, bigtiff=big,
        extratags=GEO,
    )  # fmt: skip
    latitude = struct.pack(f"{order}6I", 48, 1, 8, 1, 315, 10)
    gps = [Tag(1, 2, 2, b"N\0"), Tag(2, 5, 3, latitude)]
    exif = [Tag(0x9003, 2, 20, b"2024:05:01 10:11:12\0")]
    with open(path, "r+b") as file:
        add_tags(file, {34853: gps, 34665: exif})
    again(path, tmp_path / "b.tif")
    for name in ("a.tif", "b.tif"):
        with tifffile.TiffFile(tmp_path / name) as tiff:
            tags = tiff.pages.first.tags
            assert tags[34665].value == {"DateTimeOriginal": "2024:05:01 10:11:12"}
            assert tags[34853].value == {
                "GPSLatitudeRef": "N", "GPSLatitude": (48, 1, 8, 1, 315, 10),
            }  # fmt: skip
    assert raw_tags(tmp_path / "b.tif")[33922] == raw_tags(path)[33922]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), noise(40, 50))


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_profile_and_resolution_go_into_a_png(tmp_path, suffix, orientation):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path, result = tmp_path / f"a{suffix}", tmp_path / "b.png"
    xmp = b'<x tiff:Orientation="6" drone:Height="120"/>'
    how = {} if suffix == ".png" else {"xmp": xmp}
    Image.fromarray(noise(40, 50)).save(
        path, exif=exif_of(orientation), icc_profile=profile, dpi=(300, 300), **how
    )
    again(path, result)
    np.testing.assert_array_equal(read_picture(result), read_picture(path))
    before, after = known(path), known(result)
    assert (before[0], after[0]) == (orientation, 1)
    assert after[1:] == before[1:]
    assert after[2][1][2] == (48.0, 8.0, 31.5)
    with Image.open(result) as image:
        assert image.info["icc_profile"] == profile
        if suffix != ".webp":  # which has no resolution but EXIF's
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.02)
        if suffix != ".png":
            assert b'drone:Height="120"' in image.info["xmp"]
            assert b'tiff:Orientation="1"' in image.info["xmp"]


def test_the_resolution_of_a_bmp(tmp_path):
    Image.fromarray(noise(40, 50)).save(tmp_path / "a.bmp", dpi=(300, 150))
    again(tmp_path / "a.bmp", tmp_path / "b.bmp")
    with Image.open(tmp_path / "b.bmp") as image:
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        np.testing.assert_array_equal(np.array(image), noise(40, 50))


def test_text_and_colour_of_a_png(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Author", "somebody")
    text.add_itxt("Title", "Wölken", zip=True)
    text.add(b"gAMA", struct.pack(">I", 45455))
    text.add(b"bKGD", struct.pack(">HHH", 1, 2, 3))
    Image.fromarray(noise(40, 50)).save(tmp_path / "a.png", pnginfo=text)
    again(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.text == {"Author": "somebody", "Title": "Wölken"}
        assert image.info["gamma"] == pytest.approx(0.45455)


def test_a_profile_for_other_colours_stays_behind(tmp_path):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"CMYK"
    Image.fromarray(noise(40, 50)).convert("CMYK").save(
        tmp_path / "a.jpg", icc_profile=bytes(profile)
    )
    again(tmp_path / "a.jpg", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert "icc_profile" not in image.info


def test_damage_in_what_is_carried_costs_no_pixels(tmp_path):
    code = io.BytesIO()
    Image.fromarray(noise(40, 50)).save(code, "PNG", exif=exif_of(1))
    code = code.getvalue()
    at = code.index(b"eXIf") + 4
    length = struct.unpack_from(">I", code, at - 8)[0]
    broken = code[:at] + b"nonsense".ljust(length, b"\0")
    broken += struct.pack(">I", zlib.crc32(broken[at - 4 :])) + code[at + length + 4 :]
    (tmp_path / "a.png").write_bytes(broken)
    _, carried = again(tmp_path / "a.png", tmp_path / "b.png")
    assert "a.png" in carried.note
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png"), noise(40, 50))


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
@pytest.mark.parametrize("exif", [b"", b"XX*\0garbage", b"II*\0\xff\xff\xff\xff", b"MM"])
def test_exif_that_is_damaged_or_empty_costs_nothing_else(tmp_path, suffix, exif):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise(40, 50)).save(
        path, exif=b"Exif\0\0" + exif, icc_profile=profile, dpi=(300, 300)
    )
    _, carried = again(path, tmp_path / "b.png")
    assert carried.note == (f"{path}: its EXIF is damaged, and stays behind" if exif else "")
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == profile
        assert "exif" not in image.info
        assert ("dpi" in image.info) == (suffix != ".webp")


@pytest.mark.parametrize("broken", [(0, 0), 7])
def test_a_resolution_that_is_no_number_costs_no_other_tag(tmp_path, broken):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(40, 50), photometric="rgb", extratags=GEO, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[282].overwrite(broken, dtype=5 if broken == (0, 0) else 8)
    again(path, tmp_path / "b.tif")
    assert raw_tags(tmp_path / "b.tif")[33922] == raw_tags(path)[33922]


@pytest.mark.parametrize(
    ("source", "result", "pairs"),
    [
        ("a.png", "a.png", {"a.pgw": "a.pgw", "a.prj": "a.prj", "a.png.aux.xml": "a.png.aux.xml"}),
        ("a.jpg", "a_jpg.png", {"a.jgw": "a_jpg.pgw", "a.jpg.aux.xml": "a_jpg.png.aux.xml"}),
        ("a.jpeg", "a.png", {"a.jpegw": "a.pngw", "a.wld": "a.wld"}),
        ("A.TIF", "A.TIF", {"A.TFW": "A.tfw", "A.PRJ": "A.prj"}),
        ("a.tiff", "a.tiff", {"a.tfw": "a.tfw", "a.aux.xml": "a.aux.xml"}),
        ("a.b.png", "a.b.png", {"a.b.pgw": "a.b.pgw"}),
        ("photo", "photo.png", {"photo.wld": "photo.wld", "photo.aux.xml": "photo.png.aux.xml"}),
    ],
)
def test_what_lies_beside_goes_along(tmp_path, source, result, pairs):
    (tmp_path / "in").mkdir()
    for name in (*pairs, "a.ovr", "other.pgw", f"{source}.ovr"):
        (tmp_path / "in" / name).write_text(f"content of {name}")
    place = tmp_path / "out"
    assert copy_beside(tmp_path / "in" / source, place / result, turned=False) == ""
    made = {path.name: path.read_text() for path in place.iterdir()}
    assert made == {new: f"content of {old}" for old, new in pairs.items()}


def test_beside_a_picture_with_a_long_name_is_nothing(tmp_path):
    path = tmp_path / f"{250 * 'n'}.png"  # with .aux.xml too long for the disk
    assert copy_beside(path, tmp_path / "out" / path.name, turned=False) == ""


def test_statistics_of_pixels_as_they_were_stay_behind(tmp_path):
    told = '<PAMDataset>\n  <SRS>here</SRS>\n  <PAMRasterBand band="1">\n    {}</PAMRasterBand>\n'
    kept = '<Metadata>\n      <MDI key="GAIN">3</MDI>\n    {}</Metadata>\n  '
    old = '<MDI key="STATISTICS_MEAN">9</MDI>\n    <MDI key="STATISTICS_STDDEV">1</MDI>\n    '
    histogram = "<Histograms>\n<HistItem>\n<HistMin>1</HistMin></HistItem></Histograms>\n    "
    (tmp_path / "a.png.aux.xml").write_text(told.format(histogram + kept.format(old)))
    copy_beside(tmp_path / "a.png", tmp_path / "out" / "b.png", turned=False)
    made = (tmp_path / "out" / "b.png.aux.xml").read_text()
    assert made == told.format(kept.format(""))


def test_a_world_file_of_a_picture_that_is_turned_is_named(tmp_path):
    (tmp_path / "a.jgw").write_text("1")
    (tmp_path / "a.prj").write_text("2")
    said = copy_beside(tmp_path / "a.jpg", tmp_path / "out" / "a.png", turned=True)
    assert "a.jgw" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.prj"]


def test_nodata_of_a_palette_and_of_white_that_is_0_is_a_mask_in_the_result(tmp_path):
    index = np.arange(64, dtype=np.uint8).reshape(8, 8)
    index[0] = 255  # nodata, whose colour is another index's brightness
    colours = np.tile(np.arange(256, dtype=np.uint16)[::-1] * 257, (3, 1))
    nodata = [(42113, "s", 0, "255", True)]
    for name, how in (
        ("palette", {"photometric": "palette", "colormap": colours}),
        ("white", {"photometric": "miniswhite"}),
    ):
        path, result = tmp_path / f"{name}.tif", tmp_path / f"{name}_out.tif"
        tifffile.imwrite(path, index, metadata=None, extratags=nodata, **how)
        original = read_original(path)
        np.testing.assert_array_equal(original.ground, index != 255)
        np.testing.assert_array_equal(original.values[..., 0], 255 - index)
        write_picture(result, original.values, carried_by(path, original))
        with tifffile.TiffFile(result) as tiff:
            assert 42113 not in tiff.pages.first.tags
        np.testing.assert_array_equal(read_original(result).ground, index != 255)
