"""Read the pictures that people really have.

Files are data that somebody else made: the size is read before memory is taken, only six formats
are decoded, and a cut file is an error and never half a picture.
"""

import ctypes
import logging
import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import tifffile
from PIL import Image

from util.pictures import segments
from util.pictures.original import Original
from util.pictures.pixels import Picture, PictureError, checked_scale, upright

MAX_PIXELS = 400_000_000
COMMON_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # Pillow's; TIFF is tifffile's first
_NAME = "tiff"  # tifffile asks an open file for its own, and a temporary one has a number
_PAGES = 64  # a mask is looked for among so many
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Pillow's own limit is a lower global; `check_size` takes its place in every reader here.
Image.MAX_IMAGE_PIXELS = None
# What the decoders tell about a damaged file, our one-line error says too. (Of libpng's lines
# OpenCV keeps none away.)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.|tifffile")
with suppress(OSError, AttributeError):  # a libtiff that is built in
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


class TooLarge(PictureError):
    """A picture that claims more pixels than are allowed."""


def read(
    source: str | Path | BinaryIO, *, max_pixels: int = MAX_PIXELS, full_scale: float | None = None
) -> Picture:
    """Return the (first) picture of a file as RGB, uint8 or uint16 (H, W, 3), writeable.

    JPEG, PNG, TIFF, WebP, BMP and GIF, recognised by content. EXIF rotation is applied, alpha
    dropped, grey, palette, 1-bit and CMYK turned into RGB; of a TIFF with more bands the first
    three are taken. Values of 8 and 16 bits stay exact. `full_scale` is the value that means 1.0
    (10000 for reflectance; in 8 bits it counts from 2 to 255): their white. Floats and other
    integers become uint16 over the whole range, clipped: floats within 0..1 as they are, others by
    `full_scale`; NaN becomes 0.

    `source` is a path, or a seekable binary file, which is read from its beginning and left open;
    errors do not name it then. Raises PictureError for a file that is missing, cut, damaged, of
    another format, larger than `max_pixels`, or without a known scale.
    """
    full_scale = checked_scale(full_scale)
    return _from_file(source, lambda *file: _original(*file, max_pixels).picture(full_scale))


def read_original(source: str | Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Original:
    """Return the (first) picture of a file with all its bands, as stored; source, errors as `read`.

    Grey and palette become RGB; of transparency, of whatever kind, an alpha band.
    """
    original = _from_file(source, lambda *file: _original(*file, max_pixels))
    original.path = None if hasattr(source, "read") else Path(source)
    return original


def read_picture(source: str | Path | BinaryIO, **options: float | None) -> np.ndarray:
    """Return what `read` does, as pixels over the range of their type, uint8 or uint16 (H, W, 3).

    Options and errors as there: with `full_scale` 16-bit pixels are rescaled, and clipped.
    """
    return read(source, **options).over_range()


def read_alpha(source: str | Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> np.ndarray | None:
    """Return how opaque each pixel of a file's (first) picture is, uint8 (H, W); None if unsaid.

    From an alpha channel (of 16 bits the upper 8) or the transparent colour of a PNG or GIF.
    EXIF rotation is applied: it fits what `read` returns. Source and errors as there.
    """

    original = read_original(source, max_pixels=max_pixels)
    if original.opaque is None:
        return None
    return np.ascontiguousarray(upright(original.opaque, original.orientation))


def check_head(source: str | Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raise what `read` does where the head of a file tells it: before anything is decoded.

    TooLarge for more than `max_pixels`.
    """

    def check(file, start):
        if start[:4] in TIFF_STARTS:
            with tifffile.TiffFile(file, name=_NAME) as tiff:
                _check_page(tiff, max_pixels)
        else:
            _opened(file, COMMON_FORMATS, max_pixels)

    _from_file(source, check)


def _original(file: BinaryIO, start: bytes, max_pixels: int) -> Original:
    if start[:4] in TIFF_STARTS:
        return _read_tiff(file, max_pixels)
    deep = start[:4] == b"\x89PNG" and start[24:25] == b"\x10"
    return _read_common(file, COMMON_FORMATS, max_pixels, deep)


def _from_file(source: str | Path | BinaryIO, decode: Callable) -> Picture | Original:
    """Return what `decode(file, its first 32 bytes)` returns; every failure is a PictureError."""
    path = None if hasattr(source, "read") else Path(source)
    try:
        if path and not path.is_file():
            raise PictureError("not a file" if path.exists() else "no such file")
        with open(path, "rb") if path else nullcontext(source) as file:
            file.seek(0)
            start = file.read(32)
            file.seek(0)
            if not start:
                raise PictureError("the file is empty")
            return decode(file, start)
    except PictureError as error:
        raise type(error)(error.reason, path) from error
    except Exception as error:  # decoders meet damage with errors of every class
        raise PictureError(reason_of(error), path) from error


def reason_of(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a JPEG, PNG, TIFF, WebP, BMP or GIF picture, or damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged or cut ({type(error).__name__}: {error})"


def check_size(height: int, width: int, bands: int, max_pixels: int) -> None:
    """Raise TooLarge for more than `max_pixels`."""
    count = height * width * max(bands, 3) // 3  # many bands take memory like many pixels
    if count > max_pixels:
        claimed = f"{width} x {height} pixels" + (f" of {bands} bands" if bands > 4 else "")
        raise TooLarge(
            f"claims {claimed}, which counts as {count}, more than max_pixels = {max_pixels}; "
            "raise max_pixels if the picture really is so large"
        )


def _read_common(
    file: BinaryIO, formats: tuple[str, ...], max_pixels: int, deep: bool = False
) -> Original:
    """Return what Pillow reads; OpenCV if `deep` (16 bits)."""
    with _opened(file, formats, max_pixels) as image:
        image.load()  # also for deep files: OpenCV returns half a picture without an error
        orientation = _orientation_of(image)  # after load: Pillow itself turns a TIFF there
        if not deep:
            alpha = image.has_transparency_data
            values = np.array(image.convert("RGBA" if alpha else "RGB"))
            return Original(values, orientation, 3 if alpha else None)
    values = _read_deep(file)
    return Original(values, orientation, 3 if values.shape[2] == 4 else None)


def _opened(file: BinaryIO, formats: tuple[str, ...], max_pixels: int) -> Image.Image:
    """Return what Pillow reads, its head alone."""
    image = Image.open(file, formats=formats)
    check_size(image.height, image.width, 3, max_pixels)
    return image


def _orientation_of(image: Image.Image) -> int:
    try:
        return _known(image.getexif().get(274, 1))
    except Exception:  # the pixels can be read, and are what matters
        return 1


def _known(orientation: object) -> int:
    """Return an orientation, 1 for what is none."""
    return orientation if orientation in range(1, 9) else 1


def _read_deep(file: BinaryIO) -> np.ndarray:
    """Return what OpenCV decodes, bits untouched, as RGB or RGBA."""
    file.seek(0)
    pixels = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise PictureError("cannot be decoded")
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    how = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return cv2.cvtColor(pixels, how[bands])


# White that is 0, and palettes: what is nodata in the file is another number in its colours.
NODATA_IS_NO_COLOUR = (0, 3)


def _read_tiff(file: BinaryIO, max_pixels: int) -> Original:
    """Return the first page, with its mask."""
    with tifffile.TiffFile(file, name=_NAME) as tiff:
        original = _read_page(file, tiff, max_pixels)
        mask = mask_of(tiff)
        if mask is not None:
            original.mask = mask if original.mask is None else original.mask & mask
        return original


def _read_page(file: BinaryIO, tiff: tifffile.TiffFile, max_pixels: int) -> Original:
    """Return the first page of a TIFF."""
    page = _check_page(tiff, max_pixels)
    bits, bands = page.bitspersample, page.samplesperpixel
    nodata = nodata_of(page)
    plain = page.photometric in (0, 1, 2)  # white is 0, black is 0, RGB
    if plain and bits >= 8 and page.imagedepth == 1:
        pixels = _tiff_pixels(file, tiff, page)
        if pixels is not None:
            alpha = alpha_of(page)
            orientation = _known(page.tags.valueof(274, 1))
            if page.photometric == 0 and pixels.dtype.kind == "u":
                original = _with_colours(~pixels, orientation, alpha, None)
                original.mask = _shown(pixels.reshape(*pixels.shape[:2], -1)[..., 0], nodata)
                return original
            return _with_colours(pixels, orientation, alpha, nodata)
    # Packed bits, palettes, CMYK, and compressions that tifffile leaves to an optional package.
    try:
        if bits <= 8 and (not plain or bands <= 4):
            file.seek(0)
            original = _read_common(file, ("TIFF",), max_pixels)
            if page.photometric in NODATA_IS_NO_COLOUR:
                original.mask = _shown(_stored(file, page), nodata)
            else:
                original.nodata = nodata
            return original
        if plain and page.photometric != 0 and bands <= 4:
            values = _read_deep(file)  # OpenCV turns a TIFF upright itself
            return Original(values, alpha=alpha_of(page), nodata=nodata)
    except (PictureError, Image.UnidentifiedImageError, cv2.error):
        pass
    raise PictureError(
        f"this kind of TIFF ({page.compression.name}, {bits} bits, {bands} bands) needs the "
        "optional package imagecodecs; install it, or save the file uncompressed"
    )


def _stored(file: BinaryIO, page: tifffile.TiffPage) -> np.ndarray:
    """Return the numbers of a palette, or of white that is 0, as the file has them, (H, W)."""
    with Image.open(file, formats=("TIFF",)) as image:
        values = np.array(image)
    if page.photometric == 0:  # Pillow has turned them
        values = 2**page.bitspersample - 1 - values
    return values


def _shown(stored: np.ndarray, nodata: float | None) -> np.ndarray | None:
    """Return where a band, (H, W), is not nodata, bool (H, W); None where it is so nowhere."""
    nothing = stored == nodata
    return ~nothing if nothing.any() else None


def _check_page(tiff: tifffile.TiffFile, max_pixels: int) -> tifffile.TiffPage:
    """Return the first page of a TIFF whose size and length are sound."""
    page = tiff.pages.first
    bands = page.samplesperpixel * page.imagedepth
    check_size(page.imagelength, page.imagewidth, bands, max_pixels)
    check_whole(page, tiff.filehandle.size)
    return page


def check_whole(page: tifffile.TiffPage, size: int) -> None:
    """Raise PictureError if pixels of a page are missing in a file of `size` bytes.

    The readers fill what is missing with zeros, or find it after minutes.
    """
    ends = [at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if not ends or max(ends) > size:
        raise PictureError("the file is cut: pixels are missing at its end")
    if len(ends) < math.prod(page.chunked):
        raise PictureError(f"damaged: only {len(ends)} of {math.prod(page.chunked)} parts")


def _tiff_pixels(
    file: BinaryIO, tiff: tifffile.TiffFile, page: tifffile.TiffPage
) -> np.ndarray | None:
    """Return the bands of a page, (H, W) or (H, W, B); None if it cannot be decoded here."""
    try:
        pixels = page.asarray()
    except (ValueError, ImportError) as error:  # the latter for zstd, before Python 3.14
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        known = segments.can_decode(page)
        return segments.decoded(file, page, tiff.byteorder) if known else None
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    return np.moveaxis(pixels, 0, -1) if separate else pixels


def _with_colours(
    pixels: np.ndarray, orientation: int, alpha: int | None, nodata: float | None
) -> Original:
    """Return bands (H, W) or (H, W, B) with three for colour: grey, if there are less, thrice."""
    if pixels.dtype.kind not in "iuf":
        raise PictureError(f"pixels of type {pixels.dtype} are no brightness")
    pixels = pixels.reshape(*pixels.shape[:2], -1).astype(
        pixels.dtype.newbyteorder("="), copy=False
    )
    if pixels.shape[2] < 3:
        pixels = np.concatenate([np.repeat(pixels[..., :1], 3, axis=2), pixels[..., 1:]], axis=2)
        alpha = None if alpha is None else alpha + 2
    return Original(np.require(pixels, requirements="CW"), orientation, alpha, nodata)


def alpha_of(page: tifffile.TiffPage) -> int | None:
    """Return which band of a TIFF is alpha."""
    kinds = [int(kind) for kind in page.extrasamples]  # 1, 2: alpha; 0: a band of another kind
    place = next((i for i, kind in enumerate(kinds) if kind in (1, 2)), None)
    return None if place is None else page.samplesperpixel - len(kinds) + place


def mask_of(tiff: tifffile.TiffFile) -> np.ndarray | None:
    """Return where a TIFF's mask, a further page, shows its first page, bool (H, W); None without.

    A mask that is damaged, or does not fit, is none.
    """
    first = tiff.pages.first
    with suppress(Exception):
        for page in islice(tiff.pages, 1, _PAGES):
            if page.subfiletype == 4 and page.shape == (first.imagelength, first.imagewidth):
                check_whole(page, tiff.filehandle.size)
                return page.asarray() != 0
    return None


def nodata_of(page: tifffile.TiffPage) -> float | None:
    """Return the value that GDAL's tag calls nodata."""
    try:
        return float(str(page.tags.valueof(42113, "")).strip("\0 "))
    except ValueError:
        return None
