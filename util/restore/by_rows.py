"""Restore a large picture by a U-Net some rows at a time, instead of in tiles that overlap.

Tiles overlap by 352 pixels, or the network would miss what it sees beyond them; of a whole
Sentinel-2 scene that makes up to 1.9 times the work. The parts of a U-Net, each run over all rows
before they are forgotten, look no further than two of their own rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from util.restore import tiles
from util.restore.streaming import Stage, stream

_NORMS = ("none", "batch")  # the others look at all that there is
_LEAST_ROWS = 64  # with fewer at once the rows around them cost more than tiles do
_SHARE = 2  # memory of a pixel in these rows, over that of one in a tile: measured


@dataclass(frozen=True)
class ByRows:
    """Hold the parts of a restoration.

    network : tuple of Stage
        From the picture, "given", to what the network makes of it, "answer".
    finish : callable
        As `util.use.trained.Trained.restore`, of a batch that has "answer" besides.
    reach : int
        How many pixels beyond its own `finish` looks.
    changes : tuple of (callable, int)
        ``change(restore, batch)`` each, what takes the place of ``restore(batch)`` of what came
        before, and how far it looks.
    """

    network: tuple[Stage, ...]
    finish: Callable
    reach: int
    changes: tuple[tuple[Callable, int], ...] = ()

    def then(self, change, reach):
        """Return one with one change more."""
        return replace(self, changes=(*self.changes, (change, reach)))

    def stages(self, kind):
        """Return all stages, from "given" to what the kind finds, a dict."""
        (name,) = kind.given

        def rows_of(found):
            return {each: found[each][0] for each in kind.found}

        def finish(picture, answer):
            return rows_of(self.finish({name: picture[None], "answer": answer[None]}))

        def changed(change, picture, before):
            found = {each: rows[None] for each, rows in before.items()}
            return rows_of(change(lambda _: found, {name: picture[None]}))

        stages = [*self.network, Stage(("given", "answer"), "found", finish, self.reach)]
        for change, reach in self.changes:
            given, made = ("given", stages[-1].made), f"{stages[-1].made}, changed"
            stages.append(Stage(given, made, partial(changed, change), reach))
        return stages


def parts_of(task, networks, settings):
    """Return the `ByRows` of a task, or None where there is none: its pictures go in tiles.

    There is one where the task says how far its `restore` looks, and its network is a U-Net of
    which a pixel is the same whatever lies further away. In several sizes or turns, or compiled for
    one size, pictures go in tiles, too.
    """
    plain = getattr(settings, "sizes", 1) == getattr(settings, "turns", 1) == 1
    if task.reach_px is None or settings.norm not in _NORMS or settings.jit_compile or not plain:
        return None
    (name,), (given,) = networks, task.kind.given
    network = networks[name]

    # `restore` is one function of the script. With others in its network's place it tells what it
    # shows a network, and what it makes of an answer.
    def asked(picture):
        """Return what the script shows its network."""
        shown = []

        def listen(batch, training=False):
            shown.append(batch)
            return tf.zeros_like(batch[..., :1]) + tf.zeros(network.output.shape[-1])

        task.restore({name: listen}, {given: picture[None]}, settings)
        return shown[0][0]

    def answered(batch):
        return task.restore({name: lambda _, training=False: batch["answer"]}, batch, settings)

    channels = {given: task.kind.given[given], "answer": network.output.shape[-1]}
    batch = {name: tf.TensorSpec((None, None, None, count)) for name, count in channels.items()}
    rows = tf.TensorSpec((None, None, channels[given]))
    first = Stage(("given",), "level0", _function(asked, [rows]))
    finish = _function(answered, [batch])
    return ByRows((first, *_of_unet(network)), finish, task.reach_px)


def rows_at_once(trained, shape):
    """Return how many rows of a picture go through a network together; 0: it goes in tiles.

    trained : util.use.trained.Trained
    shape : tuple of int
        (H, W, ..)
    """
    plan = tiles.plan(*shape[:2], **tiles.tiling(trained.settings))
    if trained.by_rows is None or plan.tiles == 1:
        return 0
    rows = trained.settings.apply_tile_px**2 // (_SHARE * plan.width) // 32 * 32
    return rows if rows >= _LEAST_ROWS else 0


def bands(trained, picture, at_once, *, white, progress=None):
    """Yield what is found in a picture, as `util.restore.tiles.bands` does, some rows at a time.

    Parameters
    ----------
    trained : util.use.trained.Trained
        With `by_rows`.
    picture, white, progress
        As of `util.restore.tiles.bands`.
    at_once : int
        A multiple of 32; `rows_at_once` tells.
    """
    kind = trained.task.kind
    height, width = picture.shape[:2]
    plan = tiles.plan(height, width, **tiles.tiling(trained.settings))

    def blocks():
        for top in range(0, plan.height, at_once):
            rows = min(at_once, plan.height - top)
            yield tf.constant(tiles.padded_rows(picture, plan, top, rows, white))
            if progress:
                progress()

    first, columns = -plan.above, slice(plan.before, plan.before + width)
    for made in stream(trained.by_rows.stages(kind), blocks(), plan.height, at_once):
        end = first + len(next(iter(made.values())))
        if min(end, height) > max(first, 0):  # not only what was padded
            rows = slice(max(-first, 0), height - first)
            found = {name: np.asarray(part)[rows, columns] for name, part in made.items()}
            yield max(first, 0), found
        first = end


def _of_unet(network):
    """Return the stages of a `util.networks.unet.unet`, from "level0" to "answer"."""

    def at(layer, number=None):
        found = network.get_layer(layer).input
        return found if number is None else found[number]

    depth = sum(layer.name.startswith("down") for layer in network.layers)
    joins = [f"join{level}" for level in range(1, depth + 1)]
    # What comes down to each level, and what comes up to it.
    downs = [at(f"down{level}") for level in range(1, depth + 1)] + [at(joins[-1], 1)]
    ups = [at(name, 0) for name in ["join_picture", *joins]]
    stages = []
    for level in range(1, depth + 1):
        before = f"level{level - 1}"
        part = _part([downs[level - 1]], downs[level])
        stages.append(Stage((before,), f"level{level}", part, reach=2, down=2))
    deepest = _part([downs[depth]], ups[depth])
    stages.append(Stage((f"level{depth}",), f"up{depth}", deepest, reach=2))
    for level in range(depth, 1, -1):
        part = _part([ups[level], downs[level]], ups[level - 1])
        given = f"up{level}", f"level{level}"
        stages.append(Stage(given, f"up{level - 1}", part, reach=1, up=2))
    # The last level takes most memory: one stage with the head, of which no rows wait in between.
    head = _part([ups[1], downs[1], downs[0]], network.output)
    stages.append(Stage(("up1", "level1", "level0"), "answer", head, reach=2, up=2))
    return stages


def _part(given, made):
    """Return a part of a network as a function of rows (h, W, C)."""
    model = keras.Model(given, made)
    specs = [tf.TensorSpec((None, None, each.shape[-1]), each.dtype) for each in given]

    def call(*rows):
        rows = [each[None] for each in rows]
        return model(rows if len(rows) > 1 else rows[0], training=False)[0]

    return _function(call, specs)


def _function(call, specs):
    # TensorFlow counts tracings by a function's code, and warns of five; a partial counts alone.
    return tf.function(partial(call), input_signature=specs, autograph=False)
