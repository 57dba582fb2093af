"""Conditions: settings that the scripts have, and samples that are what a condition says."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import task_of

from util.measure.conditions import CONDITIONS
from util.settings import mistakes

SCRIPTS = ["mod_defog", "mod_mend"]
THIN = {"thin .15": 0.15, "thin .3": 0.3, "half .5": 0.5, "thick": 1.0}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_are_sound_settings(script, name):
    assert not mistakes(replace(task_of(script).settings(), **CONDITIONS[name]))


def test_a_condition_fixes_all_that_any_other_changes():
    """Else the settings that a run was trained with would show where only the measure may."""
    ranges = {"shadow_depth": "shadow_share", "jpeg_quality": "jpeg_share"}
    ranges |= dict.fromkeys(("cumulus_cover", "cumulus_cell_px"), "cumulus_share")
    ranges |= {"greatest_opacity": "clear_share"}
    for name, changes in CONDITIONS.items():
        for setting in set().union(*CONDITIONS.values()) - changes.keys():
            of_no_account = {"greatest_opacity": 1.0}.get(setting, 0.0)
            assert changes[ranges[setting]] == of_no_account, (name, setting)


@pytest.fixture
def drawn(tiny_settings, tmp_path):
    """Return a function: the samples of a condition."""

    def draw(name, count=6):
        settings = tiny_settings(tmp_path, noise_share=1.0)
        sample = task_of("mod_defog").samples(replace(settings, **CONDITIONS[name]), False)[1]
        return [sample(number) for number in range(count)]

    return draw


def test_clear_is_clear(drawn):
    for sample in drawn("clear"):
        assert not sample["opacity"].any()
        np.testing.assert_array_equal(sample["cloudy"], sample["clear"])


@pytest.mark.parametrize("name", THIN)
def test_white_sheets_up_to_an_opacity(drawn, name):
    for sample in drawn(name):
        opacity = sample["opacity"]
        assert opacity.max() == pytest.approx(THIN[name], abs=1e-6)
        assert opacity.min() == pytest.approx(0, abs=1e-6)
        added = sample["cloudy"] - sample["clear"] * (1 - opacity)
        thick = opacity[..., 0] > THIN[name] / 2
        colour = added[thick] / opacity[thick]
        assert 0.979 < colour.min() <= colour.max() < 1.001


def test_small_cumulus_leaves_most_of_the_ground(drawn):
    cover = [(sample["opacity"] > 0).mean() for sample in drawn("small cumulus")]
    assert 0 < min(cover) < max(cover) < 0.5


@pytest.mark.parametrize("name", ["with shadows", "channels apart", "grey or tinted", "JPEG 75"])
def test_one_effect_is_all_that_differs_from_mixed(drawn, name):
    for changed, mixed in zip(drawn(name, 3), drawn("mixed", 3), strict=True):
        same_cloud = np.abs(changed["opacity"] - mixed["opacity"]).mean()
        assert same_cloud < 0.1
        assert (changed["cloudy"] != mixed["cloudy"]).any()
