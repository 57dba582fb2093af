"""mod_colorize: networks of the published size, frozen discriminators, lightness that stays."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TINY, task_of
from skimage.color import lab2rgb, rgb2lab

import mod_colorize
from configure import Colorize
from util.networks.attention import SelfAttention
from util.networks.blocks import bounded
from util.networks.colorize import colour_generator
from util.networks.multiscale import multi_scale_discriminator
from util.pictures.lab import grey_levels, grey_of
from util.restore.bands import restore_picture, tile_counts
from util.samples.damage import without_colour
from util.samples.keys import Keys
from util.use.trained import Trained


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


# --- networks -----------------------------------------------------------------------------------


def attention_weights(channels):
    inner = channels // 8
    return 2 * (channels * inner + inner) + channels * channels + channels + 1


def test_the_generator_has_the_published_number_of_weights():
    network = task_of("mod_colorize").make_networks(Colorize(**Colorize.presets["source"]))
    assert count(network["generator"].trainable_variables) == 41_778_563


@pytest.mark.parametrize(("at", "channels"), [(0, 0), (2, 16), (8, 64), (32, 32)])
def test_attention_sits_where_it_is_told_to(at, channels):
    plain, model = (
        colour_generator(8, 5, attention_at=x, crop_px=128, spectral_norm=False) for x in (0, at)
    )
    more = attention_weights(channels) if at else 0
    assert count(model.trainable_variables) - count(plain.trainable_variables) == more
    if at:
        layer = model.get_layer("attention")
        assert layer.most == 128 // at
        assert layer.input.shape[-1] == channels


def test_any_size_comes_out():
    model = colour_generator(2, attention_at=8, crop_px=64)
    for side in ((64, 64), (40, 101), (1, 1)):
        assert model(noise(1, *side, 1)).shape == (1, *side, 2)


def test_three_discriminators_see_less_and_less():
    model = multi_scale_discriminator(8, attention=False, spectral_norm=False)
    found = model(noise(2, 64, 64, 3))
    assert [[m.shape[1] for m in maps] for maps in found] == [
        [32, 16, 8, 8, 8], [16, 8, 4, 4, 4], [8, 4, 2, 2, 2]
    ]  # fmt: skip
    assert [m.shape[-1] for m in found[0]] == [8, 16, 32, 64, 1]
    # The others see means over squares: shuffled within those, the picture is the same to them.
    picture = noise(1, 64, 64, 3)
    tiles = picture.reshape(1, 32, 2, 32, 2, 3)
    one, other = model(picture), model(tiles[:, :, ::-1, :, ::-1].reshape(picture.shape))
    apart = [float(np.abs(a[-1] - b[-1]).max()) for a, b in zip(one, other, strict=True)]
    assert apart[0] > 1e-3
    assert max(apart[1:]) < 1e-5


def test_the_discriminators_weights():
    model = multi_scale_discriminator(64)
    of_scale = [
        count(v for v in model.trainable_variables if v.path.startswith(f"scale{n}"))
        for n in (1, 2, 3)
    ]
    published = 2_764_737  # 4 x 4 kernels: 3, 64, 128, 256, 512, 1 channels
    assert of_scale == [published + attention_weights(c) for c in (128, 64, 64)]


def test_the_discriminators_attention_is_bounded_beyond_the_published_crop():
    model = multi_scale_discriminator(8, spectral_norm=False)
    looks = [layer for layer in model.layers if isinstance(layer, SelfAttention)]
    assert len(looks) == 3
    ends = {128: [], 288: []}  # pixels: their first map has 72 x 72 places at most
    for most in (looks[0].most, None):
        for layer in looks:
            layer.most = most
            layer.gamma.assign(0.5)
        for side, found in ends.items():
            found.append(model(noise(1, side, side, 3))[0][-1].numpy())
    np.testing.assert_array_equal(*ends[128])
    assert np.abs(ends[288][0] - ends[288][1]).max() > 1e-7


def test_a_bounded_kernel_goes_to_its_own_direction():
    """A kernel known by its singular values: 3 and 1 become 1 and 1/3."""
    layer = keras.layers.Conv2D(2, 1, use_bias=False)
    model = keras.Sequential([keras.Input((4, 4, 2)), bounded(layer)])
    layer.kernel.assign([[[[3.0, 0.0], [0.0, 1.0]]]])
    for _ in range(20):
        model(noise(1, 4, 4, 2), training=True)
    np.testing.assert_allclose(layer.kernel[0, 0], [[1, 0], [0, 1 / 3]], atol=1e-5)
    assert bounded(layer, spectral_norm=False) is layer


# --- samples ------------------------------------------------------------------------------------


def test_a_sample_is_grey_and_of_the_same_lightness():
    clear = noise(64, 64, 3)
    sample = without_colour(Keys(0, 0), clear)
    assert sample["clear"] is clear
    np.testing.assert_array_equal(sample["grey"], grey_of(clear))
    turned = [without_colour(Keys(0, n), clear, turn_degrees=20.0)["clear"] for n in (0, 0, 1)]
    np.testing.assert_array_equal(turned[0], turned[1])
    assert np.abs(turned[0] - turned[2]).max() > 0.1
    assert np.abs(turned[0] - clear).max() > 0.1
    flat = np.full((64, 64, 3), 0.25, np.float32)
    np.testing.assert_allclose(
        without_colour(Keys(0, 0), flat, turn_degrees=20.0)["clear"], flat, atol=1e-6
    )


def test_only_what_is_trained_on_is_turned(tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path, "mod_colorize")
    for part, turn in zip((0, 1), (True, False), strict=True):
        plain, turned = (
            mod_colorize.samples(s, progress=False)[part](3)["clear"]
            for s in (settings, tiny_settings(tmp_path, "mod_colorize", ground_turn=20.0))
        )
        assert (np.abs(plain - turned).max() > 0.01) == turn


# --- step ---------------------------------------------------------------------------------------


@pytest.fixture
def made(one_by_one):
    """Return `one_by_one` for mod_colorize, quick: without spectral norm."""
    return partial(one_by_one, "mod_colorize", spectral_norm=False)


def test_no_discriminator_is_moved_by_the_generators_losses(made):
    """All three: what they have learnt must not depend on what the generator is weighed by."""
    state, _, batch, settings = made(clip_norm=0.0)
    for network in state.networks.values():
        for layer in network.layers:
            if isinstance(layer, SelfAttention):
                layer.gamma.assign(0.5)  # at 0 nothing reaches its other weights
    given, before, ends = batch(), state.arrays(), []
    for weights in ((1.0, 3.33, 0.33), (0.0, 50.0, 20.0)):
        state.assign(before)
        names = ("reconstruction_weight", "feature_weight", "adversarial_weight")
        changed = replace(settings, **dict(zip(names, weights, strict=True)))
        mod_colorize.train_step(state, given, changed)
        state.end_step()
        ends.append(state.arrays())
    for name, value in before.items():
        if name.startswith("networks/"):
            same = np.array_equal(ends[0][name], ends[1][name])
            if name.endswith("/key/bias"):  # alike for all places: to a softmax it is nothing
                assert same or "generator" in name, name
                continue
            assert same == ("discriminator" in name), name
            assert not np.array_equal(value, ends[1][name]), name


@pytest.mark.parametrize(("how", "rate"), [({}, 1.5e-4), ({"discriminator_rate_share": 2.0}, 6e-4)])
def test_the_discriminators_have_a_rate_of_their_own(made, how, rate):
    state, *_ = made(learning_rate=3e-4, **how)
    assert state.rates == {"generator": 3e-4, "discriminator": rate}


def test_the_losses_are_the_formula(made):
    state, step, batch, _ = made(perceptual_weight=2.0)
    given = batch()
    lab = rgb2lab(given["clear"])
    colour, lightness = lab[..., 1:] / 128, lab[..., :1] / 100
    guess = state.networks["generator"](lightness).numpy()
    judge, features = state.networks["discriminator"], state.frozen["features"]
    scales = [
        [[m.numpy() for m in maps] for maps in judge(np.concatenate([lightness, c], axis=-1))]
        for c in (colour, guess)
    ]
    scales = list(zip(*scales, strict=True))
    seen = [features(lab2rgb(np.concatenate([lab[..., :1], 128 * c], -1))) for c in (guess, colour)]
    wanted = {
        "loss_reconstruction": np.abs(guess - colour).mean(),
        "loss_features": sum(
            np.mean([np.abs(a - b).mean() for a, b in zip(real[:-1], fake[:-1], strict=True)])
            for real, fake in scales
        ),
        "loss_adversarial": sum(((fake[-1] - 1) ** 2).mean() for _, fake in scales),
        "loss_perceptual": np.square(seen[0] - seen[1]).mean() / 127.5**2,
        "loss_discriminator": sum(
            ((real[-1] - 1) ** 2).mean() + (fake[-1] ** 2).mean() for real, fake in scales
        ),
    }
    weights = (10, 3.33, 0.33, 2)
    wanted["loss_generator"] = sum(
        w * v for w, v in zip(weights, list(wanted.values())[:4], strict=True)
    )
    found, _ = step(given)
    for name, value in wanted.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-2), name
    assert next(iter(found)) == "loss_generator"  # the one whose fall is looked at


# --- what a person gets -------------------------------------------------------------------------


@pytest.fixture
def network():
    """A network that gives strong colours, and knows tiles of 256 pixels at most."""
    keras.utils.set_random_seed(0)
    tiny = {n: v for n, v in TINY.items() if hasattr(mod_colorize.Colorize, n)}
    tiny |= {"apply_tile_px": 256, "apply_margin_px": 32, "spectral_norm": False, "levels": 6}
    settings = mod_colorize.Colorize(**tiny)
    networks = mod_colorize.make_networks(settings)
    last = networks["generator"].get_layer("last")
    last.kernel.assign(last.kernel * 8)
    restore = tf.function(
        lambda batch: mod_colorize.restore(networks, batch, settings),
        input_signature=[{"grey": tf.TensorSpec((None, None, None, 3))}],
    )
    return Trained(task_of("mod_colorize"), settings, networks, "none.npz", 0, restore)


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 5000)]
)
def test_applied_a_picture_keeps_its_lightness_and_gets_colours(network, dtype, white):
    came = np.repeat(noise(70, 600, 1) * white, 3, axis=2).astype(dtype)
    assert tile_counts(network, came.shape) == [2]
    made, opacity = restore_picture(network, came, white=white)
    assert opacity is None
    np.testing.assert_array_equal(grey_levels(made, white), came[..., 0])
    assert (np.ptp(made, axis=-1) > 0.02 * white).mean() > 0.5


def test_tiles_begin_where_the_deepest_level_has_its_grid(network):
    """Without attention no pixel sees further than 320, and tiles are the whole picture."""
    network.networks["generator"].get_layer("attention").gamma.assign(0.0)
    sample = {"grey": np.repeat(noise(64, 9600, 1), 3, axis=2)}
    ends = []
    for tile_px, count in ((768, 2), (2304, 1)):
        sizes = {"apply_tile_px": tile_px, "apply_margin_px": 320}
        other = replace(network, settings=replace(network.settings, **sizes))
        assert tile_counts(other, (64, 9600)) == [count]
        ends.append(other.task.kind.complete(other, sample)["restored"])
    # Dark colours magnify a rounding of the L; a step of 8 bits is twenty times that.
    np.testing.assert_allclose(*ends, atol=2e-4)
