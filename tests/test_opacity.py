"""How well opacity is found: the area under the ROC curve counts pairs, shares count pixels."""

import math

import numpy as np
import pytest

from util.measure.opacity import (
    CLEAR,
    CLOUD,
    SHADOW,
    THICK,
    THIN,
    area_under_roc,
    mask_scores,
    on_clear_ground,
)


@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_the_area_is_the_share_of_pairs_in_the_right_order(levels):
    rng = np.random.default_rng(levels)
    values, positive = rng.integers(0, levels, (12, 17)) / levels, rng.random((12, 17)) < 0.3
    values = values.astype(np.float32) + positive * np.float32(0.25)
    above = values[positive][:, None] - values[~positive]
    wanted = ((above > 0) + 0.5 * (above == 0)).mean()
    assert 0.5 < wanted < 1
    assert area_under_roc(values, positive) == pytest.approx(wanted, abs=1e-12)
    assert area_under_roc(-values, positive) == pytest.approx(1 - wanted, abs=1e-12)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_no_pair_no_area(all_of_them):
    assert math.isnan(area_under_roc(np.arange(4.0), np.full(4, all_of_them)))


def test_found_and_mistaken():
    classes = np.repeat([CLEAR, SHADOW, THIN, THICK], 100).reshape(20, 20)
    found = np.repeat([0.0, 0.2, 0.3, 0.6], 100).reshape(20, 20)
    found[-1, :] = 0.5  # 20 thick pixels: not above .5
    found[0, :10] = 0.11
    scores = mask_scores(found, classes)
    assert scores["auc"] == 1
    assert scores["thick_found"] == pytest.approx(0.8)
    assert scores["clear_mistaken"] == pytest.approx(110 / 200)
    only_cloud = np.where(np.isin(classes, (THIN, THICK)), CLOUD, CLEAR)
    both = mask_scores(found, only_cloud)
    assert (both["auc"], both["clear_mistaken"]) == (1, scores["clear_mistaken"])
    assert math.isnan(both["thick_found"])


def test_clear_ground_alone_counts():
    opacity = np.zeros((16, 16), np.float32)
    opacity[8:] = 0.02
    found = np.full((16, 16), 0.9, np.float32)
    found[:8] = 0.01
    found[:2] = 0.05
    scores = on_clear_ground(found, opacity, clear_below=0.05)
    assert scores["false_opacity"] == pytest.approx(0.02)
    assert scores["untouched"] == pytest.approx(0.75)
    few = np.ones((16, 16))
    few[0, :10] = 0
    assert all(map(math.isnan, on_clear_ground(found, few, 0.05).values()))
