"""The generator that finds the colours of a grey picture."""

import keras
from keras import layers

from util.networks.attention import SelfAttention
from util.networks.blocks import bounded, leaky, normalise
from util.networks.deblurgan import CutLike, PadToMultiple
from util.networks.doubled import DoubledConv2D


def colour_generator(
    width=128,
    levels=6,
    norm="none",
    spectral_norm=True,
    attention_at=4,
    crop_px=256,
    name="generator",
):
    """Build the U-Net from lightness to colour, with self-attention on the way up.

    Trainable weights count 41,778,563 at width 128 with 6 levels and attention at a quarter of the
    side.

    Parameters
    ----------
    width : int
        Channels of the first level; from the third on they have four times as many.
    levels : int
        How often the side is halved.
    norm : {"none", "batch", "group", "instance"}
    spectral_norm : bool
        See `bounded`.
    attention_at : {0, 2, 4 .. 2^levels}
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
    x, twins = PadToMultiple(2**levels, name="pad_picture")(lightness), []

    def convolution(x, layer):
        return normalise(bounded(layer, spectral_norm)(x), norm, layer.name)

    def attended(x, level):
        if attention_at != 2**level:
            return x
        most = -(-crop_px // 2**levels) * 2**levels // attention_at
        return SelfAttention(most, name="attention")(x)

    widths = [w, 2 * w, *[4 * w] * (levels - 2)]
    for level, channels in enumerate(widths, start=1):
        layer = layers.Conv2D(channels, 4, strides=2, padding="same", name=f"down{level}")
        x = leaky(convolution(x, layer))
        twins.append(x)  # (B, H / 2^level, W / 2^level, channels)
    for level in range(levels, 1, -1):
        channels = widths[level - 2]
        layer = DoubledConv2D(channels, 4, name=f"up{level}")
        x = layers.ReLU()(convolution(attended(x, level), layer))
        x = layers.Concatenate(name=f"join{level}")([x, twins[level - 2]])
        # (B, H / 2^(level-1), W / 2^(level-1), channels and its twin's)
    last = bounded(DoubledConv2D(2, 7, name="last", dtype="float32"), spectral_norm)
    x = layers.Activation("tanh", name="colour", dtype="float32")(last(attended(x, 1)))
    return keras.Model(lightness, CutLike(name="cut", dtype="float32")(x, lightness), name=name)
