"""Are shadows of cloud found, and is ground nearer to the truth when it gets its light back?

    python benchmarks/shadows.py
    python benchmarks/shadows.py --pairs CLOUDY CLEAR --cloud-white 0.5
    python benchmarks/shadows.py --masks PICTURES MASKS --pixel-m 10

Through cloud_removal.py without and with --shadows. Drawn: bundled ground of scenes held back,
beneath cumulus whose shadows fall 6 to 90 pixels away and take .3 to .7 of the light; PSNR over
what is in shadow and seen, and over the rest. Pairs: folders of pictures of the same names, of two
dates; PSNR and SSIM after the fit of `evaluate --fit`. Masks: classes, 3 for shadow. Found is the
share of what is in shadow whose confidence tells so; right the share of that which is in shadow.
"""

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from cloud_removal import remove_clouds
from util.measure.fit import fitted
from util.measure.opacity import SHADOW
from util.measure.scores import psnr, ssim
from util.pictures.find import find_pictures
from util.pictures.pixels import as_float, as_pixels
from util.pictures.read import read_picture
from util.samples.clouds import cover, cumulus_opacity
from util.samples.light import shadow
from util.use.expert_masks import read_classes

SCENES = [Path("data/clear") / name for name in ("l8_itaipu", "s2_virginia")]
LEAST_SHADE, SEEN = 0.15, 0.04  # share of light missing in shadow; opacity up to which one sees


def drawn(path, rng):
    """Return ground, the same beneath cloud, and where it is seen in shadow, and in the light."""
    ground = as_float(read_picture(path))
    side = min(ground.shape[:2])
    ground = ground[:side, :side]
    opacity = cumulus_opacity(
        rng, side, cell_range_px=(30, 160), cover_range=(0.05, 0.3), edge_range=(0.02, 0.5)
    )
    away, angle = math.exp(rng.uniform(math.log(6), math.log(90))), 2 * math.pi * rng.random()
    depth, fell = rng.uniform(0.3, 0.7), (away * math.sin(angle), away * math.cos(angle))
    shaded = shadow(ground, opacity, depth, *fell, rng.uniform(0.5, 3))
    missing = 1 - shaded.sum(axis=2) / np.maximum(ground.sum(axis=2), 1e-6)
    seen = opacity < SEEN
    cloudy = as_pixels(cover(shaded, opacity[..., None]), np.uint8)
    return ground, cloudy, seen & (missing > LEAST_SHADE), seen & (missing < 0.01)


def without_and_with(cloudy, **how):
    """Return the ground both times, float32, and where only then confidence is less."""
    dark, lit = (remove_clouds(cloudy, shadows=wanted, **how) for wanted in (False, True))
    found = (dark.confidence == 1) & (lit.confidence < 0.92)
    return as_float(dark.ground), as_float(lit.ground), found


def share(part, whole):
    return np.count_nonzero(part & whole) / max(np.count_nonzero(whole), 1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clear-folder", type=Path, nargs="+", default=SCENES)
    parser.add_argument("--pairs", type=Path, nargs=2, metavar="FOLDER")
    parser.add_argument("--masks", type=Path, nargs=2, metavar="FOLDER")
    parser.add_argument("--cloud-white", type=float)
    parser.add_argument("--pixel-m", type=float)
    options = parser.parse_args()
    how = {"cloud_white": options.cloud_white, "pixel_m": options.pixel_m}
    if options.masks:
        measure_masks(*options.masks, how)
    elif options.pairs:
        measure_pairs(*options.pairs, how)
    else:
        measure_drawn(options.clear_folder, how)


def measure_drawn(folders, how):
    rng, rows = np.random.default_rng(1), []
    for path in (path for folder in folders for path in find_pictures(folder)):
        ground, cloudy, shaded, lit = drawn(path, rng)
        *made, found = without_and_with(cloudy, **how)
        scores = [psnr(each, ground, here) for here in (shaded, lit) for each in made]
        rows.append((*scores, share(found, shaded), share(found, lit)))
        print(f"{path.name:24} in shadow {scores[0]:6.2f} {scores[1]:6.2f}  in the light ", end="")
        print("{:6.2f} {:6.2f}  found {:.2f}  falsely {:.3f}".format(*rows[-1][2:]), flush=True)
    print(("{:8.3f}" * 6).format(*np.mean(rows, axis=0)))


def measure_pairs(cloudy_folder, clear_folder, how):
    rows = []
    for path in find_pictures(cloudy_folder):
        cloudy, clear = read_picture(path), as_float(read_picture(clear_folder / path.name))
        *made, _ = without_and_with(cloudy, **how)
        made = [fitted(each, clear) for each in (as_float(cloudy), *made)]
        rows.append([score(each, clear) for score in (psnr, ssim) for each in made])
        print(f"{path.name:24}" + "{:8.2f}{:8.2f}{:8.2f}{:8.3f}{:8.3f}{:8.3f}".format(*rows[-1]))
    print(" " * 24 + "{:8.2f}{:8.2f}{:8.2f}{:8.3f}{:8.3f}{:8.3f}".format(*np.mean(rows, axis=0)))


def measure_masks(folder, masks, how):
    for path in find_pictures(folder):
        *_, found = without_and_with(read_picture(path), **how)
        shaded = read_classes(masks / path.name) == SHADOW
        print(f"{path.name:24} found {share(found, shaded):.2f}  right {share(shaded, found):.2f}")


if __name__ == "__main__":
    main()
