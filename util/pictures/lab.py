"""Lightness of pixels, after CIELAB: the grey of a colour, and colours of a grey's lightness.

Two pixels have the same lightness where they have the same luminance, so that all is done with
this. RGB is sRGB, white is D65.
"""

from functools import lru_cache

import numpy as np

LUMINANCE = np.array([0.212671, 0.715160, 0.072169])  # of linear red, green, blue; they sum to 1
_FINER = (1, 0, 2)  # green's steps change the luminance most, blue's least


def linear(values):
    """Return sRGB values, 0..1, as shares of light, 0..1 (IEC 61966-2-1)."""
    bent = ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(values > 0.04045, bent, values / 12.92)


def grey_of(picture):
    """Return the grey picture that has a picture's lightness, both float32 (H, W, 3), 0..1."""
    light = linear(picture) @ np.float32(LUMINANCE)
    bent = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    grey = np.where(light > 0.0031308, bent, 12.92 * light)
    return np.repeat(grey[..., None], 3, axis=2)


def grey_levels(pixels, white):
    """Return the level of grey, int (H, W), that has the lightness of each pixel to half a step.

    pixels : uint8 or uint16 (H, W, 3), at most white
    white : float
        The value that means 1.0.
    """
    light, edges = _tables(white)
    return np.searchsorted(edges, light[pixels] @ LUMINANCE)


def keep_lightness(came, made, white):
    """Return coloured pixels with the lightness of those that came.

    Where rounding has moved it, green, red and blue are moved in turn by what is missing of the
    luminance, ever more finely.

    Parameters
    ----------
    came : uint8 or uint16 (H, W, 3)
        Grey, or of whatever colour. Pixels brighter than white stay as they came.
    made : like came
        About as light.
    white : float
        The value that means 1.0.

    Returns
    -------
    like came
        Each pixel has the `grey_levels` of the one that came.
    """
    light, edges = _tables(white)
    most = len(edges)
    level = grey_levels(np.minimum(came, most), white)
    made = np.minimum(made, most)
    off = grey_levels(made, white) != level
    wanted, moved = level[off], made[off]
    for band in _FINER:
        missing = light[wanted] - light[moved] @ LUMINANCE
        exact = light[moved[:, band]] + missing / LUMINANCE[band]
        moved[:, band] = np.searchsorted(edges, exact)
    # Where no such colour is near, grey is right.
    grey = grey_levels(moved, white) != wanted
    moved[grey] = wanted[grey, None]
    made[off] = moved
    return np.where((came > most).any(axis=-1, keepdims=True), came, made)


@lru_cache(maxsize=8)
def _tables(white):
    """Return the light of each level up to white, and the light half way between neighbours."""
    levels = np.arange(int(min(white, 65535)) + 1)
    return linear(levels / white), linear((levels[:-1] + 0.5) / white)
