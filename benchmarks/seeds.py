"""Train a script from several seeds, the same steps each: does every run stay steady and alive?

    python benchmarks/seeds.py mod_GAN_cloud mod_pix2pix mod_colorize --steps 600
    python benchmarks/seeds.py mod_defog --steps 2000 --seeds 5

A row a seed: the greatest of all logged losses over the median of its ten rows before, where that
was, and the scores of the last step on the pictures held back. The first ten rows (the rate rises
there) have no such median. How long a run takes does not matter, so other work may run beside it.
"""

import argparse
import math
import statistics
import tempfile
from pathlib import Path

from short_runs import SCRIPTS, rows_of, train

_BEFORE = 10  # rows whose median a loss is compared with


def greatest_spike(rows):
    """Return the greatest loss over the median of those before: (ratio, name, step).

    rows : list of dict
        Of log.csv. A loss that is no number is greater than any. One below zero, such as a
        critic's, is left out: no ratio says how far it jumped.
    """
    found = [(0.0, "", "")]
    for name in (column for column in rows[0] if column.startswith("loss")):
        # A last step between two rows has scores alone.
        losses = [(float(row[name]), row["step"]) for row in rows if row[name]]
        for number in range(_BEFORE, len(losses)):
            usual = statistics.median(loss for loss, _ in losses[number - _BEFORE : number])
            now, step = losses[number]
            if math.isnan(now):
                found.append((math.inf, name, step))
            elif usual > 0:
                found.append((now / usual, name, step))
    return max(found)


def main():
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scripts", nargs="+", choices=SCRIPTS, metavar="SCRIPT")
    parser.add_argument("--steps", type=int, default=600, help="of each run [600]")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a script [3]")
    options = parser.parse_args()
    row_every = max(1, options.steps // 60)
    often = {"log_every": row_every, "validate_every": 40 * row_every}  # scores share a row
    for script in options.scripts:
        print(f"{script}, {options.steps} steps")
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                changes = {**often, "seed": seed}
                train(script, folder, options.steps, changes)
                rows = rows_of(Path(folder, script, "log.csv"))
            ratio, name, step = greatest_spike(rows)
            scores = {n: v for n, v in rows[-1].items() if n.startswith("validation_") and v}
            said = ", ".join(f"{n.removeprefix('validation_')} {v}" for n, v in scores.items())
            print(f"  seed {seed}: {ratio:.2f} ({name}, step {step}); {said}", flush=True)


if __name__ == "__main__":
    main()
