"""What the black border of a scene costs, which reflectance should be white, and a dark picture.

    python benchmarks/scenes.py [--only border|white|dark]
    python benchmarks/scenes.py --clear-folder FOLDER --count 28

cloud_removal.py on samples of scenes held back; prints PSNR for each kind of cloud.

border: samples lose a part, to one side of a slanting line, as a scene turned to north does. Of the
ground that is left: of the picture that lost nothing, of the border seen as the black it is, and
of the border filled as the program does.
white: the clear pictures are taken for reflectance of 0 to .356, as pictures of Sentinel-2 are made
of it, and cloud of two ranges of reflectance is laid over them. With several values for white.
dark: the whole picture is made darker, so that opaque cloud has the value that is said; and the
darkest in 8 bits with that value for white (full_scale).
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

KINDS = "clear", "thin .3", "half .5", "mixed", "thick", "small cumulus"
BRIGHTEST = 0.356  # reflectance that is white in a picture of Sentinel-2 to be seen
CLOUDS = (0.8, 1.0), (0.45, 0.7)
WHITES = 1.0, 0.85, 0.75, 0.65, 0.5, BRIGHTEST
DARKER = 1.0, 0.9, 0.8, 0.65, 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["border", "white", "dark"])
    parser.add_argument("--clear-folder", default=Defog.clear_folder)
    parser.add_argument("--count", type=int, default=28)
    parser.add_argument("--crop", type=int, default=256)
    arguments = parser.parse_args()
    parts = chain.load(cloud_removal.TASKS, Defog(), clear="mod_defog")
    own = {"clear_folder": arguments.clear_folder, "crop_px": arguments.crop}
    first = replace(parts.clear, settings=replace(parts.clear.settings, **own))

    def restored(pixels, white=None):
        return as_float(restore_picture(parts, pixels, white=white)[0])

    def samples():
        kinds = {kind: CONDITIONS[kind] for kind in KINDS}
        return samples_under(first, kinds, None, arguments.count)

    if arguments.only in (None, "border"):
        report(["no border", "black", "filled"], border(restored, samples()))
    for cloud in CLOUDS if arguments.only in (None, "white") else ():
        print(f"\ncloud that reflects {cloud[0]:g} to {cloud[1]:g}; white is")
        report(["nothing", *map(str, WHITES)], white(restored, samples(), cloud))
    if arguments.only in (None, "dark"):
        print("\nopaque cloud has, of white,")
        told = f"{DARKER[-1]:g}, told"
        report(["nothing", *map(str, DARKER), told], dark(restored, samples()))


def border(restored, samples):
    """Yield the kind of cloud and the scores of each sample."""
    draw = np.random.default_rng(0)
    for kind, _, sample in samples:
        whole, turn = as_pixels(sample["cloudy"], np.uint16), draw.uniform(0, 2 * np.pi)
        side = len(whole)
        y, x = np.mgrid[:side, :side] - side // 2
        ground = np.cos(turn) * x + np.sin(turn) * y < 0.08 * side
        black = whole * ground[..., None]
        original = Original(black.copy())
        original.leave_out_border()
        seen = whole, black, original.fill(black)
        yield kind, [psnr(restored(pixels), sample["clear"], ground) for pixels in seen]


def white(restored, samples, cloud):
    """Yield the kind of cloud and the scores of each sample."""
    draw = np.random.default_rng(0)
    for kind, _, sample in samples:
        clear, opacity = sample["clear"], sample["opacity"]
        reflectance = clear * BRIGHTEST * (1 - opacity) + draw.uniform(*cloud) * opacity
        made = [reflectance]
        for top in WHITES:
            pixels = as_pixels(np.minimum(reflectance / top, 1), np.uint16)
            ground = restored(pixels)
            # What stayed as it came stays so beyond white, too.
            made.append(np.where(as_pixels(ground, np.uint16) == pixels, reflectance, ground * top))
        yield kind, [psnr(np.minimum(each / BRIGHTEST, 1), clear) for each in made]


def dark(restored, samples):
    """Yield the kind of cloud and the scores of each sample, as bright as it was."""
    for kind, _, sample in samples:
        cloudy, clear = sample["cloudy"], sample["clear"]
        made = [restored(as_pixels(cloudy * share, np.uint16)) / share for share in DARKER]
        eight, white = as_pixels(cloudy * DARKER[-1], np.uint8), round(255 * DARKER[-1])
        made.append(restored(eight, white) * (255 / white))
        yield kind, [psnr(each, clear) for each in (cloudy, *made)]


def report(names, scored):
    found = {}
    for kind, scores in scored:
        found.setdefault(kind, []).append(scores)
    print(f"{'PSNR':<14}", *(f"{name:>9}" for name in names))
    for kind, scores in found.items():
        print(f"{kind:<14}", *(f"{value:9.2f}" for value in np.mean(scores, axis=0)), flush=True)


if __name__ == "__main__":
    main()
