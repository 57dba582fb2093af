"""Tell whether what was painted repeats itself: dots, stripes and checks that ground has not."""

import math

import cv2
import numpy as np

from util.measure.scores import WHOLLY_ABOVE

_RIM_PX = 8  # so far from a hole's rim a filling still follows what is around
_LEAST_PIXELS = 256
_DETAIL_PX = 4.0  # what is smoother than this (sigma) repeats too slowly to be seen as a pattern
_NEAR_PX = 4  # nearer than that everything is like itself
_LEAST_SHARE = 0.25  # of the pixels, which must overlap: of few any two are alike
_SEEN_FROM = 1 / 255  # detail fainter than this (root mean square) nobody sees


def repetition(picture: np.ndarray, where: np.ndarray) -> float:
    """Return the greatest autocorrelation of the detail at any distance, at most 1.

    Of the luminance without what is smooth; 0 where that is too faint to be seen. Stripes of any
    period that has room come near 1, ground lies around .2.

    Parameters
    ----------
    picture : float (H, W, 3), 0..1
    where : bool (H, W)
        Pixels that count.
    """
    grey = cv2.cvtColor(np.float32(picture), cv2.COLOR_RGB2GRAY)
    part = where.astype(np.float32)
    detail = (grey - cv2.GaussianBlur(grey, None, _DETAIL_PX)) * part
    count = float(part.sum())
    if not count or float((detail**2).sum()) < _SEEN_FROM**2 * count:
        return 0.0
    overlap, squares, products = _correlations(part, detail)
    down, right = np.indices(overlap.shape) - np.array(overlap.shape)[:, None, None] // 2
    far = (overlap >= _LEAST_SHARE * count) & (np.hypot(down, right) > _NEAR_PX)
    if not far.any():
        return 0.0
    # Of the part that overlaps, whose detail may be fainter than the whole's.
    both = np.sqrt(np.maximum(squares * squares[::-1, ::-1], 1e-12))
    return float(np.clip((products / both)[far].max(), 0, 1))


def repetition_inside(restored: np.ndarray, clear: np.ndarray, hole: np.ndarray) -> float:
    """Return by how much more a filling repeats itself than the truth, well inside a hole.

    restored, clear : float (H, W, 3), 0..1
    hole : float (H, W), 1 = missing

    nan where fewer than 256 pixels lie 8 pixels and more inside.
    """
    side = 2 * _RIM_PX + 1
    inside = cv2.erode(np.uint8(hole > WHOLLY_ABOVE), np.ones((side, side), np.uint8)) > 0
    if np.count_nonzero(inside) < _LEAST_PIXELS:
        return math.nan
    return repetition(restored, inside) - repetition(clear, inside)


def _correlations(part, detail):
    """Return for each shift, (2 H - 1, 2 W - 1), sums over what overlaps: 1, squares, products."""
    shape = [2 * side - 1 for side in part.shape]
    ones, square, values = (np.fft.rfft2(a, shape) for a in (part, detail**2, detail))

    def shifted(a, b):
        return np.fft.fftshift(np.fft.irfft2(a * b.conj(), shape))

    overlap = np.rint(shifted(ones, ones))
    return overlap, shifted(square, ones), shifted(values, values)
