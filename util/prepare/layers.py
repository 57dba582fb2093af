"""Cloud layers: grey pictures whose brightness is opacity, made of what people have."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from util.pictures.find import by_stem
from util.pictures.original import brightness, is_coloured, is_no_mask
from util.pictures.pixels import PictureError, as_float, upright, with_remedy
from util.pictures.read import read_original
from util.prepare.each import make_each
from util.samples.clouds import stretch
from util.say import UserError

_LIMITS = "give --limits, the values of no cloud and of opaque cloud"
_NO_LAYER = (
    "in colour, where brightness alone counts; if it is colour infrared, use prepare_data.py noaa; "
    "else save it as grey, or give --limits, which takes its first band"
)


class Finish(NamedTuple):
    """What is done to opacity before it is written.

    bottom_px : int
        Rows cut off at the bottom, such as a caption.
    half : bool
        Half the size.
    blur_px : int
        Side of a box that it is smoothed with; 0 or 1 for none.
    stretched : bool
        From its least to its greatest value.
    """

    bottom_px: int = 0
    half: bool = False
    blur_px: int = 0
    stretched: bool = False

    def __call__(self, opacity):
        """Return opacity, float32 (H, W), 0..1, finished; raise PictureError if nothing is left."""
        opacity = opacity[: max(0, len(opacity) - self.bottom_px)]
        if min(opacity.shape) < 1 + self.half:
            raise PictureError("nothing of it is left to make a layer of")
        if self.half:
            height, width = opacity.shape
            opacity = cv2.resize(opacity, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        if self.blur_px > 1:
            opacity = cv2.blur(opacity, (self.blur_px, self.blur_px))
        return stretch(opacity) if self.stretched else opacity


def make_layers(folder, out, opacity_of, finish, *, overwrite=False):
    """Make a grey PNG of each picture of a folder, and say how many; originals stay as they are.

    Layers that exist are kept, so it goes on where it was stopped.

    Parameters
    ----------
    folder, out : str
        ``folder/a/b.jpg`` becomes ``out/a/b.png``.
    opacity_of : callable
        ``opacity_of(path) -> float32 (H, W)``, 0..1; raises PictureError.
    finish : Finish
    overwrite : bool
        Make layers anew that exist.

    Returns
    -------
    int
        0, or 1 if there is no layer.

    Raises
    ------
    UserError
        `folder` is missing or holds no picture, or `out` is the same or cannot be written.
    """
    source, out = Path(folder), Path(out)
    target = out.resolve()
    if source.resolve() == target:
        raise UserError(f"--out {out}: is the folder of the pictures; name another folder")
    try:
        found = by_stem(source)
    except PictureError as error:
        raise UserError(str(error)) from None
    # What an earlier start made is no original, even where `out` lies within the folder.
    found = {s: path for s, path in found.items() if target not in path.resolve().parents}
    if not found:
        raise UserError(f"{source}: no picture found; give the folder that has them")
    targets = {stem: [out / f"{stem}.png"] for stem in found}

    def parts_of(stem):
        return [finish(opacity_of(found[stem]))]

    return make_each("layers", found, targets, parts_of, out, overwrite=overwrite)


def opacity_of_layer(path, *, limits=None, max_pixels, dim=None):
    """Return the opacity that a picture of any kind holds.

    With `limits` it is the first band between them; else alpha alone if that varies and is no mere
    mask, or the picture is in colour; else what brightness says.

    Parameters
    ----------
    path : Path
    limits : (float, float), optional
        Values of no cloud and of opaque cloud, in the file's own numbers; the second may be less,
        as cold cloud is.
    max_pixels : int
    dim : list, optional
        Gets a line if brightness counts and uses little of its range.

    Returns
    -------
    float32 (H, W), 0..1
        0 where the picture holds nothing (nodata, alpha 0, no number).

    Raises
    ------
    PictureError
        It cannot be read, or no opacity can be told from it.
    """
    original = read_original(path, max_pixels=max_pixels)
    if limits is None:
        opacity = as_float(_without_limits(original, [] if dim is None else dim))
    else:
        low, high = limits
        values = upright(original.values[..., 0], original.orientation).astype(np.float32)
        opacity = np.clip((np.nan_to_num(values, nan=low) - low) / np.float32(high - low), 0, 1)
    return opacity if original.ground is None else opacity * original.ground


def _without_limits(original, dim):
    try:
        pixels = original.picture().over_range()
    except PictureError as error:
        raise PictureError(with_remedy(error.reason, _LIMITS)) from None
    alpha = original.opaque
    if alpha is not None and np.ptp(alpha) and (is_no_mask(alpha) or is_coloured(pixels)):
        return np.ascontiguousarray(upright(alpha, original.orientation))
    if unused := original.unused_range():
        dim.append(f"{original.path}: {with_remedy(unused, _LIMITS)}")
    try:
        return brightness(original, pixels)
    except PictureError as error:
        raise PictureError(_NO_LAYER, original.path) from error
