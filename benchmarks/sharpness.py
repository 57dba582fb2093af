"""How far from the truth would a painter be that is as sharp as real ground?

    python benchmarks/sharpness.py
    python benchmarks/sharpness.py --clear-folder FOLDER --crop-px 192 --count 64

To what the network of mod_GAN_poly.py that comes along paints smoothly, detail is added: "turned",
that of the very same picture, turned by half a turn, so that it is real ground's but in a wrong
place; and "near", as cloud_removal.py --detail takes it from what is known. Nobody who cannot know
which detail is hidden paints better than with the right statistics. Printed are L1, PSNR, SSIM,
sharpness and repeats (see docs/results.md) over the missing pixels, for shares of that detail.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

import mod_GAN_poly
from configure import GANPoly
from util.measure.pattern import repetition_inside
from util.measure.scores import hole_scores
from util.restore.detail import with_detail
from util.run.folder import weights_file
from util.use import trained

SHARES = 0, 0.25, 0.5, 0.75, 1
DETAIL_PX = 3.0  # finer than a blur of this standard deviation
SCORES = {
    "hole_l1": np.nanmean,
    "hole_psnr": np.nanmean,
    "hole_ssim": np.nanmean,
    "hole_sharpness": np.nanmedian,
    "repeats": np.nanmean,
}


def turned(painted, clear, hole, share):
    """Return what was painted with a share of the picture's own detail, from a wrong place."""
    detail = (clear - cv2.GaussianBlur(clear, None, DETAIL_PX))[::-1, ::-1]
    return np.clip(painted + share * hole * detail, 0, 1)


def near(painted, _, hole, share):
    """Return what was painted with a share of the detail of what is known near by."""
    pixels = np.rint(65535 * painted).astype(np.uint16)
    confidence = np.uint8(255 * (1 - hole[..., 0]))
    parts = with_detail([(0, pixels, confidence, confidence)], share, 65535)
    return np.concatenate([rows for _, rows, *_ in parts]) / np.float32(65535)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clear-folder", default=GANPoly.clear_folder)
    parser.add_argument("--crop-px", type=int, default=GANPoly.crop_px)
    parser.add_argument("--count", type=int, default=64, help="samples [64]")
    arguments = parser.parse_args()
    task = mod_GAN_poly.TASK
    settings = GANPoly(clear_folder=arguments.clear_folder, crop_px=arguments.crop_px)
    network = trained.load(task, settings, weights_file(task))
    samples = task.samples(network.settings, True, None, network.split)[1]
    rows = {(way, share): [] for way in (turned, near) for share in SHARES}
    for number in range(arguments.count):
        sample = samples(number)
        clear, hole = sample["clear"], sample["hole"]
        painted = task.kind.complete(network, sample)["restored"]
        for (way, share), found in rows.items():
            made = way(painted, clear, hole, share)
            scores = hole_scores(made, clear, hole)
            scores["repeats"] = repetition_inside(made, clear, hole[..., 0])
            found.append([scores[name] for name in SCORES])
    print(f"{'detail':13} {'L1':>7} {'PSNR':>6} {'SSIM':>5} {'sharp':>6} {'repeats':>7}")
    for (way, share), found in rows.items():
        columns = zip(SCORES.values(), np.transpose(found), strict=True)
        l1, decibels, ssim, sharp, repeats = (mean(column) for mean, column in columns)
        scores = f"{l1:7.4f} {decibels:6.2f} {ssim:5.3f} {sharp:6.2f} {repeats:7.2f}"
        print(f"{way.__name__:6} {share:6g} {scores}")


if __name__ == "__main__":
    main()
