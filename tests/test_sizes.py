"""What is found at a picture's own size and at twice that, as one."""

import numpy as np
import pytest
import tensorflow as tf

from util.restore import sizes
from util.restore.sizes import over_sizes


def found_with(opacity, ground):
    """Return a restore: the opacity and the ground of a picture's height, each a function of it."""

    def restore(batch):
        cloudy = batch["cloudy"]
        found = tf.fill((*cloudy.shape[:3], 1), opacity(cloudy.shape[1]))
        return {"restored": ground(cloudy), "found_opacity": found}

    return restore


def halves(cloudy):
    """Return half of a picture of 64 pixels, and the whole of an enlarged one."""
    return cloudy * cloudy.shape[1] / 128


def test_it_is_the_mean_of_both():
    cloudy = np.full((1, 64, 96, 3), 0.5, np.float32)
    restore = found_with(lambda height: 0.3 if height > 64 else 0.2, halves)
    found = over_sizes(restore, {"cloudy": cloudy})
    np.testing.assert_allclose(found["found_opacity"], 0.25, rtol=1e-6)
    np.testing.assert_allclose(found["restored"], 0.375, rtol=1e-6)  # of .25 and .5


@pytest.mark.parametrize(("opacity", "ground"), [(0.4, 0.375), (0.55, 0.3125), (0.7, 0.25)])
def test_what_is_hidden_is_filled_at_its_own_size(opacity, ground):
    cloudy = np.full((1, 64, 64, 3), 0.5, np.float32)
    found = over_sizes(found_with(lambda _: opacity, halves), {"cloudy": cloudy})
    np.testing.assert_allclose(found["restored"], ground, rtol=1e-5)


@pytest.mark.parametrize(("least", "share"), [(0.0, 0.0), (0.005, 0.25), (0.02, 1.0), (0.3, 1.0)])
def test_what_either_finds_clear_is_clear(least, share):
    cloudy = np.full((1, 64, 64, 3), 0.5, np.float32)
    for pair in ((least, 0.3), (0.3, least)):
        restore = found_with(lambda height, pair=pair: pair[height > 64], tf.square)
        found = over_sizes(restore, {"cloudy": cloudy})
        np.testing.assert_allclose(found["found_opacity"], share * (0.3 + least) / 2, rtol=1e-5)
        np.testing.assert_allclose(found["restored"], 0.5 - share * 0.25, rtol=1e-5)


@pytest.mark.parametrize(
    ("own", "opacity", "ground"), [(0.8, 0.0, 0.5), (0.9, 0.3375, 0.375), (0.96, 0.96, 0.25)]
)
def test_what_is_surely_hidden_at_its_own_size_is(own, opacity, ground):
    """From .85 to .95 more and more so, whatever is found at twice the size."""
    cloudy = np.full((1, 64, 64, 3), 0.5, np.float32)
    restore = found_with(lambda height: own if height == 64 else 0.0, tf.square)
    found = over_sizes(restore, {"cloudy": cloudy})
    # .9 is half sure: .675 between that and the mean of both, of which half is trusted.
    np.testing.assert_allclose(found["found_opacity"], opacity, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["restored"], ground, rtol=1e-4)


def test_detail_outlives_the_enlargement():
    cloudy = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    found = over_sizes(found_with(lambda _: 0.1, tf.identity), {"cloudy": cloudy})
    np.testing.assert_allclose(found["restored"], cloudy, atol=1e-6)


def test_quarters_are_the_whole(monkeypatch):
    """A box of 9 pixels sees less far than the quarters overlap."""

    def restore(batch):
        mean = tf.nn.avg_pool2d(batch["cloudy"], 9, 1, "SAME")
        return {"restored": mean, "found_opacity": mean[..., :1]}

    cloudy = np.random.default_rng(3).random((1, 352, 320, 3), np.float32)
    seen = []

    def told(batch):
        seen.append(tuple(batch["cloudy"].shape[1:3]))
        return restore(batch)

    found = over_sizes(told, {"cloudy": cloudy})
    assert seen == [(352, 320), (512, 640), (512, 640)]  # 352 / 2 is more than twice 80, 160 is not
    monkeypatch.setattr(sizes, "_REACH_PX", 1000)
    for name, whole in over_sizes(restore, {"cloudy": cloudy}).items():
        np.testing.assert_allclose(found[name], whole, atol=1e-6)
