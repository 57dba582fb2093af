"""How many steps there are, and what follows from a step alone: rates, when pictures are shown."""

import math
from dataclasses import replace

import tensorflow as tf

_FIRST_SHEETS = (10, 50, 100)  # so that nobody looks at an empty folder for minutes


def learning_rate(step, *, highest, warmup_steps, total_steps, final_share, drop_every=0):
    """Return the rate at a step: a linear rise, then half a cosine down, or steps.

    Parameters
    ----------
    step : int64 tensor ()
        Steps done so far.
    highest : float
    warmup_steps : int
        The rate rises over this many steps.
    total_steps : int
        At and after this step the rate is ``final_share * highest``.
    final_share : float
        1 keeps the rate constant.
    drop_every : int
        If not 0, the rate falls to a tenth each time so many steps are done, and not otherwise.

    Returns
    -------
    float32 tensor ()
    """
    step = tf.cast(step, tf.float32)
    rise = tf.minimum(1.0, (step + 1.0) / max(1, warmup_steps))
    if drop_every:
        return highest * rise * 0.1 ** tf.floor(step / drop_every)
    progress = tf.minimum(1.0, step / total_steps)
    fall = final_share + (1.0 - final_share) * 0.5 * (1.0 + tf.cos(math.pi * progress))
    return highest * rise * fall


def sheet_due(step, *, sheet_every, total_steps):
    """Tell whether a sheet is drawn after a step: soon after the start, regularly, at the end."""
    soon = step in _FIRST_SHEETS and step < sheet_every
    return soon or step % sheet_every == 0 or step == total_steps


def with_steps(settings, sample):
    """Return the settings with the steps that their epochs take, if they count in epochs."""
    if not settings.epochs:
        return settings
    return replace(settings, steps=math.ceil(settings.epochs * len(sample) / settings.batch_size))
