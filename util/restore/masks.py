"""Find out where a picture is missing: by a mask file, its transparent pixels, or a colour."""

from pathlib import Path

import cv2
import numpy as np

from util.pictures.find import by_stem
from util.pictures.original import is_no_mask
from util.pictures.pixels import PictureError
from util.pictures.read import MAX_PIXELS, read_alpha, read_picture
from util.say import UserError

_COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255)}


class Holes:
    """Find the hole of one picture after another, from what the user said about all of them.

    Parameters
    ----------
    place : str, optional
        A folder of masks that have the pictures' names, sub-folders included, or one mask for
        all. Then nothing else tells a hole.
    colour : str
        See `colour_of`: what is missing in a picture without transparent pixels.
    margin_px : int
        By how much every hole grows.
    max_pixels : int

    Attributes
    ----------
    files : set of Path
        The masks, resolved.

    Raises
    ------
    UserError
        `place` cannot be read, or `colour` is none.
    """

    def __init__(self, place=None, *, colour="none", margin_px=0, max_pixels=MAX_PIXELS):
        try:
            self._colour = colour_of(colour)
        except ValueError as error:
            raise UserError(f"hole_colour = {error}") from None
        self._place = Path(place) if place else None
        self._margin_px, self._max_pixels = margin_px, max_pixels
        self._masks = {}
        if place:
            try:
                self._masks = by_stem(self._place)
            except PictureError as error:
                raise UserError(f"--holes {error}") from None
        self.files = {mask.resolve() for mask in self._masks.values()}

    def find(self, path, stem, pixels, *, full_scale=None):
        """Return the hole of a picture, bool (H, W), True where it is missing.

        Parameters
        ----------
        path : Path
            The picture's file.
        stem : str
            Its path within its folder, without the suffix: the name of its mask.
        pixels : uint8 or uint16 (H, W, 3)
            What is in the file.
        full_scale : float, optional
            The pixel value that means 1.0, where that is not the type's greatest.

        Raises
        ------
        PictureError
            Nothing tells the hole, or its mask does not fit, or nothing would be left.
        """
        hole = self._found(path, stem, pixels, full_scale)
        if hole.shape != pixels.shape[:2]:
            raise PictureError(
                f"its mask has {hole.shape[1]} x {hole.shape[0]} pixels, the picture "
                f"{pixels.shape[1]} x {pixels.shape[0]}",
                path,
            )
        hole = grow(hole, self._margin_px)
        if hole.all():
            raise PictureError("all of it is missing; nothing is left to go by", path)
        return hole

    def _found(self, path, stem, pixels, full_scale):
        if self._place:
            mask = self._place if self._place.is_file() else self._masks.get(stem)
            if mask is None:
                raise PictureError(f"no mask {stem}.* in {self._place}", path)
            return read_mask(mask, max_pixels=self._max_pixels)
        alpha = read_alpha(path, max_pixels=self._max_pixels)
        no_mask = alpha is not None and is_no_mask(alpha)
        # Many programs write an alpha channel that says nothing.
        if alpha is not None and not no_mask and (self._colour is None or alpha.min() < 128):
            return alpha < 128
        if no_mask and self._colour is None:
            raise PictureError(
                "its alpha has many middle values and so is no mask; name a folder of masks with "
                "--holes, or set hole_colour",
                path,
            )
        if self._colour is None:
            raise PictureError(
                "where it is missing is not known: name a folder of masks with --holes, save the "
                "picture with transparent pixels, or set hole_colour to black, white or r,g,b",
                path,
            )
        return of_colour(pixels, self._colour, full_scale=full_scale)


def colour_of(text):
    """Return the colour that a text means, (r, g, b) of 0..255, or None for "none".

    "none", "black", "white" or three numbers such as "255,0,255". Raises ValueError for another.
    """
    text = text.strip().lower()
    if text == "none":
        return None
    if text in _COLOURS:
        return _COLOURS[text]
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and all(part.isdecimal() and int(part) <= 255 for part in parts):
        return tuple(map(int, parts))
    raise ValueError(f"{text}: must be none, black, white or r,g,b with numbers from 0 to 255")


def read_mask(path, *, max_pixels=MAX_PIXELS):
    """Return a mask file as bool (H, W): True where it is white, half of the range or more.

    Raises PictureError, as `util.pictures.read.read_picture`; also for a mask that has values, but
    none so great, as the numbers 0 and 1 in 8 bits: it would pass for one without holes.
    """
    pixels = read_picture(path, max_pixels=max_pixels)
    half = np.iinfo(pixels.dtype).max // 2 + 1
    brightest = pixels.max(axis=-1)
    missing = brightest >= half
    if not missing.any() and brightest.any():
        raise PictureError(
            f"its greatest value is {brightest.max()}; white, which means missing, is "
            f"{np.iinfo(pixels.dtype).max}",
            path,
        )
    return missing


def of_colour(pixels, colour, *, full_scale=None):
    """Return where pixels have exactly a colour, bool (H, W).

    Parameters
    ----------
    pixels : uint8 or uint16 (H, W, 3)
    colour : (int, int, int)
        Of 0..255; 255 means the type's greatest value, or `full_scale`.
    full_scale : float, optional
    """
    top = full_scale or np.iinfo(pixels.dtype).max
    # Channel by channel: all three at once would take the memory of another picture.
    same = np.ones(pixels.shape[:2], bool)
    for channel, value in enumerate(colour):
        same &= pixels[..., channel] == round(value * top / 255)
    return same


def grow(hole, margin_px):
    """Return a hole, bool (H, W), with every pixel whose centre lies within `margin_px` of it."""
    if margin_px < 1 or not hole.any():
        return hole
    rows, columns = np.mgrid[-margin_px : margin_px + 1, -margin_px : margin_px + 1]
    disc = (rows**2 + columns**2 <= margin_px**2).astype(np.uint8)
    return cv2.dilate(hole.view(np.uint8), disc).view(bool)
