"""Train mod_GAN_poly without one of its parts at a time, equal minutes each, and compare.

    python benchmarks/ablation.py
    python benchmarks/ablation.py --minutes 10 --crop-px 128
    python benchmarks/ablation.py --only full "no history"

Each variant's speed is measured first, so that its run, with the whole schedule of its learning
rate, takes the minutes asked for. The scores are those of the last validation: 64 samples that
training never sees. Run it while nothing else runs.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

VARIANTS = {
    "full": {},
    "no history": {"history_size": 0},
    "no local tower": {"towers": "global"},
    "no global tower": {"towers": "local"},
    "no balance": {"balance_ratio": 0},
    "adversarial from the start": {"reconstruction_steps": 0, "adversarial_rise_steps": 0},
    "no smooth filling": {"painting": "direct"},
    "no adversarial loss": {"adversarial_weight": 0},
    "the source": {
        **{"painting": "direct", "skips": "false", "norm": "batch", "upsampling": "transposed"},
        **{"reconstruction_weight": 0, "adversarial_weight": 1, "reconstruction_steps": 0},
        **{"adversarial_rise_steps": 0, "learning_rate": 1e-4, "beta_2": 0.9, "clip_norm": 0},
        **{"final_rate_share": 1, "balance_ratio": 8},
    },
}
SCORES = ("hole_l1", "hole_psnr", "hole_ssim", "hole_sharpness")


def train(folder, options, changes, steps):
    """Run mod_GAN_poly.py in a process of its own; return the rows of its log."""
    settings = {
        "runs_folder": folder,
        "crop_px": options.crop_px,
        "precision": options.precision,
        "steps": steps,
        "log_every": 10 if steps < 200 else 50,
        "validate_every": steps + -steps % 50,  # at the end alone
        "sheet_every": steps,
        "save_every": steps,
        **changes,
    }
    rise = ("reconstruction_steps", "adversarial_rise_steps")
    # The schedule keeps its shape: of the default run these two are a tenth each.
    settings |= {name: steps // 10 for name in rise if name not in changes}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    subprocess.run(
        [sys.executable, str(PROJECT / "mod_GAN_poly.py"), *words],
        check=True,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    with open(Path(folder) / "mod_GAN_poly" / "log.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measure(name, options):
    """Return a variant's steps and last scores."""
    with tempfile.TemporaryDirectory() as folder:
        rows = train(folder, options, VARIANTS[name], steps=60)
        # From the tenth step on: the first one is traced.
        seconds = (float(rows[4]["time_s"]) - float(rows[0]["time_s"])) / 40
    steps = max(50, round(60 * options.minutes / seconds / 50) * 50)
    with tempfile.TemporaryDirectory() as folder:
        last = train(folder, options, VARIANTS[name], steps)[-1]
    return steps, {score: float(last[f"validation_{score}"]) for score in SCORES}


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
        steps, found = measure(name, options)
        l1, psnr, ssim, sharpness = (found[score] for score in SCORES)
        print(f"{name:28}{steps:7}{l1:9.4f}{psnr:7.2f}{ssim:7.3f}{sharpness:11.2f}", flush=True)


if __name__ == "__main__":
    main()
