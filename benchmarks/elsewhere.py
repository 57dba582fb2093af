"""Train on all scenes but one, measure on that one, in turn: how good is it elsewhere?

    python benchmarks/elsewhere.py
    python benchmarks/elsewhere.py --minutes 10 --csv docs/results/200_elsewhere.csv
    python benchmarks/elsewhere.py --steps 2000 --only l8_itaipu s2_virginia
    python benchmarks/elsewhere.py --script mod_mend -- --learning-rate 5e-4

A scene is a folder of data/clear. Every scene's run takes the same minutes, speed being measured
first, or the same steps; it goes through the whole schedule of its learning rate. Measured is its
last checkpoint, by `evaluate --conditions --data SCENE`, on the same pictures whatever settings
but crop_px stand behind "--": so candidates can be compared. neon_yell_a and neon_yell_b are
neighbouring places of one flight. Run it while nothing else runs.
"""

import argparse
import csv
import importlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import fields
from datetime import date
from functools import partial
from pathlib import Path

from short_runs import PROJECT, rows_of, run, steps_in, train, words_of

from util.measure.evaluation import KEPT
from util.settings import OTHER_SAMPLES, row_of
from util.use.by_condition import COLUMNS, scores, table
from util.use.table import cell, summed_up

CLEAR = PROJECT / "data" / "clear"
SCENES = sorted(path.name for path in CLEAR.iterdir() if path.is_dir())
TEXT = ("script", "condition", "picture", "method")
CELLS = {
    (method, score): (f"{title}: {column.title}", column)
    for title, group in COLUMNS.items()
    for method, score, column in group
}
GAIN = KEPT, "gain"


def usual_samples(script):
    """Return the settings of configure.py that samples depend on, but for folders."""
    cls = importlib.import_module(script).TASK.settings
    return {
        field.name: field.default
        for field in fields(cls)
        if row_of(cls, field.name).kind == OTHER_SAMPLES and not field.name.endswith("_folder")
    }


def train_without(scene, folder, steps, *, options):
    """Train in a folder on all scenes but one; return the last checkpoint."""
    clear = Path(folder, "clear")
    for other in SCENES:
        if other != scene:
            shutil.copytree(CLEAR / other, clear / other)
    places = {"clear_folder": clear, "cache_folder": Path(folder, "cache")}
    return train(options.script, folder, steps, places, *options.words)


def measure(scene, steps, options):
    """Return the rows of a scene that the run of so many steps never saw."""
    with tempfile.TemporaryDirectory() as folder:
        last = train_without(scene, folder, steps, options=options)
        file = Path(folder, "evaluation.csv")
        run(
            options.script,
            "evaluate",
            "--conditions",
            *(f"--data={CLEAR / scene}", f"--count={options.count}", f"--csv={file}"),
            *(f"--checkpoint={last}", f"--cache-folder={Path(folder, 'cache')}"),
            *options.words,
            *words_of(usual_samples(options.script)),
        )
        rows = rows_of(file)
    return [{n: v if n in TEXT else float(v or "nan") for n, v in row.items()} for row in rows]


def text_of(key, values):
    """Return a cell of the table; a gain that is a loss is bold."""
    column = CELLS[key][1]
    bold = "**" if key == GAIN and summed_up(values, column) < 0 else ""
    return f"{bold}{cell(values, column)}{bold}"


def write_csv(path, found, steps, options):
    """Write the means over the scenes, and each scene's gain, as a table for docs/results.py."""
    git = ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"]
    head = {
        "section": "Thin cloud",
        "title": f"{options.script}.py on scenes that it never saw, by condition",
        "commit": subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip(),
        "date": date.today(),
        "command": f"python benchmarks/elsewhere.py {shlex.join(sys.argv[1:])}".strip(),
        "text": f"Each bundled scene in turn: {steps:,} steps on the others, then {options.count} "
        "samples of it under each condition. Means over the scenes; gain is over doing nothing.",
    }
    by_scene = {scene: scores(rows) for scene, rows in found.items()}
    everywhere = scores([row for rows in found.values() for row in rows])
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {key}: {text}\n" for key, text in head.items())
        writer = csv.writer(file, lineterminator="\n")
        titles = [title for title, _ in CELLS.values()]
        writer.writerow(["condition", *titles, *(f"gain: {scene}" for scene in by_scene)])
        for name, values in everywhere.items():
            means = [text_of(key, values[key]) for key in CELLS]
            writer.writerow(
                [name, *means, *(text_of(GAIN, of[name][GAIN]) for of in by_scene.values())]
            )


def main():
    """Train, measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", default="mod_defog", help="mod_defog or mod_mend [mod_defog]")
    parser.add_argument("--minutes", type=float, default=3, help="of training a scene's run [3]")
    parser.add_argument("--steps", type=int, help="of a scene's run, instead of minutes")
    parser.add_argument("--count", type=int, default=32, help="samples under each condition [32]")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=SCENES, metavar="SCENE")
    parser.add_argument("--csv", metavar="FILE", help="the means, as a table for docs/results.py")
    parser.add_argument("words", nargs="*", metavar="-- SETTING", help="settings of the script")
    options = parser.parse_args()
    train_first = partial(train_without, options.only[0], options=options)
    steps = options.steps or steps_in(options.minutes, train_first)
    print(f"{options.script} {' '.join(options.words)}: {steps:,} steps on all scenes but one")
    found = {}
    for scene in options.only:
        found[scene] = measure(scene, steps, options)
        lines = table(found[scene])
        print(f"\n{scene}", *lines[: lines.index("")], sep="\n", flush=True)
    print("\nall", *table([row for rows in found.values() for row in rows]), sep="\n")
    if options.csv:
        write_csv(options.csv, found, steps, options)


if __name__ == "__main__":
    main()
