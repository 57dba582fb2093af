"""Muon for convolutions: updates whose directions all have the same length."""

import math

import keras
from keras import ops

from util.train.adam import adam_step

# Where one side is so short, as in the first and last layer, there are hardly any directions to
# even out.
_FEW_CHANNELS = 8


class Muon(keras.optimizers.Muon):
    """Train the kernels of convolutions with Muon, and everything else with Adam.

    A kernel is a matrix here: from one pixel's channels to those of the pixels that it reaches, or
    the other way. Its update is the nearest matrix to the momentum whose singular values are about
    one, so that rare directions move as far as frequent ones. Kernels with 8 channels or fewer on
    one side, norms and biases are trained by Adam at the same rate.

    Parameters
    ----------
    learning_rate : float
        Of the same size as Adam's: updates have 0.2 times a rate's root mean square.
    beta_1, beta_2, epsilon : float
        Of Adam.
    momentum : float
        Of Muon.

    References
    ----------
    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the size of
    its updates as in J. Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982.
    """

    def __init__(self, learning_rate, *, beta_1=0.9, beta_2=0.99, epsilon=1e-7, momentum=0.95):
        super().__init__(
            learning_rate,
            adam_beta_1=beta_1,
            adam_beta_2=beta_2,
            epsilon=epsilon,
            momentum=momentum,
            weight_decay=None,
            adam_weight_decay=None,
        )

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4 or min(variable.shape[2:]) <= _FEW_CHANNELS

    def _adamw_update_step(self, gradient, variable, learning_rate, m, v):
        adam_step(
            variable,
            gradient,
            m,
            v,
            step=self.iterations.value,
            rate=learning_rate,
            beta_1=self.adam_beta_1,
            beta_2=self.adam_beta_2,
            epsilon=self.epsilon,
        )

    def zeropower_via_newtonschulz5(self, x, steps):
        """Return the matrix of a kernel (h, w, a, b), as a kernel, its singular values about one.

        The quintic iteration of Newton and Schulz multiplies the matrix from one side by
        polynomials of its Gram matrix only; they are worked out first, on the small side, so that
        the matrix itself, sixteen times as long, is multiplied once.
        """
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        matrix = matrix / (ops.norm(matrix) + 1e-7)
        wide = matrix.shape[0] < matrix.shape[1]
        if wide:
            matrix = ops.transpose(matrix)
        gram, one = ops.matmul(ops.transpose(matrix), matrix), ops.eye(matrix.shape[1])
        product = one
        for _ in range(steps):
            factor = self.muon_a * one + ops.matmul(gram, self.muon_b * one + self.muon_c * gram)
            product = ops.matmul(product, factor)
            gram = ops.matmul(ops.matmul(factor, gram), factor)
        matrix = ops.matmul(matrix, product)
        return ops.reshape(ops.transpose(matrix) if wide else matrix, x.shape)

    def lr_adjust(self, x):
        """Return an update of a root mean square of about 0.2 whatever its shape, as Adam's are."""
        *sides, last = x.shape
        return x * (self.rms_rate * math.sqrt(max(math.prod(sides), last)))
