"""GDAL by way of rasterio, which is optional: the only module that imports it.

Open files stay in the thread that opened them, and within `session`.
"""

import contextlib
import errno
import logging
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from util.pictures.pixels import PictureError
from util.say import UserError

MISSING = "GeoTIFF scenes need rasterio: pip install -r requirements-geo.txt"
_NOT_UTF_8 = "its name, or that of a folder, is not UTF-8, and GDAL takes no other; rename it"
# Of decoded blocks: a row of tiles 40,000 pixels wide should fit, or each is decoded many times. By
# itself GDAL takes a twentieth of the memory.
CACHE_BYTES = 2**28

# That a scene has no georeference is told once, by `util.pictures.geotiff.Scene.notes`.
warnings.filterwarnings("ignore", module="rasterio")


class Refused(UserError):
    """Creation options that GDAL does not take, of any file or of one like this."""


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """Return rasterio with its log silenced: what that tells, our one-line errors say too.

    Raises UserError where it is not installed.
    """
    try:
        import rasterio
        import rasterio.shutil
        import rasterio.warp
    except ImportError:
        raise UserError(MISSING) from None
    log = logging.getLogger("rasterio")
    log.propagate, log.level = False, logging.WARNING
    log.addHandler(logging.NullHandler())
    return rasterio


def available() -> bool:
    """Tell whether rasterio is installed and can be loaded."""
    try:
        return bool(library())
    except UserError:
        return False


@contextlib.contextmanager
def session(**options: object):
    """Hold settings of GDAL; the last that is entered is left first."""
    with library().Env(GDAL_CACHEMAX=CACHE_BYTES, **options):
        yield


def failures() -> tuple[type[Exception], ...]:
    """Return the classes of what GDAL fails with."""
    rasterio = library()
    return rasterio.errors.RasterioError, rasterio._err.CPLE_BaseError


@contextlib.contextmanager
def reading(path: Path):
    """Make a PictureError, with the file's name, of what GDAL fails with."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise PictureError(_NOT_UTF_8, path) from error
    except failures() as error:
        raise PictureError(f"damaged or cut ({_first_cause(error)})", path) from error


@contextlib.contextmanager
def writing(path: Path):
    """Make an OSError, with the file's name, of what GDAL fails with: it tells no number.

    Of a name that GDAL cannot take, a PictureError.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise PictureError(_NOT_UTF_8, path) from error
    except failures() as error:
        reason = f"cannot be written, the disk may be full ({_first_cause(error)})"
        raise OSError(errno.EIO, reason, str(path)) from error


@contextlib.contextmanager
def trying(options: Mapping[str, object]):
    """Make a `Refused` of what GDAL has to say against creation options, warnings included."""
    log, told = logging.getLogger("rasterio"), _Told()
    log.addHandler(told)
    try:
        yield
    except failures() as error:
        told.lines.append(_first_cause(error))
    finally:
        log.removeHandler(told)
    if told.lines:
        given = " ".join(f"{name.upper()}={value}" for name, value in options.items())
        raise Refused(f"creation options {given}: {told.lines[0]}")


class _Told(logging.Handler):
    """Collect what GDAL tells."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
