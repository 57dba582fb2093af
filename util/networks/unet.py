"""The U-Net, and the ground that its last channels mean."""

import keras
import tensorflow as tf
from keras import layers

from util.networks.blocks import (
    TANH_SLOPE,
    ReflectPad,
    down,
    leaky,
    leaky_tanh,
    normalise,
    squash,
    up,
)


def unet(base_width, outputs=4, inputs=3, norm="batch", upsampling="transposed", name="unet"):
    """Build the U-Net: five levels down, five up, each joined with its twin on the way down.

    Its last layer is linear; what the channels mean is the script's business. Weights count
    2,392,524 at base width 8 with batch norm and transposed convolutions.

    Parameters
    ----------
    base_width : int
        Channels of the first level; the deepest decoder level has 32 times as many.
    outputs, inputs : int
        Channels of the last and first picture.
    norm : str
        One of `util.networks.blocks.NORMS`.
    upsampling : {"transposed", "resize"}

    Returns
    -------
    keras.Model
        float32 (B, H, W, inputs) -> (B, H, W, outputs); H and W multiples of 32.
    """
    w = base_width
    picture = keras.Input((None, None, inputs), name="picture")
    x, levels = picture, []
    for level, width in enumerate((w, 2 * w, 4 * w, 8 * w, 16 * w), start=1):
        x = down(x, width, f"down{level}")  # (B, H / 2^level, W / 2^level, width)
        levels.append(x)
    x = ReflectPad(2, name="middle_pad")(x)  # (B, H / 32 + 4, W / 32 + 4, 16 w)
    for i in (1, 2):
        x = layers.Conv2D(16 * w, 3, name=f"middle{i}")(x)
        x = leaky(normalise(x, norm, f"middle{i}"))  # after the second: (B, H / 32, W / 32, 16 w)
    for level, width in zip((5, 4, 3, 2, 1), (32 * w, 16 * w, 8 * w, 4 * w, 2 * w), strict=True):
        x = layers.Concatenate(name=f"join{level}")([x, levels[level - 1]])
        x = up(x, width, norm, upsampling, f"up{level}")  # (B, H / 2^(level-1), .., width)
    x = layers.Concatenate(name="join_picture")([x, picture])  # (B, H, W, 2 w + inputs)
    x = leaky(layers.Conv2D(w, 3, padding="same", name="head1")(x))  # (B, H, W, w)
    x = layers.Conv2D(outputs, 3, padding="same", name="head2", dtype="float32")(x)
    return keras.Model(picture, x, name=name)


HEADS = ("light", "unmix", "direct")
DIMMED = (0.3, 0.7)  # of white; where veils lose least and white cloud gains (docs/results.md)
LEAST_TRANSMISSION = 0.2  # unmixing divides by no less: noise would be multiplied by more than 5
CLOUD_LIGHT = (0.5, 1.15)  # how bright an opaque cloud can be in a channel
_FIRST_LIGHT = 0.5  # added to what the network gives for it: it begins near white


def cloud_light(found, slope=TANH_SLOPE):
    """Turn three channels of the last layer into the light that an opaque cloud would send up.

    (B, H, W, 3), linear -> the same, within `CLOUD_LIGHT`.
    """
    low, high = CLOUD_LIGHT
    return (low + high) / 2 + (high - low) / 2 * leaky_tanh(found + _FIRST_LIGHT, slope)


def dimming(cloudy, share):
    """Return how much of each pixel's light a network is shown, so that it stands out from cloud.

    Bright ground passes for thin cloud; shown darker, while white stays white, it does so less.
    Networks were trained without, and still leave more ground alone and find more small white
    cloud, but take less of a veil (docs/results.md). At each pixel cloud stays what it is, since
    ``shown * cloudy = (1 - opacity) * (shown * ground) + opacity * (shown * light)``.

    Parameters
    ----------
    cloudy : float32 (B, H, W, 3), 0..1
    share : float, 0..1
        What a pixel loses whose darkest channel is below `DIMMED[0]`; nothing from `DIMMED[1]` on.

    Returns
    -------
    float32 (B, H, W, 1), 1 - share..1
    """
    low, high = DIMMED
    dark = (high - tf.reduce_min(cloudy, axis=-1, keepdims=True)) / (high - low)
    return 1.0 - share * tf.clip_by_value(dark, 0.0, 1.0)


def brightened(cloudy, white):
    """Return a picture in which `white`, above 0 and at most 1, is white: cut off there.

    Networks know cloud as white and even. Cumulus with bright and dark sides, or grey cloud, they
    take for ground; cut off at its dark sides it is found, whatever its colour (docs/results.md).
    """
    return cloudy if white == 1 else tf.minimum(cloudy / white, 1.0)


def as_bright_as_it_was(ground, cloudy, opacity, white):
    """Return ground that was found in a `brightened` picture as bright as it is.

    What was cut off is the ground's where there is little cloud, and the cloud's from half of its
    opacity on.

    Parameters
    ----------
    ground, cloudy : float32 (B, H, W, 3), 0..1
    opacity : float32 (B, H, W, 1), 0..1
    white : float, above 0, at most 1

    Returns
    -------
    float32 (B, H, W, 3), 0..1
    """
    if white == 1:
        return ground
    cut_off = tf.maximum(cloudy - white, 0.0) * tf.maximum(1.0 - 2.0 * opacity, 0.0)
    return white * ground + cut_off


def possible_opacity(share, cloudy, light):
    """Return an opacity that the picture allows: a share of ``min(cloudy / light)``.

    Ground adds light to that of the cloud above it, so that no cloud is more opaque than its
    darkest channel is bright: ``cloudy - opacity * light`` cannot be negative.

    Parameters
    ----------
    share : float32 (B, H, W, 1), about 0..1
    cloudy, light : float32 (B, H, W, 3)

    Returns
    -------
    float32 (B, H, W, 1), about 0..1
    """
    most = tf.reduce_min(cloudy / light, axis=-1, keepdims=True)
    return share * tf.minimum(most, 1.0)


def ground_from(found, cloudy, opacity, head, light=1.0, bounded=True, slope=TANH_SLOPE):
    """Turn three channels of the last layer into ground.

    Parameters
    ----------
    found : float32 (B, H, W, 3)
        Linear outputs of a network.
    cloudy : float32 (B, H, W, 3), 0..1
    opacity : float32 (B, H, W, 1)
        The opacity that was found.
    head : {"light", "unmix", "direct"}
        "direct": the channels, squashed, are the ground. The others: the cloud is taken out of the
        picture, ``(cloudy - opacity * light) / max(1 - opacity, 0.2)``, and the channels correct
        the rest.
    light : float32 (B, H, W, 3), optional
        Of the cloud; white by default.
    bounded : bool
        Keep the correction within -1..1.
    slope : float
        See `leaky_tanh`.

    Returns
    -------
    float32 (B, H, W, 3), about 0..1, not clipped
    """
    if head == "direct":
        return squash(found, slope)
    if head in HEADS:
        unmixed = (cloudy - opacity * light) / tf.maximum(1.0 - opacity, LEAST_TRANSMISSION)
        return unmixed + (leaky_tanh(found, slope) if bounded else found)
    raise ValueError(f"head is {head!r}; it must be one of {', '.join(HEADS)}")


KNOWN_BELOW, HIDDEN_FROM = 0.4, 0.7  # opacity up to which ground is trusted, and from which not
FILL_PX = (9, 33)  # sides of the squares that fillings are averaged over
FILL_REACH_PX = max(FILL_PX) // 2


def fill_hidden(ground, cloudy, opacity):
    """Fill what thick cloud hides from the ground around it.

    Under an opacity of 0.7 an error in the light of cloud counts more than twice, and shows as
    specks of colour. So ground fades, between opacities 0.4 and 0.7, into the mean of the ground
    around, where it is seen best; where none is within 16 pixels, the cloud stays.

    Parameters
    ----------
    ground, cloudy : float32 (B, H, W, 3), 0..1
    opacity : float32 (B, H, W, 1), 0..1
        The opacity that was found.

    Returns
    -------
    float32 (B, H, W, 3), 0..1
    """
    known = (HIDDEN_FROM - opacity) / (HIDDEN_FROM - KNOWN_BELOW)
    known = tf.clip_by_value(known, 0.0, 1.0)
    clearness = known * tf.square(tf.square(1.0 - opacity))  # ten times as fast as ** 4
    seen = tf.concat([ground * clearness, clearness], axis=-1)
    near, far = (_mean_around(seen, side_px) for side_px in FILL_PX)
    # The nearest ground counts most, the cloud itself only where there is nothing else.
    total = near + 0.1 * far
    mean = (total[..., :3] + 1e-3 * cloudy) / (total[..., 3:] + 1e-3)
    return known * ground + (1.0 - known) * mean


def _mean_around(pictures, side_px):
    """Return the mean over a square around each pixel; of what lies within the picture."""
    rows = tf.nn.avg_pool2d(pictures, (side_px, 1), 1, "SAME")
    return tf.nn.avg_pool2d(rows, (1, side_px), 1, "SAME")
