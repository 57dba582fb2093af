"""Serve crops out of many pictures of any size, without holding them in memory."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from util.pictures.find import SUFFIXES
from util.pictures.original import IN_COLOUR, hint_of_range
from util.pictures.pixels import (
    PictureError,
    as_float,
    checked_scale,
    three_bands,
    with_white,
)
from util.pictures.places import Place, Places, Unmapped
from util.pictures.read import MAX_PIXELS, read_original, reason_of
from util.say import say, say_first

_OPEN_MAPS = 128  # each open map holds a file descriptor; the usual limit is 1024
_LINES = 10
_LOOKED_AT = 64  # rows of a picture, to see what range it uses


class PictureStore:
    """Serve crops out of many pictures of any size; decode each once, hold none in memory.

    An uncompressed 8- or 16-bit TIFF is mapped where it lies, whatever `max_pixels` says, since
    that takes no memory; any other file is decoded once into `cache_dir`. Where the file system
    cannot map, crops are read. A picture smaller than
    `crop_px` is padded by reflection up to twice its side; an even smaller or bad one is skipped
    and named on stderr.

    Args:
        paths: picture files.
        cache_dir: folder for decoded pictures, made if needed; several processes may share it.
        crop_px: side of the square crops that every picture must be able to give.
        grey: serve brightness as one channel, see `util.pictures.original.brightness`; pictures in
            colour are skipped.
        max_pixels, full_scale: as for `read_picture`.
        progress: show a bar while files are decoded.
        parts: dict of path -> ``part(height, width)``, which returns the rows and columns, two
            slices, that alone are served of a picture; all of it where there is none.

    Attributes:
        paths: the usable files, order kept.
        sizes: int32 (N, 2), height and width, each at least `crop_px`.
        spans: list of (slice, slice), the rows and columns of its file that a picture consists of.
        parts: as given.
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
        parts: dict[Path, Callable] | None = None,
    ) -> None:
        self.crop_px, self.grey, self.parts = int(crop_px), grey, parts or {}
        cache = Path(cache_dir).absolute()
        self._files = Places(cache, grey, max_pixels, checked_scale(full_scale))
        self.paths: list[Path] = []
        self.skipped: list[tuple[Path, str]] = []
        self.spans: list[tuple[slice, slice]] = []
        self._places: list[Place] = []
        self._lost: set[int] = set()
        self._open_none()

        paths = [Path(path) for path in paths]
        sizes = []
        for path, place in zip(paths, self._files.find(paths, progress), strict=True):
            if isinstance(place, Place):
                span = self.parts.get(path, _whole)(*place.shape[:2])
                height, width = (along.stop - along.start for along in span)
                if 2 * min(height, width) < self.crop_px:
                    place = f"{width} x {height} is less than half the crop of {self.crop_px}"
            if isinstance(place, Place):
                self.paths.append(path)
                self.spans.append(span)
                self._places.append(place)
                sizes.append([max(side, self.crop_px) for side in (height, width)])
            else:
                self.skipped.append((path, place))
        self.sizes = np.array(sizes, np.int32).reshape(-1, 2)
        if not self.paths:
            raise PictureError(self._nothing(paths))
        grey, lines = Counter(path.parent for path in self.paths), []
        for path, reason in self.skipped:
            lines.append(f"skipped {path}: {reason}")
            if reason == IN_COLOUR and (count := grey[path.parent]):
                # As colour infrared of thin cloud is.
                lines[-1] += f"; {count} grey ones beside it are taken: are they of the same kind?"
        say_first(lines)

    def __len__(self) -> int:
        return len(self.paths)

    # Handed to another process, it opens its files itself.
    def __getstate__(self) -> dict:
        with self._lock:
            return {n: v for n, v in vars(self).items() if n not in ("_maps", "_lock")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._open_none()

    def _open_none(self) -> None:
        self._maps: OrderedDict[int, np.ndarray | Unmapped] = OrderedDict()
        self._lock = threading.RLock()

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

    def shows_ground(self, index: int, top: int, left: int, height: int, width: int) -> bool:
        """Tell whether a crop shows ground alone; also of a small picture, which has no other."""
        place = self._places[index]
        masked = len(place.shape) == 3 and place.shape[2] in (2, 4)
        if not masked or self._mapped(index) or index in self._lost:
            return True
        if min(place.shape[:2]) < self.crop_px:
            return True
        try:
            shown = self._map(index)[0][top : top + height, left : left + width][..., -1]
        except (OSError, ValueError, PictureError):  # `pixels` says so
            return True
        return bool(shown.all())

    def unused_range(self) -> str | None:
        """Return a line about the first picture whose values use little of their range, or None."""
        if self._files.full_scale:
            return None
        for index, place in enumerate(self._places[:_LINES]):
            if np.dtype(place.dtype).itemsize == 1:
                continue
            try:
                pixels, rows = self._map(index)[0], place.shape[0]
                rows = range(0, rows, max(1, rows // _LOOKED_AT))
                pixels = np.concatenate([pixels[row : row + 1, :] for row in rows])
                hint = hint_of_range(pixels[..., :3] if pixels.ndim == 3 else pixels)
                if hint and not self._mapped(index):  # in the file's own numbers
                    hint = read_original(self.paths[index]).unused_range()
            except (OSError, ValueError, PictureError):
                continue
            if hint:
                return f"{self.paths[index]}: {hint}"
        return None

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
            block = pixels[:, :][down[:, None], across]
        else:
            block = pixels[top : top + height, left : left + width]
        block = with_white(block, full_scale).over_range()
        if self.grey:
            return block.reshape(*block.shape[:2], -1)[..., :1]
        return three_bands(block)

    def _map(self, index: int) -> tuple[np.ndarray | Unmapped, float | None]:
        """Return the mapped pixels of a picture, and the full scale still to be applied."""
        with self._lock:
            place = self._places[index]
            # Asked before every crop: reading a map beyond the end of its file kills the process.
            if not place.holds():
                self._maps.pop(index, None)
                if self._mapped(index):
                    raise PictureError("the file vanished or was cut during the run")
                place = self._files.decode(self.paths[index], Path(place.file))
                if place.shape != self._places[index].shape:
                    raise PictureError("the file changed during the run")
                self._places[index] = place
            if index not in self._maps:
                self._maps[index] = place.open(self.spans[index])
                if len(self._maps) > _OPEN_MAPS:
                    self._maps.popitem(last=False)
            self._maps.move_to_end(index)
            return self._maps[index], place.full_scale

    def _mapped(self, index: int) -> bool:
        """Tell whether a picture's pixels are read where its file has them."""
        return self._places[index].file == str(self.paths[index].absolute())

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
        first: dict[str, str] = {}
        for path, reason in self.skipped:
            first.setdefault(reason, path.name)
        return "; ".join(f"{name}: {reason}" for reason, name in list(first.items())[:3])


def _whole(height: int, width: int) -> tuple[slice, slice]:
    return slice(0, height), slice(0, width)


def _reflected(start: int, length: int, side: int, crop_px: int) -> np.ndarray:
    """Return the source rows of rows start..start+length of a side reflect-padded to crop_px."""
    before = max(crop_px - side, 0) // 2
    period = max(2 * (side - 1), 1)
    at = (np.arange(start, start + length) - before) % period
    return np.minimum(at, period - at)
