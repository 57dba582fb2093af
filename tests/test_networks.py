"""The U-Net: published size, shapes, padding, order of its layers, and how far it sees."""

import itertools

import keras
import numpy as np
import pytest

from util.blocks import ReflectPad
from util.networks import unet


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
    assert count(unet(8, norm="batch", upsampling="transposed").trainable_variables) == 2_392_524


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


def test_no_norm_adds_no_layer():
    assert not [layer for layer in unet(2, norm="none").layers if "norm" in layer.name]


def test_resizing_repeats_pixels_before_its_convolution():
    model = unet(2, norm="none", upsampling="resize")
    inside = keras.Model(
        model.input, [model.get_layer("join1").output, model.get_layer("up1").input]
    )
    small, large = inside(np.random.default_rng(0).random((1, 32, 64, 3), np.float32))
    np.testing.assert_array_equal(large, small.numpy().repeat(2, 1).repeat(2, 2))


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
