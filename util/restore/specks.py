"""Tell roofs from cloud by how wide they are, where it is known how much ground a pixel shows.

A white roof of ten pixels looks like small cumulus of ten pixels. At ten metres a pixel it may be
either; at half a metre no cloud is that small.
"""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import tensorflow as tf

_LEAST_CLOUD_M = 100.0  # smaller cumulus is rare, and hides little
_LEAST_PX = 3  # a square of fewer pixels tells nothing


def told_scale(trained, pixel_m):
    """Return a trained network that takes what is too small for cloud for ground.

    Parameters
    ----------
    trained : util.use.trained.Trained
        Of a kind that finds opacity.
    pixel_m : float
        Side of a pixel on the ground, in metres; 0: not known, the network stays as it is.
    """
    # Cloud counts up to that far from where it is dense: tiles are joined where both see all that.
    most = trained.settings.apply_margin_px * 2 // 3
    least_px = min(int(_LEAST_CLOUD_M / pixel_m), most) if pixel_m else 0
    if least_px < _LEAST_PX:
        return trained
    how = {"least_px": least_px, "clear_below": trained.settings.clear_below}
    return replace(trained, restore=partial(_without_specks, trained.restore, **how))


def _without_specks(restore, batch, *, least_px, clear_below):
    """Return what `restore` finds in a batch, float32 (B, H, W, C), but for specks of opacity."""
    found = restore(batch)
    opacity = np.array(found["found_opacity"])
    for each in opacity[..., 0]:
        # NaN stays, for whoever looks for it.
        each[~(wide(each >= clear_below, least_px) | np.isnan(each))] = 0.0
    return {**found, "found_opacity": tf.constant(opacity)}


def wide(cloud, least_px):
    """Return where a cloud mask, bool (H, W), belongs to cloud of that width, and what is near it.

    That is up to `least_px` from squares of that side more than half of which are cloud: ground may
    be dark where cloud is thin, and hides it there.
    """
    share = cv2.blur(cloud.astype(np.uint8) * 255, (least_px, least_px))
    side = 2 * least_px + 1
    dense = (share > 127).astype(np.uint8)
    return cv2.dilate(dense, np.ones((side, side), np.uint8)).astype(bool)
