"""Grow and shrink masks by squares."""

import cv2
import numpy as np


def dilated(mask, reach_px):
    """Return what lies no further than that from a mask, bool (H, W), along either axis."""
    return cv2.dilate(mask.view(np.uint8), _square(reach_px)).view(bool)


def eroded(mask, reach_px):
    """Return what of a mask, bool (H, W), lies further than that from all that is not in it.

    What is beyond the picture's border counts as in it.
    """
    return cv2.erode(mask.view(np.uint8), _square(reach_px)).view(bool)


def _square(reach_px):
    return np.ones((2 * reach_px + 1,) * 2, np.uint8)
