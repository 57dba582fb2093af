"""Draw the opacity of each kind of cloud, and cover ground with it."""

import math

import cv2
import numpy as np

from util.samples.crops import random_window
from util.samples.noise import fractal_noise

MIN_CELL_PX = 2.0  # a finer lattice is below what pixels can show
MIN_STRETCH_RANGE = 0.05  # stretching less than this would show the file's grey levels as steps


def cover(clear, opacity, cloud_colour=1.0):
    """Cover ground with cloud: ``clear * (1 - opacity) + cloud_colour * opacity``.

    Works on NumPy arrays and on tensors.

    Parameters
    ----------
    clear : float32 (..., H, W, 3), 0..1
    opacity : float32 (..., H, W, 1), 0 (no cloud) .. 1 (ground hidden)
    cloud_colour : float or float32 (3,)

    Returns
    -------
    float32, the shape of `clear`
    """
    return clear * (1.0 - opacity) + cloud_colour * opacity


def stretch(opacity):
    """Stretch a map to its own minimum and maximum; one whose range is below 0.05 stays as it is.

    Parameters
    ----------
    opacity : float32 (H, W)

    Returns
    -------
    float32 (H, W), 0..1
    """
    low, high = float(opacity.min()), float(opacity.max())
    if high - low < MIN_STRETCH_RANGE:
        return opacity
    return (opacity - np.float32(low)) * np.float32(1.0 / (high - low))


def layer_opacity(window, stretched=True):
    """Return opacity from a window of a cloud-layer picture: smoothed, and stretched if asked.

    Parameters
    ----------
    window : float32 (H, W) or (H, W, 1), 0..1
        Brightness is opacity.

    Returns
    -------
    float32 (H, W), 0..1
    """
    smooth = np.clip(cv2.blur(window, (5, 5)), 0.0, 1.0)
    return stretch(smooth) if stretched else smooth


def noise_opacity(
    rng, size_px, cell_range_px=(10.0, 240.0), octaves=7, persistence=0.5, lacunarity=2.0
):
    """Draw an opacity map from fractal Perlin noise, stretched to 0..1.

    Octave ``o`` has cells ``lacunarity ** o`` times smaller than the first one and
    ``persistence ** o`` times its weight; octaves finer than two pixels a cell are left out.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
    cell_range_px : (float, float)
        Cells of the first octave, drawn uniformly in the logarithm so that small and large clouds
        are equally frequent.
    octaves : int
    persistence, lacunarity : float

    Returns
    -------
    float32 (size_px, size_px), 0..1
    """
    low, high = cell_range_px
    first_px = math.exp(rng.uniform(math.log(low), math.log(high)))
    cells_px = [first_px / lacunarity**octave for octave in range(octaves)]
    cells_px = cells_px[:1] + [cell_px for cell_px in cells_px[1:] if cell_px >= MIN_CELL_PX]
    weights = [persistence**octave for octave in range(len(cells_px))]
    return stretch(fractal_noise(rng, size_px, cells_px, weights))


def veil_opacity(rng, size_px, cell_range_px=(100.0, 400.0)):
    """Draw a smooth veil, some of it over all of the map: 0..1, its greatest value 1.

    Parameters
    ----------
    cell_range_px : (float, float)
        Cells of its first octave of two, drawn uniformly in the logarithm.

    Returns
    -------
    float32 (size_px, size_px)
    """
    least = np.float32(max(0.0, rng.uniform(-0.6, 0.6)))  # of half of them 0
    return least + (1 - least) * noise_opacity(rng, size_px, cell_range_px, octaves=2)


def cumulus_opacity(
    rng, size_px, *, cell_range_px, cover_range, edge_range, octaves=5, persistence=0.6
):
    """Draw hard-edged clouds: fractal noise over the threshold that leaves the cover drawn.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
    cell_range_px : (float, float)
        Size of the clouds, as in `noise_opacity`.
    cover_range : (float, float)
        Share of the map with any cloud, drawn uniformly in the logarithm: few clouds are as
        frequent as many.
    edge_range : (float, float)
        Over how many standard deviations of the noise opacity rises from 0 to 1, drawn likewise.
    octaves : int
    persistence : float
        Weight of an octave of the noise relative to the one before: the higher, the more frayed.

    Returns
    -------
    float32 (size_px, size_px), 0..1
    """
    noise = noise_opacity(rng, size_px, cell_range_px, octaves, persistence)
    covered, edge = (math.exp(rng.uniform(*np.log(r))) for r in (cover_range, edge_range))
    sample = noise[::2, ::2].ravel()  # a quarter tells the threshold as well
    place = min(len(sample) - 1, round((1.0 - covered) * len(sample)))
    threshold = np.partition(sample, place)[place]
    width = max(edge * float(sample.std()), 1e-6)
    t = np.clip((noise - threshold) * np.float32(1.0 / width), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def draw_opacity(rng, layers, size_px, *, noise_share, cloud_window_px, noise, own_share=0.0):
    """Draw opacity from Perlin noise or from a window of a cloud-layer picture.

    Parameters
    ----------
    rng : numpy.random.Generator
    layers : PictureStore or None
        Cloud-layer pictures; may be None where `noise_share` is 1.
    size_px : int
        Side of the result.
    noise_share : float
        Share of the maps that are Perlin noise; the others come from a cloud layer.
    cloud_window_px : (int, int)
        Smallest and largest window that is cut out of a cloud layer.
    noise : dict
        Arguments of `noise_opacity`.
    own_share : float
        Share of the windows that keep their own opacity instead of being stretched.

    Returns
    -------
    float32 (size_px, size_px, 1), 0..1
    """
    if rng.random() < noise_share:
        return noise_opacity(rng, size_px, **noise)[..., None]
    low, high = cloud_window_px
    index = int(rng.integers(len(layers)))
    high = min(high, int(layers.sizes[index].min()))
    # In float32: a window of few grey levels is stretched, and rounding would show as steps.
    window_px = int(rng.integers(low, high + 1))
    window = random_window(layers, layers.crop, index, rng, window_px, size_px)
    stretched = own_share == 0 or rng.random() >= own_share
    return layer_opacity(window, stretched)[..., None]


def draw_cloud(
    rng, size_px, *, sheet, greatest_opacity, clear_share, veil_share, cumulus_share, cumulus
):
    """Draw the opacity of any kind of cloud, or of none.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
    sheet : callable
        ``sheet(rng) -> float32 (size_px, size_px, 1)``: what the other kinds leave, see
        `draw_opacity`.
    greatest_opacity : (float, float)
        The map is multiplied by a number from this range and cut off at 1. Cumulus is as thick as
        five such layers.
    clear_share, veil_share, cumulus_share : float
        Shares of maps without cloud, with a `veil_opacity`, and with cumulus.
    cumulus : callable
        ``cumulus(rng, size_px) -> float32 (size_px, size_px)`` as `cumulus_opacity`, or
        ``(size_px, size_px, 2)`` with the height of the tops.

    Returns
    -------
    float32 (size_px, size_px, 1), 0..1; of cumulus that has heights (size_px, size_px, 2)
    """
    kind, greatest = rng.random(), np.float32(rng.uniform(*greatest_opacity))
    if kind < clear_share:
        return np.zeros((size_px, size_px, 1), np.float32)
    if kind < clear_share + veil_share:
        found = veil_opacity(rng, size_px)[..., None]
    elif kind < clear_share + veil_share + cumulus_share:
        found = np.atleast_3d(cumulus(rng, size_px))
        greatest = 1 - (1 - min(greatest, np.float32(1))) ** 5
    else:
        found = sheet(rng)
    return np.minimum(found * greatest, np.float32(1))
