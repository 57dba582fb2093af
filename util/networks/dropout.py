"""Dropout without a state: what is dropped follows from a key, and so from the step alone."""

import zlib

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def dropout_key(seed, step, call=0):
    """Return the key of one pass through a network, int32 (2,): a pure function of where it is.

    Nothing has to be saved for an exact resume, and every replica draws masks of its own.

    Parameters
    ----------
    seed : int
        The run's.
    step : int or integer tensor, below 2**31
    call : int
        Which of a step's passes it is, where there are several.

    Raises
    ------
    RuntimeError
        Called under a strategy but outside `strategy.run`, where there is no replica.
    """
    context = tf.distribute.get_replica_context()
    if context is None:
        raise RuntimeError("dropout_key must be called within strategy.run")
    key = tf.stack([tf.constant(seed, tf.int32), tf.cast(step, tf.int32)])
    for number in (call, context.replica_id_in_sync_group):
        key = tf.random.fold_in(key, tf.cast(number, tf.int32), alg="philox")
    return key


@keras.saving.register_keras_serializable("cloud_removal")
class KeyedDropout(layers.Layer):
    """Zero a share of the entries while training; which ones depends on the key and the name.

    Keras' own Dropout keeps a random state, which checkpoints leave out and replicas share. XLA
    draws other numbers from a key than TensorFlow does: a run is exact as long as it keeps either.

    Args:
        rate: share of the entries to zero, 0 or more and below 1; the others are divided by
            1 - rate.

    Call arguments:
        x: float tensor.
        key: int32 (2,), see `dropout_key`.
        training: without it x is returned as it is.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout is {rate}; it must be 0 or more and below 1")
        self.rate = rate

    def call(self, x, key, training=False):
        if not training or self.rate == 0:
            return x
        # The algorithm is named, since the default one depends on the device.
        key = tf.random.fold_in(key, zlib.crc32(self.name.encode()) & 0x7FFFFFFF, alg="philox")
        # Drawn in float32: bfloat16 has too few values below 1 for the rate to come out right.
        drawn = tf.random.stateless_uniform(tf.shape(x), key, alg="philox")
        return tf.where(drawn >= self.rate, x / (1.0 - self.rate), tf.zeros_like(x))

    def compute_output_shape(self, x_shape, key_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("cloud_removal")
class PlacedDropout(KeyedDropout):
    """Drop out while training by a key, and, if asked for, by the place when the network is used.

    The mask of a square repeats itself over the picture: tiles that start at multiples of its side
    drop the same entries, so they join, and the same picture gives the same result.

    Args:
        rate: as for `KeyedDropout`.
        used: whether to drop out when the network is used, too.
        period: side of the square, in pixels of this layer.
    """

    def __init__(self, rate, used=False, period=8, **kwargs):
        super().__init__(rate, **kwargs)
        self.used, self.period = used, period

    def call(self, x, key, training=False):
        if training or self.rate == 0 or not self.used:
            return super().call(x, key, training)
        # Drawn once and by NumPy: random generators differ in programs that it is exported to.
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        drawn = rng.random((self.period, self.period, x.shape[-1]))
        scale = tf.constant((drawn >= self.rate) / (1.0 - self.rate), x.dtype)
        rows, columns = (tf.range(tf.shape(x)[axis]) % self.period for axis in (1, 2))
        return x * tf.gather(tf.gather(scale, rows, axis=0), columns, axis=1)

    def get_config(self):
        return {**super().get_config(), "used": self.used, "period": self.period}


def made_by(network, picture, key=None):
    """Return what a generator with dropout makes of pictures; see there what it returns.

    Parameters
    ----------
    network : keras.Model
        Of [picture, key].
    picture : float32 (B, H, W, 3), 0..1
    key : int32 (2,), optional
        From `dropout_key`: the network is trained, with dropout. Without it, it is only used.
    """
    picture = tf.convert_to_tensor(picture)  # Keras does not take an array beside a tensor
    if key is None:
        return network([picture, tf.zeros((2,), tf.int32)], training=False)
    return network([picture, key], training=True)
