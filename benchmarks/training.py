"""Measure what training costs besides its steps: the loop around them, saving, and the start.

    python benchmarks/training.py
    python benchmarks/training.py --rounds 20 --starts 5
    python benchmarks/training.py --only loop

loop   blocks of steps in the real loop (`util.train.loop.train`: real samples, logging, the bar)
       take turns with blocks of the compiled step alone on one batch that is repeated.
save   how long a checkpoint of the real state takes, as a share of the steps between two.
start  a new process, from the command to the end of the first step, part by part; and from the
       command to the first checkpoint of `train` and to the first picture of `apply`, in turns with
       another checkout if one is named (--against).

Run it while nothing else runs: reading and drawing samples uses what the step leaves free.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NEVER = 10**9  # steps; a multiple of every log_every that a person would choose

# What a new process does: the script itself, its parts timed, ended after the first step.
CHILD = """
import json, sys, time
def now(): return time.time()
marks = {"python": now()}
import mod_defog
marks["import: TensorFlow, Keras, script"] = now()
from util import command
from util.train import loop
marks["import: loop, report"] = now()
from dataclasses import replace
def marked(name, function):
    def run(*arguments, **options):
        result = function(*arguments, **options)
        marks[name] = now()
        return result
    return run
make_step = loop.make_step
def timed_step(*arguments):
    step = make_step(*arguments)
    marks["validation samples, report"] = now()
    def first(batch):
        marks["first batch"] = now()
        result = {n: float(v) for n, v in step(batch)[0].items()}
        marks["tracing and first step"] = now()
        step(batch)[1].numpy()
        marks["second step"] = now()
        print(json.dumps(marks))
        raise SystemExit(0)
    return first
loop.make_step = timed_step
task = mod_defog.TASK
task = replace(task, samples=marked("pictures", task.samples),
               make_state=marked("networks, optimisers", task.make_state))
command.main(task, "", sys.argv[1:])
"""


class Turns:
    """Stand where the loop asks after each step whether to stop, and let the two take turns."""

    def __init__(self, options, alone):
        self.options, self.alone = options, alone
        self.in_loop_s, self.alone_s, self.started, self.steps = [], [], None, 0

    def same(self, number):
        """Answer for the only process there is."""
        return True

    def any(self, stop):
        """Note the time; after a block of steps, take one of steps alone. Return True to stop."""
        self.steps += 1
        # The loop's first steps after a pause use batches that were made during the pause: they
        # are not counted. So a block begins and ends with as many batches waiting.
        if self.steps == self.options.settle:
            self.started = time.perf_counter()
        elif self.steps == self.options.settle + self.options.block:
            self.in_loop_s.append((time.perf_counter() - self.started) / self.options.block)
            time.sleep(self.options.rest)  # until the pipeline has filled up and stands still
            self.alone_s.append(self.alone())
            self.steps = 0
            done = len(self.alone_s)
            print(f"\rround {done} of {self.options.rounds}", end="", file=sys.stderr, flush=True)
        return stop or len(self.alone_s) == self.options.rounds


def defaults(runs_folder, clear_folder=None):
    """Return mod_defog's settings on the CPU, without interruptions."""
    from configure import Defog

    usual = Defog()
    folders = {
        name: str(PROJECT / getattr(usual, name))
        for name in ("clear_folder", "cloud_folder", "cache_folder")
    }
    folders |= {"clear_folder": str(clear_folder)} if clear_folder else {}
    return replace(
        usual,
        **folders,
        runs_folder=str(runs_folder),
        devices="cpu",
        steps=NEVER,
        validate_every=NEVER,
        sheet_every=NEVER,
        save_every=NEVER,
        validation_samples=usual.batch_size,
    )


def measure_loop(options, folder):
    """Return seconds a step in the loop and alone, a number a round; the state; the settings."""
    import tensorflow as tf

    import mod_defog
    from util.run import machines
    from util.samples.batches import stack
    from util.train import loop

    settings = defaults(folder, options.clear_folder)
    strategy = machines.choose_strategy(settings.devices)
    made = {}

    def remember(name, function):
        def run(*arguments, **more):
            made[name] = function(*arguments, **more)
            return made[name]

        return run

    task = replace(
        mod_defog.TASK,
        samples=remember("samples", mod_defog.TASK.samples),
        make_state=remember("state", mod_defog.TASK.make_state),
    )

    def alone():
        if "step" not in made:
            batch = stack(made["samples"][0], range(settings.batch_size))
            made["batch"] = {name: tf.constant(array) for name, array in batch.items()}
            made["step"] = loop.make_step(task, made["state"], settings)
        for _ in range(options.settle):
            made["step"](made["batch"])[1].numpy()
        start = time.perf_counter()
        for _ in range(options.block):
            made["step"](made["batch"])[1].numpy()
        return (time.perf_counter() - start) / options.block

    turns = Turns(options, alone)
    machines.Agreement = lambda strategy: turns
    loop.sheet_due = lambda step, **schedule: False  # the first ones would be timed as well
    loop.train(task, settings, strategy)
    print(file=sys.stderr)
    return turns.in_loop_s, turns.alone_s, made["state"], settings


def print_loop(in_loop_s, alone_s, options, settings):
    """Print the table of the loop."""
    both = [statistics.median(times) for times in (in_loop_s, alone_s)]
    print(
        f"\nloop: S = {settings.crop_px}, batch {settings.batch_size}, base width "
        f"{settings.base_width}; {options.rounds} rounds of {options.block} steps each, in turns"
    )
    print(f"{'':36}{'median ms':>10}{'lowest':>9}{'highest':>9}{'mean':>9}")
    rows = (("step alone, one batch repeated", alone_s), ("step in the training loop", in_loop_s))
    for text, times in rows:
        figures = (statistics.median(times), min(times), max(times), statistics.fmean(times))
        print(
            f"{text:36}{1e3 * figures[0]:10.1f}" + "".join(f"{1e3 * f:9.1f}" for f in figures[1:])
        )
    means = statistics.fmean(in_loop_s) / statistics.fmean(alone_s)
    print(
        f"the loop costs {100 * (both[0] / both[1] - 1):+.1f} % (medians; goal: at most 3 %), ",
        end="",
    )
    print(f"{100 * (means - 1):+.1f} % (means)")


def print_saving(state, settings, step_s, options, folder):
    """Save the state several times and print what share of the training that is."""
    import mod_defog
    from configure import Defog
    from util.run import checkpoint
    from util.train import loop

    times = []
    for number in range(options.saves):
        start = time.perf_counter()
        checkpoint.save(
            checkpoint.path_of(folder / "saves", number),
            state,
            loop.describe(mod_defog.TASK, settings, {}),
        )
        times.append(time.perf_counter() - start)
    size_mb = checkpoint.path_of(folder / "saves", 0).stat().st_size / 1e6
    every, save_s = Defog().save_every, statistics.median(times)
    print(f"\nsave: {size_mb:.1f} MB, median of {options.saves}: {1e3 * save_s:.1f} ms", end="")
    print(f" (highest {1e3 * max(times):.1f} ms)")
    share = save_s / (every * step_s)
    print(f"every {every} steps that is {100 * share:.3f} % of the training (goal: at most 1 %)")


def one_start(folder, number):
    """Start mod_defog in a new process; return the seconds of each part: dict name -> seconds."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    words = [f"--runs-folder={folder / f'runs{number}'}", f"--cache-folder={folder / 'cache'}"]
    start = time.time()
    found = subprocess.run(
        [sys.executable, "-c", CHILD, *words, "--devices=cpu"],
        env=environment,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    if found.returncode:
        raise SystemExit(f"the start failed:\n{found.stderr}")
    marks = json.loads(found.stdout.splitlines()[-1])
    parts, before = {}, start
    for name, moment in marks.items():
        parts[name], before = moment - before, moment
    return parts


def print_starts(options, folder):
    """Measure a first start and later ones, and print their parts."""
    starts = [one_start(folder, number) for number in range(options.starts + 1)]
    later = starts[1:] or starts
    print(f"\nstart: from the command to the end of the first step, s; later: {len(later)}, median")
    print(f"{'':36}{'first':>9}{'later':>9}")
    names = [name for name in starts[0] if name != "second step"]
    for name in names:
        usual = statistics.median(parts[name] for parts in later)
        print(f"{name:36}{starts[0][name]:9.2f}{usual:9.2f}")
    totals = [sum(parts[name] for name in names) for parts in starts]
    print(f"{'together':36}{totals[0]:9.2f}{statistics.median(totals[1:] or totals):9.2f}")
    second = statistics.median(parts["second step"] for parts in later)
    print(f"(the second step takes {second:.2f}; the first start also decodes the pictures)")


def seconds_until(file, checkout, words):
    """Start a checkout's mod_defog; return the seconds until it has written a file, and end it."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "mod_defog.py", *map(str, words), "--devices=cpu"],
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not file.exists():
        if process.poll():
            raise SystemExit(f"mod_defog of {checkout} ended before it wrote {file.name}")
        time.sleep(0.002)
    seconds = time.perf_counter() - start
    process.kill()
    process.wait()
    return seconds


def print_results(options, folder):
    """Measure how long the first result of train and of apply takes, in each checkout in turn."""
    checkouts = [PROJECT, *([options.against.resolve()] if options.against else [])]
    seconds = {(c, command): [] for c in checkouts for command in ("train", "apply")}
    for number in range(options.starts + 1):
        for place, checkout in enumerate(checkouts):
            # A cache for each: the first start of all fills it, and is not counted.
            here = folder / f"checkout{place}"
            common = [f"--cache-folder={here / 'cache'}", f"--runs-folder={here / f'r{number}'}"]
            saved = here / f"r{number}" / "mod_defog" / "checkpoints" / "step-0000001.npz"
            trained = seconds_until(saved, checkout, ["--save-every=1", *common])
            out = here / f"out{number}"
            words = ["apply", PROJECT / "data" / "cloudy", "--out", out, *common]
            applied = seconds_until(out / "l8_alabama.png", checkout, words)
            if number:
                seconds[checkout, "train"].append(trained)
                seconds[checkout, "apply"].append(applied)
    print(f"\nfrom the command to the first result, s; median of {options.starts}, in turns")
    print(f"{'':44}{'train':>9}{'apply':>9}")
    for checkout in checkouts:
        medians = [statistics.median(seconds[checkout, c]) for c in ("train", "apply")]
        print(f"{checkout!s:44}" + "".join(f"{s:9.2f}" for s in medians))


def main():
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12, help="turns of each kind of block [12]")
    parser.add_argument("--block", type=int, default=10, help="steps timed in a block [10]")
    parser.add_argument("--settle", type=int, default=6, help="steps before it, not timed [6]")
    parser.add_argument("--rest", type=float, default=1.5, help="pause between the two, s [1.5]")
    parser.add_argument("--saves", type=int, default=15, help="checkpoints written [15]")
    parser.add_argument("--starts", type=int, default=3, help="starts after the first [3]")
    parser.add_argument("--only", choices=("loop", "start"), help="loop and save, or start")
    text = "clear pictures for the loop [this project's]"
    parser.add_argument("--clear-folder", type=Path, metavar="DIR", help=text)
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout, for start")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "start":
            in_loop_s, alone_s, state, settings = measure_loop(options, folder / "runs")
            print_loop(in_loop_s, alone_s, options, settings)
            print_saving(state, settings, statistics.median(in_loop_s), options, folder)
        if options.only != "loop":
            print_starts(options, folder)
            print_results(options, folder)


if __name__ == "__main__":
    main()
