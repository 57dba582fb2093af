"""Grow and shrink masks by squares, and sum what is in each square cell."""

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


def cell_sums(values, side_px, dtype=np.int32):
    """Sum values, (H, W, ..), in each square cell: (rows, columns, ..); of a mask its pixels count.

    side_px : int
        Of a cell; the last ones are smaller where the values end.
    """
    tops, lefts = (range(0, side, side_px) for side in values.shape[:2])
    # Cells below each other one by one: by reduceat that takes up to eighty times as long.
    rows = [np.add.reduce(values[top : top + side_px], axis=0, dtype=dtype) for top in tops]
    return np.add.reduceat(rows, lefts, axis=1)


def _square(reach_px):
    return np.ones((2 * reach_px + 1,) * 2, np.uint8)
