"""Adam in one operation: against Keras' own, which spells it out."""

import keras
import numpy as np
import pytest

from util.train.adam import Adam


@pytest.mark.parametrize("how", [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}])
def test_it_moves_as_keras_adam_step_by_step(how):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 3, 4, 5)).astype(np.float32)
    pairs = [
        (optimizer(0.01, **how), keras.Variable(start))
        for optimizer in (Adam, keras.optimizers.Adam)
    ]
    for optimizer, variable in pairs:
        optimizer.build([variable])
    for size in (1.0, 1e-4, 30.0, 0.0, 1.0):
        gradient = keras.ops.convert_to_tensor(size * rng.normal(size=start.shape), "float32")
        for optimizer, variable in pairs:
            optimizer.apply([gradient], [variable])
        (ours, moved), (theirs, expected) = pairs
        np.testing.assert_allclose(moved.numpy(), expected.numpy(), atol=1e-6)
        assert np.abs(moved.numpy() - start).max() > 1e-3
        for mine, kept in zip(ours.variables, theirs.variables, strict=True):
            # 1 - beta has lost half its digits where it was worked out in single precision.
            np.testing.assert_allclose(mine.numpy(), kept.numpy(), rtol=5e-5, atol=1e-9)


def test_a_rate_that_changes_counts_at_once():
    variable = keras.Variable(np.ones(3, np.float32))
    optimizer = Adam(0.1)
    optimizer.build([variable])
    optimizer.learning_rate.assign(0.0)
    optimizer.apply([keras.ops.ones(3)], [variable])
    np.testing.assert_array_equal(variable.numpy(), 1)
    optimizer.learning_rate.assign(0.5)
    optimizer.apply([keras.ops.ones(3)], [variable])
    np.testing.assert_allclose(variable.numpy(), 0.5, rtol=1e-4)
