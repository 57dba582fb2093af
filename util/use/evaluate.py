"""Measure a trained network beside its rivals: one table, and a row a picture as CSV.

What is measured, and beside whom, is the `Evaluation` of the script's Task.
"""

import os
import threading
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from util import files, interrupt
from util.measure.evaluation import KEPT, NETWORK, LeftOut
from util.measure.scores import SSIM_WINDOW_PX
from util.pictures.find import find_pictures, stem_of
from util.pictures.pairs import find_pairs
from util.pictures.pixels import PictureError, as_float, as_pixels
from util.pictures.read import read_picture
from util.restore.whole import clear_kept
from util.run.folder import RunFolder
from util.samples.ground import ground_of, open_store
from util.say import UserError, say, show
from util.use.apply import find_holes
from util.use.table import csv_text, notes, table

# A method that goes on from what another one has found takes as long as both.
_AFTER = {KEPT: NETWORK}


def evaluate(trained, *, data=None, pairs=None, holes=None, count=None, csv_file=None):
    """Measure, print the table, write the CSV; return the exit status.

    Parameters
    ----------
    trained : util.use.trained.Trained
    data : str, optional
        Folder of clear pictures, all of which serve, instead of those the run held back.
    pairs : (str, str), optional
        Folder of damaged pictures, and folder of clear ones; see `util.pictures.pairs.find_pairs`.
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
    measure, methods = trained.task.measure, methods_of(trained)
    rows, cases = [], tqdm(cases, "evaluate", total=total, unit="picture", disable=None)
    for number, (name, sample) in enumerate(cases):
        rows += _measure(methods, measure, name, sample, first=number == 0)
    if not rows:
        say("no picture could be measured")
        return 1
    default = RunFolder(trained.task.name, trained.settings).path / "evaluation.csv"
    path = Path(csv_file) if csv_file else default
    extra = {"script": trained.task.name, "step": trained.step, "seed": trained.settings.seed}
    lines = [f"{trained.task.name}: {trained}", head, "", *table(rows, measure).split("\n"), ""]
    try:
        _write(path, csv_text([{**extra, **row} for row in rows]))
    finally:  # neither is lost with the other
        show(*lines, *notes(rows, measure))
    show(f"a row a picture and method: {path}")
    return 0


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


def _samples(trained, data, count):
    """Return a line that says which samples, an iterator (name, sample), and how many."""
    settings, grounds = trained.settings, None
    where = f"the held-out pictures of {settings.clear_folder}"
    if data:
        # The held-out clouds over every picture of the folder: none of them was learnt from.
        store = open_store(find_pictures(data), "--data", settings, settings.crop_px)
        grounds = 2 * [ground_of(store, settings, training=False)]
        where = f"all {len(store)} pictures of {Path(data).resolve()}"
    sample = trained.task.samples(settings, progress=True, grounds=grounds)[1]
    count = count or settings.validation_samples
    head = (
        f"samples 0 to {count - 1} ({count}) of {settings.crop_px} x {settings.crop_px} px, "
        f"seed {settings.seed}, ground from {where}"
    )
    return head, ((f"sample {n:04d}", sample(n)) for n in range(count)), count


def _pairs(trained, damaged, clear, holes, count):
    """Return the same as `_samples` for two folders; name what has no partner."""
    name = trained.task.measure.damaged
    pairs, lonely = find_pairs(damaged, clear, f"--pairs {name.upper()}", "--pairs CLEAR")
    for path, reason in lonely:
        say(f"left out {path}: {reason}")
    both = {}
    for partner, found in pairs:
        for path in found:
            stem = stem_of(path, Path(damaged))
            # Two of a name, a.jpg and a.png, are told apart in the CSV.
            both[stem if stem not in both else f"{stem}{path.suffix}"] = path, partner
    both = dict(sorted(both.items())[:count])
    settings = trained.settings
    how = {"max_pixels": settings.max_pixels, "full_scale": settings.full_scale or None}
    finder = find_holes(trained, holes)

    def read():
        for stem, sides in both.items():
            try:
                pixels = [read_picture(side, **how) for side in sides]
                # Pixels are rescaled by now: full scale is the type's greatest value.
                hole = finder.find(sides[0], stem, pixels[0]) if finder else None
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


def methods_of(trained):
    """Return who is measured: dict method -> function(sample) -> float32 (H, W, 3).

    The network comes first: what it finds it puts into the sample, for those after it.
    """
    kind, measure = trained.task.kind, trained.task.measure

    def network(sample):
        sample |= kind.complete(trained, sample)
        return sample["restored"]

    def kept(sample):
        came = as_pixels(sample[measure.damaged], np.uint16)
        return as_float(clear_kept(came, sample, trained.settings, white=65535.0)[0])

    own = {NETWORK: network, KEPT: kept} if kind.finds_opacity else {NETWORK: network}
    return {**own, **measure.rivals}


def _measure(methods, measure, name, sample, first):
    """Return the rows of one picture: dict each, one a method."""
    rows, costs = [], {}
    sample = dict(sample)  # the caller's own stays as it is
    for method, restore in methods.items():
        try:
            # The first call of all makes the network's program; only its memory counts.
            warm = _timed(restore, dict(sample))[2] if first and not rows else 0.0
            restored, seconds, grown = _timed(restore, sample)
        except LeftOut as why:
            if str(why):
                say(f"{name}: {why}, left out")
            continue
        before = costs.get(_AFTER.get(method), (0.0, 0.0))
        costs[method] = seconds + before[0], max(grown, warm, before[1])
        scores = measure.scores(np.clip(restored, 0, 1), sample)
        times = dict(zip(("seconds", "memory_mb"), costs[method], strict=True))
        rows.append({"picture": name, "method": method, **scores, **times})
    return rows


def _timed(restore, sample):
    """Return the restored sample, the seconds, and by how many MB the process grew meanwhile.

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
        result = restore(sample)
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
