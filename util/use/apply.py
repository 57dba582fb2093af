"""Restore pictures of any size with a trained network.

What comes out follows from what the script's Task says. A network that finds opacity restores the
whole picture, and pixels without cloud are kept (`restore_picture`). One that takes a hole is run
around the holes only, and nothing else changes (`fill_picture`). Of any other every pixel is taken.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from util import interrupt
from util.pictures.find import find_pictures, stem_of
from util.pictures.pixels import PictureError, as_pixels
from util.pictures.read import read_picture
from util.pictures.write import write_picture
from util.restore import tiles
from util.restore.masks import Holes
from util.say import UserError, say

KEPT_FORMATS = (".png", ".tif", ".tiff", ".bmp")  # without loss; others become PNG
_PIXELS = 32_768  # finished at once: few enough to stay in the processor's cache


class Job(NamedTuple):
    """One picture to restore, and the files to write; `opacity` is None where none is found."""

    source: Path
    stem: str  # path within the folder that was given, without suffix
    restored: Path
    opacity: Path | None

    @property
    def outputs(self):
        """The files that are written."""
        return [path for path in (self.restored, self.opacity) if path]


def apply(trained, sources, out, *, overwrite=False, holes=None):
    """Restore every picture of `sources` into the folder `out`; say what was done.

    Parameters
    ----------
    trained : util.use.trained.Trained
    sources : list of str
        Pictures, and folders of pictures with their sub-folders, which `out` will have too.
    out : str
        For ``a.png`` it gets ``a.png``, and ``a_opacity.png`` (8-bit grey, white is opaque) from
        a network that finds opacity.
    overwrite : bool
        Write outputs that exist anew, rather than skip them.
    holes : str, optional
        Masks for a network that takes a hole; see `util.restore.masks.Holes`.

    Returns
    -------
    int
        0, or 1 if there is no output.

    Raises
    ------
    UserError
        `out` cannot be made, is one of the folders of pictures, or cannot be written to; `holes`
        cannot be read.
    """
    out = Path(out)
    finder = find_holes(trained, holes)
    jobs, failed = _plan(trained.task, sources, out, finder.files if finder else set())
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made a folder ({error.strerror})") from None
    done = existing = 0
    single = _Once(
        f"norm = {getattr(trained.settings, 'norm', 'none')}: large pictures go through "
        "in tiles, and with this norm each tile is restored a little differently"
    )
    bar = tqdm(jobs, trained.task.name, unit="picture", disable=None if len(jobs) > 1 else True)
    for job in bar:
        there = [p.name for p in job.outputs if p.exists()]
        if there and not overwrite:
            say(
                f"skipped {job.source}: {' and '.join(there)} exist(s) in {job.restored.parent}; "
                "--overwrite writes anew"
            )
            existing += 1
            continue
        try:
            _restore_file(trained, job, single, finder)
        except PictureError as error:
            say(f"skipped {error}")
            failed += 1
        except ValueError as error:
            say(f"skipped {job.source}: {error}")
            failed += 1
        except OSError as error:
            raise UserError(
                f"{error.filename or job.restored}: {error.strerror}; stopped after "
                f"{done} picture(s)"
            ) from None
        else:
            done += 1
    say(
        f"{done} restored into {out}, {existing} skipped because they exist, {failed} failed; "
        f"network: {trained}"
    )
    return 0 if done or existing else 1


def restore_picture(trained, pixels, *, full_scale=None, progress=None, in_place=False):
    """Restore a whole picture as `apply` does.

    Of a network that finds opacity: where it is below the setting clear_below a pixel comes out
    bit for bit as it went in; from there to twice as much it fades into what the network made, so
    that no edge shows. Of another every pixel is the network's.

    Parameters
    ----------
    trained : util.use.trained.Trained
    pixels : uint8 or uint16 (H, W, 3)
    full_scale : float, optional
        The value that means 1.0, where that is not the type's greatest.
    progress : callable, optional
        Called after each tile.
    in_place : bool
        Write the result over `pixels` (writeable), which saves the memory of a second picture.

    Returns
    -------
    (array like pixels, uint8 (H, W) or None)
        The restored picture and the opacity, if the network finds one.

    Raises
    ------
    ValueError
        The network returned NaN.
    """
    settings = trained.settings
    # Rows that are finished are read no more: the next tiles begin below them. Only in a picture
    # lower than its padding could the reflection at the bottom reach so far, and that is one band.
    restored = pixels if in_place else np.empty_like(pixels)
    finds_opacity = trained.task.finds_opacity
    opacity = np.empty(pixels.shape[:2], np.uint8) if finds_opacity else None
    top_value = float(full_scale or np.iinfo(pixels.dtype).max)
    names = ("restored", "found_opacity") if finds_opacity else ("restored",)

    def function(batch):
        found = trained.restore({n: _scaled(v, pixels, full_scale) for n, v in batch.items()})
        return {name: found[name] for name in names}

    (name,) = trained.task.inputs
    made = tiles.bands(function, {name: pixels}, progress=progress, **tiling(settings))
    for top, band in made:
        at_once = max(1, _PIXELS // pixels.shape[1])
        for start in range(0, len(band["restored"]), at_once):
            rows = slice(start, start + at_once)
            ground = band["restored"][rows]
            at = slice(top + start, top + start + len(ground))
            if not finds_opacity:
                restored[at] = _as_made(ground, pixels.dtype, top_value)
                continue
            found = band["found_opacity"][rows, :, 0]
            restored[at] = keep_clear(
                pixels[at], ground, found, clear_below=settings.clear_below, top_value=top_value
            )
            opacity[at] = as_pixels(found, np.uint8)
    return restored, opacity


def fill_picture(trained, pixels, hole, *, full_scale=None, progress=None, in_place=False):
    """Fill the hole of a picture as `apply` does; every other pixel stays bit for bit.

    Arguments, the restored picture and errors as in `restore_picture`, and

    hole : bool (H, W)
        True where the picture is missing.
    """
    restored = pixels if in_place else pixels.copy()
    top_value = float(full_scale or np.iinfo(pixels.dtype).max)
    missing = hole.astype(np.uint8)
    missing *= 255  # what means 1.0 to util.restore.tiles
    filled = _filled(trained, pixels, missing[..., None], hole, full_scale, progress)
    for rows, columns, made in filled:
        here = hole[rows, columns]
        # What is read later has a hole here, so nothing that is written is ever read.
        restored[rows, columns][here] = _as_made(made[here], pixels.dtype, top_value)
    return restored


def complete(trained, holed, hole):
    """Fill a float32 picture (H, W, 3), 0..1, as `apply` does; return it like `holed`.

    hole : float32 (H, W, 1), 0..1; where it is less than 1 the picture is missing in part.
    """
    restored = holed.copy()
    missing = hole[..., 0] > 0
    for rows, columns, made in _filled(trained, holed, hole, missing):
        here = missing[rows, columns]
        restored[rows, columns][here] = made[here]
    return restored


def _filled(trained, picture, hole, missing, full_scale=None, progress=None):
    """Yield (rows, columns, what the network restored there) until all that is missing was there.

    Each part is float32 (h, w, 3), to be used at once.
    """

    def function(batch):
        hole = batch["hole"]
        if not hole.any():  # a tile between the holes of a large window
            return {"restored": batch["holed"]}
        holed = _scaled(batch["holed"], picture, full_scale)
        return {
            "restored": trained.restore({"holed": holed * (hole < 1), "hole": hole})["restored"]
        }

    for window in hole_windows(trained.settings, missing):
        at = (window.rows, window.columns)
        part = {"holed": picture[at], "hole": hole[at]}
        core, columns = window.core_rows, window.core_columns
        left, right = (n - window.columns.start for n in (columns.start, columns.stop))
        made = tiles.bands(function, part, progress=progress, **tiling(trained.settings))
        for top, band in made:
            top += window.rows.start
            first, last = max(top, core.start), min(top + len(band["restored"]), core.stop)
            if first < last:
                found = band["restored"][first - top : last - top, left:right]
                yield slice(first, last), columns, found


def hole_windows(settings, hole):
    """Return the windows in which a hole, bool (H, W), is filled; see `util.restore.tiles`."""
    return tiles.windows(hole, context_px=settings.apply_margin_px, least_px=settings.crop_px)


def find_holes(trained, place=None):
    """Return the `util.restore.masks.Holes` of a network that takes a hole, None of another."""
    if not trained.task.takes_hole:
        return None
    settings = trained.settings
    return Holes(
        place,
        colour=settings.hole_colour,
        margin_px=settings.hole_margin_px,
        max_pixels=settings.max_pixels,
    )


def _scaled(value, pixels, full_scale):
    """Return float 0..1 over the type's range as 0..1 over the full scale."""
    if not full_scale:
        return value
    return np.minimum(value * np.float32(np.iinfo(pixels.dtype).max / full_scale), 1)


def _as_made(ground, dtype, top_value):
    """Return what the network made, float 0..1, as pixels; ValueError for NaN."""
    _check_sound(ground)
    return np.rint(np.clip(ground, 0, 1) * np.float32(top_value)).astype(dtype)


def _check_sound(*arrays):
    if any(np.isnan(array).any() for array in arrays):
        raise ValueError("the network returned NaN; its weights are not sound")


def keep_clear(pixels, ground, opacity, *, clear_below, top_value):
    """Return the ground as pixels, with those pixels kept that no cloud touches.

    Parameters
    ----------
    pixels : uint8 or uint16 (H, W, 3)
        As they came in.
    ground : float32 (H, W, 3), 0..1
        What the network made.
    opacity : float32 (H, W), 0..1
        Below `clear_below` the result is `pixels`, bit for bit; from twice that on it is `ground`.
    clear_below : float
    top_value : float
        The pixel value that means 1.0.

    Raises
    ------
    ValueError
        `ground` or `opacity` holds NaN.
    """
    _check_sound(ground, opacity)
    share = np.clip(opacity / clear_below - 1, 0, 1) if clear_below else np.ones_like(opacity)
    came = pixels.astype(np.float32)
    made = ground * np.float32(top_value)
    made -= came
    made *= share[..., None]
    made += came
    np.clip(made, 0, np.iinfo(pixels.dtype).max, out=made)
    made = np.rint(made, out=made).astype(pixels.dtype)
    np.copyto(made, pixels, where=(opacity < clear_below)[..., None])
    return made


def tiling(settings):
    """Return the arguments of `util.restore.tiles` that the settings hold."""
    return {"tile_px": settings.apply_tile_px, "margin_px": settings.apply_margin_px}


def _plan(task, sources, out, masks):
    """Return the jobs, one a picture, and how many pictures cannot become one."""
    jobs, failed = [], 0
    claimed, seen = {}, set()
    target = out.resolve()
    for source in map(Path, sources):
        if source.is_dir() and source.resolve() == target:
            raise UserError(f"--out {out}: is the folder of the pictures; name another folder")
        try:
            paths = find_pictures(source)
        except PictureError as error:
            say(f"skipped {error}")
            failed += 1
            continue
        if not paths:
            say(f"skipped {source}: no picture in this folder")
        for path in paths:
            real = path.resolve()
            # What an earlier start wrote is no input, even where --out lies within the folder.
            if real in seen | masks or (source.is_dir() and target in real.parents):
                continue
            seen.add(real)
            job = _job(task, path, source, out)
            names = set(job.outputs)
            taken = next((claimed[name] for name in names if name in claimed), None)
            if taken:
                say(f"skipped {path}: its output would have the name of that of {taken}")
                failed += 1
                continue
            claimed |= dict.fromkeys(names, path)
            jobs.append(job)
    kept = []
    for job in jobs:
        if {path.resolve() for path in job.outputs} & (seen | masks):
            say(f"skipped {job.source}: its output would overwrite a picture that was given")
            failed += 1
        else:
            kept.append(job)
    return kept, failed


def _job(task, path, source, out):
    suffix = path.suffix if path.suffix.lower() in KEPT_FORMATS else ".png"
    stem = stem_of(path, source)
    opacity = out / f"{stem}_opacity.png" if task.finds_opacity else None
    return Job(path, stem, out / f"{stem}{suffix}", opacity)


def _restore_file(trained, job, many_tiles, holes):
    settings = trained.settings
    pixels, full_scale = _read(job.source, settings)
    if pixels.dtype == np.uint16 and job.restored.suffix.lower() == ".bmp":
        raise ValueError("16-bit pixels do not fit into a .bmp; rename the file")
    if holes:
        hole = holes.find(job.source, job.stem, pixels, full_scale=full_scale)
        sizes = [
            (w.rows.stop - w.rows.start, w.columns.stop - w.columns.start)
            for w in hole_windows(settings, hole)
        ]
        if not sizes:
            say(f"{job.source}: nothing is missing; its pixels go out as they came")
    else:
        sizes = [pixels.shape[:2]]
    counts = [tiles.plan(*size, **tiling(settings)).tiles for size in sizes]
    if max(counts, default=0) > 1 and getattr(settings, "norm", "none") in ("group", "instance"):
        many_tiles.say()
    with tqdm(
        total=sum(counts),
        desc=job.source.name,
        unit="tile",
        leave=False,
        disable=None if sum(counts) > 1 else True,
    ) as bar:
        how = {"full_scale": full_scale, "progress": bar.update, "in_place": True}
        if holes:
            restored, opacity = fill_picture(trained, pixels, hole, **how), None
        else:
            restored, opacity = restore_picture(trained, pixels, **how)
    # A signal now waits until both files are whole.
    interrupt.guard()
    try:
        job.restored.parent.mkdir(parents=True, exist_ok=True)
        if job.opacity:
            write_picture(job.opacity, opacity)
        write_picture(job.restored, restored)
    finally:
        interrupt.leave()
    if interrupt.requested():
        raise SystemExit(interrupt.exit_status())


def _read(path, settings):
    """Return the pixels as they are in the file, and the value that means 1.0 if not the type's.

    `read_picture` would rescale 16-bit pixels to a full scale; here they must come out again as
    they went in, so the scale goes along with them.
    """
    limit = {"max_pixels": settings.max_pixels}

    def own(pixels):  # Pillow's are read-only; the result is to be written over them
        return pixels if pixels.flags.writeable else pixels.copy()

    scale = settings.full_scale or None
    if not scale:
        return own(read_picture(path, **limit)), None
    scaled = read_picture(path, full_scale=scale, **limit)
    if scaled.dtype == np.uint8:
        return own(scaled), None
    try:
        raw = read_picture(path, **limit)
    except PictureError:  # floats without a known range: now uint16 over the type's range
        return own(scaled), None
    return own(raw), None if np.array_equal(raw, scaled) else scale


class _Once:
    """A line that is said once."""

    def __init__(self, text):
        self._text = text

    def say(self):
        if self._text:
            say(f"note: {self._text}")
        self._text = None
