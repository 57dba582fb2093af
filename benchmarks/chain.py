"""How fast is cloud_removal.py, what share of it is the networks, and how much memory it takes.

    python benchmarks/chain.py [--sides 1024 4096] [--rounds 3] [--repaint harmonic] [--sizes 2]
    python benchmarks/chain.py --sides 10000 --rounds 1

Scenes are bundled ground, mirrored, under thin cloud, and under cloud from none to opaque. Prints
for each: megapixels a second, the share of the time that the first step's network takes, and the
painter, what is left for tiles, joining and finishing pixels, and the most memory that the process
has had up to there. Reading and writing files is left out. Scenes alternate; medians.
"""

import argparse
import resource
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from within import timed

import cloud_removal
from configure import Defog
from util.pictures.read import read_picture
from util.restore.chain import restore_picture
from util.use import chain
from util.use.trained import choose_device

GROUND = Path(cloud_removal.__file__).with_name("data") / "clear/s2_virginia/0512_0512.jpg"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repaint")  # as of cloud_removal.py, like the next
    parser.add_argument("--sizes", type=int, default=Defog.sizes)
    parser.add_argument("--devices", default="all")
    options = parser.parse_args()
    settings = Defog(devices=options.devices, sizes=options.sizes)
    with choose_device(settings).scope():
        how = {"clear": "mod_defog", "repaint": options.repaint}
        measure(chain.load(cloud_removal.TASKS, settings, **how), options.sides, options.rounds)


def scene(side, kind):
    """Return ground under cloud, uint8 (side, side, 3), in bands, lest it takes most memory."""
    ground = read_picture(GROUND)
    rng = np.random.default_rng(0)
    coarse = rng.random((side // 128 + 4, side // 128 + 4), np.float32)
    pixels = np.empty((side, side, 3), np.uint8)
    at = np.arange(side, dtype=np.float32)
    mirrored = [np.abs((at + n) % (2 * n) - n).astype(int) % n for n in ground.shape[:2]]
    for top in range(0, side, 256):
        rows = slice(top, min(top + 256, side))
        grid = np.meshgrid(at / 128 + 1, at[rows] / 128 + 1)
        noise = cv2.remap(coarse, *grid, cv2.INTER_CUBIC)[..., None]
        opacity = 0.4 * noise if kind == "thin" else np.clip(4 * noise - 2.4, 0, 1)
        here = ground[mirrored[0][rows][:, None], mirrored[1]]
        pixels[rows] = np.clip(here * (1 - opacity) + 255 * opacity, 0, 255)
    return pixels


def measure(parts, sides, rounds):
    clear, paint = timed(parts.clear), timed(parts.paint)
    timed_parts = replace(parts, clear=clear[0], paint=paint[0])
    within = clear[1], paint[1]
    print(f"cleared by {parts.clear}, repainted by {parts.paint}; {rounds} rounds, medians")
    print("        side   scene  hidden   MP/s  first network  painter  the rest  GiB so far")
    scenes = [(side, kind) for side in sides for kind in ("thin", "mixed")]
    found, hidden, memory = {case: [] for case in scenes}, {}, {}
    for case in ((256, "mixed"), (2048, "thin")):
        restore_picture(timed_parts, scene(*case))  # warms up: in one piece, and by rows
    for _ in range(rounds):
        for case in scenes:
            pixels = scene(*case)
            for times in within:
                times.clear()
            start = time.perf_counter()
            _, _, confidence = restore_picture(timed_parts, pixels, in_place=True)
            total = time.perf_counter() - start
            shares = [sum(times) / total for times in within]
            found[case].append((total, *shares, 1 - sum(shares)))
            hidden[case] = np.mean(confidence == 0)
            kibi = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            memory.setdefault(case, kibi / 2**20)
    for (side, kind), times in found.items():
        total, *shares = (statistics.median(column) for column in zip(*times, strict=True))
        first, painter, rest = shares
        speed, share, most = side**2 / 1e6 / total, hidden[side, kind], memory[side, kind]
        print(
            f"{side:5} x {side:<5} {kind:>5} {share:7.1%} {speed:6.2f} "
            f"{first:14.1%} {painter:8.1%} {rest:9.1%} {most:11.2f}"
        )


if __name__ == "__main__":
    main()
