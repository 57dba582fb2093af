"""Losses that several scripts share."""

import tensorflow as tf

from util.clouds import cover


def l1(a, b):
    """Return the mean absolute difference of two tensors, a scalar."""
    return tf.reduce_mean(tf.abs(a - b))


def covered_l1(ground, clear, opacity):
    """Return the mean absolute difference of two grounds after covering both with one cloud.

    What lies under thick cloud cannot be known from its colours, and so does not count.

    Parameters
    ----------
    ground, clear : float32 (B, H, W, 3)
    opacity : float32 (B, H, W, 1), 0..1
        The TRUE opacity.
    """
    return l1(cover(ground, opacity), cover(clear, opacity))


def seen_l1(ground, clear, opacity, thick_from=0.75):
    """Return the mean absolute difference of two grounds where opacity is below `thick_from`.

    The mean is over all pixels, those left out counting as 0. Unlike `covered_l1` it asks for
    the ground's own colours under haze, where the covered ones differ by little.
    """
    return tf.reduce_mean(tf.abs(ground - clear) * tf.cast(opacity < thick_from, tf.float32))
