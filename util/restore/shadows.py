"""Find the shadows that cloud casts upon the ground beside it, and give that ground its light back.

Where cloud lies tells the shape of its shadows, but not where they fall: by the sun's place and by
how high the cloud is. All clouds of a picture have the sun in common. So that one way is looked for
by which most cloud falls upon ground that is darker than the ground around; along it, nearer or
further as clouds are lower or higher, shadows are what is dark there. Likewise Fmask matches cloud
with its shadow, by more bands and the angles of the sun (Zhu and Woodcock, Remote Sensing of
Environment 118, 2012, https://doi.org/10.1016/j.rse.2011.10.028).

Shadows are looked for in cells of one, two or four pixels' side, by how far they fall.
"""

from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from util.pictures.morphology import cell_sums, dilated
from util.restore.rolling import with_context

_CLOUD, _SEEN = 128, 64  # opacity of 0..255 from which cloud casts shadows; below which one sees
_FLOOR = 0.02  # of white, beneath logarithms: what is darker differs by noise
# In turn, sides of cells, and in cells the standard deviation of what is the ground around: shadows
# are small beside it, and some ground is darker than other.
_TRIES = [(cell_px, around) for cell_px in (1, 2, 4) for around in (16, 40)]
_FARTHEST = 64  # how many cells off one looks
_BLOCK, _MARGIN, _MOST_BLOCKS = 768, 120, 16  # cells, and blocks from which the way is found
# A way tells something if so much of the cloud, and so many cells of it, fall on ground one sees.
_LEAST_SHARE, _LEAST_CELLS = 0.1, 300
# The best way has to be better than usual by so many times the spread, and than any other way.
_SURE, _BETTER = 4.0, 1.5
_USUAL = 70  # percentile of darkness beneath the cloud as it is moved: not all of that is shadow
_WAYS = np.geomspace(0.6, 1.6, 9)  # of the common way: clouds differ in height
_LEAST_DEPTH, _DARK = 0.1, 0.35  # of shadows, and of how dark they usually are what one has to be
# Cells, and share of the way: standard deviation of the ground that a shadow is compared with.
_BESIDE, _BESIDE_SHARE = 8, 0.5
_LIGHT = 12  # cells: standard deviation of the grounds in and out of shadow that light is told from
_COARSE = 8  # cells: side of those that this is done in
_BLUR_PX, _REACH_PX = 1.0, 6  # of what tells how dark a pixel is
_ROWS = 64  # that get their light together, at least
_MOST = 1.25  # greatest logarithm of what a pixel is brightened by
_BLACK = 0.012  # of white: where a channel in shadow is no brighter nothing of it can be told
_MEAN = np.full((1, 3), 1 / 3, np.float32)  # of channels
_FROM_COARSE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


class _Way(NamedTuple):
    """Where shadows fall."""

    cell_px: int
    around: int  # cells, as the next two
    down: int
    right: int
    depth: float  # logarithm by which shadows usually are darker than the ground around

    @property
    def length(self):
        return float(np.hypot(self.down, self.right))


class _Block(NamedTuple):
    """A part of a picture in cells, float32 (h, w).

    1 where there is cloud, 1 where ground is seen, and the logarithm by which that is darker than
    the ground around.
    """

    cloud: np.ndarray
    seen: np.ndarray
    darkness: np.ndarray


def relight(ground, opacity, white):
    """Give the ground in shadows of cloud the light of the ground around, in place.

    Parameters
    ----------
    ground : uint8 or uint16 (H, W, 3)
        Cleared of cloud. An array, or whatever takes and gives slices of rows and of columns.
    opacity : uint8 (H, W)
        Of the cloud, 255 opaque.
    white : float
        The pixel value that means 1.0.

    Returns
    -------
    uint8 (H, W)
        How much of the light was missing: 0 where nothing was done, 255 where the shadow is so
        black that nothing is to be known. All 0 where no shadows are surely found.
    """
    shade = np.zeros(opacity.shape, np.uint8)
    way = _way(ground, opacity, white)
    if way is None:
        return shade
    for at in _blocks(opacity.shape, way.cell_px):
        shade[at] = _shadows(way, ground, opacity, white, at)
    if not shade.any():
        return shade
    light = _coarse_light(way, ground, opacity, white, shade > 0)
    parts = _parts(ground, shade, light, _COARSE * way.cell_px)
    for top, made, found, _ in with_context(parts, partial(_lit, white=white), _REACH_PX):
        at = slice(top, top + len(made)), slice(0, opacity.shape[1])
        came = ground[at]
        if found.any() or (made != came).any():  # rims of shadows reach into the next rows
            shade[at] = _missing(came, made, found, white)
            ground[at] = made
    return shade


# --- where shadows fall -------------------------------------------------------------------------


def _way(ground, opacity, white):
    """Return the `_Way` that shadows fall, or None where none stands out."""
    ways = (_way_in_cells(ground, opacity, white, *each) for each in _TRIES)
    return next(filter(None, ways), None)


def _way_in_cells(ground, opacity, white, cell_px, around):
    """Return the `_Way` that stands out, no further away than so many cells, or None."""
    parts = list(_blocks(opacity.shape, cell_px))
    counts = np.array([np.count_nonzero(opacity[at] >= _CLOUD) for at in parts])
    blocks = []
    for number in np.argsort(-counts, kind="stable")[:_MOST_BLOCKS]:
        if counts[number]:
            block, inner = _block(ground, opacity, white, parts[number], cell_px, around, _FARTHEST)
            cloud = np.zeros_like(block.cloud)
            cloud[inner] = block.cloud[inner]
            blocks.append(block._replace(cloud=cloud))
    if not blocks:
        return None
    sums = (
        _sums_beneath(cloud, (np.maximum(dark, 0) * seen, seen)) for cloud, seen, dark in blocks
    )
    dark, on_ground = map(sum, zip(*sums, strict=True))
    least = max(_LEAST_SHARE * sum(block.cloud.sum() for block in blocks), _LEAST_CELLS)
    tells = on_ground >= least
    if not tells.any():
        return None
    best = _best(np.where(tells, dark / np.maximum(on_ground, 1), 0), tells)
    if best is None:
        return None
    beneath = [
        cv2.GaussianBlur(dark, (0, 0), 1.0)[(_moved(cloud, *best) > 0.5) & (seen > 0)]
        for cloud, seen, dark in blocks
    ]
    depth = float(np.percentile(np.concatenate(beneath), _USUAL))
    return _Way(cell_px, around, *best, depth) if depth >= _LEAST_DEPTH else None


def _best(depth, tells):
    """Return how far down and right the way goes that stands out of all that tell something.

    depth : float (2 x farthest + 1, the same)
        Logarithm by which ground is darker beneath cloud that is moved each way, 0 or more.

    Returns
    -------
    (int, int) or None
    """
    down, right = (int(n) - _FARTHEST for n in np.unravel_index(depth.argmax(), depth.shape))
    more = depth - np.median(depth[tells])
    spread = 1.48 * np.median(np.abs(more[tells]))
    # As clouds differ in height the way next to it is as good.
    ways = np.arange(-_FARTHEST, _FARTHEST + 1)
    away = np.hypot(ways[:, None] - down, ways - right) > max(6, 0.75 * np.hypot(down, right))
    next_best = more[away & tells].max(initial=0)
    at_the_edge = max(abs(down), abs(right)) > _FARTHEST - 4
    if at_the_edge or more.max() < max(_SURE * spread, _BETTER * next_best):
        return None
    return down, right


def _sums_beneath(cloud, planes):
    """Return the sum of each plane beneath cloud that is moved each way, no further than farthest.

    Each (2 x farthest + 1, the same): ways up to ways down, ways left to ways right.
    """
    shape = [cv2.getOptimalDFTSize(max(side, _FARTHEST + 1) + _FARTHEST) for side in cloud.shape]
    moved = np.conj(np.fft.rfft2(cloud, shape))
    near = slice(0, 2 * _FARTHEST + 1)
    for plane in planes:
        sums = np.fft.irfft2(np.fft.rfft2(plane, shape) * moved, shape)
        yield np.roll(sums, (_FARTHEST, _FARTHEST), axis=(0, 1))[near, near]


# --- what is in shadow --------------------------------------------------------------------------


def _shadows(way, ground, opacity, white, at):
    """Return where a part of a picture is in shadow, uint8 (h, w), 1 or 0."""
    margin = int(_MARGIN + _WAYS[-1] * way.length)
    (cloud, seen, darkness), inner = _block(ground, opacity, white, at, *way[:2], margin)
    shape = [part.stop - part.start for part in at]
    if not cloud.any():
        return np.zeros(shape, np.uint8)
    near = _BESIDE + _BESIDE_SHARE * way.length
    casts = [_moved(cloud, times * way.down, times * way.right) * seen for times in _WAYS]
    beside = seen * (cv2.dilate(np.max(casts, axis=0), _disc(1 + way.length / 8)) < 0.5)
    in_light = _mean(darkness, beside, near)
    # Of the ways that shadows may fall here the one by which ground is darkest.
    deeper, cast = np.full(cloud.shape, -np.inf, np.float32), np.zeros_like(cloud)
    for each in casts:
        by = _mean(darkness, each, near) - in_light
        better = by > deeper
        deeper[better], cast[better] = by[better], each[better]
    dark = cv2.GaussianBlur(darkness, (0, 0), 1.0) > in_light + deeper / 2
    dark &= deeper > _DARK * way.depth
    found = cv2.dilate(np.uint8(cast > 0.5), _disc(1)) & np.uint8(dark) & np.uint8(seen)
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) & np.uint8(seen)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))[inner]
    found = found.repeat(way.cell_px, axis=0).repeat(way.cell_px, axis=1)
    return found[: shape[0], : shape[1]]


def _blocks(shape, cell_px):
    """Yield the parts, slices of rows and of columns, that a picture is worked on in."""
    side = _BLOCK * cell_px
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def _block(ground, opacity, white, at, cell_px, around, margin):
    """Return the `_Block` of a part of a picture, and which cells of it are the part itself."""
    wide, inner, size = [], [], []
    for part, side in zip(at, opacity.shape, strict=True):
        start = max(part.start - margin * cell_px, 0)
        stop = min(part.stop + margin * cell_px, side)
        wide.append(slice(start, stop))
        inner.append(slice((part.start - start) // cell_px, -((start - part.stop) // cell_px)))
        size.append(-((start - stop) // cell_px))
    pixels, found = np.asarray(ground[tuple(wide)]), opacity[tuple(wide)]
    if cell_px > 1:
        pixels, found = (
            cv2.resize(each, size[::-1], interpolation=cv2.INTER_AREA) for each in (pixels, found)
        )
    seen, tone = np.float32(found < _SEEN), _logarithm(cv2.transform(pixels, _MEAN), white)
    darkness = _mean(tone, seen, around) - tone
    return _Block(np.float32(found >= _CLOUD), seen, darkness), tuple(inner)


# --- and its light ------------------------------------------------------------------------------


def _coarse_light(way, ground, opacity, white, shaded):
    """Return how ground around is lit, in large cells: float32 (rows, columns, 6).

    By channel the mean logarithm of what is in shadow, and how much more that of what is not is.
    """
    side, sums = _COARSE * way.cell_px, []
    beside = dilated(shaded, 3 * way.cell_px)
    for top in range(0, opacity.shape[0], side):
        at = slice(top, top + side), slice(0, opacity.shape[1])
        tone = _logarithm(ground[at], white)
        tone = np.dstack([tone, np.ones_like(tone[..., :1])])
        masks = shaded[at], (opacity[at] < _SEEN) & ~beside[at]
        planes = np.concatenate([tone * mask[..., None] for mask in masks], axis=2)
        sums.append(cell_sums(planes, side, np.float32)[0])
    sums = cv2.GaussianBlur(np.stack(sums), (0, 0), _LIGHT / _COARSE)
    in_shadow, lit = (
        part[..., :3] / np.maximum(part[..., 3:], 1e-3) for part in np.dsplit(sums, 2)
    )
    more = np.clip(lit - in_shadow, 0, _MOST) * (sums[..., 7:] > 1)
    return np.dstack([in_shadow, more])


def _parts(ground, shade, light, side):
    """Yield the first row, rows of the ground, where there is shadow, and its light, in turn."""
    height, width = shade.shape
    for top in range(0, height, _ROWS):
        at = slice(top, min(top + _ROWS, height)), slice(0, width)
        size = width, at[0].stop - top
        here = np.zeros((*size[::-1], 6), np.float32)
        if shade[max(top - _REACH_PX, 0) : at[0].stop + _REACH_PX].any():
            to = np.float32([[1, 0, 0.5], [0, 1, top + 0.5]]) / side - np.float32([[0, 0, 0.5]])
            planes = np.dsplit(light, 2)
            how = {"flags": _FROM_COARSE, "borderMode": cv2.BORDER_REPLICATE}
            here = np.dstack([cv2.warpAffine(plane, to, size, **how) for plane in planes])
        yield top, np.asarray(ground[at]), shade[at], here


def _lit(at, pixels, shade, light, white):
    """Return these rows of the ground as they are in the light, what is half dark by half."""
    if not shade.any():
        return pixels[at]
    tone = _logarithm(pixels, white)
    in_shadow, more = np.dsplit(light, 2)
    darker = (in_shadow + more - cv2.GaussianBlur(tone, (0, 0), _BLUR_PX)).mean(axis=2)
    share = np.clip(darker / np.maximum(more.mean(axis=2), 0.05), 0, 1)
    share *= cv2.GaussianBlur(np.float32(dilated(shade > 0, 2)), (0, 0), 1.0)
    made = (np.exp(tone + share[..., None] * more) - _FLOOR) * np.float32(white)
    made = np.clip(np.rint(made), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    return np.where(share[..., None] > 0, made, pixels)[at]


def _missing(came, made, shade, white):
    """Return how much light was missing, uint8 (h, w); see `relight`."""
    floor = np.float32(_FLOOR * white)
    share = 1 - (came.mean(axis=2, dtype=np.float32) + floor) / (made.mean(axis=2) + floor)
    missing = np.clip(np.rint(255 * share), 0, 254)
    missing = np.maximum(missing, (came != made).any(axis=2))
    black = (shade > 0) & (came.min(axis=2) <= _BLACK * white)
    return np.where(black, 255, missing).astype(np.uint8)


# --- helpers ------------------------------------------------------------------------------------


def _logarithm(pixels, white):
    return np.log(pixels.astype(np.float32) / np.float32(white) + np.float32(_FLOOR))


def _mean(values, weight, sigma):
    """Return the weighted mean around each cell, float32 (h, w); about 0 where there is none."""
    return _smooth(values * weight, sigma) / np.maximum(_smooth(weight, sigma), 1e-2)


def _smooth(values, sigma):
    """Blur float32 (h, w, ..), at a smaller size where it is much."""
    times = max(int(sigma / 3), 1)
    if times == 1:
        return cv2.GaussianBlur(values, (0, 0), sigma)
    size = values.shape[1::-1]
    small = [-(-side // times) for side in size]
    values = cv2.resize(values, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(values, (0, 0), sigma / times), size)


def _moved(plane, down, right):
    to = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(plane, to, plane.shape[::-1])


def _disc(radius):
    side = 2 * int(radius) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
