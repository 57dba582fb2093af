"""Measure a network under one condition after another: a line a condition, beside its rivals."""

import math
from dataclasses import replace

from tqdm import tqdm

from util.measure.baselines import THICK_FROM
from util.measure.evaluation import KEPT, KEPT_NOTE, NETWORK, NOTHING, PRIOR, UNMIXED, Column
from util.measure.opacity import on_clear_ground
from util.measure.scores import PSNR_CAP_DB
from util.samples.ground import open_grounds
from util.use.methods import methods_of, rows_of
from util.use.table import grid, summed_up

PSNR, SSIM = Column("PSNR", 1, 5), Column("SSIM", 3, 5)
# Group of columns -> whose score each of them shows.
COLUMNS = {
    NOTHING: [(NOTHING, "psnr_whole", PSNR), (NOTHING, "ssim_whole", SSIM)],
    PRIOR: [(PRIOR, "psnr_whole", PSNR), (PRIOR, "ssim_whole", SSIM)],
    UNMIXED: [(UNMIXED, "psnr_whole", PSNR)],
    KEPT: [
        (KEPT, "psnr_whole", PSNR),
        (KEPT, "ssim_whole", SSIM),
        (KEPT, "gain", Column("gain", 2, 6)),
    ],
    f"PSNR, opacity < {THICK_FROM}": [
        (NOTHING, "psnr_seen", Column("nothing", 1, 7)),
        (KEPT, "psnr_seen", Column("network", 1, 7)),
    ],
    "clear ground": [
        (KEPT, "false_opacity", Column("found", 3, 5)),
        (KEPT, "untouched", Column("untouched", 3, 9)),
    ],
}
SHOWN = [(method, score) for group in COLUMNS.values() for method, score, _ in group]
NOTES = [
    "Means over the pictures, whole ones; PSNR in dB, gain is over doing nothing.",
    f"PSNR counts {PSNR_CAP_DB:g} at most, as doing nothing has it where there is no cloud.",
    KEPT_NOTE,
    "The oracle is told the true opacity, and takes every cloud for white.",
    "Clear ground (opacity below .02): mean of the opacity found there, share of pixels untouched.",
]


def measured(trained, where, grounds, count):
    """Return what was measured, as text, the rows, and the lines of the table with its notes.

    Parameters
    ----------
    trained : util.use.trained.Trained
    where : str
        Where the ground comes from.
    grounds : list of two util.samples.ground.Ground, or None
        Default: those of clear_folder.
    count : int, optional
        Samples under each condition [setting validation_samples].
    """
    task, settings = trained.task, trained.settings
    count = count or settings.validation_samples
    needed = {NETWORK, *(method for method, _ in SHOWN)}  # what is kept goes on from the network
    methods = {m: restore for m, restore in methods_of(trained).items() if m in needed}
    rows = []
    for condition, name, sample in samples_under(trained, task.measure.conditions, grounds, count):
        rows += _rows(trained, methods, condition, name, sample)
    return head(settings, where, count), rows, table(rows)


def samples_under(trained, conditions, grounds, count):
    """Yield the same samples under each condition: (condition, the sample's name, the sample).

    conditions : dict condition -> dict setting -> value
    """
    task, settings = trained.task, trained.settings
    grounds = grounds or open_grounds(settings, split=trained.split)
    with tqdm(desc="evaluate", total=count * len(conditions), unit="picture", disable=None) as bar:
        for condition, changes in conditions.items():
            changed = replace(settings, **changes)
            sample = task.samples(changed, True, grounds, trained.split)[1]
            for number in range(count):
                yield condition, f"sample {number:04d}", sample(number)
                bar.update()


def head(settings, where, count):
    """Return the line above the table: which samples were measured."""
    return (
        f"samples 0 to {count - 1} ({count}) of {settings.crop_px} x {settings.crop_px} px under "
        f"each condition, seed {settings.seed}, ground from {where}"
    )


def _rows(trained, methods, condition, name, sample):
    """Return the rows of one picture, with gains, and for the network what it finds on clear."""
    rows = rows_of(methods, trained.task.measure, name, sample)
    nothing = next(row["psnr_whole"] for row in rows if row["method"] == NOTHING)
    opacities = sample["found_opacity"][..., 0], sample["opacity"][..., 0]
    own = on_clear_ground(*opacities, trained.settings.clear_below)
    none = dict.fromkeys(own, math.nan)
    return [
        {
            "condition": condition,
            **row,
            "gain": row["psnr_whole"] - nothing,
            **(own if row["method"] in (NETWORK, KEPT) else none),
        }
        for row in rows
    ]


def table(rows):
    """Return the table of rows with conditions, and its notes, as lines."""
    groups = {title: [column for *_, column in shown] for title, shown in COLUMNS.items()}
    found = scores(rows)
    worse = {name for name, values in found.items() if _worse(values)}
    lines = {name + " *" * (name in worse): [*values.values()] for name, values in found.items()}
    star = ["* worse than doing nothing, in PSNR or in SSIM"] if worse else []
    return [*grid("condition", groups, lines), "", *star, *NOTES]


def scores(rows):
    """Return what the table shows: dict condition -> dict (method, score) -> list of float."""
    found = {}
    for row in rows:
        values = found.setdefault(row["condition"], {cell: [] for cell in SHOWN})
        for method, score in SHOWN:
            if method == row["method"]:
                values[method, score].append(row[score])
    return found


def _worse(values):
    """Tell whether the table shows the network to be worse than doing nothing."""
    return any(
        round(summed_up(values[KEPT, score], column), column.digits)
        < round(summed_up(values[NOTHING, score], column), column.digits)
        for score, column in (("psnr_whole", PSNR), ("ssim_whole", SSIM))
    )
