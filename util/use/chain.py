"""A chain at work: who takes part in it, and files of pictures through it."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import cv2
import numpy as np

from util.pictures.pixels import as_pixels
from util.restore.bands import tile_counts
from util.restore.chain import Chain, restore_picture, rows
from util.say import UserError, say
from util.settings import HERE, from_texts, row_of
from util.use import classical, trained
from util.use.pictures import Way, restore_files
from util.use.scenes import Scenes

# Sides of tiles without the user's own: beside the picture and its maps, and with a painter of base
# width 16, a scene of 10,000 x 10,000 then takes less than 3 GiB.
_CLEAR_TILE_PX, _PAINT_TILE_PX = 1792, 1152
_PREVIEW_PX = 400  # width of each of its three pictures, at most


def load(tasks, settings, *, clear, repaint=None, repaint_from=0.75, given=()):
    """Return the `Chain` of two networks, or of classical methods in their place.

    Parameters
    ----------
    tasks : list of util.task.Task
        Of the networks that can take part. The first that finds opacity, and the first that takes
        a hole, are those that a classical method stands in for.
    settings : of the class of the first task
        What belongs to this machine is taken from here, and what `given` names.
    clear : str
        A script whose network finds opacity, or one of `classical.CLEARERS`.
    repaint : str, optional
        A script whose network takes a hole, or one of `classical.PAINTERS` [the first network that
        is trained, or else harmonic; a line says which].
    repaint_from : float, 0..1
        Where the found opacity is above it the ground is repainted.
    given : iterable of str
        Settings that the user set for this start.

    Raises
    ------
    UserError
        There is no such method, or its network is not trained.
    """
    clearers = {task.name: task for task in tasks if task.kind.finds_opacity}
    painters = {task.name: task for task in tasks if task.kind.takes_hole}
    for option, name, known in (
        ("--clear", clear, [*clearers, *classical.CLEARERS]),
        ("--repaint", repaint, [*painters, *classical.PAINTERS, None]),
    ):
        if name not in known:
            raise UserError(f"{option} {name}: must be one of {', '.join(filter(None, known))}")
    if not 0 < repaint_from <= 1:
        raise UserError(f"--repaint-from {repaint_from:g}: must be above 0 and at most 1")
    start = {task.name: _settings(task, settings, given) for task in tasks}

    def network(task, tile_px):
        found = trained.load(task, start[task.name], None, given)
        own = found.settings
        if "apply_tile_px" in given:
            return found
        tile_px = max(min(own.apply_tile_px, tile_px), 2 * own.apply_margin_px + 96)
        return replace(found, settings=replace(own, apply_tile_px=tile_px))

    if repaint is None:
        ready = [name for name, task in painters.items() if trained.found(task, start[name])]
        repaint = next(iter(ready), "harmonic")
        missing = f"; {' and '.join(painters)} is not trained yet"
        say(f"what is hidden is repainted by {repaint}{'' if ready else missing} (see --repaint)")
    if clear in clearers:
        first = network(clearers[clear], _CLEAR_TILE_PX)
    else:
        task = next(iter(clearers.values()))
        first = classical.dark_channel(task, start[task.name])
    if repaint in painters:
        second = network(painters[repaint], _PAINT_TILE_PX)
        # It has learnt from holes that are hardly deeper.
        return Chain(first, second, repaint_from, second.settings.crop_px // 2)
    task = next(iter(painters.values()))
    second = classical.painter(repaint, task, start[task.name])
    return Chain(first, second, repaint_from, classical.REACH_PX)


def _settings(task, settings, given):
    """Return a task's own settings, with those of this machine, and those given, in them."""
    own, cls = from_texts(task.settings, {}), type(settings)
    names = [n for n in vars(settings) if row_of(cls, n).kind == HERE or n in given]
    return replace(own, **{n: getattr(settings, n) for n in names if hasattr(own, n)})


def remove(chain, sources, out, *, overwrite=False, part=(1, 1), preview=False, scenes=None):
    """Clear every picture of `sources` into the folder `out`; say what was done.

    For ``a.png`` it gets ``a.png``, ``a_opacity.png``, ``a_confidence.png`` (8-bit grey, white is
    opaque, or the photograph's own), and with `preview` ``a_preview.png``: before, after and
    opacity, small. For a GeoTIFF scene ``a.tif`` the first three are GeoTIFFs on its grid. Other
    arguments, result and errors as of `restore_files`; and

    Parameters
    ----------
    chain : util.restore.chain.Chain
    scenes : util.use.scenes.Scenes, optional
        How GeoTIFF scenes are read and written [as they are].
    """

    def restore(pixels, hole, ground, white, bar):
        before = _small(pixels, white) if preview else None
        how = {"white": white, **_moving(bar), "in_place": True}
        _, opacity, confidence = restore_picture(chain, pixels, **how)
        if ground is not None:  # there is nothing there, and nothing is known
            opacity[~ground] = confidence[~ground] = 0
        made = {"opacity": opacity, "confidence": confidence}
        if preview:
            made["preview"] = _side_by_side(before, pixels, white, opacity)
        return made

    def restore_scene(scene, sinks, ground, bar):
        if preview:
            before, opacity = _small(scene, scene.white), np.empty(scene.shape[:2], np.uint8)
        how = {"white": scene.white, **_moving(bar), "ground": ground}
        for top, *parts in rows(chain, scene, **how):
            for sink, part in zip(sinks, parts, strict=True):
                sink.write(top, part)
            if preview:
                at = slice(top, top + len(parts[0]))
                ground[at], opacity[at] = parts[:2]
        return {"preview": _side_by_side(before, ground, scene.white, opacity)} if preview else {}

    maps = ("opacity", "confidence")
    tags = {
        "SCRIPT": "cloud_removal.py",
        "CLEAR": chain.clear.origin,
        "PAINT": chain.paint.origin,
        "DATE": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    way = Way(
        name="cloud_removal",
        settings=chain.clear.settings,
        by=f"cleared by {chain.clear}, repainted by {chain.paint}",
        extras=(*maps, *["preview"] * preview),
        tiles=lambda shape, hole: tile_counts(chain.clear.settings, shape),
        restore=restore,
        scenes=(scenes or Scenes())._replace(maps=maps, tags=tags),
        restore_scene=restore_scene,
    )
    return restore_files(way, sources, out, overwrite=overwrite, part=part)


def _moving(bar):
    """Return the arguments of `rows` that move a bar."""

    def more(count):
        bar.total += count
        bar.refresh()

    return {"progress": bar.update, "more": more}


def _side_by_side(before, pixels, white, opacity):
    """Return the preview: before, after, opacity; the first is small already."""
    grey = cv2.cvtColor(_small(opacity, 255.0), cv2.COLOR_GRAY2RGB)
    return np.hstack([before, _small(pixels, white), grey])


def _small(source, white):
    """Return (H, W) or (H, W, 3) in 8 bits, at most `_PREVIEW_PX` wide.

    It is read from the top down, a few rows at a time.
    """
    height, width = source.shape[:2]
    scale = min(1, _PREVIEW_PX / width)
    wide, high = (max(1, round(side * scale)) for side in (width, height))
    edges = np.linspace(0, height, high + 1).astype(int)
    lines = [
        cv2.resize(source[top:bottom, 0:width], (wide, 1), interpolation=cv2.INTER_AREA)
        for top, bottom in pairwise(edges)
    ]
    return as_pixels(np.concatenate(lines) / np.float32(white), np.uint8)
