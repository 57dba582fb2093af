"""Train mod_GAN_poly without one of its parts at a time, equal minutes each, and compare.

    python benchmarks/ablation.py
    python benchmarks/ablation.py --minutes 10 --crop-px 128
    python benchmarks/ablation.py --only full "no history"

Each variant's speed is measured first, so that its run, with the whole schedule of its learning
rate, takes the minutes asked for. The scores are those of `evaluate` with its last checkpoint: 64
samples that training never sees. Run it while nothing else runs.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

from short_runs import rows_of, run, steps_in, train

SCRIPT = "mod_GAN_poly"

VARIANTS = {
    "full": {},
    "no history": {"past_size": 0},
    "no local tower": {"towers": "global"},
    "no global tower": {"towers": "local"},
    "no balance": {"balance_ratio": 0},
    "detail not enlarged": {"detail_gain": 1},
    "adversarial from the start": {"reconstruction_steps": 0, "adversarial_rise_steps": 0},
    "filled by averages": {"painting": "fill"},
    "no smooth filling": {"painting": "direct"},
    "no gates, no dilation": {"generator": "source"},
    "no feature matching": {"feature_weight": 0},
    "as much far from the rim": {"rim_px": 0},
    "no averages": {"average": 0},
    "known is clear": {"cleared_share": 0},
    "polygons alone": {"cloud_hole_share": 0},
    "no adversarial loss": {"adversarial_weight": 0},
    "the source": {"preset": "source"},
}
SUMMARIES = {
    "hole_l1": statistics.fmean,
    "hole_psnr": statistics.fmean,
    "hole_ssim": statistics.fmean,
    "hole_sharpness": statistics.median,
}


def train_in(folder, steps, options, changes):
    """Train a variant in a folder; return its last checkpoint."""
    settings = {"crop_px": options.crop_px, "precision": options.precision, **changes}
    rise = ("reconstruction_steps", "adversarial_rise_steps")
    # The schedule keeps its shape: of the default run these two are a tenth each.
    if "preset" not in changes:
        settings |= {name: steps // 10 for name in rise if name not in changes}
    return train(SCRIPT, folder, steps, settings)


def measure(changes, options, steps=None):
    """Return a variant's steps, those of the minutes by default, and its last scores."""
    of_it = {"options": options, "changes": changes}
    steps = steps or steps_in(options.minutes, partial(train_in, **of_it))
    with tempfile.TemporaryDirectory() as folder:
        last = train_in(folder, steps, **of_it)
        run(SCRIPT, "evaluate", f"--runs-folder={folder}", f"--checkpoint={last}")
        rows = rows_of(Path(folder, SCRIPT, "evaluation.csv"))
    rows = [row for row in rows if row["method"] == "network"]
    # An empty field: nothing to measure, such as the sharpness of flat ground.
    scores = {
        score: summary([float(row[score]) for row in rows if row[score]])
        for score, summary in SUMMARIES.items()
    }
    return steps, scores


def main():
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=6, help="of training a variant [6]")
    parser.add_argument("--crop-px", type=int, default=64, help="side of the pictures [64]")
    parser.add_argument("--precision", default="float32", help="float32 or mixed_bfloat16")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args()
    print(f"mod_GAN_poly, S = {options.crop_px}, {options.minutes:g} minutes each")
    print(f"{'':28}{'steps':>7}{'hole L1':>9}{'PSNR':>7}{'SSIM':>7}{'sharpness':>11}")
    for name in options.only:
        steps, found = measure(VARIANTS[name], options)
        l1, psnr, ssim, sharpness = found.values()
        print(f"{name:28}{steps:7}{l1:9.4f}{psnr:7.2f}{ssim:7.3f}{sharpness:11.2f}", flush=True)


if __name__ == "__main__":
    main()
