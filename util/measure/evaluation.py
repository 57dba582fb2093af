"""What a script is measured by, and beside whom: an `Evaluation`, which its Task names.

A sample is a dictionary of float32 (H, W, C), 0..1: the damaged picture, "clear", and what else is
known, such as "opacity" or "hole"; bool "ground" (H, W, 1) where not all of it is. Whoever restores
it, network or rival, is a function of the sample that returns float32 (H, W, 3). The network's puts
what it has found into the sample, for those that come after it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from util.measure import baselines
from util.measure.baselines import THICK_FROM
from util.measure.conditions import CONDITIONS
from util.measure.pattern import repetition_inside
from util.measure.scores import (
    hole_scores,
    mae,
    psnr,
    score_picture,
    ssim,
    validation_scores,
)

NETWORK, KEPT = "network", "network, clear kept"
NOTHING, PRIOR, UNMIXED = "nothing", "dark channel prior", "oracle: unmix"
MOST_BIHARMONIC = 400_000  # pixels of hole; more takes minutes and gigabytes a picture


class LeftOut(Exception):
    """Whoever raises this has no answer for a sample; the text, if any, is said to the person."""


class Column(NamedTuple):
    """A score in the table: its title, digits after the point, and width of the column."""

    title: str
    digits: int
    width: int
    summary: str = "mean"  # over the pictures; or "median"


# --- scores -------------------------------------------------------------------------------------

_SCORES = {"psnr": psnr, "ssim": ssim, "mae": mae}


def whole_scores(restored, sample):
    """Return "psnr_whole", "ssim_whole" and "mae_whole" of a picture, where it shows ground."""
    clear, ground = sample["clear"], sample.get("ground")
    if ground is not None:
        restored, ground = np.where(ground, restored, clear), ground[..., 0]
    return {f"{name}_whole": f(restored, clear, ground) for name, f in _SCORES.items()}


def region_scores(cover, restored, sample):
    """Return the scores by how much of each pixel is covered, where the sample says it."""
    if cover not in sample:
        return whole_scores(restored, sample)
    return score_picture(restored, sample["clear"], sample[cover][..., 0])


def _filled_scores(restored, sample):
    hole = sample["hole"] * sample.get("ground", True)
    cover = float(np.mean(hole >= 0.5))  # the share of the picture that is missing
    repeats = repetition_inside(restored, sample["clear"], hole[..., 0])
    return {"cover": cover, **hole_scores(restored, sample["clear"], hole), "repeats": repeats}


def whole_validation(output):
    """Return PSNR and SSIM of one restored picture: what a run follows."""
    return {name: _SCORES[name](output["restored"], output["clear"]) for name in ("psnr", "ssim")}


def haze_validation(output):
    """Return PSNR and SSIM of one dehazed picture, and of the dark channel prior beside them.

    output : hazy, restored and clear (H, W, 3), float32, 0..1
    """
    rival = baselines.dark_channel_prior(output["hazy"])
    return {
        f"{name}{whose}": _SCORES[name](picture, output["clear"])
        for name in ("psnr", "ssim")
        for whose, picture in (("", output["restored"]), ("_dark_channel", rival))
    }


def hole_validation(output):
    """Return the scores of one completed picture: those of the hole, and one over all of them.

    output : restored and clear (H, W, 3), hole (H, W, 1), float32, 0..1

    "hole_score", which decides on the best network, is the mean error in the hole, once more for
    each factor of e by which the sharpness is off: a blur has a small error, noise a large one.
    """
    found = hole_scores(output["restored"], output["clear"], output["hole"])
    sharpness = found["hole_sharpness"]
    off = 0.0 if math.isnan(sharpness) else abs(math.log(max(sharpness, 1e-3)))  # nan: flat truth
    return {**found, "hole_score": found["hole_l1"] * (1.0 + off)}


# --- groups of columns --------------------------------------------------------------------------


def by_region(rows, titles=None):
    """Return a group for each region of a picture that the rows have scores of, as psnr_REGION.

    titles : dict region -> title, optional
        Default: the whole picture alone.
    """

    def value(region, row, score):
        return row.get(f"{score}_{region}", math.nan)

    return {
        title: partial(value, region)
        for region, title in (titles or {"whole": "whole"}).items()
        if any(name.endswith(f"_{region}") for name in rows[0])
    }


_SHARES = {
    "< 10 % missing": lambda cover: cover < 0.1,
    "10-20 % missing": lambda cover: 0.1 <= cover <= 0.2,
    "> 20 % missing": lambda cover: cover > 0.2,
}


def _by_cover(rows):
    """Return all pictures, and those of each share that is missing unless all have one share."""

    def value(holds, row, score):
        return row[score] if holds(row["cover"]) else math.nan

    found = {t: holds for t, holds in _SHARES.items() if any(holds(row["cover"]) for row in rows)}
    groups = {"all pictures": lambda cover: True, **(found if len(found) > 1 else {})}
    return {title: partial(value, holds) for title, holds in groups.items()}


BY_OPACITY = partial(
    by_region,
    titles={
        "whole": "whole",
        "thick": "thick >= .75",
        "thin": "thin .02-.75",
        "clear": "clear < .02",
        "seen": "seen < .75",
    },
)


# --- rivals -------------------------------------------------------------------------------------


def _dark_channel(damaged):
    return lambda sample: baselines.dark_channel_prior(sample[damaged])


def _thick_painted(inpaint):
    """Return an inpainting that is told thick cloud, by the true opacity or else the found one."""

    def restore(sample):
        opacity = sample.get("opacity", sample.get("found_opacity"))
        if opacity is None:
            raise LeftOut
        return inpaint(sample["cloudy"], opacity[..., 0] >= THICK_FROM)

    return restore


def _oracle(unmix):
    """Return what has to be told the true opacity."""

    def restore(sample):
        if "opacity" not in sample:
            raise LeftOut
        return unmix(sample["cloudy"], sample["opacity"][..., 0])

    return restore


def _hole_painted(inpaint):
    """Return an inpainting of a hole.

    A pixel that is missing in part, at a soft edge, is too dark to be told to a painter: they fill
    it, and of the filling as much is added as is missing, like the network's.
    """

    def restore(sample):
        holed, hole = sample["holed"], sample["hole"]
        return holed + inpaint(holed, hole[..., 0] > 0) * hole

    return restore


def _biharmonic(picture, hole):
    if np.count_nonzero(hole) > MOST_BIHARMONIC:
        raise LeftOut("hole too large for biharmonic")
    return baselines.inpaint_biharmonic(picture, hole)


_PAINTERS = {
    "Telea": baselines.inpaint_telea,
    "Navier-Stokes": baselines.inpaint_navier_stokes,
    "harmonic": baselines.inpaint_harmonic,
    "biharmonic": _biharmonic,
}


# --- evaluations --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluation:
    """Hold what a script is measured by: scores, rivals, the table, and what a run follows.

    damaged : str
        The picture of a sample that is to be restored.
    rivals : dict method -> callable, optional
        ``restore(sample) -> float32 (H, W, 3)``, in the table's order; see `LeftOut`. Default:
        "nothing", the damaged picture itself.
    scores : callable
        ``scores(restored, sample) -> dict of floats`` in the CSV's order; `restored` in 0..1.
    columns : dict score -> Column
        Of each group of columns.
    groups : callable
        ``groups(rows) -> dict title -> value(row, score)``, nan where the row has none there.
    notes : callable
        ``notes(rows) -> list of str``: what is to be said below the table.
    help : str
        What `evaluate` does, in a line.
    validation : callable
        ``validation(output) -> dict of floats`` for one sample with the network's outputs: the
        scores that a run follows.
    best : (str, int)
        The one that decides which checkpoint is best, and 1 if more is better, -1 if less.
    conditions : dict name -> dict setting -> value
        What samples are made of under each, see `util.measure.conditions`; none if not clouds.
    """

    damaged: str
    rivals: dict[str, Callable] | None = None
    scores: Callable = whole_scores
    columns: dict[str, Column] = field(
        default_factory=lambda: {
            "psnr": Column("PSNR", 1, 5),
            "ssim": Column("SSIM", 3, 4),
            "mae": Column("MAE", 4, 5),
        }
    )
    groups: Callable = by_region
    notes: Callable = lambda rows: ["PSNR in dB, MAE on 0..1; means over the pictures."]
    help: str = "Measure the trained network against doing nothing: PSNR, SSIM, MAE."
    validation: Callable = whole_validation
    best: tuple[str, int] = ("psnr", 1)
    conditions: dict[str, dict] = field(default_factory=dict)

    def __post_init__(self):
        if self.rivals is None:
            object.__setattr__(self, "rivals", {NOTHING: itemgetter(self.damaged)})


KEPT_NOTE = (
    f'"{KEPT}" is what apply writes: pixels with found opacity below clear_below as they came.'
)


def _cloud_notes(rows):
    known = "psnr_seen" in rows[0]
    hole = "the true opacity is" if known else "the network found an opacity of"
    return [
        "PSNR in dB, MAE on 0..1; means over the pictures that have such pixels, nan where none.",
        f"Inpainting is told its hole: where {hole} {THICK_FROM} or more."
        + (" Oracles are told the true opacity." if known else ""),
        KEPT_NOTE,
    ]


# By the opacity of cloud; pairs, whose opacity is not known, as a whole.
CLOUDS = Evaluation(
    damaged="cloudy",
    rivals={
        NOTHING: itemgetter("cloudy"),
        PRIOR: _dark_channel("cloudy"),
        **{name: _thick_painted(inpaint) for name, inpaint in _PAINTERS.items()},
        UNMIXED: _oracle(baselines.unmix),
        "oracle: unmix + Telea": _oracle(baselines.unmix_and_inpaint),
    },
    scores=partial(region_scores, "opacity"),
    groups=BY_OPACITY,
    notes=_cloud_notes,
    help="Measure the trained network against rivals: PSNR, SSIM, MAE by opacity of cloud.",
    validation=validation_scores,
    best=("psnr_seen", 1),
    conditions=CONDITIONS,
)

# Inside the hole alone, by the share of the picture that is missing.
HOLES = Evaluation(
    damaged="holed",
    rivals={
        "mean colour": _hole_painted(baselines.inpaint_mean),
        **{name: _hole_painted(inpaint) for name, inpaint in _PAINTERS.items()},
    },
    scores=_filled_scores,
    columns={
        "hole_l1": Column("L1", 4, 5),
        "hole_psnr": Column("PSNR", 1, 5),
        "hole_ssim": Column("SSIM", 3, 5),
        "hole_sharpness": Column("sharp", 2, 5, "median"),
        "repeats": Column("repeats", 2, 7),
    },
    groups=_by_cover,
    notes=lambda rows: [
        "Over the missing pixels (hole >= .5) alone: L1 on 0..1, PSNR in dB, SSIM; means.",
        "sharp: squared differences of neighbours inside the hole over those of the truth.",
        "The median over the pictures: beside nearly flat ground anything looks sharp.",
        "repeats: the greatest autocorrelation of the detail well inside a hole, less that of the",
        "truth; a pattern of dots or stripes is above 0.",
    ],
    help="Measure the trained network against classical inpainting: L1, PSNR, SSIM and sharpness\n"
    "inside the hole, by the share of the picture that is missing.",
    validation=hole_validation,
    best=("hole_score", -1),
)

HAZE = Evaluation(
    damaged="hazy",
    rivals={NOTHING: itemgetter("hazy"), PRIOR: _dark_channel("hazy")},
    help="Measure the trained network against doing nothing and the dark channel prior: PSNR, "
    "SSIM, MAE.",
    validation=haze_validation,
)
