"""Write what was made of a scene as a GeoTIFF on its grid, with all that the scene carries.

Only pixels that changed are brought back into the file's own numbers; all others, and all other
bands, are copied. Rows are written block by block, so that memory does not grow with their number.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile

from util import files
from util.pictures import gdal
from util.pictures.read import check_whole
from util.say import UserError

PROVENANCE = "CLOUD_REMOVAL"  # the domain of the tags that tell how a result was made
FORMATS = ("same", "cog")
_UNIT_ROWS = 64  # at least so many rows are written at once
_KEPT = ("lzw", "deflate", "zstd", "lzma", "packbits", "lerc", "lerc_deflate", "lerc_zstd")
_LOSSY = ("jpeg", "webp", "jxl")
_NOT_CARRIED = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "EXIF")
_ALPHA = {0: "NO", 1: "PREMULTIPLIED", 2: "NON-PREMULTIPLIED"}  # by TIFF's extrasamples
_OF_US = frozenset(["driver", "width", "height", "count", "dtype", "crs", "transform", "nodata"])
_COG_BLOCK = 512
_METADATA = 42112  # GDAL's tag for tags


def placed(dataset: object) -> bool:
    """Tell whether a rasterio dataset has a transform: what has none gets the identity."""
    return not dataset.transform.is_identity


class Sink:
    """Take rows from the top down, in any heights; made by `create` and `create_grey`."""

    def __init__(self, scene, dataset, make, has_mask):
        self._scene, self._dataset, self._make, self._has_mask = scene, dataset, make, has_mask
        self._height, self._width, _ = scene.shape
        high, self._step = dataset.block_shapes[0]
        self._unit = high * -(-_UNIT_ROWS // high)
        self._waiting, self._next, self._done = [], 0, 0

    def write(self, top: int, rows: np.ndarray) -> None:
        """Take the rows from `top` on, which is where the last ended.

        Raises ValueError for other rows, PictureError if the scene cannot be read, OSError with
        the path if the file cannot be written.
        """
        if top != self._next or top + len(rows) > self._height or rows.shape[1] != self._width:
            raise ValueError(f"rows {rows.shape} from {top} do not follow the first {self._next}")
        self._next += len(rows)
        self._waiting.append(rows.copy())
        whole = self._next == self._height
        ready = self._next if whole else self._next // self._unit * self._unit
        if ready == self._done:
            return
        rows = np.concatenate(self._waiting)
        for start in range(self._done, ready, self._unit):
            end = min(start + self._unit, ready)
            self._put(slice(start, end), rows[start - self._done : end - self._done])
        self._waiting, self._done = [rows[ready - self._done :].copy()], ready

    def finish(self) -> None:
        """Raise ValueError if rows are missing."""
        if self._done != self._height:
            raise ValueError(f"only {self._next} of {self._height} rows were written")

    def _put(self, at, rows):
        values, mask = self._make(at, rows)
        # Block by block, with all its bands: a block that is written twice is stored twice.
        for left in range(0, self._width, self._step):
            columns = slice(left, min(left + self._step, self._width))
            window = self._scene.window((at, columns))
            with gdal.writing(self._dataset.name):
                self._dataset.write(values[..., columns], window=window)
                if self._has_mask:
                    self._dataset.write_mask(mask[..., columns], window=window)


def create(
    scene: object, path: str | Path, *, format: str, options: Mapping, tags: Mapping
) -> contextlib.AbstractContextManager[Sink]:
    """Return a context with a `Sink` for restored rows, uint8 or uint16 (h, W, 3) like the scene's.

    Parameters
    ----------
    scene : util.pictures.geotiff.Scene
    path : str or Path
        Takes its place whole at the end, or not at all. Its folder exists.
    format : str
        "same": tiles or strips, compression and overviews are the scene's. "cog": a cloud-optimised
        GeoTIFF, which a scene that is one becomes anyway.
    options : dict
        GDAL's creation options, such as {"COMPRESS": "ZSTD"}; they win.
    tags : dict
        How it was made: goes into the domain `PROVENANCE`, with the scene's stretch.

    Raises
    ------
    UserError
        GDAL does not take the options.
    ValueError
        At the end rows are missing.
    OSError
        With the path: it cannot be written.
    """
    dataset, page = scene.dataset, scene.page
    changed = set()

    def make(at, rows):
        columns = slice(0, scene.shape[1])
        values = scene.stored(at, columns)
        changed.update(_take(scene, values, rows, (at, columns)))
        return values, scene.mask(at, columns) if scene.has_mask else None

    def describe(result):
        spaces = [space for space in dataset.tag_namespaces() if space not in _NOT_CARRIED]
        for space in (None, *spaces):
            _tag(result, space, dataset.tags(ns=space))
        for band in dataset.indexes:
            for space in (None, *dataset.tag_namespaces(band)):
                if space not in _NOT_CARRIED:
                    kept = dataset.tags(band, ns=space).items()
                    stale = band in changed
                    kept = {k: v for k, v in kept if not (stale and k.startswith("STATISTICS_"))}
                    result.update_tags(band, ns=space, **kept)
        for name in ("descriptions", "units", "scales", "offsets"):
            setattr(result, name, getattr(dataset, name))

    layout = {
        "count": dataset.count,
        "dtype": scene.type.name,
        "nodata": dataset.nodata,
        "photometric": "MINISBLACK" if page.photometric == 1 else "RGB",
        "alpha": _ALPHA.get(int((page.extrasamples or [0])[0]), "NO"),
        "interleave": "band" if page.planarconfig == 2 else "pixel",
        **scene.packing,
    }
    how = {"format": format, "options": options, "tags": tags, "has_mask": scene.has_mask}
    return _file(scene, Path(path), layout, make, describe, roles=dataset.colorinterp, **how)


def create_grey(
    scene: object, path: str | Path, name: str, *, format: str, options: Mapping, tags: Mapping
) -> contextlib.AbstractContextManager[Sink]:
    """Return a context with a `Sink` for uint8 (h, W), 0..255 for 0..1; else as `create`.

    What is no ground in the scene is masked.
    """

    def make(at, rows):
        valid = scene.valid(at, slice(0, scene.shape[1])) if scene.has_gaps else None
        return rows[None], valid

    def describe(result):
        for space in (None, "RPC"):
            kept = scene.dataset.tags(ns=space)
            _tag(result, space, {k: v for k, v in kept.items() if space or k == "AREA_OR_POINT"})
        result.descriptions, result.units, result.scales = (name,), ("1",), (1 / 255,)

    layout = {
        "count": 1,
        "dtype": "uint8",
        "photometric": "MINISBLACK",
        "compress": "deflate",
        "predictor": 2,
    }
    tags = {"UNIT": f"{name}, 0 to 1", "SCALE": "1/255", **tags}
    how = {"format": format, "options": options, "tags": tags, "has_mask": scene.has_gaps}
    return _file(scene, Path(path), layout, make, describe, **how)


def _take(scene, values, rows, at):
    """Bring rows back into values (B, h, W), where they changed; return the bands that did."""
    places = [band - 1 for band in scene.bands]
    colours = np.moveaxis(values[places * (3 // len(places))], 0, -1)
    changed = rows != scene.pixels(colours)
    ground = scene.ground(colours, at)
    if ground is not None:
        changed &= ground[..., None]
    if not changed.any():
        return set()
    if len(places) == 1:
        changed = changed.any(axis=-1, keepdims=True)
        mean = np.rint(rows.mean(axis=-1, keepdims=True, dtype=np.float32)).astype(rows.dtype)
        rows = np.repeat(mean, 3, axis=-1)
    made = scene.values(rows)
    for place, band in enumerate(places):
        np.copyto(values[band], made[..., place], where=changed[..., place])
    return {band + 1 for place, band in enumerate(places) if changed[..., place].any()}


def packing(dataset: object) -> tuple[dict, str]:
    """Return how a dataset's pixels are packed, without loss, as options; and what to tell of it.

    What GDAL writes is kept, anything else becomes deflate.
    """
    kind, how, note = dataset.profile.get("compress", "").lower(), {}, ""
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    if kind in _KEPT:
        how = {"compress": kind}
        if "PREDICTOR" in structure:
            how["predictor"] = structure["PREDICTOR"]
    elif kind:
        how = {"compress": "deflate"} if bits else {"compress": "deflate", "predictor": 2}
        larger = ", without loss and larger" if kind in _LOSSY else ""
        note = f"TIFFs with {kind} are written with deflate{larger}"
    return {**how, "nbits": bits} if bits else how, note


# --- files ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _file(scene, path, layout, make, describe, *, format, options, tags, has_mask, roles=None):
    """Yield a `Sink` on a file that takes the place of `path` at the end; see `create`."""
    dataset = scene.dataset
    options = {name.lower(): value for name, value in options.items()}
    ours = sorted(_OF_US & options.keys())
    if ours:
        raise UserError(f"creation option {ours[0]}: is the scene's; leave it out")
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    cog = format == "cog" or structure.get("LAYOUT") == "COG"
    high, wide = dataset.block_shapes[0]
    layout |= {"driver": "GTiff", "height": dataset.height, "width": dataset.width}
    layout |= {"crs": dataset.crs, "bigtiff": "IF_SAFER"}
    if placed(dataset):
        layout["transform"] = dataset.transform
    if cog:
        final = {"blocksize": wide if structure.get("LAYOUT") == "COG" else _COG_BLOCK}
        final |= {"compress": layout.get("compress", "deflate"), "bigtiff": "IF_SAFER", **options}
        final.setdefault("predictor", "YES" if "nbits" not in layout else "NO")
        layout |= {"tiled": True, "blockxsize": _COG_BLOCK, "blockysize": _COG_BLOCK}
        layout |= {"compress": "deflate", "zlevel": 1}
    else:
        blocks = {"tiled", "blockxsize", "blockysize"}
        if not blocks & options.keys():
            layout["blockysize"] = high
            if dataset.profile["tiled"]:
                layout |= {"tiled": True, "blockxsize": wide}
        if "compress" in options:
            layout.pop("predictor", None)
        layout |= options
    pages = (1 + has_mask) * (1 + len(dataset.overviews(1)))
    settings = {"GDAL_PAM_ENABLED": False, "GDAL_TIFF_INTERNAL_MASK": True}
    settings["PREDICTOR_OVERVIEW"] = layout.get("predictor", 1)
    with files.in_place_of(path) as temporary, gdal.session(**settings):
        temporary.touch()  # a folder that takes no file is told by the system, with its number
        temporary.unlink()
        with files.scratch(path) if cog else contextlib.nullcontext(temporary) as place:
            with _made(place, path, layout, {} if cog else options) as result:
                if roles:
                    result.colorinterp = roles
                points, crs = dataset.gcps
                if points:
                    result.gcps = points, crs or gdal.library().crs.CRS()
                sink = Sink(scene, result, make, has_mask)
                yield sink
                sink.finish()
                with gdal.writing(path):
                    describe(result)
                    _tag(result, PROVENANCE, {**tags, "STRETCH": scene.stretch})
                    _add_overviews(result, dataset)
            _check(place, pages)
            if cog:
                with gdal.creating(path, options):
                    _copy_to_cog(place, temporary, final)
                _check(temporary, pages)
        files.sync(temporary)


@contextlib.contextmanager
def _made(place, path, layout, options):
    """Yield a dataset that is closed at the end; what cannot be closed is an error."""
    result = None
    try:
        with gdal.creating(path, options):
            result = gdal.library().open(place, "w", **layout)
        yield result
    except BaseException:
        if result:
            with contextlib.suppress(*gdal.failures()):
                result.close()
        raise
    with gdal.writing(path):
        result.close()


def _tag(result, space, tags):
    """Set tags of a domain."""
    tags = {name: str(value) for name, value in tags.items()}
    if space and space.startswith("xml:"):
        # rasterio joins name and value by an equals sign, which GDAL takes for the document.
        name, _, value = next(iter(tags.values())).partition("=")
        tags = {name: value}
    if tags:
        result.update_tags(ns=space, **tags)


def _add_overviews(result, dataset):
    """Make the overviews that a scene has anew, of new pixels."""
    factors = dataset.overviews(1)
    if factors:
        kind = dataset.tags(ns="rio_overview").get("resampling", "average")
        kinds = gdal.library().enums.Resampling
        result.build_overviews(factors, getattr(kinds, kind, kinds.average))


def _copy_to_cog(place, result, options):
    """Copy a tiled file to a cloud-optimised one, tags of every domain included.

    GDAL leaves out those of other domains, or else those of the bands. So it is made to leave room
    for the text that holds them all, which then takes its place; nothing moves.
    """
    with tifffile.TiffFile(place) as tiff:
        text = tiff.pages.first.tags[_METADATA].value
    rasterio = gdal.library()
    with rasterio.open(place, "r+") as file:
        file.update_tags(ROOM="x" * len(text))
    rasterio.shutil.copy(place, result, driver="COG", **options)
    with tifffile.TiffFile(result, mode="r+b") as tiff:
        tiff.pages.first.tags[_METADATA].overwrite(text)


def _check(path, pages):
    """Raise OSError if a file is not whole, or has fewer `pages`.

    On a full disk GDAL closes it in silence.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.pages) < pages:
                raise ValueError("pages are missing")
            for page in tiff.pages:
                check_whole(page, tiff.filehandle.size)
                if not all(page.databytecounts):
                    raise ValueError("parts are missing")
    except Exception as error:  # decoders meet damage with errors of every class
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
