"""Heaped cumulus, as it is where no picture was stretched white: bright and dark sides, folds."""

import math

import cv2
import numpy as np

from util.samples import light
from util.samples.noise import fractal_noise

_TINT_OF_DARK = 2.5  # power of a cloud's tint that the dark sides have
# What `heap_share` of the samples has in the place of the settings: frayed cumulus of any grey and
# tint, and on some such days none, or a veil.
DAY = {
    "clear_share": 0.15,
    "veil_share": 0.05,
    "cumulus_share": 0.8,
    "cumulus_cover": (0.05, 0.7),
    "cumulus_cell_px": (10.0, 100.0),
    "cumulus_edge": (1.0, 4.0),
    "cumulus_octaves": 6,
    "cumulus_persistence": 0.68,
    "cloud_brightness": (0.75, 1.2),
    "cloud_colour": (0.82, 1.0),
    "cloud_shading": 0.3,
    "cloud_relief": 0.5,
}


def relief(rng, opacity, sun, most, colour_range):
    """Return how much darker heaps of cloud are where they are thin, folded or turned from the sun.

    What is thin hides the ground already, but sends up less light than the middle of the heap.

    Parameters
    ----------
    rng : numpy.random.Generator
    opacity : float32 (S, S), 0..1
    sun : float
        As of `util.samples.light.away_from_the_sun`.
    most : float, 0..1
    colour_range : (float, float)
        Of the cloud, by channel: dark sides have more of a tint, being lit by the sky.

    Returns
    -------
    float32 (S, S, 3), 0..most
    """
    # Lumps at half the side, which is enough for 4 pixels.
    half_px = max(len(opacity) // 2, 1)
    cell_px = math.exp(rng.uniform(math.log(3), math.log(24)))
    cells_px = [cell for octave in range(4) if (cell := cell_px / 2.2**octave) >= 1.5]
    lumps = sum(
        np.abs(fractal_noise(rng, half_px, [cell], [2 * math.sqrt(cell / cell_px)]))
        for cell in cells_px
    )
    lumps = np.minimum(cv2.resize(lumps, opacity.shape[::-1]), 1)
    height_px, steepness, *shares = rng.uniform(2, 12), rng.uniform(0.5, 2), *rng.random(3)
    height = (opacity + np.float32(0.3) * lumps) * np.float32(height_px)
    away = light.away_from_the_sun(height, sun, steepness)
    parts = zip(shares, (away, 1 - opacity, 1 - lumps), strict=True)
    dark = sum(np.float32(share) * part for share, part in parts)
    # From the brightest to the darkest of what one sees of the cloud; less of what is thin.
    thickest = float(opacity.max())
    seen = np.uint8(opacity > 0.2 * thickest)
    middle, spread = (of_seen.item() for of_seen in cv2.meanStdDev(dark, mask=seen))
    dark = 0.5 + (dark - np.float32(middle)) / np.float32(4 * spread + 1e-3)
    dark = np.clip(dark, 0, 1) * np.float32(most * thickest * math.sqrt(rng.random()))
    return light.three(dark) * np.float32(rng.uniform(*colour_range, 3) ** _TINT_OF_DARK)
