"""Serve crops out of many pictures of any size, without holding them in memory."""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from tqdm import tqdm

from util import files
from util.pictures.find import SUFFIXES
from util.pictures.pixels import (
    PictureError,
    as_float,
    checked_scale,
    luma,
    three_bands,
    with_white,
)
from util.pictures.read import MAX_PIXELS, TIFF_STARTS, read_picture, reason_of
from util.say import say

_CACHE_FORMAT = 1  # raise it when the content of cached files changes
_OPEN_MAPS = 128  # each open map holds a file descriptor; the usual limit is 1024
_INDEX_FROM = 500  # below so many files, reading every header again is quick enough
_STALE_S = 3600  # a temporary file so old is nobody's: other runs share the cache
_LINES = 10


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
        self.max_pixels, self.full_scale = max_pixels, checked_scale(full_scale)
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

    def lost(self, index: int) -> bool:
        """Tell whether the file of picture `index` vanished or broke; thread-safe.

        Known from the first crop on that another picture served in its place.
        """
        return index in self._lost

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
        block = with_white(block, full_scale).over_range()
        if self.grey:
            if block.ndim == 3:
                block = luma(block[..., :3]) if block.shape[2] >= 3 else block[..., 0]
            return block[..., None]
        return three_bands(block)

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
        reason = error.reason if isinstance(error, PictureError) else reason_of(error)
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
            np.save(file, luma(pixels) if self.grey else pixels, allow_pickle=False)
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
            if file.read(4) not in TIFF_STARTS:
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
