"""Restore the whole of a picture: every pixel, or those alone that cloud touches."""

from functools import partial

import cv2
import numpy as np

from util.pictures.lab import keep_lightness
from util.pictures.pixels import as_pixels, plus
from util.restore import by_rows, tiles
from util.task import Kind

_PIXELS = 32_768  # finished at once: few enough to stay in the processor's cache


# --- how rows are finished ----------------------------------------------------------------------


def every_row(came, found, settings, white):
    """Return what the network made of every pixel, and no opacity.

    Parameters
    ----------
    came : uint8 or uint16 (h, W, 3)
        Rows of the picture.
    found : dict name -> float32 (h, W, C), 0..1
        What the network found there: what the kind names.
    settings : the script's settings
    white : float
        The pixel value that means 1.0.

    Returns
    -------
    (array like came, uint8 (h, W) or None)
        The restored rows, and their opacity from a network that finds it.

    Raises
    ------
    ValueError
        The network found NaN.
    """
    made = made_pixels(found["restored"], came.dtype, white)
    # To a network all that is brighter than white is white: what it left so has come out as it is.
    np.copyto(made, came, where=(came > white) & (made == np.rint(white)))
    return made, None


def clear_kept(came, found, settings, white):
    """Return the rows with what no cloud touches as it came, and the opacity; as `every_row`."""
    opacity = found["found_opacity"][..., 0]
    kept = keep_clear(
        came, found["restored"], opacity, clear_below=settings.clear_below, white=white
    )
    return kept, as_pixels(opacity, np.uint8)


def lightness_kept(came, found, settings, white):
    """Return the colours that the network found in the lightness of what came; as `every_row`."""
    made = made_pixels(found["restored"], came.dtype, white)
    return keep_lightness(came, made, white), None


def keep_clear(pixels, ground, opacity, *, clear_below, white):
    """Return the ground as pixels, with those pixels kept that no cloud touches.

    Parameters
    ----------
    pixels : uint8 or uint16 (H, W, 3)
        As they came in.
    ground : float32 (H, W, 3), 0..1
        What the network made.
    opacity : float32 (H, W), 0..1
        Below `clear_below` the result is `pixels`, bit for bit; from twice that on it is `ground`;
        in between one fades into the other, so that no edge shows.
    clear_below : float
    white : float
        The pixel value that means 1.0.

    Raises
    ------
    ValueError
        `ground` or `opacity` holds NaN.
    """
    _check_sound(ground, opacity)
    share = np.clip(opacity / clear_below - 1, 0, 1) if clear_below else np.ones_like(opacity)
    # Where nothing is added a pixel stays to the bit. NumPy takes two and a half times as long.
    change = cv2.addWeighted(ground, white, pixels, -1, 0, dtype=cv2.CV_32F)
    return plus(pixels, cv2.multiply(change, cv2.merge([share] * 3)))


def made_pixels(ground, dtype, white):
    """Return what a network made, float 0..1, as pixels; ValueError for NaN."""
    _check_sound(ground)
    made = np.clip(ground, 0, 1)
    made *= np.float32(white)
    return np.rint(made, out=made).astype(dtype)


def _check_sound(*arrays):
    if any(np.isnan(array).any() for array in arrays):
        raise ValueError("the network returned NaN; its weights are not sound")


# --- the picture --------------------------------------------------------------------------------


def rows(trained, source, hole=None, *, white, progress=None, finish=every_row):
    """Yield the finished rows of a picture; see `util.restore.bands.bands`.

    finish : callable
        ``finish(came, found, settings, white) -> (restored, opacity)``; see `every_row`.
    """
    width = source.shape[1]
    at_once = max(1, _PIXELS // width)
    for top, band in _bands(trained, source, white=white, progress=progress):
        came = np.asarray(source[top : top + len(band["restored"]), 0:width])
        for start in range(0, len(came), at_once):
            part = slice(start, start + at_once)
            found = {name: values[part] for name, values in band.items()}
            yield top + start, *finish(came[part], found, trained.settings, white)


def _bands(trained, source, **how):
    if at_once := by_rows.rows_at_once(trained, source.shape):
        return by_rows.bands(trained, source, at_once, **how)
    (name,) = trained.task.kind.given
    how |= tiles.tiling(trained.settings)
    return tiles.bands(partial(_found, trained), {name: source}, **how)


def complete(trained, sample):
    """Return what is found in a sample, float32 (H, W, C), 0..1, of any size: dict name -> it."""
    batch = {name: sample[name] for name in trained.task.kind.given}
    return tiles.run(partial(_found, trained), batch, **tiles.tiling(trained.settings))


def _found(trained, batch):
    found = trained.restore(batch)
    return {name: found[name] for name in trained.task.kind.found}


def every_pixel(damaged):
    """Return the Kind of a network that is given a picture and restores every pixel of it."""
    return Kind(given={damaged: 3}, found={"restored": 3}, rows=rows, complete=complete)


# The network finds opacity besides: what no cloud touches comes out bit for bit as it went in.
CLOUD = Kind(
    given={"cloudy": 3},
    found={"restored": 3, "found_opacity": 1},
    rows=partial(rows, finish=clear_kept),
    complete=complete,
)

# The network is given a grey picture and finds its colours; the lightness is the picture's own.
COLOUR = Kind(
    given={"grey": 3},
    found={"restored": 3},
    rows=partial(rows, finish=lightness_kept),
    complete=complete,
)
