"""Bright things of one ground on another: roofs, sand, snow and surf are no cloud anywhere."""

import cv2
import numpy as np

_THINGS, _LEAST_PX = 5, 40  # of a crop at most; pixels of the smallest: smaller ones may be cloud
_FROM, _FULL = (0.5, 0.85), 0.1  # of white: bright from there on, and surely so much above
_MOST = 0.6  # of a crop; where more would be covered it is not
# Never all white: dense white cumulus passes for such things otherwise (docs/results.md, "Bright
# things that are never all white").
_GAIN, _WHITEST = (0.75, 1.1), 0.95


def with_bright_things(rng, ground, other):
    """Lay some of what is bright in another crop over ground, where it is there.

    Bright is what is so in all channels, as cloud is: over a threshold that is drawn. It comes
    darker or brighter, too, but never all white.

    Parameters
    ----------
    rng : numpy.random.Generator
    ground, other : float32 (S, S, 3), 0..1

    Returns
    -------
    float32 (S, S, 3), 0..1
    """
    other = np.minimum(other * np.float32(rng.uniform(*_GAIN)), _WHITEST)
    bright = (other.min(axis=-1) - np.float32(rng.uniform(*_FROM))) / np.float32(_FULL)
    cover = np.clip(bright, 0, 1)
    count, labels, found, _ = cv2.connectedComponentsWithStats((cover > 0).astype(np.uint8))
    large = 1 + np.flatnonzero(found[1:, cv2.CC_STAT_AREA] >= _LEAST_PX)
    chosen = np.zeros(count, np.float32)
    chosen[rng.permutation(large)[: rng.integers(1, _THINGS + 1)]] = 1
    cover *= chosen[labels]
    if cover.mean() > _MOST:
        return ground
    return ground + cover[..., None] * (other - ground)
