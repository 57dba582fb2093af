"""Measure a trained network beside its rivals: one table, and a row a picture as CSV."""

import csv
import io
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
from tqdm import tqdm

from util import interrupt, loop, tiles
from util.apply import keep_clear, tiling
from util.baselines import BASELINES, THICK_FROM
from util.errors import UserError
from util.pictures import (
    PictureError,
    PictureStore,
    as_float,
    as_pixels,
    find_pictures,
    read_picture,
)
from util.scores import SSIM_WINDOW_PX, mean_scores, score_picture

METRICS = ("psnr", "ssim", "mae")
REGIONS = {
    "whole": "whole",
    "thick": "thick >= .75",
    "thin": "thin .02-.75",
    "clear": "clear < .02",
    "seen": "seen < .75",
}
NETWORK, KEPT = "network", "network, clear kept"
_MOST_BIHARMONIC = 400_000  # pixels of hole; more takes minutes and gigabytes a picture


def evaluate(trained, *, data=None, pairs=None, count=None, csv_file=None):
    """Measure, print the table, write the CSV; return the exit status.

    Parameters
    ----------
    trained : util.trained.Trained
    data : str, optional
        Folder of clear pictures, all of which serve, instead of those the run held back.
    pairs : (str, str), optional
        Folder of cloudy pictures, and folder of clear ones with the same names.
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
            head, cases, total = _pairs(trained, *pairs, count)
        else:
            head, cases, total = _samples(trained, data, count)
    except PictureError as error:
        raise UserError(str(error)) from None
    known = not pairs  # the true opacity
    rows, cases = [], tqdm(cases, "evaluate", total=total, unit="picture", disable=None)
    for number, (name, sample) in enumerate(cases):
        rows += _measure(trained, name, sample, known, first=number == 0)
    if not rows:
        print("no picture could be measured", file=sys.stderr)
        return 1
    print(f"{trained.task.name}: {trained}\n{head}\n\n{table(rows)}\n\n{_notes(known)}")
    default = loop.run_folder(trained.task, trained.settings) / "evaluation.csv"
    path = Path(csv_file) if csv_file else default
    extra = {"script": trained.task.name, "step": trained.step, "seed": trained.settings.seed}
    _write_csv(path, [{**extra, **row} for row in rows])
    print(f"a row a picture and method: {path}")
    return 0


# --- what is measured on ------------------------------------------------------------------------


def _samples(trained, data, count):
    """Return a line that says which samples, an iterator (name, sample), and how many."""
    task, settings = trained.task, trained.settings
    if data:
        folder = Path(data).resolve()
        settings = replace(settings, clear_folder=str(folder))
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


def _pairs(trained, cloudy, clear, count):
    """Return the same as `_samples` for two folders; name what has no partner."""
    sides = []
    for folder in (cloudy, clear):
        stems = {}
        for path in find_pictures(folder):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in stems:
                print(f"left out {path}: {stems[stem].name} has the same name", file=sys.stderr)
                continue
            stems[stem] = path
        sides.append(stems)
    for mine, other, folder in ((*sides, clear), (*sides[::-1], cloudy)):
        for stem in sorted(mine.keys() - other.keys()):
            print(f"left out {mine[stem]}: no {stem}.* in {folder}", file=sys.stderr)
    both = sorted(sides[0].keys() & sides[1].keys())[:count]
    if not both:
        raise UserError(f"--pairs {cloudy} {clear}: no name is in both folders")
    settings = trained.settings
    how = {"max_pixels": settings.max_pixels, "full_scale": settings.full_scale or None}

    def read():
        for stem in both:
            try:
                pixels = [read_picture(side[stem], **how) for side in sides]
            except PictureError as error:
                print(f"left out {error}", file=sys.stderr)
                continue
            shapes = [p.shape[:2] for p in pixels]
            if shapes[0] != shapes[1] or min(shapes[0]) < SSIM_WINDOW_PX:
                print(
                    f"left out {stem}: cloudy {shapes[0]}, clear {shapes[1]} (height, width); must "
                    f"be equal and {SSIM_WINDOW_PX} or more",
                    file=sys.stderr,
                )
                continue
            yield stem, dict(zip(("cloudy", "clear"), map(as_float, pixels), strict=True))

    return f"{len(both)} pairs of {cloudy} and {clear}, whole pictures", read(), len(both)


# --- measuring ----------------------------------------------------------------------------------


def _measure(trained, name, sample, known, first):
    """Return the rows of one picture: dict each, one a method."""
    batch = {n: sample[n] for n in trained.task.inputs}

    def network():
        return tiles.run(trained.restore, batch, **tiling(trained.settings))

    # The first call of all makes the program; only its memory counts.
    warm = _timed(network)[2] if first else 0.0
    found, seconds, grown = _timed(network)
    cloudy, opacity = sample["cloudy"], found["found_opacity"][..., 0]
    kept = _as_applied(trained, cloudy, found["restored"], opacity)
    results = {
        NETWORK: (found["restored"], seconds, max(warm, grown)),
        KEPT: (kept, seconds, max(warm, grown)),
    }
    true = sample["opacity"][..., 0] if known else None
    hole = opacity if true is None else true
    for method, restore in BASELINES.items():
        if method.startswith("oracle") and not known:
            continue
        if method == "biharmonic" and np.count_nonzero(hole >= THICK_FROM) > _MOST_BIHARMONIC:
            tqdm.write(f"{name}: hole too large for biharmonic, left out", file=sys.stderr)
            continue
        results[method] = _timed(lambda restore=restore: restore(cloudy, hole))
    rows = []
    for method, (restored, seconds, grown) in results.items():
        scores = score_picture(
            np.clip(restored, 0, 1),
            sample["clear"],
            np.zeros_like(opacity) if true is None else true,
        )
        kept_scores = {k: v for k, v in scores.items() if known or k.endswith("_whole")}
        rows.append(
            {
                "picture": name,
                "method": method,
                **kept_scores,
                "seconds": seconds,
                "memory_mb": grown,
            }
        )
    return rows


def _as_applied(trained, cloudy, restored, opacity):
    """Return what `apply` would write, 16 bits deep."""
    pixels = as_pixels(cloudy, np.uint16)
    clear_below = trained.settings.clear_below
    return as_float(
        keep_clear(pixels, restored, opacity, clear_below=clear_below, top_value=65535.0)
    )


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


def table(rows):
    """Return the table as aligned text: a line a method, means over the pictures.

    rows : list of dict
        As in the CSV: method, <metric>_<region>, seconds, memory_mb.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    shown = [r for r in REGIONS if f"psnr_{r}" in rows[0]]
    first = max(map(len, methods))
    lines = [
        " " * first + "".join(f" | {REGIONS[r]:^16}" for r in shown) + " |   s per |   MB",
        "method".ljust(first) + " |  PSNR SSIM   MAE" * len(shown) + " | picture | more",
    ]
    lines.append("".join("+" if c == "|" else "-" for c in lines[1]))
    for method in methods:
        mine = [row for row in rows if row["method"] == method]
        means = mean_scores(
            [{k: v for k, v in row.items() if not isinstance(v, str)} for row in mine]
        )
        line = method.ljust(first)
        for region in shown:
            psnr, ssim, mae = (means[f"{metric}_{region}"] for metric in METRICS)
            line += f" | {psnr:5.1f} {_short(ssim, 3, 4)} {_short(mae, 4, 5)}"
        # The most of any picture: later ones use again what the first has taken.
        memory = max(row["memory_mb"] for row in mine)
        lines.append(f"{line} | {means['seconds']:7.3f} | {memory:4.0f}")
    return "\n".join(lines)


def _short(value, digits, width):
    text = f"{value:.{digits}f}"
    return (text[1:] if text.startswith("0.") else text)[:width].rjust(width)


def _notes(known):
    hole = "the true opacity is" if known else "the network found an opacity of"
    notes = [
        "PSNR in dB, MAE on 0..1; means over the pictures that have such pixels, nan where none.",
        f"Inpainting is told its hole: where {hole} {THICK_FROM} or more."
        + (" Oracles are told the true opacity." if known else ""),
        f'"{KEPT}" is what apply writes: pixels with found opacity below clear_below as they came.',
        "MB more: the most by which the process grew during one picture, sampled; for the network "
        "its building included.",
    ]
    return "\n".join(notes)


def _write_csv(path, rows):
    """Write the rows whole or not at all; nan becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({k: _field(v) for k, v in row.items()})
    temporary = path.with_name(f".{path.name}-{uuid4().hex}.tmp")
    interrupt.guard()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); see --csv") from None
    finally:
        temporary.unlink(missing_ok=True)
        interrupt.leave()


def _field(value):
    if not isinstance(value, float):
        return value
    return "" if np.isnan(value) else f"{value:.6g}"
