"""Run stages over a picture of any height, some rows at a time, and compute nothing twice.

To make a row a layer needs only few rows of what comes before it. So a picture goes through a
network from the top down; of what each stage makes, the rows that others still need are kept, and
no more. The result is that of the whole picture, exactly but for rounding. Memory is that of the
rows in hand, at the picture's full width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import tensorflow as tf


@dataclass(frozen=True)
class Stage:
    """A part of a network that looks no further up and down than some rows.

    given : tuple of str
        What it is made from. The heights of the others are multiples of the first one's.
    made : str
        What others are given.
    function : callable
        Tensors (h, W, C), as many as are given -> a tensor (h * up / down, ..), or a dict of them,
        for any height h of the first that is a multiple of `down`. At the picture's border it does
        what is right there.
    reach : int
        So many rows of the first, at an edge that is not the picture's, make rows that are not
        right; a multiple of `down`.
    up, down : int
    """

    given: tuple[str, ...]
    made: str
    function: Callable
    reach: int = 0
    up: int = 1
    down: int = 1


def stream(stages, blocks, height, at_once):
    """Yield what the last stage makes of a picture, from the top down, (rows, ..) each time.

    Parameters
    ----------
    stages : sequence of Stage
        Each after those that make what it is given. What the first one is given is the picture.
    blocks : iterable of float32 (rows, W, C)
        The picture's rows. Stages halve it without a remainder, and all blocks likewise.
    height : int
        Of the picture.
    at_once : int
        Rows of the picture that a stage works on at once, at most; they can be halved, too.
    """
    picture, result = stages[0].given[0], stages[-1].made
    heights = {picture: height}
    for stage in stages:
        heights[stage.made] = heights[stage.given[0]] * stage.up // stage.down
    held = {name: _Rows(full) for name, full in heights.items()}
    for block in blocks:
        held[picture].append(block)
        for stage in stages:
            _advance(stage, held, at_once * heights[stage.made] // height)
            for name in stage.given:
                takers = [each for each in stages if name in each.given]
                held[name].drop(min(_needed(s, held) * _finer(s, name, held) for s in takers))
        made = held[result]
        if made.end > made.first:
            yield made[made.first : made.end]
            made.drop(made.end)


def _advance(stage, held, most):
    """Make all rows of a stage that can be made, at most so many at once."""
    full, made = held[stage.given[0]].full, held[stage.made]
    times = [_finer(stage, name, held) for name in stage.given]
    end = min(held[name].end // n for name, n in zip(stage.given, times, strict=True))
    ready = (end if end == full else end - stage.reach) // stage.down * stage.up
    while made.end < ready:
        to = min(made.end + most, ready)
        first = _needed(stage, held)
        last = min(to // stage.up * stage.down + stage.reach, full)
        parts = zip(stage.given, times, strict=True)
        rows = stage.function(*(held[name][first * n : last * n] for name, n in parts))
        start = first // stage.down * stage.up
        made.append(_cut(rows, made.end - start, to - start))


def _needed(stage, held):
    """Return from which row of the first that it is given on a stage still needs them."""
    return max(held[stage.made].end // stage.up * stage.down - stage.reach, 0)


def _finer(stage, name, held):
    return held[name].full // held[stage.given[0]].full


@dataclass
class _Rows:
    """Hold rows `first` to `end` of `full`, in the parts that they came in."""

    full: int
    first: int = 0
    end: int = 0
    parts: list = field(default_factory=list)

    def append(self, part):
        self.parts.append(part)
        self.end += _height(part)

    def drop(self, before):
        while self.parts and self.first < before:
            first, height = before - self.first, _height(self.parts[0])
            if first < height // 2:
                return
            part = self.parts.pop(0)
            self.first += min(first, height)
            if first < height:  # a copy: a slice would keep the memory of it all
                rest = _cut(part, first, height)
                self.parts.insert(0, tf.nest.map_structure(_copied, rest))

    def __getitem__(self, at):
        found, start = [], self.first
        for part in self.parts:
            stop = start + _height(part)
            if start < at.stop and stop > at.start:
                found.append(_cut(part, max(at.start - start, 0), at.stop - start))
            start = stop
        return found[0] if len(found) == 1 else tf.nest.map_structure(_joined, *found)


def _height(part):
    return tf.nest.flatten(part)[0].shape[0]


def _cut(part, first, end):
    return tf.nest.map_structure(lambda rows: rows[first:end], part)


def _joined(*rows):
    return tf.concat(rows, axis=0)


def _copied(rows):
    return tf.raw_ops.DeepCopy(x=rows)
