"""Cut windows out of pictures at random, and bring them to one size."""

import math

import cv2
import numpy as np


def turned(picture, turn):
    """Return one of the eight flips and quarter turns (0 = none .. 7) of a picture (H, W, C)."""
    # OpenCV's, fifteen times as fast as copying a turned view, which goes across the memory.
    shape, rows, columns = picture.shape, turn & 1, turn & 2
    if rows or columns:
        picture = cv2.flip(picture, -1 if rows and columns else 0 if rows else 1)
    if turn & 4:
        picture = cv2.transpose(picture)
        shape = (shape[1], shape[0], *shape[2:])
    return picture.reshape(shape)  # OpenCV drops the axis of a single channel


_TRIES = 20  # to find a window without pixels that are no ground


def random_zoom(store, index, rng, side_px, zoom, shown=None):
    """Cut a square of a random size at a random place, resize it, and turn it at random.

    Parameters
    ----------
    store : PictureStore
    index : int
    rng : numpy.random.Generator
    side_px : int
    zoom : (float, float)
        Side of the window as a multiple of `side_px`, drawn uniformly in the logarithm and
        limited by the picture; (1, 1) cuts without resizing.
    shown : list of (PictureStore, int), optional
        See `random_window`.

    Returns
    -------
    uint8 or uint16 (side_px, side_px, C), as the store has it
        Resized as whole numbers: rounding once more shows nowhere, and the window is a quarter of
        the memory that it would be in float32.
    """
    multiple = math.exp(rng.uniform(math.log(zoom[0]), math.log(zoom[1])))
    window_px = min(round(side_px * multiple), int(store.sizes[index].min()))
    return random_window(store, store.pixels, index, rng, window_px, side_px, shown)


def random_window(store, cut, index, rng, window_px, side_px, shown=None):
    """Cut a square with one of the store's methods, at a random place; resize and turn it.

    A place where all pictures of `shown`, (store, index) each, show ground alone is looked for a
    few times [the picture itself]. Where there is none, what is no ground has been filled.
    """
    height, width = store.sizes[index]
    for _ in range(_TRIES):
        top = int(rng.integers(height - window_px + 1))
        left = int(rng.integers(width - window_px + 1))
        box = (top, left, window_px, window_px)
        if all(other.shows_ground(at, *box) for other, at in shown or [(store, index)]):
            break
    window = resize_square(cut(index, *box), side_px)
    return turned(window, int(rng.integers(8)))


def resize_square(window, side_px):
    """Resize a square (h, h, C) of uint8, uint16 or float32, 0..1, to (side_px, side_px, C).

    Grown by cubic interpolation. Shrunk by linear interpolation, which up to a half uses every
    pixel, almost as the mean over an area does, at a tenth of its time; beyond that the square is
    halved first, where the two are the same.
    """
    channels = window.shape[2]
    while len(window) > 2 * side_px:
        half = len(window) // 2
        window = cv2.resize(window[: 2 * half, : 2 * half], (half, half))
    if len(window) > side_px:
        window = cv2.resize(window, (side_px, side_px))
    elif len(window) < side_px:
        window = cv2.resize(window, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
        if window.dtype == np.float32:
            np.clip(window, 0.0, 1.0, out=window)  # cubic overshoots
    return window.reshape(side_px, side_px, channels)  # OpenCV drops the axis of a single channel
