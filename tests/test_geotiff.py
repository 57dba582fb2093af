"""GeoTIFF scenes keep all they carry; the networks are stand-ins, the oracle the file itself."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from conftest import PROJECT
from make_zoo import files_in, noise
from PIL import Image, ImageCms

from util.pictures import gdal, geotiff, geotiff_write
from util.pictures import stretch as stretch_
from util.pictures.beside import copy_beside
from util.pictures.carried import Tag, add_tags
from util.pictures.geotiff import Unfit, open_scene
from util.pictures.geotiff_layout import check_file, layout_of
from util.pictures.geotiff_write import PROVENANCE
from util.pictures.pixels import PictureError
from util.say import UserError

rasterio = pytest.importorskip("rasterio", reason="pip install -r requirements-geo.txt")
ColorInterp, MaskFlags = rasterio.enums.ColorInterp, rasterio.enums.MaskFlags
Resampling = rasterio.enums.Resampling
Affine = rasterio.transform.Affine
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

HEIGHT, WIDTH = 280, 300
PLACE = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_300_000)}
TILED = {"tiled": True, "blockxsize": 128, "blockysize": 64}
PACKED = {"compress": "deflate", "predictor": 2}
RPC = {
    "HEIGHT_OFF": "1.5", "HEIGHT_SCALE": "500", "LAT_OFF": "48.25", "LAT_SCALE": "0.125",
    "LINE_OFF": "140", "LINE_SCALE": "140", "LONG_OFF": "11.5", "LONG_SCALE": "0.25",
    "SAMP_OFF": "150", "SAMP_SCALE": "150", "ERR_BIAS": "1", "ERR_RAND": "2",
    **{f"{of}_COEFF": " ".join(map(str, range(1, 21)))
       for of in ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN")},
}  # fmt: skip
POINTS = [
    rasterio.control.GroundControlPoint(
        row, column, 11 + column / 1000, 48 - row / 1000, 5.0, str(i), "a corner"
    )
    for i, (row, column) in enumerate([(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH)])
]


def values_of(bands, dtype, height=HEIGHT, width=WIDTH):
    """Return values (bands, height, width) as such files have them, none of them 0."""
    share = np.moveaxis(
        np.dstack([noise(height, width, np.uint16, seed=seed) for seed in (0, 1)])[..., :bands],
        -1, 0,
    ) / 65535  # fmt: skip
    top = {"uint8": 254, "float32": 1}.get(dtype, 8000)
    values = share * top + (0.001 if dtype == "float32" else 1)
    return values.astype(dtype) if dtype == "float32" else np.rint(values).astype(dtype)


def write_scene(path, values, *, roles=None, before=None, after=None, mask=None, **profile):
    """Write a GeoTIFF of values (B, H, W); `before` and `after` the pixels the open file is given
    to functions.
    """
    count, height, width = values.shape
    profile = {**PLACE, **TILED, "dtype": values.dtype, "count": count, **profile}
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, **profile) as made:
        if roles:
            made.colorinterp = [ColorInterp[role] for role in roles]
        if before:
            before(made)
        made.write(values)
        if mask is not None:
            made.write_mask(mask)
        if after:
            after(made)
    return path


def brighter(top, rows):
    """Change a known part: rows and columns 40 to 99; it stands for a network."""
    rows = rows.copy()
    low, high = (np.clip(n - top, 0, len(rows)) for n in (40, 100))
    part = rows[low:high, 40:100]
    part[...] = part // 2 + np.iinfo(rows.dtype).max // 2
    return rows


def identity(_, rows):
    return rows


def restore(source, result, function=identity, heights=(37, 64, 5, 111), how=None, **given):
    """Take a scene through a function, in rows of several heights; return what is worth knowing."""
    with open_scene(source, **given) as scene:
        height, width, _ = scene.shape
        with scene.create(result, **(how or {})) as sink:
            top, turn = 0, 0
            while top < height:
                rows = slice(top, min(top + heights[turn % len(heights)], height))
                sink.write(top, function(top, scene[rows, 0:width]))
                top, turn = rows.stop, turn + 1
        return scene.stretch, scene.notes, scene.bands


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def facts(path):
    """Return all that a GeoTIFF tells besides its pixels."""
    with rasterio.open(path) as file, tifffile.TiffFile(path) as tiff:
        spaces = {"", *file.tag_namespaces()} - {"DERIVED_SUBDATASETS", PROVENANCE}
        packed = file.tags(ns="IMAGE_STRUCTURE")
        page = tiff.pages.first
        return {
            "profile": dict(file.profile),
            "tags": {
                space: file.tags(ns=space or None) for space in sorted(spaces - {"IMAGE_STRUCTURE"})
            },
            "packed": packed,
            "band tags": [
                {
                    space: file.tags(band, ns=space or None)
                    for space in sorted({"", *file.tag_namespaces(band)})
                }
                for band in file.indexes
            ],
            "names": file.descriptions,
            "units": file.units,
            "scales": (file.scales, file.offsets),
            "roles": file.colorinterp,
            "flags": file.mask_flag_enums,
            "overviews": [file.overviews(band) for band in file.indexes],
            "points": ([p.asdict() for p in file.gcps[0]], file.gcps[1]),
            "rpcs": file.rpcs and file.rpcs.to_dict(),
            "stored": (page.photometric, page.extrasamples, page.predictor, page.planarconfig),
        }


def all_the_rest(made):
    """Give a file whatever else a GeoTIFF can carry."""
    made.update_tags(
        TIFFTAG_SOFTWARE="a mapper", TIFFTAG_DATETIME="2024:05:01 10:11:12", A="b=c Größe"
    )
    made.update_tags(ns="MISSION", ORBIT="7")
    made.update_tags(ns="xml:XMP", **{"<x:xmpmeta xmlns:x": '"adobe:ns:meta/" a="1" />'})
    for band in made.indexes:
        made.update_tags(band, WAVELENGTH=str(400 + band), STATISTICS_MAXIMUM="8001")
        made.update_tags(band, ns="SENSOR", GAIN=str(band))
    made.descriptions = [f"B{band:02}" for band in made.indexes]
    made.units = ["sr-1"] * made.count


# 1, 2
@pytest.mark.parametrize(
    ("bands", "dtype", "profile"),
    [
        (3, "uint8", {"photometric": "RGB", "compress": "lzw"}),
        (3, "uint16", {"photometric": "RGB", **PACKED, "interleave": "band"}),
        (4, "uint16", {"photometric": "MINISBLACK", **PACKED, "nodata": 0}),
        (4, "uint8", {"photometric": "RGB", "alpha": "NO"}),
        (5, "int16", {"compress": "zstd", "nodata": -9999, "tiled": False, "blockysize": 7}),
        (1, "float32", {"compress": "deflate", "predictor": 3, "nodata": float("nan")}),
        (2, "uint16", {"photometric": "MINISBLACK", "alpha": "YES"}),
        (3, "uint16", {"photometric": "RGB", "nbits": 13, "compress": "deflate"}),
        (3, "uint32", {"compress": "packbits"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["Area", "Point"])
def test_a_scene_without_cloud_is_the_same_file_in_pixels_and_facts(
    tmp_path, bands, dtype, profile, kind
):
    values = values_of(bands, dtype)

    def after(made):
        all_the_rest(made)
        made.update_tags(AREA_OR_POINT=kind)
        made.build_overviews([2, 4], Resampling.average)

    source = write_scene(tmp_path / "a.tif", values, after=after, **profile)
    restore(source, tmp_path / "b.tif")
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), values)
    assert_equal_facts(tmp_path / "b.tif", source)
    assert facts(source)["tags"][""]["AREA_OR_POINT"] == kind


def assert_equal_facts(made, source, but=()):
    """NaN is nodata, too, and no number equals it."""
    made, source = facts(made), facts(source)
    for name in source.keys() - set(but):
        assert repr(made[name]) == repr(source[name]), name


# 14
_PEAK = """
import resource, sys
import numpy as np
from util.pictures import gdal
from util.pictures.geotiff import open_scene
gdal.CACHE_BYTES = 2**23  # soon full
with open_scene(sys.argv[1]) as scene, scene.create(sys.argv[1] + ".out.tif") as sink:
    for top in range(0, scene.shape[0], 100):
        sink.write(top, scene[top : top + 100, 0 : scene.shape[1]] // 2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_sides_of_tiles_that_no_tiff_may_have_are_rounded_up(tmp_path):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"), tiled=True)
    with open_scene(source) as scene:
        odd = scene.facts._replace(blocks=(100, 127))
    tiles = layout_of(odd, {}, "same", {}).tiles
    assert (tiles["blockysize"], tiles["blockxsize"]) == (112, 128)


def test_points_and_coefficients_instead_of_a_transform(tmp_path):
    bare = {"crs": None, "transform": None}

    def points(made):
        made.gcps = (POINTS, rasterio.crs.CRS.from_epsg(4326))

    def coefficients(made):
        made.update_tags(ns="RPC", **RPC)

    for name, before in (("points", points), ("rpc", coefficients), ("none", None)):
        source = write_scene(
            tmp_path / f"{name}.tif", values_of(3, "uint16"), before=before, **bare
        )
        _, notes, _ = restore(source, tmp_path / "out.tif", brighter)
        assert_equal_facts(tmp_path / "out.tif", source)
        told = [note for note in notes if "georeference" in note]
        assert len(told) == (1 if name == "none" else 0)
    assert len(facts(tmp_path / "points.tif")["points"][0]) == 4
    assert facts(tmp_path / "rpc.tif")["rpcs"]["lat_off"] == 48.25
    # In a process of its own: pytest listens to warnings itself.
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, source], cwd=PROJECT, capture_output=True, check=True
    )
    assert done.stderr == b""


ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39 +lon_0=18 +R=6371229"


@pytest.mark.parametrize("format", ["same", "cog"])
@pytest.mark.parametrize("crs", [ROTATED, "+proj=nsper +h=3000000 +lat_0=40", "EPSG:8857"])
def test_a_crs_that_no_keys_can_hold_lies_beside(tmp_path, format, crs):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"), crs=crs)
    result = tmp_path / "out" / "b.tif"
    result.parent.mkdir()
    restore(source, result, how={"format": format})
    with rasterio.open(result) as made:
        assert made.crs == rasterio.crs.CRS.from_user_input(crs)
        assert made.transform == PLACE["transform"]
    assert ("b.tif.aux.xml" in files_in(result.parent)) == (not crs.startswith("EPSG"))
    with open_scene(source) as scene, scene.create_grey(result, "opacity", format=format) as sink:
        sink.write(0, np.zeros((HEIGHT, WIDTH), np.uint8))
    assert facts(result)["profile"]["crs"] == rasterio.crs.CRS.from_user_input(crs)


def test_profile_and_alpha_kinds(tmp_path):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.dstack([noise(40, 50), noise(40, 50, seed=1)[..., :1]])
    for kind in ("unassalpha", "assocalpha", "unspecified"):
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[kind], iccprofile=icc,
            metadata=None,
        )  # fmt: skip
        restore(tmp_path / "a.tif", tmp_path / "b.tif")
        assert_equal_facts(tmp_path / "b.tif", tmp_path / "a.tif")
        with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
            assert tiff.pages.first.iccprofile == icc


@pytest.mark.parametrize("bigtiff", ["YES", "NO"])
def test_exif_goes_along(tmp_path, bigtiff):
    values = values_of(3, "uint16")
    source = write_scene(
        tmp_path / "a.tif", values, photometric="RGB", bigtiff=bigtiff, after=all_the_rest
    )
    exif = {34665: [Tag(0x9003, 2, 20, b"2024:05:01 10:11:12\0")]}
    with open(source, "r+b") as file:
        add_tags(file, exif)
    restore(source, tmp_path / "b.tif")
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), values)
    assert_equal_facts(tmp_path / "b.tif", source)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tiff.is_bigtiff == (bigtiff == "YES")
        tags = tiff.pages.first.tags
        assert tags[34665].value == {"DateTimeOriginal": "2024:05:01 10:11:12"}


def test_a_tile_that_takes_too_much_memory_is_refused(tmp_path, monkeypatch):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint16"))
    monkeypatch.setattr(geotiff, "_MOST_BLOCK_BYTES", 128 * 64 * 6 - 1)
    with pytest.raises(PictureError, match="TILED=YES"):
        restore(source, tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("shape", "transform"),
    [
        ((1, 1), PLACE["transform"]),
        ((1, 300), PLACE["transform"]),
        (
            (40, 50),
            Affine(8, 6, 500_000, 6, -8, 5_000_000),
        ),
        ((40, 50), Affine(10, 0, 500_000, 0, 10, 5_000_000)),  # south up
    ],
)
def test_tiny_rotated_and_south_up_scenes(tmp_path, shape, transform):
    values = values_of(3, "uint16", *shape)
    source = write_scene(tmp_path / "a.tif", values, transform=transform, tiled=False, blockysize=1)
    restore(source, tmp_path / "b.tif")
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), values)
    assert_equal_facts(tmp_path / "b.tif", source)


@pytest.mark.parametrize(
    ("place", "metres"),
    [
        ({}, 10.0),
        ({"transform": Affine(0, 9, 500_000, 4, 0, 5_300_000)}, 6.0),
        # A metre of this map is half a metre of ground there.
        ({"crs": "EPSG:3857", "transform": Affine(2, 0, 0, 0, -2, 8_399_738)}, 1.0),
        ({"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 8, 0, -1e-5, 60)}, 0.787),
        ({"crs": "EPSG:2263", "transform": Affine(1, 0, 980_000, 0, -1, 200_000)}, 0.3048),
        ({"crs": None}, 0.0),
        ({"transform": Affine(10, 0, 1e30, 0, -10, 1e30)}, 0.0),
    ],
)
def test_how_much_ground_a_pixel_shows(tmp_path, place, metres):
    path = write_scene(tmp_path / "a.tif", values_of(3, "uint8"), photometric="RGB", **place)
    with open_scene(path) as scene:
        assert scene.pixel_m == pytest.approx(metres, rel=5e-3)


# 3
def test_bands_by_role_or_by_number_and_the_others_stay(tmp_path):
    values = values_of(4, "uint16")
    roles = ["blue", "green", "red", "undefined"]
    source = write_scene(tmp_path / "bgrn.tif", values, roles=roles, photometric="MINISBLACK")
    _, notes, bands = restore(source, tmp_path / "b.tif", brighter)
    assert (bands, notes) == ([3, 2, 1], [])
    made = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(made[3], values[3])
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[40:100, 40:100] = True
    np.testing.assert_array_equal(made[:, ~inside], values[:, ~inside])
    assert (made[:3] != values[:3])[:, inside].mean() > 0.99
    *_, bands = restore(source, tmp_path / "c.tif", brighter, bands=[4, 1, 2])
    assert bands == [4, 1, 2]
    np.testing.assert_array_equal(read(tmp_path / "c.tif")[2], values[2])
    for wrong in ([1, 2, 5], [1, 2], [1, 1, 2], [0, 1, 2]):
        with pytest.raises(PictureError, match=r"bgrn\.tif: bands"):
            restore(source, tmp_path / "d.tif", bands=wrong)
    with open_scene(source) as scene:
        np.testing.assert_array_equal(np.argsort(scene[3:4, 5:6][0, 0]),
                                      np.argsort(values[[2, 1, 0], 3, 5]))  # fmt: skip


def test_more_bands_without_roles_are_told_and_one_band_stays_one(tmp_path):
    source = write_scene(tmp_path / "a.tif", values_of(5, "uint16"), photometric="MINISBLACK")
    _, notes, bands = restore(source, tmp_path / "b.tif")
    assert bands == [1, 2, 3]
    assert any("1, 2, 3" in note for note in notes)
    values = values_of(1, "uint8")
    source = write_scene(tmp_path / "grey.tif", values)
    *_, bands = restore(source, tmp_path / "b.tif", brighter)
    assert bands == [1]
    np.testing.assert_array_equal(
        read(tmp_path / "b.tif")[0], brighter(0, values[0][..., None].copy())[..., 0]
    )


@pytest.mark.parametrize("format", ["same", "cog"])
@pytest.mark.parametrize(
    ("photometric", "roles"),
    [
        ("RGB", ("red", "green", "blue", "nir")),
        ("RGB", ("red", "green", "blue", "gray")),
        ("MINISBLACK", ("undefined",) * 3),
    ],
)
def test_a_role_that_gdal_itself_does_not_write_stays(tmp_path, format, photometric, roles):
    values = values_of(len(roles), "uint8")
    source = write_scene(
        tmp_path / "a.tif", values, photometric=photometric, alpha="NO", after=all_the_rest
    )
    items = "".join(
        f'<Item name="COLORINTERP" sample="{band}" role="colorinterp">{role}</Item>'
        for band, role in enumerate(roles)
    )
    with tifffile.TiffFile(source, mode="r+b") as tiff:
        text = tiff.pages.first.tags.valueof(42112).replace("</GDAL", f"{items}</GDAL")
        tiff.pages.first.tags[42112].overwrite(text.encode())
    assert facts(source)["roles"] == tuple(ColorInterp[role] for role in roles)
    result = tmp_path / "b.tif"
    restore(source, result, how={"format": format})
    for name in ("roles", "tags", "band tags", "names", "units", "scales"):
        assert repr(facts(result)[name]) == repr(facts(source)[name]), name
    np.testing.assert_array_equal(read(result), values)
    if format == "same":
        assert_equal_facts(result, source)
        restore(source, result, how={"options": {"PROFILE": "BASELINE"}})  # which has no such text
        np.testing.assert_array_equal(read(result), values)


# 4, 5, 6
COLLAR = np.zeros((HEIGHT, WIDTH), bool)
COLLAR[:, :50] = COLLAR[:30] = True  # reaches into the part that is made brighter


@pytest.mark.parametrize(
    ("kind", "dtype", "fills"),
    [
        ("nodata", "uint16", (0, 65535)),
        ("nodata", "int16", (-9999, 0)),
        ("nodata", "uint8", (0, 255)),
        ("nodata", "float32", (np.nan, -3.4028234663852886e38)),
        ("mask", "uint16", (0, 65535)),
        ("beside", "uint16", (0, 65535)),
        ("alpha", "uint8", (0, 255)),
    ],
)
def test_what_is_no_ground_has_no_say_and_stays(tmp_path, kind, dtype, fills):
    made, seen = [], []
    for fill in fills:
        values = values_of(4 if kind == "alpha" else 3, dtype)
        values[:3, COLLAR] = fill
        how = {"photometric": "RGB"}
        if kind == "alpha":
            values[3] = np.where(COLLAR, 0, 255)
            values[3, 200:][~COLLAR[200:]] = 128
            how["alpha"] = "YES"
        if kind == "nodata":
            how["nodata"] = fill
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "mask"):
            mask = ~COLLAR if kind in ("mask", "beside") else None
            source = write_scene(tmp_path / "a.tif", values, mask=mask, **how)
        restore(source, tmp_path / "b.tif", brighter)
        with open_scene(source) as scene:
            seen.append(scene[0:HEIGHT, 0:WIDTH])
            np.testing.assert_array_equal(scene.valid(slice(0, HEIGHT), slice(0, WIDTH)), ~COLLAR)
            assert scene[0:9, 0:9].max() == 0  # nothing is ground there
        result = read(tmp_path / "b.tif")
        np.testing.assert_array_equal(result[:, COLLAR], values[:, COLLAR])
        assert (result[:3, 40:100, 50:100] != values[:3, 40:100, 50:100]).mean() > 0.9
        assert_equal_facts(tmp_path / "b.tif", source)
        with rasterio.open(source) as before, rasterio.open(tmp_path / "b.tif") as after:
            np.testing.assert_array_equal(after.dataset_mask(), before.dataset_mask())
        made.append(result)
    np.testing.assert_array_equal(made[0][:, ~COLLAR], made[1][:, ~COLLAR])
    np.testing.assert_array_equal(*seen)
    row = seen[0][35]  # the nearest ground is on the same row there
    np.testing.assert_array_equal(row[40:50], row[60:50:-1])


@pytest.mark.parametrize(("declared", "given"), [(0, 9), (9, 0), (0, 1), (1, 0)])
def test_nor_what_the_file_declares_where_the_user_says_otherwise(tmp_path, declared, given):
    values = np.clip(values_of(3, "uint8"), 10, None)
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", nodata=declared)
    for made in (0, 1, 9):
        restore(
            source,
            tmp_path / "b.tif",
            lambda _, rows, made=made: np.full_like(rows, made),
            nodata=given,
        )
        with rasterio.open(tmp_path / "b.tif") as file:
            assert file.nodata == declared
            assert not np.isin(file.read(), [declared, given]).any()


def test_alpha_that_is_another_band_hides_nothing(tmp_path):
    """GDAL calls the fourth of four bands of 8 bits alpha, unless it is told otherwise."""
    values = values_of(4, "uint8")
    values[3, :50] = 0  # infra-red of water
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")
    with open_scene(source) as scene:
        assert scene.valid(slice(0, HEIGHT), slice(0, WIDTH)).all()
        assert any("band 4 has too many values for alpha" in note for note in scene.notes)
    restore(source, tmp_path / "b.tif", brighter)
    result = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(result[3], values[3])
    assert (result[:3, 40:50, 40:100] != values[:3, 40:50, 40:100]).mean() > 0.9


def test_tags_that_cannot_be_written_are_told_and_end_nothing(tmp_path):
    tagged = b"<GDALMetadata><Item name='ns'>1</Item><Item name='bidx' sample='0'>2</Item>"
    tagged += b"<Item name='kept'>3</Item></GDALMetadata>"
    source = write_scene(
        tmp_path / "a.tif", values_of(3, "uint8"), after=lambda f: f.update_tags(a=" " * 200)
    )
    with tifffile.TiffFile(source, mode="r+b") as tiff:
        tiff.pages.first.tags[42112].overwrite(tagged)
    with open_scene(source) as scene:
        told = [note for note in scene.notes if "stays behind" in note]
    assert told == ["its tag 'bidx' stays behind", "its tag 'ns' stays behind"]
    restore(source, tmp_path / "b.tif", brighter)
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.tags()["kept"] == "3"


def test_byte_order_stays_and_further_pages_are_told(tmp_path):
    values = values_of(3, "uint16")
    source = write_scene(tmp_path / "a.tif", values, endianness="BIG")
    with rasterio.open(source, "r+") as file:
        assert not file.subdatasets
    restore(source, tmp_path / "b.tif", brighter)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tiff.byteorder == ">"
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        append_subdataset=True,
        **{**PLACE, "dtype": "uint16", "count": 3},
        driver="GTiff",
        height=HEIGHT,
        width=WIDTH,
    ) as file:
        file.write(values)
    with open_scene(tmp_path / "a.tif") as scene:
        assert "its further pages stay behind" in scene.notes
    restore(tmp_path / "a.tif", tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.subdatasets == []


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_a_black_border_that_no_tag_tells_of_is_no_ground(tmp_path, dtype):
    values = values_of(3, dtype)
    values[:3, COLLAR] = 0
    told = write_scene(tmp_path / "told.tif", values, photometric="RGB", nodata=0)
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB")
    with open_scene(source) as scene, open_scene(told) as other:
        valid = scene.valid(slice(0, HEIGHT), slice(0, WIDTH))
        np.testing.assert_array_equal(valid, ~COLLAR)
        np.testing.assert_array_equal(
            scene.valid(slice(30, 60), slice(20, 70)), ~COLLAR[30:60, 20:70]
        )
        assert scene.stretch == other.stretch
        np.testing.assert_array_equal(scene[30:60, 20:70], other[30:60, 20:70])
    restore(source, tmp_path / "b.tif", brighter)
    result = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(result[:, COLLAR], values[:, COLLAR])
    assert (result[:3, 40:100, 50:100] != values[:3, 40:100, 50:100]).mean() > 0.9


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint16", 0), ("uint8", 0), ("uint8", 255), ("float32", 0.0)]
)
def test_a_result_is_never_nodata_by_accident(tmp_path, dtype, nodata):
    values = np.clip(values_of(3, dtype), None, 254 if dtype == "uint8" else None)
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", nodata=nodata)

    def extreme(_, rows):
        return np.full_like(rows, 0 if nodata == 0 else np.iinfo(rows.dtype).max)

    full_scale = 1 if dtype == "float32" else 8001
    restore(source, tmp_path / "b.tif", extreme, full_scale=full_scale)
    result = read(tmp_path / "b.tif")
    moved = {"float32": 1 / 65535}.get(dtype, 1 if nodata == 0 else 254)
    assert set(np.unique(result)) == {np.dtype(dtype).type(moved)}
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.dataset_mask().min() == 255


# 7
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_types_stay_and_values_beyond_the_stretch_too(tmp_path, dtype, monkeypatch):
    for module in (stretch_, geotiff_write):
        monkeypatch.setattr(module, "_AT_ONCE", 10 * WIDTH)
    values = values_of(3, dtype)
    low, high = (0, 255) if dtype == "uint8" else (1, 30_000)
    values[:, 200, 200:210], values[:, 201, 200:210] = high, low
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB")
    stretch, *_ = restore(source, tmp_path / "b.tif", brighter)
    result = read(tmp_path / "b.tif")
    assert result.dtype == dtype
    same = np.ones((HEIGHT, WIDTH), bool)
    same[40:100, 40:100] = False
    np.testing.assert_array_equal(result[:, same], values[:, same])
    if dtype == "uint8":
        assert str(stretch) == "0 to 255 (8 bits)"
        return
    known = np.percentile(values, [0.5, 99.5])
    if dtype != "float32":
        known = [np.floor(known[0]), np.ceil(known[1])]
    assert [stretch.low, stretch.high] == pytest.approx(list(known))
    # The middle between a value and the upper end, to half a step of 16 bits and of the type.
    part = np.s_[:, 40:100, 40:100]
    expected = (np.clip(values[part].astype(float), *known) + known[1]) / 2
    step = (known[1] - known[0]) / 65535
    np.testing.assert_allclose(
        result[part], expected, rtol=1e-6, atol=1.6 * step + (0.51 if dtype != "float32" else 0)
    )


def test_what_means_white_is_the_files_word_then_the_persons_then_percentiles(tmp_path):
    values = values_of(3, "uint16")

    def reflectance(made):
        made.scales, made.offsets = (1e-4,) * 3, (-0.1,) * 3

    def degrees(made):
        made.scales, made.offsets = (0.01,) * 3, (273.0,) * 3

    for after, full_scale, expected in [
        (reflectance, 9000, (1000, 7500, "the file's scales")),
        (degrees, 9000, (0, 9000, "full_scale")),
        (None, 9000, (0, 9000, "full_scale")),
        (None, None, None),
    ]:
        source = write_scene(tmp_path / "a.tif", values, photometric="RGB", after=after)
        with open_scene(source, full_scale=full_scale) as scene:
            stretch, pixels = scene.stretch, scene[0:9, 0:9]
            assert (scene.dtype, scene.white) == (np.uint16, 65535)
        low, high, said = expected or (*np.percentile(values, [0.5, 99.5]).round(), "percentiles")
        assert np.ptp(stretch.low) == np.ptp(stretch.high) == 0
        assert [np.mean(stretch.low), np.mean(stretch.high)] == pytest.approx([low, high], abs=1)
        assert said in stretch.source
        share = np.clip(
            (np.moveaxis(values[:, :9, :9].astype(float), 0, -1) - low) / (high - low), 0, 1
        )
        np.testing.assert_allclose(pixels / 65535, share, atol=2e-4)


def test_full_scale_of_8_bits_is_seen_and_comes_out_in_the_files_numbers(tmp_path):
    values = values_of(3, "uint8")
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB")
    for full_scale, expected in [(128, (0, 128, "full_scale")), (10_000, (0, 255, "8 bits"))]:
        assert tuple(restore(source, tmp_path / "b.tif", full_scale=full_scale)[0]) == expected
        assert (read(tmp_path / "b.tif") == values).all()  # what is brighter than white, too
    restore(source, tmp_path / "b.tif", brighter, full_scale=128)
    part = np.s_[:, 40:100, 40:100]
    expected = (np.minimum(values[part].astype(float), 128) + 128) / 2
    np.testing.assert_allclose(read(tmp_path / "b.tif")[part], expected, atol=0.51)


def test_bits_that_do_not_fill_the_type_are_not_exceeded(tmp_path):
    values = values_of(3, "uint16") // 4
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", nbits=12)
    restore(source, tmp_path / "b.tif", lambda _, rows: np.full_like(rows, 65535), full_scale=8000)
    assert (read(tmp_path / "b.tif") == 4095).all()


# 8
@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    def peak_of(rows):
        path = tmp_path / f"{rows}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=rows, width=4000, count=3, dtype="uint16", **PLACE,
            **{**TILED, "blockxsize": 256, "blockysize": 256}, photometric="RGB", nodata=0,
        ) as made:  # fmt: skip
            part = values_of(3, "uint16", 256, 4000)
            for top in range(0, rows, 256):
                high = min(256, rows - top)
                made.write(part[:, :high], window=((top, top + high), (0, 4000)))
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, path], cwd=PROJECT, capture_output=True, check=True
        )
        return int(done.stdout)

    assert peak_of(6000) < 1.1 * peak_of(2000)


# 9
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize(
    "blocks",
    [
        TILED,
        {"tiled": True, "blockxsize": 256, "blockysize": 256},
        {"tiled": False, "blockysize": 3},
    ],
)
def test_no_block_is_stored_twice(tmp_path, interleave, blocks):
    source = write_scene(
        tmp_path / "a.tif", values_of(3, "uint16"), photometric="RGB", interleave=interleave,
        **PACKED, **blocks,
    )  # fmt: skip
    restore(source, tmp_path / "b.tif", brighter, heights=(1, 17))
    write_scene(
        tmp_path / "once.tif", read(tmp_path / "b.tif"), photometric="RGB", interleave=interleave,
        **PACKED, **blocks,
    )  # fmt: skip
    made, once = ((tmp_path / name).stat().st_size for name in ("b.tif", "once.tif"))
    assert made < 1.1 * once + 500  # of tags


@pytest.mark.parametrize("how", [{}, {"format": "cog"}])
def test_what_may_grow_beyond_four_gigabytes_is_a_big_tiff_from_the_start(tmp_path, how):
    source = tmp_path / "a.tif"
    with rasterio.open(
        source, "w", driver="GTiff", height=30_000, width=30_000, count=3, dtype="uint16",
        sparse_ok=True, photometric="RGB", compress="deflate", tiled=True, **PLACE,
    ):  # fmt: skip
        pass
    (tmp_path / "out").mkdir()

    def starts():
        return [path.read_bytes()[:4] for path in (tmp_path / "out").iterdir()]

    def one_row_of_tiles():
        result = tmp_path / "out" / "b.tif"
        with open_scene(source, full_scale=10_000) as scene, scene.create(result, **how) as sink:
            sink.write(0, np.zeros((512, 30_000, 3), np.uint16))
            assert starts() == [b"II+\0"]

    with pytest.raises(ValueError, match="only 512"):
        one_row_of_tiles()
    assert starts() == []


# 10, 11
@pytest.mark.parametrize("mask", [True, False])
def test_a_cloud_optimised_file_is_one(tmp_path, mask):
    values = values_of(3, "uint16", 700, 1100)
    where = np.ones((700, 1100), bool)
    where[:, :200] = False
    source = write_scene(
        tmp_path / "a.tif", values, photometric="RGB", after=all_the_rest,
        mask=where if mask else None,
    )  # fmt: skip
    restore(source, tmp_path / "b.tif", how={"format": "cog"})
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), values)
    assert_equal_facts(tmp_path / "b.tif", source, but=("profile", "packed", "stored", "overviews"))
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert set(file.block_shapes) == {(512, 512)}
        assert file.overviews(1) == [2, 4]
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        places = [page.offset for page in tiff.pages]
        assert places == sorted(places)
        assert len(places) == 6 if mask else 3
        data = [min(page.dataoffsets) for page in tiff.pages if not page.is_mask]
        assert min(data) > max(places)
        assert data == sorted(data, reverse=True)
    restore(tmp_path / "b.tif", tmp_path / "c.tif")
    assert_equal_facts(tmp_path / "c.tif", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("format", ["same", "cog"])
def test_overviews_of_masks_and_predictors(tmp_path, format):
    def after(made):
        made.build_overviews([2, 4], Resampling.average)

    values = values_of(3, "uint16", 1100, 700)
    where = np.ones((1100, 700), bool)
    where[:600, :600] = False
    source = write_scene(
        tmp_path / "a.tif", values, photometric="RGB", mask=where, after=after, **PACKED
    )
    with (
        open_scene(source) as scene,
        scene.create(tmp_path / "b.tif", format=format) as ground,
        scene.create_grey(tmp_path / "o.tif", "opacity", format=format) as grey,
    ):
        for top in range(0, 1100, 100):
            rows = slice(top, top + 100)
            ground.write(top, scene[rows, 0:700])
            grey.write(top, scene[rows, 0:700][..., 0].astype(np.uint8))
    for name in ("a", "b", "o"):
        with rasterio.open(tmp_path / f"{name}.tif", overview_level=1) as file:
            mask = file.dataset_mask()
            assert mask.shape == (275, 175)
            assert not mask[:149, :149].any()
            assert mask[151:].all()
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as tiff:
            assert [page.predictor for page in tiff.pages if not page.is_mask] == [2, 2, 2]


def test_overviews_show_the_new_pixels(tmp_path):
    def after(made):
        made.build_overviews([2, 4], Resampling.average)
        all_the_rest(made)

    source = write_scene(tmp_path / "a.tif", values_of(3, "uint16"), photometric="RGB", after=after)
    restore(source, tmp_path / "b.tif", brighter)
    full = read(tmp_path / "b.tif").astype(float)
    with rasterio.open(tmp_path / "b.tif", overview_level=0) as file:
        halves = full.reshape(3, HEIGHT // 2, 2, WIDTH // 2, 2).mean((2, 4))
        np.testing.assert_allclose(file.read(), halves, atol=0.5)
    assert facts(tmp_path / "b.tif")["overviews"] == [[2, 4]] * 3
    with rasterio.open(tmp_path / "b.tif") as file:
        assert "STATISTICS_MAXIMUM" not in file.tags(1)  # which is no longer true
        assert file.tags(1)["WAVELENGTH"] == "401"


# 12, 13
_KILLED = """
import os, signal, sys
from util.pictures.geotiff import open_scene
with open_scene(sys.argv[1]) as scene, scene.create(sys.argv[2]) as sink:
    for top in range(0, 280, 40):
        if top == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        sink.write(top, scene[top : top + 40, 0:300] // 2)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 120, 280])
def test_a_kill_leaves_no_half_file(tmp_path, row):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint16"), photometric="RGB")
    (tmp_path / "out").mkdir()
    result = tmp_path / "out" / "b.tif"
    result.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, source, result, str(row)], cwd=PROJECT, check=False
    )
    assert done.returncode == -9
    assert result.read_bytes() == b"old"
    assert all(path.name.startswith(".tmp-") for path in result.parent.iterdir() if path != result)


def test_the_input_and_its_folder_are_not_touched(tmp_path):
    (tmp_path / "in").mkdir()
    source = write_scene(tmp_path / "in" / "a.tif", values_of(3, "uint16"), photometric="RGB")
    before = source.read_bytes(), os.stat(source).st_mtime_ns
    (tmp_path / "in").chmod(0o555)
    try:
        restore(source, tmp_path / "b.tif", brighter)
    finally:
        (tmp_path / "in").chmod(0o755)
    assert (source.read_bytes(), os.stat(source).st_mtime_ns) == before
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.tif"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tif", "in"]


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint16"), photometric="RGB")
    (tmp_path / "out").mkdir()
    size = source.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (size // 2, size - 300):  # in the middle, and what is written when it is closed
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(OSError, match=r"b\.tif") as caught:
                restore(source, tmp_path / "out" / "b.tif", brighter)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.filename == str(tmp_path / "out" / "b.tif")
        assert list((tmp_path / "out").iterdir()) == []


def test_a_file_with_parts_that_were_never_written_is_not_whole(tmp_path):
    path = tmp_path / "a.tif"
    how = {"height": 64, "width": 64, "count": 1, "dtype": "uint8", "tiled": True, **PLACE}
    with rasterio.open(path, "w", driver="GTiff", **how, blockxsize=32, blockysize=32) as file:
        file.write(np.ones((1, 64, 64), np.uint8))
    check_file(path, 1)
    with pytest.raises(OSError, match="No space"):
        check_file(path, 2)
    with rasterio.open(path, "w", driver="GTiff", **how, sparse_ok=True):
        pass
    with pytest.raises(OSError, match="No space"):
        check_file(path, 1)


def test_errors_of_the_caller_pass_and_leave_nothing(tmp_path):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"), photometric="RGB")
    (tmp_path / "out").mkdir()
    result = tmp_path / "out" / "b.tif"
    with pytest.raises(ValueError, match="do not follow"):
        restore(source, result, lambda top, rows: rows[1:] if top else rows)
    for wrong in (lambda rows: rows.astype(np.uint16), lambda rows: rows[..., :1]):
        with pytest.raises(ValueError, match="rows must be uint8"):
            restore(source, result, lambda _, rows, wrong=wrong: wrong(rows))
    with pytest.raises(KeyboardInterrupt), open_scene(source) as scene, scene.create(result):
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError, match=r"none.b\.tif"):
        restore(source, tmp_path / "none" / "b.tif")
    with pytest.raises(UserError, match="COMPRESS=NONSENSE"):
        restore(source, result, how={"options": {"COMPRESS": "NONSENSE"}})
    with pytest.raises(UserError, match="DTYPE"):
        restore(source, result, how={"options": {"DTYPE": "float32"}})
    how = {"format": "cog", "options": {"BLOCKXSIZE": 16}}
    with (
        pytest.raises(UserError, match="BLOCKXSIZE"),
        open_scene(source) as scene,
        scene.create(result, **how),
    ):
        raise AssertionError  # it is told at once, not when all rows are there
    assert list(result.parent.iterdir()) == []


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"))
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("a disk that takes no such names")
    with pytest.raises(PictureError, match=r"caf\?.b\.tif: its name.* is not UTF-8"):
        restore(source, folder / "b.tif")
    assert files_in(folder) == []
    shutil.copy(source, folder / "a.tif")
    with pytest.raises(PictureError, match=r"caf\?.a\.tif: its name.* is not UTF-8"):
        restore(folder / "a.tif", tmp_path / "b.tif")
    assert files_in(tmp_path) == ["a.tif", folder.name]


def test_options_that_only_some_scenes_take(tmp_path):
    strips = {"tiled": False, "photometric": "RGB"}
    for rows, why in ((13, "multiple of 8"), (16, ""), (13, "multiple of 8")):
        source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"), **strips, blockysize=rows)
        told = pytest.raises(gdal.Refused, match=why) if why else contextlib.nullcontext()
        with told:
            restore(source, tmp_path / "b.tif", how={"options": {"COMPRESS": "JPEG"}})
        assert (tmp_path / "b.tif").exists() == (not why)
        (tmp_path / "b.tif").unlink(missing_ok=True)
    assert files_in(tmp_path) == ["a.tif"]


def test_options_win(tmp_path):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint16"), photometric="RGB", **PACKED)
    options = {"COMPRESS": "ZSTD", "TILED": "YES", "BLOCKXSIZE": 32, "BLOCKYSIZE": 16}
    for how in ({}, {"format": "cog"}):
        given = options if not how else {"COMPRESS": "ZSTD"}
        restore(source, tmp_path / "b.tif", how={"options": given, **how})
        profile = facts(tmp_path / "b.tif")["profile"]
        assert profile["compress"] == "zstd"
        assert profile["blockysize"] == (512 if how else 16)
        np.testing.assert_array_equal(read(tmp_path / "b.tif"), values_of(3, "uint16"))


def test_a_world_file_that_an_option_asks_for_lies_beside_the_result(tmp_path):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"))
    result = tmp_path / "out" / "b.tif"
    result.parent.mkdir()
    restore(source, result, how={"options": {"TFW": "YES"}})
    assert float(result.with_suffix(".tfw").read_text().split()[0]) == 10
    assert files_in(result.parent) == ["b.tfw", "b.tif"]


# 15
def test_a_picture_with_a_world_file_keeps_its_place(tmp_path):
    Image.fromarray(noise(40, 50)).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("10\n0\n0\n-10\n500005\n5299995\n")
    (tmp_path / "out").mkdir()
    Image.fromarray(noise(40, 50)).save(tmp_path / "out" / "a.png")
    assert copy_beside(tmp_path / "a.png", tmp_path / "out" / "a.png", turned=False) == ""
    with rasterio.open(tmp_path / "out" / "a.png") as file:
        assert file.transform == PLACE["transform"]


# 16
def test_what_holds_no_brightness_is_refused_with_a_reason(tmp_path):
    noise_ = Image.fromarray(noise(40, 50))
    noise_.convert("P").save(tmp_path / "palette.tif")
    noise_.convert("1").save(tmp_path / "bits.tif")
    noise_.convert("CMYK").save(tmp_path / "cmyk.tif")
    noise_.save(tmp_path / "turned.tif", tiffinfo={274: 6})
    write_scene(tmp_path / "complex.tif", np.ones((1, 40, 50), np.complex64))
    tifffile.imwrite(tmp_path / "inverted.tif", noise(40, 50)[..., 0], photometric="miniswhite")
    for name, reason in [
        ("palette", "gdal_translate"), ("bits", "1 bits"), ("cmyk", "SEPARATED"),
        ("turned", "orientation"), ("complex", "complex64"), ("inverted", "MINISWHITE"),
    ]:  # fmt: skip
        with pytest.raises(Unfit, match=rf"{name}\.tif: .*{reason}"):
            restore(tmp_path / f"{name}.tif", tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_a_jpeg_within_is_written_without_loss_and_that_is_told(tmp_path):
    how = {"compress": "jpeg", "photometric": "ycbcr", "blockysize": 128}
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"), **how)
    _, notes, _ = restore(source, tmp_path / "b.tif")
    assert any("jpeg" in note and "larger" in note for note in notes)
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), read(source))
    assert facts(tmp_path / "b.tif")["profile"]["compress"] == "deflate"


# 17, 19
@pytest.mark.parametrize("format", ["same", "cog"])
@pytest.mark.parametrize(("nodata", "gaps"), [(0, True), (None, True), (None, False)])
def test_opacity_lies_on_the_same_grid(tmp_path, format, nodata, gaps):
    values = values_of(4, "uint16")
    values[:3, COLLAR] = 0 if gaps else 7
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", nodata=nodata, alpha="NO")
    found = noise(HEIGHT, WIDTH)[..., 0]
    tags = {"SCRIPT": "cloud_removal.py", "CHECKPOINT": "sha256:0123", "DATE": "2026-01-02"}
    with open_scene(source) as scene, contextlib.ExitStack() as both:
        grey = both.enter_context(
            scene.create_grey(tmp_path / "o.tif", "opacity", format=format, tags=tags)
        )
        ground = both.enter_context(scene.create(tmp_path / "b.tif", format=format, tags=tags))
        for top in range(0, HEIGHT, 70):
            rows = slice(top, top + 70)
            ground.write(top, scene[rows, 0:WIDTH])
            grey.write(top, found[rows])
    with rasterio.open(tmp_path / "o.tif") as file, rasterio.open(source) as came:
        assert (file.dtypes, file.shape) == (("uint8",), came.shape)
        assert (file.crs, file.transform) == (came.crs, came.transform)
        np.testing.assert_array_equal(file.read(1), np.where(COLLAR & gaps, 0, found))
        np.testing.assert_array_equal(file.dataset_mask() != 0, ~COLLAR if gaps else COLLAR | True)
        assert (MaskFlags.per_dataset in file.mask_flag_enums[0]) == gaps
        assert (file.descriptions, file.units, file.scales) == (("opacity",), ("1",), (1 / 255,))
        told = file.tags(ns=PROVENANCE)
        assert told["UNIT"] == "opacity, 0 to 1"
        assert (told.items() >= tags.items(), told["SCALE"]) == (True, "1/255")
    with rasterio.open(tmp_path / "b.tif") as file:
        told = file.tags(ns=PROVENANCE)
        assert told.items() >= tags.items()
        assert told["STRETCH"].endswith("(percentiles 0.5 and 99.5)")


# 18
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "blocks",
    [*({"tiled": True, "blockxsize": n, "blockysize": n} for n in (128, 256, 512)),
     {"tiled": False, "blockysize": 3}],
)  # fmt: skip
def test_a_network_in_tiles_makes_of_a_scene_what_it_makes_of_the_whole(tmp_path, dtype, blocks):
    from stand_ins import clearer

    from util.restore.bands import bands, restore_picture

    values = values_of(3, dtype)
    values[:, COLLAR] = 0
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", nodata=0, **blocks)
    in_tiles, _ = clearer(clear_below=0.1, apply_tile_px=192, apply_margin_px=32)
    with (
        open_scene(source, full_scale=8001) as scene,
        scene.create(tmp_path / "b.tif") as ground,
        scene.create_grey(tmp_path / "o.tif", "opacity") as opacity,
    ):
        for top, rows, found in bands(in_tiles, scene, white=scene.white):
            ground.write(top, rows)
            opacity.write(top, found)
        whole = scene[0:HEIGHT, 0:WIDTH]
    restored, found = restore_picture(clearer(clear_below=0.1)[0], whole)
    # Beside what is no ground each tile is filled from what it has itself.
    here = np.s_[40:, 60:]
    made = np.moveaxis(read(tmp_path / "b.tif"), 0, -1)[here] / (255 if dtype == "uint8" else 8001)
    top = np.iinfo(whole.dtype).max
    assert np.abs(made - restored[here] / top).max() < 1 / 255 + 1 / 8001
    assert np.abs(read(tmp_path / "o.tif")[0][here].astype(int) - found[here]).max() <= 1
    assert 0.2 < (restored[here] != whole[here]).mean() < 1
    np.testing.assert_array_equal(read(tmp_path / "b.tif")[:, COLLAR], 0)


# 21
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_a_cut_file_is_one_line_and_nothing_is_written(tmp_path, share, capfd):
    source = write_scene(
        tmp_path / "a.tif", values_of(3, "uint16"), photometric="RGB", compress="deflate"
    )
    code = source.read_bytes()
    source.write_bytes(code[: int(share * len(code))])
    (tmp_path / "out").mkdir()
    with pytest.raises(PictureError, match=r"a\.tif: .") as caught:
        restore(source, tmp_path / "out" / "b.tif")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(PictureError, match=r"none\.tif: No such file"):
        restore(tmp_path / "none.tif", tmp_path / "out" / "b.tif")


def test_damage_in_the_middle_is_one_line_and_nothing_is_written(tmp_path, capfd):
    source = write_scene(
        tmp_path / "a.tif", values_of(3, "uint16"), photometric="RGB", compress="deflate"
    )
    code = bytearray(source.read_bytes())
    with tifffile.TiffFile(source) as tiff:
        at = tiff.pages.first.dataoffsets[-2]
    code[at : at + 400] = b"x" * 400
    source.write_bytes(code)
    (tmp_path / "out").mkdir()
    with pytest.raises(PictureError, match=r"a\.tif: damaged"):
        restore(source, tmp_path / "out" / "b.tif", full_scale=8001)
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "out").iterdir()) == []


def test_no_ground_at_all_is_one_line(tmp_path):
    source = write_scene(tmp_path / "a.tif", np.zeros((3, 40, 50), np.uint16), nodata=0)
    with pytest.raises(PictureError, match="nothing of it is ground"):
        restore(source, tmp_path / "b.tif")


# 22
def test_without_rasterio_one_line_names_what_to_install(tmp_path, monkeypatch):
    source = write_scene(tmp_path / "a.tif", values_of(3, "uint8"), photometric="RGB")
    Image.fromarray(noise(40, 50)).save(tmp_path / "plain.tif")
    assert geotiff.available()
    monkeypatch.setitem(sys.modules, "rasterio", None)
    gdal.library.cache_clear()
    try:
        assert not geotiff.available()
        with pytest.raises(UserError, match=r"requirements-geo\.txt"):
            restore(source, tmp_path / "b.tif")
        assert "requirements-geo.txt" in geotiff.loss_without_rasterio(source)
        assert geotiff.loss_without_rasterio(tmp_path / "plain.tif") == ""
    finally:
        gdal.library.cache_clear()
