"""Measure how close a restored picture comes to the clear one: PSNR, SSIM and MAE, by region.

Cloud makes one figure for a whole picture say little: under opaque cloud the ground has to be
invented, under thin cloud it can be recovered, and where there is no cloud nothing may change.
So each score can be taken over a part of the picture, and `regions` cuts the parts by opacity.
Where a hole was filled only the hole says anything, and `hole_scores` looks at nothing else.

Pictures are float (H, W, 3), 0..1; a region is bool (H, W), None for the whole picture.
"""

import math

import cv2
import numpy as np
from skimage.metrics import structural_similarity

# A restored picture equal to the clear one has an infinite PSNR, which would turn the mean over
# pictures infinite as well. 100 dB is far above what 8 bits can show (rounding alone: 59 dB).
PSNR_CAP_DB = 100.0

# Over a handful of pixels a score is noise, and its picture would count as much in the mean as
# one with thousands: a region smaller than this (8 x 8) counts as empty.
MIN_REGION_PIXELS = 64

# What scikit-image makes of sigma = 1.5 truncated at 3.5 sigma: the 11 x 11 window of the paper.
SSIM_SIGMA = 1.5
SSIM_WINDOW_PX = 11

# Ground whose neighbours differ by less than a step of 8 bits (root mean square) is flat: noise
# over nothing is no sharpness, it would be a great number about a lake.
FLAT_BELOW = 1 / 255

# A pixel with more than this of it missing is missing wholly: rounding may leave 0.9999.
WHOLLY_ABOVE = 0.99


def psnr(restored: np.ndarray, clear: np.ndarray, region: np.ndarray | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB, `-10 log10(mean squared error)`.

    Parameters
    ----------
    restored, clear : float (H, W, 3), 0..1
    region : bool (H, W), optional
        Pixels that count, with all three channels. None: every pixel.

    Returns
    -------
    float
        At most `PSNR_CAP_DB`; nan where the region has fewer than `MIN_REGION_PIXELS` pixels.

    Raises
    ------
    ValueError
        Shapes differ or are not (H, W, 3), pictures are not float or hold nan or infinity.
    """
    restored, clear, region = _checked(restored, clear, region)
    return _decibels(_mean(_squared_error(restored, clear), region))


def mae(restored: np.ndarray, clear: np.ndarray, region: np.ndarray | None = None) -> float:
    """Return the mean absolute error, 0..1; arguments, nan and errors as in `psnr`."""
    restored, clear, region = _checked(restored, clear, region)
    return _mean(_absolute_error(restored, clear), region)


def ssim(restored: np.ndarray, clear: np.ndarray, region: np.ndarray | None = None) -> float:
    """Return the mean structural similarity, -1..1, of the three channels [1]_.

    The outermost 5 pixels never count, in a region neither: their windows reach over the border.
    The score of the whole picture is thus scikit-image's own. A window at the edge of a region
    sees pixels outside it.

    Arguments, nan and errors as in `psnr`; ValueError also where a side is below 11 pixels.

    References
    ----------
    .. [1] Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
           structural similarity", IEEE Transactions on Image Processing 13(4), 2004.
    """
    restored, clear, region = _checked(restored, clear, region)
    return _mean(_ssim_map(restored, clear), _without_border(region))


def regions(
    opacity: np.ndarray, *, clear_below: float = 0.02, thick_from: float = 0.75
) -> dict[str, np.ndarray]:
    """Return the parts of a picture by how opaque its cloud is, as bool (H, W) each.

    Parameters
    ----------
    opacity : float (H, W), 0..1
    clear_below, thick_from : float
        Opacity below which the ground counts as free, and from which it counts as hidden.

    Returns
    -------
    dict
        "whole"; "clear" (< clear_below), "thin" (between) and "thick" (>= thick_from), which
        together make the whole; and "seen" (< thick_from), clear and thin together.

    Raises
    ------
    ValueError
        Opacity is not (H, W), holds nan or infinity, or the limits are in the wrong order.
    """
    opacity = np.asarray(opacity)
    if opacity.ndim != 2:
        raise ValueError(f"opacity must have shape (H, W), not {opacity.shape}")
    if not np.isfinite(opacity).all():
        raise ValueError("opacity holds nan or infinity")
    if clear_below > thick_from:
        raise ValueError(f"clear_below ({clear_below}) is above thick_from ({thick_from})")
    clear, seen = opacity < clear_below, opacity < thick_from
    return {
        "whole": np.ones(opacity.shape, bool),
        "clear": clear,
        "thin": seen & ~clear,
        "thick": ~seen,
        "seen": seen,
    }


def score_picture(
    restored: np.ndarray, clear: np.ndarray, opacity: np.ndarray, **limits: float
) -> dict[str, float]:
    """Return every score in every region: "psnr_whole", "ssim_whole", "mae_whole", "psnr_clear"...

    The same figures as `psnr`, `ssim` and `mae` with the masks of `regions`, but each map of
    errors is computed once. Limits are those of `regions`; errors as in those four.
    """
    restored, clear, _ = _checked(restored, clear, None)
    if np.shape(opacity) != clear.shape[:2]:
        raise ValueError(f"opacity {np.shape(opacity)} does not fit pictures {clear.shape}")
    squared = _squared_error(restored, clear)
    absolute = _absolute_error(restored, clear)
    similar = _ssim_map(restored, clear)
    scores = {}
    for name, mask in regions(opacity, **limits).items():
        region = None if name == "whole" else mask  # a small picture is not a small region
        scores[f"psnr_{name}"] = _decibels(_mean(squared, region))
        scores[f"ssim_{name}"] = _mean(similar, _without_border(region))
        scores[f"mae_{name}"] = _mean(absolute, region)
    return scores


def hole_scores(restored: np.ndarray, clear: np.ndarray, hole: np.ndarray) -> dict[str, float]:
    """Return how well a hole was filled: "hole_l1", "hole_psnr", "hole_ssim", "hole_sharpness".

    Only pixels that are missing for the greater part (`hole` >= 0.5) count. The first three are
    `mae`, `psnr` and `ssim` over them. Sharpness is the gradient energy of the filling over that
    of the truth: squared differences of luminance between neighbours, to the right and below,
    that are both missing wholly, since at a soft edge the truth shines through. 1 is as sharp as
    the truth; a smooth filling, which the other three scores like, comes close to 0; noise lies
    above 1.

    Fast enough for each validation: below 1 ms for a hole of 64 x 64 pixels.

    Parameters
    ----------
    restored, clear : float (H, W, 3), 0..1
    hole : float (H, W) or (H, W, 1), 0..1, 1 = missing

    Returns
    -------
    dict
        All nan where the hole has fewer than `MIN_REGION_PIXELS` pixels; "hole_ssim" also where
        so many lie within 5 pixels of the border, "hole_sharpness" where so few are missing
        wholly or the truth is flat (`FLAT_BELOW`).

    Raises
    ------
    ValueError
        As in `psnr` and `ssim`; the hole does not fit or holds nan or infinity.
    """
    restored, clear, _ = _checked(restored, clear, None)
    hole = np.asarray(hole)
    hole = hole[..., 0] if hole.ndim == 3 and hole.shape[2] == 1 else hole
    if hole.shape != clear.shape[:2] or not np.isfinite(hole).all():
        raise ValueError(f"hole must be finite and {clear.shape[:2]}, not {hole.shape}")
    if min(hole.shape) < SSIM_WINDOW_PX:
        raise ValueError(f"SSIM needs {SSIM_WINDOW_PX} pixels a side, the picture is {hole.shape}")
    missing = hole >= 0.5
    names = ("hole_l1", "hole_psnr", "hole_ssim", "hole_sharpness")
    if np.count_nonzero(missing) < MIN_REGION_PIXELS:
        return dict.fromkeys(names, math.nan)
    border = SSIM_WINDOW_PX // 2
    inner = np.zeros_like(missing)
    inner[border:-border, border:-border] = missing[border:-border, border:-border]
    # Nothing beyond the windows around the hole matters: the hole's box is all the work.
    around = tuple(
        slice(max(0, at[0] - border), at[-1] + 1 + border)
        for at in (np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0)))
    )
    restored, clear = (np.float32(picture[around]) for picture in (restored, clear))
    missing, inner, wholly = missing[around], inner[around], hole[around] > WHOLLY_ABOVE
    values = (
        _mean(_absolute_error(restored, clear), missing),
        _decibels(_mean(_squared_error(restored, clear), missing)),
        _mean(_quick_ssim_map(restored, clear), inner),
        _sharpness(restored, clear, wholly),
    )
    return dict(zip(names, values, strict=True))


def _quick_ssim_map(restored, clear):
    """Return what scikit-image's SSIM has at each pixel, (H, W), by OpenCV and ten times as fast.

    Only pixels whose window lies within the arrays are right.
    """

    def mean(picture):
        window = (SSIM_WINDOW_PX, SSIM_WINDOW_PX)
        return cv2.GaussianBlur(picture, window, SSIM_SIGMA)

    a, b = mean(restored), mean(clear)
    aa, bb, ab = a * a, b * b, a * b
    both = mean(restored * restored + clear * clear) - aa - bb  # sum of the two variances
    shared = mean(restored * clear) - ab
    c1, c2 = np.float32(0.01**2), np.float32(0.03**2)
    similar = (2 * ab + c1) * (2 * shared + c2) / ((aa + bb + c1) * (both + c2))
    return similar.mean(axis=-1)


def _sharpness(restored, clear, missing):
    if np.count_nonzero(missing) < MIN_REGION_PIXELS:
        return math.nan
    right, below = missing[:, 1:] & missing[:, :-1], missing[1:] & missing[:-1]

    def energy(picture):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        steps = np.diff(grey, axis=1)[right], np.diff(grey, axis=0)[below]
        return sum(float(np.dot(step, step)) for step in steps)

    true = energy(clear)
    if true < FLAT_BELOW**2 * (np.count_nonzero(right) + np.count_nonzero(below)):
        return math.nan
    return energy(restored) / true


def mean_scores(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each score over the pictures that have it.

    A nan (region empty in that picture) is left out; the mean is nan where every picture has nan.

    Raises
    ------
    ValueError
        No rows, or rows with different names.
    """
    if not rows:
        raise ValueError("there are no scores to average")
    if any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError("the rows of scores have different names")
    means = {}
    for name in rows[0]:
        values = [row[name] for row in rows if not math.isnan(row[name])]
        means[name] = math.fsum(values) / len(values) if values else math.nan
    return means


def _checked(restored, clear, region):
    restored, clear = np.asarray(restored), np.asarray(clear)
    if clear.ndim != 3 or clear.shape[2] != 3 or clear.size == 0:
        raise ValueError(f"clear picture must have shape (H, W, 3), not {clear.shape}")
    if restored.shape != clear.shape:
        raise ValueError(f"restored picture {restored.shape} does not fit clear {clear.shape}")
    for name, picture in (("restored", restored), ("clear", clear)):
        if not np.issubdtype(picture.dtype, np.floating):
            raise ValueError(f"{name} picture must be float in 0..1, not {picture.dtype}")
        # nan means "empty region" here: a broken picture must not pass for one.
        if not np.isfinite(picture).all():
            raise ValueError(f"{name} picture holds nan or infinity")
    if region is not None:
        region = np.asarray(region)
        if region.dtype != bool or region.shape != clear.shape[:2]:
            raise ValueError(
                f"region must be bool {clear.shape[:2]}, not {region.dtype} {region.shape}"
            )
    return restored, clear, region


def _squared_error(restored, clear):
    return np.square(restored - clear).mean(axis=-1, dtype=np.float64)  # (H, W)


def _absolute_error(restored, clear):
    return np.abs(restored - clear).mean(axis=-1, dtype=np.float64)  # (H, W)


def _ssim_map(restored, clear):
    if min(clear.shape[:2]) < SSIM_WINDOW_PX:
        raise ValueError(
            f"SSIM needs {SSIM_WINDOW_PX} pixels a side, the picture is {clear.shape[:2]}"
        )
    _, similar = structural_similarity(
        restored,
        clear,
        full=True,
        channel_axis=-1,
        data_range=1,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
    )
    return _without_border(similar.mean(axis=-1, dtype=np.float64))  # (H - 10, W - 10)


def _without_border(plane):
    border = SSIM_WINDOW_PX // 2
    return None if plane is None else plane[border:-border, border:-border]


def _mean(errors, region):
    if region is None:
        return float(errors.mean())
    if np.count_nonzero(region) < MIN_REGION_PIXELS:
        return math.nan
    return float(errors[region].mean())


def _decibels(mean_squared_error):
    if mean_squared_error <= 10 ** (-PSNR_CAP_DB / 10):  # nan, of an empty region, goes on below
        return PSNR_CAP_DB
    return -10 * math.log10(mean_squared_error)


def validation_scores(output: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the scores that a run follows for one picture that was freed from cloud.

    output : restored and clear (H, W, 3), opacity and found_opacity (H, W, 1), float32, 0..1

    Returns psnr and ssim over the whole picture and where opacity is below 0.75, and opacity_l1,
    the mean absolute error of the opacity.
    """
    found = score_picture(output["restored"], output["clear"], output["opacity"][..., 0])
    kept = ("psnr_whole", "psnr_seen", "ssim_whole", "ssim_seen")
    error = np.abs(output["found_opacity"] - output["opacity"])
    return {**{name: found[name] for name in kept}, "opacity_l1": float(error.mean())}
