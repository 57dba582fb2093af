"""Measure a chain under kinds of cloud: beside its parts, classical methods and an oracle."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from util.measure.baselines import THICK_FROM
from util.measure.conditions import CONDITIONS
from util.measure.evaluation import CLOUDS, NOTHING, Column
from util.measure.scores import PSNR_CAP_DB
from util.pictures.pixels import PictureError, as_float, as_pixels
from util.restore import bands
from util.restore import chain as chains
from util.run.folder import RunFolder
from util.say import UserError
from util.use import classical
from util.use.by_condition import head, samples_under
from util.use.evaluate import ground_from, tell
from util.use.methods import rows_of
from util.use.table import grid

ORACLE = "oracle: unmix + Telea"
# What the table calls them -> the name in `util.measure.conditions`.
KINDS = {"thin": "thin .3", "mixed": "mixed", "thick": "thick", "cumulus": "small cumulus"}
# Group -> score -> its column.
COLUMNS = {
    "whole": {
        "psnr_whole": Column("PSNR", 2, 6),
        "ssim_whole": Column("SSIM", 3, 5),
        "gain": Column("gain", 2, 6),
    },
    f"opacity >= {THICK_FROM}": {
        "psnr_thick": Column("PSNR", 2, 6),
        "ssim_thick": Column("SSIM", 3, 5),
    },
    f"below {THICK_FROM}": {
        "psnr_seen": Column("PSNR", 2, 6),
        "ssim_seen": Column("SSIM", 3, 5),
    },
    "s per": {"seconds": Column("picture", 3, 7)},
}
NOTES = [
    "Means over the pictures that have such pixels; PSNR in dB, gain is over doing nothing.",
    f"PSNR counts {PSNR_CAP_DB:g} at most. Opacity is the true one.",
    "A + B: B repaints where the opacity that A found is above --repaint-from, and the rim of wide",
    "cloud, where it is above .4 of that, and cloud that was left near by; A alone: nobody.",
    "The oracle is told the true opacity, and takes every cloud for white.",
]


def evaluate(chain, *, data=None, count=None, csv_file=None):
    """Measure a chain on samples held back, print a table a condition, write the CSV; return 0.

    Parameters
    ----------
    chain : util.restore.chain.Chain
    data : str, optional
        Folder of clear pictures, all of which serve, instead of those the first network held back.
    count : int, optional
        Samples under each condition [setting validation_samples].
    csv_file : str, optional
        Default: cloud_removal/evaluation.csv in the folder of runs.

    Raises
    ------
    UserError
        No picture, or the CSV cannot be written.
    """
    first = chain.clear
    count = count or first.settings.validation_samples
    methods = methods_of(chain)
    conditions = {kind: CONDITIONS[name] for kind, name in KINDS.items()}
    rows = []
    try:
        where, grounds = ground_from(first, data)
        for condition, name, sample in samples_under(first, conditions, grounds, count):
            found = rows_of(methods, CLOUDS, name, sample, first=not rows)
            nothing = next(row["psnr_whole"] for row in found if row["method"] == NOTHING)
            for row in found:
                rows.append({"condition": condition, **row, "gain": row["psnr_whole"] - nothing})
    except PictureError as error:
        raise UserError(str(error)) from None
    folder = RunFolder("cloud_removal", first.settings).path
    who = f"cloud_removal: cleared by {first}, repainted by {chain.paint}"
    lines = head(first.settings, where, count), *table(rows), "", *NOTES
    tell(Path(csv_file) if csv_file else folder / "evaluation.csv", rows, who, *lines)
    return 0


def methods_of(chain):
    """Return who is measured: dict method -> function(sample) -> float32 (H, W, 3)."""
    first, second = chain.clear, chain.paint
    methods = {NOTHING: CLOUDS.rivals[NOTHING], f"{first.task.name} alone": partial(_alone, first)}
    methods[f"{first.task.name} + {second.task.name}"] = partial(_both, chain)
    for name in classical.PAINTERS:
        if name != second.task.name:
            paint = classical.painter(name, second.task, second.settings)
            other = chains.Chain(first, paint, chain.repaint_from, classical.REACH_PX)
            methods[f"{first.task.name} + {name}"] = partial(_both, other)
    if first.task.name != "dcp":
        prior = classical.dark_channel(first.task, first.settings)
        methods["dcp alone"] = partial(_alone, prior)
        methods[f"dcp + {second.task.name}"] = partial(_both, replace(chain, clear=prior))
    return {**methods, ORACLE: CLOUDS.rivals[ORACLE]}


def _alone(network, sample):
    return as_float(bands.restore_picture(network, as_pixels(sample["cloudy"], np.uint16))[0])


def _both(chain, sample):
    return as_float(chains.restore_picture(chain, as_pixels(sample["cloudy"], np.uint16))[0])


def table(rows):
    """Return the tables of rows with conditions, one a condition, as lines."""
    lines, scores = [], [name for group in COLUMNS.values() for name in group]
    groups = {title: list(group.values()) for title, group in COLUMNS.items()}
    for condition in dict.fromkeys(row["condition"] for row in rows):
        found = {}
        for row in rows:
            if row["condition"] == condition:
                values = found.setdefault(row["method"], [[] for _ in scores])
                for cell, name in zip(values, scores, strict=True):
                    cell.append(row[name])
        lines += ["", *grid(condition, groups, found)]
    return lines
