"""LZW and the predictors of GDAL, against the values that were coded."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from util.pictures.pixels import PictureError
from util.pictures.read import read_original


def values_of(dtype, bands=4):
    """Values with smooth and rough parts, some below zero where the type has such."""
    rng = np.random.default_rng(0)
    values = rng.normal(3000, 900, (37, 50, bands)).cumsum(axis=1) / 40
    return values.astype(dtype)


def lzw(data, rows):
    """Return bytes coded with LZW by libtiff, as one strip of so many rows."""
    file = io.BytesIO()
    grey = Image.frombytes("L", (len(data) // rows, rows), data)
    grey.save(file, "TIFF", compression="tiff_lzw", tiffinfo={278: rows})
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        assert len(page.dataoffsets) == 1
        file.seek(page.dataoffsets[0])
        return file.read(page.databytecounts[0])


def predicted(part, predictor):
    """Return the bytes of values (H, W, B), big- or little-endian, after a predictor."""
    if predictor == 1:
        return part.tobytes()
    order = part.dtype.newbyteorder(">")
    if predictor == 3:
        rows, columns, bands = part.shape
        lines = part.astype(order).view(np.uint8).reshape(rows, columns * bands, -1)
        lines = np.ascontiguousarray(lines.swapaxes(1, 2)).reshape(rows, -1, bands)
        return np.diff(lines, axis=1, prepend=np.uint8(0)).tobytes()
    native = part.astype(part.dtype.newbyteorder("="))
    native = native.view(f"u{native.itemsize}")
    steps = np.diff(native, axis=1, prepend=native.dtype.type(0))
    return steps.astype(steps.dtype.newbyteorder(part.dtype.str[0])).tobytes()


def write_lzw(path, values, order, predictor, tile=None, separate=False):
    """Write a TIFF whose strips or tiles are coded with LZW."""
    values = values.astype(values.dtype.newbyteorder(order))
    height, width, bands = values.shape
    rows, columns = tile or (11, width)
    codes = []
    for plane in np.split(values, bands, axis=-1) if separate else [values]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                part = plane[top : top + rows, left : left + columns]
                if tile:
                    room = [(0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0)]
                    part = np.pad(part, room)
                codes.append(lzw(predicted(np.ascontiguousarray(part), predictor), len(part)))
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]

    def longs(code, *numbers):
        return code, 4, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers)

    def shorts(code, *numbers):
        return code, 3, len(numbers), struct.pack(f"{order}{len(numbers)}H", *numbers)

    shape = [longs(322, columns), longs(323, rows)] if tile else [longs(278, rows)]
    places, counts = (324, 325) if tile else (273, 279)
    tags = sorted([
        longs(256, width), longs(257, height), shorts(258, *[8 * values.itemsize] * bands),
        shorts(259, 5), shorts(262, 2), shorts(277, bands), shorts(284, 2 if separate else 1),
        shorts(317, predictor), shorts(338, *[0] * (bands - 3)), shorts(339, *[kind] * bands),
        longs(places, *[0] * len(codes)), longs(counts, *map(len, codes)), *shape,
    ])  # fmt: skip
    at = 8 + 2 + 12 * len(tags) + 4
    room = at + sum(len(value) for *_, value in tags if len(value) > 4)
    starts = room + np.cumsum([0, *map(len, codes[:-1])])
    table, beyond = b"", b""
    for code, dtype, count, value in tags:
        if code == places:
            value = struct.pack(f"{order}{count}I", *starts.tolist())
        if len(value) > 4:
            value, beyond = struct.pack(order + "I", at + len(beyond)), beyond + value
        table += struct.pack(order + "HHI", code, dtype, count) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    path.write_bytes(head + table + bytes(4) + beyond + b"".join(codes))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("how", [{}, {"tile": (16, 32)}, {"separate": True}])
@pytest.mark.parametrize(
    ("dtype", "predictor"),
    [("u1", 1), ("u1", 2), ("u2", 2), ("i2", 1), ("i2", 2), ("f4", 1), ("f4", 2), ("f4", 3)],
)
def test_what_was_coded_comes_back(tmp_path, order, how, dtype, predictor):
    values = values_of(dtype)
    write_lzw(tmp_path / "a.tif", values, order, predictor, **how)
    found = read_original(tmp_path / "a.tif").values
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


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
    write_lzw(path, values_of("i2"), "<", 2)
    code = bytearray(path.read_bytes())
    code[-400:] = bytes(400)
    path.write_bytes(code)
    with pytest.raises(PictureError, match=r"a\.tif"):
        read_original(path)
