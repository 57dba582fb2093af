"""Find out where a picture is missing: by a mask file, its transparent pixels, or a colour."""

from pathlib import Path

import cv2
import numpy as np

from util.pictures.find import base_of, find_pictures, stem_of
from util.pictures.original import is_no_mask
from util.pictures.pixels import PictureError, upright
from util.pictures.read import MAX_PIXELS, read_alpha, read_original
from util.say import UserError, say

_OPACITY = "_opacity"  # what apply writes
_ENDS = ("_mask", _OPACITY)
_COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255)}


class Holes:
    """Find the hole of one picture after another, from what the user said about all of them.

    Parameters
    ----------
    place : str, optional
        A folder of masks, sub-folders included, or one mask for all. Of ``a.png`` the mask is
        ``a_mask.*``, ``a_opacity.*`` or ``a.*``; it may lie beside the pictures. Then nothing else
        tells a hole.
    colour : str
        See `colour_of`: what is missing in a picture without transparent pixels.
    margin_px : int
        By how much every hole grows.
    opacity_from : float, 0..1
        Where cloud is so opaque the picture is missing, in a mask ``a_opacity.*``.
    max_pixels : int

    Attributes
    ----------
    files : set of Path
        All that lies in `place`, resolved.

    Raises
    ------
    UserError
        `place` cannot be read or is a file that is no mask, or `colour` is none.
    """

    def __init__(
        self, place=None, *, colour="none", margin_px=0, opacity_from=0.75, max_pixels=MAX_PIXELS
    ):
        try:
            self._colour = colour_of(colour)
        except ValueError as error:
            raise UserError(f"hole_colour = {error}") from None
        self._place = Path(place) if place else None
        self._margin_px, self._max_pixels = margin_px, max_pixels
        self._opacity_from, self._said = opacity_from, False
        self._masks = {}
        if place:
            try:
                for path in find_pictures(self._place):
                    self._masks.setdefault(stem_of(path, self._place), []).append(path)
                if self._place.is_file():
                    self._read(self._place)  # it would be refused of each picture
            except PictureError as error:
                raise UserError(f"--holes {error}") from None
        self.files = {mask.resolve() for masks in self._masks.values() for mask in masks}

    def masks_within(self, source):
        """Return the files, resolved, among the pictures of a source that are masks.

        Where the masks lie in a folder of their own, all of them are; beside the pictures, those
        that have the name of a picture's mask.
        """
        if self._place is None or self._place.is_file():
            return self.files
        source, place = base_of(source).resolve(), self._place.resolve()
        if place != source and place not in source.parents:
            return self.files
        told = set()
        for stem, paths in self._masks.items():
            masks = [mask for end in _ENDS for mask in self._masks.get(stem + end, ())]
            sharp = [path for path in paths if path.suffix.lower() not in (".jpg", ".jpeg")]
            # Of two with one name the one that JPEG has blurred is the picture.
            told |= set(masks or (sharp if len(sharp) < len(paths) else ()))
        return {mask.resolve() for mask in told}

    def _mask_of(self, path, stem):
        """Return the mask of a picture in the folder of masks, None if there is none."""
        if self._place.is_file():
            return self._place
        named = [mask for end in (*_ENDS, "") for mask in self._masks.get(stem + end, ())]
        return next((mask for mask in named if mask.resolve() != path.resolve()), None)

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

    def _read(self, mask):
        if not mask.stem.endswith(_OPACITY):
            return read_mask(mask, max_pixels=self._max_pixels)
        if not self._said:
            say(
                f"{mask}: missing is where its opacity is hole_opacity_from = "
                f"{self._opacity_from:g} or more; so for all {_OPACITY[1:]} masks"
            )
            self._said = True
        return read_mask(mask, max_pixels=self._max_pixels, white_from=self._opacity_from)

    def _found(self, path, stem, pixels, full_scale):
        if self._place:
            mask = self._mask_of(path, stem)
            if mask is None:
                raise PictureError(f"no mask {stem}.* in {self._place}, nor {stem}_mask.*", path)
            try:
                return self._read(mask)
            except PictureError as error:
                raise PictureError(f"its mask {error}", path) from None
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


def read_mask(path, *, max_pixels=MAX_PIXELS, white_from=None):
    """Return a mask file as bool (H, W): True where it is white, and opaque if it has alpha.

    White is from half of the range on, or from `white_from`, 0..1, for a mask that need not have
    any. Raises PictureError, as `util.pictures.read.read_picture`; also for a mask that has values,
    but none so great, as the numbers 0 and 1 in 8 bits: it would pass for one without holes; and
    for one that is transparent in part and has colours elsewhere: is that the hole, or around it?
    """
    original = read_original(path, max_pixels=max_pixels)
    pixels = original.picture().over_range()
    top = np.iinfo(pixels.dtype).max
    brightest = pixels.max(axis=-1)
    missing = brightest >= (top // 2 + 1 if white_from is None else white_from * top)
    if original.opaque is not None and original.opaque.min() < 128:
        shown = upright(original.opaque, original.orientation) >= 128
        if (pixels[shown] != pixels[shown][..., :1]).any() or not (missing & shown).any():
            raise PictureError(
                "what its transparent pixels mean is not clear; save it without alpha, white "
                "where the picture is missing",
                path,
            )
        missing &= shown
    elif white_from is None and not missing.any() and brightest.any():
        raise PictureError(
            f"its greatest value is {brightest.max()}; white, which means missing, is {top}", path
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
