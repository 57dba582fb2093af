"""Fit the light of one picture to that of another: two dates differ in sun and season."""

import numpy as np


def fitted(picture, clear, where=None):
    """Return a picture with the gain and offset of each channel that bring it closest to another.

    Ordinary least squares over all pixels of `where`, each channel by itself: with the covariance
    and variance of the two there, ``gain = cov(picture, clear) / var(picture)`` and ``offset =
    mean(clear) - gain * mean(picture)``. What is still cloudy counts like the rest, and makes the
    fit flatter; so would what is no ground, which evaluate leaves out.

    Parameters
    ----------
    picture, clear : float32 (H, W, C), 0..1
    where : bool (H, W), optional
        Which pixels the fit goes by, one or more of them [all].

    Returns
    -------
    float32 (H, W, C), 0..1
    """
    made, there = np.empty_like(picture), ... if where is None else where
    for channel in range(picture.shape[-1]):
        x, y = (p[..., channel].astype(np.float64) for p in (picture, clear))
        x -= x[there].mean()
        variance = np.vdot(x[there], x[there])
        gain = np.vdot(x[there], y[there]) / variance if variance else 0.0  # flat tells no gain
        made[..., channel] = np.clip(gain * x + y[there].mean(), 0, 1)
    return made
