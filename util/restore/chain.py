"""Clear what shines through cloud, repaint what is hidden, join both: a picture of any size.

    cloudy --> clear --> ground, opacity --> paint where opacity > repaint_from --> joined ground

The ground is relieved of coloured fringes first, and if wanted of the cloud's shadows. What the
second step knows of a picture is that ground, but for a rim around what is hidden: there cloud
ends, and its cleared ground is worst. Of wide cloud that rim is painted, too, and of any cloud what
was left of it near by, or is all white and touches it, or is near where many such things do.
"""

import math
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from util.pictures.harmonic import coarse_fill
from util.pictures.morphology import dilated, eroded
from util.pictures.thin_plate import narrow_fill
from util.restore.bands import bands, tile_counts
from util.restore.cover import ALL_WHITE, MISSED_PX, add_white, cover_of, hole_of, is_hidden
from util.restore.detail import with_detail
from util.restore.fringes import without_fringes
from util.restore.holes import windows
from util.restore.shadows import relight
from util.restore.tiles import Part

_FADE = 0.1  # of opacity, over which the painted ground takes the place of the cleared one
# In a rim cloud is taken off too little, and of a fringe that is not found nothing. What is
# brighter in all channels than the ground painted there is cloud that was left, over _LEFT of white
# more and more surely. What the first step kept as it came may be a roof: it has to be
# _LEFT_OF_OWN brighter first. On crops of 128 px this gives mixed cloud + .6 dB (what is hidden
# + 1.6), small cumulus + 1.8, thick + .1; a clear pixel of 500 is lost.
_LEFT, _LEFT_OF_OWN = 0.04, 0.08
_MOST_RINGS = 8  # further inside a hole the filling stays smooth


@dataclass(frozen=True)
class Chain:
    """Hold who takes part in a chain.

    clear : util.use.trained.Trained
        Of a kind that finds opacity: it clears what shines through.
    paint : util.use.trained.Trained
        Of a kind that takes a hole: it repaints what is hidden.
    repaint_from : float, 0..1
        Where the found opacity is above it the ground is hidden. Around wide cloud, where it is
        .4 of that.
    reach_px : int
        How far into a hole the painter's work is good; a deeper one is painted ring by ring, from
        the rim inward, with a smooth filling before it inside.
    narrow_px : int
        Where no square of twice that and a pixel has room in a hole, nor near by, it is filled
        smoothly: quicker than by a network, and no further from the truth. 0: the painter has all.
    detail : float, 0..1
        Share of the detail of clear ground near by that is laid on what was painted.
    shadows : bool
        Ground in shadows of the cloud gets its light back; where they are black it is painted.
    """

    clear: object
    paint: object
    repaint_from: float = 0.75
    reach_px: int = 64
    narrow_px: int = 0
    detail: float = 0.0
    shadows: bool = False

    @property
    def share(self):
        """The share of painted ground by opacity 0..255, float32 (256,): 0 up to repaint_from."""
        opacity = np.arange(256, dtype=np.float32) / 255
        fade = max(min(_FADE, 1 - self.repaint_from), 1e-6)
        return np.clip((opacity - self.repaint_from) / fade, 0, 1)

    @property
    def cloud_white(self):
        """How bright what counts as all white is, of white."""
        return self.clear.settings.cloud_white

    @property
    def own(self):
        """Which opacities 0..255 leave a pixel as it came, bool (256,)."""
        # Half a step less: so opaque a pixel certainly was.
        return ((np.arange(256) + 0.5) / 255 < self.clear.settings.clear_below) & (self.share == 0)

    @property
    def confidence(self):
        """How far a pixel is to be trusted by opacity 0..255, uint8 (256,).

        255 where it is the photograph's own, 0 where it is painted.
        """
        seen = (1 - np.arange(256) / 255) * (1 - self.share)
        return np.where(self.own, 255, np.rint(254 * seen)).astype(np.uint8)


def rows(chain, source, *, white=None, progress=None, more=None, ground=None, hidden=None):
    """Yield the finished rows of a cloudy picture, each once, from the top down.

    In memory are, besides the tile in hand, three bytes a pixel, and the ground unless it is given.
    Between two bands the rows that have come out may be written over those of `ground`.

    Parameters
    ----------
    chain : Chain
    source : uint8 or uint16 (H, W, 3)
        As `util.restore.bands.bands` wants it.
    white : float, optional
        The pixel value that means 1.0 [the type's greatest].
    progress : callable, optional
        Called after each tile.
    more : callable, optional
        ``more(count)`` says how many tiles there will be besides those of the first step, which
        `tile_counts` knows: that is found out on the way.
    ground : like source, optional
        An array, or whatever takes and gives slices of rows, or of rows and columns, to keep the
        first step's ground in, which the second one needs whole; it may be the source itself [a
        new array].
    hidden : bool (H, W), optional
        What is to be repainted whatever is found there, as if its cloud were opaque.

    Yields
    ------
    (int, array (rows, W, 3) like source, uint8 (rows, W), uint8 (rows, W))
        The first row, the restored rows, their opacity, and their confidence. Opacity is that
        found by the first step; of cloud that it left, what the painted ground tells, too.
        Pixels of opacity up to `repaint_from` are the first step's, bit for bit, but for the rims
        of wide cloud, where those up to .4 of it are, for cloud that was left near by, and for what
        is all white and touches what is hidden, or is near where many such things do, and with
        `shadows` for what was in shadow.
    """
    ground = np.empty(source.shape, source.dtype) if ground is None else ground
    white = white or np.iinfo(source.dtype).max
    parts = _restored(chain, source, white, progress, more, ground, hidden)
    return with_detail(parts, chain.detail, white) if chain.detail else parts


def _restored(chain, source, white, progress, more, ground, hidden):
    opacity, all_white = (np.empty(source.shape[:2], kind) for kind in (np.uint8, bool))
    least = (math.ceil(ALL_WHITE * chain.cloud_white * white),) * 3
    most = (np.iinfo(source.dtype).max,) * 3
    parts = bands(chain.clear, source, white=white, progress=progress)
    for top, made, found in without_fringes(parts, white):
        at = slice(top, top + len(made))
        ground[at], opacity[at] = made, found
        all_white[at] = cv2.inRange(made, least, most) > 0
    share, confidence = chain.share, chain.confidence
    missed = add_white(opacity, is_hidden(opacity, share), all_white)
    cover, fringe = cover_of(opacity, share, chain.repaint_from)
    fringe |= dilated(missed, MISSED_PX)
    del all_white, missed  # a byte a pixel each, while painters need memory
    shade = relight(ground, opacity, white) if chain.shadows else None
    if chain.shadows:
        cover[shade == 255] = 255
    if hidden is not None:  # not before: what a user marked casts no shadows
        opacity[hidden] = cover[hidden] = 255
    hole = hole_of(cover, share, fringe)
    if chain.shadows:
        _mark_lit(chain, cover, shade)
    del fringe, shade  # as above
    join = partial(_join, chain, white, ground, opacity, cover)
    if chain.narrow_px and hole.any():
        hole = _fill_narrow(chain, ground, hole, join)
    inner = eroded(hole, chain.reach_px)
    # The inside of deep holes, which the rings then grow towards.
    _fill_smoothly(ground, hole, inner, 2 * chain.reach_px, join)
    for number in range(1, _MOST_RINGS + 1):  # usually one
        last = number == _MOST_RINGS or not inner.any()
        hole &= ~inner
        ring, hole, inner = hole, None if last else inner, None  # a byte a pixel each
        if more:
            more(sum(tile_counts(chain.paint, source.shape, ring)))
        for top, made, _ in bands(chain.paint, ground, ring, white=white, progress=progress):
            at = slice(top, top + len(made))
            mixed = join(at, made, ring[at])
            if last:
                yield top, mixed, opacity[at], cv2.LUT(cover[at], confidence)
            else:
                ground[at] = mixed
        if last:
            return
        inner = eroded(hole, chain.reach_px)


def _mark_lit(chain, cover, shade):
    """Mark in the cover what got its light back: it is neither the photograph's own nor painted."""
    least, most = np.flatnonzero(~chain.own)[0], np.flatnonzero(chain.share == 0)[-1]
    lit = (shade > 0) & (shade < 255)
    cover[lit] = np.maximum(cover[lit], np.clip(shade[lit], least, max(least, most)))


def _fill_narrow(chain, ground, hole, join):
    """Fill what is narrow of the holes, in place; return the rest."""
    # Half of the way back restores the squares that have room; the other half is what is near.
    wide = dilated(eroded(hole, chain.narrow_px), 2 * chain.narrow_px) & hole
    here = hole & ~wide
    for at, made in narrow_fill(ground, hole, here, chain.narrow_px):
        ground[at] = join(at, made, here[at])
    return wide


def _fill_smoothly(ground, hole, here, context_px, join):
    """Fill the ground where `here`, bool (H, W), by what is no hole up to context_px around."""
    for window in windows(here, context_px=context_px, least_px=1):
        rows, columns = window[:2]
        for strip, made in coarse_fill(Part(ground, rows, columns), hole[rows, columns]):
            at = slice(rows.start + strip.start, rows.start + strip.stop), columns
            ground[at] = join(at, made, here[at])


def _join(chain, white, ground, opacity, cover, at, painted, here):
    """Return the cleared pixels of a place, and where `here`, bool (h, w), painted ones instead.

    As far as their share by the cover, and wherever cloud was left; that is marked in the cover,
    and how opaque it was in the opacity.
    """
    joined, opacity, cover = np.array(ground[at], order="C"), opacity[at], cover[at]
    # By index: colours are taken eight times as fast as by a mask.
    index, flat = np.flatnonzero(here), [part.reshape(-1, 3) for part in (joined, painted)]
    came, made = (part.take(index, axis=0).astype(np.float32) for part in flat)
    found, brighter = cover[here], came - made
    own, painted_share = chain.own[found], chain.share[found]
    left = np.clip((_least(brighter) / white - _LEFT_OF_OWN * own) / _LEFT, 0, 1)
    share = np.maximum(painted_share, left)
    flat[0][index] = np.rint(came - share[:, None] * brighter).astype(joined.dtype)
    # Of what was the photograph's own nothing is, once a trace of the painted ground is in it.
    marked = np.where(own, left > 0, left >= 0.5)
    cover[here] = np.where(marked, 255, found)
    # At least as opaque as white cloud over the painted ground is, beneath what was found.
    rest = marked & (painted_share == 0)
    cloud = np.maximum(chain.cloud_white * white - made[rest], _LEFT * white)
    least = np.clip(_least(brighter[rest] / cloud), 0, 1)
    covered = opacity[here]
    covered[rest] = np.rint(255 - (255 - covered[rest]) * (1 - least))
    opacity[here] = covered
    return joined


def _least(colours):
    """Return the least of each row of (n, 3); NumPy's own `min` takes twenty times as long."""
    return np.minimum(np.minimum(colours[:, 0], colours[:, 1]), colours[:, 2])


def restore_picture(chain, pixels, *, in_place=False, **how):
    """Return a whole picture restored, its opacity and its confidence, as `rows` yields them.

    pixels : uint8 or uint16 (H, W, 3)
    in_place : bool
        Write the result over `pixels` (writeable), which saves the memory of a second picture.
    """
    restored = pixels if in_place else np.empty_like(pixels)
    maps = [np.empty(pixels.shape[:2], np.uint8) for _ in range(2)]
    for top, made, *found in rows(chain, pixels, ground=restored, **how):
        at = slice(top, top + len(made))
        restored[at] = made
        for whole, part in zip(maps, found, strict=True):
            whole[at] = part
    return restored, *maps
