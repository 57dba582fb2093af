"""Compare each script as it is published with ours: equal minutes, the same pictures held back.

    python benchmarks/originals.py --minutes 10
    python benchmarks/originals.py --only mod_defog mod_mend --folder kept --sheets sheets

`--preset source` and the values of configure.py train one after the other for the same minutes,
speed being measured first; what has no falling rate just stops there. Both restore the same
samples of the scenes held back, larger ones than they were trained on: with clouds, haze and holes
as ours learnt them, not as the original did. Shown is the table of `evaluate`; --sheets keeps
pictures of both beside each other. With --folder the runs are kept, and what is there already is
not trained again. Run it while nothing else runs.
"""

import argparse
import importlib
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from short_runs import SCRIPTS, trained_for

from util.measure.evaluation import NETWORK
from util.run import draw
from util.use.methods import methods_of, rows_of
from util.use.table import table
from util.use.trained import choose_device, load

PRESETS = {"source": 6, "ours": 60}  # and how many steps tell the speed: some take a minute each
_SHOWN = 4  # pictures of a sheet


def compare(task, folder, options):
    """Train both, print the table, keep the sheet."""
    usual, rows, shown, networks = task.settings(devices="cpu"), [], {}, {}
    with choose_device(usual).scope():
        for preset, tried in PRESETS.items():
            # Both hold the same scenes back.
            held = {n: getattr(usual, n) for n in ("validation_by", "validation_share")}
            settings = {"preset": preset, **held}
            how = task.name, Path(folder, preset), settings, tried
            networks[preset] = load(task, usual, trained_for(options.minutes, *how))
        ours = networks["ours"]
        wanted = replace(ours.settings, crop_px=options.side)
        sample = task.samples(wanted, False, None, ours.split)[1]
        for preset, network in networks.items():
            methods = methods_of(network)
            methods = {f"{preset}, {network.step:,} steps": methods.pop(NETWORK)} | (
                methods if network is ours else {}
            )
            for number in range(options.count):
                given = sample(number)
                rows += rows_of(methods, task.measure, f"{number}", given, first=not number)
                given[preset] = given.pop("restored")
                shown.setdefault(number, {}).update(given)
    lines = [*table(rows, task.measure), "", *task.measure.notes(rows)]
    print(task.name, *lines, "", sep="\n", flush=True)
    if options.sheets:
        names = (task.measure.damaged, *PRESETS, "clear")
        pictures = [shown[number] for number in range(min(_SHOWN, options.count))]
        columns = {name: np.stack([each[name] for each in pictures]) for name in names}
        title = f"{task.name}, {options.minutes:g} minutes each"
        draw.save_png(draw.sheet(title, columns), Path(options.sheets, f"{task.name}.png"))


def main():
    """Compare what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, help="of training each [10]")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, metavar="SCRIPT")
    parser.add_argument("--count", type=int, default=32, help="samples [32]")
    parser.add_argument("--side", type=int, default=256, help="of a sample [256]")
    parser.add_argument("--folder", help="where the runs are kept [a temporary folder]")
    parser.add_argument("--sheets", help="folder for pictures")
    options = parser.parse_args()
    for script in options.only:
        with tempfile.TemporaryDirectory() as temporary:
            task = importlib.import_module(script).TASK
            compare(task, options.folder or temporary, options)


if __name__ == "__main__":
    main()
