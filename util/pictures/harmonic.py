"""Fill what is missing of a picture by Laplace's equation: a membrane that hangs on its rim."""

import cv2
import numpy as np

from util.pictures.morphology import cell_sums

_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
_DAMPING = 0.8  # of a Jacobi sweep
_SWEEPS = 2  # before and after each coarser level
_MOST_STEPS = 40  # 5 to 8 are usual
_CLOSE = 1 / 4096  # of the range of what is known: a sixteenth of an 8-bit step
_MOST_PIXELS = 1_048_576  # that are solved at once by `coarse_fill`
_MOST_COLUMNS = 16_384  # looked up at once: OpenCV's `remap` takes no side of 32,767 or more


def harmonic_fill(picture, hole):
    """Return the picture with its hole filled by the solution of Laplace's equation.

    In the hole each pixel is the mean of its neighbours: of all surfaces through the pixels around
    it this has the least squared slope [1]_. No value lies outside the range of those, and a
    linear ramp is reproduced. Solved by conjugate gradients with a multigrid cycle before each
    step [2]_, in time and memory proportional to the hole's box, to 1/4096 of the range.

    Parameters
    ----------
    picture : float32 (H, W, C)
        What is in the hole has no say.
    hole : bool (H, W)
        True where it is missing.

    Returns
    -------
    float32 (H, W, C)
        Known pixels as they came, bit for bit; without any the picture itself.

    References
    ----------
    .. [1] Perez, Gangnet, Blake, "Poisson image editing", ACM Transactions on Graphics 22(3),
           2003, equation 2.
    .. [2] McAdams, Sifakis, Teran, "A parallel multigrid Poisson solver for fluids simulation on
           large grids", Symposium on Computer Animation 2010.
    """
    filled = picture.copy()
    if hole.all() or not hole.any():
        return filled
    sides = [np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0)]
    box = tuple(slice(max(at[0] - 1, 0), at[-1] + 2) for at in sides)  # and its rim
    part, missing = filled[box], hole[box]
    rim = part[~missing]
    low, high = rim.min(axis=0), rim.max(axis=0)
    middle, scale = (low + high) / 2, np.maximum(high - low, 1e-12)
    levels = _levels(missing)
    inside = tuple(slice(side) for side in missing.shape)
    given = np.zeros((*levels[0][0].shape[:2], picture.shape[2]), np.float32)
    given[inside] = np.where(missing[..., None], 0, (part - middle) / scale)
    found = _solved(_neighbours(given) * levels[0][0], levels)[inside] * scale + middle
    part[missing] = np.clip(found, low, high)[missing]
    return filled


def coarse_fill(pixels, hole):
    """Fill the hole of a picture of any size, smoothly; yield the filling in strips.

    A large picture is averaged over cells first, as to what is known, and the filling of those
    enlarged; so only a strip of it is in memory as floats. Rows that came out may be written over.

    Parameters
    ----------
    pixels : uint8 or uint16 (H, W, C)
        Anything that gives an array for ``pixels[rows, columns]`` with two slices.
    hole : bool (H, W)

    Yields
    ------
    (slice, float32 (rows, W, C))
        Rows of the picture, and the filling there; smooth outside the hole, too.
    """
    height, width = hole.shape
    cell = int(np.ceil(np.sqrt(height * width / _MOST_PIXELS)))
    strips = [slice(top, min(top + 64 * cell, height)) for top in range(0, height, 64 * cell)]
    sums, counts = [], []
    for at in strips:
        known = ~hole[at, :, None]
        sums.append(cell_sums(pixels[at, 0:width] * known, cell, np.float32))
        counts.append(cell_sums(known, cell, np.float32))
    count = np.concatenate(counts)
    coarse = harmonic_fill(np.concatenate(sums) / np.maximum(count, 1), count[..., 0] == 0)
    columns = (np.arange(width, dtype=np.float32) + 0.5) / cell - 0.5
    for at in strips:
        rows = (np.arange(at.start, at.stop, dtype=np.float32) + 0.5) / cell - 0.5
        yield at, _looked_up(coarse, rows, columns)


def _looked_up(coarse, rows, columns):
    """Return a picture at places between its pixels, linearly, float32 (rows, columns, C)."""
    found = np.empty((len(rows), len(columns), coarse.shape[2]), np.float32)
    for left in range(0, len(columns), _MOST_COLUMNS):
        part = slice(left, left + _MOST_COLUMNS)
        places = columns[part], rows
        # All that linear interpolation looks at; whole numbers less, so nothing is rounded.
        first, last = ([int(at[end]) for at in places] for end in (0, -1))
        near = coarse[first[1] : last[1] + 3, first[0] : last[0] + 3]
        grid = np.meshgrid(*(at - n for at, n in zip(places, first, strict=True)))
        how = {"dst": found[:, part], "borderMode": cv2.BORDER_REPLICATE}
        cv2.remap(near, *grid, cv2.INTER_LINEAR, **how)
    return found


def _solved(wanted, levels):
    """Return x of `A x = wanted` in the hole, 0 elsewhere, float32 (H, W, C)."""
    found, rest = np.zeros_like(wanted), wanted
    step, before = None, None
    for _ in range(_MOST_STEPS):
        guess = _cycle(rest, levels)
        if np.abs(guess).max() < _CLOSE:
            return found + guess
        now = _products(rest, guess)
        step = guess if step is None else guess + step * (now / np.maximum(before, 1e-30))
        slope = _applied(step, *levels[0])
        length = now / np.maximum(_products(step, slope), 1e-30)
        found, rest, before = found + length * step, rest - length * slope, now
    return found


def _products(one, other):
    return np.einsum("ijk,ijk->k", one, other, dtype=np.float64).astype(np.float32)


# --- one level: A x is the number of a pixel's neighbours times it, less the sum of those --------


def _neighbours(x):
    found = cv2.filter2D(x, -1, _CROSS, borderType=cv2.BORDER_CONSTANT)
    return found.reshape(x.shape)  # OpenCV drops a single channel


def _applied(x, missing, count):
    return (count * x - _neighbours(x)) * missing


# --- all levels: (missing, count), float32 (h, w, 1), the finest first ---------------------------


def _levels(hole):
    """Return the levels of a hole; a coarse pixel is missing where all that lies in it is."""
    depth = 0
    while min(hole.shape) >> depth > 4 and depth < 12:
        depth += 1
    pad = [(0, -side % (1 << depth)) for side in hole.shape]
    there = np.pad(np.ones(hole.shape, np.float32), pad)[..., None]
    missing = np.pad(hole.astype(np.float32), pad)[..., None]
    levels = []
    while missing.any():
        # What is not there is no neighbour: the membrane ends level at the picture's border.
        levels.append((missing, np.maximum(_neighbours(there), 1)))
        if len(levels) > depth:
            break
        free = _pooled(np.maximum(missing, 1 - there), np.minimum)
        there = _pooled(there, np.maximum)
        missing = free * there
    return levels


def _pooled(x, how):
    rows = how(x[::2], x[1::2])
    return how(rows[:, ::2], rows[:, 1::2])


def _cycle(rest, levels):
    """Return about `A^-1 rest` by one V-cycle; symmetric, as conjugate gradients want it."""
    missing, count = levels[0]
    weight = _DAMPING * missing / count
    x = weight * rest
    for _ in range(_SWEEPS - 1):
        x += weight * (rest - _applied(x, missing, count))
    if len(levels) > 1:
        left = rest - _applied(x, missing, count)
        for axis in (0, 1):
            left = _halved(left, axis)
        more = _cycle(left * levels[1][0], levels[1:])
        for axis in (0, 1):
            more = _doubled(more, axis)
        x += more * missing
    for _ in range(_SWEEPS if len(levels) > 1 else 8 * _SWEEPS):
        x += weight * (rest - _applied(x, missing, count))
    return x


def _doubled(x, axis):
    """Return x at twice the pixels along an axis, linear between the middles of the coarse ones."""
    x = np.moveaxis(x, axis, 0)
    before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
    found = np.empty((2 * len(x), *x.shape[1:]), np.float32)
    found[::2], found[1::2] = 0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after
    return np.moveaxis(found, 0, axis)


def _halved(x, axis):
    """Return the transpose of `_doubled`."""
    x = np.moveaxis(x, axis, 0)
    even, odd = x[::2], x[1::2]
    found = 0.75 * (even + odd)
    found[:-1] += 0.25 * even[1:]
    found[1:] += 0.25 * odd[:-1]
    found[0] += 0.25 * even[0]
    found[-1] += 0.25 * odd[-1]
    return np.moveaxis(found, 0, axis)
