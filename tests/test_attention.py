"""Self-attention against NumPy: nothing at first, then what is alike, and areas of large maps."""

import numpy as np
import pytest

from util.networks.attention import SelfAttention


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def built(channels, most=None, gamma=1.0):
    """Return a layer with random weights."""
    layer = SelfAttention(most)
    layer.build((None, None, None, channels))
    for number, weight in enumerate(layer.weights):
        weight.assign(noise(*weight.shape, seed=number))
    layer.gamma.assign(gamma)
    return layer


def attended(layer, x, seen=None):
    """Return what the formula says: each place by itself, in float64."""
    weights = {w.path: w.numpy().astype(float) for w in layer.weights}
    seen = x if seen is None else seen

    def dense(name, x):
        kernel, bias = (
            next(v for path, v in weights.items() if path.endswith(f"{name}/{part}"))
            for part in ("kernel", "bias")
        )
        return x.reshape(len(x), -1, x.shape[-1]) @ kernel + bias

    found = np.empty(x.shape)
    for i, (q, k, v) in enumerate(
        zip(dense("query", x), dense("key", seen), dense("value", seen), strict=True)
    ):
        alike = np.exp(q @ k.T)
        found[i] = (alike / alike.sum(axis=1, keepdims=True) @ v).reshape(x.shape[1:])
    return x + layer.gamma.numpy() * found


def test_it_changes_nothing_at_first():
    x = noise(2, 5, 3, 16)
    layer = SelfAttention()
    np.testing.assert_array_equal(layer(x), x)
    layer.gamma.assign(1.0)
    assert not np.allclose(layer(x), x, atol=0.1)


@pytest.mark.parametrize("channels", [3, 16])
def test_it_is_the_formula(channels):
    x, layer = noise(2, 4, 6, channels, seed=9), built(channels, gamma=0.7)
    np.testing.assert_allclose(layer(x), attended(layer, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12), (3, 8)])
def test_of_a_large_map_means_over_areas_are_seen(height, width):
    x, layer = noise(1, height, width, 8, seed=9), built(8, most=4)
    rows, columns = max(1, height // 4), max(1, width // 4)
    seen = x.reshape(1, height // rows, rows, width // columns, columns, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(layer(x), attended(layer, x, seen), rtol=1e-4, atol=1e-4)


def test_areas_need_not_be_whole_places():
    """Of 6 places in 4 areas each area is one place and a half."""
    x, layer = noise(1, 6, 1, 8, seed=9), built(8, most=4)
    shares = np.array(
        [[2, 1, 0, 0, 0, 0], [0, 1, 2, 0, 0, 0], [0, 0, 0, 2, 1, 0], [0, 0, 0, 0, 1, 2]]
    )
    seen = np.einsum("ph,bhwc->bpwc", shares / 3, x)
    np.testing.assert_allclose(layer(x), attended(layer, x, seen), rtol=1e-4, atol=1e-4)
