"""Networks: published sizes, shapes, padding, order of their layers, and what they see."""

import itertools

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SCRIPTS, smooth_picture, task_of

import mod_defog
from configure import Defog
from util.networks.blocks import (
    EnlargedDetail,
    FixedNoise,
    ModeProducts,
    ReflectPad,
    SmoothFill,
    dilated_block,
    gated_down,
    leaky_tanh,
)
from util.networks.doubled import DoubledConv2D
from util.networks.inpainting import (
    inpainting_generator,
    two_tower_discriminator,
    with_features,
)
from util.networks.unet import (
    CLOUD_LIGHT,
    cloud_light,
    dimming,
    fill_hidden,
    ground_from,
    possible_opacity,
    unet,
)
from util.pictures.harmonic import harmonic_fill
from util.samples.light import lit


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def expected_weights(w, norm, upsampling, outputs=4, inputs=3):
    """Count the weights from the description: (kernel, channels in, channels out) of each layer."""
    kernel = 4 if upsampling == "transposed" else 3
    down = [inputs, w, 2 * w, 4 * w, 8 * w, 16 * w]
    up = [16 * w, 32 * w, 16 * w, 8 * w, 4 * w, 2 * w]
    convolutions = [(4, a, b) for a, b in itertools.pairwise(down)]
    convolutions += [(3, 16 * w, 16 * w)] * 2
    convolutions += [
        (kernel, a + twin, b) for a, twin, b in zip(up, down[:0:-1], up[1:], strict=False)
    ]
    convolutions += [(3, 2 * w + inputs, w), (3, w, outputs)]
    normalised = 0 if norm == "none" else 2 * 16 * w + sum(up[1:])
    return sum(k * k * a * b + b for k, a, b in convolutions) + 2 * normalised


def test_the_published_number_of_weights():
    networks = mod_defog.make_networks(Defog(**Defog.presets["source"]))
    assert count(networks["unet"].trainable_variables) == 2_392_524


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("norm", ["none", "batch", "group", "instance"])
def test_weights_of_every_kind(norm, upsampling):
    model = unet(4, norm=norm, upsampling=upsampling)
    assert count(model.trainable_variables) == expected_weights(4, norm, upsampling)
    averages = count(model.non_trainable_variables)
    assert averages == (2 * 4 * (2 * 16 + 32 + 16 + 8 + 4 + 2) if norm == "batch" else 0)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (64, 64), (96, 160)])
def test_a_picture_comes_out_in_its_size(height, width, upsampling):
    model = unet(2, outputs=5, norm="none", upsampling=upsampling)
    found = model(np.random.default_rng(0).random((2, height, width, 3), np.float32)).numpy()
    assert found.shape == (2, height, width, 5)
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=(1, 2)).min() > 0


@pytest.mark.parametrize("width", [1, 3, 5, 8, 11, 12])
def test_group_norm_fits_any_base_width(width):
    found = unet(width, norm="group")(np.zeros((1, 32, 32, 3), np.float32))
    assert found.shape == (1, 32, 32, 4)


@pytest.mark.parametrize(("option", "value"), [("norm", "layer"), ("upsampling", "bilinear")])
def test_an_unknown_kind_is_named_with_the_known_ones(option, value):
    with pytest.raises(ValueError, match=rf"{option} is '{value}'; it must be one of \w+, \w+"):
        unet(2, **{option: value})


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
@pytest.mark.parametrize(
    ("block", "after"),
    [("middle1", "middle2"), ("middle2", "join5")]
    + [(f"up{level}", f"join{level - 1 or '_picture'}") for level in (5, 4, 3, 2, 1)],
)
def test_norm_comes_before_the_activation(norm, block, after):
    model = unet(2, norm=norm)
    layer = model.get_layer(f"{block}_norm")
    layer.gamma.assign(np.zeros(layer.gamma.shape))
    layer.beta.assign(-np.ones(layer.beta.shape))
    follower = model.get_layer(after).input
    follower = follower[0] if isinstance(follower, list) else follower
    found = keras.Model(model.input, follower)(np.ones((1, 32, 32, 3), np.float32))
    # The norm gives -1, LeakyReLU makes it -0.2; the other way round it would be -1.
    np.testing.assert_allclose(found, -0.2, rtol=1e-5)


def test_own_statistics_are_those_of_the_batch_trained_and_of_each_picture_used():
    """The weights of batch norm fit, so what the averages cost can be measured on them."""
    own, batch = unet(2, norm="own"), unet(2, norm="batch")
    own.set_weights(batch.get_weights())
    picture = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    used = own(picture, training=False).numpy()
    for averaged, kept in zip(batch.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_array_equal(averaged, kept)  # to use it changes nothing
    for model in (own, batch):
        for each, alone in zip(used, np.split(picture, 2), strict=True):
            np.testing.assert_allclose(model(alone, training=True)[0], each, atol=1e-5)
    both = [model(picture, training=True) for model in (own, batch)]
    np.testing.assert_allclose(*both, atol=1e-5)
    assert np.abs(both[0] - used).max() > 1e-3
    assert np.abs(batch(picture, training=False) - used).max() > 1e-3

    layer = own.get_layer("up1_norm")
    layer.gamma.assign(np.full(4, 3.0))
    layer.beta.assign(np.full(4, 7.0))
    found = layer(5.0 + 9.0 * np.random.default_rng(1).random((2, 8, 8, 4), np.float32)).numpy()
    np.testing.assert_allclose(found.mean((1, 2)), np.full((2, 4), 7.0), rtol=1e-4)
    np.testing.assert_allclose(found.std((1, 2)), np.full((2, 4), 3.0), rtol=1e-3)


def test_no_norm_adds_no_layer():
    assert not [layer for layer in unet(2, norm="none").layers if "norm" in layer.name]


def repeated(pixels):
    return pixels.repeat(2, 1).repeat(2, 2)


def test_resizing_repeats_pixels_before_its_convolution():
    model = unet(2, norm="none", upsampling="resize")
    layer = model.get_layer("up1")
    inside = keras.Model(model.input, [model.get_layer("join1").output, layer.output])
    small, found = inside(np.random.default_rng(0).random((1, 32, 64, 3), np.float32))
    wanted = tf.nn.conv2d(repeated(small.numpy()), layer.kernel, 1, "SAME") + layer.bias
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (6, 7)])
def test_a_doubled_convolution_is_one_of_repeated_pixels(size, side):
    """Forwards and backwards, also where it is all border."""
    rng = np.random.default_rng(1)
    given = rng.normal(size=(2, *size, 3)).astype(np.float32)
    layer = DoubledConv2D(4, side)
    with tf.GradientTape() as tape:
        found = layer(given)
        loss = tf.reduce_sum(found**3)
    layer.bias.assign(rng.normal(size=4))
    slopes = tape.gradient(loss, layer.trainable_variables)
    kernel = tf.Variable(layer.kernel)
    with tf.GradientTape() as tape:
        wanted = tf.nn.conv2d(repeated(given), kernel, 1, "SAME")
        loss = tf.reduce_sum(wanted**3)
    assert layer.compute_output_shape(given.shape) == tuple(found.shape) == tuple(wanted.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(layer(given), wanted + layer.bias, atol=1e-5)
    np.testing.assert_allclose(slopes[0], tape.gradient(loss, kernel), rtol=1e-4, atol=1e-3)


def test_beside_what_is_doubled_there_may_be_what_is_as_large_already():
    rng = np.random.default_rng(2)
    small, large = rng.random((2, 4, 5, 3), np.float32), rng.random((2, 8, 10, 2), np.float32)
    layer = DoubledConv2D(4, 3)
    found = layer(small, large)
    assert layer.kernel.shape == (3, 3, 5, 4)
    joined = np.concatenate([repeated(small), large], axis=-1)
    np.testing.assert_allclose(found, tf.nn.conv2d(joined, layer.kernel, 1, "SAME"), atol=1e-5)


def test_a_doubled_convolution_has_the_weights_of_one_that_is_not():
    layer = DoubledConv2D(2, 3, name="up1")
    layer.build((None, None, None, 5))
    assert {weight.path: tuple(weight.shape) for weight in layer.weights} == {
        "up1/kernel": (3, 3, 5, 2),
        "up1/bias": (2,),
    }


# --- reflection ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize(("height", "length"), [(1, 1), (1, 2), (2, 2), (2, 5), (3, 4), (7, 4)])
def test_reflect_pad_is_numpys(height, length, width):
    picture = np.random.default_rng(0).random((2, height, length, 3), np.float32)
    padding = [(0, 0), (width, width), (width, width), (0, 0)]
    expected = np.pad(picture, padding, mode="reflect")
    np.testing.assert_array_equal(ReflectPad(width)(picture), expected)
    unknown = keras.Input((None, None, 3))
    model = keras.Model(unknown, ReflectPad(width)(unknown))
    np.testing.assert_array_equal(model.predict(picture, verbose=0), expected)


def test_reflect_pad_tells_its_shape_and_can_be_made_again():
    layer = ReflectPad(2, name="pad")
    assert layer.compute_output_shape((None, 5, None, 3)) == (None, 9, None, 3)
    again = ReflectPad.from_config(layer.get_config())
    assert (again.width, again.name) == (2, "pad")


# --- how far it sees ----------------------------------------------------------------------------


def field_of(place):
    """Return the first and last input row that can change output row `place`.

    A 4x4 stride-2 convolution makes row i of rows 2 i - 1 to 2 i + 2; its transposed twin makes
    row o of rows (o - 2) / 2 to (o + 1) / 2, rounded inwards; a 3x3 convolution of one row more on
    each side. The field is the widest over all paths, which is the one through the middle.
    """
    first, last = place - 2, place + 2  # the two convolutions of the head
    for _ in range(5):
        first, last = -(-(first - 2) // 2), (last + 1) // 2
    first, last = first - 2, last + 2  # the two in the middle
    for _ in range(5):
        first, last = 2 * first - 1, 2 * last + 2
    return first, last


@pytest.mark.parametrize("place", [240, 255, 256, 271])
def test_a_pixel_beyond_the_receptive_field_changes_nothing(place):
    model = unet(2, norm="none")
    for variable in model.trainable_variables:
        # All positive, so that no path is lost to rounding or cancelled by another.
        variable.assign(np.abs(variable.numpy()) + 0.05)
    picture = np.random.default_rng(0).random((1, 512, 32, 3), np.float32)
    first, last = field_of(place)
    assert 0 < first < place < last < 511

    def output(row):
        changed = picture.copy()
        changed[0, row] += 1000
        return model(changed).numpy()[0, place]

    before = model(picture).numpy()[0, place]
    for inside in (first, last):
        assert not np.array_equal(output(inside), before), f"row {inside} should count"
    for outside in (first - 1, last + 1):
        np.testing.assert_array_equal(output(outside), before)


@pytest.mark.parametrize(("norm", "local"), [("none", True), ("batch", True), ("instance", False)])
def test_only_norms_over_the_picture_see_everything(norm, local):
    model = unet(2, norm=norm)
    picture = np.random.default_rng(0).random((1, 512, 32, 3), np.float32)
    changed = picture.copy()
    changed[0, -1] = 5.0
    same = np.array_equal(model(picture).numpy()[0, 0], model(changed).numpy()[0, 0])
    assert same == local


# --- layers of the networks that repaint --------------------------------------------------------


def test_mode_products_are_a_dense_layer_with_a_kronecker_matrix():
    rng = np.random.default_rng(0)
    layer = ModeProducts((2, 5, 3))
    x = rng.random((4, 3, 2, 6), np.float32)
    layer(x)
    factors = [rng.normal(size=f.shape).astype(np.float32) for f in layer.factors]
    bias = rng.random((2, 5, 3), np.float32)
    layer.set_weights([*factors, bias])
    matrix = np.kron(np.kron(factors[0], factors[1]), factors[2])
    expected = (x.reshape(4, -1) @ matrix).reshape(4, 2, 5, 3) + bias
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape((None, 3, 2, 6)) == (None, 2, 5, 3)
    assert ModeProducts.from_config(layer.get_config()).shape == (2, 5, 3)


def twice(x):
    """Return a picture (B, H, W, C) in twice its size, bilinear between the centres of pixels."""
    for axis in (1, 2):
        before = np.take(x, np.maximum(np.arange(x.shape[axis]) - 1, 0), axis)
        after = np.take(x, np.minimum(np.arange(x.shape[axis]) + 1, x.shape[axis] - 1), axis)
        pairs = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return x


def filled_by_numpy(colour, weight, levels):
    """Fill the holes of (B, H, W, C): what a cell lacks is taken from the cells above it."""
    if levels == 0:
        both = colour.mean((1, 2), keepdims=True), weight.mean((1, 2), keepdims=True)
        above = np.broadcast_to(both[0] / np.maximum(both[1], 1e-6), colour.shape)
    else:
        b, h, w, _ = colour.shape
        halved = [x.reshape(b, h // 2, 2, w // 2, 2, -1).mean((2, 4)) for x in (colour, weight)]
        above = twice(filled_by_numpy(*halved, levels - 1))
    return colour + (1 - weight) * above


def holed(height=64, width=96, missing=0.6, seed=0):
    """Return a random picture, what of it is known (0..1, soft), and both multiplied."""
    rng = np.random.default_rng(seed)
    picture = rng.random((2, height, width, 3), np.float32)
    known = np.clip(rng.random((2, height, width, 1), np.float32) * 2 - missing, 0, 1)
    known[:, 8:40, 16:72] = 0
    return picture, known, picture * known


@pytest.mark.parametrize("levels", [1, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96)])
def test_filling_is_a_pyramid_of_averages(height, width, levels):
    _, known, given = holed(height, width)
    expected = filled_by_numpy(given, known, levels)
    np.testing.assert_allclose(SmoothFill(levels)(given, known), expected, atol=1e-5)
    # As in a network that takes pictures of any size.
    inputs = [keras.Input((None, None, 3)), keras.Input((None, None, 1))]
    model = keras.Model(inputs, SmoothFill(levels)(*inputs))
    np.testing.assert_allclose(model([given, known]), expected, atol=1e-5)


def test_known_pixels_stay_as_they_are():
    picture, known, given = holed()
    whole = np.broadcast_to(known == 1, picture.shape)
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(SmoothFill()(given, known).numpy()[whole], picture[whole])


def test_an_even_picture_is_filled_with_its_colour():
    _, known, _ = holed()
    even = np.broadcast_to(np.float32([0.25, 0.5, 1.0]), (2, 64, 96, 3))
    np.testing.assert_allclose(SmoothFill()(even * known, known), even, atol=1e-5)


def test_a_slope_is_continued_into_the_hole():
    slope = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[:, None, None], (64, 64, 3))
    known = np.ones((1, 64, 64, 1), np.float32)
    known[:, 22:46, 20:44] = 0
    found = SmoothFill()(slope[None] * known, known).numpy()[0]
    assert np.abs(found - slope).max() < 0.1  # the hole spans 0.37
    middle = found[22:46, 32, 0]
    assert np.corrcoef(middle, slope[22:46, 32, 0])[0, 1] > 0.98


@pytest.mark.parametrize("sweeps", [0, 2])
def test_nothing_known_gives_zeros(sweeps):
    nothing = np.zeros((1, 32, 32, 3), np.float32)
    found = SmoothFill(sweeps=sweeps)(nothing, nothing[..., :1])
    np.testing.assert_array_equal(found, nothing)


def test_sweeps_come_close_to_the_membrane():
    picture = smooth_picture(np.random.default_rng(0), 64, 96, 3) / np.float32(255)
    hole = np.zeros((64, 96), bool)
    hole[10:50, 20:70] = True
    hole[30:, 40:50] = False  # a hole with a bay
    known = np.float32(~hole)[None, ..., None]
    wanted = harmonic_fill(picture, hole)
    found = [SmoothFill(sweeps=n)(picture * known, known).numpy()[0] for n in (0, 2)]
    off = [np.abs(filling - wanted)[hole].mean() for filling in found]
    assert off[1] < 0.5 * off[0]
    for filling in found:
        np.testing.assert_array_equal(filling[~hole], picture[~hole])
    assert found[1].min() >= picture[~hole].min() - 1e-5
    assert found[1].max() <= picture[~hole].max() + 1e-5


def test_beyond_the_coarsest_cells_the_mean_is_filled_in():
    picture, known, _ = holed(64, 64)
    known[:] = 0
    known[:, :8, :24] = 1
    found = SmoothFill(2)(picture * known, known).numpy()
    mean = picture[:, :8, :24].mean((1, 2))
    far = found[:, 32:, 40:]
    np.testing.assert_allclose(far, np.broadcast_to(mean[:, None, None], far.shape), rtol=1e-4)


def test_fixed_noise_looks_random_and_is_the_same_every_time():
    noise = FixedNoise()(np.zeros((2, 128, 128, 3), np.float32)).numpy()
    assert noise.shape == (2, 128, 128, 1)
    again = FixedNoise()(np.random.default_rng(0).random((1, 96, 160, 1), np.float32)).numpy()
    np.testing.assert_array_equal(noise[0], noise[1])
    np.testing.assert_array_equal(again[0, :, :128], noise[0, :96])
    # Uniform in -1..1: mean 0, variance 1/3, and flat in ten bins.
    one = noise[0, ..., 0].astype(np.float64)
    assert np.abs(one).max() <= 1
    assert abs(one.mean()) < 0.02
    assert one.var() == pytest.approx(1 / 3, rel=0.03)
    counts, _ = np.histogram(one, bins=10, range=(-1, 1))
    np.testing.assert_allclose(counts, one.size / 10, rtol=0.15)
    # Without pattern: the power of white noise is exponential, and 25 times the mean never comes.
    power = np.abs(np.fft.fft2(one - one.mean())) ** 2
    assert power.max() / power.mean() < 25


# --- the generator that repaints ----------------------------------------------------------------


def expected_generator(w, norm, upsampling, skips, painting):
    """Count the generator's weights from its description, as `expected_weights`."""
    kernel = 4 if upsampling == "transposed" else 3
    seen = 5 if painting == "fill" else 4  # noise is the fifth channel
    down = [seen, w, 2 * w, 4 * w, 8 * w, 16 * w]
    up = [16 * w, 16 * w, 8 * w, 4 * w, 2 * w, w]
    convolutions = [(4, a, b) for a, b in itertools.pairwise(down)]
    convolutions += [(3, 16 * w, 16 * w)] * 8
    twins = down[:0:-1] if skips else [0] * 5
    convolutions += [(kernel, a + t, b) for a, t, b in zip(up, twins, up[1:], strict=False)]
    convolutions += [(3, w + seen, w), (3, w, 3)]
    normalised = 0 if norm == "none" else 4 * 16 * w + sum(up[1:]) + w
    return sum(k * k * a * b + b for k, a, b in convolutions) + 2 * normalised


def test_the_published_number_of_the_generators_weights():
    model = inpainting_generator(16, norm="batch", upsampling="transposed", painting="direct")
    assert count(model.trainable_variables) == 7_170_275


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize(
    ("norm", "painting", "width"),
    [("none", "fill", 3), ("batch", "direct", 2), ("group", "fill", 2), ("instance", "direct", 5)],
)
def test_weights_of_every_generator(norm, painting, width, upsampling, skips):
    model = inpainting_generator(
        width, norm=norm, upsampling=upsampling, skips=skips, painting=painting
    )
    expected = expected_generator(width, norm, upsampling, skips, painting)
    assert count(model.trainable_variables) == expected


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_weights_of_the_gated_generator(upsampling, skips):
    w, k = 3, 3 if upsampling == "resize" else 4
    model = inpainting_generator(
        w, form="gated", norm="none", upsampling=upsampling, skips=skips, painting="membrane"
    )
    twin = 2 if skips else 1
    # The gates double the ways down: picture, hole and noise, then three levels.
    convolutions = [(4, 5, 4 * w), (4, 2 * w, 8 * w), (4, 4 * w, 16 * w)]
    convolutions += [(3, 8 * w, 8 * w)] * 12
    convolutions += [(k, twin * a * w, b * w) for a, b in ((8, 4), (4, 2), (2, 1))]
    convolutions += [(3, w + 5, w), (3, w, 3)]
    assert count(model.trainable_variables) == sum(k * k * a * b + b for k, a, b in convolutions)


def test_a_gate_can_shut():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, gated_down(inputs, 2, "down"))
    kernel, bias = (np.ones(w.shape, np.float32) for w in model.get_weights())
    picture = np.ones((1, 8, 8, 3), np.float32)
    for gate, share in ((-99, 0), (-48, 0.5), (99, 1)):  # 48 values of 1 and the bias: 0
        bias[:2], bias[2:] = 1, gate
        model.set_weights([kernel, bias])
        middle = model(picture).numpy()[:, 1:3, 1:3]  # beyond it there is padding
        np.testing.assert_allclose(middle, 49 * share, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 4])
def test_a_dilated_block_reaches_as_far_as_it_shall(dilation):
    inputs = keras.Input((32, 32, 2))
    model = keras.Model(inputs, dilated_block(inputs, dilation, "none", "block"))
    picture = np.random.default_rng(0).random((1, 32, 32, 2), np.float32)
    changed = picture.copy()
    changed[0, 16, 16] += 1
    moved = (model(picture).numpy() != model(changed).numpy()).any(-1)[0]
    rows, columns = np.nonzero(moved)
    for places in (rows, columns):  # the first convolution reaches `dilation`, the second 1
        assert (places.min(), places.max()) == (16 - dilation - 1, 16 + dilation + 1)


@pytest.mark.parametrize("form", ["source", "gated"])
@pytest.mark.parametrize("painting", ["direct", "fill"])
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 160), (96, 32)])
def test_a_patch_has_the_size_of_its_picture(height, width, skips, painting, form):
    model = inpainting_generator(2, form=form, norm="none", skips=skips, painting=painting)
    found = model(np.random.default_rng(0).random((2, height, width, 4), np.float32)).numpy()
    assert found.shape == (2, height, width, 3)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=(1, 2)).min() > 0


def test_a_direct_patch_lies_within_the_squash():
    model = inpainting_generator(2, norm="none")
    last = model.get_layer("head2")
    for bias, bound in ((99, 1.005), (-99, -0.005)):
        last.set_weights([last.kernel.numpy(), np.full(3, bias, np.float32)])
        np.testing.assert_allclose(model(np.ones((1, 32, 32, 4), np.float32)), bound, atol=1e-6)


@pytest.mark.parametrize("far", [-1e4, -30.0, 30.0, 1e4])
def test_a_tanh_pushed_far_out_has_a_slope_to_come_back(far):
    x = tf.constant([far])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = leaky_tanh(x)
    assert y.numpy() == np.sign(far)
    assert tape.gradient(y, x).numpy() == pytest.approx(0.001)


def test_a_leaky_tanh_is_a_tanh():
    x = np.linspace(-20, 20, 401, dtype=np.float32)
    np.testing.assert_array_equal(leaky_tanh(x), keras.ops.tanh(x))


def slope_far_out(function):
    x = tf.constant([[[[50.0, -50.0, 50.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return np.abs(tape.gradient(y, x).numpy()).max()


@pytest.mark.parametrize("slope", [0.0, 0.001, 0.25])
def test_the_slope_reaches_every_last_tanh(slope):
    grey = tf.zeros((1, 1, 1, 3))
    direct, unmix = (
        lambda x, head=head: ground_from(x, grey, grey[..., :1], head, slope=slope)
        for head in ("direct", "unmix")
    )
    patch = inpainting_generator(1, norm="none", tanh_slope=slope).get_layer("patch")
    again = type(patch).from_config(patch.get_config())
    assert slope_far_out(unmix) == pytest.approx(slope)
    assert slope_far_out(lambda x: cloud_light(x, slope)) == pytest.approx(0.325 * slope)
    for function in (direct, patch, again):
        assert slope_far_out(function) == pytest.approx(0.505 * slope)


def test_without_a_correction_the_fill_itself_is_painted():
    model = inpainting_generator(2, norm="none", painting="fill")
    last = model.get_layer("head2")
    last.set_weights([np.zeros(w.shape, np.float32) for w in last.get_weights()])
    _, known, given = holed()
    expected = filled_by_numpy(given, known, 5)
    found = model(np.concatenate([given, 1 - known], -1))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("form", ["source", "gated"])
def test_it_begins_with_the_membrane(form):
    _, known, given = holed()
    model = inpainting_generator(2, form=form, norm="none", painting="membrane")
    found = model(np.concatenate([given, 1 - known], -1))
    np.testing.assert_allclose(found, SmoothFill(sweeps=2)(given, known), atol=1e-6)


# --- the discriminator with two towers ----------------------------------------------------------


def expected_discriminator(w, size_px, towers, head):
    """Count the discriminator's weights from its description."""
    down = [3, w, 2 * w, 4 * w, 8 * w, 16 * w]
    tower = sum(16 * a * b + b for a, b in itertools.pairwise(down))
    side, channels = size_px // 32, 16 * w * (2 if towers == "both" else 1)
    if head == "dense":
        last = side * side * channels * w + w + w + 1
    else:
        last = 2 * side * 2 + channels * w + 4 * w + (2 + 2 + w) + 1
    return tower * (2 if towers == "both" else 1) + last


def test_the_published_number_of_the_discriminators_weights():
    assert count(two_tower_discriminator(16, 128).trainable_variables) == 1_526_273


@pytest.mark.parametrize("head", ["dense", "tensor"])
@pytest.mark.parametrize("towers", ["both", "global", "local"])
@pytest.mark.parametrize(("width", "size_px"), [(2, 64), (3, 96)])
def test_weights_and_scores_of_every_discriminator(width, size_px, towers, head):
    model = two_tower_discriminator(width, size_px, towers=towers, head=head)
    expected = expected_discriminator(width, size_px, towers, head)
    assert count(model.trainable_variables) == expected
    rng = np.random.default_rng(0)
    picture, hole = (rng.random((3, size_px, size_px, c), np.float32) for c in (3, 1))
    found = model([picture, hole]).numpy()
    assert found.shape == (3, 1)
    assert len(np.unique(found)) == 3


@pytest.mark.parametrize(("towers", "maps"), [("both", 10), ("local", 5)])
def test_features_are_what_the_levels_of_the_towers_found(towers, maps):
    model = two_tower_discriminator(2, 64, towers=towers)
    rng = np.random.default_rng(0)
    given = [rng.random((2, 64, 64, c), np.float32) for c in (3, 1)]
    scores, *found = with_features(model)(given)
    np.testing.assert_array_equal(scores, model(given))
    sides = [x.shape[1] for x in found]
    assert sorted(sides) == sorted([32, 16, 8, 4, 2] * (maps // 5))


@pytest.mark.parametrize("towers", ["both", "global", "local"])
def test_each_tower_sees_what_it_shall(towers):
    model = two_tower_discriminator(2, 64, towers=towers)
    picture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    hole = np.zeros((1, 64, 64, 1), np.float32)
    hole[:, 16:40, 24:48] = 1
    outside, inside = picture.copy(), picture.copy()
    outside[:, :16] += 1
    outside[:, :, 50:] -= 1
    inside[:, 20:30, 30:40] += 1
    elsewhere = np.roll(hole, 16, axis=1)
    before = model([picture, hole])

    def same(picture, hole):
        return np.array_equal(model([picture, hole]), before)

    assert same(outside, hole) == (towers == "local")
    assert not same(inside, hole)
    assert same(picture, elsewhere) == (towers == "global")


def test_detail_is_enlarged_about_a_centred_mean():
    layer = EnlargedDetail(8.0)
    flat = np.full((1, 16, 16, 3), 0.75, np.float32)
    np.testing.assert_allclose(layer(flat), 0.25, atol=1e-6)  # at the borders too
    picture = np.random.default_rng(0).random((2, 16, 24, 3), np.float32)
    mean = cv2.blur(picture[1], (5, 5))[2:-2, 2:-2]
    within = picture[1, 2:-2, 2:-2]
    found = layer(picture)[1, 2:-2, 2:-2]
    np.testing.assert_allclose(found, mean - 0.5 + 8 * (within - mean), atol=1e-5)
    assert EnlargedDetail.from_config(layer.get_config()).gain == 8.0


def test_detail_is_not_rounded_where_the_networks_work_in_bfloat16():
    picture = 0.7 + np.random.default_rng(0).normal(0, 1e-3, (1, 32, 32, 3)).astype(np.float32)
    expected = EnlargedDetail(8.0)(picture)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        np.testing.assert_array_equal(EnlargedDetail(8.0)(picture), expected)
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_discriminator_with_enlarged_detail_has_no_more_weights_and_sees_no_further_inside():
    """What lies outside the hole reaches its inside by half a window at most."""
    model = two_tower_discriminator(2, 64, towers="local", detail_gain=8.0)
    assert count(model.trainable_variables) == expected_discriminator(2, 64, "local", "dense")
    picture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    hole = np.zeros((1, 64, 64, 1), np.float32)
    hole[:, 16:40, 24:48] = 1
    before = model([picture, hole])
    far, near = picture.copy(), picture.copy()
    far[:, :14] += 1
    near[:, 14:16] += 1
    assert np.array_equal(model([far, hole]), before)
    assert not np.array_equal(model([near, hole]), before)


def largest_singular_value(kernel):
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


@pytest.mark.parametrize("width", [2, 5])
def test_spectral_norm_brings_every_kernels_largest_singular_value_to_one(width):
    rng = np.random.default_rng(0)
    model = two_tower_discriminator(width, 64, spectral_norm=True)
    assert count(model.trainable_variables) == expected_discriminator(width, 64, "both", "dense")
    kernels = [v for v in model.trainable_variables if v.path.endswith("kernel")]
    assert len(kernels) == 12
    for kernel in kernels:
        kernel.assign(kernel.numpy() * 30)
    given = [rng.random((1, 64, 64, c), np.float32) for c in (3, 1)]
    judge = tf.function(lambda: model(given, training=True), autograph=False)
    for _ in range(30):
        judge()
    for kernel in kernels:
        found = largest_singular_value(kernel.numpy())
        assert found == pytest.approx(1, abs=0.05), kernel.path
    before = [k.numpy() for k in kernels]
    model(given)  # judging alone changes nothing
    for kernel, value in zip(kernels, before, strict=True):
        np.testing.assert_array_equal(kernel.numpy(), value)


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda: unet(2, norm="batch"),
        lambda: unet(2, norm="group", upsampling="resize"),
        lambda: inpainting_generator(2, skips=True, painting="fill"),
        lambda: two_tower_discriminator(2, 64, spectral_norm=True),
        lambda: two_tower_discriminator(2, 64, head="tensor"),
    ],
)
def test_weights_keep_their_names_however_many_networks_were_made(build):
    """A checkpoint is read by them, also in a process that has made other networks before."""
    first, second = ([v.path for v in build().variables] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


# --- the head of mod_defog ----------------------------------------------------------------------


def cloud_over_ground():
    """Return a pixel row of cloudy pictures, their ground, opacity below 0.8, and cloud light."""
    rng = np.random.default_rng(3)
    clear = rng.random((1, 4, 5, 3), np.float32)
    opacity = 0.8 * rng.random((1, 4, 5, 1), np.float32)
    colour = np.float32([0.6, 0.8, 0.7])
    cloudy = np.stack([lit(clear[0], opacity[0].repeat(3, -1), colour)])
    return cloudy, clear, opacity, np.broadcast_to(colour, clear.shape)


@pytest.mark.parametrize("head", ["light", "unmix"])
def test_the_true_opacity_and_light_give_the_ground_back(head):
    cloudy, clear, opacity, light = cloud_over_ground()
    found = ground_from(tf.zeros_like(clear), cloudy, opacity, head, light)
    np.testing.assert_allclose(found, clear, atol=1e-5)


def test_what_was_laid_on_is_always_possible():
    cloudy, _, opacity, light = cloud_over_ground()
    most = possible_opacity(tf.ones_like(opacity), cloudy, light)
    assert (most.numpy() >= opacity - 1e-6).all()
    assert (most.numpy() <= 1).all()
    np.testing.assert_allclose(
        possible_opacity(0.25 * tf.ones_like(opacity), cloudy, light), 0.25 * most, rtol=1e-6
    )


def test_no_possible_opacity_makes_ground_darker_than_black():
    cloudy, _, _, light = cloud_over_ground()
    most = possible_opacity(tf.ones((1, 4, 5, 1)), cloudy, light)
    assert (ground_from(tf.zeros_like(cloudy), cloudy, most, "light", light).numpy() > -1e-5).all()


def test_what_is_darker_than_cloud_is_shown_darker_by_its_darkest_channel():
    darkest = np.float32([0, 0.3, 0.5, 0.7, 1])
    cloudy = np.stack([np.ones(5, np.float32), darkest, np.maximum(darkest, 0.9)], -1)[None, None]
    shown = dimming(cloudy, 0.1)
    assert shown.shape == (1, 1, 5, 1)
    np.testing.assert_allclose(shown.numpy().ravel(), [0.9, 0.9, 0.95, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(dimming(cloudy, 0.0), np.ones((1, 1, 5, 1)))


def test_the_light_of_cloud_stays_within_its_limits_and_begins_near_white():
    low, high = CLOUD_LIGHT
    far = cloud_light(tf.constant([[[[-50.0, 0.0, 50.0]]]])).numpy().ravel()
    np.testing.assert_allclose(far[[0, 2]], [low, high], atol=1e-5)
    assert 0.9 < far[1] < 1


def test_ground_that_can_be_seen_stays_as_it_is():
    cloudy, clear, _, _ = cloud_over_ground()
    opacity = np.full((1, 4, 5, 1), 0.39, np.float32)
    np.testing.assert_array_equal(fill_hidden(tf.constant(clear), cloudy, opacity), clear)
    # To the bit also where something is filled beside it, or clear ground would not stay.
    opacity[:, 0, 0] = 0.9
    found = fill_hidden(tf.constant(clear), cloudy, opacity).numpy()
    changed = (found != clear).any(axis=-1)
    assert changed[:, 0, 0].all()
    assert changed.sum() == len(changed)


def test_what_is_hidden_is_filled_with_the_ground_around_it():
    ground = np.full((1, 40, 40, 3), [0.2, 0.4, 0.3], np.float32)
    opacity = np.zeros((1, 40, 40, 1), np.float32)
    ground[:, 18:22, 18:22] = [1.0, 0.0, 1.0]  # specks, under thick cloud
    opacity[:, 18:22, 18:22] = 0.9
    cloudy = np.ones_like(ground)
    found = fill_hidden(tf.constant(ground), cloudy, opacity).numpy()
    expected = np.broadcast_to(np.float32([0.2, 0.4, 0.3]), ground.shape)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_far_from_any_ground_the_cloud_stays():
    ground = np.zeros((1, 80, 80, 3), np.float32)
    opacity = np.full((1, 80, 80, 1), 0.95, np.float32)
    opacity[:, :, :10] = 0
    cloudy = np.full_like(ground, 0.9)
    found = fill_hidden(tf.constant(ground), cloudy, opacity).numpy()
    np.testing.assert_allclose(found[:, :, 30:], 0.9, atol=1e-5)
    assert found[:, :, 12].max() < 0.1


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_kernel_is_smaller_than_its_strides(script, tiny_settings, tmp_path):
    """TensorFlow 2.21 with oneDNN computes wrong gradients of such kernels, or ends the process."""
    state = task_of(script).make_state(tiny_settings(tmp_path, script))
    networks = [*state.networks.values(), *state.frozen.values()]
    layers = [layer for network in networks for layer in network._flatten_layers()]
    convolutions = [layer for layer in layers if hasattr(layer, "strides")]
    assert convolutions
    for layer in convolutions:
        sides = getattr(layer, "kernel_size", None) or layer.pool_size
        assert max(layer.strides) <= min(sides), layer.path
