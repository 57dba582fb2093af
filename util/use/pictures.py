"""Files of pictures in, restored files out: what all share that restore pictures, whoever does it.

Who restores is a `Way`: a trained network (util/use/apply.py) or a chain (util/use/chain.py).
"""

import contextlib
import errno
import os
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from util import files, interrupt
from util.pictures.beside import copy_beside, copy_crs
from util.pictures.carried import carried_by
from util.pictures.find import find_pictures, in_nfc, place_in, stem_of
from util.pictures.gdal import Refused
from util.pictures.geotiff import Unfit
from util.pictures.pixels import PictureError
from util.pictures.read import read_original
from util.pictures.write import check_format, write_picture
from util.say import UserError, noting, printable, say
from util.use.scenes import room_for

KEPT_FORMATS = (".png", ".tif", ".tiff", ".bmp")  # without loss; others become PNG
# What a killed process has left is nobody's by then. A scene may take hours, and parts share `out`.
_STALE_S = 24 * 3600
# Errors of a system that other pictures may not meet; all else, as a full disk, they would.
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
# Settings, and values of theirs, with which a pixel's result depends on the whole tile.
_WHOLE_TILE = {"norm": ("own", "group", "instance"), "attention_at": (2, 4, 8, 16, 32)}


class Way(NamedTuple):
    """How a picture is restored, and what comes of it besides.

    name : str
        Of the script.
    settings : the script's settings
    by : str
        Who restores, for the last line.
    extras : tuple of str
        What is written besides: of ``a.png`` ``a_NAME.png`` each.
    tiles : callable
        ``tiles(shape, hole) -> list of int``: how many each part takes that is worked on by itself.
    restore : callable
        ``restore(pixels, hole, ground, white, bar) -> dict extra -> uint8 (h, w) or (h, w, 3)``:
        restores uint8 or uint16 (H, W, 3) in place; hole and ground are bool (H, W) or None, where
        it is missing, and where it shows ground; `bar` is a tqdm, to be moved on after each tile.
    holes : util.restore.masks.Holes, optional
        Where a picture is missing, for who takes a hole.
    scenes : util.use.scenes.Scenes, optional
        How GeoTIFF scenes are taken [as any other picture].
    restore_scene : callable, optional
        ``restore_scene(scene, sinks, ground, bar) -> dict extra -> uint8 (h, w, 3)``: writes the
        rows of a `util.pictures.geotiff.Scene` into the sinks of `util.use.scenes.Scenes`, and
        returns the extras that are no maps. `ground` takes slices like the scene, to work in.
    bar : callable
        Makes what shows how far a picture is, as `tqdm` does.
    """

    name: str
    settings: object
    by: str
    extras: tuple[str, ...]
    tiles: Callable
    restore: Callable
    holes: object = None
    scenes: object = None
    restore_scene: Callable | None = None
    bar: Callable = tqdm


class Job(NamedTuple):
    """One picture to restore, and the files to write; `extras` by their names in the `Way`."""

    source: Path
    stem: str  # path within the folder that was given, without suffix
    restored: Path
    extras: dict[str, Path]
    is_scene: bool = False

    @property
    def outputs(self):
        """The files that are written."""
        return [self.restored, *self.extras.values()]


def restore_files(way, sources, out, *, overwrite=False, part=(1, 1)):
    """Restore every picture of `sources` into the folder `out`; say what was done.

    Parameters
    ----------
    way : Way
    sources : list of str
        Pictures, and folders of pictures with their sub-folders, which `out` will have too.
    out : str
        For ``a.png`` it gets ``a.png``, with what the file carries, and the extras.
    overwrite : bool
        Write outputs that exist anew, rather than skip them.
    part : (int, int)
        (k, n): of the sorted pictures the k-th and every n-th after it. Several processes can work
        on parts of the same pictures at once.

    Returns
    -------
    int
        0, or 1 if there is no output, 2 if GDAL took the creation options for no file.

    Raises
    ------
    UserError
        `out` cannot be made, is one of the folders of pictures, or cannot be written to.
    """
    out = Path(out)
    jobs, failed = _plan(way, sources, out)
    planned = len(jobs)
    # Names are given in view of all, so that each part finds the same.
    jobs = sorted(jobs, key=lambda job: job.source)[part[0] - 1 :: part[1]]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made a folder ({error.strerror})") from None
    done = existing = 0
    refused, note = False, noting()
    bar = tqdm(jobs, way.name, unit="picture", disable=None if len(jobs) > 1 else True)
    for job in bar:
        if os.path.exists(job.restored) and not overwrite:  # it is written last
            say(f"skipped {job.source}: {job.restored} exists; --overwrite writes anew")
            existing += 1
            continue
        try:
            restore_file(way, job, note)
        except PictureError as error:
            say(f"skipped {error}")
            failed += 1
        except (ValueError, Refused) as error:
            say(f"skipped {job.source}: {error}")
            failed += 1
            refused = refused or isinstance(error, Refused)
        except OSError as error:
            if error.errno in _OF_THE_NAME:
                say(f"skipped {job.source}: {error.filename}: {error.strerror}")
                failed += 1
                continue
            raise UserError(
                f"{error.filename or job.restored}: {error.strerror}; stopped after {done} "
                f"picture(s), which are whole. Make room in {out}, or name another --out"
            ) from None
        else:
            done += 1
    say(
        f"{done} restored into {out}, {existing} skipped because they exist, {failed} failed; "
        f"{way.by}"
    )
    if done or existing or (planned and not jobs):
        return 0
    return 2 if refused else 1


def _plan(way, sources, out):
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
        masks = way.holes.masks_within(source) if way.holes else set()
        for path in paths:
            real, name = path.resolve(), path.parent.resolve() / path.name  # two links are two
            # What an earlier start wrote is no input, even where --out lies within the folder.
            if name in names or real in masks or (source.is_dir() and target in real.parents):
                continue
            names.add(name)
            given.add(real)
            found.append((path, source))
    jobs, taken = [], {}
    kept = given | (way.holes.files if way.holes else set())
    # Those that keep their names come first: a.jpg gives way to a.png.
    for path, source in sorted(found, key=lambda pair: _suffix_of(way, pair[0]) != pair[0].suffix):
        job = job_of(way, path, source, out, taken)
        if {path.resolve() for path in job.outputs} & kept:
            say(f"skipped {path}: its output would overwrite a picture that was given")
            failed += 1
        else:
            jobs.append(job)
    return jobs, failed


def _suffix_of(way, path):
    is_png = way.scenes and way.scenes.format == "png"
    return path.suffix if path.suffix.lower() in KEPT_FORMATS and not is_png else ".png"


def job_of(way, path, source, out, taken):
    """Return the `Job` of a picture, under a name that none of `taken` has, and add it there.

    way : Way
    path, source : Path
        Of the picture, and of the folder that was given, or the picture's again.
    out : Path
        Folder for what is written.
    taken : dict str -> Path
        Outputs, in NFC, and whose they are.
    """
    place = out / place_in(path, source)
    kind = f"{place.stem}_{path.suffix[1:].lower()}"
    is_scene = bool(way.scenes and way.scenes.takes(path))
    maps = way.scenes.maps if is_scene else ()
    suffixes = {name: path.suffix if name in maps else ".png" for name in way.extras}
    for stem in chain((place.stem, kind), (f"{kind}_{n}" for n in count(2))):
        extras = {name: place.with_name(f"{stem}_{name}{end}") for name, end in suffixes.items()}
        restored = place.with_name(stem + _suffix_of(way, path))
        job = Job(path, stem_of(path, source), restored, extras, is_scene)
        outputs = {in_nfc(output) for output in job.outputs}
        clash = next((taken[output] for output in outputs if output in taken), None)
        if not clash:
            break
        before = clash
    if stem != place.stem:
        say(f"{path}: goes out as {restored.name}, because {before} has a name that is too like")
    taken |= dict.fromkeys(outputs, path)
    return job


def restore_file(way, job, note):
    """Restore one picture and write what comes of it.

    way : Way
    job : Job
    note : callable
        ``note(about, line)`` is told what a person should know.

    Raises
    ------
    PictureError, ValueError
        The picture cannot be restored.
    OSError
        What comes of it cannot be written.
    """
    why = ()
    if job.is_scene:
        try:
            _restore_scene(way, job, note)
            return
        except Unfit as error:
            why = (error.reason,)
    if way.scenes:
        way.scenes.tell(job.source, note, *why)
    settings = way.settings
    scale = settings.full_scale or None
    original = read_original(job.source, max_pixels=settings.max_pixels)
    original.leave_out_border()
    pixels, white = original.picture(scale)
    check_format(job.restored, original.values)
    unused = original.unused_range(scale)
    if unused:
        note("range", f"{job.source}: {unused}")
    hole = way.holes and way.holes.find(job.source, job.stem, pixels, full_scale=white)
    pixels = original.fill(pixels, hole)
    with _progress(way, job, pixels.shape, hole, note) as bar:
        extras = way.restore(pixels, hole, original.ground, white, bar)
    original.take(pixels, scale, hole)
    carried = carried_by(job.source, original)
    if carried.note:
        note(carried.note, carried.note)
    lost = carried.lost_in(job.restored)
    if lost:
        kind = job.restored.suffix
        note(lost, f"{job.source}: as {kind} it loses {lost}; so do others like it")
    with _signals_waiting() as wait:
        wait()
        job.restored.parent.mkdir(parents=True, exist_ok=True)
        for name, path in job.extras.items():
            write_picture(path, extras[name])
        stored = carried.is_stored(job.restored) or original.orientation == 1
        untold = copy_beside(job.source, job.restored, turned=not stored)
        if untold:
            say(untold)
        # Last: that it is there means that the picture is done.
        write_picture(job.restored, original.values if stored else original.upright(), carried)


def _restore_scene(way, job, note):
    scenes, scale = way.scenes, way.settings.full_scale or None
    with _signals_waiting() as wait, scenes.open(job.source, scale) as scene:
        for line in scene.notes:
            note(line, f"{job.source}: {line}")
        folder = job.restored.parent
        folder.mkdir(parents=True, exist_ok=True)
        files.sweep(folder, older_than_s=_STALE_S)
        maps = {name: path for name, path in job.extras.items() if name in scenes.maps}
        with scenes.sinks(scene, job.restored, maps) as sinks:
            with (
                room_for(scene, job.restored) as ground,
                _progress(way, job, scene.shape, None, note) as bar,
            ):
                extras = way.restore_scene(scene, sinks, ground, bar)
            wait()
            for name, picture in extras.items():
                write_picture(job.extras[name], picture)
            if not scene.facts.profile["crs"]:  # GDAL reads none beside a TIFF
                copy_crs(job.source, job.restored)


@contextlib.contextmanager
def _progress(way, job, shape, hole, note):
    """Yield the bar of a picture's tiles."""
    counts = way.tiles(shape, hole)
    if not counts:
        say(f"{job.source}: nothing is missing; its pixels go out as they came")
    for name, values in _WHOLE_TILE.items():
        value = getattr(way.settings, name, None)
        # Used as it is trained, batch norm takes the statistics of the tile.
        as_own = value == "batch" and getattr(way.settings, "used_as_trained", False)
        if max(counts, default=0) > 1 and (as_own or value in values):
            note(
                name,
                f"note: {name} = {value}: large pictures go through in tiles, and so each tile is "
                "restored a little differently",
            )
    with way.bar(
        total=sum(counts),
        desc=printable(job.source.name),
        unit="tile",
        leave=False,
        disable=None if sum(counts) > 1 else True,
    ) as bar:
        yield bar


@contextlib.contextmanager
def _signals_waiting():
    """Yield a function: once it is called, signals wait until the end, when all files are whole."""
    try:
        yield interrupt.guard
    finally:
        interrupt.leave()
    if interrupt.requested():
        raise SystemExit(interrupt.exit_status())
