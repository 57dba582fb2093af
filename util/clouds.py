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
    # As rows of whole lines, and in place: NumPy is slow where a row has 3 numbers, and with every
    # array more. Light over the curve, x + c * x * (1 - x), is (linear - bend * x) * x.
    width = clear.shape[1]
    bend = np.tile(gain * curve, width)
    linear, offset = np.tile(gain, width) + bend, np.tile(offset, width)
    lines = clear.reshape(len(clear), -1)
    varied = bend * lines
    np.subtract(linear, varied, out=varied)
    varied *= lines
    varied += offset
    return np.clip(varied, 0.0, 1.0, out=varied).reshape(clear.shape)


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


def layer_opacity(window):
    """Return opacity from a window of a cloud-layer picture: smoothed and stretched.

    Parameters
    ----------
    window : float32 (H, W) or (H, W, 1), 0..1
        Brightness is opacity.

    Returns
    -------
    float32 (H, W), 0..1
    """
    return stretch(np.clip(cv2.blur(window, (5, 5)), 0.0, 1.0))


def perlin(rng, size_px, cell_px):
    """Draw gradient noise on a fresh lattice with a fresh origin: one octave of `fractal_noise`.

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
    """
    return fractal_noise(rng, size_px, [cell_px], [1.0])


def fractal_noise(rng, size_px, cells_px, weights):
    """Draw a weighted sum of octaves of gradient noise, each on a fresh lattice of its own.

    The sum over the four corners of a cell is written as two products of matrices over the whole
    lattice, ``D_y G_y W_x' + W_y G_x D_x'`` (W the weights, D the weights times the signed
    distance, G the gradients), because that is what a processor does best.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
        Side of the map.
    cells_px : sequence of float
        Side of a lattice cell, one an octave.
    weights : sequence of float
        Of the octaves.

    Returns
    -------
    float32 (size_px, size_px), within -0.71..0.71 times the sum of the weights

    References
    ----------
    K. Perlin, "Improving noise", SIGGRAPH 2002.
    """
    middles = np.arange(size_px) + 0.5
    places, turns = [], []
    for cell_px in cells_px:
        # Where the pixels are on the lattice, along y and along x.
        place = middles / cell_px + rng.random(2, dtype=np.float32)[:, None]
        points = place[:, -1].astype(np.intp) + 2
        places.append(place)
        turns.append(rng.random(tuple(points), dtype=np.float32))
    weight, slope, ends = _lattice_weights(np.concatenate(places))
    angle = np.concatenate([turn.ravel() for turn in turns]) * np.float32(2 * math.pi)
    sine, cosine = np.sin(angle), np.cos(angle)
    total = np.zeros((size_px, size_px), np.float32)
    done, start = 0, 0
    for turn, (end_y, end_x), share in zip(turns, ends, weights, strict=True):
        along_y, along_x = slice(start, end_y), slice(end_y, end_x)
        here, shape, start = slice(done, done + turn.size), turn.shape, end_x
        done += turn.size
        upright = _product(sine[here].reshape(shape), weight[along_x])
        level = _product(cosine[here].reshape(shape), slope[along_x])
        upright *= np.float32(share)
        level *= np.float32(share)
        _product(slope[along_y].T, upright, total)
        _product(weight[along_y].T, level, total)
    return total


def _lattice_weights(places):
    """Return the quintic weights of lattice points for each pixel, and these times the distance.

    Parameters
    ----------
    places : float64 (N, S)
        Where the pixels are on each of N lattices, rising, in cells from the first point.

    Returns
    -------
    weight, slope : float32 (points, S)
        Those of all lattices, one below the other; in each column of a lattice only the two points
        beside the pixel count.
    ends : intp (N / 2, 2)
        The row behind each lattice.
    """
    node, pixel = places.astype(np.intp), np.arange(places.shape[1])
    points = node[:, -1] + 2
    ends = np.cumsum(points)
    row = node + (ends - points)[:, None]
    weight = np.zeros((ends[-1], len(pixel)), np.float32)
    slope = np.zeros_like(weight)
    for step in (0, 1):
        distance = (places - (node + step)).astype(np.float32)
        t = 1.0 - np.abs(distance)
        fade = t * t * t * (t * (t * 6.0 - 15.0) + 10.0)  # zero a cell away, as in Perlin's noise
        weight[row + step, pixel], slope[row + step, pixel] = fade, fade * distance
    return weight, slope, ends.reshape(-1, 2)


def _product(left, right, total=None):
    """Return the product of float32 matrices, or add it to `total`; this thread works alone.

    NumPy hands a large product to threads of its own. Where a training keeps all cores busy they
    wait for each other, and it takes a hundred times as long; samples are drawn in several
    threads anyway. A product of few rows stays below the size from which that is done.
    """
    if total is None:
        total = np.zeros((len(left), right.shape[1]), np.float32)
    rows = max(1, ONE_THREAD_PRODUCT // right.size)
    for top in range(0, len(left), rows):
        total[top : top + rows] += left[top : top + rows] @ right
    return total


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
