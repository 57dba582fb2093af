"""What is to be repainted of a picture whose cloud was found, and what painters are not told."""

import cv2
import numpy as np

from util.pictures.morphology import cell_sums, dilated, eroded

# Where cloud ends its cleared ground is worst: what is painted by it is 1.3 to 2.4 dB further from
# the truth (harmonic; thick, mixed and small cumulus, crops of 256 px) than what is not.
_RIM_PX, _RIM_FROM = 8, 8  # width of that rim, and its least opacity of 0..255
# Wide cloud has room for a square of 2 x 6 + 1 pixels. Its fringe is often not found at all, and
# made grey stains of the sea beneath large real clouds; so nothing is believed there. Of its rim
# the painted ground is nearer to the truth than the cleared one from .4 of repaint_from on. On
# crops of 128 px both give thick cloud + .3 dB, mixed + .1 (what is hidden + .6 and + 1.2), and
# leave small cumulus as it was.
_WIDE_PX, _FRINGE_PX, _RIM_SHARE = 6, 15, 0.4
# What is all white and touches hidden ground is of the same cloud, even where the first step finds
# none, as of dense cumulus beside bright water; so from pixel to pixel, over gaps of two. Where it
# found next to none it found no rim either, so nothing near tells how to paint. On crops of 128 px
# nothing is lost by it; over gaps of seven or from .9 of white on small cumulus loses .4 dB and .3,
# by white fields and roofs.
ALL_WHITE, _STEP_PX, _MOST_STEPS = 0.97, 3, 21
# Where three of twenty of the separate things that are all white within 256 px or so are of that
# cloud all of them are: the first step misses whole clumps of dense cumulus. Of eight crops of the
# Bahamas picture the least has then .995 of its white found (.785 at four of twenty). Things are
# counted, by corners, not pixels: a large cloud would bring a city's roofs with it. Many have to be
# of that cloud, and only where it is white it counts: roofs are found falsely, too, and would bring
# others with them. In clear pictures of held-back scenes nothing is lost, of a city without cloud
# 101 pixels of 259,081 (512 if one were enough), none where the size of a pixel is told (618).
_CLOUD_SHARE, _LEAST_THINGS, _CELL_PX, _REACH_CELLS = 0.15, 32, 16, 16
_MISSED, MISSED_PX = 64, 8  # found opacity of 0..255 that is next to none, and what is near it


def is_hidden(opacity, share):
    """Return where something is painted by its opacity, bool (H, W)."""
    return opacity > int(np.flatnonzero(share == 0)[-1])


def add_white(opacity, hidden, white):
    """Mark what touches hidden ground and is all white in the opacity; return what was missed.

    uint8 (H, W), and bool (H, W) three times, of which `white` is used up.
    """
    missed, front, touches = np.zeros_like(white), hidden, white.copy()
    white &= ~hidden
    for _ in range(_MOST_STEPS):
        front = dilated(front, _STEP_PX)
        front &= white
        if not front.any():
            break
        white ^= front
        missed |= front & (opacity < _MISSED)
        opacity[front] = 255
    touches ^= white
    white &= _among_cloud(touches, white)
    missed |= white & (opacity < _MISSED)
    opacity[white] = 255
    return missed


def _among_cloud(touches, rest):
    """Return, bool (H, W), where near by enough of what is all white touches hidden ground."""
    counts = [_counts_around(mask) for mask in (touches, rest)]
    cells = counts[0] >= np.maximum(_CLOUD_SHARE * sum(counts), _LEAST_THINGS)
    height, width = rest.shape
    return cells.repeat(_CELL_PX, axis=0)[:height].repeat(_CELL_PX, axis=1)[:, :width]


def _counts_around(mask):
    """Count the things of a mask around each cell by upper left corners, float32 (cells, cells)."""
    corners = mask.copy()
    corners[1:] &= ~mask[:-1]
    corners[:, 1:] &= ~mask[:, :-1]
    side = 2 * _REACH_CELLS + 1
    return cv2.boxFilter(
        cell_sums(corners, _CELL_PX, np.float32),
        ddepth=-1,
        ksize=(side, side),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )


def cover_of(opacity, share, repaint_from):
    """Return what is to be repainted of a found opacity, and where nothing is to be believed.

    uint8 (H, W), the opacity itself or, around wide cloud, more of it; bool (H, W).
    """
    wide = eroded(is_hidden(opacity, share), _WIDE_PX)
    if not wide.any():
        return opacity.copy(), wide
    rim = dilated(wide, _WIDE_PX + _RIM_PX)
    rim &= opacity >= np.ceil(255 * _RIM_SHARE * repaint_from)
    cover = opacity.copy()
    cover[rim] = 255
    return cover, dilated(wide, _WIDE_PX + _FRINGE_PX)


def hole_of(cover, share, fringe):
    """Return what painters are told is missing, bool (H, W): hidden ground, its rim and fringe."""
    hidden = is_hidden(cover, share)
    near = dilated(hidden, _RIM_PX)
    near &= cover >= _RIM_FROM
    near |= hidden
    near |= fringe
    found = hidden if near.all() else near
    return np.zeros_like(found) if found.all() else found  # without anything to go by
