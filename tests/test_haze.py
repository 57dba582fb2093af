"""Haze: the scattering model, its inverse, and depths that leave something to see."""

import numpy as np
import pytest

from util.samples.haze import NEAREST, in_banks, scatter, smooth_depth, transmission
from util.samples.keys import keyed_rng
from util.samples.light import depth_ratios


def draw(seed=0, size=(20, 30)):
    """Return a random clear picture and depth."""
    rng = np.random.default_rng(seed)
    return rng.random((*size, 3), np.float32), rng.random((*size, 1), np.float32)


@pytest.mark.parametrize("airlight", [0.8, (0.7, 0.8, 0.9)])
def test_scatter_is_the_formula(airlight):
    clear, depth = draw()
    t = np.exp(-1.2 * depth.astype(np.float64))
    expected = clear * t + np.asarray(airlight) * (1 - t)
    found = scatter(clear, depth, airlight, 1.2)
    assert found.dtype == np.float32
    assert found.shape == clear.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_channels_have_densities_of_their_own():
    clear, depth = draw()
    beta = 0.8 * depth_ratios(1.3)
    np.testing.assert_allclose(beta, 0.8 * (560 / np.array([655, 560, 480])) ** 1.3, rtol=1e-6)
    found = scatter(clear, depth, 0.9, beta)
    for channel, one in enumerate(beta):
        expected = scatter(clear, depth, 0.9, float(one))
        np.testing.assert_allclose(found[..., channel], expected[..., channel], atol=1e-6)


def test_banks_of_haze_only_take_from_the_depth():
    shares = []
    for number in range(40):
        depth = np.full((48, 48, 1), 0.7, np.float32)
        found = in_banks(keyed_rng(0, number, "air"), depth) / depth
        assert found.shape == depth.shape
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() == pytest.approx(1, abs=1e-6)
        shares.append(found.min())
    assert min(shares) < 0.1
    assert 0.6 < max(shares) <= 0.7 + 1e-6


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5])
def test_solving_for_the_clear_picture_gives_it_back(beta):
    clear, depth = draw()
    hazy = scatter(clear, depth, 0.9, beta)
    t = transmission(depth, beta)
    np.testing.assert_allclose((hazy - 0.9) / t + 0.9, clear, atol=5e-6)


def test_no_depth_or_no_beta_is_no_haze():
    clear, depth = draw()
    np.testing.assert_allclose(scatter(clear, depth, 0.9, 0.0), clear, atol=1e-7)
    np.testing.assert_allclose(scatter(clear, 0 * depth, 0.9, 1.5), clear, atol=1e-7)


def test_endless_depth_shows_the_air_alone():
    clear, depth = draw()
    found = scatter(clear, depth + 100, (0.7, 0.8, 0.9), 1.0)
    np.testing.assert_allclose(found, np.broadcast_to([0.7, 0.8, 0.9], found.shape), atol=1e-6)


def test_two_layers_of_haze_are_one_of_both_depths():
    clear, depth = draw()
    twice = scatter(scatter(clear, depth, 0.8, 0.6), depth, 0.8, 0.9)
    np.testing.assert_allclose(twice, scatter(clear, depth, 0.8, 1.5), atol=1e-6)


@pytest.mark.parametrize("size", [32, 57])
def test_a_drawn_depth_leaves_neither_nothing_nor_everything(size):
    nearest = []
    for number in range(100):
        depth = smooth_depth(keyed_rng(0, number, "haze"), size)
        assert depth.shape == (size, size, 1)
        assert depth.dtype == np.float32
        assert depth.max() == pytest.approx(1, abs=1e-6)
        nearest.append(depth.min())
    assert NEAREST[0] - 1e-6 <= min(nearest) < NEAREST[0] + 0.1
    assert NEAREST[1] - 0.1 < max(nearest) <= NEAREST[1] + 1e-6
    # With beta within 0.5..1.5, as the module says.
    assert np.exp(-1.5) > 0.22
    assert np.exp(-0.5 * min(nearest)) < 0.91


def test_a_drawn_depth_is_smooth():
    for number in range(50):
        depth = smooth_depth(keyed_rng(0, number, "haze"), 64)[..., 0]
        steps = max(np.abs(np.diff(depth, axis=axis)).max() for axis in (0, 1))
        assert steps < 0.15 * np.ptp(depth)  # white noise would step by nearly the whole range


def test_depths_rise_in_every_direction_alike():
    rises = []
    for number in range(400):
        depth = smooth_depth(keyed_rng(0, number, "haze"), 32)[..., 0]
        rises.append([depth[-1].mean() - depth[0].mean(), depth[:, -1].mean() - depth[:, 0].mean()])
    rises = np.array(rises)
    # The mean is 0 within four of its standard deviations, downwards and to the right.
    assert (np.abs(rises.mean(axis=0)) < 4 * rises.std(axis=0) / np.sqrt(400)).all()
    assert rises.std(axis=0) == pytest.approx(rises.std(), rel=0.15)


def test_a_depth_is_a_pure_function_of_its_generator():
    first, again, other = (smooth_depth(keyed_rng(0, n, "haze"), 40) for n in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
