"""How fast is apply, and what share of it is the network?

    python benchmarks/inference.py [--script mod_defog] [--sides 1024 4096] [--rounds 5]

Prints for each side: megapixels a second of the restored picture, the network's share of the time,
what tiling, blending and finishing the pixels cost on top of the network, and how much more pixels
the network sees because tiles overlap. Reading and writing files is left out. The weights are not
trained: time does not depend on them. Sides alternate; medians.
"""

import argparse
import importlib
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf

from util.restore import tiles
from util.restore.bands import restore_picture
from util.use.trained import Trained, choose_device


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", default="mod_defog")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", default="all")
    options = parser.parse_args()
    task = importlib.import_module(options.script).TASK
    settings = task.settings(devices=options.devices)
    with choose_device(settings).scope():
        measure(task, settings, options.sides, options.rounds)


def measure(task, settings, sides, rounds):
    networks = task.make_state(settings).networks
    signature = {n: tf.TensorSpec((None, None, None, c)) for n, c in task.kind.given.items()}

    @tf.function(input_signature=[signature])
    def restore(batch):
        return task.restore(networks, batch, settings)

    within = []

    def timed(batch):
        start = time.perf_counter()
        found = {name: value.numpy() for name, value in restore(batch).items()}
        within.append(time.perf_counter() - start)
        return found

    network = Trained(task, settings, networks, Path("none"), 0, restore)
    network = replace(network, restore=timed)
    rng = np.random.default_rng(0)
    pictures = {n: rng.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in sides}
    rows = {n: [] for n in sides}
    for number in range(rounds + 1):
        for side, pixels in pictures.items():
            within.clear()
            start = time.perf_counter()
            restore_picture(network, pixels)
            total = time.perf_counter() - start
            if number:  # the first round warms up
                rows[side].append((total, sum(within)))
    print(f"{task.name}, {rounds} rounds, medians")
    print("       side  tiles   MP/s  network share  around it / network  overlap: more pixels")
    for side, times in rows.items():
        plan = tiles.plan(side, side, **tiles.tiling(settings))
        total = statistics.median(t for t, _ in times)
        share = statistics.median(n / t for t, n in times)
        around = statistics.median((t - n) / n for t, n in times)
        more = plan.work / side**2 - 1
        print(
            f"{side:5} x {side:5} {plan.tiles:4} {side**2 / 1e6 / total:6.2f} {share:13.1%} "
            f"{around:20.1%} {more:21.1%}"
        )


if __name__ == "__main__":
    main()
