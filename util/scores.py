"""Measure how close a restored picture comes to the clear one: PSNR, SSIM and MAE, by region.

Cloud makes one figure for a whole picture say little: under opaque cloud the ground has to be
invented, under thin cloud it can be recovered, and where there is no cloud nothing may change.
So each score can be taken over a part of the picture, and `regions` cuts the parts by opacity.

Pictures are float (H, W, 3), 0..1; a region is bool (H, W), None for the whole picture.
"""

import math

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
    restored: np.ndarray,
    clear: np.ndarray,
    opacity: np.ndarray,
    *,
    clear_below: float = 0.02,
    thick_from: float = 0.75,
) -> dict[str, float]:
    """Return every score in every region: "psnr_whole", "ssim_whole", "mae_whole", "psnr_clear"...

    The same figures as `psnr`, `ssim` and `mae` with the masks of `regions`, but each map of
    errors is computed once. Errors as in those four.
    """
    restored, clear, _ = _checked(restored, clear, None)
    if np.shape(opacity) != clear.shape[:2]:
        raise ValueError(f"opacity {np.shape(opacity)} does not fit pictures {clear.shape}")
    squared = _squared_error(restored, clear)
    absolute = _absolute_error(restored, clear)
    similar = _ssim_map(restored, clear)
    scores = {}
    for name, mask in regions(opacity, clear_below=clear_below, thick_from=thick_from).items():
        region = None if name == "whole" else mask  # a small picture is not a small region
        scores[f"psnr_{name}"] = _decibels(_mean(squared, region))
        scores[f"ssim_{name}"] = _mean(similar, _without_border(region))
        scores[f"mae_{name}"] = _mean(absolute, region)
    return scores


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
