"""Draw cloud opacity, and cover ground with it."""

import math

import cv2
import numpy as np

from util.samples.crops import random_window

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

    The sum over the four corners of a cell is written as products of matrices over the whole
    lattice, ``[D_y W_y] [G_y W_x'; G_x D_x']`` (W the weights, D the weights times the signed
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
    middles = np.arange(0.5, size_px)
    origins, turns = [], []
    for cell_px in cells_px:
        origin = rng.random(2, dtype=np.float32).astype(np.float64)
        points = (middles[-1] / cell_px + origin).astype(np.intp) + 2
        origins.append(origin)
        turns.append(rng.random(tuple(points), dtype=np.float32))
    # Where the pixels are on the lattices, along y and along x of each.
    places = middles / np.repeat(cells_px, 2)[:, None] + np.concatenate(origins)[:, None]
    node, corners = _lattice_weights(places)
    angle = np.concatenate([turn.ravel() for turn in turns]) * np.float32(2 * math.pi)
    sine, cosine = np.sin(angle), np.cos(angle)
    total = np.zeros((size_px, size_px), np.float32)
    done = start = 0
    for octave, (turn, share) in enumerate(zip(turns, weights, strict=True)):
        here = slice(done, done + turn.size)
        middle, end = start + len(turn), start + sum(turn.shape)
        gradient = [np.float32(share) * part[here].reshape(turn.shape) for part in (sine, cosine)]
        along_y, along_x = corners[start:middle], corners[middle:end]
        _add_octave(total, *gradient, along_y, along_x, node[2 * octave], cells_px[octave])
        done, start = done + turn.size, end
    return total


def _add_octave(total, upright, level, along_y, along_x, node_y, cell_px):
    """Add an octave to a map (S, S): its gradients, its corners and nodes by `_lattice_weights`."""
    size_px = len(total)
    rows = np.empty((len(along_y), 2, size_px), np.float32)
    _multiply(upright, along_x[:, 1], rows[:, 0])
    _multiply(level, along_x[:, 0], rows[:, 1])
    columns, rows = along_y.reshape(-1, size_px).T, rows.reshape(-1, size_px)
    # Only the two points beside a pixel have weights, so a few rows need a few points.
    step = _rows_of_one_product(size_px, cell_px)
    for top in range(0, size_px, step):
        band = slice(top, top + step)
        near = slice(2 * node_y[band][0], 2 * node_y[band][-1] + 4)
        total[band] += columns[band, near] @ rows[near]


def _lattice_weights(places):
    """Return the quintic weights of lattice points for each pixel, and these times the distance.

    Parameters
    ----------
    places : float64 (N, S)
        Where the pixels are on each of N lattices, rising, in cells from the first point.

    Returns
    -------
    node : intp (N, S)
        The last point before each pixel.
    corners : float32 (points, 2, S)
        Weight times distance, and weight: those of all lattices, one below the other; in each
        column of a lattice only the two points beside the pixel count.
    """
    size_px = places.shape[1]
    node = places.astype(np.intp)
    points = node[:, -1] + 2
    ends = np.cumsum(points)
    corners = np.zeros((ends[-1], 2, size_px), np.float32)
    flat = corners.reshape(-1)
    here = (node + (ends - points)[:, None]) * (2 * size_px) + np.arange(size_px)
    behind = (places - node).astype(np.float32)  # from the last point
    for distance, t in ((behind, 1.0 - behind), (behind - 1.0, behind)):
        fade = t * t * t * (t * (t * 6.0 - 15.0) + 10.0)  # zero a cell away, as in Perlin's noise
        flat[here] = fade * distance
        flat[here + size_px] = fade
        here += 2 * size_px
    return node, corners


def _multiply(left, right, product):
    """Write the product of float32 matrices to `product`; this thread works alone.

    NumPy hands a large product to threads of its own. Where a training keeps all cores busy they
    wait for each other, and it takes a hundred times as long; samples are drawn in several
    threads anyway. A product of few rows stays below the size from which that is done.
    """
    rows = max(1, ONE_THREAD_PRODUCT // right.size)
    for top in range(0, len(left), rows):
        np.matmul(left[top : top + rows], right, out=product[top : top + rows])


def _rows_of_one_product(size_px, cell_px):
    """Return how many rows of a map come out of one product, see `_multiply`: up to all of them."""
    rows = size_px
    while rows > 1 and 2 * (rows / cell_px + 3) * rows * size_px > ONE_THREAD_PRODUCT:
        rows = (rows + 1) // 2
    return rows


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


def cumulus_opacity(rng, size_px, *, cell_range_px, cover_range, edge_range):
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

    Returns
    -------
    float32 (size_px, size_px), 0..1
    """
    noise = noise_opacity(rng, size_px, cell_range_px, octaves=5, persistence=0.6)
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
        three such layers.
    clear_share, veil_share, cumulus_share : float
        Shares of maps without cloud, with a `veil_opacity`, and with a `cumulus_opacity`.
    cumulus : dict
        Arguments of `cumulus_opacity`.

    Returns
    -------
    float32 (size_px, size_px, 1), 0..1
    """
    kind, greatest = rng.random(), np.float32(rng.uniform(*greatest_opacity))
    if kind < clear_share:
        return np.zeros((size_px, size_px, 1), np.float32)
    if kind < clear_share + veil_share:
        found = veil_opacity(rng, size_px)[..., None]
    elif kind < clear_share + veil_share + cumulus_share:
        found = cumulus_opacity(rng, size_px, **cumulus)[..., None]
        greatest = 1 - (1 - min(greatest, np.float32(1))) ** 3
    else:
        found = sheet(rng)
    return np.minimum(found * greatest, np.float32(1))
