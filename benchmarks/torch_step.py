"""Measure compiled training steps against the same networks and losses in PyTorch.

    python benchmarks/torch_step.py
    python benchmarks/torch_step.py --torch-python ~/torch/bin/python
    python benchmarks/torch_step.py --only mod_GAN_poly mod_deblurgan --rounds 12
    python benchmarks/torch_step.py --crop-px 64 --batch-size 2 --rounds 2 --block 1

One step of each script, with the settings of configure.py: what it trains, in float32, with as many
threads as there are cores, on one batch that is repeated. PyTorch (`pip install torch`, here or in
an environment of its own, --torch-python) is for this comparison alone; nothing else needs it.

The two run in processes of their own, as their libraries do not bear each other, and take turns: a
block of the compiled step (`util.train.loop.make_step`), then blocks of PyTorch's in both of its
memory layouts. Between turns nothing runs for a moment (--pause), until the threads of the side
that has just worked have stopped to look for more work, which they do at full speed; a side's first
step of a turn is not timed.

Both do the same work: as many passes through each network in either direction, the same clipping,
Adam or Muon, history and balance, spectral norm and averages. Balance and gate (mod_mend) are
worked out but never let a network wait, or the two sides would soon do different work.

No script is timed before the two agree: the weights are copied from Keras, and their numbers, the
outputs of the networks, and the losses and norms of gradients of the first two steps are compared;
how far rounding takes these apart is found by taking them in float64 as well.
Those have no dropout, which is timed; mod_deblurgan's critic moves twice in them, and measures its
penalty at the same places.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import turns

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    "mod_defog",
    "mod_mend",
    "mod_GAN_poly",
    "mod_GAN_cloud",
    "mod_pix2pix",
    "mod_deblurgan",
    "mod_colorize",
)
LAYOUTS = {"channels last": "channels_last", "channels first": "contiguous_format"}
FINDS_PROJECT = {"PYTHONPATH": str(HERE.parent)}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def compare(script, options):
    """Measure one script's step on both sides, and print what they say and the table.

    Where the two are too far apart nothing is timed, and False returned.
    """
    layouts = {n: kind for n, kind in LAYOUTS.items() if options.layout in ("both", n.split()[1])}
    with turns.Worker([options.torch_python, str(HERE / "in_torch.py")]) as theirs:
        version = theirs.ask("hello")  # first: whoever lacks PyTorch does not wait for the rest
        with (
            turns.Worker([sys.executable, str(HERE / "in_keras.py")], **FINDS_PROJECT) as ours,
            tempfile.TemporaryDirectory() as folder,
        ):
            what = {"script": script, "folder": folder, "threads": options.threads}
            size = {"crop_px": options.crop_px, "batch_size": options.batch_size}
            size = ours.ask("prepare", **what, **size)
            print(f"{script}: S = {size['crop_px']}, batch {size['batch_size']}")
            found = theirs.ask("prepare", **what, layouts=layouts)
            for name, (lines, _) in found.items():
                print(f"PyTorch {version}, {name}:", *lines, sep="\n", flush=True)
            if not all(agreed for _, agreed in found.values()):
                print("too far apart: nothing is timed\n", flush=True)
                return False
            sides = {"Keras": (ours, "")}
            sides |= {f"PyTorch, {name}": (theirs, name) for name in layouts}
            print_times(script, take_turns(sides, options), options)
            return True


def take_turns(sides, options):
    """Time blocks of steps in turns; return seconds a step, a number a round: dict name -> list.

    sides: dict name -> (worker, what it calls the side).
    """
    times, names = {name: [] for name in sides}, list(sides)
    for done in range(options.rounds):
        # Each begins a round in its turn: a machine that warms up favours none of them.
        first = done % len(names)
        for name in names[first:] + names[:first]:
            worker, side = sides[name]
            time.sleep(options.pause)
            taken = worker.ask("time", side=side, settle=options.settle, block=options.block)
            times[name].append(taken)
        print(f"\rround {done + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return times


def print_times(script, times, options):
    """Print the table of one step."""
    print(
        f"\n{script}: {options.threads} thread(s); {options.rounds} rounds of {options.block} "
        "steps each, in turns"
    )
    print(f"{'':28}{'median ms':>10}{'lowest':>9}{'highest':>9}")
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        figures = [1e3 * seconds for seconds in (medians[name], min(found), max(found))]
        print(f"{name:28}{figures[0]:10.1f}{figures[1]:9.1f}{figures[2]:9.1f}")
    best = min((name for name in times if name != "Keras"), key=medians.get)
    share = medians["Keras"] / medians[best]
    print(f"Keras takes {share:.3f} of the time of {best} (medians)\n", flush=True)


def main():
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--torch-python", default=sys.executable, help="an interpreter that has PyTorch [this one]"
    )
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side [8]")
    parser.add_argument("--block", type=int, default=3, help="steps timed in a block [3]")
    parser.add_argument("--settle", type=int, default=1, help="steps before it, not timed [1]")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between turns [0.3]")
    parser.add_argument("--crop-px", type=int, default=0, help="side of pictures [the script's]")
    parser.add_argument("--batch-size", type=int, default=0, help="pictures [the script's]")
    parser.add_argument("--threads", type=int, default=CORES, help=f"of each side [{CORES}]")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="of them")
    parser.add_argument(
        "--layout",
        choices=("both", "last", "first"),
        default="both",
        help="PyTorch's memory layout: channels last, first, or the better [both]",
    )
    options = parser.parse_args()
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 0.5:
        print(
            f"other work is running (load {load:.1f}): PyTorch's threads wait for each other, so "
            "they suffer from it far more than TensorFlow's; such figures are worth nothing"
        )
    try:
        refused = [script for script in options.only if not compare(script, options)]
    except turns.WorkerError as error:
        raise SystemExit(str(error)) from None
    if refused:
        raise SystemExit(f"too far apart, not timed: {', '.join(refused)}")


if __name__ == "__main__":
    main()
