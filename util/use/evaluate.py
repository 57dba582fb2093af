"""Measure a trained network beside its rivals: one table, and a row a picture as CSV.

What is measured, and beside whom, is an `Evaluation`: `CLOUDS`, `HOLES` or `HAZE`, which a script
names in its Task.
"""

import csv
import io
import math
import os
import statistics
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from tqdm import tqdm

from util import files, interrupt
from util.measure.baselines import BASELINES, HAZE_BASELINES, HOLE_BASELINES, THICK_FROM
from util.measure.scores import SSIM_WINDOW_PX, hole_scores, mae, psnr, score_picture, ssim
from util.pictures.find import by_stem, find_pictures
from util.pictures.pixels import PictureError, as_float, as_pixels
from util.pictures.read import read_picture
from util.pictures.store import PictureStore
from util.restore import tiles
from util.run.folder import RunFolder
from util.say import UserError, say, show
from util.use.apply import complete, find_holes, keep_clear, tiling

NETWORK, KEPT = "network", "network, clear kept"
_MOST_BIHARMONIC = 400_000  # pixels of hole; more takes minutes and gigabytes a picture


# --- kinds of evaluation ------------------------------------------------------------------------


class Column(NamedTuple):
    """A score in the table: its title, digits after the point, and width of the column."""

    title: str
    digits: int
    width: int
    summary: str = "mean"  # over the pictures; or "median"


class Evaluation:
    """What a script is measured by, and beside whom.

    A sample is a dictionary of float32 (H, W, C) that holds the `damaged` picture and "clear".

    damaged : str
        The picture of a sample that is to be restored.
    columns : dict score -> Column
    regions : dict name -> title
        The groups of columns in the table.
    help : str
        What `evaluate` does, in a line.
    """

    damaged = "hazy"
    columns: ClassVar = {
        "psnr": Column("PSNR", 1, 5),
        "ssim": Column("SSIM", 3, 4),
        "mae": Column("MAE", 4, 5),
    }
    regions: ClassVar = {"whole": "whole"}
    help = (
        "Measure the trained network against doing nothing and the dark channel prior: PSNR, SSIM, "
        "MAE."
    )

    def restore(self, trained, sample):
        """Return what the network makes of a sample: dict with restored (H, W, 3)."""
        batch = {name: sample[name] for name in trained.task.inputs}
        return tiles.run(trained.restore, batch, **tiling(trained.settings))

    def variants(self, trained, sample, found):
        """Return further pictures that follow from what the network found: dict method -> it."""
        return {}

    def rivals(self, sample):
        """Return dict method -> function (damaged, what it is told) -> restored."""
        return HAZE_BASELINES

    def told(self, sample, found):
        """Return what rivals are told besides the picture, (H, W), 0..1."""
        return None

    def painted(self, told):
        """Return how many pixels those rivals paint that are told a hole."""
        return 0

    def scores(self, restored, sample):
        """Return the scores of a picture: dict of floats, in the CSV's order."""
        pictures = np.clip(restored, 0, 1), sample["clear"]
        return {f"{score.__name__}_whole": score(*pictures) for score in (psnr, ssim, mae)}

    def value(self, row, score, region):
        """Return a score of a row in a region of the table, nan if the picture has none there."""
        return row.get(f"{score}_{region}", math.nan)

    def shown(self, rows):
        """Return the regions that the table has."""
        return [r for r in self.regions if any(f"{n}_{r}" in rows[0] for n in self.columns)]

    def notes(self, rows):
        """Return what is to be said below the table: list of lines."""
        return ["PSNR in dB, MAE on 0..1; means over the pictures."]


class _Clouds(Evaluation):
    """Scores by the opacity of cloud; of pairs, whose opacity is not known, of the whole."""

    damaged = "cloudy"
    regions: ClassVar = {
        "whole": "whole",
        "thick": "thick >= .75",
        "thin": "thin .02-.75",
        "clear": "clear < .02",
        "seen": "seen < .75",
    }
    help = "Measure the trained network against rivals: PSNR, SSIM, MAE by opacity of cloud."

    def variants(self, trained, sample, found):
        """Return what `apply` would write, 16 bits deep."""
        kept = keep_clear(
            as_pixels(sample["cloudy"], np.uint16),
            found["restored"],
            found["found_opacity"][..., 0],
            clear_below=trained.settings.clear_below,
            top_value=65535.0,
        )
        return {KEPT: as_float(kept)}

    def rivals(self, sample):
        """Return the baselines; oracles only where the opacity is known."""
        known = "opacity" in sample
        return {n: r for n, r in BASELINES.items() if known or not n.startswith("oracle")}

    def told(self, sample, found):
        """Return the true opacity, or the found one where it is not known."""
        return sample.get("opacity", found["found_opacity"])[..., 0]

    def painted(self, told):
        """Return how many pixels lie under thick cloud."""
        return np.count_nonzero(told >= THICK_FROM)

    def scores(self, restored, sample):
        """Return each score in each region."""
        known = "opacity" in sample
        opacity = sample["opacity"][..., 0] if known else np.zeros(restored.shape[:2], np.float32)
        scores = score_picture(np.clip(restored, 0, 1), sample["clear"], opacity)
        return {k: v for k, v in scores.items() if known or k.endswith("_whole")}

    def notes(self, rows):
        """Return the lines; what is said of the oracles only where they are."""
        known = "psnr_seen" in rows[0]
        hole = "the true opacity is" if known else "the network found an opacity of"
        return [
            "PSNR in dB, MAE on 0..1; means over the pictures that have such pixels, nan where "
            "none.",
            f"Inpainting is told its hole: where {hole} {THICK_FROM} or more."
            + (" Oracles are told the true opacity." if known else ""),
            f'"{KEPT}" is what apply writes: pixels with found opacity below clear_below as they '
            "came.",
        ]


class _Holes(Evaluation):
    """Scores inside the hole, by the share of the picture that is missing."""

    damaged = "holed"
    columns: ClassVar = {
        "hole_l1": Column("L1", 4, 5),
        "hole_psnr": Column("PSNR", 1, 5),
        "hole_ssim": Column("SSIM", 3, 5),
        "hole_sharpness": Column("sharp", 2, 5, "median"),
    }
    regions: ClassVar = {
        "all": "all pictures",
        "small": "< 10 % missing",
        "middle": "10-20 % missing",
        "large": "> 20 % missing",
    }
    help = (
        "Measure the trained network against classical inpainting: L1, PSNR, SSIM and sharpness\n"
        "inside the hole, by the share of the picture that is missing."
    )

    def restore(self, trained, sample):
        """Return the picture as `apply` completes it: by windows around the holes."""
        return {"restored": complete(trained, sample["holed"], sample["hole"])}

    def rivals(self, sample):
        """Return the classical inpaintings."""
        return HOLE_BASELINES

    def told(self, sample, found):
        """Return the hole."""
        return sample["hole"][..., 0]

    def painted(self, told):
        """Return how many pixels are missing, in part or wholly."""
        return np.count_nonzero(told)

    def scores(self, restored, sample):
        """Return the scores of the hole, and "cover", the share of the picture it takes."""
        cover = float(np.mean(sample["hole"] >= 0.5))
        return {
            "cover": cover,
            **hole_scores(np.clip(restored, 0, 1), sample["clear"], sample["hole"]),
        }

    def value(self, row, score, region):
        """Return the score where the picture's cover lies in the region's bin."""
        return row[score] if region in ("all", self._bin(row)) else math.nan

    def _bin(self, row):
        return "small" if row["cover"] < 0.1 else "middle" if row["cover"] <= 0.2 else "large"

    def shown(self, rows):
        """Return "all" and the bins that have a picture, unless one bin has them all."""
        bins = [self._bin(row) for row in rows]
        filled = [region for region in self.regions if region in bins]
        return ["all", *(filled if len(filled) > 1 else [])]

    def notes(self, rows):
        """Return the lines."""
        return [
            "Over the missing pixels (hole >= .5) alone: L1 on 0..1, PSNR in dB, SSIM; means.",
            "sharp: squared differences of neighbours inside the hole over those of the truth.",
            "The median over the pictures: beside nearly flat ground anything looks sharp.",
        ]


CLOUDS, HOLES, HAZE = _Clouds(), _Holes(), Evaluation()


def evaluate(trained, *, data=None, pairs=None, holes=None, count=None, csv_file=None):
    """Measure, print the table, write the CSV; return the exit status.

    Parameters
    ----------
    trained : util.use.trained.Trained
    data : str, optional
        Folder of clear pictures, all of which serve, instead of those the run held back.
    pairs : (str, str), optional
        Folder of damaged pictures, and folder of clear ones with the same names.
    holes : str, optional
        Masks of the damaged pictures of the pairs; see `util.restore.masks.Holes`.
    count : int, optional
        How many samples [setting validation_samples], or how many pairs [all].
    csv_file : str, optional
        Default: evaluation.csv in the run's folder.

    Raises
    ------
    UserError
        No picture, or the CSV cannot be written.
    """
    try:
        if pairs:
            head, cases, total = _pairs(trained, *pairs, holes, count)
        else:
            head, cases, total = _samples(trained, data, count)
    except PictureError as error:
        raise UserError(str(error)) from None
    rows, cases = [], tqdm(cases, "evaluate", total=total, unit="picture", disable=None)
    for number, (name, sample) in enumerate(cases):
        rows += _measure(trained, name, sample, first=number == 0)
    if not rows:
        say("no picture could be measured")
        return 1
    kind = trained.task.evaluation
    lines = [f"{trained.task.name}: {trained}", head, "", *table(rows, kind).split("\n"), ""]
    show(*lines, *_notes(rows, kind))
    default = RunFolder(trained.task.name, trained.settings).path / "evaluation.csv"
    path = Path(csv_file) if csv_file else default
    extra = {"script": trained.task.name, "step": trained.step, "seed": trained.settings.seed}
    _write_csv(path, [{**extra, **row} for row in rows])
    show(f"a row a picture and method: {path}")
    return 0


# --- what is measured on ------------------------------------------------------------------------


def _samples(trained, data, count):
    """Return a line that says which samples, an iterator (name, sample), and how many."""
    task, settings = trained.task, trained.settings
    if data:
        folder = Path(data).resolve()
        # Partners and depth maps belong to the pictures of the run.
        alone = {n: "" for n in ("hazy_folder", "depth_folder") if hasattr(settings, n)}
        settings = replace(settings, clear_folder=str(folder), **alone)
    sample = task.samples(settings, progress=True)[1]
    if data:
        # The held-out clouds over every picture of the folder: none of them was learnt from.
        sample.clear = PictureStore(
            find_pictures(folder),
            settings.cache_folder,
            crop_px=settings.crop_px,
            max_pixels=settings.max_pixels,
            full_scale=settings.full_scale or None,
        )
    count = count or settings.validation_samples
    where = f"all {len(sample.clear)} pictures of" if data else "the held-out pictures of"
    head = (
        f"samples 0 to {count - 1} ({count}) of {settings.crop_px} x {settings.crop_px} px, "
        f"seed {settings.seed}, ground from {where} {settings.clear_folder}"
    )
    return head, ((f"sample {n:04d}", sample(n)) for n in range(count)), count


def _pairs(trained, damaged, clear, holes, count):
    """Return the same as `_samples` for two folders; name what has no partner."""
    name = trained.task.evaluation.damaged
    sides = [by_stem(folder) for folder in (damaged, clear)]
    for mine, other, folder in ((*sides, clear), (*sides[::-1], damaged)):
        for stem in sorted(mine.keys() - other.keys()):
            say(f"left out {mine[stem]}: no {stem}.* in {folder}")
    both = sorted(sides[0].keys() & sides[1].keys())[:count]
    if not both:
        raise UserError(f"--pairs {damaged} {clear}: no name is in both folders")
    settings = trained.settings
    how = {"max_pixels": settings.max_pixels, "full_scale": settings.full_scale or None}
    finder = find_holes(trained, holes)

    def read():
        for stem in both:
            try:
                pixels = [read_picture(side[stem], **how) for side in sides]
                # Pixels are rescaled by now: full scale is the type's greatest value.
                hole = finder.find(sides[0][stem], stem, pixels[0]) if finder else None
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
            if hole is not None:
                sample["hole"] = hole[..., None].astype(np.float32)
                sample[name] *= 1 - sample["hole"]
            yield stem, sample

    return f"{len(both)} pairs of {damaged} and {clear}, whole pictures", read(), len(both)


# --- measuring ----------------------------------------------------------------------------------


def _measure(trained, name, sample, first):
    """Return the rows of one picture: dict each, one a method."""
    kind = trained.task.evaluation

    def network():
        return kind.restore(trained, sample)

    # The first call of all makes the program; only its memory counts.
    warm = _timed(network)[2] if first else 0.0
    found, seconds, grown = _timed(network)
    pictures = {NETWORK: found["restored"], **kind.variants(trained, sample, found)}
    results = {method: (made, seconds, max(warm, grown)) for method, made in pictures.items()}
    damaged, told = sample[kind.damaged], kind.told(sample, found)
    for method, restore in kind.rivals(sample).items():
        if method == "biharmonic" and kind.painted(told) > _MOST_BIHARMONIC:
            say(f"{name}: hole too large for biharmonic, left out")
            continue
        results[method] = _timed(lambda restore=restore: restore(damaged, told))
    return [
        {
            "picture": name,
            "method": method,
            **kind.scores(restored, sample),
            "seconds": seconds,
            "memory_mb": grown,
        }
        for method, (restored, seconds, grown) in results.items()
    ]


def _timed(function):
    """Return what a function returns, its seconds, and by how many MB the process grew meanwhile.

    The growth of resident memory is sampled: nan where the system does not tell it (no /proc).
    Unlike tracemalloc this sees what OpenCV and TensorFlow take.
    """
    before = _resident_mb()
    most, stop = [before], threading.Event()

    def watch():
        while not stop.wait(0.002):
            most.append(_resident_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        result = function()
    finally:
        seconds = time.perf_counter() - start
        stop.set()
        watcher.join()
    return result, seconds, max(*most, _resident_mb()) - before


def _resident_mb():
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return float("nan")


# --- the table ----------------------------------------------------------------------------------


def table(rows, kind=CLOUDS):
    """Return the table as aligned text: a line a method, means over the pictures.

    rows : list of dict
        As in the CSV: method, the scores, seconds, memory_mb.
    kind : Evaluation
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    columns = kind.columns.values()
    wide = sum(column.width for column in columns) + len(columns) - 1
    shown = kind.shown(rows)
    first = max(map(len, methods))
    titles = " | " + " ".join(column.title.rjust(column.width) for column in columns)
    lines = [
        " " * first + "".join(f" | {kind.regions[r]:^{wide}}" for r in shown) + " |   s per |   MB",
        "method".ljust(first) + titles * len(shown) + " | picture | more",
    ]
    lines.append("".join("+" if c == "|" else "-" for c in lines[1]))
    for method in methods:
        mine = [row for row in rows if row["method"] == method]
        line = method.ljust(first)
        for region in shown:
            cells = [
                _short(
                    _summary([kind.value(row, score, region) for row in mine], column.summary),
                    column.digits,
                    column.width,
                )
                for score, column in kind.columns.items()
            ]
            line += " | " + " ".join(cells)
        seconds = _summary([row["seconds"] for row in mine], "mean")
        # The most of any picture: later ones use again what the first has taken.
        memory = max(row["memory_mb"] for row in mine)
        lines.append(f"{line} | {seconds:7.3f} | {memory:4.0f}")
    return "\n".join(lines)


def _summary(values, how):
    """Return the mean or the median of the values that are not nan; nan where all are."""
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return math.nan
    return statistics.median(values) if how == "median" else math.fsum(values) / len(values)


def _short(value, digits, width):
    text = f"{value:.{digits}f}"
    return (text[1:] if text.startswith("0.") else text)[:width].rjust(width)


def _notes(rows, kind):
    memory = (
        "MB more: the most by which the process grew during one picture, sampled; for the network "
        "its building included."
    )
    return [*kind.notes(rows), memory]


def _write_csv(path, rows):
    """Write the rows whole or not at all; nan becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({k: _field(v) for k, v in row.items()})
    interrupt.guard()
    try:
        files.write(path, text.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); see --csv") from None
    finally:
        interrupt.leave()


def _field(value):
    if not isinstance(value, float):
        return value
    return "" if np.isnan(value) else f"{value:.6g}"
