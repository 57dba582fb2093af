"""GeoTIFF scenes at work: which files are taken as such, what they are read and written as."""

import contextlib
import math
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from util import files
from util.pictures import gdal
from util.pictures.carried import TIFF_SUFFIXES
from util.pictures.geotiff import is_tiff, loss_without_rasterio, open_scene
from util.say import UserError

FORMATS = ("same", "cog", "png")
_IN_MEMORY_BYTES = 2**28  # a scene's ground beyond that is kept in a file
_NOTHING = MappingProxyType({})


class Scenes(NamedTuple):
    """How GeoTIFF scenes are read and written.

    bands, nodata
        As `util.pictures.geotiff.open_scene` takes them.
    format : {"same", "cog", "png"}
        With png none is taken as a scene, and every picture comes out as PNG.
    options : mapping
        GDAL's creation options for the restored scene.
    maps : tuple of str
        Extras of the `util.use.pictures.Way` that are written on the scene's grid.
    tags : mapping
        How results were made.
    """

    bands: tuple[int, ...] | None = None
    nodata: float | None = None
    format: str = "same"
    options: Mapping[str, str] = _NOTHING
    maps: tuple[str, ...] = ()
    tags: Mapping[str, str] = _NOTHING

    @property
    def asked(self):
        """What the user asked for that only scenes have, as text; "" for nothing."""
        given = {
            "--bands": self.bands,
            "--nodata": self.nodata is not None,
            "--co": self.options,
            "--format cog": self.format == "cog",
        }
        return ", ".join(option for option, is_given in given.items() if is_given)

    def check(self):
        """Raise UserError if no file can be taken as the user asks."""
        if self.asked and self.format == "png":
            raise UserError(f"{self.asked}: only for GeoTIFF results; leave out --format png")
        if self.asked and not gdal.available():
            raise UserError(f"{self.asked}: {gdal.MISSING}")

    def takes(self, path):
        """Tell whether a file is to be opened as a scene, which may still be `Unfit`."""
        is_named = path.suffix.lower() in TIFF_SUFFIXES and self.format != "png"
        return is_named and is_tiff(path) and gdal.available()

    def open(self, path, full_scale):
        """Return a context with the `util.pictures.geotiff.Scene` of a file."""
        return open_scene(path, bands=self.bands, nodata=self.nodata, full_scale=full_scale)

    @contextlib.contextmanager
    def sinks(self, scene, restored, maps):
        """Yield sinks of the restored scene and of each map; files appear in the end, it last.

        maps : dict name -> Path
        """
        how = {"format": self.format, "tags": self.tags}
        with contextlib.ExitStack() as stack:
            ground = scene.create(restored, options=self.options, **how)
            greys = (scene.create_grey(path, name, **how) for name, path in maps.items())
            yield [stack.enter_context(sink) for sink in (ground, *greys)]

    def tell(self, path, note, why="is no GeoTIFF"):
        """Say what becomes of a file that is no scene, if the user may expect something else."""
        if self.asked:
            text = f"{path}: {why}; {self.asked} not heeded, here and in others that are no scenes"
            note("no scene", text)
        elif not gdal.available():
            lost = loss_without_rasterio(path)
            if lost:
                note("no rasterio", f"{path}: {lost}")


@contextlib.contextmanager
def room_for(scene, path):
    """Yield room for slices like a scene, a lot of it in a file beside `path`, gone at the end."""
    size = math.prod(scene.shape) * scene.dtype.itemsize
    if size <= _IN_MEMORY_BYTES:
        yield np.empty(scene.shape, scene.dtype)
        return
    with files.scratch(path) as temporary, open(temporary, "w+b") as file:
        if hasattr(os, "posix_fallocate"):  # a disk that is full is told now, not by a crash
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        yield _InFile(file, scene)


class _InFile:
    """An array in a file, mapped for each slice alone: pages once touched count as memory."""

    def __init__(self, file, like):
        self._file, self.shape, self.dtype = file, like.shape, like.dtype

    def __getitem__(self, at):
        return np.array(self._mapped()[at])

    def __setitem__(self, at, values):
        self._mapped()[at] = values

    def _mapped(self):
        return np.memmap(self._file, self.dtype, "r+", shape=self.shape)
