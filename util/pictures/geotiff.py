"""Read a GeoTIFF scene part by part, as pixels that a network is given.

    with open_scene("a.tif") as scene:
        with scene.create("out/a.tif") as sink:
            for top, rows in bands(scene):  # rows like scene[top:..., 0:width]
                sink.write(top, rows)

A `Scene` has `shape`, `dtype` and ``scene[rows, columns]`` as an array has, so it passes for one
in `util.restore.bands`. Always read from the input, in any order; nothing is written beside it.
Rows are written from the top down, in any heights; see `util.pictures.geotiff_write`. Scene and
sinks stay in one thread, and sinks are closed before their scene. Of what people have, `Unfit`
files are left to `util.pictures.read`.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile

from util.pictures import gdal, geotiff_write
from util.pictures.border import border_in, is_black, near_border, step_of
from util.pictures.geotiff_facts import Unfit, facts_of, head_of, pixel_m
from util.pictures.geotiff_layout import packing
from util.pictures.original import (
    NO_GROUND,
    as_opaque,
    filled,
    in_type,
    is_no_mask,
    tells_ground,
)
from util.pictures.pixels import PictureError, checked_scale, top_of
from util.pictures.read import TIFF_STARTS
from util.pictures.stretch import BITS_8, stretch_of

available = gdal.available
_MOST_BLOCK_BYTES = 2**30
_RGB = ("red", "green", "blue")
_WHOLE = slice(None), slice(None)
_GEO_TAGS = (33550, 33922, 34264, 34735)  # scale, tie points, transform, keys


def is_tiff(path: str | Path) -> bool:
    """Tell whether a file is a TIFF, by its content."""
    try:
        with open(path, "rb") as file:
            return file.read(4) in TIFF_STARTS
    except OSError:
        return False


def loss_without_rasterio(path: str | Path) -> str:
    """Return what to tell of a GeoTIFF where rasterio is absent, nothing of another file."""
    try:
        with tifffile.TiffFile(path) as tiff:
            if not any(tag in tiff.pages.first.tags for tag in _GEO_TAGS):
                return ""
    except Exception:  # whoever reads it says what is wrong with it
        return ""
    return f"note: GeoTIFFs go through whole, in memory, and lose their overviews; {gdal.MISSING}"


@contextlib.contextmanager
def open_scene(
    path: str | Path,
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    full_scale: float | None = None,
) -> Iterator["Scene"]:
    """Open a GeoTIFF as a `Scene`.

    Parameters
    ----------
    path : str or Path
    bands : three int, or one for grey, from 1 on
        Red, green and blue [by their colour roles, else the first three; of fewer the first].
    nodata : float
        The value of pixels that are no ground [what the file says].
    full_scale : float
        What means white in files that have no scales themselves; of 8 bits from 2 to 255.

    Raises
    ------
    UserError
        rasterio is not installed.
    PictureError
        The file is missing, cut or damaged, has no such bands, or shows no ground. `Unfit`, which
        is one, for a palette, 1 to 7 bits, inverted or other colours, complex numbers, and EXIF
        that turns it.
    """
    path, full_scale = Path(path), checked_scale(full_scale or None)
    with gdal.session():
        page, exif = head_of(path)
        with gdal.reading(path):
            # An absolute path is never taken for an address of another kind.
            dataset = gdal.library().open(path.absolute(), driver="GTiff")
        try:
            with gdal.reading(path):
                facts = facts_of(dataset, page, exif)
                scene = Scene(path, dataset, facts, bands, nodata, full_scale)
            yield scene
        finally:
            with contextlib.suppress(*gdal.failures()):
                dataset.close()


class Scene:
    """Hold an open GeoTIFF; made by `open_scene`.

    Attributes
    ----------
    shape : (int, int, int)
        (H, W, 3).
    dtype : dtype
        Of the pixels: uint8 if the file has 8 bits of which 255 is white, uint16 of all others.
    white : float
        The pixel value that means 1.0: the type's greatest.
    pixel_m : float
        Side of a pixel on the ground, in metres, 0 where the file does not tell.
    stretch : Stretch
        What the file's numbers mean.
    notes : list of str
        What a person should know about it, without the file's name.
    path, facts, type, bands, nodata, has_mask, has_gaps, packing
        For the writer; `bands` from 1 on, one for grey. With `has_gaps` some may be no ground.
    """

    def __init__(self, path, dataset, facts, bands, nodata, full_scale):
        self.path, self.facts, self.notes = path, facts, []
        self._dataset = dataset
        self.type = np.dtype(dataset.dtypes[0])
        if self.type.kind not in "iuf":
            raise Unfit(f"pixels of type {self.type} are no brightness", path)
        self._roles = [role.name for role in self.facts.roles]
        self.bands = self._bands(bands)
        declared = in_type(dataset.nodata, self.type)
        self.nodata = declared if nodata is None else in_type(nodata, self.type)
        # What the file declares it will go on declaring, whatever the user says.
        self._taken = sorted({self.nodata, declared} - {None})
        flags = [flag.name for flag in dataset.mask_flag_enums[self.bands[0] - 1]]
        self._alpha = self._roles.index("alpha") + 1 if "alpha" in self._roles else None
        self.has_mask = "per_dataset" in flags and "alpha" not in flags
        self.packing, note = packing(self.facts)
        self.notes += [note] if note else []
        self.shape = (dataset.height, dataset.width, 3)
        self._check_blocks()
        if self._alpha and is_no_mask(as_opaque(self._thinned_of(self._alpha))):
            self.notes.append(f"its band {self._alpha} has too many values for alpha, and is none")
            self._alpha = None
        self._border = None
        self._border = self._find_border()
        self.has_gaps = (
            self._border is not None
            or self.has_mask
            or self._alpha is not None
            or self.nodata is not None
            or self.type.kind == "f"
        )
        self.stretch = self._stretch(full_scale)
        self.dtype = np.dtype(np.uint8 if self.stretch is BITS_8 else np.uint16)
        self.white = float(top_of(self.dtype))
        self.pixel_m = pixel_m(self.facts.profile)
        if dataset.subdatasets:
            self.notes.append("its further pages stay behind")
        self.notes += self.facts.left_behind()
        if not self.facts.is_placed:
            self.notes.append("has no georeference, so its results have none")

    def __getitem__(self, at: tuple[slice, slice]) -> np.ndarray:
        """Return pixels (h, w, 3); what is no ground mirrors the nearest ground."""
        values = self._read(at)
        pixels, ground = self.pixels(values), self.ground(values, at)
        if ground is None or ground.all():
            return pixels
        return filled(pixels, ground) if ground.any() else np.zeros_like(pixels)

    def valid(self, rows: slice, columns: slice) -> np.ndarray:
        """Return where pixels are ground, bool (h, w)."""
        values = self._read((rows, columns))
        ground = self.ground(values, (rows, columns))
        return np.ones(values.shape[:2], bool) if ground is None else ground

    def stored(self, rows: slice, columns: slice) -> np.ndarray:
        """Return all bands as they are stored, (B, h, w)."""
        with gdal.reading(self.path):
            return self._dataset.read(window=self.window((rows, columns)))

    def mask(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the mask that the file has besides its bands, uint8 (h, w)."""
        with gdal.reading(self.path):
            return self._dataset.read_masks(self.bands[0], window=self.window((rows, columns)))

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Return values of the three bands, (h, w, 3), as pixels."""
        return self.stretch.pixels(values)

    def values(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels (h, w, 3) in the file's numbers, none of them nodata."""
        values = self.stretch.values(pixels, self.type)
        whole = self.type.kind in "iu"
        if "nbits" in self.packing and whole:
            np.minimum(values, 2 ** int(self.packing["nbits"]) - 1, out=values)
        step = 1 if whole else self.stretch.step
        for _ in self._taken:  # as often: beside one may be the other
            for taken in self._taken:
                down = taken >= np.min(self.stretch.high)
                values[values == taken] = taken - step if down else taken + step
        return values

    def create(
        self,
        path: str | Path,
        *,
        format: str = "same",
        options: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> contextlib.AbstractContextManager["geotiff_write.Sink"]:
        """Return a sink, as a context, for the restored scene; see `geotiff_write.create`.

        It takes rows as those of the scene.
        """
        return geotiff_write.create(
            self, path, format=format, options=options or {}, tags=tags or {}
        )

    def create_grey(
        self,
        path: str | Path,
        name: str,
        *,
        format: str = "same",
        options: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> contextlib.AbstractContextManager["geotiff_write.Sink"]:
        """Return a sink, as a context, for what is found at each pixel, 0..255 for 0..1.

        It takes uint8 (h, W) and makes one band, called `name`, on the scene's grid.
        """
        return geotiff_write.create_grey(
            self, path, name, format=format, options=options or {}, tags=tags or {}
        )

    def window(self, at: tuple[slice, slice]) -> object:
        """Return a rasterio window of two slices without steps."""
        rows, columns = (range(side)[part] for side, part in zip(self.shape, at, strict=False))
        return gdal.library().windows.Window(columns.start, rows.start, len(columns), len(rows))

    def _check_blocks(self):
        """A tile or strip is in memory whole, with all its bands."""
        bands = 1 if self.facts.page.planarconfig == 2 else len(self._roles)
        size = math.prod(self.facts.blocks) * bands * self.type.itemsize
        if size > _MOST_BLOCK_BYTES:
            raise PictureError(
                f"one tile or strip of it takes {size // 2**20} MB; write it in tiles first: "
                "gdal_translate -co TILED=YES -co COMPRESS=DEFLATE",
                self.path,
            )

    def _read(self, at):
        with gdal.reading(self.path):
            values = self._dataset.read(self._three(), window=self.window(at))
        return np.ascontiguousarray(np.moveaxis(values, 0, -1))

    def _three(self):
        return self.bands * (3 // len(self.bands))

    def ground(self, values, at=None, shape=None):
        """Return where values (h, w, 3) are ground, bool (h, w), None if they are everywhere.

        They were read `at` two slices, or as the whole, decimated to `shape`.
        """
        found = tells_ground(values, self.nodata)
        if self._border is not None:
            at_border = near_border(self._border, shape or self.shape, *(at or _WHOLE))
            found.append(~(at_border & is_black(values)))
        how = {"window": self.window(at)} if at else {"out_shape": shape}
        with gdal.reading(self.path):
            if self._alpha:
                found.append(self._dataset.read(self._alpha, **how) != 0)
            if self.has_mask:
                found.append(self._dataset.read_masks(self.bands[0], **how) != 0)
        return np.logical_and.reduce(found) if found else None

    def _bands(self, wanted):
        count = self._dataset.count
        if wanted:
            wanted = [int(band) for band in wanted]
            if len(wanted) not in (1, 3) or len(set(wanted)) != len(wanted):
                raise PictureError(
                    f"bands {wanted}: three different ones, or one for grey", self.path
                )
            if not all(1 <= band <= count for band in wanted):
                raise PictureError(f"bands {wanted}: it has bands 1 to {count}", self.path)
            return wanted
        if set(_RGB) <= set(self._roles):
            return [self._roles.index(role) + 1 for role in _RGB]
        colours = [band for band in range(1, count + 1) if self._roles[band - 1] != "alpha"]
        if len(colours) > 3:
            self.notes.append("no roles of its bands: 1, 2, 3 pass for red, green, blue")
        return colours[:3] if len(colours) >= 3 else [1]

    def _stretch(self, full_scale):
        three = np.array(self._three()) - 1
        told = (
            np.array(n, np.float64)[three]
            for n in (self.facts.per_band["scales"], self.facts.per_band["offsets"])
        )
        stretch = stretch_of(self.type, *told, full_scale, self._sample)
        if stretch is None:
            raise PictureError(NO_GROUND, self.path)
        return stretch

    def _find_border(self):
        """Return the black border that no tag tells of, thinned out, None without one."""
        ends = [(slice(0, 1), slice(side - 1, side)) for side in self.shape[:2]]
        corners = itertools.product(*ends)
        if not any(is_black(self._read(at)) & self.valid(*at) for at in corners):
            return None
        return border_in(is_black(self._thinned), step_of(*self.shape[:2]))

    @cached_property
    def _thinned(self):
        """The values of the three bands, a pixel of many, (h, w, 3)."""
        return np.ascontiguousarray(np.moveaxis(self._thinned_of(self._three()), 0, -1))

    def _thinned_of(self, bands):
        """Return a pixel of many of a band, (h, w), or of several."""
        step = step_of(*self.shape[:2])
        shape = [max(1, side // step) for side in self.shape[:2]]
        with gdal.reading(self.path):
            return self._dataset.read(bands, out_shape=(*np.shape(bands), *shape))

    def _sample(self):
        """Return values of ground, (N, 3), of the whole scene, thinned out."""
        values = self._thinned
        ground = self.ground(values, shape=values.shape[:2])
        return values.reshape(-1, 3) if ground is None else values[ground]
