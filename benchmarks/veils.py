"""Compare mod_GAN_cloud with mod_defog, equal minutes each: on its own veil, and on white cloud.

    python benchmarks/veils.py --minutes 30
    python benchmarks/veils.py --folder kept

The veil of mod_GAN_cloud is opacity and light at once, and darkens bright ground; mod_defog learns
white cloud of many kinds. Each is measured on both composites of mod_GAN_cloud's samples, of the
scenes held back. With --folder the runs are kept, and what is there already is not trained again.
Run it while nothing else runs.
"""

import argparse
import tempfile
from dataclasses import replace

from short_runs import trained_for

import mod_defog
import mod_GAN_cloud
from util.measure.evaluation import NETWORK
from util.use.methods import methods_of, rows_of
from util.use.table import table
from util.use.trained import choose_device, load


def compare(folder, options):
    """Train both and print a table of each composite."""
    networks, task = {}, mod_GAN_cloud.TASK
    with choose_device(task.settings(devices="cpu")).scope():
        for each in (mod_defog.TASK, task):
            checkpoint = trained_for(options.minutes, each.name, folder, {})
            networks[each.name] = load(each, each.settings(devices="cpu"), checkpoint)
        own = networks[task.name]
        methods = {
            f"{name}, {network.step:,} steps": methods_of(network)[NETWORK]
            for name, network in networks.items()
        }
        for composite in ("veil", "white"):
            settings = replace(own.settings, composite=composite, crop_px=options.side)
            sample, rows = task.samples(settings, False, None, own.split)[1], []
            for number in range(options.count):
                both = methods | task.measure.rivals
                rows += rows_of(both, task.measure, f"{number}", sample(number), first=not number)
            print(composite, *table(rows, task.measure), "", sep="\n", flush=True)


def main():
    """Compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="of training each [30]")
    parser.add_argument("--count", type=int, default=64, help="samples [64]")
    parser.add_argument("--side", type=int, default=64, help="of a sample [64]")
    parser.add_argument("--folder", help="where the runs are kept [a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        compare(options.folder or temporary, options)


if __name__ == "__main__":
    main()
