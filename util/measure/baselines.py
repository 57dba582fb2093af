"""Restore pictures without a network: the rivals and the oracles of the evaluation.

Rivals see the damaged picture, the painters also where it is missing or its cloud is thick;
oracles are told the true opacity and show how far one can get. Pictures are float32 (H, W, 3),
0..1, in and out, of any size; a picture of another shape or dtype, or with nan or infinity, gets a
ValueError.
"""

import cv2
import numpy as np
from skimage import restoration

from util.pictures.harmonic import harmonic_fill

# Above this opacity what shines through no longer tells the colour of the ground.
THICK_FROM = 0.75


# ---- dark channel prior ----


def dark_channel_prior(hazy: np.ndarray, *, t_min: float = 0.1, **how: float) -> np.ndarray:
    """Return the picture dehazed by the dark channel prior, `(hazy - A) / max(t, t_min) + A`.

    Light A and transmission t are found by `dark_channel_transmission` [1]_; the guided filter
    takes the place of soft matting, as its author proposes [2]_.

    Parameters
    ----------
    hazy : float32 (H, W, 3), 0..1
    t_min : float
        Transmission is not taken below this, lest noise be amplified.
    how : int or float
        Arguments of `dark_channel_transmission`.

    Returns
    -------
    float32 (H, W, 3), 0..1

    References
    ----------
    .. [1] He, Sun, Tang, "Single image haze removal using dark channel prior", CVPR 2009; IEEE
           Transactions on Pattern Analysis and Machine Intelligence 33(12), 2011, equation 22.
    .. [2] He, Sun, Tang, "Guided image filtering", ECCV 2010.
    """
    return without_haze(hazy, *dark_channel_transmission(hazy, **how), t_min)


def without_haze(
    hazy: np.ndarray, transmission: np.ndarray, light: np.ndarray, t_min: float = 0.1
) -> np.ndarray:
    """Return the picture with haze of a known transmission and light taken off."""
    restored = (hazy - light) / np.maximum(transmission, t_min)[..., None] + light
    return np.clip(restored, 0, 1).astype(np.float32)


def dark_channel_transmission(
    hazy: np.ndarray,
    *,
    window_px: int = 15,
    omega: float = 0.95,
    brightest: float = 0.001,
    guide_radius_px: int = 40,
    guide_eps: float = 1e-3,
) -> tuple[np.ndarray, np.ndarray]:
    """Return transmission, float32 (H, W), 0..1, and atmospheric light, float32 (3,), of haze.

    `t = 1 - omega * dark_channel(hazy / A)`, refined by a guided filter that follows the grey
    picture.

    Parameters
    ----------
    hazy : float32 (H, W, 3), 0..1
    window_px : int
        Side of the window in which some pixel is taken to be black in some channel.
    omega : float
        Share of the haze that is removed; below 1 keeps a trace of depth.
    brightest : float
        Share of the pixels, by dark channel, among which the atmospheric light is sought.
    guide_radius_px, guide_eps : int, float
        Window and smoothness of the guided filter; see `guided_filter`.
    """
    hazy = _checked_picture(hazy)
    light = atmospheric_light(hazy, dark_channel(hazy, window_px), brightest)
    scaled = hazy / np.maximum(light, 1e-3)  # a black picture has no light: 0 / 0
    coarse = 1 - np.float32(omega) * dark_channel(scaled, window_px)
    refined = guided_filter(
        cv2.cvtColor(hazy, cv2.COLOR_RGB2GRAY), coarse, guide_radius_px, guide_eps
    )
    return np.clip(refined, 0, 1), light


def dark_channel(picture: np.ndarray, window_px: int = 15) -> np.ndarray:
    """Return the least value of all channels in the window around each pixel, float32 (H, W).

    At the border only pixels inside the picture count.
    """
    if window_px < 1 or window_px % 2 == 0:
        raise ValueError(f"window_px must be odd and positive, not {window_px}")
    return cv2.erode(picture.min(axis=-1), np.ones((window_px, window_px), np.uint8))


def atmospheric_light(hazy: np.ndarray, dark: np.ndarray, brightest: float = 0.001) -> np.ndarray:
    """Return the colour of the haze, float32 (3,).

    Of the share `brightest` of pixels with the greatest dark channel (at least one pixel, and all
    that equal the last of them), the brightest in `hazy`: a white roof has a small dark channel,
    opaque haze a great one.
    """
    count = max(1, round(brightest * dark.size))
    limit = np.partition(dark, -count, axis=None)[-count]
    candidates = hazy[dark >= limit]
    return candidates[candidates.sum(axis=-1).argmax()]


def guided_filter(guide: np.ndarray, picture: np.ndarray, radius_px: int, eps: float) -> np.ndarray:
    """Return `picture` smoothed but for the edges of `guide`, float32 (H, W).

    In each window of side 2 radius_px + 1 the result is `a * guide + b`, the least squares fit to
    `picture` with penalty `eps * a**2`; each pixel takes the mean over the windows it lies in
    (He, Sun, Tang, ECCV 2010, equations 5, 6, 8). At the border windows are cut to the picture.

    Parameters
    ----------
    guide, picture : float32 (H, W)
    radius_px : int
    eps : float
        Variance of the guide, in a window, below which the window is averaged flat.
    """
    if guide.ndim != 2 or guide.shape != picture.shape:
        raise ValueError(f"guide {guide.shape} and picture {picture.shape} must be the same (H, W)")
    window = (2 * radius_px + 1, 2 * radius_px + 1)

    def box_sum(plane):
        return cv2.boxFilter(plane, -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT)

    # Sums over zero padding, divided by the pixels that exist: exact for any size of picture,
    # where mirrored borders would count some pixels several times.
    pixels = box_sum(np.ones_like(picture))

    def box_mean(plane):
        return box_sum(plane) / pixels

    mean_guide, mean_picture = box_mean(guide), box_mean(picture)
    covariance = box_mean(guide * picture) - mean_guide * mean_picture
    variance = np.maximum(box_mean(guide * guide) - mean_guide * mean_guide, 0)
    denominator = variance + np.float32(eps)
    # A flat window with eps = 0 has no slope: 0 / 0.
    a = np.divide(covariance, denominator, out=np.zeros_like(picture), where=denominator > 0)
    b = mean_picture - a * mean_guide
    return box_mean(a) * guide + box_mean(b)


# ---- median ----


def median_filter(picture: np.ndarray, side_px: int = 11) -> np.ndarray:
    """Return each pixel's channels replaced by the median over a square around it, of 8 bits."""
    eight_bit = np.rint(np.clip(_checked_picture(picture), 0, 1) * 255).astype(np.uint8)
    return np.float32(cv2.medianBlur(eight_bit, side_px) / 255)


# ---- inpainting ----
# All five: `hole` is bool (H, W), True where the picture is missing. Known pixels come out bit
# for bit as they went in. Nothing missing: the picture unchanged. Nothing known: mid-grey 0.5,
# the guess with the least greatest error.


def inpaint_mean(cloudy: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return the picture with its hole filled by the mean colour of its known pixels."""
    return _fill(cloudy, hole, lambda picture, hole: picture[~hole].mean(axis=0, dtype=np.float64))


def inpaint_telea(cloudy: np.ndarray, hole: np.ndarray, radius_px: float = 5) -> np.ndarray:
    """Return the picture with its hole filled by the fast marching method, float32 (H, W, 3).

    From the rim inwards each pixel becomes the weighted mean, over `radius_px`, of what is known
    and its slope. The filling has 8 bits, as OpenCV has it.

    References
    ----------
    .. [1] Telea, "An image inpainting technique based on the fast marching method", Journal of
           Graphics Tools 9(1), 2004.
    """
    return _inpaint_opencv(cloudy, hole, radius_px, cv2.INPAINT_TELEA)


def inpaint_navier_stokes(cloudy: np.ndarray, hole: np.ndarray, radius_px: float = 5) -> np.ndarray:
    """Return the picture with lines of equal brightness carried into its hole, float32 (H, W, 3).

    The filling has 8 bits, as OpenCV has it.

    References
    ----------
    .. [1] Bertalmio, Bertozzi, Sapiro, "Navier-Stokes, fluid dynamics, and image and video
           inpainting", CVPR 2001.
    """
    return _inpaint_opencv(cloudy, hole, radius_px, cv2.INPAINT_NS)


def inpaint_harmonic(cloudy: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return the picture with its hole filled by a membrane; see `harmonic_fill`."""
    return _fill(cloudy, hole, harmonic_fill)


def inpaint_biharmonic(cloudy: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return the picture with its hole filled by the smoothest surface, float32 (H, W, 3).

    Solves the biharmonic equation in the hole (scikit-image) [1]_: a sparse linear system for each
    connected part. Mind its time: for one square hole of a quarter of the picture 0.2 s and 30 MB
    at 256 x 256, 1 s and 150 MB at 512 x 512, 7 s and 700 MB at 1024 x 1024 on one core; for the
    same area in many small parts about a third.

    References
    ----------
    .. [1] Damelin, Hoang, "On surface completion and image inpainting by biharmonic functions:
           numerical aspects", International Journal of Mathematics and Mathematical Sciences, 2018.
    """

    def paint(picture, hole):
        return restoration.inpaint_biharmonic(
            picture, hole, channel_axis=-1, split_into_regions=True
        )

    return _fill(cloudy, hole, paint)


def _inpaint_opencv(cloudy, hole, radius_px, method):
    def paint(picture, hole):
        # Where a hole touches the border of the picture OpenCV reads what is hidden, so that a
        # white cloud bleeds into its filling: hide it behind the mean colour of what is known.
        picture = np.where(hole[..., None], picture[~hole].mean(axis=0), picture)
        eight_bit = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
        return cv2.inpaint(eight_bit, hole.astype(np.uint8), radius_px, method) / 255

    return _fill(cloudy, hole, paint)


def _fill(picture, hole, paint):
    picture, hole = _checked_picture(picture), np.asarray(hole)
    if hole.dtype != bool or hole.shape != picture.shape[:2]:
        raise ValueError(f"hole must be bool {picture.shape[:2]}, not {hole.dtype} {hole.shape}")
    if not hole.any():
        return picture.copy()
    if hole.all():
        return np.full_like(picture, 0.5)
    return np.where(hole[..., None], paint(picture, hole), picture).astype(np.float32)


# ---- oracles: they are told the true opacity ----


def unmix(
    cloudy: np.ndarray,
    opacity: np.ndarray,
    *,
    cloud_colour: float | np.ndarray = 1.0,
    floor: float = 0.2,
) -> np.ndarray:
    """Return the ground with a known cloud taken off, float32 (H, W, 3), 0..1.

    `(cloudy - opacity * cloud_colour) / max(1 - opacity, floor)`, the inverse of
    `clear * (1 - opacity) + cloud_colour * opacity` up to opacity 1 - floor; beyond it too dark.

    Parameters
    ----------
    cloudy : float32 (H, W, 3), 0..1
    opacity : float (H, W), 0..1
    cloud_colour : float or float (3,)
    floor : float
        Above 0. Keeps noise and rounding from being amplified more than 1 / floor times.
    """
    cloudy = _checked_picture(cloudy)
    opacity = _checked_opacity(opacity, cloudy)[..., None]
    if floor <= 0:
        raise ValueError(f"floor must be above 0, not {floor}")
    colour = np.asarray(cloud_colour, np.float32)
    return np.clip((cloudy - opacity * colour) / np.maximum(1 - opacity, floor), 0, 1).astype(
        np.float32
    )


def unmix_and_inpaint(
    cloudy: np.ndarray,
    opacity: np.ndarray,
    *,
    cloud_colour: float | np.ndarray = 1.0,
    thick_from: float = THICK_FROM,
    radius_px: float = 5,
) -> np.ndarray:
    """Return the ground unmixed where opacity is below `thick_from`, elsewhere filled by Telea.

    Arguments as in `unmix` and `inpaint_telea`; `thick_from` below 1.
    """
    unmixed = unmix(cloudy, opacity, cloud_colour=cloud_colour, floor=1 - thick_from)
    return inpaint_telea(unmixed, np.asarray(opacity) >= thick_from, radius_px)


def _checked_picture(picture):
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"picture must have shape (H, W, 3), not {picture.shape}")
    if picture.dtype != np.float32:
        raise ValueError(f"picture must be float32 in 0..1, not {picture.dtype}")
    if not np.isfinite(picture).all():
        raise ValueError("picture holds nan or infinity")
    return picture


def _checked_opacity(opacity, picture):
    opacity = np.asarray(opacity)
    if opacity.shape != picture.shape[:2]:
        raise ValueError(f"opacity {opacity.shape} does not fit the picture {picture.shape}")
    if not np.isfinite(opacity).all():
        raise ValueError("opacity holds nan or infinity")
    return opacity
