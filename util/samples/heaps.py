"""Heaped cumulus, as it is where no picture was stretched white: towers, bright and dark sides."""

import math

import cv2
import numpy as np

from util.samples import light
from util.samples.noise import fractal_noise

_TINT_OF_DARK = 2.5  # power of a cloud's tint that the dark sides have
# What `heap_share` of the samples has in the place of the settings: heaps of any grey and tint, and
# on some such days none, or a veil.
DAY = {
    "clear_share": 0.15,
    "veil_share": 0.05,
    "cumulus_share": 0.8,
    "cumulus_cover": (0.05, 0.7),
    "cumulus_cell_px": (10.0, 100.0),
    "cumulus_edge": (0.15, 2.0),
    "cloud_brightness": (0.75, 1.2),
    "cloud_colour": (0.82, 1.0),
    "cloud_shading": 0.3,
    "cloud_relief": 0.7,
}


def heaped_opacity(rng, size_px, *, cell_range_px, cover_range, edge_range):
    """Draw heaps of round towers, large ones and on them smaller ones, more or less frayed.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
    cell_range_px, cover_range : (float, float)
        As in `util.samples.clouds.cumulus_opacity`.
    edge_range : (float, float)
        How deep cloud is, in standard deviations of its height, that lets a third of the light
        through; drawn uniformly in the logarithm.

    Returns
    -------
    float32 (size_px, size_px, 2), 0..1
        Opacity, and the height of the tops.
    """
    ranges = cell_range_px, cover_range, edge_range, (6, 24)
    cell_px, covered, edge, tower_px = (_logarithmic(rng, *each) for each in ranges)
    tower_px, weight, towers = min(tower_px, cell_px / 2), 1.0, 0
    while tower_px >= 2:
        towers = towers + np.float32(weight) * domes(rng, size_px, tower_px)
        tower_px, weight = tower_px / rng.uniform(1.7, 2.4), weight * rng.uniform(0.5, 0.9)
    bodies = fractal_noise(rng, size_px, [cell_px, cell_px / 2.2], [1.0, 0.6])
    frays = fractal_noise(rng, size_px, [12, 6, 3], [1.0, 0.7, 0.5])
    shares = 1.0, rng.uniform(0.3, 0.8), rng.uniform(0.0, 0.4)
    height = sum(
        np.float32(share / float(part.std() + 1e-6)) * part
        for share, part in zip(shares, (bodies, towers, frays), strict=True)
    )
    height = cv2.GaussianBlur(height, (0, 0), rng.uniform(0.3, 0.7))  # of any lens
    height -= np.quantile(height[::2, ::2], 1.0 - covered)
    height = np.maximum(height, 0)
    opacity = 1 - np.exp(height * np.float32(-1 / edge))
    height = np.sqrt(height / max(float(height.max()), 1e-6))
    return cv2.merge([opacity, height])


def _logarithmic(rng, low, high):
    """Draw from a range uniformly in the logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def domes(rng, size_px, cell_px):
    """Draw domes that lean on each other, float32 (S, S), 0..1: as many as cells of this side."""
    beyond_px = int(cell_px) + 1
    side_px = size_px + 2 * beyond_px
    apart = np.ones((side_px, side_px), np.uint8)
    tops = rng.integers(0, apart.size, max(1, int(apart.size / cell_px**2)))
    apart.ravel()[tops] = 0
    away = cv2.distanceTransform(apart, cv2.DIST_L2, cv2.DIST_MASK_3)
    away = away[beyond_px:-beyond_px, beyond_px:-beyond_px] * np.float32(1 / cell_px)
    return np.sqrt(np.maximum(1 - away * away, 0))


def relief(rng, opacity, sun, most, colour_range, height=None):
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
    height : float32 (S, S), 0..1, optional
        Of the tops; without it lumps are drawn upon the opacity.

    Returns
    -------
    float32 (S, S, 3), 0..most
    """
    if height is None:
        lumps = _lumps(rng, opacity.shape)
        height, folds = opacity + np.float32(0.3) * lumps, 1 - lumps
    else:
        folds = 4 * (cv2.blur(height, (9, 9)) - height)
    height_px, steepness, *shares = rng.uniform(2, 12), rng.uniform(0.5, 2), *rng.random(3)
    away = light.away_from_the_sun(height * np.float32(height_px), sun, steepness)
    parts = zip(shares, (away, 1 - opacity, folds), strict=True)
    dark = sum(np.float32(share) * part for share, part in parts)
    # From the brightest to the darkest of what one sees of the cloud; less of what is thin.
    thickest = float(opacity.max())
    seen = np.uint8(opacity > 0.2 * thickest)
    middle, spread = (of_seen.item() for of_seen in cv2.meanStdDev(dark, mask=seen))
    dark = 0.5 + (dark - np.float32(middle)) / np.float32(4 * spread + 1e-3)
    dark = np.clip(dark, 0, 1) * np.float32(most * thickest * math.sqrt(rng.random()))
    return light.three(dark) * np.float32(rng.uniform(*colour_range, 3) ** _TINT_OF_DARK)


def _lumps(rng, shape):
    """Draw small lumps, float32 of this shape, 0..1; at half the side, which is enough for 4 px."""
    half_px = max(shape[0] // 2, 1)
    cell_px = _logarithmic(rng, 3, 24)
    cells_px = [cell for octave in range(4) if (cell := cell_px / 2.2**octave) >= 1.5]
    lumps = sum(
        np.abs(fractal_noise(rng, half_px, [cell], [2 * math.sqrt(cell / cell_px)]))
        for cell in cells_px
    )
    return np.minimum(cv2.resize(lumps, shape[::-1]), 1)
