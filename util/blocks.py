"""Layers that several networks share."""

import keras
from keras import layers, ops

NORMS = ("none", "batch", "group", "instance")
UPSAMPLINGS = ("transposed", "resize")


def normalise(x, norm, name):
    """Apply the normalisation called `norm`: none, batch, group (of about 8 channels), instance."""
    if norm == "batch":
        # Synchronised: two replicas must see the averages that one with the same batch would see.
        return layers.BatchNormalization(synchronized=True, name=f"{name}_norm")(x)
    if norm == "group":
        channels = x.shape[-1]
        groups = next(g for g in range(max(1, channels // 8), 0, -1) if channels % g == 0)
        return layers.GroupNormalization(groups=groups, name=f"{name}_norm")(x)
    if norm == "instance":
        return layers.GroupNormalization(groups=-1, name=f"{name}_norm")(x)
    if norm == "none":
        return x
    raise ValueError(f"norm is {norm!r}; it must be one of {', '.join(NORMS)}")


def leaky(x):
    """Apply LeakyReLU with slope 0.2."""
    return layers.LeakyReLU(negative_slope=0.2)(x)


def down(x, width, name):
    """Halve the side: 4x4 stride-2 convolution, LeakyReLU."""
    return leaky(layers.Conv2D(width, 4, strides=2, padding="same", name=name)(x))


def up(x, width, norm, upsampling, name):
    """Double the side: 4x4 stride-2 transposed convolution (or resize and 3x3), norm, LeakyReLU."""
    if upsampling == "transposed":
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", name=name)(x)
    elif upsampling == "resize":
        x = layers.UpSampling2D(2, interpolation="nearest")(x)
        x = layers.Conv2D(width, 3, padding="same", name=name)(x)
    else:
        raise ValueError(
            f"upsampling is {upsampling!r}; it must be one of {', '.join(UPSAMPLINGS)}"
        )
    return leaky(normalise(x, norm, name))


@keras.saving.register_keras_serializable("cloud_removal")
class ReflectPad(layers.Layer):
    """Pad height and width by reflection, `width` pixels on each side.

    Also where a side is shorter than the padding, by reflecting again; the reflection that
    TensorFlow has refuses that, and a crop of 64 pixels is 2 pixels wide in the middle of a U-Net.
    """

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def call(self, x):
        for axis in (1, 2):
            side = ops.shape(x)[axis]
            before = self._mirrored(ops.arange(-self.width, 0), side)
            after = self._mirrored(side + ops.arange(self.width), side)
            parts = [ops.take(x, before, axis=axis), x, ops.take(x, after, axis=axis)]
            x = ops.concatenate(parts, axis=axis)
        return x

    @staticmethod
    def _mirrored(places, side):
        """Return which pixel of a row of `side` shows at these places of its endless reflection."""
        period = ops.maximum(2 * (side - 1), 1)
        # Mirrored at 0 first: ONNX converters get the modulo of negative numbers wrong.
        places = ops.mod(ops.abs(places), period)
        return ops.minimum(places, period - places)

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        grown = [side and side + 2 * self.width for side in (height, width)]
        return (batch, *grown, channels)

    def get_config(self):
        return {**super().get_config(), "width": self.width}
