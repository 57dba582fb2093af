"""Write a picture whole or not at all."""

from pathlib import Path

import cv2
import numpy as np
import tifffile

from util import files
from util.pictures import segments
from util.pictures.carried import NOTHING, TIFF_SUFFIXES, Carried, add_tags
from util.say import printable

_PNG_HEAD = 33  # bytes: signature and IHDR, which come first
_BMP_RESOLUTION = slice(38, 46)  # in the head: two numbers, pixels a metre
_OF_A_MASK = {"photometric": "mask", "subfiletype": 4, "compression": "zlib", "metadata": None}
_OF_A_MASK |= {"software": False}
_PACKING = (259, 317)  # the tags: compression, predictor
_LOSSLESS, _LOSSY = (".png", ".bmp"), (".jpg", ".jpeg")


def write_picture(path: str | Path, pixels: np.ndarray, carried: Carried = NOTHING) -> None:
    """Write pixels, RGB (H, W, 3) or grey (H, W), and what is carried along, whole or not at all.

    The suffix chooses the format: .tif .tiff for any type and number of bands; .png .bmp without
    loss for uint8 and uint16 (BMP 8-bit only), also with alpha (H, W, 4); .jpg .jpeg at quality 95
    (8-bit RGB and grey only). Raises ValueError for other pixels or suffixes, OSError with the path
    if it cannot be written; the old file, if any, then stays as it was.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    check_format(path, pixels)
    if suffix in TIFF_SUFFIXES:  # uncompressed, so that a PictureStore can map it
        kind = {"photometric": "rgb", "planarconfig": "contig"}
        options = carried.tiff or (kind if pixels.ndim == 3 else {"photometric": "minisblack"})
        if options.get("planarconfig") == "separate":
            pixels = np.moveaxis(pixels, -1, 0)
        numbers = dict(zip(_PACKING, carried.packing, strict=True)) if carried.packing else {}
        if numbers:
            options = {**options, "shape": pixels.shape, "dtype": pixels.dtype}
            pixels = segments.encoded(pixels, options, *carried.packing)
        with files.whole(path) as file:
            tifffile.imwrite(file, pixels, metadata=None, **options)
            if carried.mask is not None:
                file.seek(0)
                tifffile.imwrite(file, carried.mask, append=True, **_OF_A_MASK)
            if carried.ifds or numbers:
                add_tags(file, carried.ifds, numbers)
        return
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in _LOSSY else []
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    done, code = cv2.imencode(
        suffix, pixels if bands == 1 else cv2.cvtColor(pixels, order[bands]), options
    )
    if not done:
        raise ValueError(
            f"cannot write {printable(path)}: {pixels.shape} does not fit into {suffix}"
        )
    if suffix == ".bmp" and carried.per_metre:
        code[_BMP_RESOLUTION] = np.array(carried.per_metre, "<i4").view(np.uint8)
    with files.whole(path) as file:
        if suffix == ".png" and carried.chunks:
            file.write(code[:_PNG_HEAD])
            file.write(carried.chunks)
            code = code[_PNG_HEAD:]
        file.write(code)


def check_format(path: str | Path, pixels: np.ndarray) -> None:
    """Raise ValueError for pixels that `write_picture` cannot write to a path."""
    suffix, name = Path(path).suffix.lower(), printable(path)
    if suffix not in (*TIFF_SUFFIXES, *_LOSSLESS, *_LOSSY):
        raise ValueError(f"cannot write {name}: use .png, .tif, .bmp or .jpg")
    bands = 1 if pixels.ndim == 2 else pixels.shape[2] if pixels.ndim == 3 else 0
    if pixels.size == 0 or bands in (0, 2):
        raise ValueError(f"pixels must be (H, W, 3) or (H, W), not {pixels.shape}")
    if suffix in TIFF_SUFFIXES:
        return
    if bands > 4:
        raise ValueError(f"cannot write {name}: {suffix} holds no {bands} bands; use .tif")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"cannot write {name}: {suffix} holds no {pixels.dtype}; use .tif")
    if suffix != ".png" and pixels.dtype != np.uint8:
        raise ValueError(f"cannot write {name}: {suffix} holds 8 bits; use .png or .tif")
    if suffix in _LOSSY and bands == 4:
        raise ValueError(f"cannot write {name}: {suffix} has no alpha; use .png or .tif")
