"""What a file holds, in its own type and with all its bands, and what of it is ground.

A network works on three bands of whole numbers. What it changes is brought back into the file's
own numbers; everything else stays bit for bit.
"""

from functools import cached_property

import cv2
import numpy as np

from util.pictures.border import border_in, is_black, near_border, step_of
from util.pictures.pixels import (
    Picture,
    PictureError,
    as_pixels,
    luma,
    scale_of,
    scaled,
    top_of,
    unscaled,
    upright,
    with_white,
)
from util.pictures.stretch import WHITE_REFLECTANCE

IN_COLOUR = (
    "in colour, where brightness alone counts; save it as grey, or make a cloud layer of it with "
    "prepare_data.py noaa (colour infrared) or prepare_data.py layers (alpha)"
)
NO_GROUND = "nothing of it is ground: all is nodata, transparent or no number"
_SAMPLED_ROWS = 64
_REFLECTANCE = 10_000  # what 1 is stored as
_EVEN = 0.02  # colours that vary by no more of the range are even
# Of a picture in colour more than this share has bands that are further apart, of their range.
_COLOURED_SHARE, _TINT = 0.001, 0.08
_AT_ONCE = 4_194_304  # values brought back at once
# What is no ground is filled so many rows at once, from ground no further than that from them.
_FILLED_ROWS, _FILLED_FROM_PX = 512, 256
# An alpha channel of which more than this share, in more than so many steps, lies in between is
# some other band, such as infra-red, or a soft layer.
_MIDDLE_SHARE, _MIDDLE_STEPS = 0.1, 32


class Original:
    """Hold the (first) picture of a file as it is stored.

    Parameters
    ----------
    values : array (H, W, B), writeable
        Of any type; the first three bands are red, green and blue.
    orientation : int
        1..8, as EXIF has it: how the stored picture is to be turned.
    alpha : int, optional
        The band that says how opaque a pixel is.
    nodata : float, optional
        The value of pixels that are no ground.

    Attributes
    ----------
    path : Path or None
        What errors call it.
    mask : bool (H, W) or None
        As stored, and where there is ground, besides what the values say.
    border : bool (H, W) or None
        As stored, what `leave_out_border` found.
    """

    def __init__(self, values, orientation=1, alpha=None, nodata=None):
        self.path, self.values, self.orientation = None, values, orientation
        self.mask, self.border = None, None
        self.alpha, self.nodata = alpha, in_type(nodata, values.dtype)

    @cached_property
    def ground(self):
        """Where the picture shows ground, upright, bool (H, W); None if it does everywhere.

        Not where the mask says so, nor where alpha is 0, unless alpha is no mask, nor at a border
        that is left out; else as `tells_ground` says.
        """
        colours = self.values[..., :3]
        found = tells_ground(colours, self.nodata)
        if self.opaque is not None and not is_no_mask(self.opaque):
            found.append(self.values[..., self.alpha] != 0)
        if self.mask is not None:
            found.append(self.mask)
        if self.border is not None:
            found.append(~self.border)
        ground = np.logical_and.reduce(found) if found else None
        return None if ground is None or ground.all() else self._upright(ground)

    def leave_out_border(self):
        """From now on take a black border that no tag tells of for no ground either."""
        black = is_black(self.values[..., :3])
        step = step_of(*black.shape)
        border = border_in(np.ascontiguousarray(black[::step, ::step]), step)
        if border is not None:
            whole = slice(None)
            self.border = black & near_border(border, black.shape, whole, whole)
            self.__dict__.pop("ground", None)

    @cached_property
    def opaque(self):
        """How opaque each pixel is, as stored, uint8 (H, W); None."""
        if self.alpha is None:
            return None
        return as_opaque(self.values[..., self.alpha])

    def picture(self, full_scale=None):
        """Return the three bands upright as a `util.pictures.pixels.Picture`.

        Errors as `util.pictures.pixels.with_white`. The pixels are the values themselves where
        these have that type and order already.
        """
        try:
            pixels, white = with_white(self._colours(), full_scale, self.ground)
        except PictureError as error:
            raise PictureError(error.reason, self.path) from None
        return Picture(np.require(pixels, requirements="CW"), white)

    def fill(self, pixels, hole=None):
        """Return pixels of `picture` in which what is no ground is filled from the nearest ground.

        `hole`, bool (H, W), is where the picture is missing besides. Without such pixels they are
        returned themselves. Raises PictureError if nothing is ground.
        """
        if self.ground is None:
            return pixels
        known = self.ground if hole is None else self.ground & ~hole
        if not known.any():
            raise PictureError(NO_GROUND, self.path)
        return filled(pixels, known)

    def unused_range(self, full_scale=None):
        """Return what to do about values that use little of their type's range, None if not so."""
        kind = self.values.dtype.kind
        if full_scale or self.values.dtype == np.uint8 or kind not in "uf":
            return None
        step = max(1, len(self.values) // _SAMPLED_ROWS)
        values = self._colours()[::step]
        if self.ground is not None:
            values = values[self.ground[::step]]
        return hint_of_range(values) if values.size else None

    def take(self, restored, full_scale=None, hole=None):
        """Bring what was restored back into the values.

        Parameters
        ----------
        restored : uint8 or uint16 (H, W, 3)
            Made of `picture` with the same `full_scale`. Values whose pixels did not change stay.
        full_scale : float, optional
        hole : bool (H, W), optional
            Where the picture was missing: there it is all new, and opaque.
        """
        ground = self.ground if hole is None or self.ground is None else self.ground | hole
        target = self._colours()
        same_type = target.dtype == restored.dtype
        scale = None if same_type else scale_of(target, full_scale, self.ground)
        step = max(1, _AT_ONCE // (3 * target.shape[1]))
        # Restored in place, they are the values already.
        for top in (
            [] if np.may_share_memory(restored, self.values) else range(0, len(target), step)
        ):
            at = slice(top, top + step)
            came = target[at] if same_type else scaled(target[at], scale)
            changed = restored[at] != came
            if ground is not None:
                changed &= ground[at][..., None]
            if hole is not None:
                changed |= hole[at][..., None]
            made = restored[at] if same_type else unscaled(restored[at], scale, target.dtype)
            np.copyto(target[at], made, where=changed)
        if self.nodata is not None:
            self._off_nodata(target, ground)
        if hole is not None and self.alpha is not None:
            alpha = self._upright(self.values[..., self.alpha])
            alpha[hole] = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
        if hole is not None and self.mask is not None:
            self._upright(self.mask)[hole] = True

    def _off_nodata(self, target, ground):
        """Move by one what was made and has the value of nodata by accident."""
        same = (target == self.nodata).all(axis=-1)
        if ground is not None:
            same &= ground
        if same.any():
            whole = target.dtype.kind in "iu"
            down = self.nodata >= (np.iinfo(target.dtype).max if whole else 1)
            step = 1 if whole else 1 / 65535
            target[same] = self.nodata - step if down else self.nodata + step

    def upright(self):
        """Return the values as they are to be seen, contiguous."""
        return np.ascontiguousarray(self._upright(self.values))

    def _colours(self):
        return self._upright(self.values[..., :3])

    def _upright(self, array):
        return upright(array, self.orientation)


def tells_ground(colours, nodata):
    """Return a list of bool (H, W): where all are True, values (H, W, 3) are ground.

    Not where a value is no number, nor where it is nodata, of the values' type or None: in all
    three bands, since one that is 0 is dark, but in any band if nodata cannot be a brightness.
    """
    found = []
    if colours.dtype.kind == "f":
        found += [np.isfinite(colours[..., band]) for band in range(3)]
    if nodata is not None:
        bands = [colours[..., band] != nodata for band in range(3)]
        found += bands if not 0 <= nodata <= 65535 else [np.logical_or.reduce(bands)]
    return found


def in_type(nodata, dtype):
    """Return the value that nodata is in pixels of a type, None if these cannot have it."""
    if nodata is None or dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(np.array(nodata).astype(dtype))
    limits = np.iinfo(dtype)
    return int(nodata) if limits.min <= nodata <= limits.max and nodata % 1 == 0 else None


def hint_of_range(values):
    """Return what to do if uint16, or floats over 0..1, use little of their range; else None."""
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    greatest = float(np.percentile(values, 99.9))
    if not 0 < greatest < top / 4:
        return None
    digit = 10.0 ** np.floor(np.log10(greatest))
    usual = (
        np.ceil(greatest / digit) * digit
        if top == 1
        else min(n for n in (255, 1023, 2047, 4095, _REFLECTANCE, 16_384) if n >= greatest)
    )
    white = f"{usual:g}"
    if usual == _REFLECTANCE:
        white += f", or {WHITE_REFLECTANCE * usual:g} if it is reflectance, where cloud is white"
    return (
        f"its values reach {greatest:g} of {top:g}, so it passes for nearly black; "
        f"set full_scale to the value that means white, perhaps {white}"
    )


def as_opaque(alpha):
    """Return an alpha channel (H, W) of any type as uint8, of 16 bits the upper 8."""
    if alpha.dtype.kind == "u":
        return (alpha >> 8 * (alpha.dtype.itemsize - 1)).astype(np.uint8)
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "i" else 1
    return as_pixels(np.nan_to_num(alpha) / top, np.uint8)


def is_no_mask(opaque):
    """Tell whether an alpha channel, uint8 (H, W), has too many middle values for a mask."""
    counts = np.bincount(opaque.ravel(), minlength=256)[8:248]
    return counts.sum() > _MIDDLE_SHARE * opaque.size and np.count_nonzero(counts) > _MIDDLE_STEPS


def brightness(original, pixels):
    """Return the brightness of a grey picture (H, W), of pixels' type; of a layer as over black.

    Where a layer's colours are even its alpha alone says something.

    Parameters
    ----------
    original : Original
    pixels : uint8 or uint16 (H, W, 3)
        Its picture, over the range of the type.

    Raises
    ------
    PictureError
        It is in colour.
    """
    grey, opaque = luma(pixels), original.opaque
    if opaque is not None and opaque.min() < 255:
        opaque = upright(opaque, original.orientation)
        seen = grey[opaque > 0]
        if not seen.size or np.ptp(seen) <= _EVEN * top_of(grey.dtype):
            return np.ascontiguousarray(opaque)
        grey = np.rint(grey * (opaque / np.float32(255))).astype(grey.dtype)
    if is_coloured(pixels):
        raise PictureError(IN_COLOUR, original.path)
    return grey


def is_coloured(pixels):
    """Tell whether pixels (H, W, 3) are more than a grey picture, tinted or saved as a JPEG."""
    coloured = pixels.max(axis=2) - pixels.min(axis=2) > _TINT * top_of(pixels.dtype)
    return coloured.mean() > _COLOURED_SHARE


def filled(pixels, ground):
    """Return pixels (H, W, C) in which those that are no ground mirror it at its nearest place.

    Where ground does not go on for as long they have the value of that place. Those that are
    further from any than networks see may stay as they are.

    ground : bool (H, W), True somewhere
    """
    result, height = pixels.copy(), len(pixels)
    for top in range(0, height, _FILLED_ROWS):
        start, end = max(0, top - _FILLED_FROM_PX), min(height, top + _FILLED_ROWS)
        at = slice(start, min(height, end + _FILLED_FROM_PX))
        here = np.zeros_like(ground[at])
        here[top - start : end - start] = ~ground[top:end]
        if here.any() and ground[at].any():
            result[at][here] = _mirrored(pixels[at], ground[at], here)
    return result


def _mirrored(pixels, ground, here):
    """Return the values (N, C) of `filled` where `here`, bool (H, W)."""
    how = {"distanceType": cv2.DIST_L2, "maskSize": 5, "labelType": cv2.DIST_LABEL_PIXEL}
    _, label = cv2.distanceTransformWithLabels((~ground).view(np.uint8), **how)
    place = np.empty(label.max() + 1, np.int32)  # of the ground that has a label
    place[label[ground]] = np.flatnonzero(ground)
    nearest, own = place[label[here]], np.flatnonzero(here).astype(np.int32)
    (height, width), flat = ground.shape, pixels.reshape(-1, pixels.shape[2])
    y = np.clip(2 * (nearest // width) - own // width, 0, height - 1)
    x = np.clip(2 * (nearest % width) - own % width, 0, width - 1)
    mirrored = y * width + x
    return flat[np.where(ground.ravel()[mirrored], mirrored, nearest)]
