"""Lay detail of the clear ground around upon what was painted, which is smooth by itself.

Nobody can know the detail that was hidden, so a painter that is as near to the truth as can be
paints softly. For a picture to look at, that is as sharp everywhere, the finest part of clear
ground near by is laid on it: right in kind, in a wrong place.
"""

import math
from functools import partial

import cv2
import numpy as np

from util.restore.rolling import with_context

_DETAIL_PX = 3.0  # finer than a blur of this standard deviation
_TONE_PX = 6.0  # grounds are alike whose blurs of this standard deviation are ...
_AROUND_PX = 12  # ... as far around as this
_COUNT, _NEAREST_PX, _FARTHEST_PX = 60, 24, 240  # of the places that are compared
_TURNS = 2.4 * np.arange(_COUNT)  # the golden angle: each in another direction, and further away
_AWAY_PX = np.geomspace(_NEAREST_PX, _FARTHEST_PX, _COUNT)
_SHIFTS = np.rint(_AWAY_PX * [np.sin(_TURNS), np.cos(_TURNS)]).astype(int).T  # down and right
_REACH_PX = _FARTHEST_PX + _AROUND_PX + math.ceil(4 * _TONE_PX)
_TILE_PX = 512
_PAINTED, _CLEAR = 64, 192  # confidence below which ground is painted, from which on it is clear
_BESIDE_PX = 3  # so near to other ground clear ground is not taken
_MOST_STRENGTH = 1.5  # of detail that is laid on ground brighter than its own
_LEAST_TONE = 8  # of 255: by so much more, or ratios of dark tones would be noise


def with_detail(parts, share, white):
    """Yield the rows of a restored picture, with detail on what was painted, in the same order.

    For each painted pixel the ground some way off, in one of 60 directions and distances up to 240
    px, is looked for whose colours around are most like those painted here. Where there is no clear
    ground so near nothing is laid on.

    Parameters
    ----------
    parts : iterable of (int, uint8 or uint16 (rows, W, 3), uint8 (rows, W), uint8 (rows, W))
        The first row, the rows, their opacity and their confidence, from the top down.
    share : float, 0..1
        Of the detail: 1 is as sharp as the ground around.
    white : float
        The pixel value that means 1.0.

    Yields
    ------
    like parts, cut elsewhere
    """
    detailed = partial(_detailed, share=share, white=white)
    return with_context(parts, detailed, _REACH_PX, least_rows=_TILE_PX)


def _detailed(rows, pixels, _, confidence, share, white):
    """Return these rows, a slice, with detail on what is painted; by tiles, which saves memory."""
    detailed, painted = pixels.copy(), confidence < _PAINTED
    for top in range(rows.start, rows.stop, _TILE_PX):
        for left in range(0, painted.shape[1], _TILE_PX):
            here = painted[top : min(top + _TILE_PX, rows.stop), left : left + _TILE_PX]
            if not here.any():
                continue
            y, x = (np.flatnonzero(here.any(axis=axis)) for axis in (1, 0))
            at = slice(top + y[0], top + y[-1] + 1), slice(left + x[0], left + x[-1] + 1)
            part = tuple(slice(max(n.start - _REACH_PX, 0), n.stop + _REACH_PX) for n in at)
            offsets = [n.start for n in part]
            inner = [slice(n.start - o, n.stop - o) for n, o in zip(at, offsets, strict=True)]
            detailed[at] = _on_tile(pixels[part], confidence[part], inner, share, white)
    return detailed[rows]


def _on_tile(pixels, confidence, inner, share, white):
    """Return the pixels of the inner part, slices of rows and columns, with detail."""
    clear = cv2.erode(np.uint8(confidence >= _CLEAR), np.ones((2 * _BESIDE_PX + 1,) * 2, np.uint8))
    seen = cv2.convertScaleAbs(pixels, alpha=255 / white)
    tone = cv2.GaussianBlur(seen, (0, 0), _TONE_PX)
    best = _best_shifts(tone, clear > 0, inner)
    y, x = np.nonzero((confidence[*inner] < _PAINTED) & (best < _COUNT))
    away = _SHIFTS[best[y, x]]
    places = y + inner[0].start, x + inner[1].start
    sources = places[0] + away[:, 0], places[1] + away[:, 1]
    # Detail is what differs from the clear ground around alone.
    weight = clear.astype(np.float32)
    exact = pixels.astype(np.float32)
    around = cv2.GaussianBlur(exact * weight[..., None], (0, 0), _DETAIL_PX)[sources]
    around /= np.maximum(cv2.GaussianBlur(weight, (0, 0), _DETAIL_PX)[sources], 1e-3)[:, None]
    mean = tone.sum(axis=2, dtype=np.float32) + 3 * _LEAST_TONE
    strength = np.minimum(mean[places] / mean[sources], _MOST_STRENGTH)
    strength *= share * (1 - confidence[places] / np.float32(_PAINTED))
    detail = (exact[sources] - around) * strength[:, None]
    made = pixels[*inner].copy()
    top = np.iinfo(made.dtype).max
    made[y, x] = np.clip(np.rint(exact[places] + detail), 0, top).astype(made.dtype)
    return made


def _best_shifts(tone, clear, inner):
    """Return which shift leads each inner pixel to ground most like it, or 60: none does.

    tone : uint8 (H, W, 3); clear : bool (H, W); inner : two slices

    Returns
    -------
    uint8 (h, w)
    """
    # Sums of whole numbers: the same wherever a tile begins.
    side = 2 * _AROUND_PX + 1
    far = np.float32(side * side * 256)
    least = np.full([at.stop - at.start for at in inner], far)
    best = np.full(least.shape, _COUNT, np.uint8)
    border = _FARTHEST_PX + _AROUND_PX
    tone = cv2.copyMakeBorder(tone, *(border,) * 4, cv2.BORDER_CONSTANT)
    cloudy = cv2.copyMakeBorder(
        np.uint8(~clear) * 255, *(border,) * 4, cv2.BORDER_CONSTANT, value=255
    )

    def moved(plane, down, right):
        rows, columns = (
            slice(at.start + border - _AROUND_PX + by, at.stop + border + _AROUND_PX + by)
            for at, by in zip(inner, (down, right), strict=True)
        )
        return plane[rows, columns]

    within = (slice(_AROUND_PX, -_AROUND_PX),) * 2
    here = moved(tone, 0, 0)
    for number, shift in enumerate(_SHIFTS):
        apart = cv2.transform(cv2.absdiff(here, moved(tone, *shift)), np.ones((1, 3), np.float32))
        hidden = moved(cloudy, *shift)
        apart = cv2.boxFilter(cv2.max(apart, hidden), cv2.CV_32F, (side, side), normalize=False)
        apart = np.where(hidden[within] > 0, far, apart[within])
        nearer = apart < least
        best[nearer] = number
        np.minimum(least, apart, out=least)
    return best
