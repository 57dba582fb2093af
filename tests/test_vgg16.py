"""VGG16's features: Keras' own with the same weights, frozen, float32, and clear about errors."""

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from util.networks import vgg16 as perceptual
from util.networks.vgg16 import BUNDLED_WEIGHTS, LAYERS, perceptual_loss, vgg16_features
from util.pictures.pixels import as_float
from util.pictures.read import read_picture
from util.samples.haze import scatter, smooth_depth
from util.samples.keys import keyed_rng
from util.say import UserError

BUNDLED = LAYERS[:7]  # up to block3_conv3


@pytest.fixture(scope="module")
def photograph():
    """A real photograph, float32 (1, 64, 64, 3), 0..1."""
    path = BUNDLED_WEIGHTS.parent / "clear" / "neon_yell_a" / "0000_0512.jpg"
    return as_float(read_picture(path))[None, 100:164, 200:264]


@pytest.fixture(scope="module")
def features():
    return vgg16_features()


@pytest.fixture(scope="module")
def keras_vgg16():
    """Keras' own VGG16 with the bundled arrays in it."""
    model = keras.applications.VGG16(weights=None, include_top=False)
    with np.load(BUNDLED_WEIGHTS, allow_pickle=False) as arrays:
        for name in BUNDLED:
            parts = [arrays[f"{name}/{part}"] for part in ("kernel", "bias")]
            model.get_layer(name).set_weights([part.astype(np.float32) for part in parts])
    return model


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


# --- the network --------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["block1_conv1", "block2_conv2", "block3_conv3"])
def test_features_of_a_photograph_are_those_of_keras_vgg16(layer, photograph, keras_vgg16):
    whole = keras.Model(keras_vgg16.input, keras_vgg16.get_layer(layer).output)
    wanted = whole(keras.applications.vgg16.preprocess_input(255.0 * photograph)).numpy()
    found = vgg16_features(layer)(photograph).numpy()
    assert found.shape == wanted.shape
    assert relative_error(found, wanted) < 1e-5
    assert wanted.std() > 1  # there is something to compare


def test_raw_pictures_go_in_as_published_networks_were_trained(photograph, keras_vgg16):
    whole = keras.Model(keras_vgg16.input, keras_vgg16.get_layer("block2_conv2").output)
    found = vgg16_features("block2_conv2", raw=True)(photograph)
    assert relative_error(found, whole(2.0 * photograph - 1.0)) < 1e-5


def test_several_layers_are_looked_at_and_summed(photograph):
    names = ("block1_conv2", "block2_conv1")
    a, b = photograph, photograph[:, ::-1].copy()
    several, single = vgg16_features(", ".join(names)), [vgg16_features(name) for name in names]
    for found, alone in zip(several(a), single, strict=True):
        np.testing.assert_array_equal(found, alone(a))
    expected = sum(distance(features, a, b) for features in single)
    assert distance(several, a, b) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (30, 47), (4, 4)])
def test_any_size_goes_in(features, size):
    found = features(np.zeros((2, *size, 3), np.float32))
    assert found.shape == (2, size[0] // 4, size[1] // 4, 256)


def test_it_is_frozen(features):
    assert features.trainable_variables == []
    assert sum(int(np.prod(v.shape)) for v in features.variables) == 1_735_488


def test_gradients_reach_the_picture(features, photograph):
    picture = tf.constant(photograph[:, :16, :16])
    with tf.GradientTape() as tape:
        tape.watch(picture)
        loss = perceptual_loss(features(picture), features(1 - picture))
    assert np.abs(tape.gradient(loss, picture)).max() > 0


def test_arithmetic_is_float32_under_mixed_precision(features, photograph):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = vgg16_features()
    finally:
        keras.config.set_dtype_policy(before)
    found = mixed(photograph)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, features(photograph))


def test_it_uses_up_no_random_numbers():
    def next_kernel(with_features):
        keras.utils.set_random_seed(3)
        if with_features:
            vgg16_features("block1_conv2")
        layer = keras.layers.Dense(4)
        layer.build((None, 5))
        return layer.kernel.numpy()

    np.testing.assert_array_equal(next_kernel(True), next_kernel(False))


# --- the loss -----------------------------------------------------------------------------------


def distance(features, a, b):
    return float(perceptual_loss(features(a), features(b)))


def test_the_loss_is_the_mean_squared_difference():
    a, b = (np.random.default_rng(n).random((2, 4, 4, 8), np.float32) for n in (0, 1))
    assert float(perceptual_loss(a, b)) == pytest.approx(float(((a - b) ** 2).mean()), rel=1e-6)
    halves = tf.cast(tf.constant(a), tf.bfloat16)
    assert perceptual_loss(halves, b).dtype == tf.float32


def test_equal_pictures_have_no_loss(features, photograph):
    assert distance(features, photograph, photograph.copy()) == 0


def test_the_loss_grows_with_blur(features, photograph):
    found = [
        distance(features, photograph, cv2.GaussianBlur(photograph[0], (0, 0), sigma)[None])
        for sigma in (0.4, 0.8, 1.2, 2.0, 3.0)
    ]
    assert found[0] > 0
    assert found == sorted(found)
    assert len(set(found)) == 5


def test_the_loss_grows_with_haze(features, photograph):
    depth = smooth_depth(keyed_rng(0, 0, "haze"), 64)
    found = [
        distance(features, photograph, scatter(photograph[0], depth, 0.9, beta)[None])
        for beta in (0.1, 0.3, 0.6, 1.0, 1.5)
    ]
    assert found[0] > 0
    assert found == sorted(found)
    assert len(set(found)) == 5


# --- what goes wrong ----------------------------------------------------------------------------


def save_weights(file, change):
    """Write the bundled arrays of the first two layers, changed, as an .npz; return the file."""
    with np.load(BUNDLED_WEIGHTS, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files if name.startswith("block1")}
    np.savez(file, **change(arrays))
    return file


@pytest.mark.parametrize("layer", ["block6_conv1", "block3_pool", ""])
def test_an_unknown_layer_is_named_with_the_known_ones(layer):
    with pytest.raises(UserError, match=f"{layer!r}; choose one of: block1_conv1, .*block5_conv3"):
        vgg16_features(layer)


def test_a_missing_file_is_named_with_the_bundled_one(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.npz: no such file.*vgg16_block1to3\.npz"):
        vgg16_features(weights_file=tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\3\4 cut"])
def test_a_damaged_file_is_named(tmp_path, content):
    file = tmp_path / "vgg.npz"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"vgg\.npz: cannot be read"):
        vgg16_features(weights_file=file)


def test_a_cut_file_is_named(tmp_path):
    file = tmp_path / "cut.npz"
    file.write_bytes(BUNDLED_WEIGHTS.read_bytes()[:200_000])
    with pytest.raises(UserError, match=r"cut\.npz: cannot be read"):
        vgg16_features(weights_file=file)


def test_objects_in_a_file_are_not_loaded(tmp_path):
    def change(arrays):
        return {**arrays, "block1_conv1/bias": np.array([{}] * 64, object)}

    file = save_weights(tmp_path / "objects.npz", change)
    with pytest.raises(UserError, match=r"objects\.npz: cannot be read"):
        vgg16_features("block1_conv1", file)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((3, 3, 3, 32), np.float32), r"conv1/kernel is float32 \(3, 3, 3, 32\), VGG16"),
        (np.zeros((3, 3, 3, 64), np.int32), r"conv1/kernel is int32 .* has float \(3, 3, 3, 64\)"),
        (np.full((3, 3, 3, 64), np.nan, np.float32), "conv1/kernel holds nan"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, value, message):
    file = save_weights(tmp_path / "other.npz", lambda a: {**a, "block1_conv1/kernel": value})
    with pytest.raises(UserError, match=rf"other\.npz: block1_{message}"):
        vgg16_features("block1_conv2", file)


def test_a_file_that_ends_before_the_layer_is_named(tmp_path):
    file = save_weights(tmp_path / "short.npz", dict)
    assert vgg16_features("block1_conv2", file)(np.zeros((1, 4, 4, 3))).shape == (1, 4, 4, 64)
    with pytest.raises(UserError, match=r"short\.npz: block2_conv1/bias is not in it"):
        vgg16_features("block2_conv1", file)


# --- beyond the bundled layers ------------------------------------------------------------------


def test_layers_beyond_the_file_come_from_keras(monkeypatch, photograph, keras_vgg16):
    asked = []

    def download(**options):
        asked.append(options)
        return keras_vgg16  # block 4 has its random start

    monkeypatch.setattr(keras.applications, "VGG16", download)
    found = vgg16_features("block4_conv2")(photograph)
    assert asked == [{"weights": "imagenet", "include_top": False}]
    whole = keras.Model(keras_vgg16.input, keras_vgg16.get_layer("block4_conv2").output)
    wanted = whole(keras.applications.vgg16.preprocess_input(255.0 * photograph))
    assert relative_error(found.numpy(), wanted.numpy()) < 1e-5


def test_a_failed_download_says_what_to_do(monkeypatch):
    def download(**options):
        raise OSError("URL fetch failure\non a name")

    monkeypatch.setattr(keras.applications, "VGG16", download)
    with pytest.raises(UserError, match=r"block5_conv1 .* \(URL fetch failure on a name\).*block3"):
        vgg16_features("block5_conv1")


def test_bundled_layers_ask_nothing_of_the_internet(monkeypatch):
    monkeypatch.setattr(perceptual, "_downloaded", None)
    assert vgg16_features("block3_conv3").output_shape == (None, None, None, 256)
