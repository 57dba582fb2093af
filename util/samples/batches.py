"""Turn keyed samples into batches: the only tf.data code.

A sample is a dictionary of float32 arrays that depends on nothing but its number, so a run has no
data position to save: step s uses samples ``s * batch_size`` and up, with any number of replicas,
threads or restarts.
"""

import contextlib
import math
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import tensorflow as tf

from util.samples.processes import NICENESS, NOT_HANDED_OVER, Processes, fill_here
from util.say import say

# Samples are made in several threads already; OpenCV's own would only wait for each other.
cv2.setNumThreads(1)


class ReusedMemory:
    """Give out memory for arrays, and the same again once nothing refers to those arrays.

    Memory fresh from the system is slow at its first touch: filling a batch of 7 MB took 4 ms,
    and 0.3 ms in memory that was used before. It starts at a multiple of 64 bytes, because
    TensorFlow then takes an array over as it is instead of copying it.
    """

    ALIGNMENT = 64  # bytes; the widest vectors of today's processors

    def __init__(self):
        self._blocks, self._lock = [], threading.Lock()

    def empty(self, shape):
        """Return a float32 array of this shape, its values not set."""
        size = 4 * math.prod(shape)
        with self._lock:
            block = self._unused_block(size + self.ALIGNMENT)
            start = -block.ctypes.data % self.ALIGNMENT
            # A view, whose own views refer to the block as well: it is unused once all have gone.
            return block[start : start + size].view(np.float32).reshape(shape)

    def _unused_block(self, size):
        for place in range(len(self._blocks)):
            fits = self._blocks[place].nbytes == size
            if fits and _references(self._blocks, place) == _REFERENCES_OF_UNUSED:
                return self._blocks[place]
        block = np.empty(size, np.uint8)
        self._blocks.append(block)
        return block


def _references(blocks, place):
    return sys.getrefcount(blocks[place])


_REFERENCES_OF_UNUSED = _references([np.empty(0)], 0)


def stack(sample, numbers):
    """Return the samples of these numbers as one dictionary of float32 arrays (B, ...)."""
    made = [sample(int(number)) for number in numbers]
    return {name: np.stack([arrays[name] for arrays in made]) for name in made[0]}


def _step_back():
    """Let this thread give way to the training step's.

    A step shares its work out evenly over all cores, so it is as slow as the core that a thread
    like this one takes a part of; between its operations there is time enough left over.
    """
    if sys.platform == "linux":  # elsewhere a process has one priority for all its threads
        with contextlib.suppress(OSError):  # where a sandbox forbids it, training is a bit slower
            thread = threading.get_native_id()
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, max(now, NICENESS))  # never a step forward


# More would wait for the interpreter's lock, which NumPy and OpenCV hand on at each call: with its
# files in memory a batch took 9 ms in one thread, 12 in two, 17 in four, 23 in sixteen. Where files
# come from a disk, one draws while the other waits for it.
_THREADS = min(2, os.cpu_count())
_BACKGROUND = ThreadPoolExecutor(_THREADS, "samples", initializer=_step_back)


def _fill_in_background(sample, batch, numbers):
    """Fill a batch with the samples of these numbers, the same share of it in each thread.

    For a step is as slow as its slowest core: this holds the cores up alike.
    """
    shares = [range(len(numbers))[thread::_THREADS] for thread in range(_THREADS)]
    try:
        parts = [_BACKGROUND.submit(fill_here, batch, sample, numbers, share) for share in shares]
    except RuntimeError:  # the interpreter is ending, and starts nothing more
        fill_here(batch, sample, numbers, range(len(numbers)))
    else:
        for part in parts:
            part.result()


@contextlib.contextmanager
def drawing(sample, processes=0):
    """Give the function that fills a batch, ``fill(batch, numbers)``, for as long as it is needed.

    Samples are the same bits whoever draws them.

    Parameters
    ----------
    sample : callable
        As for `batches`.
    processes : int
        That draw them; 0: threads of this one. Where they cannot be handed over that is said, and
        threads draw them.
    """
    by_threads = partial(_fill_in_background, sample)
    try:
        drawers = Processes(sample, processes) if processes else None
    except NOT_HANDED_OVER as error:
        say(f"samples cannot be handed to processes ({error}); threads draw them")
        drawers = None
    if drawers is None:
        yield by_threads
    else:
        with contextlib.closing(drawers):
            yield drawers.fill


def batches(sample, *, batch_size, first_step, strategy, fill=None):
    """Return an endless distributed dataset of batches, starting with that of `first_step`.

    Parameters
    ----------
    sample : callable
        ``sample(number) -> dict[str, float32 array]``, pure and thread-safe.
    batch_size : int
        Samples a step over all replicas; must be a multiple of their number.
    first_step : int
    strategy : tf.distribute.Strategy
    fill : callable, optional
        Of `drawing` [threads].

    Returns
    -------
    tf.distribute.DistributedDataset of dict[str, float32 (batch_size / replicas, ...)]
    """
    fill = fill or partial(_fill_in_background, sample)
    example = sample(0)
    names = list(example)
    memory = ReusedMemory()

    def pipeline(context):
        share = batch_size // context.num_input_pipelines  # samples a step on this machine
        local = context.get_per_replica_batch_size(batch_size)

        def numbers_of(piece):
            """Sample numbers of one replica's piece of a step."""
            first = piece * local
            step, within = first // share, first % share
            start = step * batch_size + context.input_pipeline_id * share + within
            return start + tf.range(local, dtype=tf.int64)

        def read(piece):
            def read_numpy(numbers):
                batch = {n: memory.empty((local, *example[n].shape)) for n in names}
                fill(batch, numbers)
                return [batch[name] for name in names]

            arrays = tf.numpy_function(
                read_numpy, [numbers_of(piece)], [tf.float32] * len(names), stateful=False
            )
            for name, array in zip(names, arrays, strict=True):
                array.set_shape((local, *example[name].shape))
            return dict(zip(names, arrays, strict=True))

        pieces = tf.data.Dataset.range(first_step * (share // local), np.iinfo(np.int64).max)
        ready = pieces.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return ready.prefetch(2)

    return strategy.distribute_datasets_from_function(pipeline)
