"""Light and sensor: each effect against its closed form."""

import math

import cv2
import numpy as np
import pytest

from util.samples import light
from util.samples.clouds import cover
from util.samples.keys import keyed_rng


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


# --- opacity ------------------------------------------------------------------------------------


def test_layers_joined_let_through_what_both_let_through():
    a, b = random(5, 6), np.float32(0.3)
    np.testing.assert_allclose(1 - light.joined(a, b), (1 - a) * (1 - b), atol=1e-6)


def test_without_an_exponent_all_channels_are_alike():
    opacity = random(5, 7)
    found = light.wavelength_opacity(opacity, 0.0)
    np.testing.assert_array_equal(found, opacity[..., None].repeat(3, -1))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_thin_haze_follows_angstroms_law(exponent):
    opacity = np.full((4, 4), 0.02, np.float32)
    red, green, blue = light.wavelength_opacity(opacity, exponent)[0, 0]
    nm = dict(zip("rgb", light.WAVELENGTHS_NM, strict=True))
    exact = {c: 1 - 0.98 ** ((nm["g"] / nm[c]) ** exponent) for c in "rb"}
    assert green == np.float32(0.02)
    assert red == pytest.approx(exact["r"], rel=0.02)
    assert blue == pytest.approx(exact["b"], rel=0.02)
    assert red < green < blue


def test_cloud_that_hides_the_ground_is_white_whatever_the_exponent():
    found = light.wavelength_opacity(np.float32([[0, 1]]), 1.5)
    np.testing.assert_array_equal(found, np.float32([[[0, 0, 0], [1, 1, 1]]]))


def test_opacity_by_channel_goes_through_the_law_by_channel():
    opacity = random(4, 5, 3)
    found = light.wavelength_opacity(opacity, 1.0)
    for channel in range(3):
        alone = light.wavelength_opacity(np.ascontiguousarray(opacity[..., channel]), 1.0)
        np.testing.assert_array_equal(found[..., channel], alone[..., channel])


# --- moved --------------------------------------------------------------------------------------


def test_moving_by_whole_pixels_is_moving():
    picture = random(8, 9)
    np.testing.assert_allclose(light.moved(picture, 2, -3)[2:, :-3], picture[:-2, 3:], atol=1e-6)


def test_moving_by_half_a_pixel_is_the_mean_of_two():
    picture = random(8, 9)
    middle = (picture[:, 1:] + picture[:, :-1]) / 2
    np.testing.assert_allclose(light.moved(picture, 0, 0.5)[:, 1:], middle, atol=1e-6)


def test_red_and_blue_move_apart_and_green_stays():
    spot = np.zeros((33, 33), np.float32)
    spot[16, 16] = 1
    places = np.indices(spot.shape)
    for number in range(20):
        found = light.channels_apart(keyed_rng(0, number, "a"), spot, 2.0)
        np.testing.assert_array_equal(found[..., 1], spot)
        # Linear interpolation keeps the centre of mass.
        red, blue = ((places * found[..., c]).sum(axis=(1, 2)) - 16 for c in (0, 2))
        np.testing.assert_allclose(red, -blue, atol=1e-4)
        assert np.hypot(*red) <= 2 + 1e-4


# --- shadow, blur, light ------------------------------------------------------------------------


def test_a_shadow_lies_beside_its_cloud():
    clear, opacity = np.full((16, 16, 3), 0.8, np.float32), np.zeros((16, 16), np.float32)
    opacity[6:8, 6:8] = 1
    found = light.shadow(clear, opacity, 0.5, 5, 3, 0)
    expected = clear.copy()
    expected[11:13, 9:11] = 0.4
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_soft_shadow_takes_as_much_light():
    clear, opacity = np.ones((64, 64, 3), np.float32), np.zeros((64, 64), np.float32)
    opacity[28:36, 28:36] = 1
    sharp, soft = (light.shadow(clear, opacity, 0.5, 2, 2, blur) for blur in (0, 3))
    assert soft.min() > sharp.min() + 0.05
    assert (1 - soft).sum() == pytest.approx((1 - sharp).sum(), rel=1e-3)


def test_ground_is_blurred_only_beneath_cloud():
    clear, opacity = random(20, 20, 3), np.zeros((20, 20, 3), np.float32)
    opacity[:, 10:] = 1
    found = light.blurred_beneath(clear, opacity, 1.5)
    np.testing.assert_array_equal(found[:, :10], clear[:, :10])
    soft = cv2.GaussianBlur(clear, (0, 0), 1.5)
    np.testing.assert_allclose(found[:, 10:], soft[:, 10:], atol=1e-6)


def test_plain_light_is_the_mixing_formula():
    clear, opacity, colour = random(6, 7, 3), random(6, 7, 3, seed=1), np.float32([0.9, 0.8, 1])
    np.testing.assert_allclose(
        light.lit(clear, opacity, colour), cover(clear, opacity, colour), atol=1e-6
    )


def test_shade_darkens_cloud_and_not_the_ground():
    clear, shade = random(6, 7, 3), random(6, 7, 3, seed=2)
    ones, none = np.ones_like(clear), np.zeros_like(clear)
    white = np.ones(3)
    np.testing.assert_allclose(light.lit(clear, none, white, shade), clear, atol=1e-6)
    np.testing.assert_allclose(light.lit(clear, ones, white, shade), 1 - shade, atol=1e-6)


def test_cloud_brighter_than_white_saturates():
    clear = np.full((4, 4, 3), 0.5, np.float32)
    found = light.lit(clear, np.full_like(clear, 0.9), np.full(3, 1.2))
    np.testing.assert_array_equal(found, 1)


# --- sensor -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sun", "expected"), [(0.0, 0.7), (math.pi, 0.3), (math.pi / 2, 0.5)])
def test_what_rises_toward_the_sun_is_turned_away_from_it(sun, expected):
    rising_to_the_right = np.tile(np.float32(0.1) * np.arange(16, dtype=np.float32), (16, 1))
    away = light.away_from_the_sun(rising_to_the_right, sun, steepness=2.0)
    np.testing.assert_allclose(away[:, 1:-1], expected, atol=1e-6)


def test_a_pixel_is_picked_from_those_around_it():
    places = rows, columns = np.indices((32, 32)).astype(np.float32)
    picked = [light.picked(keyed_rng(0, number, "p"), places, 3.0) for number in range(20)]
    away = np.stack([(row - rows, column - columns) for row, column in picked])
    assert set(np.unique(away)) == {-3, -2, -1, 0, 1, 2, 3}
    assert min(row.min() for row, _ in picked) == 0  # and none from beyond the edge
    assert max(column.max() for _, column in picked) == 31
    np.testing.assert_array_equal(light.picked(keyed_rng(0, 0, "p"), places, 0.0), places)
    colours = np.stack([rows, columns, rows], -1)  # three channels are picked as one is
    both = light.picked(keyed_rng(0, 1, "p"), [rows, colours], 3.0)
    np.testing.assert_array_equal(both[0], both[1][..., 0])


def test_jpeg_keeps_colours_and_loses_with_quality():
    ramp = np.linspace(0, 1, 32, dtype=np.float32)
    picture = np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.float32(0.2)), -1)
    errors = [np.abs(light.jpeg(picture, q) - picture).mean() for q in (98, 60, 10)]
    assert errors[0] < 0.01
    assert errors[0] < errors[1] < errors[2] < 0.1


@pytest.mark.parametrize("side", [32, 400])
def test_noise_has_its_deviation(side):
    grey = np.full((side, side, 3), 0.5, np.float32)
    found = light.sensor_noise(keyed_rng(1, 1, "n"), grey, 0.05) - grey
    assert found.std() == pytest.approx(0.05, rel=0.06)
    assert abs(found.mean()) < 0.004


def test_noise_is_another_for_another_sample_and_stays_within_0_and_1():
    white = np.ones((16, 16, 3), np.float32)
    one, two = (light.sensor_noise(keyed_rng(0, n, "n"), white, 0.1) for n in (0, 1))
    assert not np.array_equal(one, two)
    assert one.max() == 1
