"""The networks of DeblurGAN: a generator of residual blocks, and two critics.

O. Kupyn et al., "DeblurGAN: blind motion deblurring using conditional adversarial networks",
CVPR 2018.
"""

import keras
from keras import layers, ops

from util.networks.blocks import (
    TANH_SLOPE,
    ReflectPad,
    leaky_tanh,
    mirrored_places,
    normalise,
    squash,
)
from util.networks.doubled import DoubledConv2D
from util.networks.dropout import KeyedDropout
from util.networks.patchgan import patch_maps
from util.networks.unet import cloud_light, ground_from, possible_opacity

HEADS = ("light", "half", "add", "direct")
SIDE_MULTIPLE = 4  # the generator halves the side twice


# --- any height and width -----------------------------------------------------------------------


@keras.saving.register_keras_serializable("cloud_removal")
class PadToMultiple(layers.Layer):
    """Pad a picture by reflection, below and to the right, to multiples of `multiple` pixels."""

    def __init__(self, multiple, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x):
        for axis in (1, 2):
            side = ops.shape(x)[axis]
            # Not -side % multiple: ONNX converters get the modulo of negative numbers wrong.
            missing = (self.multiple - side % self.multiple) % self.multiple
            if isinstance(missing, int) and missing == 0:
                continue  # the size is known, and fits
            x = ops.take(x, mirrored_places(ops.arange(side + missing), side), axis=axis)
        return x

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        grown = [side and side + -side % self.multiple for side in (height, width)]
        return (batch, *grown, channels)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable("cloud_removal")
class CutLike(layers.Layer):
    """Cut a picture to the height and width of another one, from its top left corner."""

    def call(self, x, like):
        height, width = ops.shape(like)[1:3]
        return x[:, :height, :width]

    def compute_output_shape(self, x_shape, like_shape):
        return (x_shape[0], *like_shape[1:3], x_shape[3])


# --- generator ----------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("cloud_removal")
class Head(layers.Layer):
    """Turn the last convolution's channels into a picture; see `generator`."""

    def __init__(self, kind, slope=TANH_SLOPE, **kwargs):
        super().__init__(**kwargs)
        if kind not in HEADS:
            raise ValueError(f"head is {kind!r}; it must be one of {', '.join(HEADS)}")
        self.kind, self.slope = kind, slope

    def call(self, found, hazy):
        if self.kind == "light":
            light = cloud_light(found[..., 4:], self.slope)
            opacity = possible_opacity(squash(found[..., :1], self.slope), hazy, light)
            how = {"head": "light", "light": light, "slope": self.slope}
            return ground_from(found[..., 1:4], hazy, opacity, **how)
        if self.kind == "direct":
            return squash(found, self.slope)
        if self.kind == "add":
            return hazy + leaky_tanh(found, self.slope)
        # (tanh + h) / 2 for h = 2 hazy - 1 in -1..1, written for 0..1.
        return 0.5 * hazy + 0.25 * (leaky_tanh(found, self.slope) + 1.0)

    def compute_output_shape(self, found_shape, hazy_shape):
        return hazy_shape

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "slope": self.slope}


def generator(
    width=64,
    blocks=9,
    norm="batch",
    dropout=0.5,
    head="half",
    tanh_slope=TANH_SLOPE,
    name="generator",
):
    """Build the generator: down twice, residual blocks, up twice, and the hazy picture added.

    Trainable weights count 11,388,675 at width 64 with 9 blocks and batch norm.

    Parameters
    ----------
    width : int
        Channels at full size; the blocks have four times as many.
    blocks : int
        Residual blocks.
    norm : str
        One of `util.networks.blocks.NORMS`.
    dropout : float
        Share of a block's channels' entries that is zeroed while training.
    head : {"light", "half", "add", "direct"}
        "half" is the published one: half of the hazy picture, and half of what a tanh bounds to
        0..1. It cannot darken a pixel below half of its hazy brightness, nor brighten it beyond
        half way to white. "add" adds a tanh to the hazy picture: all is within reach, but the
        result, within -1..2, wants clipping. "direct" is the tanh alone, within -0.005..1.005.
        "light" finds how opaque the haze is, its transmission being the rest, and its light, takes
        it off by the scattering model, and adds a tanh (`util.networks.unet.ground_from`).
    tanh_slope : float
        See `leaky_tanh`.

    Returns
    -------
    keras.Model
        [hazy float32 (B, H, W, 3), 0..1, any height and width; key int32 (2,)] ->
        float32 (B, H, W, 3), 0..1. The key decides the dropout in training (`dropout_key`) and
        has no effect otherwise; `util.networks.dropout.made_by` fills it in.
    """
    w = width
    hazy = keras.Input((None, None, 3), name="hazy")
    key = keras.Input(batch_shape=(2,), dtype="int32", name="key")
    x = PadToMultiple(SIDE_MULTIPLE, name="pad_picture")(hazy)  # (B, H, W, 3), sides up to + 3
    x = layers.Rescaling(2.0, offset=-1.0, name="centre")(x)  # -1..1

    def convolution(x, channels, side, name, strides=1, padding="valid"):
        x = layers.Conv2D(channels, side, strides=strides, padding=padding, name=name)(x)
        return normalise(x, norm, name)

    x = ReflectPad(3, name="first_pad")(x)
    x = layers.ReLU()(convolution(x, w, 7, "first"))  # (B, H, W, w)
    for level in (1, 2):
        x = convolution(x, 2**level * w, 3, f"down{level}", strides=2, padding="same")
        x = layers.ReLU()(x)  # (B, H / 2^level, W / 2^level, 2^level w)
    for block in range(1, blocks + 1):  # all: (B, H / 4, W / 4, 4 w)
        y = ReflectPad(1, name=f"block{block}_pad1")(x)
        y = layers.ReLU()(convolution(y, 4 * w, 3, f"block{block}_conv1"))
        y = KeyedDropout(dropout, name=f"block{block}_dropout")(y, key)
        y = ReflectPad(1, name=f"block{block}_pad2")(y)
        y = convolution(y, 4 * w, 3, f"block{block}_conv2")
        x = layers.Add(name=f"block{block}")([x, y])
    for level, channels in ((2, 2 * w), (1, w)):
        x = DoubledConv2D(channels, 3, name=f"up{level}")(x)
        x = layers.ReLU()(normalise(x, norm, f"up{level}"))
        # (B, H / 2^(level-1), W / 2^(level-1), channels)
    x = ReflectPad(3, name="last_pad")(x)
    outputs = 7 if head == "light" else 3
    x = layers.Conv2D(outputs, 7, name="last", dtype="float32")(x)  # (B, H, W, C), up to + 3
    x = CutLike(name="cut", dtype="float32")(x, hazy)
    restored = Head(head, tanh_slope, name="head", dtype="float32")(x, hazy)
    return keras.Model([hazy, key], restored, name=name)


# --- critics ------------------------------------------------------------------------------------


def _bounded(x, sigmoid):
    """Return the scores within 0..1 if wanted, else as they are."""
    if not sigmoid:
        return x
    return layers.Activation("sigmoid", name="sigmoid", dtype="float32")(x)


def _patches(x, width, levels, norm):
    """Return a map of scores, one a patch: (B, ceil(H / 2^(levels+1)), .., 1), linear."""
    widths = [width, *(width * min(2**level, 8) for level in range(levels + 1))]
    return patch_maps(x, widths, norm=norm)[-1]


def _seen(picture, centred):
    """Return the picture as -1..1 if wanted, else as it is."""
    return layers.Rescaling(2.0, offset=-1.0, name="centre")(picture) if centred else picture


def patch_critic(width=64, levels=3, norm="none", sigmoid=False, centred=False, name="critic"):
    """Build the critic that scores patches of a picture, any height and width.

    Weights count 2,830,337 at width 64 with 3 levels and no norm.

    Parameters
    ----------
    width : int
        Channels of the first level; the last has up to eight times as many.
    levels : int
        How often the side is halved, after a first time.
    norm : {"none", "batch", "group", "instance"}
        Batch norm mixes the samples of a batch, and the gradient penalty is about each sample
        by itself: use another one with it.
    sigmoid : bool
        Bound the scores to 0..1, as `source_critic` does.
    centred : bool
        See the picture as -1..1, as the published code does.

    Returns
    -------
    keras.Model
        float32 (B, H, W, 3) -> float32 (B, ceil(H / 2^(levels+1)), ceil(W / 2^(levels+1)), 1),
        not bounded unless by the sigmoid.

    References
    ----------
    P. Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017.
    """
    picture = keras.Input((None, None, 3), name="picture")
    scores = _bounded(_patches(_seen(picture, centred), width, levels, norm), sigmoid)
    return keras.Model(picture, scores, name=name)


def source_critic(
    size_px=256, width=64, levels=3, norm="batch", sigmoid=True, centred=True, name="critic"
):
    """Build the published code's critic: `patch_critic`, and two dense layers over its map.

    Trainable weights count 3,096,450 at 256 pixels, width 64, 3 levels and batch norm.

    Parameters
    ----------
    size_px : int
        Side of the pictures; the dense layers take no other.
    width, levels, norm, centred
        As for `patch_critic`.
    sigmoid : bool
        Bound the score to 0..1, as the published code does, though a Wasserstein critic's score
        should have no bounds.

    Returns
    -------
    keras.Model
        float32 (B, S, S, 3) -> float32 (B, 1)
    """
    picture = keras.Input((size_px, size_px, 3), name="picture")
    x = _patches(_seen(picture, centred), width, levels, norm)  # (B, S / 16, S / 16, 1)
    x = layers.Flatten(name="flatten")(x)  # (B, (S / 16)^2)
    x = layers.Dense(1024, activation="tanh", name="dense")(x)
    x = layers.Dense(1, name="score", dtype="float32")(x)  # (B, 1)
    return keras.Model(picture, _bounded(x, sigmoid), name=name)
