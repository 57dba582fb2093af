"""Measure how fast samples are drawn: by the threads of a training, and by processes.

    python benchmarks/samples.py
    python benchmarks/samples.py mod_GAN_poly mod_deblurgan --processes 1 4 16

A row a script: processor time of one sample in milliseconds, then samples a second. A GPU that
takes a batch of 64 in 16 ms wants 4,000 of them. All ways take turns on the same numbers; medians.
Run it while nothing else runs.
"""

import argparse
import contextlib
import importlib
import os
import statistics
import time

import numpy as np
from short_runs import SCRIPTS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help="[mod_defog]")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2], help="[1 2]")
    parser.add_argument("--batch", type=int, default=64, help="samples of a batch [64]")
    parser.add_argument("--rounds", type=int, default=12, help="batches of each way [12]")
    options = parser.parse_args()
    if unknown := set(options.scripts) - set(SCRIPTS):
        parser.error(f"no such script: {', '.join(sorted(unknown))}")
    counts = dict.fromkeys([0, *options.processes])
    names = ["threads", *(f"{n} process{'es' * (n > 1)}" for n in options.processes)]
    print(f"{'':16}{'ms':>8}" + "".join(f"{name:>13}" for name in names))
    for script in options.scripts or ["mod_defog"]:
        cost_ms, rates = measure(importlib.import_module(script).TASK, counts, options)
        print(f"{script:16}{cost_ms:8.2f}" + "".join(f"{rate:13.0f}" for rate in rates), flush=True)


def measure(task, counts, options):
    """Return the processor time of a sample, ms, and samples a second of each way."""
    from util.samples.batches import drawing

    sample = task.samples(task.settings(), progress=False)[0]
    batch = {
        name: np.empty((options.batch, *array.shape), np.float32)
        for name, array in sample(0).items()
    }
    times, costs = {count: [] for count in counts}, []
    with contextlib.ExitStack() as stack:
        fills = {count: stack.enter_context(drawing(sample, count)) for count in counts}
        for number in range(options.rounds + 1):
            numbers = range(number * options.batch, (number + 1) * options.batch)
            begun = time.process_time()
            for one in numbers:
                sample(one)
            costs.append((time.process_time() - begun) / options.batch)
            for count, fill in fills.items():
                begun = time.perf_counter()
                fill(batch, numbers)
                times[count].append(time.perf_counter() - begun)
    # The first round starts the processes and reads the pictures.
    cost_ms = 1000 * statistics.median(costs[1:])
    return cost_ms, [options.batch / statistics.median(found[1:]) for found in times.values()]


if __name__ == "__main__":
    main()
