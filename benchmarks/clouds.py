"""Measure cloud drawn from Perlin noise against the usual loop over pixels.

    python benchmarks/clouds.py
    python benchmarks/clouds.py --rounds 50

The loop calls a noise function for every pixel and every octave: the one of the package `noise`,
which is written in C, where that is installed (it is not needed for anything else), and one in
Python otherwise. "Like for like" draws 12 octaves in both; "best form" is what the scripts draw
by default. The three take turns, so that all meet the same machine; what counts is processor
time, all threads together.
"""

import argparse
import importlib.util
import itertools
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configure import Clouds
from util.samples.clouds import noise_opacity, stretch
from util.samples.keys import keyed_rng

OCTAVES = 12
# A factor at which even the twelfth octave of the largest cells has cells above two pixels, so
# that none is left out.
LACUNARITY = 1.3


def gradient_noise(y, x, seed):
    """Return Perlin noise at one place, in Python; the gradients come from a hash of the corner."""
    row, column = math.floor(y), math.floor(x)
    total = 0.0
    for corner_y, corner_x in itertools.product((row, row + 1), (column, column + 1)):
        dy, dx = y - corner_y, x - corner_x
        ty, tx = 1.0 - abs(dy), 1.0 - abs(dx)
        fade = (ty * tx) ** 3 * (ty * (ty * 6 - 15) + 10) * (tx * (tx * 6 - 15) + 10)
        turn = hash((corner_y, corner_x, seed)) % 1024 * (math.tau / 1024)
        total += fade * (math.sin(turn) * dy + math.cos(turn) * dx)
    return total


def loop_opacity(size_px, cell_px, octaves, seed):
    """Return an opacity map, drawn pixel by pixel and octave by octave."""
    total = np.zeros((size_px, size_px), np.float32)
    for octave in range(octaves):
        weight, cell = 0.5**octave, cell_px / LACUNARITY**octave
        for row, column in itertools.product(range(size_px), repeat=2):
            total[row, column] += weight * gradient_noise(row / cell, column / cell, seed)
    return stretch(total)


def c_loop_opacity(size_px, cell_px, octaves, seed):
    """Return an opacity map, drawn pixel by pixel: the C function adds up the octaves itself."""
    from noise import pnoise2

    world = np.zeros((size_px, size_px), np.float32)
    for row in range(size_px):
        for column in range(size_px):
            world[row][column] = pnoise2(
                row / cell_px,
                column / cell_px,
                octaves=octaves,
                persistence=0.5,
                lacunarity=LACUNARITY,
                base=seed,
            )
    return stretch(world)


def seconds(function):
    """Return the processor time of a call, over all threads: other programs disturb it less."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30, help="turns of each [30]")
    parser.add_argument("--size", type=int, default=256, help="side of the map in pixels [256]")
    options = parser.parse_args()
    size, usual = options.size, Clouds()
    in_c = importlib.util.find_spec("noise") is not None
    name = "the C function of the package noise" if in_c else "a Python function"
    draw_loop = c_loop_opacity if in_c else loop_opacity
    # Cells as the published system has them at this size, 20 to 480 pixels of 256.
    cells = [math.exp(v) for v in np.linspace(math.log(size / 6.4), math.log(size), 7)]

    def loop(turn):
        draw_loop(size, cells[turn % len(cells)], OCTAVES, turn % 256)

    def like_for_like(turn):
        cell = cells[turn % len(cells)]
        rng = keyed_rng(0, turn, "cloud")
        noise_opacity(rng, size, (cell, cell), OCTAVES, 0.5, LACUNARITY)

    def best(turn):
        rng = keyed_rng(0, turn, "cloud")
        noise_opacity(
            rng,
            size,
            usual.noise_cell_px,
            usual.noise_octaves,
            usual.noise_persistence,
            usual.noise_lacunarity,
        )

    rounds = options.rounds if in_c else min(options.rounds, 3)
    ways = {"loop": loop, "like": like_for_like, "best": best}
    times = {way: [] for way in ways}
    for turn in range(rounds):
        for way, draw in ways.items():
            # The fast ones several times, so that their median is worth as much.
            repeats = 1 if way == "loop" else 5
            times[way] += [seconds(lambda d=draw, t=5 * turn + i: d(t)) for i in range(repeats)]
    medians = {way: statistics.median(found) for way, found in times.items()}

    smallest = cells[0] / LACUNARITY ** (OCTAVES - 1)
    print(f"opacity of {size} x {size} pixels; the loop calls {name}; medians of {rounds} rounds")
    print(f"the finest of the {OCTAVES} octaves has cells of {smallest:.1f} pixels or more\n")
    print(f"{'':44}{'ms':>9}{'faster':>10}{'goal':>8}")
    rows = (
        ("loop", f"loop over pixels, {OCTAVES} octaves", ""),
        ("like", f"like for like, {OCTAVES} octaves", "8 x"),
        ("best", f"best form, {usual.noise_octaves} octaves as set in configure.py", "30 x"),
    )
    for way, text, goal in rows:
        ratio = medians["loop"] / medians[way]
        print(f"{text:44}{1000 * medians[way]:9.2f}{ratio:8.1f} x{goal:>8}")
    if not in_c:
        print("\nThe goals are meant against the C function: pip install noise")


if __name__ == "__main__":
    main()
