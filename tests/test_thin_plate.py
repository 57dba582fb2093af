"""Narrow holes are filled by surfaces that are known in closed form, in a picture of any size."""

import numpy as np
import pytest

from util.pictures.harmonic import harmonic_fill
from util.pictures.thin_plate import narrow_fill, plate_fill


def pixels(size, function):
    y, x = np.mgrid[:size, :size]
    return np.repeat(function(y, x)[..., None], 3, axis=-1).astype(np.float32)


def hole_of(size, *places):
    hole = np.zeros((size, size), bool)
    for rows, columns in places:
        hole[rows, columns] = True
    return hole


INSIDE = hole_of(40, (slice(10, 20), slice(12, 18)), (slice(30, 32), slice(4, 36)))


@pytest.mark.parametrize("stiff", [True, False])
def test_linear_ramps_are_reproduced(stiff):
    ramp = pixels(40, lambda y, x: 3 * y - 2 * x + 90)
    came = np.where(INSIDE[..., None], 9, ramp)
    made = plate_fill(came, INSIDE, INSIDE, INSIDE & stiff)
    np.testing.assert_allclose(made, ramp, atol=1e-3)


def test_a_plate_continues_curves_where_a_membrane_does_not():
    # Of x^2, y^2 and xy the Laplacian is constant: nothing bends less.
    curve = pixels(40, lambda y, x: 0.2 * x * x - 0.1 * y * y + 0.3 * x * y)
    came = np.where(INSIDE[..., None], 9, curve)
    made = plate_fill(came, INSIDE, INSIDE, INSIDE, tension=1e-7)
    np.testing.assert_allclose(made, curve, atol=1e-2)
    level = plate_fill(came, INSIDE, INSIDE, np.zeros_like(INSIDE))
    assert np.abs(level - curve).max() > 0.5


def test_where_nothing_is_stiff_it_is_the_membrane():
    picture = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    hole = INSIDE | hole_of(40, (slice(0, 5), slice(20, 29)))  # at the border, too
    made = plate_fill(picture, hole, hole, np.zeros_like(hole))
    np.testing.assert_allclose(made, harmonic_fill(picture, hole), atol=0.1)


def test_what_is_known_stays_and_what_is_hidden_has_no_say():
    picture = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    unknown = INSIDE | hole_of(40, (slice(20, 29), slice(12, 18)))  # touches what is filled
    made = plate_fill(picture, INSIDE, unknown, INSIDE)
    np.testing.assert_array_equal(made[~INSIDE], picture[~INSIDE])
    other = np.where(unknown[..., None], 255, picture)
    np.testing.assert_array_equal(plate_fill(other, INSIDE, unknown, INSIDE)[INSIDE], made[INSIDE])
    known = picture[~unknown]
    assert (made[INSIDE] >= known.min(axis=0)).all()
    assert (made[INSIDE] <= known.max(axis=0)).all()


def narrow(hole, picture, here=None):
    """Return the filled picture, and how often each pixel came out."""
    here = hole if here is None else here
    filled, times = picture.astype(np.float32), np.zeros(hole.shape, int)
    for at, made in narrow_fill(picture, hole, here, 20):
        times[at] += 1
        filled[at][here[at]] = made[here[at]]
    return filled, times


def test_a_large_picture_is_filled_as_a_part_of_it_and_shows_no_seam():
    """Blocks end at multiples of 256: a hole across them is one surface."""
    picture = pixels(560, lambda y, x: 120 + 60 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8)
    hole = hole_of(560, (slice(100, 470), slice(252, 262)), (slice(254, 259), slice(60, 420)))
    hole |= np.random.default_rng(0).random((560, 560)) < 0.02
    picture[hole] = 255
    filled, times = narrow(hole, picture)
    assert times.max() == 1
    assert (times[hole] == 1).all()
    part = slice(190, 330), slice(190, 330)
    alone, _ = narrow(hole[part], picture[part])
    well_inside = slice(40, -40), slice(40, -40)
    np.testing.assert_allclose(filled[part][well_inside], alone[well_inside], atol=0.3)
    true = 120 + 60 * np.sin(np.arange(560) / 9) * np.cos(np.arange(560)[:, None] / 7)
    at = slice(120, 240), slice(253, 261)
    assert np.abs(filled[at][..., 0] - true[at]).mean() < 5


def test_only_what_is_wanted_costs_and_places_without_room_are_stiff():
    """A curve goes on in a place 9 pixels wide, and not in one of 15, where a membrane is level."""
    curve = pixels(300, lambda y, x: 0 * y + np.abs(x % 60 - 30.0) ** 2 / 4)
    thin = hole_of(300, (slice(40, 260), slice(26, 35)))  # the bottom of a valley
    thick = hole_of(300, (slice(40, 260), slice(143, 158)))
    came = np.where((thin | thick)[..., None], 200, curve).astype(np.uint8)
    filled, _ = narrow(thin | thick, came)
    assert np.abs(filled[150, 30] - curve[150, 30]).max() < 2
    assert np.abs(filled[150, 150] - curve[150, 150]).max() > 8
    only, times = narrow(thin | thick, came, here=thin)
    np.testing.assert_array_equal(only[thick], 200)
    np.testing.assert_allclose(only[thin], filled[thin], atol=1e-3)
    assert not times[:, 143:].any()


def test_a_place_that_only_unknown_ground_touches_finds_what_is_known():
    """Wide cloud is left to others, but narrow places beside it need no pixel of it."""
    picture = np.full((120, 120, 3), 80, np.uint8)
    hole = hole_of(120, (slice(0, 90), slice(0, 120)))  # all but the lowest rows, to three borders
    here = hole_of(120, (slice(75, 82), slice(30, 40)))
    picture[hole] = 255
    filled, _ = narrow(hole, picture, here)
    np.testing.assert_allclose(filled[here], 80, atol=1e-3)
