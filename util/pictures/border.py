"""The black border of a picture that no tag tells of: what is left around a scene turned to north.

Seen by a network it hides from it the cloud beside it, which white on black it never learned from.
"""

import cv2
import numpy as np

from util.pictures.morphology import dilated

_SMALL_PX = 1024  # greatest side of the picture, thinned out, in which a border is looked for
_LEAST_PX = 32  # a border has the area of such a square at least; less is a shadow, or a deep lake
_BLACK = 2  # of 8 bits, what JPEG makes of black


def is_black(values):
    """Return where values (h, w, 3) of any type are black, bool (h, w)."""
    bands = [values[..., band] for band in range(3)]
    black = [b <= _BLACK if b.dtype == np.uint8 else b == 0 for b in bands]
    return np.logical_and.reduce(black)


def step_of(height, width):
    """Return of how many pixels one is in the thinned-out picture."""
    return -(-max(height, width) // _SMALL_PX)


def border_in(black, step):
    """Return the border in a picture thinned out by a step, bool (h, w), None without one.

    That is the black parts that have a corner of the picture; but not if all of it is black.
    """
    _, label, facts, _ = cv2.connectedComponentsWithStats(black.view(np.uint8), connectivity=8)
    corners = {label[y, x] for y in (0, -1) for x in (0, -1) if black[y, x]}
    corners = [n for n in corners if facts[n, cv2.CC_STAT_AREA] * step**2 >= _LEAST_PX**2]
    border = np.isin(label, corners)
    return border if border.any() and not black.all() else None


def near_border(border, shape, rows, columns):
    """Return what may be border of a picture of that shape in two slices of it, bool (h, w)."""
    near = dilated(border, 1)
    places = [
        np.arange(side)[at] * small // side
        for side, small, at in zip(shape[:2], near.shape, (rows, columns), strict=True)
    ]
    return near[np.ix_(*places)]
