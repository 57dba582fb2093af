"""Work on a picture's rows as they come, each strip with rows above and below that others have."""

import numpy as np

_PIXELS = 1_048_576  # that are worked on at once, at least


def with_context(parts, function, reach_px, least_rows=0):
    """Yield what a function makes of the rows of a picture, in the same order.

    Parameters
    ----------
    parts : iterable of (int, array (rows, W, ..), ..)
        The first row, and arrays of these rows, from the top down; cut anywhere.
    function : callable
        ``function(at, array (rows, W, ..), ..)`` -> the rows `at`, a slice, of the first of them
        anew; the others are context. What it makes of a row depends on none more than `reach_px`
        away.
    reach_px : int
    least_rows : int
        Of a strip, so that it is not all context.

    Yields
    ------
    like parts, cut elsewhere
    """
    context, ready, first = None, 0, 0  # rows in hand, of them those that are out, the first one
    for new in _strips(parts, least_rows):
        rows = _stacked([context, new]) if context else new
        end = len(rows[0]) - reach_px
        if end > ready:
            yield _made(function, rows, first, slice(ready, end))
            ready = end
        surplus = max(ready - reach_px, 0)
        context = [part[surplus:] for part in rows]
        first, ready = first + surplus, ready - surplus
    if context:
        yield _made(function, context, first, slice(ready, len(context[0])))


def _made(function, rows, first, at):
    return first + at.start, function(at, *rows), *(part[at] for part in rows[1:])


def _strips(parts, least_rows):
    """Put parts together until they are worth the work on their context."""
    waiting, pixels, height = [], 0, 0
    for _, *new in parts:
        waiting.append(new)
        pixels, height = pixels + new[1].size, height + len(new[1])
        if pixels >= _PIXELS and height >= least_rows:
            yield _stacked(waiting)
            waiting, pixels, height = [], 0, 0
    if waiting:
        yield _stacked(waiting)


def _stacked(parts):
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]
