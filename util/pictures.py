"""Find, read, crop and write the pictures that people really have.

Files are data that somebody else made: the size is read before memory is taken, only six formats
are decoded, a cut file is an error and never half a picture, and names are made safe for printing.
"""

import hashlib
import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image
from tqdm import tqdm

from util import files
from util.say import printable, say

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"})
MAX_PIXELS = 400_000_000

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # Pillow's; TIFF is tifffile's first
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CACHE_FORMAT = 1  # raise it when the content of cached files changes
_OPEN_MAPS = 128  # each open map holds a file descriptor; the usual limit is 1024
_INDEX_FROM = 500  # below so many files, reading every header again is quick enough
_STALE_S = 3600  # a temporary file so old is nobody's: other runs share the cache
_LINES = 10

# Pillow's own limit is a lower global; `_check_size` takes its place in every reader here.
Image.MAX_IMAGE_PIXELS = None
# What tifffile logs about a damaged file, our one-line error says too.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class PictureError(Exception):
    """A picture or folder that cannot be used: one printable line, the file and the reason.

    `reason` is the line without the file's name.
    """

    def __init__(self, reason: object, path: str | Path | None = None) -> None:
        self.reason = printable(reason)
        super().__init__(self.reason if path is None else f"{printable(path)}: {self.reason}")


# ---------------------------------------------------------------------------------------- finding


def find_pictures(folder: str | Path) -> list[Path]:
    """List the picture files below a folder, sorted by relative POSIX path.

    Regular files with a picture's suffix in any case; hidden files and folders are left out.
    `folder` may also be one file, which is returned whatever its suffix. Links to folders are
    followed, because data sets are often linked into place, but each real folder is entered once,
    so a loop ends. An unreadable sub-folder is skipped with a line on stderr. A missing or
    unreadable `folder` raises PictureError.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    try:
        with os.scandir(folder):
            seen = {_identity(folder)}
    except OSError as error:
        remedy = "give an existing, readable folder of pictures, or one picture"
        raise PictureError(f"{error.strerror}; {remedy}", folder) from error
    found = []
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_folder_skipped):
        kept = []
        for name in sorted(folders):
            identity = None if name.startswith(".") else _identity(os.path.join(place, name))
            if identity is not None and identity not in seen:
                seen.add(identity)
                kept.append(name)
        folders[:] = kept  # os.walk enters only what is left in its list
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _identity(folder: str | Path) -> tuple[int, int] | None:
    try:
        info = os.stat(folder)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _folder_skipped(error: OSError) -> None:
    say(f"skipped folder {error.filename}: {error.strerror}")


# ---------------------------------------------------------------------------------------- reading


def read_picture(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, full_scale: float | None = None
) -> np.ndarray:
    """Return the (first) picture of a file as RGB, uint8 or uint16 (H, W, 3).

    JPEG, PNG, TIFF, WebP, BMP and GIF, recognised by content. EXIF rotation is applied, alpha
    dropped, grey, palette, 1-bit and CMYK turned into RGB; of a TIFF with more bands the first
    three are taken. 16-bit values stay exact. `full_scale` is the value that means 1.0 in files of
    more than 8 bits (10000 for reflectance): those are then rescaled to uint16 0..65535 and
    clipped. Float files within 0..1 become uint16 as they are; NaN becomes 0. Raises PictureError
    for a file that is missing, cut, damaged, of another format, larger than `max_pixels`, or
    without a known scale.
    """
    full_scale = _checked_scale(full_scale)

    def read(file: BinaryIO, start: bytes) -> np.ndarray:
        if start[:4] in _TIFF_STARTS:
            pixels, orientation = _read_tiff(file, max_pixels)
        else:
            deep = start[:4] == b"\x89PNG" and start[24:25] == b"\x10"
            pixels, orientation = _read_common(file, _FORMATS, max_pixels, deep)
        pixels = _upright(_three_bands(_known_scale(pixels, full_scale)), orientation)
        return np.ascontiguousarray(pixels)

    return _from_file(Path(path), read)


def read_alpha(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray | None:
    """Return how opaque each pixel of a file's (first) picture is, uint8 (H, W); None if unsaid.

    From an alpha channel (of 16 bits the upper 8) or the transparent colour of a PNG or GIF.
    EXIF rotation is applied: it fits what `read_picture` returns. Raises PictureError as that does.
    """

    def read(file: BinaryIO, start: bytes) -> np.ndarray | None:
        if start[:4] in _TIFF_STARTS:
            found = _tiff_alpha(file, max_pixels)
        else:
            found = _common_alpha(file, _FORMATS, max_pixels)
        return None if found is None else np.ascontiguousarray(_upright(*found))

    return _from_file(Path(path), read)


def _from_file(path: Path, read: Callable) -> np.ndarray | None:
    """Return what `read(file, its first 32 bytes)` returns; every failure is a PictureError."""
    try:
        if not path.is_file():
            raise PictureError("not a file" if path.exists() else "no such file", path)
        with open(path, "rb") as file:
            start = file.read(32)
            file.seek(0)
            if not start:
                raise PictureError("the file is empty", path)
            return read(file, start)
    except PictureError as error:
        raise PictureError(error.reason, path) from error
    except Exception as error:  # decoders meet damage with errors of every class
        raise PictureError(_reason(error), path) from error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a JPEG, PNG, TIFF, WebP, BMP or GIF picture, or damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged or cut ({type(error).__name__}: {error})"


def _check_size(height: int, width: int, bands: int, max_pixels: int) -> None:
    count = height * width * max(bands, 3) // 3  # many bands take memory like many pixels
    if count > max_pixels:
        claimed = f"{width} x {height} pixels" + (f" of {bands} bands" if bands > 4 else "")
        raise PictureError(
            f"claims {claimed}, which counts as {count}, more than max_pixels = {max_pixels}; "
            "raise max_pixels if the picture really is so large"
        )


def _read_common(
    file: BinaryIO, formats: tuple[str, ...], max_pixels: int, deep: bool = False
) -> tuple[np.ndarray, int]:
    """Return (pixels, EXIF orientation) by Pillow, by OpenCV if `deep` (16 bits)."""
    with Image.open(file, formats=formats) as image:
        _check_size(image.height, image.width, 3, max_pixels)
        image.load()  # also for deep files: OpenCV returns half a picture without an error
        orientation = image.getexif().get(274, 1)  # after load: Pillow itself turns a TIFF there
        if not deep:
            image.info.pop("transparency", None)  # alpha is dropped, Pillow need not warn
            return np.asarray(image.convert("RGB")), orientation
    return _read_deep(file), orientation


def _read_deep(file: BinaryIO) -> np.ndarray:
    """Return what OpenCV decodes, bits untouched, as RGB or grey."""
    file.seek(0)
    pixels = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise PictureError("cannot be decoded")
    return pixels if pixels.ndim == 2 else pixels[..., 2::-1]


def _read_tiff(file: BinaryIO, max_pixels: int) -> tuple[np.ndarray, int]:
    """Return (pixels of the first page, orientation that is still to be applied)."""
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        bits, bands = page.bitspersample, page.samplesperpixel
        _check_size(page.imagelength, page.imagewidth, bands * page.imagedepth, max_pixels)
        # tifffile fills what is missing with zeros, so a cut file is looked for here.
        ends = [at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if not ends or max(ends) > os.fstat(file.fileno()).st_size:
            raise PictureError("the file is cut: pixels are missing at its end")
        plain = page.photometric in (0, 1, 2)  # white is 0, black is 0, RGB
        if plain and bits >= 8 and page.imagedepth == 1:
            try:
                pixels = page.asarray()
            except ValueError as error:
                if "imagecodecs" not in str(error):
                    raise
            else:
                if page.planarconfig == 2 and bands > 1:
                    pixels = np.moveaxis(pixels, 0, -1)
                if page.photometric == 0 and pixels.dtype.kind == "u":
                    pixels = ~pixels
                return pixels, page.tags.valueof(274, 1)
    # Packed bits, palettes, CMYK, and compressions that tifffile leaves to an optional package.
    try:
        if bits <= 8:
            file.seek(0)
            return _read_common(file, ("TIFF",), max_pixels)
        if plain and page.photometric != 0:
            return _read_deep(file), 1  # OpenCV turns a TIFF upright itself
    except (PictureError, Image.UnidentifiedImageError, cv2.error):
        pass
    raise PictureError(
        f"this kind of TIFF ({page.compression.name}, {bits} bits, {bands} bands) needs the "
        "optional package imagecodecs; install it, or save the file uncompressed"
    )


def _common_alpha(
    file: BinaryIO, formats: tuple[str, ...], max_pixels: int
) -> tuple[np.ndarray, int] | None:
    with Image.open(file, formats=formats) as image:
        _check_size(image.height, image.width, 4, max_pixels)
        if not image.has_transparency_data:
            return None
        image.load()
        orientation = image.getexif().get(274, 1)
        return np.asarray(image.convert("RGBA").getchannel("A")), orientation


def _tiff_alpha(file: BinaryIO, max_pixels: int) -> tuple[np.ndarray, int] | None:
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        kinds = [int(kind) for kind in page.extrasamples]  # 1, 2: alpha; 0: a band of another kind
        place = next((i for i, kind in enumerate(kinds) if kind in (1, 2)), None)
        if place is None:
            return None
        band = page.samplesperpixel - len(kinds) + place
    file.seek(0)
    pixels, orientation = _read_tiff(file, max_pixels)
    if pixels.ndim != 3 or pixels.shape[2] <= band:  # a reader that drops alpha had to serve
        file.seek(0)
        return _common_alpha(file, ("TIFF",), max_pixels)
    alpha = pixels[..., band]
    if alpha.dtype.kind == "f":
        return as_pixels(np.nan_to_num(alpha), np.uint8), orientation
    return (alpha >> 8 * (alpha.dtype.itemsize - 1)).astype(np.uint8), orientation


def _checked_scale(full_scale: float | None) -> float | None:
    if full_scale is not None and not 0 < full_scale < np.inf:
        raise ValueError(f"full_scale must be a number above 0 or None, not {full_scale}")
    return None if full_scale is None else float(full_scale)


def _known_scale(pixels: np.ndarray, full_scale: float | None) -> np.ndarray:
    """Return uint8 or uint16 pixels that mean 0..1 over their type's range."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        pixels = pixels.astype(np.uint16, copy=False)  # from either byte order
        return pixels if full_scale is None else _scale_table(full_scale)[pixels]
    if pixels.dtype.kind not in "iuf":
        raise PictureError(f"pixels of type {pixels.dtype} are no brightness")
    fraction = pixels.dtype.kind == "f" and (full_scale is None or full_scale > 1)
    pixels = np.nan_to_num(pixels.astype(np.float32), copy=False, nan=0.0)
    low, high = float(pixels.min()), float(pixels.max())
    if fraction and low >= 0 and high <= 1:
        full_scale = 1.0
    if full_scale is None:
        raise PictureError(
            f"values from {low:g} to {high:g} have no known range; set full_scale to the value "
            "that means full brightness (10000 for reflectance, 1.0 to clip to 0..1)"
        )
    return as_pixels(pixels / np.float32(full_scale), np.uint16)


@lru_cache(maxsize=8)
def _scale_table(full_scale: float) -> np.ndarray:
    """Return the rescaled value of each 16-bit value, uint16 (65536,)."""
    return as_pixels(np.arange(65536) / full_scale, np.uint16)


def _three_bands(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        return pixels[..., :3]
    grey = pixels[..., 0] if pixels.ndim == 3 else pixels
    return np.repeat(grey[..., None], 3, axis=2)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the picture as EXIF orientation 1..8 says it is to be seen (TIFF 6.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def as_float(pixels: np.ndarray) -> np.ndarray:
    """Return float32 0..1 from uint8 or uint16 of any shape, by the type's range.

    Raises ValueError for another type.
    """
    return pixels.astype(np.float32) / np.float32(_top(pixels.dtype))


def as_pixels(picture: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return uint8 or uint16 from float 0..1 of any shape, rounded, values outside clipped.

    Raises ValueError for NaN, or for another type.
    """
    top = _top(dtype)
    if np.isnan(picture).any():
        raise ValueError("the picture holds NaN, which is no brightness")
    return np.rint(np.clip(picture, 0, 1) * top).astype(dtype)


def _top(dtype: np.typing.DTypeLike) -> int:
    if np.dtype(dtype) not in (np.uint8, np.uint16):
        raise ValueError(f"pixels must be uint8 or uint16, not {np.dtype(dtype)}")
    return np.iinfo(dtype).max


def _luma(pixels: np.ndarray) -> np.ndarray:
    """Return the brightness (ITU-R BT.601) of RGB (H, W, 3), same type, (H, W)."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(pixels.astype(np.float32) @ weights).astype(pixels.dtype)


# ---------------------------------------------------------------------------------------- writing


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 or uint16 pixels, RGB (H, W, 3) or grey (H, W), whole or not at all.

    The suffix chooses the format: .png .tif .tiff .bmp without loss (BMP 8-bit only), .jpg .jpeg
    at quality 95 (8-bit only). Raises ValueError for other pixels or suffixes, OSError with the
    path if it cannot be written; the old file, if any, then stays as it was.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    _top(pixels.dtype)
    if (pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] != 3)) or pixels.size == 0:
        raise ValueError(f"pixels must be (H, W, 3) or (H, W), not {pixels.shape}")
    if suffix not in (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg"):
        raise ValueError(f"cannot write {printable(path)}: use .png, .tif, .bmp or .jpg")
    if suffix in (".bmp", ".jpg", ".jpeg") and pixels.dtype != np.uint8:
        raise ValueError(f"cannot write {printable(path)}: {suffix} holds 8 bits; use .png or .tif")
    if suffix in (".tif", ".tiff"):  # uncompressed, so that a PictureStore can map it
        kind = "rgb" if pixels.ndim == 3 else "minisblack"
        with files.whole(path) as file:
            tifffile.imwrite(file, pixels, photometric=kind, metadata=None)
        return
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in (".jpg", ".jpeg") else []
    order = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    done, code = cv2.imencode(suffix, order, options)
    if not done:
        raise ValueError(
            f"cannot write {printable(path)}: {pixels.shape} does not fit into {suffix}"
        )
    with files.whole(path) as file:
        file.write(code)


# ------------------------------------------------------------------------------------ random crops


class _Place(NamedTuple):
    """Where the pixels of a picture lie, uncompressed."""

    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    full_scale: float | None  # not yet applied

    @property
    def end(self) -> int:
        return self.offset + int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class PictureStore:
    """Serve crops out of many pictures of any size; decode each once, hold none in memory.

    An uncompressed 8- or 16-bit TIFF is mapped where it lies, whatever `max_pixels` says, since
    that takes no memory; any other file is decoded once into `cache_dir`. A picture smaller than
    `crop_px` is padded by reflection up to twice its side; an even smaller or bad one is skipped
    and named on stderr.

    Args:
        paths: picture files.
        cache_dir: folder for decoded pictures, made if needed; several processes may share it.
        crop_px: side of the square crops that every picture must be able to give.
        grey: serve brightness (ITU-R BT.601) as one channel instead of RGB.
        max_pixels, full_scale: as for `read_picture`.
        progress: show a bar while files are decoded.

    Attributes:
        paths: the usable files, order kept.
        sizes: int32 (N, 2), height and width, each at least `crop_px`.
        skipped: (path, reason) of the others, those lost during the run included.

    Raises PictureError if no picture is usable, OSError if the cache cannot be written.
    """

    def __init__(
        self,
        paths: list[Path],
        cache_dir: str | Path,
        *,
        crop_px: int,
        grey: bool = False,
        max_pixels: int = MAX_PIXELS,
        full_scale: float | None = None,
        progress: bool = True,
    ) -> None:
        self.cache_dir = Path(cache_dir).absolute()
        self.crop_px, self.grey = int(crop_px), grey
        self.max_pixels, self.full_scale = max_pixels, _checked_scale(full_scale)
        self.paths: list[Path] = []
        self.skipped: list[tuple[Path, str]] = []
        self._places: list[_Place] = []
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lost: set[int] = set()
        self._lock = threading.RLock()

        paths = [Path(path) for path in paths]
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        files.sweep(self.cache_dir, older_than_s=_STALE_S)
        places = self._find_places(paths, progress)
        sizes = []
        for path, place in zip(paths, places, strict=True):
            if isinstance(place, _Place) and 2 * min(place.shape[:2]) < self.crop_px:
                height, width = place.shape[:2]
                place = f"{width} x {height} is less than half the crop of {self.crop_px}"
            if isinstance(place, _Place):
                self.paths.append(path)
                self._places.append(place)
                sizes.append([max(side, self.crop_px) for side in place.shape[:2]])
            else:
                self.skipped.append((path, place))
        self.sizes = np.array(sizes, np.int32).reshape(-1, 2)
        if not self.paths:
            raise PictureError(self._nothing(paths))
        for path, reason in self.skipped[:_LINES]:
            say(f"skipped {path}: {reason}")
        if len(self.skipped) > _LINES:
            say(f"and {len(self.skipped) - _LINES} more, see PictureStore.skipped")

    def __len__(self) -> int:
        return len(self.paths)

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return a crop of picture `index`, float32 (height, width, 3 or 1), 0..1; thread-safe.

        Lost files and errors as in `pixels`.
        """
        return as_float(self.pixels(index, top, left, height, width))

    def pixels(self, index: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return a crop as the file has it, uint8 or uint16 (height, width, 3 or 1); thread-safe.

        Perhaps a view of the file, which must not be written to. If the file has vanished or
        broken, that is said once and the next usable picture that is large enough serves, at the
        nearest place that fits. Raises ValueError for a crop outside `sizes[index]`, PictureError
        if no file is left.
        """
        rows, columns = (int(side) for side in self.sizes[index])
        inside = 0 <= top < top + height <= rows and 0 <= left < left + width <= columns
        if not inside:
            box = f"top {top}, left {left}, {height} x {width}"
            raise ValueError(f"crop ({box}) leaves picture {index} of {rows} x {columns}")
        return self._serve(index, (top, left, height, width))

    def whole(self, index: int) -> np.ndarray:
        """Return picture `index` at `sizes[index]`, padding included, float32 (H, W, 3 or 1), 0..1.

        A lost file is replaced as in `crop`, by a picture of its own size. Raises PictureError.
        """
        return as_float(self._serve(index, None))

    def _serve(self, index: int, box: tuple[int, int, int, int] | None) -> np.ndarray:
        for number in range(index, index + len(self.paths)):
            number %= len(self.paths)
            rows, columns = (int(side) for side in self.sizes[number])
            top, left, height, width = box or (0, 0, rows, columns)
            if number in self._lost or height > rows or width > columns:
                continue
            try:
                return self._cut(
                    number, min(top, rows - height), min(left, columns - width), height, width
                )
            except (OSError, ValueError, PictureError) as error:
                self._lose(number, error)
        raise PictureError(f"no usable picture is left of {len(self.paths)}; {self._reasons()}")

    def _cut(self, index: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        pixels, full_scale = self._map(index)
        rows, columns = pixels.shape[:2]
        if rows < self.crop_px or columns < self.crop_px:
            down = _reflected(top, height, rows, self.crop_px)
            across = _reflected(left, width, columns, self.crop_px)
            block = pixels[down[:, None], across]
        else:
            block = pixels[top : top + height, left : left + width]
        if block.dtype.itemsize == 2:
            block = _known_scale(block, full_scale)
        if self.grey:
            if block.ndim == 3:
                block = _luma(block[..., :3]) if block.shape[2] >= 3 else block[..., 0]
            return block[..., None]
        return _three_bands(block)

    def _map(self, index: int) -> tuple[np.ndarray, float | None]:
        """Return the mapped pixels of a picture, and the full scale still to be applied."""
        with self._lock:
            place = self._places[index]
            # Asked before every crop: reading a map beyond the end of its file kills the process.
            if not _holds(place):
                self._maps.pop(index, None)
                if place.file == str(self.paths[index].absolute()):
                    raise PictureError("the file vanished or was cut during the run")
                place = self._convert(self.paths[index], Path(place.file))
                if place.shape != self._places[index].shape:
                    raise PictureError("the file changed during the run")
                self._places[index] = place
            if index not in self._maps:
                file = np.memmap(place.file, place.dtype, "r", place.offset, place.shape)
                self._maps[index] = file.view(np.ndarray)
                if len(self._maps) > _OPEN_MAPS:
                    self._maps.popitem(last=False)
            self._maps.move_to_end(index)
            return self._maps[index], place.full_scale

    def _lose(self, index: int, error: Exception) -> None:
        reason = error.reason if isinstance(error, PictureError) else _reason(error)
        with self._lock:
            if index in self._lost:
                return
            self._lost.add(index)
            self._maps.pop(index, None)
            self.skipped.append((self.paths[index], reason))
            if len(self._lost) <= _LINES:
                say(f"lost {self.paths[index]}: {reason}; other pictures take its place")
            elif len(self._lost) == _LINES + 1:
                say("more pictures were lost, see PictureStore.skipped")

    def _nothing(self, paths: list[Path]) -> str:
        if not paths:
            kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
            return f"no picture was found; give a folder with files of these kinds: {kinds}"
        folders = sorted({str(path.parent) for path in paths})
        where = folders[0] + (f" and {len(folders) - 1} other folders" if folders[1:] else "")
        return f"{where}: none of {len(paths)} files is a usable picture; {self._reasons()}"

    def _reasons(self) -> str:
        return "; ".join(f"{path.name}: {reason}" for path, reason in self.skipped[:3])

    # What follows decides where the pixels of each file lie.

    def _find_places(self, paths: list[Path], progress: bool) -> list[_Place | str]:
        """Return for each path where its pixels lie, or why it is unusable; decode what is new."""
        keys: list[str | None] = []
        places: list[_Place | str | None] = []
        index = self._index_file(paths)
        known = _read_index(index) if len(paths) >= _INDEX_FROM else {}
        for path in paths:
            try:
                key = self._key(path)
                place = known.get(key)
                if place is None or not _holds(place):
                    cached = self.cache_dir / f"{key}.npy"
                    place = _cached_place(cached) or _mapped_place(path, self.full_scale)
                keys.append(key)
                places.append(place)
            except OSError as error:
                keys.append(None)
                places.append(error.strerror or str(error))
        new = [n for n, place in enumerate(places) if place is None]
        bar = tqdm(new, "decoding pictures", unit="file", disable=not (progress and new))
        for n in bar:
            try:
                places[n] = self._convert(paths[n], self.cache_dir / f"{keys[n]}.npy")
            except PictureError as error:
                places[n] = error.reason
        if len(paths) >= _INDEX_FROM:
            pairs = zip(keys, places, strict=True)
            now = {key: place for key, place in pairs if isinstance(place, _Place)}
            if now != known:
                with files.whole(index) as file:
                    file.write(json.dumps(now).encode())
        return places

    def _convert(self, path: Path, cached: Path) -> _Place:
        pixels = read_picture(path, max_pixels=self.max_pixels, full_scale=self.full_scale)
        with files.whole(cached) as file:
            np.save(file, _luma(pixels) if self.grey else pixels, allow_pickle=False)
        place = _cached_place(cached)
        if place is None:
            raise OSError(None, "the decoded picture cannot be read back", str(cached))
        return place

    def _key(self, path: Path) -> str:
        info = os.stat(path)
        parts = (_CACHE_FORMAT, info.st_size, info.st_mtime_ns, self.full_scale, self.grey)
        name = os.fsencode(path.absolute())
        return hashlib.sha256(repr(parts).encode() + name).hexdigest()[:40]

    def _index_file(self, paths: list[Path]) -> Path:
        names = b"\0".join(os.fsencode(path.absolute()) for path in paths)
        settings = repr((_CACHE_FORMAT, self.full_scale, self.grey)).encode()
        return self.cache_dir / f"index-{hashlib.sha256(settings + names).hexdigest()[:40]}.json"


def _holds(place: _Place) -> bool:
    """Tell whether the file is there and long enough."""
    try:
        return os.stat(place.file).st_size >= place.end
    except OSError:
        return False


def _cached_place(cached: Path) -> _Place | None:
    """Return where the pixels of a cached .npy lie, None if it is missing or damaged."""
    try:
        with open(cached, "rb") as file:
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            place = _Place(str(cached), file.tell(), dtype.str, shape, None)
            good = dtype in (np.uint8, np.uint16) and len(shape) in (2, 3) and not fortran
            return place if good and os.fstat(file.fileno()).st_size == place.end else None
    except (OSError, ValueError):
        return None


def _mapped_place(path: Path, full_scale: float | None) -> _Place | None:
    """Return where the pixels lie in a TIFF that can be mapped, None for any other file."""
    try:
        with open(path, "rb") as file:
            if file.read(4) not in _TIFF_STARTS:
                return None
            file.seek(0)
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages.first
                bits = 8 * page.dtype.itemsize if page.dtype in (np.uint8, np.uint16) else 0
                flat = page.planarconfig == 1 or page.samplesperpixel == 1
                upright = page.tags.valueof(274, 1) == 1 and page.photometric in (1, 2)
                if not (page.is_memmappable and flat and upright and bits == page.bitspersample):
                    return None
                dtype = page.dtype.newbyteorder(tiff.byteorder).str
                lies = str(path.absolute()), page.dataoffsets[0]
                place = _Place(*lies, dtype, page.shape, full_scale)
                return place if page.imagedepth == 1 and _holds(place) else None
    except Exception:  # damage: read_picture gives the reason
        return None


def _read_index(index: Path) -> dict[str, _Place]:
    """Return what an earlier start noted; nothing if that is missing or damaged."""
    try:
        noted = json.loads(index.read_bytes())
        return {key: _Place(f, o, d, tuple(s), scale) for key, (f, o, d, s, scale) in noted.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _reflected(start: int, length: int, side: int, crop_px: int) -> np.ndarray:
    """Return the source rows of rows start..start+length of a side reflect-padded to crop_px."""
    before = max(crop_px - side, 0) // 2
    period = max(2 * (side - 1), 1)
    at = (np.arange(start, start + length) - before) % period
    return np.minimum(at, period - at)
