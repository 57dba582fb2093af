"""Gradient noise, one octave or many, as products of matrices."""

import math

import numpy as np

ONE_THREAD_PRODUCT = 250_000  # multiplications; OpenBLAS starts threads from 262,144


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
