"""Code strips and tiles that tifffile leaves to an optional package: LZW, and floats' predictor.

Pillow's libtiff knows LZW and others, but of a TIFF as a whole only the commonest bands and types.
So each strip or tile is handed to it as a grey picture of bytes; all else is done here.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image

DEFLATE = (8, 32946)
_BY_LIBTIFF = {5: "tiff_lzw", 32773: "packbits", 34925: "lzma", 50000: "zstd"}


@lru_cache
def knows(compression: int) -> bool:
    """Tell whether a compression can be coded: not every libtiff has each."""
    try:
        return bool(_code_of(bytes(1), compression, 1))
    except Exception:  # KeyError, or of the encoder
        return False


def can_decode(page: tifffile.TiffPage) -> bool:
    """Tell whether `decoded` knows a page's compression, predictor and type."""
    dtype, predictor = page.dtype, page.predictor
    return (
        (page.compression == 1 or knows(int(page.compression)))
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


def encoded(
    pixels: np.ndarray, options: Mapping[str, object], compression: int, predictor: int
) -> Iterator[bytes]:
    """Yield the strips or tiles of pixels as a file holds them, as `decoded` takes them.

    pixels : (H, W, B), or (B, H, W) if planes are separate
    options : mapping
        What `tifffile.imwrite` is given: byteorder, planarconfig, tile or rowsperstrip.
    """
    planes = pixels[..., None] if options["planarconfig"] == "separate" else pixels[None]
    _, height, width, bands = planes.shape
    rows, columns = options.get("tile") or (options["rowsperstrip"], width)
    for plane in planes:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                part = plane[top : top + rows, left : left + columns]
                if "tile" in options and part.shape[:2] != (rows, columns):  # filled up with 0
                    whole = np.zeros((rows, columns, bands), part.dtype)
                    whole[: part.shape[0], : part.shape[1]] = part
                    part = whole
                steps = _steps(part, options["byteorder"], predictor)
                yield _code_of(steps, compression, len(part))


def _code_of(data: bytes, compression: int, height: int) -> bytes:
    """Return bytes, `height` rows of them, coded."""
    if compression in DEFLATE:
        return zlib.compress(data)
    file = io.BytesIO()
    grey = Image.frombytes("L", (len(data) // height, height), data)
    grey.save(file, "TIFF", compression=_BY_LIBTIFF[compression], tiffinfo={278: height})
    with Image.open(file, formats=("TIFF",)) as image:
        ((start,), (length,)) = (image.tag_v2[tag] for tag in (273, 279))
    return file.getvalue()[start : start + length]


def _bytes_of(code: bytes, compression: int, shape: tuple[int, ...], size: int) -> bytes:
    length = int(np.prod(shape)) * size
    if compression in DEFLATE:
        code = zlib.decompressobj().decompress(code, length)
    elif compression in _BY_LIBTIFF:
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


def _steps(values: np.ndarray, order: str, predictor: int) -> bytes:
    """Return the bytes of values (H, W, B) as a predictor leaves them; the inverse of `_summed`."""
    if predictor == 3:
        rows, columns, bands = values.shape
        values = np.ascontiguousarray(values, values.dtype.newbyteorder(">")).view(np.uint8)
        values = values.reshape(rows, columns * bands, -1).swapaxes(1, 2).reshape(rows, -1, bands)
    if predictor != 1:
        before = values.view(f"u{values.itemsize}")
        values = before.copy()
        values[:, 1:] -= before[:, :-1]
    return values.astype(values.dtype.newbyteorder(order), copy=False).tobytes()
