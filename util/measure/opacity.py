"""Measure how well opacity is found: on ground known to be clear, and against experts' masks.

Opacity is float (H, W), 0..1. A share of fewer than `MIN_REGION_PIXELS` pixels is nan.
"""

import math

import numpy as np

from util.measure.scores import MIN_REGION_PIXELS, regions

# The classes of a mask, and what one says that only tells cloud from the rest.
CLEAR, THICK, THIN, SHADOW, CLOUD = range(5)

THICK_FROM, MISTAKEN_FROM = 0.5, 0.1


def on_clear_ground(found, opacity, clear_below):
    """Return what a network finds where there is no cloud: "false_opacity" and "untouched".

    Parameters
    ----------
    found, opacity : float (H, W), 0..1
        The opacity that was found, and the true one; clear is what `regions` calls so.
    clear_below : float
        Found opacity under which a pixel stays as it came.

    Returns
    -------
    dict of float
        The mean opacity found there, and the share of these pixels that stay as they came.
    """
    clear = regions(opacity)["clear"]
    return {
        "false_opacity": _mean(found, clear),
        "untouched": _mean(found < clear_below, clear),
    }


def mask_scores(found, classes):
    """Return how well opacity agrees with an expert's mask.

    Parameters
    ----------
    found : float (H, W), 0..1
    classes : int (H, W)
        CLEAR, THICK, THIN, SHADOW or CLOUD; shadow counts as clear.

    Returns
    -------
    dict of float
        "auc", the `area_under_roc` of cloud against the rest; "thick_found", the share of THICK
        found above .5; "clear_mistaken", the share without cloud found above .1.
    """
    cloud = np.isin(classes, (THICK, THIN, CLOUD))
    return {
        "auc": area_under_roc(found, cloud),
        "thick_found": _mean(found > THICK_FROM, classes == THICK),
        "clear_mistaken": _mean(found > MISTAKEN_FROM, ~cloud),
    }


def area_under_roc(values, positive):
    """Return the area under the ROC curve, 0..1; nan without a positive or without a negative.

    It is the share of pairs, a positive and a negative, in which the positive has the greater
    value, a tie counting half: with P positives, N negatives and R the sum of the positives' ranks
    among all, ties having the mean of theirs, ``(R - P (P + 1) / 2) / (P N)`` [1]_.

    Parameters
    ----------
    values : float array
    positive : bool array of the same shape

    References
    ----------
    .. [1] Hanley, McNeil, "The meaning and use of the area under a receiver operating
           characteristic (ROC) curve", Radiology 143(1), 1982.
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positives = np.count_nonzero(positive)
    pairs = positives * (positive.size - positives)
    if not pairs:
        return math.nan
    summed = ranks[place.reshape(positive.shape)[positive]].sum()
    return float((summed - positives * (positives + 1) / 2) / pairs)


def _mean(values, region):
    if np.count_nonzero(region) < MIN_REGION_PIXELS:
        return math.nan
    return float(values[region].mean())
