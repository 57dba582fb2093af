"""Restore a picture in several positions, and take the mean."""

import tensorflow as tf


def over_turns(restore, turns, batch):
    """Return the mean of what is found in a batch and in its flips, each turned back.

    Parameters
    ----------
    restore : callable
        dict of float32 (B, H, W, C) -> dict of tensors (B, H, W, C).
    turns : int
        How many of the eight flips and quarter turns, the first of these: none, rows reversed, ..
    batch : dict of float32 (B, H, W, C)
    """
    total = {}
    for turn in range(turns):
        found = restore({name: _turned(picture, turn) for name, picture in batch.items()})
        for name, picture in found.items():
            back = _turned_back(picture, turn)
            total[name] = total[name] + back if turn else back
    return {name: picture / turns for name, picture in total.items()}


def _turned(pictures, turn):
    pictures = tf.reverse(pictures, [axis for axis in (1, 2) if turn & axis])
    return tf.transpose(pictures, [0, 2, 1, 3]) if turn & 4 else pictures


def _turned_back(pictures, turn):
    pictures = tf.transpose(pictures, [0, 2, 1, 3]) if turn & 4 else pictures
    return tf.reverse(pictures, [axis for axis in (1, 2) if turn & axis])
