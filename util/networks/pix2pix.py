"""The generator of pix2pix: a U-Net of strided convolutions, down to a few pixels."""

import keras
from keras import layers, ops

from util.networks.blocks import TANH_SLOPE, leaky, normalise, squash
from util.networks.deblurgan import CutLike, Head, PadToMultiple
from util.networks.doubled import DoubledConv2D
from util.networks.dropout import PlacedDropout

_DROPPED = 3  # levels on the way up, from the deepest, that drop out
_FIRST_LOGIT = -1.0  # of what is damaged: at first it is taken to be little


def first_kernel(stddev=0.02):
    """Return the published initialiser of kernels: N(0, 0.02)."""
    return keras.initializers.RandomNormal(stddev=stddev)


def translator(
    width=64,
    levels=8,
    norm="batch",
    dropout=0.5,
    used_as_trained=True,
    output="direct",
    upsampling="transposed",
    tanh_slope=TANH_SLOPE,
    name="generator",
):
    """Build the generator: levels down, as many up, each joined with its twin on the way down.

    Trainable weights count 54,419,459 at width 64 with 8 levels, batch norm and transposed
    convolutions.

    Parameters
    ----------
    width : int
        Channels of the first level; later ones have up to eight times as many.
    levels : int
        How often the side is halved, 4 or more.
    norm : {"none", "batch", "group", "instance"}
        Of all levels but the first, the deepest and the last.
    dropout : float
        Share of the entries of the three deepest levels on the way up that is zeroed.
    used_as_trained : bool
        Whether the network is used as it is trained: with dropout (`PlacedDropout`), and with each
        picture's own statistics where the norm is "batch" (`util.networks.blocks.OwnStatistics`).
    output : {"found", "add", "half", "direct"}
        "found": a fourth channel says where the picture is damaged, and only there is what is
        painted laid over it, see `laid_over`. The others, of which "direct" is the published one:
        see `util.networks.deblurgan.generator`.
    upsampling : {"transposed", "resize"}
        "transposed", as published, leaves checkerboards. "resize": nearest neighbour, then 3x3; the
        last of them sees the picture, too, and with it detail of a single pixel.
    tanh_slope : float
        See `util.networks.blocks.leaky_tanh`.

    Returns
    -------
    keras.Model
        [picture float32 (B, H, W, 3), 0..1, any height and width; key int32 (2,)] -> dict with
        made, float32 (B, H, W, 3), and as `laid_over` says with "found";
        `util.networks.dropout.made_by` calls it.

    References
    ----------
    P. Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017.
    """
    picture = keras.Input((None, None, 3), name="picture")
    key = keras.Input(batch_shape=(2,), dtype="int32", name="key")
    x = PadToMultiple(2**levels, name="pad_picture")(picture)
    x = centred = layers.Rescaling(2.0, offset=-1.0, name="centre")(x)  # -1..1

    if norm == "batch" and used_as_trained:
        norm = "own"

    # The published kernels need a norm: without one each level hands on a part of what it is given.
    first = first_kernel if norm != "none" else keras.initializers.HeNormal
    how = {"padding": "same"}
    kept = []
    for level in range(1, levels + 1):
        x = leaky(x) if kept else x
        channels, at = width * min(2 ** (level - 1), 8), f"down{level}"
        x = layers.Conv2D(channels, 4, strides=2, kernel_initializer=first(), name=at, **how)(x)
        x = normalise(x, norm, at) if 1 < level < levels else x
        kept.append(x)  # (B, H / 2^level, W / 2^level, channels)
    for level in range(levels, 0, -1):
        x = layers.ReLU()(x if level == levels else layers.Concatenate()([x, kept[level - 1]]))
        last = 4 if output == "found" else 3
        channels, at = width * min(2 ** (level - 2), 8) if level > 1 else last, f"up{level}"
        # What is added is little at first.
        kernel = first() if level > 1 else first_kernel(0.005 if output == "add" else 0.02)
        options = {"kernel_initializer": kernel, "name": at, **how}
        options |= {"dtype": "float32"} if level == 1 else {}
        if upsampling == "transposed":
            x = layers.Conv2DTranspose(channels, 4, strides=2, **options)(x)
        else:
            x = DoubledConv2D(channels, 3, **options)(x, centred if level == 1 else None)
        if level > 1:
            x = normalise(x, norm, at)  # (B, H / 2^(level-1), W / 2^(level-1), channels)
        if max(1, levels - _DROPPED) < level:
            period = 2 ** (levels - level + 1)  # a square of 2^levels pixels of the picture
            x = PlacedDropout(dropout, used_as_trained, period, name=f"{at}_dropout")(x, key)
    x = CutLike(name="cut", dtype="float32")(x, picture)
    if output == "found":
        made = laid_over(picture, x[..., :1], x[..., 1:], tanh_slope)
    else:
        made = {"made": Head(output, tanh_slope, name="head", dtype="float32")(x, picture)}
    return keras.Model([picture, key], made, name=name)


def laid_over(picture, damage, painted, tanh_slope=TANH_SLOPE):
    """Lay what is painted over a picture where it is damaged.

    Parameters
    ----------
    picture : float32 (B, H, W, 3), 0..1
    damage : float32 (B, H, W, 1)
        What the network gives for how damaged it is, linear.
    painted : float32 (B, H, W, 3)
        Linear; `squash` makes it a picture.
    tanh_slope : float
        See `util.networks.blocks.leaky_tanh`.

    Returns
    -------
    dict
        made (B, H, W, 3), the picture with what is painted; painted (B, H, W, 3), that alone;
        share (B, H, W, 1), 0..1, of it that is taken; logit (B, H, W, 1), that share before the
        sigmoid.

    References
    ----------
    R. Qian et al., "Attentive generative adversarial network for raindrop removal from a single
    image", CVPR 2018: a map of drops, learnt from where the pairs differ.
    """
    logit = damage + _FIRST_LOGIT
    painted, share = squash(painted, tanh_slope), ops.sigmoid(logit)
    made = picture + share * (painted - picture)
    return {"made": made, "painted": painted, "share": share, "logit": logit}
