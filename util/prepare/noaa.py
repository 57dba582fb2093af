"""Opacity of cloud from colour infrared: pictures whose colours stand for temperature.

Warm is grey, cold yellow to red, and white lines are borders of countries. The colder a cloud's
top, the thicker it is taken to be.

References
----------
The colours' meaning is that of Yonv1943's CloudRemoval, for NOAA's colour infrared.
"""

import cv2
import numpy as np

from util.pictures.harmonic import harmonic_fill
from util.pictures.pixels import PictureError, luma, with_remedy
from util.pictures.read import read_original
from util.say import UserError

_GREYS = 60, 195  # of green: from clear to where grey ends, and back from yellow to red
_COLOURED = 5  # red is so far above blue where cloud is thick
_LINE, _WHITE = 24, 200  # a line is so much whiter than beside it, and somewhere so bright
_SMEAR_PX = 2  # how far JPEG carries a line's colour
_TABLE_BYTES = 1_000_000
_AT_ONCE = 65_536  # colours compared with a table at once


def opacity_of(pixels, colours=None, line_px=3):
    """Return the opacity that a picture in colour infrared stands for, without its lines.

    Parameters
    ----------
    pixels : uint8 or uint16 (H, W, 3)
    colours : float32 (N, 3), 0..255, optional
        The enhancement table, from clear to opaque [NOAA's].
    line_px : int
        Greatest width of the lines; 0 if there are none.

    Returns
    -------
    float32 (H, W), 0..1
    """
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    opacity = by_noaa(pixels) if colours is None else by_table(pixels, colours)
    if not line_px:
        return opacity
    return harmonic_fill(opacity[..., None], lines_of(pixels, line_px))[..., 0]


def by_noaa(pixels):
    """Return the opacity of NOAA's colours: thin cloud is grey, thick cloud yellow to red.

    In 255ths: thin is green - 60, 0..135; thick, where red - blue >= 5, is 316 - green, 121..255.
    Parameters and result as in `opacity_of`.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.int16), -1, 0)
    low, high = _GREYS
    green = np.clip(green, low, high)
    coloured = red - blue
    # Colour that JPEG has carried over from thick cloud is fainter than there.
    beside = cv2.dilate(coloured, np.ones((2 * _SMEAR_PX + 1,) * 2, np.uint8))
    thick = (coloured >= _COLOURED) & (2 * coloured >= beside)
    values = np.where(thick, low + 256 - green, green - low)
    return np.minimum(values, 255).astype(np.float32) / np.float32(255)


def by_table(pixels, colours):
    """Return the place in a table of the colour that is nearest: 0 the first, 1 the last.

    Parameters and result as in `opacity_of`.
    """
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, place = np.unique(packed, return_inverse=True)
    seen = np.stack([found >> 16, found >> 8 & 255, found & 255], -1).astype(np.float32)
    # The seen colour's own square is the same for all of the table's.
    squares = (colours**2).sum(axis=1)
    parts = np.split(seen, range(_AT_ONCE, len(seen), _AT_ONCE))
    nearest = np.concatenate([(squares - 2 * part @ colours.T).argmin(axis=1) for part in parts])
    return (nearest / np.float32(len(colours) - 1)).astype(np.float32)[place].reshape(packed.shape)


def lines_of(pixels, line_px):
    """Return where thin white lines are, bool (H, W): with a rim that JPEG has smeared.

    A line is no wider than `line_px`, whiter than what is on its sides, and nearly white there or
    close by: where it is drawn in half tones, it is so in places.
    """
    side_px, bright = line_px + 2 * _SMEAR_PX, luma(pixels)
    square = np.ones((side_px, side_px), np.uint8)
    thin = np.ones(bright.shape, bool)
    # Both: a ridge of the table's colours is not brighter, or has no more of the least band.
    for band in (bright, pixels.min(axis=2)):
        thin &= cv2.morphologyEx(band, cv2.MORPH_TOPHAT, square) >= _LINE
    near_white = cv2.dilate((thin & (bright >= _WHITE)).view(np.uint8), square)
    rim = np.ones((2 * _SMEAR_PX + 1,) * 2, np.uint8)
    return cv2.dilate(near_white & thin, rim) > 0


def read_pixels(path, max_pixels):
    """Return what `opacity_of` takes of a file. Raises PictureError."""
    original = read_original(path, max_pixels=max_pixels)
    try:
        return original.picture().over_range()
    except PictureError as error:
        remedy = "save it in 8 bits, or give values such as temperatures to prepare_data.py layers"
        raise PictureError(with_remedy(error.reason, f"{remedy} --limits"), path) from None


def read_table(path):
    """Return the colours of an enhancement table, float32 (N, 3), 0..255, from clear to opaque.

    A text file, a colour a line: red, green and blue, 0..255, with spaces, commas or semicolons
    between; what follows # is a comment.

    Raises
    ------
    UserError
        The file cannot be read, or is no such table; the message names the line.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read(_TABLE_BYTES).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise UserError(f"--table {path}: {reason}; give a text file of colours") from None
    colours = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if not words:
            continue
        try:
            colour = [float(word) for word in words]
        except ValueError:
            colour = []
        if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
            raise UserError(
                f"--table {path}: line {number} must be red, green and blue, 0 to 255: {line:.60}"
            )
        colours.append(colour)
    if len(colours) < 2:
        raise UserError(f"--table {path}: holds {len(colours)} colours; it needs two or more")
    return np.array(colours, np.float32)
