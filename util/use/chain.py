"""A chain at work: who takes part in it, and files of pictures through it."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from util.pictures.pixels import as_pixels
from util.restore.bands import tile_counts
from util.restore.chain import Chain, restore_picture, rows
from util.restore.specks import told_scale
from util.say import UserError, say
from util.settings import from_texts, names_here
from util.use import classical, trained
from util.use.pictures import Way, restore_files
from util.use.preview import previewed
from util.use.scenes import Scenes

# Sides of tiles without the user's own: beside the picture and its maps, and with a painter of base
# width 16, a scene of 10,000 x 10,000 then takes less than 3 GiB.
_CLEAR_TILE_PX, _PAINT_TILE_PX = 1536, 1408
_NARROW_PX = 20  # no network here paints narrower places nearer to the truth: docs/results.md
_NEXT_TO_NONE = 0.001  # share of opaque cloud: so much may be boats and roofs
_PREVIEW_PX = 400  # longer side of each of its three pictures, at most


def load(
    tasks, settings, *, clear, repaint=None, repaint_from=0.75, detail=0.0, shadows=False, given=()
):
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
        has weights, or else harmonic; a line says which].
    repaint_from : float, 0..1
        Where the found opacity is above it the ground is repainted.
    detail : float, 0..1
        Share of the detail of clear ground near by that is laid on what was painted.
    shadows : bool
        Whether ground in shadows of the cloud gets its light back.
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
    if not 0 <= detail <= 1:
        raise UserError(f"--detail {detail:g}: must be from 0 to 1")
    start = {task.name: own_settings(task, settings, given) for task in tasks}

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
        if settings.cloud_white < 1:
            raise UserError(f"--cloud-white is for a network: leave it out with --clear {clear}")
        task = next(iter(clearers.values()))
        first = told_scale(classical.dark_channel(task, start[task.name]), settings.pixel_m)
    if repaint in painters:
        second = network(painters[repaint], _PAINT_TILE_PX)
        # It has learnt from holes that are hardly deeper.
        reach_px = second.settings.crop_px // 2
        return Chain(first, second, repaint_from, reach_px, _NARROW_PX, detail, shadows)
    task = next(iter(painters.values()))
    second = classical.painter(repaint, task, start[task.name])
    return Chain(first, second, repaint_from, classical.REACH_PX, detail=detail, shadows=shadows)


def own_settings(task, settings, given):
    """Return a task's own settings, with those of this machine, and those given, in them."""
    # But how far it looks beyond a tile, which is the network's own.
    names = {*names_here(type(settings))} - {"apply_margin_px"} | {*given}
    own = from_texts(task.settings, {})
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
    cloudy = []
    way = way_of(chain, scenes, cloudy=cloudy)
    if preview:

        def keep(before, after, opacity):
            return {"preview": as_pixels(np.hstack([before, after, opacity]), np.uint8)}

        way = previewed(way, _PREVIEW_PX, keep)._replace(extras=(*way.extras, "preview"))
    status = restore_files(way, sources, out, overwrite=overwrite, part=part)
    clear = sum(share < _NEXT_TO_NONE for share in cloudy)
    if clear and chain.clear.networks and chain.cloud_white == 1:
        say(
            f"{clear} of {len(cloudy)} have next to no opaque cloud; if one sees some, "
            "--cloud-white 0.5 finds grey cloud, and bright ground with it"
        )
    return status


def way_of(chain, scenes=None, hidden=None, cloudy=None):
    """Return the `util.use.pictures.Way` of a chain.

    chain, scenes
        As of `remove`.
    hidden : callable, optional
        ``hidden((H, W)) -> bool (H, W)``, what is to be repainted whatever is found there.
    cloudy : list, optional
        Of each picture that is restored it gets the share with an opacity over .5.
    """

    def tell(share):
        if cloudy is not None:
            cloudy.append(share)

    def how(source, white, bar):
        here = hidden and hidden(source.shape[:2])
        return {"white": white, **_moving(bar), "hidden": here}

    def restore(pixels, hole, ground, white, bar):
        _, opacity, confidence = restore_picture(
            chain, pixels, in_place=True, **how(pixels, white, bar)
        )
        if ground is not None:  # there is nothing there, and nothing is known
            opacity[~ground] = confidence[~ground] = 0
        tell((opacity > 127).mean())
        return {"opacity": opacity, "confidence": confidence}

    def restore_scene(scene, sinks, ground, bar):
        # What the user said of pixels counts more than the file, and `load` has told it.
        pixel_m = 0 if chain.clear.settings.pixel_m else scene.pixel_m
        here = replace(chain, clear=told_scale(chain.clear, pixel_m))
        opaque = 0
        for top, *parts in rows(here, scene, ground=ground, **how(scene, scene.white, bar)):
            opaque += (parts[1] > 127).sum()
            for sink, part in zip(sinks, parts, strict=True):
                sink.write(top, part)
        tell(opaque / math.prod(scene.shape[:2]))
        return {}

    maps = ("opacity", "confidence")
    tags = {
        "SCRIPT": "cloud_removal.py",
        "CLEAR": chain.clear.origin,
        "PAINT": chain.paint.origin,
        "DATE": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    return Way(
        name="cloud_removal",
        settings=chain.clear.settings,
        by=f"cleared by {chain.clear}, repainted by {chain.paint}",
        extras=maps,
        tiles=lambda shape, hole: tile_counts(chain.clear, shape),
        restore=restore,
        scenes=(scenes or Scenes())._replace(maps=maps, tags=tags),
        restore_scene=restore_scene,
    )


def _moving(bar):
    """Return the arguments of `rows` that move a bar."""

    def more(count):
        bar.total += count
        bar.refresh()

    return {"progress": bar.update, "more": more}
