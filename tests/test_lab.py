"""Lab against scikit-image, in the graph and out of it; lightness that is kept exactly."""

import numpy as np
import pytest
import tensorflow as tf
from skimage.color import lab2rgb, rgb2lab

from util.networks.lab import lab_from_rgb, rgb_from_lab
from util.pictures.lab import grey_levels, grey_of, keep_lightness


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.fixture
def rgb():
    """Colours of all kinds: most anywhere, some dark, and black, white and the eight corners."""
    corners = np.float32([[[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)]] * 8)
    return np.concatenate([noise(8, 8, 3), noise(8, 8, 3, seed=1) * 0.05, corners])[None]


def test_to_lab_and_back_is_scikit_images(rgb):
    lab = lab_from_rgb(rgb)
    np.testing.assert_allclose(lab, rgb2lab(rgb), atol=2e-3)
    np.testing.assert_allclose(rgb_from_lab(lab), rgb, atol=1e-4)
    np.testing.assert_allclose(rgb_from_lab(lab), lab2rgb(lab.numpy()), atol=1e-4)


def test_a_colour_that_no_rgb_has_becomes_paler_but_no_lighter():
    lab = np.concatenate([100 * noise(1, 32, 32, 1), 256 * noise(1, 32, 32, 2) - 128], axis=-1)
    rgb = rgb_from_lab(lab).numpy()
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    found = rgb2lab(rgb)
    np.testing.assert_allclose(found[..., 0], lab[..., 0], atol=2e-3)
    assert np.abs(lab2rgb(lab) - rgb).max() > 0.1  # where values are cut they get lighter
    wanted, got = (np.hypot(x[..., 1], x[..., 2]) for x in (lab, found))
    assert (got <= wanted + 1e-2).mean() > 0.95  # the line is straight in light, not in Lab
    assert (got < wanted - 1).mean() > 0.3


def test_gradients_are_finite_everywhere(rgb):
    lab = tf.concat(
        [tf.zeros((1, 2, 4, 3)), lab_from_rgb(rgb)[:, :2, :4], 128 * tf.ones((1, 2, 4, 3))], 1
    )
    with tf.GradientTape() as tape:
        tape.watch(lab)
        total = tf.reduce_sum(lab_from_rgb(rgb_from_lab(lab)))
    assert np.isfinite(tape.gradient(total, lab)).all()


def test_colours_are_mixed_by_what_converters_read():
    there_and_back = tf.function(lambda rgb: rgb_from_lab(lab_from_rgb(rgb)))
    graph = there_and_back.get_concrete_function(tf.TensorSpec((None, None, None, 3))).graph
    assert "Einsum" not in {op.type for op in graph.get_operations()}


def test_a_grey_picture_has_the_lightness_of_its_original(rgb):
    grey = grey_of(rgb[0])
    assert grey.dtype == np.float32
    np.testing.assert_allclose(rgb2lab(grey)[..., 0], rgb2lab(rgb[0])[..., 0], atol=1e-3)
    assert np.ptp(grey, axis=-1).max() == 0


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 999)]
)
def test_lightness_is_kept_to_half_a_level(dtype, white):
    rng = np.random.default_rng(0)
    came = np.repeat(rng.integers(0, white + 1, (64, 64, 1)), 3, axis=2).astype(dtype)
    came[0, :2] = [[0], [white]]
    lab = rgb2lab(came / white)
    lab[..., 1:] = rng.normal(0, 40, (64, 64, 2))
    made = np.rint(rgb_from_lab(lab[None].astype(np.float32))[0] * np.float32(white)).astype(dtype)
    made[32:] = np.clip(made[32:] + rng.integers(-2, 3, (32, 64, 3)), 0, white)  # and worse ones
    kept = keep_lightness(came, made, float(white))
    assert kept.dtype == dtype
    # The lightness of the pixel that came, half a step to either side of it.
    light = [
        rgb2lab(np.clip(came / white + step, 0, 2))[..., 0] for step in (-0.5 / white, 0.5 / white)
    ]
    found = rgb2lab(kept / white)[..., 0]
    assert ((light[0] - 1e-6 <= found) & (found <= light[1] + 1e-6)).all()
    right = grey_levels(made, white) == came[..., 0]
    np.testing.assert_array_equal(kept[right], made[right])
    assert 0.2 < right[32:].mean() < 0.9
    assert (np.ptp(kept, axis=-1) > 0).mean() > 0.9  # it did not go the easy way, to grey


def test_colours_that_came_lend_their_lightness_too():
    came, made = ((255 * noise(32, 32, 3, seed=s)).astype(np.uint8) for s in (0, 1))
    kept = keep_lightness(came, made, 255.0)
    np.testing.assert_array_equal(grey_levels(kept, 255.0), grey_levels(came, 255.0))


def test_what_is_brighter_than_white_stays():
    came = np.repeat(np.uint16([[[999], [1000], [1001]]]), 3, axis=2)
    kept = keep_lightness(came, np.full_like(came, 1000), 1000.0)
    np.testing.assert_array_equal(kept[..., 0], [[kept[0, 0, 0], 1000, 1001]])
    assert grey_levels(kept[:, :1], 1000.0) == 999
