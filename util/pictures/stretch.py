"""What a scene's numbers mean: which is black, which is white, and there and back."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from util.pictures.pixels import scale_of, scaled, unscaled, white_of

_PERCENTILES = (0.5, 99.5)
# Cloud reflects .3 to 1 of the light, and ground so little that with 1 for white networks that
# learned from pictures to be seen find next to none of it (docs/results.md).
WHITE_REFLECTANCE = 0.65
_AT_ONCE = 1_000_000  # pixels brought to their range at once


class Stretch(NamedTuple):
    """What the file's numbers mean; `low` and `high` may be float (3,), one a band.

    low, high : float
        What is black, what is white.
    source : str
        Where that is from.
    """

    low: float | np.ndarray
    high: float | np.ndarray
    source: str

    def __str__(self) -> str:
        pair = (" ".join(f"{n:.9g}" for n in np.unique(end)) for end in (self.low, self.high))
        return f"{' to '.join(pair)} ({self.source})"

    @property
    def step(self) -> float:
        """The least step of 16 bits, in the file's numbers."""
        return float(np.min(self.high - self.low)) / 65535

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Return values (h, w, 3) as pixels; those of 8 bits are pixels as they are."""
        if self is BITS_8:
            return values
        result = np.empty(values.shape, np.uint16)
        step = max(1, _AT_ONCE // values.shape[1])
        for top in range(0, len(values), step):
            at = slice(top, top + step)
            result[at] = scaled(values[at], self.high - self.low, self.low)
        return result

    def values(self, pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return pixels (h, w, 3) as values of a type, the inverse of `pixels`."""
        if self is BITS_8:
            return pixels.copy()
        return unscaled(pixels, self.high - self.low, dtype, self.low)


BITS_8 = Stretch(0.0, 255.0, "8 bits")


def stretch_of(
    dtype: np.dtype,
    scales: np.ndarray,
    offsets: np.ndarray,
    full_scale: float | None,
    sample: Callable[[], np.ndarray],
) -> Stretch | None:
    """Return what values mean, so that cloud is near white; None if the sample is empty.

    What the file says itself, then `full_scale`, then the type of 8 bits, then percentiles: one
    pair for all bands, which keeps their colour.

    Parameters
    ----------
    dtype : dtype
        Of the values.
    scales, offsets : float (3,)
        Value * scale + offset is what the file says that a value means.
    full_scale : float, optional
        What means white; as in `util.pictures.pixels`, `white_of` and `scale_of`.
    sample : callable
        Returns values of ground, (N, 3).

    Raises
    ------
    PictureError
        As `scale_of`.
    """
    if (scales > 0).all() and (np.any(scales != 1) or np.any(offsets)):
        low, full, white = (((n - offsets) / scales) for n in (0, 1, WHITE_REFLECTANCE))
        known = sample()
        # Scales to another unit, degrees or decibels, leave the middle outside of 0..1.
        middle = np.median(known, axis=0) if len(known) else low
        if ((low <= middle) & (middle <= full)).all():
            return Stretch(low, white, "the file's scales")
    if dtype == np.uint8 and white_of(dtype, full_scale) == BITS_8.high:
        return BITS_8
    known = np.zeros(0, dtype) if full_scale and dtype.kind != "f" else sample()
    if full_scale:
        return Stretch(0.0, scale_of(known, full_scale), "full_scale")
    if not len(known):
        return None
    low, high = (float(end) for end in np.percentile(known, _PERCENTILES))
    if dtype.kind in "iu":
        low, high = float(math.floor(low)), float(math.ceil(high))
    source = "percentiles {:g} and {:g}".format(*_PERCENTILES)
    return Stretch(low, high if high > low else low + 1, source)
