"""Discriminators that look at one picture at several sizes."""

from functools import partial

import keras
from keras import layers

from util.networks.attention import SelfAttention
from util.networks.blocks import bounded
from util.networks.patchgan import patch_maps, patch_widths

_FIELD_PX = 70
_MOST = 64  # places a side that attention sees: all that a crop of 256 has, the published one


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
        Self-attention after the second level at full size, after the first at the others; of crops
        of more than 256 pixels it sees means over areas, or its weights would take a GB at 512.

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
    widths, found = patch_widths(_FIELD_PX, width), []
    for scale in range(1, scales + 1):
        at, x = f"scale{scale}", picture
        if scale > 1:
            x = layers.AveragePooling2D(2 ** (scale - 1), name=at)(x)
        look = {2 if scale == 1 else 1: SelfAttention(_MOST, name=f"{at}_attention")}
        maps = patch_maps(
            x,
            widths,
            wrapped=partial(bounded, spectral_norm=spectral_norm),
            after=look if attention else None,
            names=[*(f"{at}_level{n + 1}" for n in range(len(widths))), f"{at}_scores"],
        )
        found.append(maps)
    return keras.Model(picture, found, name=name)
