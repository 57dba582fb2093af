"""Samples for processes to draw: they import this file, so it imports no TensorFlow."""

import os
import sys
import time

import numpy as np


def row(number, *, fails_at=-1, of=ValueError):
    if number == fails_at:
        raise of(f"sample {number}")
    return {"row": np.arange(3, dtype=np.float32) + number, "pid": np.full(1, os.getpid(), "f4")}


def crop(store, number):
    return {"crop": store.crop(number % len(store), 0, 0, 64, 64)}


def has_tensorflow(number):
    return {"has": np.full(1, "tensorflow" in sys.modules, np.float32)}


def uneven(number):
    return {"row": np.zeros(3 + number, np.float32)}


class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fails_oddly(number):
    raise OddError(1, 2)


def prints(number):
    print("not a pixel")
    os.write(1, b"nor this")
    return {"row": np.full(3, number, np.float32)}


def slow(number):
    time.sleep(0.3)
    return {"row": np.full(3, number, np.float32)}
