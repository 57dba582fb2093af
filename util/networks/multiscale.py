"""Discriminators that look at one picture at several sizes."""

import keras
from keras import layers

from util.networks.attention import SelfAttention
from util.networks.blocks import bounded, leaky


def multi_scale_discriminator(
    width=64, channels=3, scales=3, spectral_norm=True, attention=True, name="discriminator"
):
    """Build discriminators, which share no weights, of a picture and of its means over squares.

    The first sees the picture, the second half its side, and so on: what one takes for texture
    is to the next one an edge. Each has a receptive field of 70 pixels of what it sees. Weights
    count 2,785,378 at the first scale, 2,769,938 at the others, at width 64 with attention.

    Parameters
    ----------
    width : int
        Channels of the first level; the last has eight times as many.
    channels : int
        Of the picture.
    scales : int
    spectral_norm : bool
        See `bounded`.
    attention : bool
        Self-attention after the second level at full size, after the first at the others.

    Returns
    -------
    keras.Model
        float32 (B, H, W, channels) -> for each scale the list of what its four levels give before
        they are bent, float (B, h, w, c), and its scores (B, h, w, 1), linear.

    References
    ----------
    T.-C. Wang et al., "High-resolution image synthesis and semantic manipulation with conditional
    GANs", CVPR 2018, section 3.2.
    """
    picture = keras.Input((None, None, channels), name="picture")
    found = []
    for scale in range(1, scales + 1):
        x, maps = picture, []
        if scale > 1:
            x = layers.AveragePooling2D(2 ** (scale - 1), name=f"scale{scale}")(x)
        for level, strides in enumerate((2, 2, 2, 1), start=1):
            layer = layers.Conv2D(
                2 ** (level - 1) * width, 4, strides, "same", name=f"scale{scale}_level{level}"
            )
            maps.append(bounded(layer, spectral_norm)(x))
            x = leaky(maps[-1])
            if attention and level == (2 if scale == 1 else 1):
                x = SelfAttention(name=f"scale{scale}_attention")(x)
        layer = layers.Conv2D(1, 4, padding="same", name=f"scale{scale}_scores", dtype="float32")
        found.append([*maps, bounded(layer, spectral_norm)(x)])
    return keras.Model(picture, found, name=name)
