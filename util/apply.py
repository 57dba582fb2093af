"""Restore pictures of any size with a trained network."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from util import interrupt, tiles
from util.errors import UserError
from util.pictures import (
    PictureError,
    as_pixels,
    find_pictures,
    read_picture,
    write_picture,
)

KEPT_FORMATS = (".png", ".tif", ".tiff", ".bmp")  # without loss; others become PNG
_PIXELS = 32_768  # finished at once: few enough to stay in the processor's cache


class Job(NamedTuple):
    """One picture to restore, and the two files to write."""

    source: Path
    restored: Path
    opacity: Path


def apply(trained, sources, out, *, overwrite=False):
    """Restore every picture of `sources` into the folder `out`; say what was done.

    Parameters
    ----------
    trained : util.trained.Trained
    sources : list of str
        Pictures, and folders of pictures with their sub-folders, which `out` will have too.
    out : str
        For ``a.png`` it gets ``a.png`` and ``a_opacity.png`` (8-bit grey, white is opaque).
    overwrite : bool
        Write outputs that exist anew, rather than skip them.

    Returns
    -------
    int
        0, or 1 if there is no output.

    Raises
    ------
    UserError
        `out` cannot be made, is one of the folders of pictures, or cannot be written to.
    """
    out = Path(out)
    jobs, failed = _plan(sources, out)
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
        there = [p.name for p in (job.restored, job.opacity) if p.exists()]
        if there and not overwrite:
            _say(
                f"skipped {job.source}: {' and '.join(there)} exist(s) in {job.restored.parent}; "
                "--overwrite writes anew"
            )
            existing += 1
            continue
        try:
            _restore_file(trained, job, single)
        except PictureError as error:
            _say(f"skipped {error}")
            failed += 1
        except ValueError as error:
            _say(f"skipped {job.source}: {error}")
            failed += 1
        except OSError as error:
            raise UserError(
                f"{error.filename or job.restored}: {error.strerror}; stopped after "
                f"{done} picture(s)"
            ) from None
        else:
            done += 1
    _say(
        f"{done} restored into {out}, {existing} skipped because they exist, {failed} failed; "
        f"network: {trained}"
    )
    return 0 if done or existing else 1


def restore_picture(trained, pixels, *, full_scale=None, progress=None, in_place=False):
    """Restore a picture as `apply` does.

    Where the found opacity is below the setting clear_below a pixel comes out bit for bit as it
    went in; from there to twice as much it fades into what the network made, so that no edge
    shows.

    Parameters
    ----------
    trained : util.trained.Trained
    pixels : uint8 or uint16 (H, W, 3)
    full_scale : float, optional
        The value that means 1.0, where that is not the type's greatest.
    progress : callable, optional
        Called after each tile.
    in_place : bool
        Write the result over `pixels` (writeable), which saves the memory of a second picture.

    Returns
    -------
    (array like pixels, uint8 (H, W))
        The restored picture and the opacity.

    Raises
    ------
    ValueError
        The network returned NaN.
    """
    settings = trained.settings
    # Rows that are finished are read no more: the next tiles begin below them. Only in a picture
    # lower than its padding could the reflection at the bottom reach so far, and that is one band.
    restored = pixels if in_place else np.empty_like(pixels)
    opacity = np.empty(pixels.shape[:2], np.uint8)
    top_value = float(full_scale or np.iinfo(pixels.dtype).max)

    def function(batch):
        if full_scale:
            scale = np.float32(np.iinfo(pixels.dtype).max / full_scale)
            batch = {name: np.minimum(value * scale, 1) for name, value in batch.items()}
        found = trained.restore(batch)
        return {name: found[name] for name in ("restored", "found_opacity")}

    (name,) = trained.task.inputs
    made = tiles.bands(function, {name: pixels}, progress=progress, **tiling(settings))
    for top, band in made:
        at_once = max(1, _PIXELS // pixels.shape[1])
        for start in range(0, len(band["restored"]), at_once):
            rows = slice(start, start + at_once)
            found, ground = band["found_opacity"][rows, :, 0], band["restored"][rows]
            at = slice(top + start, top + start + len(found))
            restored[at] = keep_clear(
                pixels[at], ground, found, clear_below=settings.clear_below, top_value=top_value
            )
            opacity[at] = as_pixels(found, np.uint8)
    return restored, opacity


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
    if np.isnan(ground).any() or np.isnan(opacity).any():
        raise ValueError("the network returned NaN; its weights are not sound")
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
    """Return the arguments of `util.tiles` that the settings hold."""
    return {"tile_px": settings.apply_tile_px, "margin_px": settings.apply_margin_px}


def _plan(sources, out):
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
            _say(f"skipped {error}")
            failed += 1
            continue
        if not paths:
            _say(f"skipped {source}: no picture in this folder")
        for path in paths:
            real = path.resolve()
            # What an earlier start wrote is no input, even where --out lies within the folder.
            if real in seen or (source.is_dir() and target in real.parents):
                continue
            seen.add(real)
            job = _job(path, path.relative_to(source) if source.is_dir() else Path(path.name), out)
            names = {job.restored, job.opacity}
            taken = next((claimed[name] for name in names if name in claimed), None)
            if taken:
                _say(f"skipped {path}: its output would have the name of that of {taken}")
                failed += 1
                continue
            claimed |= dict.fromkeys(names, path)
            jobs.append(job)
    kept = []
    for job in jobs:
        if {job.restored.resolve(), job.opacity.resolve()} & seen:
            _say(f"skipped {job.source}: its output would overwrite a picture that was given")
            failed += 1
        else:
            kept.append(job)
    return kept, failed


def _job(path, relative, out):
    suffix = path.suffix if path.suffix.lower() in KEPT_FORMATS else ".png"
    place = out / relative.parent
    return Job(path, place / f"{path.stem}{suffix}", place / f"{path.stem}_opacity.png")


def _restore_file(trained, job, many_tiles):
    pixels, full_scale = _read(job.source, trained.settings)
    if pixels.dtype == np.uint16 and job.restored.suffix.lower() == ".bmp":
        raise ValueError("16-bit pixels do not fit into a .bmp; rename the file")
    count = tiles.plan(*pixels.shape[:2], **tiling(trained.settings)).tiles
    if count > 1 and getattr(trained.settings, "norm", "none") in ("group", "instance"):
        many_tiles.say()
    hidden = None if count > 1 else True
    with tqdm(total=count, desc=job.source.name, unit="tile", leave=False, disable=hidden) as bar:
        restored, opacity = restore_picture(
            trained, pixels, full_scale=full_scale, progress=bar.update, in_place=True
        )
    # A signal now waits until both files are whole.
    interrupt.guard()
    try:
        job.restored.parent.mkdir(parents=True, exist_ok=True)
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
            _say(f"note: {self._text}")
        self._text = None


def _say(text):
    line = "".join(c if c.isprintable() else "?" for c in text)
    tqdm.write(line, file=sys.stderr)
