"""Decode strips and tiles that tifffile leaves to an optional package: LZW, and floats' predictor.

Pillow's libtiff knows LZW, but of a TIFF as a whole only the commonest bands and types. So each
strip or tile is handed to it as a grey picture of bytes, and put together here.
"""

import io
import struct
import zlib
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image

_LZW, _DEFLATE = (5,), (8, 32946)


def can_decode(page: tifffile.TiffPage) -> bool:
    """Tell whether `decoded` knows a page's compression, predictor and type."""
    dtype, predictor = page.dtype, page.predictor
    return (
        int(page.compression) in (1, *_LZW, *_DEFLATE)
        and dtype is not None
        and page.bitspersample == 8 * dtype.itemsize
        and page.fillorder == 1
        and (predictor in (1, 2) or (predictor == 3 and dtype.kind == "f"))
    )


def decoded(file: BinaryIO, page: tifffile.TiffPage, order: str) -> np.ndarray:
    """Return the pixels of a page of bytes order "<" or ">", (H, W, B).

    Raises whatever the decoders raise for damage, or ValueError.
    """
    height, width, bands = page.imagelength, page.imagewidth, page.samplesperpixel
    planes = bands if page.planarconfig == 2 else 1
    bands //= planes
    rows, columns = height, width
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    elif page.rowsperstrip:
        rows = min(page.rowsperstrip, height)
    down, across = -(-height // rows), -(-width // columns)
    pixels = np.zeros((planes, height, width, bands), page.dtype.newbyteorder("="))
    for n, (offset, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        plane, place = divmod(n, down * across)
        top, left = rows * (place // across), columns * (place % across)
        here = rows if page.is_tiled else min(rows, height - top)
        if size:  # a sparse file leaves out what is 0
            file.seek(offset)
            shape = (here, columns, bands)
            data = _bytes_of(file.read(size), int(page.compression), shape, page.dtype.itemsize)
            part = _summed(data, shape, page.dtype.newbyteorder(order), page.predictor)
            target = pixels[plane, top : top + here, left : left + columns]
            target[...] = part[: target.shape[0], : target.shape[1]]
    return np.concatenate(pixels, axis=-1)


def _bytes_of(code: bytes, compression: int, shape: tuple[int, ...], size: int) -> bytes:
    length = int(np.prod(shape)) * size
    if compression in _DEFLATE:
        code = zlib.decompressobj().decompress(code, length)
    elif compression in _LZW:
        code = _by_libtiff(code, compression, shape[0], length // shape[0])
    if len(code) < length:
        raise ValueError("a strip or tile is cut")
    return code[:length]


def _by_libtiff(code: bytes, compression: int, height: int, width: int) -> bytes:
    """Return what is coded as a grey picture of `height` rows of `width` bytes."""
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 1),
        (273, 4, 0), (277, 3, 1), (278, 4, height), (279, 4, len(code)),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 1, start if tag == 273 else value)
        for tag, kind, value in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    with Image.open(io.BytesIO(head + code), formats=("TIFF",)) as image:
        return image.tobytes()


def _summed(data: bytes, shape: tuple[int, ...], dtype: np.dtype, predictor: int) -> np.ndarray:
    """Return values from bytes in which a predictor has left differences along the rows."""
    rows, columns, bands = shape
    if predictor == 3:  # of the bytes, the highest of all values first
        steps = np.frombuffer(data, np.uint8).reshape(rows, -1, bands)
        lines = np.cumsum(steps, axis=1, dtype=np.uint8)
        lines = lines.reshape(rows, dtype.itemsize, columns * bands).swapaxes(1, 2)
        return np.ascontiguousarray(lines).view(dtype.newbyteorder(">")).reshape(shape)
    values = np.frombuffer(data, dtype).reshape(shape)
    if predictor == 2:
        if dtype.kind == "f":  # GDAL takes their bits for numbers
            bits = np.dtype(f"u{dtype.itemsize}")
            values = values.astype(dtype.newbyteorder("=")).view(bits)
            return np.cumsum(values, axis=1, dtype=bits).view(dtype.newbyteorder("="))
        values = values.astype(dtype.newbyteorder("="))
        return np.cumsum(values, axis=1, dtype=values.dtype)
    return values
