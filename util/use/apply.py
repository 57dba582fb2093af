"""Restore files of pictures with a trained network: files in, files out.

What becomes of a picture follows from the `Kind` of the script's Task; see util/restore/bands.py.
"""

from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from util import interrupt
from util.pictures.carried import carried_by, copy_beside
from util.pictures.find import find_pictures, in_nfc, place_in, stem_of
from util.pictures.pixels import PictureError
from util.pictures.read import read_original
from util.pictures.write import check_format, write_picture
from util.restore.bands import restore_picture, tile_counts
from util.restore.masks import Holes
from util.say import UserError, printable, say

KEPT_FORMATS = (".png", ".tif", ".tiff", ".bmp")  # without loss; others become PNG


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
        a network that finds opacity; what the file carries goes along.
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
    jobs, failed = _plan(trained.task, sources, out, finder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made a folder ({error.strerror})") from None
    done = existing = 0

    said = set()

    def note(about, line):  # once
        if about not in said:
            said.add(about)
            say(line)

    bar = tqdm(jobs, trained.task.name, unit="picture", disable=None if len(jobs) > 1 else True)
    for job in bar:
        if job.restored.exists() and not overwrite:  # it is written last
            say(f"skipped {job.source}: {job.restored} exists; --overwrite writes anew")
            existing += 1
            continue
        try:
            _restore_file(trained, job, note, finder)
        except PictureError as error:
            say(f"skipped {error}")
            failed += 1
        except ValueError as error:
            say(f"skipped {job.source}: {error}")
            failed += 1
        except OSError as error:
            raise UserError(
                f"{error.filename or job.restored}: {error.strerror}; stopped after {done} "
                f"picture(s), which are whole. Make room in {out}, or name another --out"
            ) from None
        else:
            done += 1
    say(
        f"{done} restored into {out}, {existing} skipped because they exist, {failed} failed; "
        f"network: {trained}"
    )
    return 0 if done or existing else 1


def find_holes(trained, place=None):
    """Return the `util.restore.masks.Holes` of a network that takes a hole, None of another."""
    if not trained.task.kind.takes_hole:
        return None
    settings = trained.settings
    return Holes(
        place,
        colour=settings.hole_colour,
        margin_px=settings.hole_margin_px,
        opacity_from=settings.hole_opacity_from,
        max_pixels=settings.max_pixels,
    )


def _plan(task, sources, out, finder):
    """Return the jobs, one a picture, and how many pictures cannot become one."""
    failed, found, names, given = 0, [], set(), set()
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
        masks = finder.masks_within(source) if finder else set()
        for path in paths:
            real, name = path.resolve(), path.parent.resolve() / path.name  # two links are two
            # What an earlier start wrote is no input, even where --out lies within the folder.
            if name in names or real in masks or (source.is_dir() and target in real.parents):
                continue
            names.add(name)
            given.add(real)
            found.append((path, source))
    jobs, taken = [], {}
    # Those that keep their names come first: a.jpg gives way to a.png.
    for path, source in sorted(found, key=lambda pair: _suffix_of(pair[0]) != pair[0].suffix):
        job = _job(task, path, source, out, taken)
        if {path.resolve() for path in job.outputs} & (given | (finder.files if finder else set())):
            say(f"skipped {path}: its output would overwrite a picture that was given")
            failed += 1
        else:
            jobs.append(job)
    return jobs, failed


def _suffix_of(path):
    return path.suffix if path.suffix.lower() in KEPT_FORMATS else ".png"


def _job(task, path, source, out, taken):
    """Return the job of a picture, under a name that none of `taken` has, and add it there."""
    place = out / place_in(path, source)
    kind = f"{place.stem}_{path.suffix[1:].lower()}"
    for stem in chain((place.stem, kind), (f"{kind}_{n}" for n in count(2))):
        opacity = place.with_name(f"{stem}_opacity.png") if task.kind.finds_opacity else None
        restored = place.with_name(stem + _suffix_of(path))
        job = Job(path, stem_of(path, source), restored, opacity)
        outputs = {in_nfc(output) for output in job.outputs}
        clash = next((taken[output] for output in outputs if output in taken), None)
        if not clash:
            break
        before = clash
    if stem != place.stem:
        say(f"{path}: goes out as {restored.name}, because {before} has a name that is too like")
    taken |= dict.fromkeys(outputs, path)
    return job


def _restore_file(trained, job, note, holes):
    settings = trained.settings
    scale = settings.full_scale or None
    original = read_original(job.source, max_pixels=settings.max_pixels)
    pixels, white = original.picture(scale)
    check_format(job.restored, original.values)
    unused = original.unused_range(scale)
    if unused:
        note("range", f"{job.source}: {unused}")
    hole = holes.find(job.source, job.stem, pixels, full_scale=white) if holes else None
    pixels = original.fill(pixels, hole)
    counts = tile_counts(settings, pixels.shape, hole)
    if not counts:
        say(f"{job.source}: nothing is missing; its pixels go out as they came")
    norm = getattr(settings, "norm", "none")
    if max(counts, default=0) > 1 and norm in ("group", "instance"):
        note(
            "norm",
            f"note: norm = {norm}: large pictures go through in tiles, and with this norm each "
            "tile is restored a little differently",
        )
    with tqdm(
        total=sum(counts),
        desc=printable(job.source.name),
        unit="tile",
        leave=False,
        disable=None if sum(counts) > 1 else True,
    ) as bar:
        how = {"white": white, "progress": bar.update, "in_place": True}
        restored, opacity = restore_picture(trained, pixels, hole, **how)
    original.take(restored, scale, hole)
    carried = carried_by(job.source, original)
    if carried.note:
        note(carried.note, carried.note)
    if opacity is not None and original.ground is not None:
        opacity[~original.ground] = 0
    # A signal now waits until both files are whole.
    interrupt.guard()
    try:
        job.restored.parent.mkdir(parents=True, exist_ok=True)
        if job.opacity:
            write_picture(job.opacity, opacity)
        stored = carried.is_stored(job.restored) or original.orientation == 1
        untold = copy_beside(job.source, job.restored, turned=not stored)
        if untold:
            say(untold)
        # Last: that it is there means that the picture is done.
        write_picture(job.restored, original.values if stored else original.upright(), carried)
    finally:
        interrupt.leave()
    if interrupt.requested():
        raise SystemExit(interrupt.exit_status())
