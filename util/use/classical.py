"""Classical methods in the place of trained networks: they take part in a chain as those do."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from util.measure import baselines
from util.use.trained import Trained

REACH_PX = 128  # how far into a hole they paint at once; see `util.restore.chain.Chain`
_CONTEXT_PX = 64  # around a hole; the methods look no more than a few pixels beyond its rim

# Name -> how it paints, and the side of the tiles that it takes a large hole in.
PAINTERS = {
    "telea": (baselines.inpaint_telea, 1024),
    "ns": (baselines.inpaint_navier_stokes, 1024),
    "biharmonic": (baselines.inpaint_biharmonic, 384),  # its memory grows faster than its hole
    "harmonic": (baselines.inpaint_harmonic, 1024),
}
CLEARERS = ("dcp",)


class Classical(Trained):
    """A classical method that is ready for work; its `path` is its name."""

    def __str__(self):
        return str(self.path)

    origin = property(__str__)


def painter(name, task, settings):
    """Return a method of `PAINTERS` that fills holes as a network of the task does."""
    inpaint, tile_px = PAINTERS[name]

    def restore(batch):
        holed, hole = (batch[n][0] for n in ("holed", "hole"))
        return {"restored": (holed + inpaint(holed, hole[..., 0] > 0) * hole)[None]}

    settings = replace(settings, apply_margin_px=_CONTEXT_PX, apply_tile_px=tile_px)
    return Classical(replace(task, name=name), settings, {}, Path(name), 0, restore)


def dark_channel(task, settings):
    """Return the dark channel prior as what finds cloud and clears it, as a network of the task.

    The opacity is what the transmission leaves; the light is each tile's own, so that nobody need
    say how bright cloud is.
    """
    settings = replace(settings, cloud_white=1.0)

    def restore(batch):
        hazy = np.asarray(batch["cloudy"][0])
        transmission, light = baselines.dark_channel_transmission(hazy)
        ground = baselines.without_haze(hazy, transmission, light)
        return {"restored": ground[None], "found_opacity": (1 - transmission)[None, ..., None]}

    return Classical(replace(task, name="dcp"), settings, {}, Path("dcp"), 0, restore)
