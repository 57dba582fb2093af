"""Self-attention: every place of a map looks at all others, however far away."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("cloud_removal")
class SelfAttention(layers.Layer):
    """Add to each place what it finds at the places that are like it: (B, H, W, C), any size.

    ``x + gamma * softmax(query(x) key(seen)^T) value(seen)``. Queries and keys have an eighth of
    the channels; gamma is 0 at first, where the layer changes nothing. What is `seen` is x itself;
    of a larger map the means over `most` x `most` areas. So the weights of the softmax take
    4 H W most^2 bytes, which grow with the map and not with its square.

    What a place gets depends on the whole map: of a picture in tiles on the tile that it is in.

    Args:
        most: greatest side of what is seen [any].

    References:
        H. Zhang, I. Goodfellow, D. Metaxas, A. Odena, "Self-attention generative adversarial
        networks", ICML 2019, section 3.
    """

    def __init__(self, most=None, **kwargs):
        super().__init__(**kwargs)
        self.most = most

    def build(self, shape):
        channels = shape[-1]
        inner = max(1, channels // 8)
        for name, width in (("query", inner), ("key", inner), ("value", channels)):
            dense = layers.Dense(width, name=name, dtype=self.dtype_policy)
            dense.build(shape)
            setattr(self, name, dense)
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def call(self, x):
        seen = x
        if self.most:
            seen = _area_means(_area_means(x, self.most, 1), self.most, 2)
        query, key, value = _places(self.query(x)), _places(self.key(seen)), self.value(seen)
        alike = ops.einsum("bnc,bmc->bnm", query, key)
        # In float32: bfloat16 has no more than 8 bits to tell weights apart.
        weights = ops.cast(ops.softmax(ops.cast(alike, "float32")), x.dtype)
        found = ops.einsum("bnm,bmc->bnc", weights, _places(value))
        return x + ops.cast(self.gamma, x.dtype) * ops.reshape(found, ops.shape(x))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "most": self.most}


def _places(x):
    """Return (B, H, W, C) as (B, H W, C)."""
    batch, _, _, channels = ops.shape(x)
    # Not their product: where it is known at run time only, ONNX converters make 1 of it.
    return ops.reshape(x, (batch, -1, channels))


def _area_means(x, most, axis):
    """Return the means over `most` equal parts of an axis, 1 or 2; x where it is no longer."""
    side = ops.shape(x)[axis]
    if isinstance(side, int) and side <= most:
        return x
    # The size may be known at run time only, so the parts come as a matrix of shares.
    count = ops.minimum(side, most)
    length = ops.cast(side, "float32") / ops.cast(count, "float32")
    start = ops.cast(ops.arange(count), "float32")[:, None] * length
    at = ops.cast(ops.arange(side), "float32")[None, :]
    shared = ops.minimum(start + length, at + 1.0) - ops.maximum(start, at)
    shares = ops.cast(ops.maximum(shared, 0.0) / length, x.dtype)
    return ops.einsum("ph,bhwc->bpwc" if axis == 1 else "pw,bhwc->bhpc", shares, x)
