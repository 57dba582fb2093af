"""Draw cloud opacity, and cover ground with it."""

import math

import cv2
import numpy as np

MIN_CELL_PX = 2.0  # a finer lattice is below what pixels can show
ONE_THREAD_PRODUCT = 250_000  # multiplications; OpenBLAS starts threads from 262,144
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


def vary_ground(rng, clear, *, ground_gain, ground_offset, ground_curve=0.0, ground_tint=0.0):
    """Vary light and colour of ground a little; returns float32, as `clear` came in, 0..1.

    Parameters as in `jitter`.
    """
    gain = rng.uniform(1 - ground_gain, 1 + ground_gain)
    gain = (gain * rng.uniform(1 - ground_tint, 1 + ground_tint, 3)).astype(np.float32)
    offset = rng.uniform(-ground_offset, ground_offset, 3).astype(np.float32)
    curve = np.float32(rng.uniform(-ground_curve, ground_curve))
    if curve:
        clear = clear * (1 + curve - curve * clear)
    # In rows of whole lines: NumPy is slow where a row has 3 numbers.
    width = clear.shape[1]
    lines = clear.reshape(len(clear), -1) * np.tile(gain, width) + np.tile(offset, width)
    return np.clip(lines, 0.0, 1.0, out=lines).reshape(clear.shape)


def jitter(
    rng,
    clear,
    opacity,
    *,
    ground_gain,
    ground_offset,
    opacity_offset,
    cloud_colour,
    ground_curve=0.0,
    ground_tint=0.0,
):
    """Vary light, colour and cover a little, so that one network serves many cameras.

    Parameters
    ----------
    rng : numpy.random.Generator
    clear : float32 (H, W, 3), 0..1
    opacity : float32 (H, W, 1), 0..1
    ground_gain : float
        The ground is multiplied by 1 +- this.
    ground_offset : float
        +- this is added to each channel of the ground.
    opacity_offset : (float, float)
        A number from this range is added to the opacity.
    cloud_colour : (float, float)
        The cloud's brightness in each channel is drawn from this range.

    ground_curve : float, below 1
        The ground is brightened or darkened in its middle tones: ``x + c * x * (1 - x)`` with c
        within +- this.
    ground_tint : float
        Each channel of the ground is multiplied by 1 +- this.

    Returns
    -------
    clear, opacity : float32, as they came in, 0..1
    colour : float32 (3,)
    """
    clear = vary_ground(
        rng,
        clear,
        ground_gain=ground_gain,
        ground_offset=ground_offset,
        ground_curve=ground_curve,
        ground_tint=ground_tint,
    )
    opacity = np.clip(opacity + np.float32(rng.uniform(*opacity_offset)), 0.0, 1.0)
    return clear, opacity, rng.uniform(*cloud_colour, 3).astype(np.float32)


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


def layer_opacity(window, size_px):
    """Return opacity from a window of a cloud-layer picture: smoothed, resized, stretched.

    Parameters
    ----------
    window : float32 (h, w) or (h, w, 1), 0..1
        Brightness is opacity.
    size_px : int
        Side of the result.

    Returns
    -------
    float32 (size_px, size_px), 0..1
    """
    shrinking = window.shape[0] > size_px
    method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    resized = cv2.resize(window, (size_px, size_px), interpolation=method)
    return stretch(np.clip(cv2.blur(resized, (5, 5)), 0.0, 1.0))


def _lattice_weights(size_px, cell_px, offset):
    """Return the quintic weights of lattice points for each pixel, and these times the distance.

    Two float32 (points, size_px): in each column only the two points beside the pixel count.
    """
    place = (np.arange(size_px, dtype=np.float32) + np.float32(0.5)) / np.float32(cell_px) + offset
    node, pixel = place.astype(np.intp), np.arange(size_px)
    weight = np.zeros((int(node[-1]) + 2, size_px), np.float32)
    slope = np.zeros_like(weight)
    for step in (0, 1):
        distance = place - (node + step).astype(np.float32)
        t = 1.0 - np.abs(distance)
        fade = t * t * t * (t * (t * 6.0 - 15.0) + 10.0)  # zero a cell away, as in Perlin's noise
        weight[node + step, pixel], slope[node + step, pixel] = fade, fade * distance
    return weight, slope


def perlin(rng, size_px, cell_px):
    """Draw one octave of gradient noise on a fresh lattice with a fresh origin.

    The sum over the four corners of a cell is written as two products of matrices over the whole
    lattice, ``D_y G_y W_x' + W_y G_x D_x'`` (W the weights, D the weights times the signed
    distance, G the gradients), because that is what a processor does best.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
        Side of the map.
    cell_px : float
        Side of a lattice cell.

    Returns
    -------
    float32 (size_px, size_px), within -0.71..0.71, mean 0 over many draws

    References
    ----------
    K. Perlin, "Improving noise", SIGGRAPH 2002.
    """
    offset_y, offset_x = rng.random(2, dtype=np.float32)
    weight_y, slope_y = _lattice_weights(size_px, cell_px, offset_y)
    weight_x, slope_x = _lattice_weights(size_px, cell_px, offset_x)
    shape = (len(weight_y), len(weight_x))
    angle = rng.random(shape, dtype=np.float32) * np.float32(2 * math.pi)
    weight_y, slope_y = np.ascontiguousarray(weight_y.T), np.ascontiguousarray(slope_y.T)
    upright = _sum_of_products([(np.sin(angle), weight_x)])
    level = _sum_of_products([(np.cos(angle), slope_x)])
    return _sum_of_products([(slope_y, upright), (weight_y, level)])


def _sum_of_products(pairs):
    """Return the sum of products of float32 matrices, worked out by this thread alone.

    NumPy hands a large product to threads of its own. Where a training keeps all cores busy they
    wait for each other, and it takes a hundred times as long; samples are drawn in several
    threads anyway. A product of few rows stays below the size from which that is done.
    """
    (first, right), *others = pairs
    rows = max(1, ONE_THREAD_PRODUCT // right.size)
    result = np.empty((len(first), right.shape[1]), np.float32)
    for top in range(0, len(first), rows):
        part = result[top : top + rows]
        np.matmul(first[top : top + rows], right, out=part)
        for left, right_too in others:
            part += left[top : top + rows] @ right_too
    return result


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
    total = np.zeros((size_px, size_px), np.float32)
    for octave in range(octaves):
        cell_px = first_px / lacunarity**octave
        if cell_px < MIN_CELL_PX and octave > 0:
            break
        layer = perlin(rng, size_px, cell_px)
        layer *= np.float32(persistence**octave)
        total += layer
    return stretch(total)
