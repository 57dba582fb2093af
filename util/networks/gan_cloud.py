"""The networks of mod_GAN_cloud.py: a U-Net with max-pooling, and a residual discriminator."""

import keras
from keras import layers

from util.networks.blocks import normalise
from util.networks.deblurgan import Head

OUTPUTS = ("add", "direct")
_LEVELS = 4  # how often the U-Net halves the side
_STAGES = (1, 2, 8, 16)  # channels of a stage's residual blocks, in those of the first convolution


def pool_unet(base_width, norm="batch", output="direct", name="generator"):
    """Build the U-Net: two 3x3 convolutions a level, max-pooling down, 2x2 transposed ones up.

    Trainable weights count 7,766,819 at base width 32 with batch norm.

    Parameters
    ----------
    base_width : int
        Channels of the first level; the deepest has 16 times as many.
    norm : {"none", "batch", "group", "instance"}
    output : {"add", "direct"}
        "direct" is the published one: the last layer's sigmoid is the picture. "add": its tanh is
        added to the cloudy picture.

    Returns
    -------
    keras.Model
        float32 (B, H, W, 3), 0..1 -> the same, within -1..2 if added; H and W multiples of 16.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015.
    """

    def twice(x, width, name):
        for i in (1, 2):
            x = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv{i}")(x)
            x = layers.ReLU()(normalise(x, norm, f"{name}_conv{i}"))
        return x

    picture = keras.Input((None, None, 3), name="picture")
    x, levels = picture, []
    for level in range(_LEVELS):
        x = twice(x, base_width * 2**level, f"down{level}")  # (B, H / 2^level, .., 2^level w)
        levels.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
    x = twice(x, base_width * 2**_LEVELS, "middle")  # (B, H / 16, W / 16, 16 w)
    for level in reversed(range(_LEVELS)):
        width = base_width * 2**level
        x = layers.Conv2DTranspose(width, 2, strides=2, name=f"up{level}_size")(x)
        x = layers.Concatenate(name=f"join{level}")([x, levels[level]])
        x = twice(x, width, f"up{level}")  # (B, H / 2^level, W / 2^level, 2^level w)
    # What is added is little at first: else a hundred steps go into taking it back.
    first = keras.initializers.RandomNormal(stddev=0.02) if output == "add" else "glorot_uniform"
    how = {"kernel_initializer": first, "name": "last", "dtype": "float32"}
    x = layers.Conv2D(3, 3, padding="same", **how)(x)
    if output == "add":
        x = Head("add", name="head", dtype="float32")(x, picture)
    elif output == "direct":
        x = layers.Activation("sigmoid", name="head", dtype="float32")(x)
    else:
        raise ValueError(f"output is {output!r}; it must be one of {', '.join(OUTPUTS)}")
    return keras.Model(picture, x, name=name)


def residual_discriminator(width, blocks=(3, 4, 6, 3), norm="batch", name="discriminator"):
    """Build the discriminator: four stages of residual blocks, their mean, and one logit.

    Trainable weights count 5,035,489 at width 16 with batch norm. The published one bounded its
    logit by a sigmoid, and its loss did so once more.

    Parameters
    ----------
    width : int
        Channels of the first convolution; the last stage has 16 times as many.
    blocks : (int, int, int, int)
        Residual blocks of each stage.
    norm : {"none", "batch", "group", "instance"}

    Returns
    -------
    keras.Model
        float32 (B, H, W, 3), 0..1, any height and width -> float32 (B, 1), linear.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016.
    """

    def convolution(x, channels, side, name, strides=1):
        x = layers.Conv2D(channels, side, strides=strides, padding="same", name=name)(x)
        return normalise(x, norm, name)

    picture = keras.Input((None, None, 3), name="picture")
    x = layers.ReLU()(convolution(picture, width, 3, "first"))
    x = layers.MaxPooling2D(2, padding="same", name="pool")(x)  # (B, H / 2, W / 2, w)
    for stage, (count, times) in enumerate(zip(blocks, _STAGES, strict=True), start=1):
        for block in range(1, count + 1):
            channels, at = times * width, f"stage{stage}_block{block}"
            strides = 2 if stage > 1 and block == 1 else 1
            y = layers.ReLU()(convolution(x, channels, 3, f"{at}_conv1", strides))
            y = convolution(y, channels, 3, f"{at}_conv2")
            if strides > 1:
                # Not a convolution with strides: oneDNN, with which TensorFlow computes on CPUs,
                # writes beyond its memory in the gradient of a kernel smaller than its strides.
                x = convolution(x[:, ::strides, ::strides], channels, 1, f"{at}_project")
            x = layers.ReLU(name=at)(layers.Add()([x, y]))
        # (B, H / 2^stage, W / 2^stage, channels)
    x = layers.GlobalAveragePooling2D(name="mean")(x)  # (B, 16 w)
    return keras.Model(picture, layers.Dense(1, name="logit", dtype="float32")(x), name=name)
