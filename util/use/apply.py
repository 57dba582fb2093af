"""Restore files of pictures with a trained network: files in, files out.

What becomes of a picture follows from the `Kind` of the script's Task; see util/restore/bands.py.
"""

from functools import partial

from util.restore.bands import restore_picture, tile_counts
from util.restore.masks import Holes
from util.use.pictures import Way, restore_files


def apply(trained, sources, out, *, overwrite=False, holes=None):
    """Restore every picture of `sources` into the folder `out`; say what was done.

    For ``a.png`` it gets ``a.png``, and ``a_opacity.png`` (8-bit grey, white is opaque) from a
    network that finds opacity. Arguments, result and errors as of `restore_files`; and

    Parameters
    ----------
    trained : util.use.trained.Trained
    holes : str, optional
        Masks for a network that takes a hole; see `util.restore.masks.Holes`, which reads them.
    """
    way = way_of(trained, find_holes(trained, holes))
    return restore_files(way, sources, out, overwrite=overwrite)


def way_of(trained, holes):
    """Return the `util.use.pictures.Way` of a trained network; `holes` as there."""
    kind = trained.task.kind

    def restore(pixels, hole, ground, white, bar):
        how = {"white": white, "progress": bar.update, "in_place": True}
        _, opacity = restore_picture(trained, pixels, hole, **how)
        if not kind.finds_opacity:
            return {}
        if ground is not None:
            opacity[~ground] = 0
        return {"opacity": opacity}

    return Way(
        name=trained.task.name,
        settings=trained.settings,
        by=f"network: {trained}",
        extras=("opacity",) if kind.finds_opacity else (),
        tiles=partial(tile_counts, trained),
        restore=restore,
        holes=holes,
    )


def find_holes(trained, place=None):
    """Return the `util.restore.masks.Holes` of a network that takes a hole, None of another."""
    if not trained.task.kind.takes_hole:
        return None
    settings = trained.settings
    return Holes(
        place,
        colour=settings.hole_colour,
        margin_px=settings.hole_margin_px,
        opacity_from=settings.hole_opacity_from,
        max_pixels=settings.max_pixels,
    )
