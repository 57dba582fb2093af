"""What light and a sensor do to a picture of cloud over ground: one effect a function.

Pictures are float32 (S, S, 3), 0..1; opacity is float32 (S, S), 0 (no cloud) .. 1 (ground hidden),
or one a channel, (S, S, 3).
"""

import functools
import math

import cv2
import numpy as np

WAVELENGTHS_NM = (655.0, 560.0, 480.0)  # red, green, blue of Sentinel-2 and Landsat 8, about
_NOISE_VALUES = 1 << 18


def three(plane):
    """Return a plane (S, S) as three channels (S, S, 3)."""
    return cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB)


def joined(opacity, haze):
    """Return the opacity of two layers, one above the other: ``1 - (1 - a) (1 - b)``."""
    return opacity + haze - opacity * haze


def depth_ratios(exponent):
    """Return the optical depth of haze in red, green and blue, of that in green, float64 (3,).

    It goes as ``wavelength ** -exponent``: Angstrom's law, see `wavelength_opacity`.
    """
    return np.array([(WAVELENGTHS_NM[1] / nm) ** exponent for nm in WAVELENGTHS_NM])


def wavelength_opacity(opacity, exponent):
    """Return the opacity of haze in each channel, (S, S, 3): haze of small drops is bluish.

    Optical depth goes as ``wavelength ** -exponent`` (Angstrom's law), green having what was
    given: ``1 - (1 - a) ** k`` with k the ratio of the depths, here to the first order in k - 1
    where cloud is thin: ``a + (k - 1) a (1 - a)``; cloud that hides the ground is white.

    Parameters
    ----------
    opacity : float32 (S, S) or (S, S, 3)
    exponent : float, 0 (cloud of large drops) .. about 1.5 (smoke, thin haze)

    References
    ----------
    A. Angstrom, "On the atmospheric transmission of sun radiation and on dust in the air",
    Geografiska Annaler 11, 1929.
    """
    if opacity.ndim == 2:
        opacity = three(opacity)
    lines = opacity.reshape(len(opacity), -1)
    bluer = lines * (1.0 - lines)
    bluer *= np.tile(np.float32(depth_ratios(exponent) - 1.0), opacity.shape[1])
    bluer += lines
    return bluer.reshape(opacity.shape)


def moved(picture, down_px, right_px):
    """Return a picture moved by a fraction of pixels, linear between them, mirrored at its edge."""
    by = np.float32([[1, 0, right_px], [0, 1, down_px]])
    size = picture.shape[1::-1]
    return cv2.warpAffine(picture, by, size, borderMode=cv2.BORDER_REFLECT_101)


def channels_apart(rng, opacity, most_px):
    """Return the opacity in each channel, (S, S, 3), red and blue moved away from green.

    Sensors look through one colour after the other, and cloud, high above the ground, has moved on
    against it meanwhile.

    Parameters
    ----------
    opacity : float32 (S, S)
    most_px : float
        Red moves by up to this in a random direction, blue as far the other way.
    """
    angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0, most_px)
    down, right = far * math.sin(angle), far * math.cos(angle)
    return cv2.merge([moved(opacity, down, right), opacity, moved(opacity, -down, -right)])


def shadow(clear, opacity, depth, down_px, right_px, blur_px):
    """Return the ground in the shadow of a cloud: ``clear * (1 - depth * opacity)``, moved.

    Parameters
    ----------
    clear : float32 (S, S, 3)
    opacity : float32 (S, S)
    depth : float, 0..1
        How much of the light is missing behind opaque cloud.
    down_px, right_px : float
        From the cloud to its shadow; what lies beyond the edge is mirrored.
    blur_px : float
        Standard deviation by which the shadow is softer than the cloud; 0 for a sharp one.
    """
    cast = moved(opacity, down_px, right_px)
    if blur_px:
        cast = cv2.GaussianBlur(cast, (0, 0), blur_px)
    return clear * three(1.0 - np.float32(depth) * cast)


def blurred_beneath(clear, opacity, blur_px):
    """Return the ground as it shines through: the thicker the cloud, the more blurred.

    Parameters
    ----------
    clear : float32 (S, S, 3)
    opacity : float32 (S, S, 3)
    blur_px : float, above 0
        Standard deviation of the blur beneath opaque cloud.
    """
    soft = cv2.GaussianBlur(clear, (0, 0), blur_px)
    soft -= clear
    soft *= opacity
    soft += clear
    return soft


def lit(clear, opacity, colour, shade=None):
    """Return cloud over ground: ``clear (1 - a) + colour (1 - shade) a``, clipped at white.

    The same as `util.samples.clouds.cover` but that colours above 1 may saturate, as cloud does in
    pictures that were stretched for the eye.

    Parameters
    ----------
    clear, opacity : float32 (S, S, 3)
    colour : float32 (3,) or (S, S, 3)
        Of the light that an opaque cloud sends up; above 1 it saturates.
    shade : float32 (S, S, 3), 0..1, optional
        How much darker the cloud is there.
    """
    # In rows of whole lines: NumPy is slow where a row has 3 numbers.
    row = (len(clear), -1)
    light = np.float32(colour)
    light = light.reshape(row) if light.ndim == 3 else np.tile(light, clear.shape[1])
    if shade is not None:
        light = light * (1.0 - shade.reshape(row))
    cloudy = light - clear.reshape(row)
    cloudy *= opacity.reshape(row)
    cloudy += clear.reshape(row)
    np.clip(cloudy, 0.0, 1.0, out=cloudy)
    return cloudy.reshape(clear.shape)


def away_from_the_sun(height, sun, steepness):
    """Return how far each place is turned away from the sun, float32 (H, W), 0..1; flat is .5.

    Parameters
    ----------
    height : float32 (H, W)
        In pixels, as the pixels are wide.
    sun : float
        Where the light comes from: radians from the right, downward.
    steepness : float
        Change of what is returned with the slope, in height a pixel.
    """
    down, right = (cv2.Sobel(height, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((0, 1), (1, 0)))
    slope = math.sin(sun) * down + math.cos(sun) * right  # above 0 where it rises toward the sun
    return np.clip(0.5 + np.float32(steepness) * slope, 0, 1)


def picked(rng, pictures, most_px):
    """Return pictures, (S, S) or (S, S, 3) each, whose pixels were picked alike, not averaged.

    Quick looks are made of every n-th pixel: neighbours are further apart on the ground than they
    seem, and every edge is ragged. So each pixel is one of those up to `most_px` away.
    """
    size_px, most = len(pictures[0]), np.float32(rng.uniform(0, most_px))
    away = rng.random((2, size_px, size_px), dtype=np.float32)
    down, right = np.rint((2 * away - 1) * most)
    line = np.arange(size_px, dtype=np.float32)
    down, right = (
        np.clip(places, 0, size_px - 1) for places in (down + line[:, None], right + line)
    )
    # As whole numbers, which OpenCV takes as they are, at a third of NumPy's time.
    places = cv2.merge([right, down]).astype(np.int16)
    return [cv2.remap(picture, places, None, cv2.INTER_NEAREST) for picture in pictures]


def jpeg(picture, quality):
    """Return a picture as it comes back from a JPEG file of a quality, 1..100."""
    pixels = cv2.convertScaleAbs(picture, alpha=255.0)
    # OpenCV takes the channels for blue, green, red: JPEG's colours must be given the right ones.
    stored = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    back = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    return np.multiply(back[..., ::-1], np.float32(1 / 255), dtype=np.float32)


@functools.cache
def _normal_values():
    values = np.random.Generator(np.random.Philox(key=20)).standard_normal(_NOISE_VALUES)
    return values.astype(np.float32)


def sensor_noise(rng, picture, deviation):
    """Return a picture with normal noise, clipped to 0..1.

    The noise is cut from one fixed table at a random place: to draw it anew would take longer than
    all the rest of a sample.
    """
    values, size = _normal_values(), picture.size
    if size > len(values):
        values = np.resize(values, 2 * size)
    start = int(rng.integers(len(values) - size + 1))
    noisy = values[start : start + size].reshape(picture.shape) * np.float32(deviation)
    noisy += picture
    return np.clip(noisy, 0.0, 1.0, out=noisy)
