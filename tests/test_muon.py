"""Muon: what it does to kernels, against singular values and against Keras' own."""

import keras
import numpy as np
import pytest

from util.train.muon import Muon


def moved(optimizer, value, gradient):
    """Return by how much one step moves a variable."""
    variable = keras.Variable(value)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return variable.numpy() - value


def drawn(shape, seed=0):
    rng = np.random.default_rng(seed)
    # Of very different lengths in different directions, as gradients are.
    return (rng.normal(size=shape) * np.geomspace(1, 1e-2, shape[-1])).astype(np.float32)


@pytest.mark.parametrize("shape", [(3, 3, 16, 32), (1, 1, 16, 64), (4, 4, 32, 16)])
def test_a_kernel_moves_as_far_in_every_direction_and_against_its_gradient(shape):
    gradient = drawn(shape)
    step = moved(Muon(0.01), np.zeros(shape, np.float32), gradient).reshape(-1, shape[-1])
    size = 0.01 * 0.2 * max(step.shape) ** 0.5
    lengths = np.linalg.svd(step, compute_uv=False) / size
    assert lengths.min() > 0.5
    assert lengths.max() < 1.3
    spread = np.linalg.svd(gradient.reshape(step.shape), compute_uv=False)
    assert spread[0] > 4 * spread[-1]  # which they were not in the gradient
    left, _, right = np.linalg.svd(gradient.reshape(step.shape), full_matrices=False)
    turned = -left.T @ step @ right.T / size  # in the gradient's own directions: a diagonal
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=0.02)
    assert (np.diag(turned) > 0.5).all()


def test_it_is_keras_muon_on_the_kernels_matrix():
    gradient = drawn((3, 3, 16, 32))
    ours = moved(Muon(0.01), np.zeros_like(gradient), gradient)
    theirs = keras.optimizers.Muon(0.01, weight_decay=None, adam_weight_decay=None)
    matrix = gradient.reshape(-1, 32)
    step = moved(theirs, np.zeros_like(matrix), matrix)
    np.testing.assert_allclose(ours.reshape(step.shape), step, atol=1e-3 * np.abs(step).max())


@pytest.mark.parametrize("shape", [(32,), (3, 3, 3, 32), (3, 3, 32, 7), (64, 32)])
def test_everything_else_moves_as_with_adam(shape):
    gradient, value = drawn(shape), drawn(shape, seed=1)
    adam = keras.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.95)
    ours = Muon(0.01, beta_1=0.8, beta_2=0.95)
    np.testing.assert_allclose(
        moved(ours, value, gradient), moved(adam, value, gradient), atol=1e-6
    )


def test_the_momentum_remembers_earlier_gradients():
    first, second = drawn((3, 3, 16, 16)), drawn((3, 3, 16, 16), seed=1)
    variable, optimizer = keras.Variable(np.zeros_like(first)), Muon(0.01)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(first)], [variable])
    before = variable.numpy().copy()
    optimizer.apply([keras.ops.convert_to_tensor(second)], [variable])
    alone = moved(Muon(0.01), np.zeros_like(first), second)
    of_both = moved(Muon(0.01), np.zeros_like(first), 0.95 * 0.95 * first + 1.95 * second)
    np.testing.assert_allclose(variable.numpy() - before, of_both, atol=2e-5)
    assert np.abs(alone - of_both).max() > 1e-3
