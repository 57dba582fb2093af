"""Repetition: near 1 for what repeats, low for what does not, whatever the hole's shape."""

import numpy as np
import pytest

from util.measure.pattern import repetition, repetition_inside

SIDE = 80
Y, X = np.indices((SIDE, SIDE), np.float32)
DISC = np.hypot(Y - 40, X - 40) < 34
NOISE = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)).astype(np.float32)


def grey(values):
    return np.repeat(np.float32(0.5 + values)[..., None], 3, axis=2)


@pytest.mark.parametrize("where", [DISC, np.ones((SIDE, SIDE), bool)])
@pytest.mark.parametrize("period", [5, 8, 12])
def test_stripes_and_dots_repeat_and_noise_does_not(where, period):
    stripes = 0.1 * np.sin(2 * np.pi * (X + 0.4 * Y) / period)
    dots = 0.1 * ((X % period < 2) & (Y % period < 2))
    assert repetition(grey(stripes), where) > 0.9
    assert repetition(grey(dots), where) > 0.9
    assert repetition(grey(0.1 * NOISE), where) < 0.15
    assert 0.3 < repetition(grey(stripes + 0.07 * NOISE), where) < 0.8


def test_slopes_and_what_nobody_sees_do_not():
    assert repetition(grey(X / 200), DISC) < 0.2
    assert repetition(grey(0.001 * np.sin(X)), DISC) == 0
    assert repetition(grey(0 * X), DISC) == 0
    assert repetition(grey(np.sin(X)), np.zeros_like(DISC)) == 0


def test_what_lies_beside_has_hardly_a_say():
    stripes = grey(0.1 * np.sin(2 * np.pi * X / 8))
    picture = np.where(DISC[..., None], grey(0.1 * NOISE), stripes)
    assert repetition(picture, DISC) == pytest.approx(repetition(grey(0.1 * NOISE), DISC), abs=0.05)


def test_inside_a_hole_beside_the_truth():
    stripes, ground = grey(0.1 * np.sin(X)), grey(0.1 * NOISE)
    hole = DISC.astype(np.float32)
    assert repetition_inside(stripes, ground, hole) > 0.8
    assert repetition_inside(ground, stripes, hole) < -0.8
    assert repetition_inside(ground, ground, hole) == 0
    rim = np.where((np.hypot(Y - 40, X - 40) < 26)[..., None], ground, stripes)
    assert abs(repetition_inside(rim, ground, hole)) < 0.1  # near the rim it follows what is around
    assert np.isnan(repetition_inside(stripes, ground, hole * (np.hypot(Y - 40, X - 40) < 16)))
