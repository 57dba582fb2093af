"""Fill what is missing of a picture: only the parts around its holes are worked on."""

from typing import NamedTuple

import cv2
import numpy as np

from util.pictures.morphology import cell_sums
from util.restore import tiles
from util.restore.whole import made_pixels
from util.task import Kind

_PIXELS = 1_048_576  # of the rows that come out at once

# --- where there is work ------------------------------------------------------------------------


class Window(NamedTuple):
    """A part of a picture to work on: `picture[rows, columns]`, as slices of the picture.

    The core holds all the missing pixels that this window answers for; each lies in one core.
    """

    rows: slice
    columns: slice
    core_rows: slice
    core_columns: slice


def windows(hole, *, context_px, least_px, multiple=32):
    """Choose the windows in which the holes of a picture are filled: list of Window.

    They are sorted by the first row of their cores. Holes less than about `context_px` apart, and
    those whose windows together cover no less than one that holds both, share a window. No two
    cores overlap.

    Parameters
    ----------
    hole : bool (H, W)
        True where something is missing.
    context_px : int
        A window reaches at least so far beyond its holes, but not over the picture's border.
    least_px : int
        Its sides are no shorter, unless the picture's are.
    multiple : int
        Its sides are multiples of this, unless they are the picture's.
    """
    # Components of coarse cells: labels of every pixel would take four times a large picture.
    cells = cell_sums(hole, multiple) > 0
    reach = 2 * (context_px // (2 * multiple)) + 1
    grown = cv2.dilate(cells.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(grown)
    at = np.stack(np.nonzero(cells))
    label = labels[at[0], at[1]]
    first = np.full((count, 2), np.iinfo(int).max)
    last = np.full((count, 2), -1)
    for axis in (0, 1):
        np.minimum.at(first[:, axis], label, at[axis] * multiple)
        np.maximum.at(last[:, axis], label, (at[axis] + 1) * multiple)
    cores = []  # top, left, bottom, right
    for (top, left), (bottom, right) in zip(first, last, strict=True):
        if bottom > 0:  # label 0 is what is known
            part = hole[top:bottom, left:right]
            rows, columns = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
            cores.append(
                (top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1)
            )
    cores = np.array(cores, int).reshape(-1, 4)
    sides = np.array(hole.shape)

    def lengths(cores):
        wanted = np.maximum(cores[:, 2:] - cores[:, :2] + 2 * context_px, least_px)
        return np.minimum(-(-wanted // multiple) * multiple, sides)

    cores = _merged(cores, lambda cores: lengths(cores).prod(axis=1))
    found = []
    for core, length in zip(cores, lengths(cores), strict=True):
        start = core[:2] - (length - (core[2:] - core[:2])) // 2
        start = np.clip(start, 0, sides - length)
        corners = ((start, start + length), (core[:2], core[2:]))
        found.append(Window(*(slice(int(a[i]), int(b[i])) for a, b in corners for i in (0, 1))))
    return sorted(found, key=lambda window: window.core_rows.start)


def _merged(cores, area):
    """Return the cores, int (N, 4), with those united that overlap or are cheaper as one."""
    i, since = 0, 0
    while since < len(cores):  # until no core has found a partner once round
        i %= len(cores)
        both = np.concatenate(
            [np.minimum(cores[:, :2], cores[i, :2]), np.maximum(cores[:, 2:], cores[i, 2:])], axis=1
        )
        alone = area(cores)
        low = np.maximum(cores[:, :2], cores[i, :2])
        overlap = (low < np.minimum(cores[:, 2:], cores[i, 2:])).all(axis=1)
        joins = overlap | (area(both) <= alone + alone[i])
        joins[i] = False
        if joins.any():
            j = int(joins.argmax())
            cores[i] = both[j]
            cores = np.delete(cores, j, axis=0)
            i, since = i - (j < i), 0
        else:
            i, since = i + 1, since + 1
    return cores


def windows_of(settings, hole):
    """Return the windows in which a hole, bool (H, W), is filled by the settings."""
    return windows(hole, context_px=settings.apply_margin_px, least_px=settings.crop_px)


# --- the picture --------------------------------------------------------------------------------


def rows(trained, source, hole, *, white, progress=None):
    """Yield the rows of a picture with its hole filled; see `util.restore.bands.bands`.

    Every pixel that is not missing comes out bit for bit as it went in. Rows come as soon as no
    later window has anything to fill in them.
    """
    height, width = source.shape[:2]
    at_once = max(1, _PIXELS // width)
    found = windows_of(trained.settings, hole)
    starts = [*(window.core_rows.start for window in found), height]
    done, waiting = 0, []  # (rows, columns, what is filled there), not all of which has come out

    def until(end):
        nonlocal done, waiting
        for top in range(done, end, at_once):
            done = min(top + at_once, end)
            restored = np.array(source[top:done, 0:width])
            for at, columns, made in waiting:
                first, last = max(at.start, top), min(at.stop, done)
                if first < last:
                    here, part = hole[first:last, columns], made[first - at.start : last - at.start]
                    restored[first - top : last - top, columns][here] = part[here]
            yield top, restored, None
        waiting = [part for part in waiting if part[0].stop > done]

    yield from until(starts[0])
    for window, free in zip(found, starts[1:], strict=True):
        for at, columns, made in _filled(trained, window, source, hole[..., None], white, progress):
            waiting.append((at, columns, made_pixels(made, source.dtype, white)))
            yield from until(min(at.stop, free))
        yield from until(free)


def complete(trained, sample):
    """Return the picture of a sample with its hole filled, as {"restored": float32 (H, W, 3)}.

    Where the sample's "hole", float32 (H, W, 1), is less than 1 the picture is missing in part.
    """
    picture, hole = (sample[name] for name in trained.task.kind.given)
    restored, missing = picture.copy(), hole[..., 0] > 0
    for window in windows_of(trained.settings, missing):
        for at, columns, made in _filled(trained, window, picture, hole):
            here = missing[at, columns]
            restored[at, columns][here] = made[here]
    return {"restored": restored}


def _filled(trained, window, picture, hole, white=None, progress=None):
    """Yield (rows, columns, what the network made there) until all of a window's core was there.

    Each part is float32 (h, w, 3), to be used at once.
    """
    name = next(iter(trained.task.kind.given))

    def function(batch):
        if batch["hole"].any():
            # What is hidden has no say, whatever it is: cloud, or what was filled before.
            known = {name: batch[name] * (batch["hole"] < 1)}
            return {"restored": trained.restore(batch | known)["restored"]}
        return {"restored": batch[name]}  # a tile between the holes of a large window

    core, columns = window.core_rows, window.core_columns
    left, right = (n - window.columns.start for n in (columns.start, columns.stop))
    pictures = {name: picture, "hole": hole}
    parts = {n: tiles.Part(p, window.rows, window.columns) for n, p in pictures.items()}
    how = {"white": white, "progress": progress, **tiles.tiling(trained.settings)}
    for top, band in tiles.bands(function, parts, **how):
        top += window.rows.start
        first, last = max(top, core.start), min(top + len(band["restored"]), core.stop)
        if first < last:
            found = band["restored"][first - top : last - top, left:right]
            yield slice(first, last), columns, found


# The network is given a picture with a hole, 0 where it is missing, and paints what could be there.
KIND = Kind(
    given={"holed": 3, "hole": 1}, found={"restored": 3, "patch": 3}, rows=rows, complete=complete
)
