"""Adam whose update of a variable is one operation."""

import keras
import tensorflow as tf


def adam_step(variable, gradient, first, second, *, step, rate, beta_1, beta_2, epsilon):
    """Move a variable by Adam, and the moments of its gradient with it.

    Keras spells the same formula with some twenty operations, each of which goes through the whole
    memory of a variable, and each of which must be traced and optimised before a first step.

    Parameters
    ----------
    variable, first, second : variables of one shape
        What is trained, and the running means of its gradient and of the gradient's square.
    gradient : tensor of that shape
    step : tensor
        How many updates came before.
    rate, beta_1, beta_2, epsilon : float or scalar tensor
        Of D. Kingma and J. Ba, "Adam: A method for stochastic optimization", ICLR 2015; epsilon is
        added to the root of the second moment before its bias is taken out, as in Keras.
    """
    kind = gradient.dtype
    count = tf.cast(step, kind) + 1
    beta_1, beta_2 = tf.constant(beta_1, kind), tf.constant(beta_2, kind)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=first.value.handle,
        v=second.value.handle,
        beta1_power=tf.pow(beta_1, count),
        beta2_power=tf.pow(beta_2, count),
        lr=tf.cast(rate, kind),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=tf.constant(epsilon, kind),
        grad=gradient,
        use_locking=True,
    )


class Adam(keras.optimizers.Adam):
    """As `keras.optimizers.Adam`, only quicker; see `adam_step`."""

    def update_step(self, gradient, variable, learning_rate):
        number = self._get_variable_index(variable)
        adam_step(
            variable,
            gradient,
            self._momentums[number],
            self._velocities[number],
            step=self.iterations.value,
            rate=learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
        )
