"""Compare pictures by the features that VGG16 sees in them."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from util.say import UserError

BUNDLED_WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "vgg16_block1to3.npz"

# (block, convolutions, channels)
_BLOCKS = ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512))
# Every convolution in order: (name, channels in, channels out).
_CONVOLUTIONS = []
for _block, _count, _width in _BLOCKS:
    for _number in range(1, _count + 1):
        _before = _CONVOLUTIONS[-1][2] if _CONVOLUTIONS else 3
        _CONVOLUTIONS.append((f"block{_block}_conv{_number}", _before, _width))
LAYERS = tuple(name for name, _, _ in _CONVOLUTIONS)

_MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, subtracted when VGG16 was trained


class CaffeColours(layers.Layer):
    """Turn RGB 0..1 into what VGG16 was trained on: BGR 0..255 minus the mean of ImageNet."""

    def call(self, x):
        return x[..., ::-1] * 255.0 - tf.constant(_MEAN_BGR, x.dtype)


def vgg16_features(layer="block3_conv3", weights_file=None, raw=False):
    """Build VGG16 up to one or several of its convolutions, trained on ImageNet and frozen.

    Call it within the strategy's scope. It belongs neither into `TrainState.networks` nor into
    a checkpoint: it never changes. All its arithmetic is float32, under mixed precision too, and
    it draws no random numbers, so other networks begin the same with and without it.

    Parameters
    ----------
    layer : str
        One of `LAYERS`, or several with commas between; their outputs after ReLU are returned.
    weights_file : str or Path, optional
        An .npz with arrays ``blockB_convC/kernel`` (height, width, in, out) and ``/bias``.
        Default: the bundled one, which ends at block3_conv3. For a layer of block 4 or 5 that
        the file does not hold, Keras downloads VGG16 (about 60 MB, kept in ~/.keras).
    raw : bool
        Give it RGB as -1..1, as published networks have been trained with, instead of the colours
        that it was trained on.

    Returns
    -------
    keras.Model
        RGB float32 (B, H, W, 3), 0..1, any size -> float32 (B, H / 2^(block-1), .., channels), a
        list of them for several layers.

    Raises
    ------
    UserError
        The layer is unknown, the file is missing, damaged or does not fit, or the download
        failed; the message names layer or file and the remedy.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
    recognition", ICLR 2015; as a loss: J. Johnson et al., ECCV 2016.
    """
    names = [name.strip() for name in layer.split(",")]
    for name in names:
        if name not in LAYERS:
            raise UserError(
                f"VGG16 has no convolution {name!r}; choose one of: {', '.join(LAYERS)}"
            )
    wanted = _CONVOLUTIONS[: max(map(LAYERS.index, names)) + 1]
    weights = _weights(wanted, Path(weights_file or BUNDLED_WEIGHTS))
    picture = keras.Input((None, None, 3), name="picture", dtype="float32")
    if raw:
        x = layers.Rescaling(2.0, offset=-1.0, name="centre", dtype="float32")(picture)
    else:
        x = CaffeColours(name="caffe_colours", dtype="float32")(picture)
    found = {}
    for name, _, width in wanted:
        if name.endswith("conv1") and name != LAYERS[0]:
            x = layers.MaxPooling2D(2, name=f"{name.split('_')[0]}_pool", dtype="float32")(x)
        x = layers.Conv2D(  # (B, H / 2^(block-1), W / 2^(block-1), width)
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="zeros",  # the usual one would use up random numbers
            name=name,
            dtype="float32",
        )(x)
        found[name] = x
    outputs = [found[name] for name in names]
    model = keras.Model(picture, outputs if len(names) > 1 else x, name="vgg16_features")
    model.trainable = False
    for name, _, _ in wanted:
        model.get_layer(name).set_weights(weights[name])
    return model


def perceptual_loss(features_a, features_b):
    """Return the mean squared difference of two features (B, h, w, c), a float32 scalar.

    Of two lists of features the sum of these.
    """
    pairs = zip(tf.nest.flatten(features_a), tf.nest.flatten(features_b), strict=True)
    return tf.add_n([tf.reduce_mean(tf.square(tf.cast(a, tf.float32) - b)) for a, b in pairs])


def _weights(wanted, file):
    """Return dict layer -> [kernel, bias], float32, from the file or, beyond it, from Keras."""
    needed = {f"{name}/{part}" for name, _, _ in wanted for part in ("kernel", "bias")}
    try:
        with np.load(file, allow_pickle=False) as archive:
            held = needed & set(archive.files)
            arrays = {name: archive[name] for name in held}
    except FileNotFoundError:
        raise UserError(
            f"{file}: no such file. Name an .npz with the weights of VGG16; the bundled one is "
            f"data/{BUNDLED_WEIGHTS.name} of this project"
        ) from None
    except Exception as error:  # damage shows itself in errors of every class
        raise UserError(
            f"{file}: cannot be read as an .npz of arrays ({type(error).__name__}). Fetch it "
            f"again; the bundled one is data/{BUNDLED_WEIGHTS.name} of this project"
        ) from None
    last = wanted[-1][0]
    if f"{last}/kernel" not in held and last.startswith(("block4", "block5")):
        return _downloaded(wanted)
    if missing := sorted(needed - held):
        raise UserError(
            f"{file}: {missing[0]} is not in it, which the layer {last} needs. Choose an earlier "
            "layer or another file"
        )
    return {name: _checked(file, name, before, after, arrays) for name, before, after in wanted}


def _checked(file, name, before, after, arrays):
    """Return [kernel, bias] of a layer as float32 if they are finite and of the right shape."""
    checked = []
    for part, shape in (("kernel", (3, 3, before, after)), ("bias", (after,))):
        array = arrays[f"{name}/{part}"]
        if array.shape != shape or array.dtype.kind != "f":
            raise UserError(
                f"{file}: {name}/{part} is {array.dtype} {array.shape}, VGG16 has float {shape}. "
                "This file is not for VGG16; name another"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{file}: {name}/{part} holds nan or infinity. Fetch the file again")
        checked.append(array.astype(np.float32))
    return checked


def _downloaded(wanted):
    last = wanted[-1][0]
    try:
        whole = keras.applications.VGG16(weights="imagenet", include_top=False)
    except Exception as error:  # the network gives errors of every class
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the layer {last} is not in the weights file, and Keras could not download VGG16 "
            f"({reason}). Connect this machine to the internet once, name a file that holds the "
            "layer, or choose block3_conv3 or an earlier one, which are bundled"
        ) from None
    return {name: whole.get_layer(name).get_weights() for name, _, _ in wanted}
