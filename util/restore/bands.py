"""The one path of a picture through a trained network, for pictures in memory and in files."""

import numpy as np

from util.pictures.pixels import top_of
from util.restore import by_rows, holes, tiles


def bands(trained, source, hole=None, *, white=None, progress=None):
    """Restore a picture of any size: yield its finished rows, each once, from the top down.

    Between two bands the rows that have come out may be written over those of `source`: they are
    read no more, or only where they are missing.

    Parameters
    ----------
    trained : util.use.trained.Trained
        Its task's `Kind` says what is done.
    source : uint8 or uint16 (H, W, 3)
        An array, memory-mapped or not, or whatever else has shape and dtype and gives an array
        for ``source[rows, columns]`` with two slices. It is read part by part, some twice.
    hole : bool (H, W), if the network takes one
        True where the picture is missing.
    white : float, optional
        The pixel value that means 1.0 [the type's greatest].
    progress : callable, optional
        Called after each tile; `tile_counts` says how many there will be.

    Yields
    ------
    (int, array (rows, W, 3) like source, uint8 (rows, W) or None)
        The first row, the restored rows, and their opacity from a network that finds it.

    Raises
    ------
    ValueError
        `source` or `hole` is none of these; the network returned NaN.
    """
    kind, shape = trained.task.kind, tuple(source.shape)
    greatest = top_of(source.dtype)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(f"a picture must have shape (H, W, 3), not {shape}")
    if kind.takes_hole != (hole is not None):
        raise ValueError(f"the network takes {'a' if kind.takes_hole else 'no'} hole")
    if hole is not None and (hole.shape != shape[:2] or hole.dtype != bool):
        raise ValueError(f"hole must be bool {shape[:2]}, not {hole.dtype} {hole.shape}")
    return kind.rows(trained, source, hole, white=float(white or greatest), progress=progress)


def restore_picture(trained, pixels, hole=None, *, white=None, progress=None, in_place=False):
    """Return a whole picture restored, and its opacity, uint8 (H, W), or None; as `bands` does.

    pixels : uint8 or uint16 (H, W, 3)
    in_place : bool
        Write the result over `pixels` (writeable), which saves the memory of a second picture.
    """
    restored = pixels if in_place else np.empty_like(pixels)
    finds_opacity = trained.task.kind.finds_opacity
    opacity = np.empty(pixels.shape[:2], np.uint8) if finds_opacity else None
    for top, rows, found in bands(trained, pixels, hole, white=white, progress=progress):
        at = slice(top, top + len(rows))
        restored[at] = rows
        if finds_opacity:
            opacity[at] = found
    return restored, opacity


def tile_counts(trained, shape, hole=None):
    """Return how many tiles each part of a picture takes that goes through the network by itself.

    One part is the picture; with a hole the windows around what is missing are, which may be none.
    What goes through some rows at a time counts as tiles of these rows.
    """
    settings, sizes = trained.settings, [shape[:2]]
    if hole is None and (at_once := by_rows.rows_at_once(trained, shape)):
        return [-(-shape[0] // at_once)]
    if hole is not None:
        sizes = [
            [at.stop - at.start for at in window[:2]] for window in holes.windows_of(settings, hole)
        ]
    return [tiles.plan(*size, **tiles.tiling(settings)).tiles for size in sizes]
