"""Colours measured against closed forms, and rivals that are told what they may know."""

import numpy as np
import pytest
from skimage.color import deltaE_cie76, rgb2lab

from util.measure.colour import (
    COLOURS,
    GROUND_AB,
    ab_error,
    colour_scores,
    colour_validation,
    colourfulness,
    in_one_colour,
)
from util.pictures.lab import grey_of


def noise(height=24, width=24, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def test_the_error_of_colours_is_the_distance_without_lightness():
    clear = noise()
    grey = grey_of(clear)
    # Of one lightness, CIE 1976's distance is that of the colours.
    assert ab_error(grey, clear) == pytest.approx(
        deltaE_cie76(*map(rgb2lab, (grey, clear))).mean(), rel=1e-3
    )
    assert ab_error(clear, clear) == 0
    region = np.zeros((24, 24), bool)
    region[:5] = True
    assert ab_error(grey, clear, region) == pytest.approx(ab_error(grey[:5], clear[:5]))


def test_colourfulness():
    assert colourfulness(grey_of(noise())) == pytest.approx(0, abs=1e-4)
    one = np.broadcast_to(np.float32([1.0, 0.0, 0.0]), (4, 4, 3))
    assert colourfulness(one) == pytest.approx(0.3 * np.hypot(255, 127.5))  # nothing varies
    both = np.stack([one, 1 - one])  # red and cyan: the means cancel
    assert colourfulness(both) == pytest.approx(np.hypot(255, 127.5))
    region = np.zeros((2, 4, 4), bool)
    region[0] = True
    assert colourfulness(both, region) == pytest.approx(colourfulness(one))


def test_rivals():
    clear = 0.2 + 0.6 * noise() * np.float32([1.0, 0.8, 0.5])
    sample = {"grey": grey_of(clear), "clear": clear}
    made = {name: restore(sample) for name, restore in COLOURS.rivals.items()}
    assert list(made) == ["nothing", "mean colour", "oracle: its mean colour"]
    np.testing.assert_array_equal(made["nothing"], sample["grey"])
    wanted = GROUND_AB, rgb2lab(clear)[..., 1:].mean(axis=(0, 1))
    for picture, ab in zip(list(made.values())[1:], wanted, strict=True):
        lab = rgb2lab(picture)
        np.testing.assert_allclose(lab[..., 0], rgb2lab(clear)[..., 0], atol=0.1)
        np.testing.assert_allclose(lab[..., 1:], np.broadcast_to(ab, (24, 24, 2)), atol=0.1)
    oracle, grey = (made[name] for name in ("oracle: its mean colour", "nothing"))
    assert ab_error(oracle, clear) < ab_error(grey, clear)


def test_the_oracle_is_told_the_colour_of_the_ground_alone():
    clear, ground = noise(), np.zeros((24, 24, 1), bool)
    ground[:12] = True
    oracle = COLOURS.rivals["oracle: its mean colour"]
    part = oracle({"grey": grey_of(clear[:12]), "clear": clear[:12]})
    clear[12:] = [1.0, 0.0, 0.0]
    found = oracle({"grey": grey_of(clear), "clear": clear, "ground": ground})
    np.testing.assert_allclose(found[:12], part, atol=1e-5)


def test_scores_are_of_the_ground_alone():
    clear = noise()
    restored = in_one_colour(grey_of(clear), (5, 5))
    ground = np.ones((24, 24, 1), bool)
    ground[12:] = False
    whole, half = (
        colour_scores(restored, {"clear": clear, **more}) for more in ({}, {"ground": ground})
    )
    assert half["ab_error_whole"] == pytest.approx(ab_error(restored[:12], clear[:12]))
    assert half["colourfulness_clear"] == pytest.approx(colourfulness(clear[:12]))
    assert half["psnr_whole"] != whole["psnr_whole"]
    found = colour_validation({"restored": restored, "clear": clear})
    assert found == {name: whole[f"{name}_whole"] for name in ("psnr", "ab_error", "colourfulness")}
    assert "have 12.5." in COLOURS.notes([{"colourfulness_clear": v} for v in (5.0, 20.0)])[1]
