"""Grow and shrink masks by squares, and look at them cell by cell."""

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


def in_cells(mask, side_px):
    """Count the pixels of a mask, bool (H, W), in each square cell, int32 (rows, columns).

    side_px : int
        Of a cell; the last ones are smaller where the mask ends.
    """
    tops, lefts = (range(0, side, side_px) for side in mask.shape)
    rows = [mask[top : top + side_px].view(np.uint8) for top in tops]
    # One after another: by reduceat this takes eighty times as long.
    rows = [np.add.reduce(part, axis=0, dtype=np.uint16) for part in rows]
    return np.add.reduceat(rows, lefts, axis=1, dtype=np.int32)


def _square(reach_px):
    return np.ones((2 * reach_px + 1,) * 2, np.uint8)
