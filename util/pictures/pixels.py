"""What pixels mean: types, scales, bands, and numbers in 0..1."""

from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from util.say import printable

GREY = (0.299, 0.587, 0.114)  # brightness of red, green and blue, ITU-R BT.601


class PictureError(Exception):
    """A picture or folder that cannot be used: one printable line, the file and the reason.

    `reason` is the line without the file's name.
    """

    def __init__(self, reason: object, path: str | Path | None = None) -> None:
        self.reason = printable(reason)
        super().__init__(self.reason if path is None else f"{printable(path)}: {self.reason}")


def with_remedy(reason: str, remedy: str) -> str:
    """Return a reason with this remedy, in place of what it has behind its semicolon.

    Readers name full_scale, which does not help wherever they are used.
    """
    return f"{reason.partition(';')[0]}; {remedy}"


class Picture(NamedTuple):
    """What a file holds, uint8 or uint16 (H, W, 3), and the value that means 1.0 in it."""

    pixels: np.ndarray
    white: float

    def over_range(self) -> np.ndarray:
        """Return pixels whose type's greatest value means 1.0; brighter ones than white become it.

        The same array, not a copy, if that is what they mean already.
        """
        if self.white == top_of(self.pixels.dtype):
            return self.pixels
        return _scale_table(self.white, self.pixels.dtype)[self.pixels]


def checked_scale(full_scale: float | None) -> float | None:
    if full_scale is None:
        return None
    if not isinstance(full_scale, Real) or not 0 < full_scale < np.inf:
        raise ValueError(f"full_scale must be a number above 0 or None, not {full_scale!r}")
    return float(full_scale)


def with_white(
    pixels: np.ndarray, full_scale: float | None, ground: np.ndarray | None = None
) -> Picture:
    """Return pixels of any type and shape as uint8 or uint16, with the value that means 1.0.

    Both types stay as they are, with what `white_of` says; other types are brought to the whole
    range of uint16, by `scale_of`. `ground`, bool (H, W), is where pixels count for it.
    Raises PictureError if their scale is unknown.
    """
    if pixels.dtype == np.uint8:
        return Picture(pixels, white_of(np.uint8, full_scale))
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        # From either byte order.
        return Picture(pixels.astype(np.uint16, copy=False), white_of(np.uint16, full_scale))
    return Picture(scaled(pixels, scale_of(pixels, full_scale, ground)), 65535.0)


def white_of(dtype: np.typing.DTypeLike, full_scale: float | None) -> float:
    """Return the value that means 1.0 in uint8 or uint16: `full_scale`, or the type's greatest.

    In 8 bits it counts from 2 to 255: one setting may serve files of several types, and 10000 is
    meant for reflectance, 1 for floats.
    """
    if full_scale is None or (np.dtype(dtype) == np.uint8 and not 2 <= full_scale <= 255):
        return float(top_of(dtype))
    return full_scale


def scale_of(
    values: np.ndarray, full_scale: float | None, ground: np.ndarray | None = None
) -> float:
    """Return the value that means 1.0 in signed, long or floating values.

    It is 1 for floats within 0..1, and else `full_scale`. Raises PictureError if that is None.
    """
    known = values if ground is None else values[ground]
    known = known[np.isfinite(known)] if values.dtype.kind == "f" else known
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    fraction = values.dtype.kind == "f" and (full_scale is None or full_scale > 1)
    if fraction and low >= 0 and high <= 1:
        return 1.0
    if full_scale is None:
        raise PictureError(
            f"values from {low:g} to {high:g} have no known range; set full_scale to the value "
            "that means full brightness (10000 for reflectance, 1.0 to clip to 0..1)"
        )
    return full_scale


def scaled(values: np.ndarray, scale: float, low: float = 0.0) -> np.ndarray:
    """Return values of any type over the range of uint16, clipped; `low` is black, NaN too.

    scale : float, or (C,) as `low` may be
        How far white is above black.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(np.float32)
        if np.any(low):
            values -= np.float32(low)
        values = np.nan_to_num(values, copy=False, nan=0.0)
        return as_pixels(values / np.float32(scale), np.uint16)


def unscaled(
    pixels: np.ndarray, scale: float, dtype: np.typing.DTypeLike, low: float = 0.0
) -> np.ndarray:
    """Return pixels over the range of uint16 as values of a type, the inverse of `scaled`."""
    values = pixels.astype(np.float64) * (scale / 65535) + low
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


@lru_cache(maxsize=8)
def _scale_table(full_scale: float, dtype: np.dtype) -> np.ndarray:
    """Return the rescaled value of each value of uint8 or uint16, (256,) or (65536,)."""
    return as_pixels(np.arange(top_of(dtype) + 1) / full_scale, dtype)


def three_bands(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        return pixels[..., :3]
    grey = pixels[..., 0] if pixels.ndim == 3 else pixels
    return np.repeat(grey[..., None], 3, axis=2)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the picture as EXIF orientation 1..8 says it is to be seen (TIFF 6.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def as_float(pixels: np.ndarray) -> np.ndarray:
    """Return float32 0..1 from uint8 or uint16 of any shape, by the type's range.

    Raises ValueError for another type.
    """
    return pixels.astype(np.float32) / np.float32(top_of(pixels.dtype))


def as_pixels(picture: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return uint8 or uint16 from float 0..1 of any shape, rounded, values outside clipped.

    Raises ValueError for NaN, or for another type.
    """
    top = top_of(dtype)
    if np.isnan(picture).any():
        raise ValueError("the picture holds NaN, which is no brightness")
    return np.rint(np.clip(picture, 0, 1) * top).astype(dtype)


def plus(pixels: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return pixels, uint8 or uint16 (H, W) or (H, W, C), with a change in float32 added.

    Rounded, and within the type's range; by OpenCV, as NumPy takes five passes for that.
    """
    depth = {np.uint8: cv2.CV_8U, np.uint16: cv2.CV_16U}[pixels.dtype.type]
    return cv2.add(pixels, change, dtype=depth)


def top_of(dtype: np.typing.DTypeLike) -> int:
    if np.dtype(dtype) not in (np.uint8, np.uint16):
        raise ValueError(f"pixels must be uint8 or uint16, not {np.dtype(dtype)}")
    return np.iinfo(dtype).max


def luma(pixels: np.ndarray) -> np.ndarray:
    """Return the brightness (ITU-R BT.601) of RGB (H, W, 3), same type, (H, W)."""
    weights = np.array(GREY, np.float32)
    return np.rint(pixels.astype(np.float32) @ weights).astype(pixels.dtype)
