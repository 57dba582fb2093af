"""How long a network is at work, whatever goes through it: tiles, or rows after rows."""

import time
from dataclasses import replace

import numpy as np
import tensorflow as tf


def timed(trained):
    """Return a trained network, and the list that it writes its seconds to, as it is used."""
    seconds = []

    def around(function):
        def call(*given):
            start = time.perf_counter()
            found = tf.nest.map_structure(np.asarray, function(*given))
            seconds.append(time.perf_counter() - start)
            return found

        return call

    rows = trained.by_rows
    if rows:
        network = [replace(stage, function=around(stage.function)) for stage in rows.network]
        rows = replace(rows, network=tuple(network), finish=around(rows.finish))
    return replace(trained, restore=around(trained.restore), by_rows=rows), seconds
