"""Take the violet and green off that cloud leaves where a sensor's channels saw it moved.

A satellite's channels look one after another, so cloud above the ground, and cloud that moves, is
not where it was in the channel before. What is cleared by one opacity for all of them is too violet
at one side of a cloud and too green at the other. Ground varies little between these two.
"""

from functools import partial

import cv2
import numpy as np

from util.pictures.pixels import plus
from util.restore.rolling import with_context

_FROM, _FULL = 0.1, 0.4  # found opacity over which it sets in
_HIDDEN = 0.75  # opacity from which on nothing is to be known of the ground
_LEAST = 1e-4  # weight of what is known around, or else a pixel stays
_SPARED = 0.01  # of white: ground differs so much from the ground around it by itself
_COVER = np.arange(256, dtype=np.float32) / 255
_CLEAR = np.maximum(_HIDDEN - _COVER, 0) ** 2
_STRENGTH = np.clip((_COVER - _FROM) / (_FULL - _FROM), 0, 1)
_GREEN = np.array([[-0.5, 1, -0.5]], np.float32)  # of red, green, blue: what is looked at
_BACK = np.array([1, -2, 1], np.float32) / 3  # what takes 1 off it, at the same mean
_SIGMA_PX, _REACH_PX = 4.0, 12  # of the surroundings, weighted by how clear they are


def without_fringes(parts, white):
    """Yield the rows of a cleared picture without coloured fringes, in the same order.

    Green's distance to the mean of red and blue is brought near to that of the clearer ground
    around, as far as cloud was found; the mean of all three stays. On scenes held back that costs
    .01 dB at most.

    Parameters
    ----------
    parts : iterable of (int, uint8 or uint16 (rows, W, 3), uint8 (rows, W))
        The first row, the cleared rows and their opacity, from the top down; cut anywhere.
    white : float
        The pixel value that means 1.0.

    Yields
    ------
    like parts, cut elsewhere
    """
    return with_context(parts, partial(_balanced, white=white), _REACH_PX)


def _balanced(at, pixels, opacity, white):
    if (opacity <= 255 * _FROM).all():
        return pixels[at]
    # OpenCV and tables: selecting pixels by NumPy takes five times as long.
    green = cv2.transform(pixels.astype(np.float32), _GREEN)
    clear = cv2.LUT(opacity, _CLEAR)
    weight = np.maximum(_around(clear), _LEAST)
    off = green - _around(green * clear) / weight
    off -= np.clip(off, -_SPARED * white, _SPARED * white)
    off *= cv2.LUT(opacity, _STRENGTH)
    off *= weight > _LEAST
    parts = zip(cv2.split(pixels), _BACK, strict=True)  # as a picture it takes three times as long
    return cv2.merge([plus(plane, share * off) for plane, share in parts])[at]


def _around(plane):
    side = 2 * _REACH_PX + 1
    return cv2.GaussianBlur(plane, (side, side), _SIGMA_PX)
