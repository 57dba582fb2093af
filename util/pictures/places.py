"""Find where pixels lie uncompressed: in the picture's own file, or decoded once into a folder."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from tqdm import tqdm

from util import files
from util.pictures.original import Original, brightness
from util.pictures.pixels import Picture, PictureError, top_of, with_remedy
from util.pictures.read import TIFF_STARTS, alpha_of, mask_of, nodata_of, read_original

_FORMAT = 3  # raise it when the content of decoded files changes
_INDEX_FROM = 500  # below so many files, reading every header again is quick enough
_LIMITS = "prepare_data.py layers --limits makes grey pictures of such values"
_STALE_S = 3600  # a temporary file so old is nobody's: other runs share the folder


class Place(NamedTuple):
    """Where the pixels of a picture lie, uncompressed."""

    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    full_scale: float | None  # not yet applied

    @property
    def end(self) -> int:
        return self.offset + int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def holds(self) -> bool:
        """Tell whether the file is there and long enough."""
        try:
            return os.stat(self.file).st_size >= self.end
        except OSError:
            return False

    def open(self, span=(slice(None), slice(None))):
        """Return the pixels of some rows and columns, to be cut as an array is.

        Mapped, or `Unmapped` where that fails.
        """
        try:
            file = np.memmap(self.file, self.dtype, "r", self.offset, self.shape)
            return file.view(np.ndarray)[span]
        except OSError:  # as on some FUSE mounts
            return Unmapped(self, span)


class Unmapped:
    """Read the pixels of a span of a place box by box: ``pixels[top:bottom, left:right]``.

    Raises OSError or ValueError if the file has become shorter.
    """

    def __init__(self, place: Place, span=(slice(None), slice(None))) -> None:
        self.place = place
        (self._top, bottom, _), (self._left, right, _) = map(slice.indices, span, place.shape)
        self.shape = (bottom - self._top, right - self._left, *place.shape[2:])

    def __getitem__(self, box: tuple[slice, slice]) -> np.ndarray:
        (top, bottom, _), (left, right, _) = map(slice.indices, box, self.shape)
        block = np.empty((bottom - top, right - left, *self.shape[2:]), self.place.dtype)
        pixel = block.itemsize * int(np.prod(self.shape[2:]))
        with open(self.place.file, "rb") as file:
            for row, line in enumerate(block, self._top + top):
                start = row * self.place.shape[1] + self._left + left
                file.seek(self.place.offset + start * pixel)
                if file.readinto(line) != line.nbytes:
                    raise ValueError("the file was cut during the run")
        return block


class Places(NamedTuple):
    """Find places of pictures, all with the same arguments as a PictureStore."""

    folder: Path  # for decoded pictures
    grey: bool
    max_pixels: int
    full_scale: float | None

    def find(self, paths: list[Path], progress: bool) -> list[Place | str]:
        """Return for each path where its pixels lie, or why it is unusable; decode what is new."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files.sweep(self.folder, older_than_s=_STALE_S)
        keys: list[str | None] = []
        places: list[Place | str | None] = []
        index = self._index_file(paths)
        known = _read_index(index) if len(paths) >= _INDEX_FROM else {}
        for path in paths:
            key = None
            try:
                key = self._key(path)
                place = known.get(key)
                if place is None or not place.holds():
                    decoded = self.folder / f"{key}.npy"
                    place = _decoded_place(decoded) or self._mapped(path)
            except OSError as error:
                place = error.strerror or str(error)
            keys.append(key)
            places.append(place)
        new = [n for n, place in enumerate(places) if place is None]
        for n in tqdm(new, "decoding pictures", unit="file", disable=not (progress and new)):
            try:
                places[n] = self.decode(paths[n], self.folder / f"{keys[n]}.npy")
            except PictureError as error:
                places[n] = error.reason
        now = {k: p for k, p in zip(keys, places, strict=True) if isinstance(p, Place)}
        if len(paths) >= _INDEX_FROM and now != known:
            with contextlib.suppress(OSError):  # it only saves time
                files.write(index, json.dumps(now))
        return places

    def decode(self, path: Path, decoded: Path) -> Place:
        """Decode a picture into a file. Raises PictureError, and OSError if the disk is full.

        Where not all of it is ground a band more tells where it is; the rest is filled.
        """
        original = read_original(path, max_pixels=self.max_pixels)
        pixels = original.fill(self._picture(original).over_range())
        if self.grey:
            pixels = brightness(original, pixels)
        if original.ground is not None:
            shown = original.ground * pixels.dtype.type(top_of(pixels.dtype))
            pixels = np.dstack([pixels, shown])
        with files.whole(decoded) as file:
            np.save(file, pixels, allow_pickle=False)
        place = _decoded_place(decoded)
        if place is None:
            raise OSError(None, "the decoded picture cannot be read back", str(decoded))
        return place

    def _picture(self, original: Original) -> Picture:
        try:
            return original.picture(self.full_scale)
        except PictureError as error:
            if not self.grey:
                raise
            # White means opaque, or far: there full_scale is no remedy.
            raise PictureError(with_remedy(error.reason, _LIMITS), original.path) from None

    def _mapped(self, path: Path) -> Place | None:
        """Return where the pixels of a file lie, None if it must be decoded."""
        place = _mapped_place(path, self.full_scale)
        # Whether bands are colour is seen where they are decoded.
        return None if place and self.grey and place.shape[2:] > (2,) else place

    def _key(self, path: Path) -> str:
        info = os.stat(path)
        # An archive gives other content the same size and time, but not the same change time and
        # inode. (Windows has the time of creation for the first; a network disk may say 0.)
        state = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
        # What it was before colour was refused serves no more.
        kind = self.grey and "grey alone"
        parts = (_FORMAT, *state, self.full_scale, kind)
        name = os.fsencode(path.absolute())
        return hashlib.sha256(repr(parts).encode() + name).hexdigest()[:40]

    def _index_file(self, paths: list[Path]) -> Path:
        names = b"\0".join(os.fsencode(path.absolute()) for path in paths)
        settings = repr((_FORMAT, self.full_scale, self.grey)).encode()
        return self.folder / f"index-{hashlib.sha256(settings + names).hexdigest()[:40]}.json"


def _decoded_place(decoded: Path) -> Place | None:
    """Return where the pixels of a decoded .npy lie, None if it is missing or damaged."""
    try:
        with open(decoded, "rb") as file:
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            place = Place(str(decoded), file.tell(), dtype.str, shape, None)
            good = dtype in (np.uint8, np.uint16) and len(shape) in (2, 3) and not fortran
            return place if good and os.fstat(file.fileno()).st_size == place.end else None
    except (OSError, ValueError):
        return None


def _mapped_place(path: Path, full_scale: float | None) -> Place | None:
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
                as_seen = page.tags.valueof(274, 1) == 1 and page.photometric in (1, 2)
                if not (page.is_memmappable and flat and as_seen and bits == page.bitspersample):
                    return None
                unsure = alpha_of(page), nodata_of(page), mask_of(tiff)
                if any(gaps is not None for gaps in unsure):
                    return None  # perhaps not all of it is ground
                dtype = page.dtype.newbyteorder(tiff.byteorder).str
                lies = str(path.absolute()), page.dataoffsets[0]
                place = Place(*lies, dtype, page.shape, full_scale)
                return place if page.imagedepth == 1 and place.holds() else None
    except Exception:  # damage: read_picture gives the reason
        return None


def _read_index(index: Path) -> dict[str, Place]:
    """Return what an earlier start noted; nothing if that is missing or damaged."""
    try:
        noted = json.loads(index.read_bytes())
        return {key: Place(f, o, d, tuple(s), scale) for key, (f, o, d, s, scale) in noted.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
