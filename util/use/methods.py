"""Restore a sample by the network and by its rivals, and say how good each is, and how costly."""

import os
import threading
import time

import numpy as np

from util.measure.evaluation import KEPT, NETWORK, LeftOut
from util.measure.fit import fitted
from util.pictures.pixels import as_float, as_pixels
from util.restore.whole import clear_kept
from util.say import say

# A method that goes on from what another one has found takes as long as both.
_AFTER = {KEPT: NETWORK}


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


def rows_of(methods, measure, name, sample, *, first=False, fit=False):
    """Return the rows of one picture: dict each, one a method.

    Parameters
    ----------
    methods : dict method -> callable
        See `methods_of`; what the network finds is in the sample afterwards.
    measure : util.measure.evaluation.Evaluation
    name : str
        The picture's.
    sample : dict of float32 (H, W, C)
    first : bool
        Whether this is the first picture of all.
    fit : bool
        Whether each restored picture is `fitted` to the clear one, by its ground, before it is
        measured.
    """
    rows, costs = [], {}
    # What was filled in is of no date, and tells nothing of its light.
    ground = sample["ground"][..., 0] if "ground" in sample else None
    fit = fit and (ground is None or ground.any())
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
        restored = fitted(restored, sample["clear"], ground) if fit else np.clip(restored, 0, 1)
        scores = measure.scores(restored, sample)
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
