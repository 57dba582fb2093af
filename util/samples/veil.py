"""Lay a veil of noise over ground: the cloud of mod_GAN_cloud.py."""

import cv2

from util.samples.clouds import cover, stretch
from util.samples.noise import fractal_noise

COMPOSITES = ("veil", "white")
_LEAST_CELL_PX = 1.0  # what is finer weighs 3 % at most, and takes ten times as long to draw
_GREY_TO_RGB = cv2.COLOR_GRAY2RGB


def layered_noise(rng, size_px, cell_range_px=(5.0, 120.0), layers=12, persistence=0.5):
    """Draw layers of Perlin noise, the cells of layer n the n-th part of the first, as 0..1.

    Every map has lattices of its own; the published ones were all cut from one lattice, the same
    noise at another zoom. Layers finer than a pixel a cell are left out.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
    cell_range_px : (float, float)
        Cells of the first layer, drawn uniformly.
    layers : int
    persistence : float
        Weight of a layer relative to the one before.

    Returns
    -------
    float32 (size_px, size_px), 0..1
    """
    first_px = rng.uniform(*cell_range_px)
    cells_px = [first_px / n for n in range(1, layers + 1)]
    cells_px = cells_px[:1] + [cell_px for cell_px in cells_px[1:] if cell_px >= _LEAST_CELL_PX]
    weights = [persistence**n for n in range(1, len(cells_px) + 1)]
    return stretch(fractal_noise(rng, size_px, cells_px, weights))


def veil(keys, clear, *, composite="veil", **noise):
    """Lay a veil over ground: cloudy and clear (S, S, 3), opacity (S, S, 1).

    Parameters
    ----------
    composite : {"veil", "white"}
        "veil": the noise is opacity and light of the cloud at once, ``clear * (1 - a) + a * a``,
        so that thin cloud darkens bright ground. "white": ``clear * (1 - a) + a``.
    noise : dict
        Arguments of `layered_noise`.
    """
    opacity = layered_noise(keys("cloud"), len(clear), **noise)
    seen = cv2.cvtColor(opacity, _GREY_TO_RGB)
    light = seen if composite == "veil" else 1.0
    return {"cloudy": cover(clear, seen, light), "clear": clear, "opacity": opacity[..., None]}
