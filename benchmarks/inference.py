"""How fast is apply, and what share of it is the network?

    python benchmarks/inference.py [--script mod_defog] [--sides 1024 4096] [--rounds 5]

Prints for each side: megapixels a second of the restored picture, and what share they are of those
that the bare network makes of 1024 x 1024 pixels in memory; the network's share of the time, and
what blending and finishing the pixels cost on top of it; and how many more pixels the network sees
where tiles overlap. Reading and writing files is left out. The weights are not trained: time does
not depend on them. Sides alternate; medians.
"""

import argparse
import importlib
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf
from within import timed

from util.restore import tiles
from util.restore.bands import restore_picture, tile_counts
from util.restore.by_rows import parts_of, rows_at_once
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

    by_rows = parts_of(task, networks, settings)
    network = Trained(task, settings, networks, Path("none"), 0, restore, by_rows=by_rows)
    network, within = timed(network)
    rng = np.random.default_rng(0)
    pictures = {n: rng.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in sides}
    tile = {n: rng.random((1, 1024, 1024, c), np.float32) for n, c in task.kind.given.items()}
    rows, bare = {n: [] for n in sides}, []
    for number in range(rounds + 1):
        within.clear()
        network.restore(tile)
        bare.append(1024**2 / 1e6 / sum(within))
        for side, pixels in pictures.items():
            within.clear()
            start = time.perf_counter()
            restore_picture(network, pixels)
            total = time.perf_counter() - start
            if number:  # the first round warms up
                rows[side].append((total, sum(within)))
    print(f"{task.name}, {rounds} rounds, medians")
    print(f"the bare network: {statistics.median(bare[1:]):.2f} MP/s")
    print("       side  tiles   MP/s  of the bare  network share  around it / network  more pixels")
    for side, times in rows.items():
        speed = side**2 / 1e6 / statistics.median(t for t, _ in times)
        share = statistics.median(n / t for t, n in times)
        around = statistics.median((t - n) / n for t, n in times)
        plan = tiles.plan(side, side, **tiles.tiling(settings))
        more = f"{plan.work / side**2 - 1:.1%}"
        if rows_at_once(network, (side, side)):
            more = "by rows"
        print(
            f"{side:5} x {side:5} {tile_counts(network, (side, side))[0]:4} {speed:6.2f} "
            f"{speed / statistics.median(bare[1:]):12.1%} {share:14.1%} {around:20.1%} {more:>12}"
        )


if __name__ == "__main__":
    main()
