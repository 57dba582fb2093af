"""mod_pix2pix: its generator, what it does when it is used, and pairs side by side in one file."""

from functools import partial

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth_picture, task_of
from keras import layers

import mod_pix2pix
from configure import Pix2pix
from util.networks.blocks import OwnStatistics
from util.networks.dropout import PlacedDropout, dropout_key, made_by
from util.networks.pix2pix import laid_over, translator
from util.pictures.pixels import as_float
from util.restore import tiles, whole
from util.samples.keys import Keys
from util.samples.pairs import side_by_side_samples
from util.samples.raindrops import raindrops
from util.say import UserError

TASK = task_of("mod_pix2pix")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


# --- generator ----------------------------------------------------------------------------------


def test_the_published_number_of_weights_and_their_first_values():
    network = TASK.make_networks(Pix2pix(**Pix2pix.presets["source"]))["generator"]
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 54_419_459
    kernels = [layer.kernel.numpy() for layer in network.layers if hasattr(layer, "kernel")]
    assert len(kernels) == 16
    for kernel in kernels:
        assert kernel.std() == pytest.approx(0.02, rel=0.05)
        assert abs(kernel.mean()) < 0.002


@pytest.mark.parametrize("size", [(37, 50), (64, 32)])
def test_any_picture_comes_out_in_its_size(size):
    for output, upsampling in (("found", "resize"), ("add", "transposed")):
        network = translator(2, 5, "batch", output=output, upsampling=upsampling)
        assert made_by(network, noise(2, *size, 3))["made"].shape == (2, *size, 3)


def test_resizing_leaves_no_checkerboard():
    even = {}
    for upsampling in ("resize", "transposed"):
        keras.utils.set_random_seed(0)
        network = translator(2, 5, "none", used_as_trained=False, upsampling=upsampling)
        made = made_by(network, np.full((1, 512, 512, 3), 0.75, np.float32))["made"]
        even[upsampling] = np.ptp(made[0, 240:272, 240:272], axis=(0, 1))  # far from the edges
    assert even["resize"].max() < 1e-6
    assert even["transposed"].min() > 1e-4


# --- what is damaged is found -------------------------------------------------------------------


def test_what_is_painted_is_laid_over_what_is_damaged():
    picture, painted = noise(1, 4, 5, 3), noise(1, 4, 5, 3, seed=1) - 0.5
    share = np.zeros((1, 4, 5, 1), np.float32)
    share[:, :2], share[:, 2:] = 40.0, -40.0
    found = {n: np.asarray(v) for n, v in laid_over(picture, share, painted).items()}
    np.testing.assert_allclose(found["painted"], 0.505 * np.tanh(painted) + 0.5, atol=1e-6)
    np.testing.assert_allclose(found["made"][:, :2], found["painted"][:, :2], atol=1e-6)
    np.testing.assert_array_equal(found["made"][:, 2:], picture[:, 2:])
    np.testing.assert_allclose(found["share"], share > 0, atol=1e-6)


def test_what_is_to_be_found_is_where_the_pair_differs(monkeypatch):
    clear = np.full((2, 4, 4, 3), 0.5, np.float32)
    damaged = clear.copy()
    damaged[:, 0], damaged[:, 1] = 0.6, 0.51  # the second row by no more than noise
    share = np.full((2, 4, 4, 1), -40.0, np.float32)
    share[:, 0] = 40.0
    painted = np.full((2, 4, 4, 3), 0.75, np.float32)
    found = {"made": painted, "painted": painted, "logit": share}
    monkeypatch.setattr(mod_pix2pix, "made_by", lambda *args: found)
    monkeypatch.setattr(mod_pix2pix, "dropout_key", lambda *args: None)
    batch = {"damaged": damaged, "clear": clear}
    made, further = mod_pix2pix.make({"generator": None}, batch, TASK.settings(), 0)
    assert made is painted
    assert float(further["finding"]) == pytest.approx(0.0, abs=1e-6)
    assert float(further["painting"]) == pytest.approx(0.25)
    found["logit"] = -share  # all of it the wrong way round
    _, further = mod_pix2pix.make({"generator": None}, batch, TASK.settings(), 0)
    assert float(further["finding"]) == pytest.approx(40.0)
    assert mod_pix2pix.make({"generator": None}, batch, TASK.settings(output="add"), 0)[1] == {}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_not_damaged_comes_out_as_it_came(dtype, monkeypatch):
    rng, white = np.random.default_rng(0), np.iinfo(dtype).max
    picture = rng.integers(0, white, (1, 256, 256, 3), dtype, endpoint=True)
    damaged = tf.constant(as_float(picture))
    share = np.zeros((1, 256, 256, 1), np.float32)
    share[:, :64], share[:, 64:] = 1.0, 0.039
    found = {"made": 1.0 - damaged, "share": tf.constant(share)}
    monkeypatch.setattr(mod_pix2pix, "made_by", lambda *args: found)
    settings = TASK.settings()
    restored = TASK.restore({"generator": None}, {"damaged": damaged}, settings)["restored"]
    pixels = whole.made_pixels(restored.numpy(), dtype, white)
    np.testing.assert_array_equal(pixels[:, 64:], picture[:, 64:])
    np.testing.assert_array_equal(pixels[:, :64], white - picture[:, :64])


# --- used as it was trained ---------------------------------------------------------------------


def test_half_precision_changes_little():
    networks = []
    for precision in ("float32", "mixed_bfloat16"):
        keras.mixed_precision.set_global_policy(precision)
        try:
            networks.append(translator(2, 5, "batch", output="add"))
        finally:
            keras.mixed_precision.set_global_policy("float32")
    networks[1].set_weights(networks[0].get_weights())
    one, half = (made_by(network, noise(1, 64, 64, 3))["made"] for network in networks)
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, one, atol=0.02)


def test_own_statistics_are_those_of_the_batch_in_training_and_then_instance_norm():
    layer = OwnStatistics(synchronized=True)
    x = 3.0 * noise(4, 5, 6, 7) + 2.0
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + layer.epsilon)
    np.testing.assert_allclose(layer(x, training=True), expected, atol=1e-4)
    instance = layers.GroupNormalization(groups=-1, epsilon=layer.epsilon)
    np.testing.assert_allclose(layer(x), instance(x), atol=1e-4)
    np.testing.assert_allclose(layer(x[:1]), instance(x[:1]), atol=1e-4)
    before = layer.moving_mean.numpy()
    assert before.any()  # they move in training, for a use that wants averages
    layer(x[:1])
    np.testing.assert_array_equal(layer.moving_mean, before)


def test_dropout_by_place_repeats_itself_and_is_none_unless_asked_for():
    ones, key = tf.ones((1, 12, 20, 64)), tf.zeros((2,), tf.int32)
    found = PlacedDropout(0.25, True, 4, name="a")(ones, key).numpy()
    square = found[:, :4, :4]
    np.testing.assert_array_equal(found, np.tile(square, (1, 3, 5, 1)))
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    assert (square == 0).mean() == pytest.approx(0.25, abs=0.05)
    other = PlacedDropout(0.25, True, 4, name="b")(ones, key).numpy()
    assert not np.array_equal(other, found)
    np.testing.assert_array_equal(PlacedDropout(0.25, False, 4)(ones, key), ones)
    training = [
        PlacedDropout(0.25, True, 4, name="a")(ones, dropout_key(0, step), training=True).numpy()
        for step in (1, 2)
    ]
    assert not np.array_equal(*training)


@pytest.mark.parametrize("used_as_trained", [False, True])
def test_tiles_join_where_dropout_goes_by_place(used_as_trained):
    network = translator(2, 5, "none", used_as_trained=used_as_trained)
    picture = noise(600, 200, 3)
    function = tf.function(lambda batch: {"restored": made_by(network, batch["damaged"])["made"]})
    how = {"margin_px": 96, "multiple": 32}
    whole = tiles.run(function, {"damaged": picture}, tile_px=2304, **how)["restored"]
    assert tiles.plan(600, 200, tile_px=320, **how).tiles > 1
    parts = tiles.run(function, {"damaged": picture}, tile_px=320, **how)["restored"]
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_tiles_start_where_the_deepest_level_has_a_pixel():
    assert tiles.tiling(TASK.settings(levels=7))["multiple"] == 128
    assert tiles.tiling(task_of("mod_defog").settings())["multiple"] == 32


# --- pairs side by side -------------------------------------------------------------------------


def written(folder, count=5, width=101):
    """Write files A|B: A is dark, B its negative; an odd column between them belongs to neither."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        left = smooth_picture(rng, 64, width // 2, 3) // 2
        middle = np.zeros((64, width % 2, 3), np.uint8)
        both = np.concatenate([left, middle, 255 - left], axis=1)
        assert cv2.imwrite(str(folder / f"{number}.png"), both)
    return folder


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_halves_are_cut_alike_in_either_direction(tiny_settings, tmp_path, direction):
    folder = written(tmp_path / "ab")
    changes = {"pairs_folder": str(folder), "direction": direction, "ground_zoom": (0.895, 0.895)}
    settings = tiny_settings(tmp_path, TASK.name, **changes)
    training, validation = TASK.samples(settings, progress=False)
    assert (len(training.clear), len(validation.clear)) == (4, 1)
    assert not set(training.clear.paths) & set(validation.clear.paths)
    file = cv2.imread(str(training.clear.paths[0]))[..., ::-1]
    for store, half in ((training.hazy, file[:, :50]), (training.clear, file[:, -50:])):
        np.testing.assert_array_equal(store.pixels(0, 0, 0, 64, 50), half)
    for sample in (training(0), training(7), validation(3)):
        assert sample.keys() == {"damaged", "clear"}
        assert sample["clear"].shape == (64, 64, 3)
        assert (sample["damaged"].mean() < sample["clear"].mean()) == (direction == "a_to_b")
        np.testing.assert_allclose(sample["damaged"] + sample["clear"], 1.0, atol=0.02)


def test_one_file_of_two_halves_is_divided_along_them(tiny_settings, tmp_path):
    folder = written(tmp_path / "ab", count=1, width=800)
    names = ("damaged", "clear")
    settings = tiny_settings(tmp_path, TASK.name, pairs_folder=str(folder))
    sides = side_by_side_samples(settings, False, setting="pairs_folder", names=names)
    assert [side.clear.sizes.tolist() for side in sides] == [[[64, 320]], [[64, 80]]]
    for side in sides:
        np.testing.assert_allclose(side(0)["damaged"] + side(0)["clear"], 1.0, atol=0.02)


def test_files_too_small_for_pairs_are_an_error_that_names_the_setting(tiny_settings, tmp_path):
    folder = written(tmp_path / "ab", width=40)
    settings = tiny_settings(tmp_path, TASK.name, pairs_folder=str(folder))
    with pytest.raises(UserError, match=r"pairs_folder = .*no pair is left to train with"):
        TASK.samples(settings, progress=False)


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_two_folders_in_either_direction(tiny_settings, tmp_path, clear_folder, direction):
    dark = tmp_path / "dark"
    dark.mkdir()
    for path in clear_folder.iterdir():
        assert cv2.imwrite(str(dark / path.name), cv2.imread(str(path)) // 4)
    changes = {"damaged_folder": str(dark), "direction": direction}
    training, _ = TASK.samples(tiny_settings(tmp_path, TASK.name, **changes), progress=False)
    means = {name: picture.mean() for name, picture in training(0).items()}
    assert (means["damaged"] < means["clear"]) == (direction == "a_to_b")


# --- raindrops ----------------------------------------------------------------------------------


def test_raindrops_change_what_they_cover_and_nothing_else():
    clear = noise(96, 96, 3)
    draw = partial(raindrops, clear=clear, cover=(0.2, 0.2), radius_px=(3.0, 12.0))
    found = draw(Keys(0, 4))
    drops, damaged = found["drops"], found["damaged"]
    assert (drops.dtype, damaged.dtype) == (np.float32, np.float32)
    assert 0 == drops.min() < drops.max() == 1
    assert 0.1 < drops.mean() < 0.3
    assert damaged.min() >= 0
    assert damaged.max() <= 1
    free = drops[..., 0] == 0
    np.testing.assert_array_equal(damaged[free], clear[free])
    assert np.abs(damaged - clear)[drops[..., 0] == 1].mean() > 0.1
    np.testing.assert_array_equal(draw(Keys(0, 4))["damaged"], damaged)
    assert not np.array_equal(draw(Keys(0, 5))["drops"], drops)


@pytest.mark.parametrize("number", range(4))
def test_a_drop_shows_the_scene_mirrored(number):
    ramp = np.repeat(np.linspace(0.3, 0.7, 128, dtype=np.float32)[None, :, None], 128, axis=0)
    clear = np.repeat(ramp, 3, axis=2)
    found = raindrops(Keys(0, number), clear, cover=(1e-6, 1e-6), radius_px=(16.0, 16.0))
    rows, columns = np.nonzero(found["drops"][..., 0] > 0.99)
    along = np.corrcoef(columns, found["damaged"][rows, columns, 0])[0, 1]
    assert along < -0.5
