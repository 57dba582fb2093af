"""Real clouds, cut out of pictures and laid over other ground, with their own light and opacity."""

import math
from pathlib import Path

import cv2
import numpy as np

from util.pictures.find import partners
from util.pictures.pixels import PictureError, as_float
from util.samples.crops import resize_square, turned
from util.samples.ground import open_store
from util.say import UserError

LIGHT, OPACITY = "light", "opacity"  # folders of what belongs together, by name
# What samples with cut-outs have in the place of the settings: their shades are their own. Up to
# half as bright again, so that the same cloud is white in some pictures, as it is once they are
# stretched for the eye.
DAY = {
    "cloud_brightness": (0.8, 1.45),
    "cloud_colour": (0.96, 1.0),
    "cloud_shading": 0.0,
    "cloud_relief": 0.0,
}
_LEAST_PX = 56  # side of a window
_TRIES, _LEAST_CLOUD = 4, 0.03  # to find one with so much cloud
_EXCHANGED = 0.3  # share of the samples with exchanged channels
_DENSITY = (0.7, 1.2)  # opacity is multiplied by it, and is at most 1


class Cutouts:
    """Draw pieces of real cloud.

    Parameters
    ----------
    light, opacity : util.pictures.store.PictureStore
        Of as many pictures, the same sizes and order.
    size_px : int
        Side of what is drawn.
    """

    def __init__(self, light, opacity, size_px):
        self.light, self.opacity, self.size_px = light, opacity, size_px

    def __call__(self, rng):
        """Return a piece, float32 (S, S, 4), 0..1: its opacity, and the light in three channels.

        Of any size, turned, some of it thinner. Its colour is weaker or gone, or in exchanged
        channels: sensors, and pictures for the eye, colour the same cloud otherwise.
        """
        index = int(rng.integers(len(self.light)))
        height, width = self.light.sizes[index]
        most_px = min(height, width)
        for _ in range(_TRIES):
            side_px = round(math.exp(rng.uniform(*np.log([min(_LEAST_PX, most_px), most_px]))))
            top, left = (int(rng.integers(side - side_px + 1)) for side in (height, width))
            box = index, top, left, side_px, side_px
            opacity = as_float(self.opacity.pixels(*box))
            if opacity.mean() >= _LEAST_CLOUD:
                break
        window = np.dstack([opacity, as_float(self.light.pixels(*box))])
        window = turned(resize_square(window, self.size_px), int(rng.integers(8)))
        opacity, *light = cv2.split(window)
        if rng.random() < _EXCHANGED:
            light = [light[channel] for channel in rng.permutation(3)]
        light, grey = cv2.merge(light), np.float32(rng.random())
        light += grey * (light.mean(axis=-1, keepdims=True) - light)
        return np.dstack([np.minimum(opacity * np.float32(rng.uniform(*_DENSITY)), 1), light])


def open_cutouts(settings, progress=True):
    """Return the `Cutouts` of cut_folder, or None where that is empty.

    Raises
    ------
    UserError
        The folder holds none, or not of all both light and opacity, of one size.
    """
    if not settings.cut_folder:
        return None
    folder, where = Path(settings.cut_folder), f"cut_folder = {settings.cut_folder}"
    try:
        found = partners(folder / LIGHT, folder / OPACITY)
    except PictureError as error:
        raise UserError(f"{where}: {error}; prepare_data.py cut makes cut-outs") from None
    if not found:
        raise UserError(f"{where}: no picture in {LIGHT}/ has the name of one in {OPACITY}/")
    how = {"crop_px": 1, "scaled": False, "progress": progress}
    paths = [list(side) for side in zip(*found.values(), strict=True)]
    light = open_store(paths[0], "cut_folder", settings, **how)
    opacity = open_store(paths[1], "cut_folder", settings, grey=True, **how)
    if not np.array_equal(light.sizes, opacity.sizes):
        raise UserError(f"{where}: {LIGHT}/ and {OPACITY}/ of a cloud must be of one size")
    return Cutouts(light, opacity, settings.crop_px)
