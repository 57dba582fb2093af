"""A convolution of a picture that was doubled before, without doubling it."""

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("cloud_removal")
class DoubledConv2D(layers.Conv2D):
    """Double the side by repeating pixels, then convolve: (B, H, W, C) -> (B, 2 H, 2 W, filters).

    Weights and result are those of ``Conv2D`` with padding "same" behind ``UpSampling2D(2)``. Of a
    doubled picture each 3 x 3 pixels hold 2 x 2 different ones; so the result is that of a
    transposed convolution with sums of the weights, 4 products in place of 9: forwards and
    backwards in two fifths of the time.

    Call arguments:
        inputs: (B, H, W, C).
        beside: (B, 2 H, 2 W, D), optional; what is as large already. The weights are then those
            behind both, joined.

    References
    ----------
    W. Shi et al., "Is the deconvolution layer the same as a convolutional layer?",
    arXiv:1609.07009, 2016.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, kernel_size, **{**kwargs, "padding": "same"})

    def build(self, inputs_shape, beside_shape=None):
        channels = inputs_shape[-1] + (beside_shape[-1] if beside_shape else 0)
        super().build((*inputs_shape[:-1], channels))
        self.input_spec = None  # of the joined channels

    def call(self, inputs, beside=None):
        own = inputs.shape[-1]
        found = self._doubled(inputs, self.kernel[:, :, :own])
        if beside is not None:
            found = found + ops.conv(beside, self.kernel[:, :, own:], padding="same")
        return found + self.bias

    def _doubled(self, inputs, kernel):
        down, across = (ops.cast(_spread(side), kernel.dtype) for side in self.kernel_size)
        # Keras wants the channels of a transposed convolution the other way round.
        spread = ops.einsum("ai,bj,ijco->aboc", down, across, kernel)
        return ops.conv_transpose(inputs, spread, strides=2, padding="same")

    def compute_output_shape(self, inputs_shape, beside_shape=None):
        batch, height, width, _ = inputs_shape
        doubled = [side and 2 * side for side in (height, width)]
        return (batch, *doubled, self.filters)


def _spread(side):
    """Return which weights of one axis join in which of the transposed kernel, (larger, side).

    Row ``2 j + odd`` of the result is the sum of ``weight[tap] * x[j + (odd + tap - before) // 2]``
    and of a transposed convolution that of ``weight[2 j + odd - 2 i + margin] * x[i]``.
    """
    before = (side - 1) // 2  # as padding "same" has it
    taps = [(odd, tap) for odd in (0, 1) for tap in range(side)]
    places = [odd - 2 * ((odd + tap - before) // 2) for odd, tap in taps]
    margin = max(-min(places), max(places) - 1)
    spread = np.zeros((2 * margin + 2, side), np.float32)
    for (_, tap), place in zip(taps, places, strict=True):
        spread[place + margin, tap] += 1
    return spread
