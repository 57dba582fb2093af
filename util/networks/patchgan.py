"""PatchGAN: a discriminator that scores patches of a picture, of any receptive field.

mod_pix2pix.py's discriminator, mod_deblurgan.py's critics and the discriminators of mod_colorize.py
are made of `patch_maps`.

P. Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017.
"""

import keras
from keras import layers

from util.networks.blocks import leaky, normalise

# Receptive field in pixels: how often the side is halved. At 1 all kernels are 1 x 1.
FIELDS_PX = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5, 574: 6}


def patch_widths(field_px, width):
    """Return the channels of the published levels for a receptive field, list of int.

    ValueError if `field_px` is none of `FIELDS_PX`.
    """
    if field_px not in FIELDS_PX:
        known = ", ".join(map(str, FIELDS_PX))
        raise ValueError(f"field is {field_px!r}; it must be one of {known}")
    return [width * min(2**level, 8) for level in range(max(2, FIELDS_PX[field_px] + 1))]


def patch_maps(
    x,
    widths,
    *,
    norm="none",
    side=4,
    initializer=lambda: "glorot_uniform",
    wrapped=lambda layer: layer,
    after=None,
    names=None,
):
    """Return what every level makes of a picture, list of tensors; the last one is the scores.

    What a level makes is taken before it is bent, as feature matching compares it. Each level
    halves the side, but the last one of `widths` and the scores, which keep it.

    Parameters
    ----------
    x : float32 (B, H, W, C)
    widths : list of int
        Channels of the levels.
    norm : {"none", "batch", "group", "instance"}
        Of all levels but the first and the scores.
    side : int
        Of the kernels; with 1 no level halves the side.
    initializer : callable
        ``initializer() -> initialiser`` of a kernel, a new one for each.
    wrapped : callable
        ``wrapped(convolution) -> layer`` that is used in its place, such as
        ``keras.layers.SpectralNormalization``.
    after : dict level -> callable, optional
        ``after[level](x) -> x``, what follows a level; the first is 1.
    names : list of str, optional
        Of the convolutions [down1, down2 .., wide, scores].

    Returns
    -------
    list of float32 (B, h, w, width), and scores (B, h, w, 1), linear
        At any H and W; sides are rounded up where they are halved.
    """

    def convolved(x, channels, name, **how):
        how |= {"padding": "same", "kernel_initializer": initializer()}
        return wrapped(layers.Conv2D(channels, side, name=name, **how))(x)

    names = names or [*(f"down{level}" for level in range(1, len(widths))), "wide", "scores"]
    maps = []
    for level, (channels, name) in enumerate(zip(widths, names[:-1], strict=True), start=1):
        strides = 1 if level == len(widths) or side == 1 else 2
        x = convolved(x, channels, name, strides=strides)
        maps.append(x if level == 1 else normalise(x, norm, name))
        x = leaky(maps[-1])
        x = after[level](x) if after and level in after else x
    return [*maps, convolved(x, 1, names[-1], dtype="float32")]


def patchgan(field_px=70, width=64, channels=3, norm="batch", name="discriminator", **how):
    """Build the published discriminator.

    Weights count 2,769,601 with a field of 70 pixels, width 64, 6 channels and batch norm.

    Parameters
    ----------
    field_px : int
        Side of the square that a score sees: one of `FIELDS_PX`.
    width : int
        Channels of the first level; later ones have up to eight times as many.
    channels : int
        Of the picture; 6 for a pair.
    norm : {"none", "batch", "group", "instance"}
    how : dict
        Other arguments of `patch_maps`.

    Returns
    -------
    keras.Model
        float32 (B, H, W, channels), 0..1, any height and width -> float32 scores (B, h, w, 1),
        linear.
    """
    picture = keras.Input((None, None, channels), name="picture")
    centred = layers.Rescaling(2.0, offset=-1.0, name="centre")(picture)  # -1..1
    side = 1 if field_px == 1 else 4
    maps = patch_maps(centred, patch_widths(field_px, width), norm=norm, side=side, **how)
    return keras.Model(picture, maps[-1], name=name)
