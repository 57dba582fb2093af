"""Draw holes: which pixels of a picture are missing, from 0 (known) to 1 (missing)."""

import cv2
import numpy as np

MARGIN_SHARE = 0.125  # of the side: no vertex of a polygon is nearer to the edge
CIRCLE_SHARE = 0.125  # of the side: radius of the circle at a polygon's first vertex
THRESHOLD_RANGE = (0.5, 0.75)  # opacity from which on a cloud makes a hole
CLOUD_SLOPE = 8.0  # how steeply a cloud's hole rises above its threshold
SPOT_CLOUD = (0.5, 4.0)  # threshold and slope of the published code, in the place of a rectangle
CLOUD_COVER_RANGE = (0.02, 0.6)  # share of a picture that a cloud's hole may take
CLOUD_TRIES = 8  # clouds drawn until one fits


def spot_hole(rng, size_px, side_share=0.5, width_share=0.0, place=(0.5, 0.5), anywhere=False):
    """Return a rectangular hole at a place or anywhere, with hard edges.

    Parameters
    ----------
    rng : numpy.random.Generator
        Used only for a hole anywhere.
    size_px : int
        Side of the picture.
    side_share : float, 0..1
        Height of the hole in sides of the picture; the default takes a quarter of its area.
    width_share : float, 0..1
        Its width; 0: a square.
    place : (float, float), 0..1
        Share of the room that is left which lies above it, and to its left: in the middle.
    anywhere : bool
        Draw the place instead, uniformly over all that lie inside.

    Returns
    -------
    float32 (size_px, size_px, 1), 0 or 1
    """
    sides_px = [round(size_px * share) for share in (side_share, width_share or side_share)]
    free_px = size_px - np.array(sides_px)
    corner = [rng.integers(n + 1) for n in free_px] if anywhere else (free_px * place).astype(int)
    hole = np.zeros((size_px, size_px, 1), np.float32)
    hole[tuple(slice(at, at + side) for at, side in zip(corner, sides_px, strict=True))] = 1.0
    return hole


def polygon_hole(rng, size_px, vertices=5, edge_px=8):
    """Draw a hole in the shape of a polygon with random vertices and a soft edge.

    Where the polygon crosses itself, the even-odd rule says what is inside. A polygon's area can
    come close to 0, therefore a filled circle at the first vertex is united with it. The default
    covers 11.5 % of a picture on average, 6 to 20 % nine times in ten.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
        Side of the picture.
    vertices : int, 3 or more
    edge_px : int, 1 or more
        Side of the box blur that makes the edge soft; 1 leaves it hard.

    Returns
    -------
    float32 (size_px, size_px, 1), 0..1
    """
    low, high = MARGIN_SHARE * size_px, (1 - MARGIN_SHARE) * size_px
    corners = rng.uniform(low, high, (vertices, 2)).astype(np.int32)  # x, y
    hole = np.zeros((size_px, size_px), np.float32)
    cv2.fillPoly(hole, [corners], 1.0)
    first = tuple(int(place) for place in corners[0])
    cv2.circle(hole, first, round(CIRCLE_SHARE * size_px), 1.0, cv2.FILLED)
    # Rounding may lift a sum of ones above 1.
    return np.minimum(cv2.blur(hole, (edge_px, edge_px)), 1.0)[..., None]


def cloud_hole(opacity, threshold, slope=CLOUD_SLOPE):
    """Return the hole where cloud is thicker than a threshold: ``clip((opacity - t) * s, 0, 1)``.

    Parameters
    ----------
    opacity : float32 (..., 1), 0..1
    threshold, slope : float

    Returns
    -------
    float32, the shape of `opacity`, 0..1
    """
    return np.clip((opacity - np.float32(threshold)) * np.float32(slope), 0.0, 1.0)


def _cloud_that_fits(rng, draw_opacity, threshold_range, slope):
    """Return the hole of a cloud that covers 2 to 60 % of a picture, None after 8 that do not."""
    low, high = CLOUD_COVER_RANGE
    for _ in range(CLOUD_TRIES):
        hole = cloud_hole(draw_opacity(rng), rng.uniform(*threshold_range), slope)
        if low <= hole.mean() <= high:
            return hole
    return None


def cloud_or_spot_hole(rng, size_px, *, cloud_share, draw_opacity, **spot):
    """Draw a hole in the shape of cloud, as the published code does, or a rectangle.

    Arguments as for `cloud_or_polygon_hole`; spot: those of `spot_hole`.
    """
    if cloud_share and rng.random() < cloud_share:
        threshold, slope = SPOT_CLOUD
        hole = _cloud_that_fits(rng, draw_opacity, (threshold, threshold), slope)
        if hole is not None:
            return hole
    return spot_hole(rng, size_px, **spot)


def nearness(hole, half_px):
    """Return how near to what is known a pixel lies: 1 there, half as much each `half_px` further.

    What is far from all that is known cannot be known, and a loss that insists on it makes grey.

    Parameters
    ----------
    hole : float32 (S, S, 1), 0..1
        1 = missing.
    half_px : float, above 0

    Returns
    -------
    float32 (S, S, 1), 0..1

    References
    ----------
    J. Yu et al., "Generative image inpainting with contextual attention", CVPR 2018, section 3.2:
    ``0.99 ** distance``, the same as 69 px here.
    """
    missing = (hole > 0.5).astype(np.uint8)
    far_px = cv2.distanceTransform(missing, cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.exp2(far_px * np.float32(-1 / half_px))[..., None]


def cloud_or_polygon_hole(rng, size_px, *, cloud_share, draw_opacity, vertices=5, edge_px=8):
    """Draw a hole in the shape of cloud or of a polygon.

    A cloud's hole may come out empty or nearly full: the cloud and its threshold are then drawn
    again from the same generator until it covers 2 to 60 % of the picture. After 8 clouds that
    do not fit, as cloud pictures without contrast give, the hole is a polygon.

    Parameters
    ----------
    rng : numpy.random.Generator
    size_px : int
    cloud_share : float, 0..1
        Share of the holes that cloud shapes.
    draw_opacity : callable
        ``draw_opacity(rng) -> float32 (size_px, size_px, 1)``, 0..1; not called where
        `cloud_share` is 0.
    vertices, edge_px : int
        See `polygon_hole`.

    Returns
    -------
    float32 (size_px, size_px, 1), 0..1
    """
    if rng.random() < cloud_share:
        hole = _cloud_that_fits(rng, draw_opacity, THRESHOLD_RANGE, CLOUD_SLOPE)
        if hole is not None:
            return hole
    return polygon_hole(rng, size_px, vertices, edge_px)
