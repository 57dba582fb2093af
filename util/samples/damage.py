"""Samples: clear ground, and what is done to it. A script names the damage that it repairs.

A damage is a pure function ``damage(keys, clear) -> dict of float32 (S, S, C), 0..1``, of a
sample's keys (`util.samples.keys.Keys`) and clear ground (S, S, 3). It returns the clear ground,
too, as "clear".
"""

from functools import partial

import cv2
import numpy as np

from util.samples.clouds import draw_opacity
from util.samples.ground import open_stores
from util.samples.haze import scatter, smooth_depth
from util.samples.keys import Keys

_GREY_TO_RGB = cv2.COLOR_GRAY2RGB


class Samples:
    """Make samples: a pure function of their number.

    Parameters
    ----------
    ground : util.samples.ground.Ground
    damage : callable
    """

    def __init__(self, ground, damage):
        self.ground, self.damage = ground, damage

    def __call__(self, number):
        """Return sample `number`: dict of float32 (S, S, C), 0..1."""
        keys = Keys(self.ground.seed, number)
        return self.damage(keys, self.ground(keys))


# --- kinds of damage ----------------------------------------------------------------------------


def cloud(keys, clear, *, draw, opacity_offset, cloud_colour):
    """Lay cloud over ground: cloudy and clear (S, S, 3), opacity (S, S, 1).

    Parameters
    ----------
    draw : callable
        ``draw(rng) -> float32 (S, S, 1)``, opacity 0..1.
    opacity_offset : (float, float)
        A number from this range is added to the opacity.
    cloud_colour : (float, float)
        The cloud's brightness in each channel is drawn from this range.
    """
    opacity, rng = draw(keys("cloud")), keys("jitter")
    opacity = np.clip(opacity + np.float32(rng.uniform(*opacity_offset)), 0.0, 1.0)
    colour = rng.uniform(*cloud_colour, 3).astype(np.float32)
    # The same as cover(clear, opacity, colour), but NumPy is slow where rows have 3 numbers, and
    # with every array more.
    row = (len(clear), -1)
    cloudy = np.tile(colour, clear.shape[1]) - clear.reshape(row)
    cloudy *= cv2.cvtColor(opacity, _GREY_TO_RGB).reshape(row)
    cloudy += clear.reshape(row)
    return {"cloudy": cloudy.reshape(clear.shape), "clear": clear, "opacity": opacity}


def holed(keys, clear, *, draw):
    """Cut a hole out of ground: clear and holed (S, S, 3), hole (S, S, 1), 1 = missing.

    draw : callable
        ``draw(rng) -> float32 (S, S, 1)``, 0 (known) .. 1 (missing).
    """
    hole = draw(keys("hole"))
    # Three channels: NumPy is slow where rows have 3 numbers for 1.
    known = cv2.cvtColor(1.0 - hole, _GREY_TO_RGB)
    return {"clear": clear, "hole": hole, "holed": clear * known}


def haze(keys, clear, *, airlight, beta, depth=None):
    """Lay haze over ground by the scattering model: hazy and clear (S, S, 3).

    Parameters
    ----------
    airlight, beta : (float, float)
        Ranges that the model's two numbers are drawn from, uniformly; see `scatter`.
    depth : callable, optional
        ``depth(keys) -> float32 (S, S, 1)``, or None where the ground's depth is not known: it is
        smooth and random then, as it is everywhere without this.
    """
    rng = keys("haze")
    light, density = rng.uniform(*airlight), rng.uniform(*beta)
    found = depth(keys) if depth else None
    if found is None:
        found = smooth_depth(rng, len(clear))
    return {"hazy": scatter(clear, found, light, density), "clear": clear}


# --- from settings ------------------------------------------------------------------------------


def open_layers(settings, progress=True):
    """Return the cloud layers to train and to validate with; None twice if noise is enough."""
    if settings.noise_share == 1:
        return None, None
    side_px = settings.cloud_window_px[0]
    return open_stores(
        settings.cloud_folder, "cloud_folder", settings, side_px, grey=True, progress=progress
    )


def opacity_from(layers, settings):
    """Return a function ``rng -> opacity`` that draws as settings say; see `draw_opacity`."""
    return partial(
        draw_opacity,
        layers=layers,
        size_px=settings.crop_px,
        noise_share=settings.noise_share,
        cloud_window_px=settings.cloud_window_px,
        noise={
            "cell_range_px": settings.noise_cell_px,
            "octaves": settings.noise_octaves,
            "persistence": settings.noise_persistence,
            "lacunarity": settings.noise_lacunarity,
        },
    )
