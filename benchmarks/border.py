"""What a black border costs the ground beside it, and what cloud_removal.py makes of that.

    python benchmarks/border.py [--clear-folder FOLDER] [--count 28] [--crop 256]

Samples of held-back scenes lose a part, to either side of a slanting line, as a scene turned to
north does. Prints for each kind of cloud the PSNR of the ground that is left: of the picture that
lost nothing, of the border seen as the black it is, and of the border filled as the program does.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import cloud_removal
from configure import Defog
from util.measure.conditions import CONDITIONS
from util.measure.scores import psnr
from util.pictures.original import Original
from util.pictures.pixels import as_float, as_pixels
from util.restore.chain import restore_picture
from util.use import chain
from util.use.by_condition import samples_under

KINDS = "thin .3", "half .5", "mixed", "thick", "small cumulus"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clear-folder", default=Defog.clear_folder)
    parser.add_argument("--count", type=int, default=28)
    parser.add_argument("--crop", type=int, default=256)
    arguments = parser.parse_args()
    parts = chain.load(cloud_removal.TASKS, Defog(), clear="mod_defog")
    own = {"clear_folder": arguments.clear_folder, "crop_px": arguments.crop}
    first = replace(parts.clear, settings=replace(parts.clear.settings, **own))
    draw, found = np.random.default_rng(0), {}
    y, x = np.mgrid[: arguments.crop, : arguments.crop] - arguments.crop // 2
    kinds = {kind: CONDITIONS[kind] for kind in KINDS}
    for kind, _, sample in samples_under(first, kinds, None, arguments.count):
        whole, turn = as_pixels(sample["cloudy"], np.uint16), draw.uniform(0, 2 * np.pi)
        ground = np.cos(turn) * x + np.sin(turn) * y < 0.08 * arguments.crop
        black = whole * ground[..., None]
        original = Original(black.copy())
        original.leave_out_border()
        scores = [
            psnr(as_float(restore_picture(parts, pixels)[0]), sample["clear"], ground)
            for pixels in (whole, black, original.fill(black))
        ]
        found.setdefault(kind, []).append(scores)
    print(f"{'PSNR':<14} {'no border':>9} {'black':>9} {'filled':>9}")
    for kind, scores in found.items():
        print(f"{kind:<14}", *(f"{value:9.2f}" for value in np.mean(scores, axis=0)))


if __name__ == "__main__":
    main()
