"""Write what was made of a scene as a GeoTIFF on its grid, with all that the scene carries.

Only pixels that changed are brought back into the file's own numbers; all others, and all other
bands, are copied. Rows are written block by block, so that memory does not grow with their number.
"""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from util import files
from util.pictures import gdal
from util.pictures.carried import add_tags
from util.pictures.geotiff_facts import put, put_crs, put_first, put_place, tag
from util.pictures.geotiff_layout import (
    add_overviews,
    add_roles,
    check_file,
    copy_to_cog,
    layout_of,
    try_options,
)

PROVENANCE = "CLOUD_REMOVAL"  # the domain of the tags that tell how a result was made
FORMATS = ("same", "cog")
_BESIDE = (".tfw", ".RPB", "_RPC.TXT")  # what creation options have GDAL write besides
_UNIT_ROWS = 64  # at least so many rows are written at once
_AT_ONCE = 1_000_000  # pixels brought back at once
_ALPHA = {0: "NO", 1: "PREMULTIPLIED", 2: "NON-PREMULTIPLIED"}  # by TIFF's extrasamples


class Sink:
    """Take rows from the top down, in any heights; made by `create` and `create_grey`."""

    def __init__(self, scene, dataset, make, has_mask, restored):
        self._scene, self._dataset, self._make, self._has_mask = scene, dataset, make, has_mask
        self._height, self._width, bands = scene.shape
        # What rows have to be: type, and shape without their number.
        self._like = (scene.dtype, (self._width, bands)) if restored else (np.uint8, (self._width,))
        high, self._step = dataset.block_shapes[0]
        self._unit = high * -(-_UNIT_ROWS // high)
        self._waiting, self._next, self._done = [], 0, 0

    def write(self, top: int, rows: np.ndarray) -> None:
        """Take the rows from `top` on, which is where the last ended.

        Raises ValueError for other rows, PictureError if the scene cannot be read, OSError with
        the path if the file cannot be written.
        """
        dtype, shape = self._like
        if rows.dtype != dtype or rows.shape[1:] != shape:
            raise ValueError(
                f"rows must be {np.dtype(dtype)} (h, *{shape}), not {rows.dtype} {rows.shape}"
            )
        if top != self._next or top + len(rows) > self._height:
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
    gdal.Refused
        GDAL does not take the options. A UserError: they are the scene's.
    ValueError
        At the end rows are missing.
    OSError
        With the path: it cannot be written.
    """
    facts, page, changed = scene.facts, scene.facts.page, set()

    def make(at, rows):
        columns = slice(0, scene.shape[1])
        values = scene.stored(at, columns)
        step = max(1, _AT_ONCE // scene.shape[1])
        for top in range(0, len(rows), step):
            part = slice(top, top + step)
            place = slice(at.start + top, min(at.start + top + step, at.stop)), columns
            changed.update(_take(scene, values[:, part], rows[part], place))
        return values, scene.mask(at, columns) if scene.has_mask else None

    contents = {
        **{name: facts.profile[name] for name in ("count", "dtype", "nodata")},
        "photometric": "MINISBLACK" if page.photometric == 1 else "RGB",
        "alpha": _ALPHA.get(int((page.extrasamples or [0])[0]), "NO"),
        "interleave": "band" if page.planarconfig == 2 else "pixel",
        **scene.packing,
    }
    how = {"format": format, "options": options, "tags": tags, "has_mask": scene.has_mask}
    describe = partial(put, facts, changed=changed)
    return _file(scene, Path(path), contents, make, describe, restored=True, **how)


def create_grey(
    scene: object, path: str | Path, name: str, *, format: str, options: Mapping, tags: Mapping
) -> contextlib.AbstractContextManager[Sink]:
    """Return a context with a `Sink` for uint8 (h, W), 0..255 for 0..1; else as `create`.

    What is no ground in the scene is masked, and 0.
    """

    def make(at, rows):
        valid = scene.valid(at, slice(0, scene.shape[1])) if scene.has_gaps else None
        return (rows if valid is None else rows * valid)[None], valid

    def describe(result):
        put_place(scene.facts, result)
        result.descriptions, result.units, result.scales = (name,), ("1",), (1 / 255,)

    contents = {
        "count": 1,
        "dtype": "uint8",
        "photometric": "MINISBLACK",
        "compress": "deflate",
        "predictor": 2,
    }
    tags = {"UNIT": f"{name}, 0 to 1", "SCALE": "1/255", **tags}
    how = {"format": format, "options": options, "tags": tags, "has_mask": scene.has_gaps}
    return _file(scene, Path(path), contents, make, describe, **how)


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


# --- files ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _file(
    scene, path, contents, make, describe, *, format, options, tags, has_mask, restored=False
):
    """Yield a `Sink` on a file that takes the place of `path` at the end; see `create`.

    restored : bool
        It has the scene's own bands, and so their roles, and its EXIF.
    """
    facts = scene.facts
    options = {name.lower(): value for name, value in options.items()}
    layout = layout_of(facts, contents, format, options)
    pages = (1 + has_mask) * (1 + len(facts.overviews))
    settings = {"GDAL_PAM_ENABLED": False, "GDAL_TIFF_INTERNAL_MASK": True}
    beside = (*_BESIDE, f"{path.suffix}.aux.xml")
    with files.in_place_of(path, beside) as temporary, gdal.session(**settings):
        temporary.touch()  # a folder that takes no file is told by the system, with its number
        temporary.unlink()
        if options:
            try_options(layout, options)
        with files.scratch(path) if layout.cog else contextlib.nullcontext(temporary) as place:
            with _made(place, path, layout.tiles) as result:
                put_first(facts, result, roles=restored)
                sink = Sink(scene, result, make, has_mask, restored)
                yield sink
                sink.finish()
                with gdal.writing(path):
                    describe(result)
                    tag(result, PROVENANCE, {**tags, "STRETCH": scene.stretch})
                    add_overviews(result, facts)
            if restored and facts.exif and not layout.cog:  # whose head has to stay in front
                with open(place, "r+b") as file:
                    add_tags(file, facts.exif)
            check_file(place, pages)
            if restored:
                with gdal.writing(path):
                    add_roles(place, facts.roles)
            if layout.cog:
                with gdal.writing(path):
                    copy_to_cog(place, temporary, layout.cog)
                check_file(temporary, pages)
        with gdal.writing(path):
            put_crs(facts, temporary)
        files.sync(temporary)


@contextlib.contextmanager
def _made(place, path, tiles):
    """Yield a dataset that is closed at the end; what cannot be closed is an error."""
    result = None
    try:
        with gdal.writing(path):
            result = gdal.library().open(place, "w", **tiles)
        yield result
    except BaseException:
        if result:
            with contextlib.suppress(*gdal.failures()):
                result.close()
        raise
    with gdal.writing(path):
        result.close()
