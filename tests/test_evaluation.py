"""Evaluations: rivals that are told what they may know, and scores that decide."""

import numpy as np
import pytest

from util.measure import baselines, evaluation
from util.measure.baselines import dark_channel_prior
from util.measure.evaluation import CLOUDS, HAZE, HOLES, Evaluation, LeftOut
from util.measure.scores import mae, psnr, ssim


def noise(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


# ---- rivals ----


def test_rivals_in_the_order_of_the_table():
    painters = ["Telea", "Navier-Stokes", "harmonic", "biharmonic"]
    oracles = ["oracle: unmix", "oracle: unmix + Telea"]
    assert list(CLOUDS.rivals) == ["nothing", "dark channel prior", *painters, *oracles]
    assert list(HOLES.rivals) == ["mean colour", *painters]
    assert list(HAZE.rivals) == ["nothing", "dark channel prior"]
    for measure in (CLOUDS, HAZE):
        sample = {measure.damaged: noise(40, 40)}
        nothing, prior = (
            measure.rivals[name](sample) for name in ("nothing", "dark channel prior")
        )
        np.testing.assert_array_equal(nothing, sample[measure.damaged])
        np.testing.assert_array_equal(prior, dark_channel_prior(sample[measure.damaged]))


@pytest.mark.parametrize("known", ["opacity", "found_opacity"])
@pytest.mark.parametrize("name", ["Telea", "Navier-Stokes", "harmonic", "biharmonic"])
def test_painters_paint_thick_cloud_only(name, known):
    cloudy, opacity = noise(24, 32), np.full((24, 32, 1), 0.7, np.float32)
    restore = CLOUDS.rivals[name]
    np.testing.assert_array_equal(restore({"cloudy": cloudy, known: opacity}), cloudy)
    opacity[8:16, 8:16] = 0.75
    changed = (restore({"cloudy": cloudy, known: opacity}) != cloudy).any(axis=-1)
    np.testing.assert_array_equal(changed, opacity[..., 0] == 0.75)


def test_the_true_opacity_counts_where_it_is_known():
    cloudy, none, all_ = noise(24, 32), np.zeros((24, 32, 1)), np.ones((24, 32, 1))
    sample = {"cloudy": cloudy, "opacity": none, "found_opacity": all_}
    np.testing.assert_array_equal(CLOUDS.rivals["Telea"](sample), cloudy)
    unmixed = CLOUDS.rivals["oracle: unmix"](sample)
    np.testing.assert_array_equal(unmixed, baselines.unmix(cloudy, none[..., 0]))


def test_who_is_not_told_enough_is_left_out(monkeypatch):
    cloudy = noise(24, 32)
    for name, sample in (
        ("Telea", {}),
        ("oracle: unmix", {"found_opacity": np.ones((24, 32, 1))}),
        ("oracle: unmix + Telea", {}),
    ):
        with pytest.raises(LeftOut) as why:
            CLOUDS.rivals[name]({"cloudy": cloudy, **sample})
        assert not str(why.value)
    monkeypatch.setattr(evaluation, "MOST_BIHARMONIC", 24 * 32 - 1)
    hole = np.ones((24, 32, 1), np.float32)
    with pytest.raises(LeftOut, match="too large for biharmonic"):
        CLOUDS.rivals["biharmonic"]({"cloudy": cloudy, "opacity": hole})
    with pytest.raises(LeftOut, match="too large for biharmonic"):
        HOLES.rivals["biharmonic"]({"holed": cloudy, "hole": hole / 4})


@pytest.mark.parametrize("name", HOLES.rivals)
def test_as_much_of_a_hole_is_filled_as_is_missing(name):
    hole = np.zeros((24, 32, 1), np.float32)
    hole[8:16, 8:20] = 1
    hole[8:16, 19] = 0.25  # a soft edge
    clear = np.full((24, 32, 3), 0.6, np.float32)
    holed = clear * (1 - hole)
    before = holed.copy()
    restored = HOLES.rivals[name]({"holed": holed, "hole": hole})
    assert restored.dtype == np.float32
    known = hole[..., 0] == 0
    np.testing.assert_array_equal(restored[known], clear[known])
    np.testing.assert_allclose(restored, clear, atol=3 / 255)  # even ground; 8 bits
    np.testing.assert_array_equal(holed, before)
    untouched = HOLES.rivals[name]({"holed": clear, "hole": np.zeros_like(hole)})
    np.testing.assert_array_equal(untouched, clear)
    with pytest.raises(ValueError, match="hole must be bool"):
        HOLES.rivals[name]({"holed": holed, "hole": hole[1:]})


# ---- scores ----


def test_one_name_makes_an_evaluation():
    measure = Evaluation(damaged="striped")
    sample = {"striped": noise(32, 32), "clear": noise(32, 32, seed=1)}
    assert list(measure.rivals) == ["nothing"]
    restored = measure.rivals["nothing"](sample)
    assert restored is sample["striped"]
    scores = measure.scores(restored, sample)
    figures = {score: score(restored, sample["clear"]) for score in (psnr, ssim, mae)}
    assert scores == {f"{score.__name__}_whole": value for score, value in figures.items()}
    ((title, value),) = measure.groups([scores]).items()
    assert title == "whole"
    assert [value(scores, name) for name in measure.columns] == list(figures.values())
    followed = measure.validation({"restored": restored, "clear": sample["clear"]})
    assert followed == {"psnr": figures[psnr], "ssim": figures[ssim]}
    assert measure.best == ("psnr", 1)


@pytest.mark.parametrize("measure", [CLOUDS, HOLES, HAZE], ids=lambda m: m.damaged)
def test_the_score_that_decides_is_one_that_a_run_follows(measure):
    output = {name: noise(64, 64) for name in (measure.damaged, "clear", "restored")}
    output |= {name: noise(64, 64)[..., :1] for name in ("hole", "opacity", "found_opacity")}
    assert measure.best[0] in measure.validation(output)


def test_a_run_follows_the_dark_channel_prior_beside_a_dehazing_network():
    rng = np.random.default_rng(0)
    clear, restored = (rng.random((32, 32, 3), np.float32) for _ in range(2))
    hazy = 0.5 * clear + 0.45
    found = HAZE.validation({"hazy": hazy, "restored": restored, "clear": clear})
    assert list(found) == ["psnr", "psnr_dark_channel", "ssim", "ssim_dark_channel"]
    assert found["psnr"] == psnr(restored, clear)
    assert found["psnr_dark_channel"] == psnr(dark_channel_prior(hazy), clear)
    perfect = HAZE.validation({"hazy": hazy, "restored": clear, "clear": clear})
    assert perfect["ssim"] == pytest.approx(1)
    assert perfect["ssim_dark_channel"] == found["ssim_dark_channel"]


def test_the_score_that_decides_prefers_sharp_over_blurred_at_one_error():
    rng = np.random.default_rng(0)
    clear = rng.random((64, 64, 3)).astype(np.float32)
    hole = np.zeros((64, 64, 1), np.float32)
    hole[16:48, 16:48] = 1
    flat = clear * (1 - hole) + clear.mean() * hole
    wrong = clear * (1 - hole) + clear[::-1] * hole
    wrong = flat + (wrong - flat) * np.float32(0.75)
    found = {
        n: HOLES.validation({"restored": p, "clear": clear, "hole": hole})
        for n, p in (("true", clear), ("flat", flat), ("wrong", wrong))
    }
    assert found["true"]["hole_score"] == 0
    assert found["flat"]["hole_l1"] < found["wrong"]["hole_l1"]
    assert found["flat"]["hole_score"] > found["wrong"]["hole_score"]
