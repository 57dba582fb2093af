"""Random draws that are a pure function of (seed, sample number, purpose): nothing to save."""

import functools
import zlib

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class _Key(ISeedSequence):
    """Hand a key to a generator as its seed.

    Given as `key`, NumPy asks the system for a seed all the same, which it then does not use, and
    that takes two thirds of the time. The numbers that come out are the same.
    """

    def __init__(self, *words):
        self._words = words

    def generate_state(self, n_words, dtype=np.uint32):
        return np.array(self._words, dtype)


def keyed_rng(seed, number, purpose):
    """Return a random generator that depends on nothing but its three arguments.

    Parameters
    ----------
    seed : int
        The run's seed, 0 or more.
    number : int
        Sample number, counted from the start of the run.
    purpose : str
        What is drawn; different purposes give independent numbers, so that a new draw added to
        one of them leaves the others as they were.

    Returns
    -------
    numpy.random.Generator
        Counter-based (Philox), so making one for every sample costs microseconds.
    """
    counter = [0, 0, 0, zlib.crc32(purpose.encode())]
    return np.random.Generator(np.random.Philox(_Key(seed, number), counter=counter))


class Keys:
    """Give the random generators of one sample: one a purpose, and the same one when asked again.

    Parameters
    ----------
    seed, number : int
        See `keyed_rng`.
    """

    def __init__(self, seed, number):
        self.seed, self.number = seed, number
        self._made = {}

    def __call__(self, purpose):
        """Return the generator of a purpose; it goes on where it was left."""
        if purpose not in self._made:
            self._made[purpose] = self.anew(purpose)
        return self._made[purpose]

    def anew(self, purpose):
        """Return a generator of a purpose that begins at its beginning."""
        return keyed_rng(self.seed, self.number, purpose)


@functools.lru_cache(maxsize=256)
def _order(seed, epoch, count):
    return keyed_rng(seed, epoch, "order of pictures").permutation(count)


def shuffled_index(seed, number, count):
    """Return which of `count` pictures sample `number` uses: each once an epoch, in a new order.

    Returns
    -------
    int, 0 <= index < count
    """
    epoch, place = divmod(number, count)
    return int(_order(seed, epoch, count)[place])
