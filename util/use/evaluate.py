"""Measure a trained network beside its rivals: one table, and a row a picture as CSV.

What is measured, and beside whom, is the `Evaluation` of the script's Task.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from util import files, interrupt
from util.measure.scores import SSIM_WINDOW_PX
from util.pictures.find import find_pictures, stem_of
from util.pictures.pairs import find_pairs
from util.pictures.pixels import PictureError, as_float
from util.pictures.read import read_original
from util.run.folder import RunFolder
from util.samples.ground import ground_of, open_store, say_unused_range
from util.say import UserError, noting, say, say_first, show
from util.settings import option_of
from util.use import by_condition, expert_masks
from util.use.apply import find_holes
from util.use.methods import methods_of, rows_of
from util.use.table import csv_text, notes, table

_TRAINING_ALONE = ("cut_folder",)  # samples to validate with have none of it
FITTED = [
    "Each picture, the untouched one too, was fitted to the clear one before it was measured:",
    "a gain and an offset a channel, by least squares over all pixels that show ground.",
]


def evaluate(
    trained,
    *,
    data=None,
    conditions=False,
    pairs=None,
    fit=False,
    holes=None,
    masks=None,
    count=None,
    csv_file=None,
):
    """Measure, print the table, write the CSV; return the exit status.

    Parameters
    ----------
    trained : util.use.trained.Trained
    data : str, optional
        Folder of clear pictures, all of which serve, instead of those the run held back.
    conditions : bool
        Whether to measure under each of the evaluation's conditions.
    pairs : (str, str), optional
        Folder of damaged pictures, and folder of clear ones; see `util.pictures.pairs.find_pairs`.
    fit : bool
        Whether pictures are `fitted` to the clear ones of the pairs before they are measured.
    holes : str, optional
        Masks of the damaged pictures of the pairs; see `util.restore.masks.Holes`.
    masks : (str, str), optional
        Folder of cloudy pictures, and folder of experts' masks with the same names.
    count : int, optional
        How many samples [setting validation_samples], or how many pairs or masks [all].
    csv_file : str, optional
        Default: evaluation.csv in the run's folder.

    Raises
    ------
    UserError
        No picture, or the CSV cannot be written.
    """
    try:
        if masks:
            head, rows, lines = expert_masks.measured(trained, *masks, count)
        elif conditions:
            head, rows, lines = by_condition.measured(trained, *ground_from(trained, data), count)
        elif pairs:
            head, rows, lines = _measured(trained, *_pairs(trained, *pairs, holes, count), fit)
        else:
            head, rows, lines = _measured(trained, *_samples(trained, data, count))
    except PictureError as error:
        raise UserError(str(error)) from None
    if not rows:
        say("no picture could be measured")
        return 1
    default = RunFolder(trained.task.name, trained.settings).path / "evaluation.csv"
    path = Path(csv_file) if csv_file else default
    extra = {"script": trained.task.name, "step": trained.step, "seed": trained.settings.seed}
    rows = [{**extra, **row} for row in rows]
    tell(path, rows, f"{trained.task.name}: {trained}", head, "", *lines)
    return 0


def tell(path, rows, *lines):
    """Write rows as a CSV file and print the lines; neither is lost with the other."""
    try:
        _write(path, csv_text(rows))
    finally:
        show(*lines)
    show(f"a row a picture and method: {path}")


def _measured(trained, head, cases, total, fit=False):
    """Return the head, the rows, and the lines of the table with its notes."""
    measure, methods = trained.task.measure, methods_of(trained)
    rows, cases = [], tqdm(cases, "evaluate", total=total, unit="picture", disable=None)
    for number, (name, sample) in enumerate(cases):
        rows += rows_of(methods, measure, name, sample, first=number == 0, fit=fit)
    if not rows:
        return head, rows, []
    said = [*(FITTED if fit else []), *notes(rows, measure)]
    return head, rows, [*table(rows, measure), "", *said]


def _write(path, text):
    """Write the CSV whole or not at all."""
    interrupt.guard()
    try:
        files.write(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); see --csv") from None
    finally:
        interrupt.leave()


# --- what is measured on ------------------------------------------------------------------------


def ground_from(trained, data):
    """Return where the ground of samples comes from, as text, and the two grounds, None: held out.

    data : str or None
        A folder: the held-out clouds over every picture of it, none of which was learnt from.
    """
    settings = trained.settings
    if not data:
        folder = getattr(settings, "pairs_folder", "") or settings.clear_folder
        return f"the held-out pictures of {folder}", None
    store = open_store(find_pictures(data), "--data", settings, settings.crop_px)
    say_unused_range([store])
    where = f"all {len(store)} pictures of {Path(data).resolve()}"
    return where, 2 * [ground_of(store, settings, training=False)]


def _samples(trained, data, count):
    """Return a line that says which samples, an iterator (name, sample), and how many."""
    if not data:
        _refuse_others(trained)
    settings, (where, grounds) = trained.settings, ground_from(trained, data)
    sample = trained.task.samples(settings, True, grounds, trained.split)[1]
    count = count or settings.validation_samples
    head = (
        f"samples 0 to {count - 1} ({count}) of {settings.crop_px} x {settings.crop_px} px, "
        f"seed {settings.seed}, ground from {where}"
    )
    return head, ((f"sample {n:04d}", sample(n)) for n in range(count)), count


def _refuse_others(trained):
    """Raise UserError where drawn samples would silently take the place of pairs that moved."""
    lines = [
        f"{name} = {folder}: is not there now, and the network was trained with it. Say with "
        f"{option_of(name)} where it is, or {option_of(name)}= to measure on samples without it"
        for name, folder in trained.gone.items()
        if name not in _TRAINING_ALONE
    ]
    if lines:
        raise UserError("\n".join(lines))


def _pairs(trained, damaged, clear, holes, count):
    """Return the same as `_samples` for two folders."""
    name = trained.task.measure.damaged
    pairs, lonely = find_pairs(damaged, clear, f"--pairs {name.upper()}", "--pairs CLEAR")
    say_first([f"left out {path}: {reason}" for path, reason in lonely])
    both = {}
    for partner, found in pairs:
        for path in found:
            stem = stem_of(path, Path(damaged))
            # Two of a name, a.jpg and a.png, are told apart in the CSV.
            both[stem if stem not in both else f"{stem}{path.suffix}"] = path, partner
    both = dict(sorted(both.items())[:count])
    settings = trained.settings
    scale = settings.full_scale or None
    finder, note = find_holes(trained, holes), noting()

    def read():
        for stem, sides in both.items():
            try:
                both_of = [read_original(side, max_pixels=settings.max_pixels) for side in sides]
                for original in both_of:
                    original.leave_out_border()
                pixels = [original.picture(scale).over_range() for original in both_of]
                for side, original in zip(sides, both_of, strict=True):
                    if unused := original.unused_range(scale):
                        note("range", f"{side}: {unused}")
                # Pixels are rescaled by now: full scale is the type's greatest value.
                hole = finder.find(sides[0], stem, pixels[0]) if finder else None
                pixels[0] = both_of[0].fill(pixels[0], hole)
                pixels[1] = both_of[1].fill(pixels[1])
            except PictureError as error:
                say(f"left out {error}")
                continue
            shapes = [p.shape[:2] for p in pixels]
            if shapes[0] != shapes[1] or min(shapes[0]) < SSIM_WINDOW_PX:
                say(
                    f"left out {stem}: {name} {shapes[0]}, clear {shapes[1]} (height, width); must "
                    f"be equal and {SSIM_WINDOW_PX} or more"
                )
                continue
            sample = dict(zip((name, "clear"), map(as_float, pixels), strict=True))
            grounds = [both_of[1].ground]
            if hole is None:
                grounds.append(both_of[0].ground)
            else:
                sample["hole"] = hole[..., None].astype(np.float32)
                sample[name] *= 1 - sample["hole"]
            grounds = [ground for ground in grounds if ground is not None]
            if grounds:
                sample["ground"] = np.logical_and.reduce(grounds)[..., None]
            yield stem, sample

    return f"{len(both)} pairs of {damaged} and {clear}, whole pictures", read(), len(both)
