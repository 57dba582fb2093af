"""Fit the light of one picture to that of another: two dates differ in sun and season."""

import numpy as np


def fitted(picture, clear):
    """Return a picture with the gain and offset of each channel that bring it closest to another.

    Ordinary least squares over all pixels, each channel by itself: with the covariance and variance
    of the two, ``gain = cov(picture, clear) / var(picture)`` and ``offset = mean(clear) - gain *
    mean(picture)``. What is still cloudy counts like the rest, and makes the fit flatter.

    Parameters
    ----------
    picture, clear : float32 (H, W, C), 0..1

    Returns
    -------
    float32 (H, W, C), 0..1
    """
    made = np.empty_like(picture)
    for channel in range(picture.shape[-1]):
        x, y = (p[..., channel].astype(np.float64) for p in (picture, clear))
        x -= x.mean()
        variance = np.vdot(x, x)
        gain = np.vdot(x, y) / variance if variance else 0.0  # a flat picture tells no gain
        made[..., channel] = np.clip(gain * x + y.mean(), 0, 1)
    return made
