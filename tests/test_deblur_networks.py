"""DeblurGAN's networks: published sizes, any height and width, and dropout without a state."""

import inspect
import itertools
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from util.networks.deblurgan import (
    CutLike,
    PadToMultiple,
    generator,
    patch_critic,
    source_critic,
)
from util.networks.dropout import KeyedDropout, dropout_key, made_by
from util.networks.patchgan import FIELDS_PX
from util.train.losses import gradient_penalty


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


# --- generator ----------------------------------------------------------------------------------


def expected_weights(w, blocks, norm):
    """Count the weights from the description: (kernel, channels in, channels out) of each layer."""
    convolutions = [(7, 3, w), (3, w, 2 * w), (3, 2 * w, 4 * w)]
    convolutions += [(3, 4 * w, 4 * w)] * (2 * blocks)
    convolutions += [(3, 4 * w, 2 * w), (3, 2 * w, w)]
    normalised = 0 if norm == "none" else sum(2 * b for _, _, b in convolutions)
    convolutions += [(7, w, 3)]
    return sum(k * k * a * b + b for k, a, b in convolutions) + normalised


def test_the_published_number_of_weights():
    assert count(generator().trainable_variables) == 11_388_675


@pytest.mark.parametrize("norm", ["none", "batch", "group", "instance"])
@pytest.mark.parametrize(("width", "blocks"), [(4, 2), (6, 1)])
def test_weights_of_every_kind(width, blocks, norm):
    model = generator(width, blocks, norm)
    assert count(model.trainable_variables) == expected_weights(width, blocks, norm)
    assert bool(model.non_trainable_variables) == (norm == "batch")  # its averages, nothing else


@pytest.mark.parametrize("head", ["half", "add", "light"])
def test_any_picture_comes_out_in_its_size(head):
    model = generator(4, 1, "none", head=head)
    unknown = tf.TensorSpec((None, None, None, 3))
    dynamic = tf.function(lambda x: made_by(model, x), input_signature=[unknown])
    for size in [(32, 32), (33, 34), (31, 36), (5, 7), (1, 3)]:
        hazy = noise(2, *size, 3)
        found = made_by(model, hazy)
        assert found.shape == hazy.shape
        assert found.dtype == tf.float32
        assert np.isfinite(found).all()
        np.testing.assert_allclose(dynamic(hazy), found, atol=1e-5, err_msg=str(size))


def test_a_picture_that_fits_is_neither_padded_nor_cut():
    model, hazy = generator(4, 1, "none"), noise(1, 30, 29, 3)
    padded = np.pad(hazy, [(0, 0), (0, 2), (0, 3), (0, 0)], mode="reflect")
    expected = made_by(model, padded)[:, :30, :29]
    np.testing.assert_allclose(made_by(model, hazy), expected, atol=1e-6)


def with_last_layer(value, head, **options):
    """Return a generator whose last convolution gives a constant, or one a channel."""
    model = generator(4, 1, "none", head=head, **options)
    last = model.get_layer("last")
    last.set_weights([0 * w for w in last.get_weights()])
    last.bias.assign(np.broadcast_to(value, last.bias.shape))
    return model


@pytest.mark.parametrize("value", [-50.0, -0.3, 0.0, 0.7, 50.0])
def test_the_published_head_adds_the_picture_and_halves_in_minus_one_to_one(value):
    hazy = noise(1, 8, 8, 3)
    expected = ((np.tanh(value) + (2 * hazy - 1)) / 2 + 1) / 2
    found = made_by(with_last_layer(value, "half"), hazy)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.min(found) >= 0
    assert np.max(found) <= 1


@pytest.mark.parametrize("value", [-50.0, -0.3, 0.0, 0.7, 50.0])
def test_the_other_heads(value):
    hazy = noise(1, 8, 8, 3)
    added = made_by(with_last_layer(value, "add"), hazy)
    np.testing.assert_allclose(added, hazy + np.tanh(value), atol=1e-6)
    direct = made_by(with_last_layer(value, "direct"), hazy)
    expected = np.full(hazy.shape, 0.5 + 0.505 * np.tanh(value))
    np.testing.assert_allclose(direct, expected, atol=1e-6)


@pytest.mark.parametrize("share", [-0.99, 0.2, 0.99])
def test_the_light_head_takes_haze_of_its_own_light_off_and_corrects(share):
    hazy, found = noise(1, 8, 8, 3), np.array([share, 0.01, -0.02, 0.03, -0.4, 0.0, 0.3])
    light = 0.825 + 0.325 * np.tanh(found[4:] + 0.5)
    opacity = (0.5 + 0.505 * np.tanh(share)) * np.minimum(hazy / light, 1).min(-1, keepdims=True)
    expected = (hazy - opacity * light) / np.maximum(1 - opacity, 0.2) + np.tanh(found[1:4])
    np.testing.assert_allclose(made_by(with_last_layer(found, "light"), hazy), expected, atol=1e-5)


@pytest.mark.parametrize(("option", "value"), [("head", "whole"), ("norm", "layer")])
def test_an_unknown_kind_is_named_with_the_known_ones(option, value):
    with pytest.raises(ValueError, match=rf"{option} is '{value}'; it must be one of \w+, \w+"):
        generator(4, 1, **{option: value})


def test_every_weight_moves():
    model, hazy = generator(4, 1, "instance"), noise(2, 16, 16, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(made_by(model, hazy, dropout_key(0, 0)) ** 2)
    for variable, gradient in zip(
        model.trainable_variables,
        tape.gradient(loss, model.trainable_variables),
        strict=True,
    ):
        # The norm takes away what a bias before it adds, up to rounding.
        if not variable.path.endswith("bias") or variable.path.startswith("last"):
            assert np.abs(gradient).max() > 0, variable.path


def test_the_last_layers_stay_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        made = made_by(generator(4, 1, "none"), noise(1, 9, 8, 3), dropout_key(0, 0))
        scores = [
            patch_critic(4, 2)(noise(1, 16, 16, 3)),
            source_critic(16, 4, 2)(noise(1, 16, 16, 3)),
        ]
    finally:
        keras.config.set_dtype_policy(before)
    assert {tensor.dtype for tensor in (made, *scores)} == {tf.float32}


@pytest.mark.parametrize("field_px", [16, 34, 70])
def test_a_score_sees_a_square_of_its_field(field_px):
    critic = patch_critic(1, FIELDS_PX[field_px] - 1)
    for weight in critic.trainable_variables:
        weight.assign(tf.ones_like(weight))  # all signs alike: nothing cancels
    picture = tf.ones((1, 4 * field_px, 4 * field_px, 3))
    with tf.GradientTape() as tape:
        tape.watch(picture)
        scores = critic(picture)
        middle = scores[0, scores.shape[1] // 2, scores.shape[2] // 2, 0]
    rows, columns = np.nonzero(tape.gradient(middle, picture).numpy()[0].any(-1))
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == field_px


def test_a_centred_critic_sees_minus_one_to_one():
    picture = noise(2, 32, 32, 3)
    for build in (partial(patch_critic, 2), partial(source_critic, 32, 2)):
        centred, plain = build(centred=True), build(centred=False)
        plain.set_weights(centred.get_weights())
        np.testing.assert_allclose(centred(picture), plain(2 * picture - 1), atol=1e-6)


# --- dropout ------------------------------------------------------------------------------------


def mask(key, name="dropout", rate=0.5, shape=(4, 32, 32, 8)):
    """Return which entries a layer keeps."""
    return KeyedDropout(rate, name=name)(tf.ones(shape), key, training=True).numpy() != 0


def test_the_same_key_gives_the_same_mask():
    np.testing.assert_array_equal(mask(dropout_key(0, 5)), mask(dropout_key(0, 5)))
    traced = tf.function(
        lambda step: KeyedDropout(0.5, name="dropout")(
            tf.ones((4, 32, 32, 8)), dropout_key(0, step), training=True
        )
    )
    np.testing.assert_array_equal(traced(tf.constant(5, tf.int64)) != 0, mask(dropout_key(0, 5)))


def test_seed_step_call_and_layer_all_change_the_mask():
    masks = [
        mask(dropout_key(0, 5)),
        mask(dropout_key(1, 5)),
        mask(dropout_key(0, 6)),
        mask(dropout_key(5, 0)),
        mask(dropout_key(0, 5, call=1)),
        mask(dropout_key(0, 5), name="other"),
    ]
    for a, b in itertools.combinations(masks, 2):
        # Independent masks agree in half of the 32,768 places, within five standard deviations.
        assert abs(np.mean(a == b) - 0.5) < 5 * 0.5 / np.sqrt(a.size)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rate", [0.01, 0.5, 0.83])
def test_the_rate_is_right_and_the_mean_is_kept(rate, dtype):
    layer = KeyedDropout(rate, name="dropout", dtype=dtype)
    found = layer(tf.ones((8, 32, 32, 8), dtype), dropout_key(0, 0), training=True)
    assert found.dtype == dtype
    found = tf.cast(found, tf.float32).numpy()
    deviation = np.sqrt(rate * (1 - rate) / found.size)
    assert abs(np.mean(found == 0) - rate) < 5 * deviation
    np.testing.assert_allclose(found[found != 0], 1 / (1 - rate), rtol=1e-2)
    assert len(np.unique(found)) == 2


def test_samples_and_channels_have_masks_of_their_own():
    kept = mask(dropout_key(0, 0)).transpose(0, 3, 1, 2).reshape(32, -1)
    assert len(np.unique(kept, axis=0)) == 32


def test_no_dropout_outside_of_training_or_at_rate_zero():
    x, key = noise(2, 4, 4, 3), dropout_key(0, 0)
    np.testing.assert_array_equal(KeyedDropout(0.5)(x, key, training=False), x)
    np.testing.assert_array_equal(KeyedDropout(0.5)(x, key), x)
    np.testing.assert_array_equal(KeyedDropout(0.0)(x, key, training=True), x)


def test_the_gradient_passes_where_the_mask_does():
    x, key = tf.constant(noise(2, 8, 8, 3)), dropout_key(0, 0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(KeyedDropout(0.5, name="dropout")(x, key, training=True))
    expected = 2.0 * mask(key, shape=x.shape)
    np.testing.assert_array_equal(tape.gradient(total, x), expected)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 50])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match="dropout is"):
        KeyedDropout(rate)


def test_there_is_no_state_that_a_checkpoint_could_miss():
    model = generator(4, 2, "none")
    layers = [layer for layer in model.layers if isinstance(layer, KeyedDropout)]
    assert [layer.name for layer in layers] == ["block1_dropout", "block2_dropout"]
    assert all(layer.variables == [] for layer in layers)
    assert model.non_trainable_variables == []
    assert not [v for v in model.variables if "seed" in v.path]


def test_a_generator_repeats_itself_by_key_and_does_not_drop_out_when_used():
    model, hazy = generator(4, 2, "none"), noise(2, 16, 16, 3)
    first, again, other = (made_by(model, hazy, dropout_key(0, n)).numpy() for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    used = made_by(model, hazy).numpy()
    np.testing.assert_array_equal(used, made_by(model, hazy).numpy())
    without = generator(4, 2, "none", dropout=0.0)
    without.set_weights(model.get_weights())
    np.testing.assert_array_equal(made_by(without, hazy, dropout_key(0, 1)), used)


class Replica:
    """Stand in for the context of one replica of many."""

    def __init__(self, number):
        self.replica_id_in_sync_group = number


def test_replicas_have_masks_of_their_own(monkeypatch):
    masks = []
    for number in (0, 1, tf.constant(2)):
        context = Replica(number)
        monkeypatch.setattr(tf.distribute, "get_replica_context", lambda context=context: context)
        masks.append(mask(dropout_key(0, 5)))
    for a, b in itertools.combinations(masks, 2):
        assert abs(np.mean(a == b) - 0.5) < 5 * 0.5 / np.sqrt(a.size)


def test_a_key_needs_a_replica(monkeypatch):
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: None)
    with pytest.raises(RuntimeError, match=r"strategy\.run"):
        dropout_key(0, 0)


def test_a_key_works_under_a_strategy():
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    found = tf.function(lambda: strategy.run(lambda: dropout_key(3, 4)))()
    np.testing.assert_array_equal(found, dropout_key(3, 4))


# --- critics ------------------------------------------------------------------------------------


def test_the_published_number_of_weights_of_the_critic():
    assert count(source_critic(256).trainable_variables) == 3_096_450


def test_the_patch_critic_is_the_published_one_without_its_dense_layers():
    dense = 16 * 16 * 1024 + 1024 + 1024 + 1
    batch_norms = 2 * (64 + 128 + 256 + 512)
    assert count(patch_critic(norm="none").variables) == 3_096_450 - dense - batch_norms
    assert count(patch_critic(norm="instance").variables) == 3_096_450 - dense


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (100, 16), (7, 9)])
def test_a_map_of_patches_for_any_size(size):
    found = patch_critic(4, 3)(noise(2, *size, 3))
    assert found.shape == (2, -(-size[0] // 16), -(-size[1] // 16), 1)


def test_a_patch_sees_no_more_than_its_surroundings():
    model = patch_critic(2, 2)
    picture = noise(1, 160, 16, 3)
    changed = picture.copy()
    changed[0, -1] = 9.0
    difference = np.abs(model(picture) - model(changed))[0, :, :, 0].max(axis=1)
    assert difference[-1] > 0
    assert (difference[:10] == 0).all()  # 20 rows of patches, 8 pixels each


def test_scores_are_not_bounded_unless_by_the_sigmoid():
    pictures = 100 * noise(4, 32, 32, 3)
    keras.utils.set_random_seed(1)
    linear = source_critic(32, 4, norm="none", sigmoid=False)
    bounded = source_critic(32, 4, norm="none")
    bounded.set_weights(linear.get_weights())
    scores = linear(pictures).numpy()
    assert scores.shape == (4, 1)
    np.testing.assert_allclose(bounded(pictures), 1 / (1 + np.exp(-scores)), rtol=1e-5)
    assert np.abs(patch_critic(4)(1e4 * pictures)).max() > 1


@pytest.mark.parametrize("norm", ["none", "instance", "group"])
def test_the_gradient_penalty_trains_every_kernel(norm):
    critic = patch_critic(4, 2, norm)
    sizes = [(32, 32, 3), (32, 32, 3), (1, 1, 1)]  # real, fake, epsilon
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(
            critic, *(tf.constant(noise(2, *size, seed=n)) for n, size in enumerate(sizes))
        )
    kernels = [v for v in critic.trainable_variables if v.path.endswith("kernel")]
    for kernel, gradient in zip(kernels, tape.gradient(penalty, kernels), strict=True):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0, kernel.path


@pytest.mark.parametrize("norm", ["none", "instance", "group", "batch"])
def test_only_batch_norm_mixes_the_samples_of_a_batch(norm):
    critic = patch_critic(4, 2, norm)
    one, other = noise(2, 32, 32, 3), noise(2, 32, 32, 3)
    other[1] = 0.2
    same = np.allclose(critic(one, training=True)[0], critic(other, training=True)[0], atol=1e-6)
    assert same == (norm != "batch")


# --- layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [PadToMultiple(4, name="a"), KeyedDropout(0.3, name="b")])
def test_layers_can_be_made_again(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_layers_tell_their_shapes():
    assert PadToMultiple(4).compute_output_shape((None, 5, None, 3)) == (None, 8, None, 3)
    assert CutLike().compute_output_shape((2, 8, 8, 5), (2, 7, None, 3)) == (2, 7, None, 5)
    assert inspect.signature(made_by).parameters["key"].default is None


@pytest.mark.parametrize("size", [(5, 6), (8, 4), (1, 2), (2, 1)])
def test_padding_is_numpys_reflection(size):
    picture = noise(2, *size, 3)
    grown = [(0, -side % 4) for side in size]
    expected = np.pad(picture, [(0, 0), *grown, (0, 0)], mode="reflect")
    np.testing.assert_array_equal(PadToMultiple(4)(picture), expected)


# --- replicas -----------------------------------------------------------------------------------

TWO_REPLICAS = """
import numpy as np
import tensorflow as tf

devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
from util.networks.dropout import KeyedDropout, dropout_key

strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
layer = KeyedDropout(0.5, name="dropout")
ones = tf.ones((4, 32, 32, 8))


@tf.function
def masks(step):
    return strategy.run(lambda: layer(ones, dropout_key(0, step), training=True) != 0)


for step in (tf.constant(5, tf.int64), tf.constant(5, tf.int64)):
    one, two = strategy.experimental_local_results(masks(step))
    print(np.mean(one.numpy() == two.numpy()), np.packbits(one)[:20].tobytes().hex())
"""


@pytest.mark.slow
def test_two_real_replicas_have_masks_of_their_own():
    found = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    first, again = (line.split() for line in found.stdout.splitlines()[-2:])
    assert first == again
    assert abs(float(first[0]) - 0.5) < 5 * 0.5 / np.sqrt(4 * 32 * 32 * 8)
    alone = mask(dropout_key(0, 5))  # the first of two replicas draws what a single one does
    assert first[1] == np.packbits(alone)[:20].tobytes().hex()
