"""Compare the forms of the adversarial loss on repainting, equal minutes each; and the history.

    python benchmarks/forms.py
    python benchmarks/forms.py --preset source --minutes 30
    python benchmarks/forms.py --only dcgan wgan --minutes 10
    python benchmarks/forms.py --history --steps 20000

mod_GAN_poly with each form: how long a step takes, and over one of dcgan (the source counted 3 : 2
for wgan, with one update of the critic a step); then the scores of the last checkpoint, by
`evaluate`. With --history the default form with and without earlier pictures, the same steps each,
validated 40 times: where two networks chase each other, scores and losses swing, so the second
half's mean and standard deviation are shown. Run it while nothing else runs.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

from ablation import SCRIPT, measure, train_in
from short_runs import rows_of, seconds_a_step

FORMS = {
    "dcgan": {"adversarial": "dcgan"},
    "gan": {"adversarial": "gan"},
    "lsgan": {"adversarial": "lsgan"},
    "wgan": {"adversarial": "wgan", "critic_steps": 1},
    "wgan, 3 updates": {"adversarial": "wgan", "critic_steps": 3},
    "wgan-gp, 3 updates": {"adversarial": "wgan-gp", "critic_steps": 3},
}
HISTORY = {"with": {}, "without": {"past_size": 0}}
SWINGING = {
    "L1": "validation_hole_l1",
    "sharpness": "validation_hole_sharpness",
    "discriminator's loss": "loss_discriminator",
    "adversarial loss": "loss_adversarial",
}


def compare_forms(options, base):
    """Print a row a form; a step of dcgan is what others' are compared with."""
    first = None
    print(f"{'':20}{'ms':>7}{'/dcgan':>8}{'steps':>7}{'L1':>9}{'PSNR':>7}{'SSIM':>7}{'sharp':>7}")
    for name in dict.fromkeys(["dcgan", *options.only]):
        changes = {**base, **FORMS[name]}
        seconds = seconds_a_step(partial(train_in, options=options, changes=changes))
        first = first or seconds
        steps = max(50, round(60 * options.minutes / seconds))
        l1, psnr, ssim, sharpness = measure(changes, options, steps)[1].values()
        times = f"{1000 * seconds:7.0f}{seconds / first:8.2f}"
        print(
            f"{name:20}{times}{steps:7}{l1:9.4f}{psnr:7.2f}{ssim:7.3f}{sharpness:7.2f}", flush=True
        )


def compare_histories(options, base):
    """Print how the second half of a long run goes, with and without earlier pictures."""
    print(f"{options.steps} steps each; second half: mean +- standard deviation")
    print(f"{'':10}", *(f"{name:>22}" for name in SWINGING))
    every = max(1, options.steps // 40)
    often = {"log_every": every, "validate_every": every}
    for name, changes in HISTORY.items():
        with tempfile.TemporaryDirectory() as folder:
            train_in(folder, options.steps, options, {**base, **often, **changes})
            rows = rows_of(Path(folder, SCRIPT, "log.csv"))
        late = rows[len(rows) // 2 :]
        cells = []
        for column in SWINGING.values():
            values = [float(row[column]) for row in late if row[column]]
            cells.append(f"{statistics.fmean(values):.4f} +- {statistics.stdev(values):.4f}")
        print(f"{name:10}", *(f"{cell:>22}" for cell in cells), flush=True)


def main():
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=6, help="of training a form [6]")
    parser.add_argument("--crop-px", type=int, default=64, help="side of the pictures [64]")
    parser.add_argument("--precision", default="float32", help="float32 or mixed_bfloat16")
    parser.add_argument("--preset", default="ours", help="ours or source")
    parser.add_argument("--only", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--history", action="store_true", help="compare histories instead")
    parser.add_argument("--steps", type=int, default=20_000, help="of a history's run [20000]")
    options = parser.parse_args()
    print(f"{SCRIPT}, preset {options.preset}, S = {options.crop_px}")
    base = {} if options.preset == "ours" else {"preset": options.preset}
    (compare_histories if options.history else compare_forms)(options, base)


if __name__ == "__main__":
    main()
