"""What the scripts are measured by whose networks judge their validation: veils and raindrops."""

from functools import partial
from operator import itemgetter

from util.measure import baselines
from util.measure.evaluation import (
    BY_OPACITY,
    NOTHING,
    PRIOR,
    Evaluation,
    LeftOut,
    by_region,
    region_scores,
    whole_validation,
)


def judged_validation(output):
    """Return PSNR and SSIM of one restored picture, and the losses that its networks have on it.

    output : restored and clear (H, W, 3); loss_generator and loss_discriminator ()
    """
    judged = {name: float(output[name]) for name in ("loss_generator", "loss_discriminator")}
    return {**judged, **whole_validation(output)}


def _told_drops(inpaint):
    """Return an inpainting that is told where drops were drawn."""

    def restore(sample):
        if "drops" not in sample:
            raise LeftOut
        return inpaint(sample["damaged"], sample["drops"][..., 0] > 0)

    return restore


# The loss that decides is the generator's, with what the discriminator makes of its pictures.
VEIL = Evaluation(
    damaged="cloudy",
    rivals={
        NOTHING: itemgetter("cloudy"),
        PRIOR: lambda sample: baselines.dark_channel_prior(sample["cloudy"]),
    },
    scores=partial(region_scores, "opacity"),
    groups=BY_OPACITY,
    help="Measure the trained network against doing nothing and the dark channel prior: PSNR, "
    "SSIM, MAE by opacity of cloud.",
    validation=judged_validation,
    best=("loss_generator", -1),
)

_BY_DROP = {"whole": "whole", "thick": "drops >= .75", "thin": "rims", "clear": "between"}

DROPS = Evaluation(
    damaged="damaged",
    rivals={
        NOTHING: itemgetter("damaged"),
        "median filter": lambda sample: baselines.median_filter(sample["damaged"]),
        "oracle: Telea": _told_drops(baselines.inpaint_telea),
    },
    scores=partial(region_scores, "drops"),
    groups=partial(by_region, titles=_BY_DROP),
    notes=lambda rows: [
        "PSNR in dB, MAE on 0..1; means over the pictures. Where drops were drawn, the oracle is "
        "told them."
    ],
    help="Measure the trained network against doing nothing and a median filter: PSNR, SSIM, MAE.",
    validation=judged_validation,
)
