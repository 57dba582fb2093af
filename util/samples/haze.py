"""Lay haze over clear pictures: the scattering model, and a depth where none was measured."""

import math

import cv2
import numpy as np

from util.samples.clouds import cover, noise_opacity
from util.samples.noise import perlin

# With beta within 0.5..1.5, transmission then lies within 0.22..0.90: some haze everywhere, and
# something of the ground as well.
NEAREST = (0.2, 0.6)  # the smallest depth of a map, drawn from this range; the largest is 1
_GREY_TO_RGB = cv2.COLOR_GRAY2RGB


def transmission(depth, beta):
    """Return the share of light that comes through the haze, ``exp(-beta * depth)``.

    Parameters
    ----------
    depth : float32 (H, W, 1), 0 or more
    beta : float or (3,), 0 or more
        How dense the haze is, in each channel.

    Returns
    -------
    float32 (H, W, 1) or (H, W, 3), 1 (no haze) .. 0
    """
    return np.exp(depth * -np.float32(beta))


def scatter(clear, depth, airlight, beta):
    """Lay haze over a picture: ``clear * t + airlight * (1 - t)``, t = exp(-beta * depth).

    Haze is a cloud with an opacity of 1 - t and the airlight for its colour.

    Parameters
    ----------
    clear : float32 (H, W, 3), 0..1
    depth : float32 (H, W, 1), 0 or more
    airlight : float or float32 (3,), 0..1
        Colour of the air where nothing comes through.
    beta : float or (3,), 0 or more

    Returns
    -------
    float32 (H, W, 3), 0..1

    References
    ----------
    S. G. Narasimhan, S. K. Nayar, "Vision and the atmosphere", International Journal of Computer
    Vision 48(3), 2002; as in B. Li et al., "Benchmarking single image dehazing and beyond" (the
    RESIDE data set), IEEE Transactions on Image Processing 28(1), 2019, equations 1 and 2.
    """
    height, width = clear.shape[:2]
    opacity = 1.0 - transmission(depth, beta)
    if np.ndim(beta) == 0:
        opacity = cv2.cvtColor(opacity, _GREY_TO_RGB)  # (H, W, 3)
    colours = np.tile(np.broadcast_to(np.float32(airlight), 3), width)
    # In rows of whole lines: NumPy is slow where a row has 3 numbers.
    row = (height, -1)
    return cover(clear.reshape(row), opacity.reshape(row), colours).reshape(clear.shape)


def smooth_depth(rng, size_px):
    """Draw a smooth depth: one octave of noise in large cells on a ramp in a random direction.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int

    Returns
    -------
    float32 (size_px, size_px, 1)
        Its largest value is 1, its smallest within `NEAREST`.
    """
    cell_px = size_px * math.exp(rng.uniform(math.log(0.4), math.log(1.5)))
    noise = perlin(rng, size_px, cell_px)
    angle = rng.uniform(0, 2 * math.pi)
    place = np.linspace(-0.5, 0.5, size_px, dtype=np.float32)
    ramp = np.float32(math.sin(angle)) * place[:, None] + np.float32(math.cos(angle)) * place
    # As much noise as ramp on the average, but never the one without the other: noise in one
    # large cell may be almost even.
    share = np.float32(rng.uniform(0.2, 0.8))
    field = (1 - share) * ramp + share * noise
    low, high = field.min(), field.max()
    near = np.float32(rng.uniform(*NEAREST))
    stretched = (field - low) / max(high - low, np.float32(1e-6))
    return (near + (1 - near) * stretched)[..., None]


def in_banks(rng, depth):
    """Return a depth as if haze lay in banks: times a field of noise, 0..1, in large soft cells.

    Parameters
    ----------
    rng : numpy.random.Generator
    depth : float32 (S, S, 1)
    """
    size_px = len(depth)
    field = noise_opacity(rng, size_px, (size_px / 4, 2 * size_px), octaves=3)
    least = np.float32(rng.uniform(0.0, 0.7))
    return depth * (least + (1 - least) * field)[..., None]
