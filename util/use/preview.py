"""Small pictures of what goes in and what comes out, beside a `Way` that makes the large ones."""

from itertools import pairwise

import cv2
import numpy as np


def previewed(way, side_px, keep):
    """Return a Way that also shows what it does.

    Parameters
    ----------
    way : util.use.pictures.Way
    side_px : int
        The longer side of a small picture, at most.
    keep : callable
        ``keep(before, after, opacity) -> dict``, which joins the extras of the way: float32
        (h, w, 3), 0..1, by one measure of white; opacity is None where the way finds none. What
        is no ground is black in them.
    """

    def of_ground(shape, values):
        return small(_Mask(shape[:2], values), 255, side_px)

    def restore(pixels, hole, ground, white, bar):
        # What is no ground was filled for the way; what of it is hole the way fills.
        before = after = 1
        if ground is not None:
            before = of_ground(pixels.shape, lambda *at: ground[at])
            known = ground if hole is None else ground | hole
            after = of_ground(pixels.shape, lambda *at: known[at])
        before = before * small(pixels, white, side_px)
        made = way.restore(pixels, hole, ground, white, bar)
        opacity = made.get("opacity")
        opacity = None if opacity is None else small(opacity, 255, side_px)
        return made | keep(before, after * small(pixels, white, side_px), opacity)

    def restore_scene(scene, sinks, ground, bar):
        known = of_ground(scene.shape, scene.valid) if scene.has_gaps else 1
        before = known * small(scene, scene.white, side_px)
        opacity = np.empty(scene.shape[:2], np.uint8)
        # What has come out of `ground` may be written over.
        seen = [_Seen(*pair) for pair in zip(sinks, (ground, opacity), strict=False)]
        made = way.restore_scene(scene, [*seen, *sinks[2:]], ground, bar)
        after = known * small(ground, scene.white, side_px)
        return made | keep(before, after, small(opacity, 255, side_px))

    return way._replace(restore=restore, restore_scene=restore_scene)


class _Mask:
    """A mask as a picture: white where it is true."""

    def __init__(self, shape, values):
        self.shape, self._values = shape, values

    def __getitem__(self, at):
        return np.uint8(255) * self._values(*at)


class _Seen:
    """A sink whose rows are kept in an array as well."""

    def __init__(self, sink, array):
        self._sink, self._array = sink, array

    def write(self, top, rows):
        self._sink.write(top, rows)
        self._array[top : top + len(rows)] = rows


def small(source, white, side_px):
    """Return (H, W) or (H, W, 3) as float32 (h, w, 3), 0..1, neither side above `side_px`.

    It is read from the top down, a few rows at a time.
    """
    height, width = source.shape[:2]
    scale = min(1, side_px / max(height, width))
    wide, high = (max(1, round(side * scale)) for side in (width, height))
    edges = np.linspace(0, height, high + 1).astype(int)
    lines = [
        cv2.resize(source[top:bottom, 0:width], (wide, 1), interpolation=cv2.INTER_AREA)
        for top, bottom in pairwise(edges)
    ]
    found = np.minimum(np.concatenate(lines) / np.float32(white), 1)
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, axis=2)
