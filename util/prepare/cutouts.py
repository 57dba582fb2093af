"""Cut-outs of real cloud: its light and opacity, from pictures of two dates."""

from pathlib import Path

import cv2
import numpy as np

from util.measure.fit import fitted
from util.pictures.find import partners
from util.pictures.pixels import PictureError, as_float
from util.pictures.read import MAX_PIXELS, read_original
from util.prepare.each import make_each
from util.samples.cutouts import LIGHT, OPACITY
from util.say import UserError, say_first

_ALIKE = 0.06  # of white: where the two dates differ by less there is no cloud
_LEAST, _OPAQUE = 0.04, 0.2  # brighter by so much there is cloud, and nothing beneath it is seen
_SURE = 0.8  # opacity from which on its own light is known
_NEAR_PX, _FAR_PX = 2, 12  # how far that is carried into what is thin, standard deviations


def cut_out(cloudy, clear, ground=None):
    """Return the light and the opacity of the cloud in a picture, known what is beneath it.

    Cloud is what is brighter in all channels than the other date, whose light is first fitted to
    this one's where the two are alike. Laid over that ground it gives the picture again, but for
    thin cloud over bright ground: ``clear (1 - opacity) + light opacity``.

    Parameters
    ----------
    cloudy, clear : float32 (H, W, 3), 0..1
        Of the same place, to the pixel, as near in time as can be.
    ground : bool (H, W), optional
        Where both show ground [everywhere]; elsewhere there is no cloud, whatever they hold.

    Returns
    -------
    light : float32 (H, W, 3), 0..1
        Of thin cloud, and where there is none, that of the thick cloud near by.
    opacity : float32 (H, W), 0..1

    Raises
    ------
    PictureError
        The two are nowhere alike.
    """
    alike = abs((cloudy - clear).min(axis=-1)) < _ALIKE
    if ground is not None:
        alike &= ground
    if not alike.any():
        raise PictureError("the two pictures are nowhere alike; are they of one place?")
    beneath = fitted(clear, cloudy, alike)
    brighter = (cloudy - beneath).min(axis=-1)
    if ground is not None:
        brighter[~ground] = 0  # before it is smoothed, which would carry it over the rim
    brighter = cv2.GaussianBlur(brighter, (0, 0), 0.6)
    opacity = np.clip((brighter - _LEAST) / (_OPAQUE - _LEAST), 0, 1)
    opacity = opacity * opacity * (3 - 2 * opacity)
    if ground is not None:
        opacity[~ground] = 0
    sure = opacity >= _SURE
    light = beneath + (cloudy - beneath) / np.maximum(opacity, _SURE)[..., None]
    return np.where(sure[..., None], np.clip(light, 0, 1), _carried(light, sure)), opacity


def _carried(light, sure):
    """Return light, known where `sure`, for everywhere: that near by, or else further off."""
    weight, mean = sure.astype(np.float32), light[sure].mean(axis=0) if sure.any() else 1.0
    made = np.broadcast_to(np.float32(mean), light.shape)
    for sigma in (_FAR_PX, _NEAR_PX):
        near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
        known = cv2.GaussianBlur(light * weight[..., None], (0, 0), sigma)
        made = np.where(near > 0.02, known / np.maximum(near, 0.02), made)
    return np.clip(made, 0, 1)


def _pixels_of(original, full_scale):
    original.leave_out_border()
    return as_float(original.picture(full_scale).over_range())


def _ground_of(originals):
    """Return where all show ground, bool (H, W); None if they do everywhere."""
    found = [original.ground for original in originals if original.ground is not None]
    return np.logical_and.reduce(found) if found else None


def make_cutouts(cloudy, clear, out, *, overwrite=False, max_pixels=MAX_PIXELS, full_scale=None):
    """Cut the cloud out of each picture of a folder, and say how many; originals stay as they are.

    ``cloudy/a/b.png`` and ``clear/a/b.jpg`` give ``out/light/a/b.png``, 8 bits in colour, and
    ``out/opacity/a/b.png``, grey. What exists is kept, so it goes on where it was stopped. Where
    either shows no ground, or has a black border, there is no cloud.

    Parameters
    ----------
    cloudy, clear, out : str
    overwrite : bool
        Make anew what exists.
    max_pixels, full_scale
        As for `util.pictures.read.read`.

    Returns
    -------
    int
        0, or 1 if there is no cut-out.

    Raises
    ------
    UserError
        A folder is missing or holds no picture, or `out` would write over one or cannot be written.
    """
    try:
        pairs = partners(cloudy, clear)
    except PictureError as error:
        raise UserError(str(error)) from None
    out = Path(out)
    targets = {name: [out / part / f"{name}.png" for part in (LIGHT, OPACITY)] for name in pairs}
    given = {path.resolve() for both in pairs.values() for path in both}
    if any(target.resolve() in given for both in targets.values() for target in both):
        raise UserError(f"--out {out}: would write over the pictures; name another folder")

    dim = []

    def parts_of(name):
        both = [read_original(path, max_pixels=max_pixels) for path in pairs[name]]
        pixels = [_pixels_of(original, full_scale) for original in both]
        if pixels[0].shape != pixels[1].shape:
            raise PictureError("the two pictures differ in size")
        light, opacity = cut_out(*pixels, _ground_of(both))
        # Of the cloudy one: without cloud, ground may well be dark.
        unused = both[0].unused_range(full_scale)
        if not (opacity >= _SURE).any():
            raise PictureError(unused or "no cloud is brighter than the other date")
        if unused:
            dim.append(f"{both[0].path}: {unused}")
        return light, opacity

    found = {name: cloudy for name, (cloudy, _) in pairs.items()}
    status = make_each("cut-outs", found, targets, parts_of, out, overwrite=overwrite)
    say_first(dim)
    return status
