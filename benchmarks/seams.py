"""How much of a picture depends on the tiles that it is restored in, and does a seam show?

    python benchmarks/seams.py --script mod_GAN_cloud
    python benchmarks/seams.py --script mod_pix2pix --checkpoint runs/mod_pix2pix/best.npz
    python benchmarks/seams.py --script mod_pix2pix -- --used-as-trained true

A strip of validation samples beside each other is restored whole and in tiles, by the run's best
network or the one that is named. Shown are how far the two are apart, in steps of 1/255: mean, 99
of 100 pixels, greatest; and the seam: the mean difference of neighbouring pixels within the overlap
of two tiles, over that of the same pixels where the picture is restored whole. 1 is no seam. What
stands behind "--" are settings of the script, for those of a network that may change when it is
used.
"""

import argparse
import importlib
import sys
from dataclasses import fields, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from util.command import add_settings, settings_from
from util.restore import tiles
from util.use.trained import choose_device, load


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--script", default="mod_pix2pix")
    parser.add_argument("--checkpoint", type=Path, help="another one than the run's best")
    parser.add_argument("--samples", type=int, default=6, help="beside each other [6]")
    parser.add_argument("--side", type=int, default=512, help="of a sample [512]")
    parser.add_argument("--tile-px", type=int, default=1024, help="as apply_tile_px [1024]")
    parser.add_argument("words", nargs="*", help="settings of the script, behind --")
    options = parser.parse_args()
    task = importlib.import_module(options.script).TASK
    of_script = argparse.ArgumentParser(prog=options.script)
    add_settings(of_script, task.settings, [field.name for field in fields(task.settings)])
    settings, given = settings_from(task.settings, of_script.parse_args(options.words), [])
    with choose_device(settings).scope():
        measure(load(task, settings, options.checkpoint, given), options)


def measure(trained, options):
    """Print the row of one network."""
    task, settings = trained.task, trained.settings
    (name,) = task.kind.given
    _, validation = task.samples(replace(settings, crop_px=options.side), progress=False)
    strip = np.concatenate([validation(n)[name] for n in range(options.samples)], axis=1)
    how = {**tiles.tiling(settings), "tile_px": options.tile_px}
    plan = tiles.plan(*strip.shape[:2], **how)
    in_one = {**how, "tile_px": 2 * max(strip.shape)}

    def restored(batch):
        return {"restored": trained.restore(batch)["restored"]}

    whole, cut = (
        255.0 * tiles.run(restored, {name: strip}, **each)["restored"] for each in (in_one, how)
    )
    apart = np.abs(cut - whole)
    overlaps = np.zeros(strip.shape[1] - 1, bool)
    for left in plan.lefts[1:]:
        first = left - plan.before
        overlaps[first + how["margin_px"] : first + how["margin_px"] + tiles.BLEND_PX] = True
    slope = [np.abs(np.diff(picture, axis=1))[:, overlaps].mean() for picture in (cut, whole)]
    print(f"{trained}: {plan.tiles} tiles of {plan.tile_height} x {plan.tile_width}")
    print(f"{'mean':>8}{'99 %':>8}{'greatest':>10}{'seam':>8}   steps of 1/255")
    figures = apart.mean(), np.quantile(apart, 0.99), apart.max()
    print("{:8.3f}{:8.2f}{:10.2f}{:8.3f}".format(*figures, slope[0] / slope[1]))


if __name__ == "__main__":
    main()
