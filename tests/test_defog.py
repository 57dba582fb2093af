"""mod_defog.py: what its network is shown, and what comes back of it."""

import numpy as np
import pytest
import tensorflow as tf

import mod_defog
from configure import Defog
from util.networks.unet import as_bright_as_it_was, dimming


def finding(nothing):
    """Return networks that find no cloud, or half of what may be, and a list of what they saw."""
    saw = []

    def unet(cloudy, training=False):
        saw.append(cloudy.numpy())
        found = np.float32(-np.arctanh(0.5 / 0.505) if nothing else 0)
        opacity = tf.fill((*cloudy.shape[:3], 1), found)
        return tf.concat([opacity, tf.zeros((*cloudy.shape[:3], 6))], axis=-1)

    return {"unet": unet}, saw


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_the_network_sees_dark_pixels_dimmed_and_ground_comes_back_as_bright_as_it_was(share):
    cloudy = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    settings = Defog(dimmed=share, tanh_slope=0.0)
    networks, saw = finding(nothing=True)
    found = mod_defog.restore(networks, {"cloudy": tf.constant(cloudy)}, settings)
    np.testing.assert_allclose(saw[0], cloudy * dimming(cloudy, share).numpy(), rtol=1e-6)
    assert (saw[0] < cloudy).any() == (share > 0)
    assert found["found_opacity"].numpy().max() < 1e-6
    np.testing.assert_allclose(found["restored"], cloudy, atol=1e-6)


@pytest.mark.parametrize("white", [1.0, 0.5])
def test_the_network_sees_a_brighter_picture_and_clear_ground_comes_back_as_it_was(white):
    cloudy = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    networks, saw = finding(nothing=True)
    settings = Defog(dimmed=0.0, cloud_white=white, tanh_slope=0.0)
    found = mod_defog.restore(networks, {"cloudy": tf.constant(cloudy)}, settings)
    np.testing.assert_allclose(saw[0], np.minimum(cloudy / white, 1), rtol=1e-6)
    np.testing.assert_allclose(found["restored"], cloudy, atol=1e-6)


def test_what_a_brighter_picture_cuts_off_is_of_the_ground_or_of_the_cloud():
    ground, cloudy = (np.full((1, 1, 4, 3), value, np.float32) for value in (1.0, 0.8))
    opacity = np.float32([0, 0.25, 0.5, 1]).reshape(1, 1, 4, 1)
    found = as_bright_as_it_was(ground, cloudy, opacity, 0.5)
    np.testing.assert_allclose(found[0, 0, :, 0], [0.8, 0.65, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(as_bright_as_it_was(ground, cloudy, opacity, 1.0), ground)


def test_bright_ground_is_taken_for_less_cloud_and_white_for_as_much():
    grey = np.ones((1, 64, 64, 3), np.float32)
    for value, less in [(0.3, 0.9), (0.9, 1.0)]:
        one, two = (
            mod_defog.restore(
                finding(nothing=False)[0],
                {"cloudy": tf.constant(grey * np.float32(value))},
                settings,
            )["found_opacity"].numpy()
            for settings in (Defog(dimmed=0.0), Defog(dimmed=0.1))
        )
        np.testing.assert_allclose(two, less * one, rtol=1e-5)
