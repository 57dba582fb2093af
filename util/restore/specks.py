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
    # Three halves of it are looked at: tiles are joined where both see all that.
    most = trained.settings.apply_margin_px * 2 // 3
    least_px = min(int(_LEAST_CLOUD_M / pixel_m), most) if pixel_m else 0
    least_px -= 1 - least_px % 2  # odd, so that squares have a middle
    if least_px < _LEAST_PX:
        return trained
    how = {"least_px": least_px, "clear_below": trained.settings.clear_below}
    change = partial(_without_specks, **how)
    by_rows = trained.by_rows and trained.by_rows.then(change, 3 * least_px // 2 + 1)
    return replace(trained, restore=partial(change, trained.restore), by_rows=by_rows)


def _without_specks(restore, batch, *, least_px, clear_below):
    """Return what `restore` finds in a batch, float32 (B, H, W, C), but for specks of opacity."""
    found = restore(batch)
    opacity, cloudy = found["found_opacity"], batch["cloudy"]
    trust = [_trust(each[..., 0] >= clear_below, least_px) for each in np.asarray(opacity)]
    trust = tf.constant(np.stack(trust)[..., None])
    ground = cloudy + trust * (found["restored"] - cloudy)
    return {**found, "restored": ground, "found_opacity": trust * opacity}


def _trust(cloud, least_px):
    """Return how far a cloud mask, bool (H, W), is to be believed, float32 (H, W), 0..1.

    1 where more than half of the square around is cloud (ground may be dark where cloud is thin,
    and hides it there), with sides of `least_px`; less and less up to that far from there.
    """
    square, how = (least_px, least_px), {"borderType": cv2.BORDER_REFLECT_101}  # as tiles go on
    dense = cv2.blur(cloud.astype(np.uint8) * 255, square, **how) > 127
    near = cv2.dilate(dense.astype(np.float32), np.ones(square, np.uint8), **how)
    return np.minimum(cv2.blur(near, square, **how), 1.0)
