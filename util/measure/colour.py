"""How good the colours are that were given to a grey picture, and beside whom.

Pictures are float (H, W, 3), 0..1.
"""

import numpy as np
from skimage.color import lab2rgb, rgb2lab

from util.measure.evaluation import NOTHING, Column, Evaluation, whole_scores

# Of CIELAB: the mean over the six bundled scenes, each with the weight of one. Two of them are held
# back, so this rival is told a little of what it is measured on: the other four have (-1.9, 6.5).
GROUND_AB = (-3.0, 6.1)


# --- scores -------------------------------------------------------------------------------------


def ab_error(restored, clear, region=None):
    """Return the mean distance of two pictures' colours in a* and b* of CIELAB, 0 or more.

    Lightness does not count. About 2 can just be seen; grey is as far from the truth as the truth
    is from grey.

    region : bool (H, W), optional
        Pixels that count.
    """
    apart = (rgb2lab(restored) - rgb2lab(clear))[..., 1:]
    distance = np.hypot(apart[..., 0], apart[..., 1])
    return float(distance.mean() if region is None else distance[region].mean())


def colourfulness(picture, region=None):
    """Return how colourful a picture is: 0 grey, 15 slightly, 33 moderately, 59 quite.

    ``std(rg, yb) + .3 mean(rg, yb)``, lengths over the opponent colours red - green and
    yellow - blue, of values 0..255.

    region : bool (H, W), optional
        Pixels that count.

    References
    ----------
    D. Hasler, S. Süsstrunk, "Measuring colourfulness in natural images", Human Vision and
    Electronic Imaging VIII, SPIE 5007, 2003, section 7.
    """
    pixels = 255.0 * (picture.reshape(-1, 3) if region is None else picture[region])
    red, green, blue = pixels.T.astype(np.float64)
    opponents = red - green, (red + green) / 2 - blue
    std, mean = (np.hypot(*(f(part) for part in opponents)) for f in (np.std, np.mean))
    return float(std + 0.3 * mean)


def colour_scores(restored, sample):
    """Return PSNR and SSIM, the error of the colours, and how colourful both pictures are."""
    ground = sample.get("ground")
    region = None if ground is None else ground[..., 0]
    whole = whole_scores(restored, sample)
    return {
        **{name: whole[name] for name in ("psnr_whole", "ssim_whole")},
        "ab_error_whole": ab_error(restored, sample["clear"], region),
        "colourfulness_whole": colourfulness(restored, region),
        "colourfulness_clear": colourfulness(sample["clear"], region),
    }


def colour_validation(output):
    """Return PSNR, error of the colours and colourfulness of a picture: what a run follows.

    output : restored and clear (H, W, 3), float32, 0..1
    """
    names = {"psnr_whole": "psnr", "ab_error_whole": "ab_error"}
    found = colour_scores(output["restored"], output)
    names["colourfulness_whole"] = "colourfulness"
    return {name: found[score] for score, name in names.items()}


# --- rivals -------------------------------------------------------------------------------------


def in_one_colour(grey, colour):
    """Return a grey picture, float32 (H, W, 3), 0..1, in one colour: (a*, b*) everywhere."""
    lab = rgb2lab(grey)
    lab[..., 1:] = colour
    return lab2rgb(lab).astype(np.float32)


def _of_its_own_mean(sample):
    """Return the picture in the mean colour of the truth's ground, which it is told."""
    colours, ground = rgb2lab(sample["clear"])[..., 1:], sample.get("ground")
    colours = colours.reshape(-1, 2) if ground is None else colours[ground[..., 0]]
    return in_one_colour(sample["grey"], colours.mean(axis=0))


# --- evaluation ---------------------------------------------------------------------------------


def _notes(rows):
    clear = np.mean([row["colourfulness_clear"] for row in rows])
    return [
        "PSNR in dB; ab: mean distance of the colours in CIELAB; means over the pictures.",
        f"colourful: 0 grey, 15 slightly, 33 moderately; the clear pictures have {clear:.1f}.",
        "nothing: the grey picture. mean colour: that of all bundled scenes, held back or not.",
        "The oracle is told the picture's own mean colour.",
    ]


COLOURS = Evaluation(
    damaged="grey",
    rivals={
        NOTHING: lambda sample: sample["grey"],
        "mean colour": lambda sample: in_one_colour(sample["grey"], GROUND_AB),
        "oracle: its mean colour": _of_its_own_mean,
    },
    scores=colour_scores,
    columns={
        "psnr": Column("PSNR", 1, 5),
        "ab_error": Column("ab", 2, 5),
        "colourfulness": Column("colourful", 1, 9),
    },
    notes=_notes,
    help="Measure the trained network against grey and one colour everywhere: PSNR, error of the\n"
    "colours, and how colourful pictures are.",
    validation=colour_validation,
)
