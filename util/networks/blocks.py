"""Layers that several networks share."""

import keras
import tensorflow as tf
from keras import layers, ops

from util.networks.doubled import DoubledConv2D

NORMS = ("none", "batch", "own", "group", "instance")
UPSAMPLINGS = ("transposed", "resize")


@keras.saving.register_keras_serializable("cloud_removal")
class OwnStatistics(layers.BatchNormalization):
    """Normalise by the mean and variance of what is in hand, also when the network is used.

    In training that is the batch; then it is each picture by itself, whatever is restored beside
    it: validation restores many at once, apply one. The averages are kept as batch norm keeps them:
    its checkpoints fit, and the other way round.
    """

    def call(self, x, training=None):
        if training:
            return super().call(x, training=True)
        given = ops.cast(x, "float32")
        mean, variance = ops.moments(given, axes=(1, 2), keepdims=True)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return ops.cast((given - mean) * scale + self.beta, self.compute_dtype)


def normalise(x, norm, name):
    """Apply the normalisation called `norm`.

    none, batch, own (`OwnStatistics`), group (of about 8 channels), instance.
    """
    if norm in ("batch", "own"):
        kind = layers.BatchNormalization if norm == "batch" else OwnStatistics
        # Synchronised: two replicas must see the averages that one with the same batch would see.
        return kind(synchronized=True, name=f"{name}_norm")(x)
    if norm == "group":
        channels = x.shape[-1]
        groups = next(g for g in range(max(1, channels // 8), 0, -1) if channels % g == 0)
        return layers.GroupNormalization(groups=groups, name=f"{name}_norm")(x)
    if norm == "instance":
        return layers.GroupNormalization(groups=-1, name=f"{name}_norm")(x)
    if norm == "none":
        return x
    raise ValueError(f"norm is {norm!r}; it must be one of {', '.join(NORMS)}")


def bounded(layer, spectral_norm=True):
    """Return a layer whose kernel's largest singular value is kept at 1, or the layer itself.

    Each pass in training mode divides the kernel itself by what one step of power iteration finds
    for that value (its vector is a weight, so a resumed run goes on exactly); other passes cost
    nothing. Miyato et al., ICLR 2018, divide a copy and lead the gradient through the division.
    """
    if not spectral_norm:
        return layer
    # Named: Keras would count those made so far, and a checkpoint would not fit again.
    name, dtype = f"{layer.name}_bounded", layer.dtype_policy
    return layers.SpectralNormalization(layer, name=name, dtype=dtype)


def leaky(x):
    """Apply LeakyReLU with slope 0.2."""
    return layers.LeakyReLU(negative_slope=0.2)(x)


def down(x, width, name):
    """Halve the side: 4x4 stride-2 convolution, LeakyReLU."""
    return leaky(layers.Conv2D(width, 4, strides=2, padding="same", name=name)(x))


def gated_down(x, width, name):
    """Halve the side: 4x4 stride-2 gated convolution, LeakyReLU times a sigmoid.

    The network learns where what it finds is to be trusted: not in a hole.

    References
    ----------
    J. Yu et al., "Free-form image inpainting with gated convolution", ICCV 2019.
    """
    x = layers.Conv2D(2 * width, 4, strides=2, padding="same", name=name)(x)
    found, trust = ops.split(x, 2, axis=-1)  # of two slices the gradient would be padded twice
    return leaky(found) * ops.sigmoid(trust)


def dilated_block(x, dilation, norm, name):
    """Add to x what two 3x3 convolutions find, the first of which reaches `dilation` times as far.

    References
    ----------
    S. Iizuka, E. Simo-Serra, H. Ishikawa, "Globally and locally consistent image completion", ACM
    Transactions on Graphics 36(4), 2017: the dilated middle.
    """
    found = x
    for reach, part in ((dilation, "wide"), (1, "near")):
        layer = layers.Conv2D(
            x.shape[-1], 3, padding="same", dilation_rate=reach, name=f"{name}_{part}"
        )
        found = leaky(normalise(layer(found), norm, f"{name}_{part}"))
    return x + found


def up(x, width, norm, upsampling, name):
    """Double the side: 4x4 stride-2 transposed convolution (or resize and 3x3), norm, LeakyReLU."""
    if upsampling == "transposed":
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", name=name)(x)
    elif upsampling == "resize":
        x = DoubledConv2D(width, 3, name=name)(x)
    else:
        raise ValueError(
            f"upsampling is {upsampling!r}; it must be one of {', '.join(UPSAMPLINGS)}"
        )
    return leaky(normalise(x, norm, name))


TANH_SLOPE = 0.001


def leaky_tanh(x, slope=TANH_SLOPE):
    """Return tanh, whose gradient keeps a slope of a thousandth in the flat ends.

    One bad step can push all that a network gives far out. There the slope of tanh in float32 is
    exactly 0, and the network would never learn again; with this one it comes back.
    """
    if not slope:
        return ops.tanh(x)
    return ops.tanh(x) + slope * (x - ops.stop_gradient(x))  # the second part is 0


def squash(x, slope=TANH_SLOPE):
    """Return tanh stretched to -0.005..1.005: 0 and 1 are reached with a gradient left."""
    return 0.505 * leaky_tanh(x, slope) + 0.5


@keras.saving.register_keras_serializable("cloud_removal")
class Squash(layers.Layer):
    """Apply `squash` as a layer of a network."""

    def __init__(self, slope=TANH_SLOPE, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, x):
        return squash(x, self.slope)

    def get_config(self):
        return {**super().get_config(), "slope": self.slope}


@keras.saving.register_keras_serializable("cloud_removal")
class ModeProducts(layers.Layer):
    """Multiply a tensor along each of its axes by a matrix, and add a bias: a factored layer.

    ``y = x *1 U1 *2 U2 *3 U3 + b`` maps (B, h, w, c) to (B, *shape) as a dense layer does, with a
    matrix an axis in place of one over all entries.

    Args:
        shape: the three sides of the result.

    References:
        X. Cao, X. Zhao, Q. Zhao, "Tensorizing generative adversarial nets", arXiv:1710.10772, 2017,
        factor every layer of both networks so. The mode-n product: T. G. Kolda, B. W. Bader,
        "Tensor decompositions and applications", SIAM Review 51(3), 2009, section 2.5.
    """

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def build(self, input_shape):
        sides = zip("hwc", input_shape[1:], self.shape, strict=True)
        self.factors = [
            self.add_weight(name=f"factor_{axis}", shape=(before, after))
            for axis, before, after in sides
        ]
        self.bias = self.add_weight(name="bias", shape=self.shape, initializer="zeros")

    def call(self, x):
        return ops.einsum("bhwc,hi,wj,ck->bijk", x, *self.factors) + self.bias

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.shape)

    def get_config(self):
        return {**super().get_config(), "shape": self.shape}


@keras.saving.register_keras_serializable("cloud_removal")
class SmoothFill(layers.Layer):
    """Fill holes smoothly from what is known around them, by a pyramid of averages.

    Known pixels are averaged over cells of 2, 4, 8 .. pixels; then, from the coarsest level to
    the finest, what a cell lacks is taken from the level above it. What the coarsest lacks, too,
    gets the mean of all that is known.

    With sweeps the filling is close to a membrane, the solution of Laplace's equation that
    `util.pictures.harmonic` finds: at each level pixels of the hole become the means of their
    neighbours, again and again. A solver that stops when it is exact has no place in a network,
    which must be the same graph for every picture; the correction learns the rest.

    Args:
        levels: how often the side is halved; height and width must be multiples of ``2^levels``.
        sweeps: how often neighbours are averaged at full size; twice as often at each coarser
            level, up to eight times. With any, a coarse cell of which anything is known is known.

    Call arguments:
        holed: (B, H, W, C), zero where nothing is known.
        known: (B, H, W, 1), 1 where all is known, 0 where nothing is.

    References:
        S. J. Gortler, R. Grzeszczuk, R. Szeliski, M. F. Cohen, "The lumigraph", SIGGRAPH 1996,
        section 3.4 (push-pull). F. A. Bornemann, P. Deuflhard, "The cascadic multigrid method for
        elliptic problems", Numerische Mathematik 75, 1996 (sweeps, from coarse to fine).
    """

    def __init__(self, levels=5, sweeps=0, **kwargs):
        super().__init__(**kwargs)
        self.levels, self.sweeps = levels, sweeps

    def call(self, holed, known):
        pyramid = [(holed, known)]
        for _ in range(self.levels):
            pyramid.append([ops.average_pool(x, 2) for x in pyramid[-1]])
        # The share that is known is the weight of a colour: both are averaged alike.
        colour, weight = (ops.mean(x, axis=(1, 2), keepdims=True) for x in pyramid[-1])
        filled = colour / ops.maximum(weight, 1e-6)
        for level in range(self.levels, -1, -1):
            colour, weight = pyramid[level]
            if level < self.levels:
                # Keras' own resizing wants numbers where the size is known at run time only.
                filled = tf.image.resize(filled, tf.shape(colour)[1:3])
            if self.sweeps and level:
                some = ops.cast(weight > 0.0, weight.dtype)
                colour, weight = some * colour / ops.maximum(weight, 1e-6), some
            filled = colour + (1.0 - weight) * filled
            for _ in range(self.sweeps * min(2**level, 8)):
                # At the border the mean of those that there are: the membrane ends level there.
                around = ops.average_pool(filled, 3, strides=1, padding="same")
                filled = colour + (1.0 - weight) * around
        return filled

    def compute_output_shape(self, holed_shape, known_shape):
        return holed_shape

    def get_config(self):
        return {**super().get_config(), "levels": self.levels, "sweeps": self.sweeps}


@keras.saving.register_keras_serializable("cloud_removal")
class FixedNoise(layers.Layer):
    """Return noise that depends on the place alone: (B, H, W, C) -> (B, H, W, 1), -1..1, uniform.

    It gives a network something irregular to make texture from, and the same picture gives the
    same result. Three rounds of squaring modulo a prime mix row and column; whole numbers come
    out alike in every program that a network is exported to, random generators would not.
    """

    PRIME = 4093  # its square fits into 32 bits with room to spare

    def call(self, x):
        rows = ops.arange(ops.shape(x)[1], dtype="int32")[:, None]
        columns = ops.arange(ops.shape(x)[2], dtype="int32")[None, :]
        mixed = ops.mod(rows * 71 + columns * 131 + 17, self.PRIME)
        for row_factor, column_factor in ((57, 1009), (91, 3), (5, 2011)):
            mixed = ops.mod(mixed * mixed, self.PRIME)
            mixed = ops.mod(mixed + rows * row_factor + columns * column_factor, self.PRIME)
        mixed = ops.mod(mixed * mixed, self.PRIME) + 1009 * mixed
        noise = ops.cast(ops.mod(mixed, self.PRIME), "float32") * (2.0 / (self.PRIME - 1)) - 1.0
        return ops.zeros_like(x[..., :1]) + ops.cast(noise[None, :, :, None], x.dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable("cloud_removal")
class EnlargedDetail(layers.Layer):
    """Centre a picture and enlarge its detail: (B, H, W, C), 0..1, stays (B, H, W, C).

    ``mean - 0.5 + gain * (x - mean)`` with the mean of the 5 x 5 pixels around each. The texture
    of ground is a few hundredths of its brightness, and far from where a LeakyReLU bends a
    network is linear: it cannot tell texture from its mean. With both of the same size it can at
    once, before it has learned to take the brightness away.

    Args:
        gain: by how much the detail is multiplied.
    """

    WINDOW_PX = 5

    def __init__(self, gain, **kwargs):
        # In float32 always: the difference of bfloat16 numbers would be their rounding.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.gain = gain

    def call(self, x):
        mean = ops.average_pool(x, self.WINDOW_PX, strides=1, padding="same")
        return mean - 0.5 + self.gain * (x - mean)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


def mirrored_places(places, side):
    """Return which pixel of a row of `side` shows at these places of its endless reflection."""
    period = ops.maximum(2 * (side - 1), 1)
    # Mirrored at 0 first: ONNX converters get the modulo of negative numbers wrong.
    places = ops.mod(ops.abs(places), period)
    return ops.minimum(places, period - places)


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
            before = mirrored_places(ops.arange(-self.width, 0), side)
            after = mirrored_places(side + ops.arange(self.width), side)
            parts = [ops.take(x, before, axis=axis), x, ops.take(x, after, axis=axis)]
            x = ops.concatenate(parts, axis=axis)
        return x

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        grown = [side and side + 2 * self.width for side in (height, width)]
        return (batch, *grown, channels)

    def get_config(self):
        return {**super().get_config(), "width": self.width}
