"""LZW and others, and the predictors: as GDAL codes them, and as other readers know them."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from test_carried import again

from util.pictures import segments
from util.pictures.carried import Carried
from util.pictures.pixels import PictureError
from util.pictures.read import read_original
from util.pictures.write import write_picture

KEPT = ("compression", "predictor", "planarconfig", "is_tiled", "chunks", "dtype", "extrasamples")
LAYOUTS = {
    "strips": {"blockysize": 11},
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16, "ENDIANNESS": "BIG"},
    "planes": {"interleave": "band", "blockysize": 7, "ENDIANNESS": "BIG"},
}


def values_of(dtype, bands=4):
    """Values with smooth and rough parts, some below zero where the type has such."""
    rng = np.random.default_rng(0)
    values = rng.normal(3000, 900, (37, 50, bands)).cumsum(axis=1) / 40
    return values.astype(dtype)


def page_of(path):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "compression", "predictor"),
    [
        *[(dtype, "lzw", 1) for dtype in ("u1", "i2", "f4")],
        *[(dtype, "lzw", 2) for dtype in ("u1", "u2", "i2", "f4", "f8")],
        *[(dtype, compression, 3) for dtype, compression in (("f4", "lzw"), ("f8", "deflate"))],
        *[("u2", "deflate", 2), ("f4", "deflate", 2), ("u2", "zstd", 2), ("f4", "zstd", 3)],
        *[("u2", "packbits", 1), ("u2", "lzma", 1)],
    ],
)
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_what_gdal_codes_is_read_and_goes_out_as_it_came(
    tmp_path, dtype, compression, predictor, layout
):
    rasterio = pytest.importorskip("rasterio", reason="pip install -r requirements-geo.txt")
    values, path, result = values_of(dtype), tmp_path / "a.tif", tmp_path / "b.tif"
    how = {"width": 50, "height": 37, "count": 4, "photometric": "RGB", "alpha": "UNSPECIFIED"}
    how |= {"dtype": values.dtype, "compress": compression, **LAYOUTS[layout]}
    how |= {} if predictor == 1 else {"predictor": predictor}
    with rasterio.open(path, "w", driver="GTiff", **how) as file:
        file.write(np.moveaxis(values, -1, 0))
    original, carried = again(path, result)
    assert original.values.dtype == dtype
    np.testing.assert_array_equal(original.values, values)
    assert carried.note == ""
    came, made = page_of(path), page_of(result)
    assert {n: getattr(made, n) for n in KEPT} == {n: getattr(came, n) for n in KEPT}
    assert came.predictor == predictor
    assert made.parent.byteorder == came.parent.byteorder
    with rasterio.open(result) as file:
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, -1), values)


@pytest.mark.parametrize("shape", [{"rowsperstrip": 11}, {"tile": (16, 32)}])
@pytest.mark.parametrize(
    ("dtype", "predictor"), [("u1", 1), ("u1", 2), ("u2", 2), ("f4", 1), ("f4", 3)]
)
def test_opencv_reads_it_too(tmp_path, dtype, predictor, shape):
    values = values_of(dtype, bands=3)
    options = {"photometric": "rgb", "planarconfig": "contig", "byteorder": "<", "compression": 8}
    write_picture(tmp_path / "a.tif", values, Carried(options | shape, (5, predictor)))
    found = cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(read_original(tmp_path / "a.tif").values, values)


def test_what_cannot_be_coded_becomes_deflate_with_a_line(tmp_path, monkeypatch):
    values = values_of("u1", bands=3)
    Image.fromarray(values).save(tmp_path / "a.tif", compression="tiff_lzw")
    monkeypatch.setattr(segments, "knows", lambda code: code == 8)
    _, carried = again(tmp_path / "a.tif", tmp_path / "b.tif")
    assert carried.note == "note: TIFFs with LZW are written with deflate"
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), values)
    monkeypatch.undo()
    assert [segments.knows(code) for code in (5, 8, 32946, 7, 34887)] == [True] * 3 + [False] * 2


def test_the_fourth_band_of_a_lzw_file_by_pillow(tmp_path):
    values = values_of("u1")
    Image.frombytes("RGBX", (50, 37), values.tobytes()).save(
        tmp_path / "a.tif", compression="tiff_lzw"
    )
    original = read_original(tmp_path / "a.tif")
    assert original.alpha is None
    np.testing.assert_array_equal(original.values, values)


def test_a_damaged_strip_is_an_error_and_no_picture(tmp_path):
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "planarconfig": "contig", "byteorder": "<", "compression": 8}
    write_picture(path, values_of("i2"), Carried({**options, "rowsperstrip": 37}, (5, 2)))
    page = page_of(path)
    code = bytearray(path.read_bytes())
    middle = page.dataoffsets[0] + page.databytecounts[0] // 2
    code[middle : middle + 400] = bytes(400)
    path.write_bytes(code)
    with pytest.raises(PictureError, match=r"a\.tif"):
        read_original(path)
