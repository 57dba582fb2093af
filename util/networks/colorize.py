"""The generator that finds the colours of a grey picture."""

import keras
from keras import layers

from util.networks.attention import SelfAttention
from util.networks.blocks import bounded, leaky, normalise
from util.networks.deblurgan import CutLike, PadToMultiple

SIDE_MULTIPLE = 64  # the generator halves the side six times


def colour_generator(
    width=128, norm="none", spectral_norm=True, attention_at=4, crop_px=256, name="generator"
):
    """Build the U-Net from lightness to colour, with self-attention on the way up.

    Trainable weights count 41,778,563 at width 128 with attention at a quarter of the side.

    Parameters
    ----------
    width : int
        Channels of the first level; the deepest have four times as many.
    norm : {"none", "batch", "group", "instance"}
    spectral_norm : bool
        See `bounded`.
    attention_at : {0, 2, 4, 8, 16, 32, 64}
        Self-attention where the side is that part of the picture's; 0: none.
    crop_px : int
        Side of the pictures that it is trained on: in larger ones each place looks at as many
        areas as it had places to look at then, see `SelfAttention`.

    Returns
    -------
    keras.Model
        lightness float32 (B, H, W, 1), 0..1, any height and width -> colour float32
        (B, H, W, 2), -1..1: a* and b* of CIELAB over 128.
    """
    w = width
    lightness = keras.Input((None, None, 1), name="lightness")
    x, levels = PadToMultiple(SIDE_MULTIPLE, name="pad_picture")(lightness), []

    def convolution(x, channels, name, strides=1):
        layer = layers.Conv2D(channels, 4, strides=strides, padding="same", name=name)
        return normalise(bounded(layer, spectral_norm)(x), norm, name)

    def attended(x, level):
        if attention_at != 2**level:
            return x
        most = -(-crop_px // SIDE_MULTIPLE) * SIDE_MULTIPLE // attention_at
        return SelfAttention(most, name="attention")(x)

    for level, channels in enumerate((w, 2 * w, 4 * w, 4 * w, 4 * w, 4 * w), start=1):
        x = leaky(convolution(x, channels, f"down{level}", strides=2))
        levels.append(x)  # (B, H / 2^level, W / 2^level, channels)
    for level, channels in zip((6, 5, 4, 3, 2), (4 * w, 4 * w, 4 * w, 2 * w, w), strict=True):
        x = layers.UpSampling2D(2, interpolation="nearest")(attended(x, level))
        x = layers.ReLU()(convolution(x, channels, f"up{level}"))
        x = layers.Concatenate(name=f"join{level}")([x, levels[level - 2]])
        # (B, H / 2^(level-1), W / 2^(level-1), channels and its twin's)
    x = layers.UpSampling2D(2, interpolation="nearest")(attended(x, 1))
    last = layers.Conv2D(2, 7, padding="same", name="last", dtype="float32")
    x = layers.Activation("tanh", name="colour", dtype="float32")(bounded(last, spectral_norm)(x))
    return keras.Model(lightness, CutLike(name="cut", dtype="float32")(x, lightness), name=name)
