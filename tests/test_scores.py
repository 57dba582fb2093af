"""Scores against closed forms and against scikit-image's own whole-picture figures."""

import math

import cv2
import numpy as np
import pytest
from skimage import metrics

from util.measure import scores


@pytest.fixture
def pair():
    """A smooth picture and a noisy copy, (40, 56, 3)."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[0:40, 0:56] / 56
    clear = np.stack([rows, columns, 0.5 + 0.4 * np.sin(9 * rows * columns)], axis=-1)
    restored = np.clip(clear + rng.normal(0, 0.08, clear.shape), 0, 1)
    return restored.astype(np.float32), clear.astype(np.float32)


def left_half(picture):
    region = np.zeros(picture.shape[:2], bool)
    region[:, : picture.shape[1] // 2] = True
    return region


def test_constant_offset_has_closed_form():
    clear = np.full((20, 30, 3), 0.4, np.float32)
    restored = clear + np.float32(0.1)
    assert scores.psnr(restored, clear) == pytest.approx(20, abs=1e-4)
    assert scores.mae(restored, clear) == pytest.approx(0.1, abs=1e-6)
    # Without texture SSIM is its luminance term alone, (2 a b + C1) / (a^2 + b^2 + C1).
    luminance = (2 * 0.4 * 0.5 + 1e-4) / (0.4**2 + 0.5**2 + 1e-4)
    assert scores.ssim(restored, clear) == pytest.approx(luminance, abs=1e-4)


def test_offset_in_one_channel_counts_a_third():
    clear = np.zeros((20, 30, 3), np.float32)
    restored = clear.copy()
    restored[..., 1] = 0.3
    assert scores.mae(restored, clear) == pytest.approx(0.1, abs=1e-6)
    assert scores.psnr(restored, clear) == pytest.approx(-10 * math.log10(0.09 / 3), abs=1e-4)


def test_whole_picture_agrees_with_scikit_image(pair):
    restored, clear = pair
    psnr = metrics.peak_signal_noise_ratio(clear, restored, data_range=1)
    ssim = metrics.structural_similarity(
        clear,
        restored,
        channel_axis=-1,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert scores.psnr(restored, clear) == pytest.approx(psnr, abs=1e-4)
    assert scores.ssim(restored, clear) == pytest.approx(ssim, abs=1e-6)
    assert scores.mae(restored, clear) == pytest.approx(np.abs(restored - clear).mean(), abs=1e-6)


def test_only_the_region_counts(pair):
    restored, clear = pair
    left = left_half(clear)
    worse = restored.copy()
    worse[:, 28:] = 1 - clear[:, 28:]
    assert scores.psnr(worse, clear, left) == scores.psnr(restored, clear, left)
    assert scores.mae(worse, clear, left) == scores.mae(restored, clear, left)
    # The SSIM window reaches 5 pixels over the edge of the region.
    left[:, 28 - 5 :] = False
    assert scores.ssim(worse, clear, left) == pytest.approx(scores.ssim(restored, clear, left))
    assert scores.psnr(worse, clear) < scores.psnr(restored, clear) - 3
    # The region is the same picture cut out.
    assert scores.psnr(restored, clear, left) == pytest.approx(
        scores.psnr(restored[:, :23], clear[:, :23]), abs=1e-9
    )


def test_parts_make_up_the_whole(pair):
    restored, clear = pair
    left = left_half(clear)
    for score in (scores.mae, scores.ssim):
        parts = [score(restored, clear, left), score(restored, clear, ~left)]
        assert np.mean(parts) == pytest.approx(score(restored, clear), abs=1e-9)


def test_equal_pictures_are_capped(pair):
    _, clear = pair
    assert scores.psnr(clear, clear) == scores.PSNR_CAP_DB == 100
    assert scores.psnr(clear + np.float32(1e-6), clear) == 100
    assert scores.ssim(clear, clear) == pytest.approx(1, abs=1e-6)
    assert scores.mae(clear, clear) == 0


@pytest.mark.parametrize("score", [scores.psnr, scores.ssim, scores.mae])
def test_small_region_is_empty(pair, score):
    region = np.zeros(pair[1].shape[:2], bool)
    assert math.isnan(score(*pair, region))
    region[10:18, 10:18] = True
    assert math.isfinite(score(*pair, region))
    region[10, 10] = False
    assert math.isnan(score(*pair, region))


def test_small_picture():
    small = np.zeros((10, 40, 3), np.float32)
    assert scores.psnr(small, small) == 100
    with pytest.raises(ValueError, match="11 pixels a side"):
        scores.ssim(small, small)
    assert scores.ssim(*[np.zeros((11, 11, 3), np.float32)] * 2) == pytest.approx(1)


@pytest.mark.parametrize(
    ("restored", "clear", "region", "text"),
    [
        (np.zeros((20, 20, 3)), np.zeros((20, 21, 3)), None, "does not fit"),
        (np.zeros((20, 20)), np.zeros((20, 20)), None, r"\(H, W, 3\)"),
        (np.zeros((0, 20, 3)), np.zeros((0, 20, 3)), None, r"\(H, W, 3\)"),
        (np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 3)), None, "must be float"),
        (np.full((20, 20, 3), np.nan), np.zeros((20, 20, 3)), None, "restored picture holds nan"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), np.ones((20, 20)), "must be bool"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), np.ones((9, 20), bool), "region"),
    ],
)
@pytest.mark.parametrize("score", [scores.psnr, scores.ssim, scores.mae])
def test_bad_input_is_named(score, restored, clear, region, text):
    with pytest.raises(ValueError, match=text):
        score(restored, clear, region)


def test_regions_cut_by_opacity():
    opacity = np.array([[0, 0.019, 0.02, 0.5], [0.74, 0.75, 1, 0.3]])
    cut = scores.regions(opacity)
    assert list(cut) == ["whole", "clear", "thin", "thick", "seen"]
    assert cut["whole"].all()
    assert cut["clear"].tolist() == [[True, True, False, False], [False] * 4]
    assert cut["thick"].tolist() == [[False] * 4, [False, True, True, False]]
    sum_of_parts = cut["clear"].astype(int) + cut["thin"] + cut["thick"]
    assert (sum_of_parts == 1).all()
    np.testing.assert_array_equal(cut["seen"], cut["clear"] | cut["thin"])


def test_regions_refuse_bad_input():
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        scores.regions(np.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match="nan"):
        scores.regions(np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="above thick_from"):
        scores.regions(np.zeros((4, 4)), clear_below=0.8)


def test_score_picture_is_each_score_in_each_region(pair):
    restored, clear = pair
    opacity = np.tile(np.linspace(0, 0.7, 56, dtype=np.float32), (40, 1))
    row = scores.score_picture(restored, clear, opacity, clear_below=0.2)
    assert len(row) == 3 * 5
    for name, region in scores.regions(opacity, clear_below=0.2).items():
        for score in (scores.psnr, scores.ssim, scores.mae):
            expected = score(restored, clear, region)
            assert row[f"{score.__name__}_{name}"] == pytest.approx(expected, nan_ok=True)
    assert math.isnan(row["psnr_thick"])
    with pytest.raises(ValueError, match="does not fit"):
        scores.score_picture(restored, clear, opacity[:, 1:])


def test_mean_scores_leave_nan_out():
    nan = math.nan
    rows = [{"a": 1.0, "b": nan, "c": nan}, {"a": 2.0, "b": 5.0, "c": nan}]
    assert scores.mean_scores(rows) == pytest.approx({"a": 1.5, "b": 5, "c": nan}, nan_ok=True)
    with pytest.raises(ValueError, match="no scores"):
        scores.mean_scores([])
    with pytest.raises(ValueError, match="different names"):
        scores.mean_scores([{"a": 1.0}, {"b": 1.0}])


# ---- holes ----


def box(side=64, first=16, last=48):
    hole = np.zeros((side, side, 1), np.float32)
    hole[first:last, first:last] = 1
    return hole


def texture(side=64, seed=0):
    """Noise of 4 px grain, so that a blur takes much of it but not all."""
    coarse = np.random.default_rng(seed).random((side // 4, side // 4, 3), np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)


def test_hole_scores_are_the_other_scores_over_the_hole():
    clear, hole = texture(), box()
    hole[47, :] *= 0.5  # still missing
    hole[16, :] *= 0.4  # no longer
    restored = np.where(hole > 0, texture(seed=1), clear)
    region = hole[..., 0] >= 0.5
    found = scores.hole_scores(restored, clear, hole)
    assert found["hole_l1"] == pytest.approx(scores.mae(restored, clear, region), abs=1e-6)
    assert found["hole_psnr"] == pytest.approx(scores.psnr(restored, clear, region), abs=1e-4)
    assert found["hole_ssim"] == pytest.approx(scores.ssim(restored, clear, region), abs=1e-4)
    assert scores.hole_scores(restored, clear, hole[..., 0]) == found
    # At the border of the picture, too, where the outermost 5 pixels have no SSIM.
    hole = np.roll(hole, (-16, 16), axis=(0, 1))
    region = hole[..., 0] >= 0.5
    restored = np.where(hole > 0, texture(seed=1), clear)
    found = scores.hole_scores(restored, clear, hole)
    assert found["hole_ssim"] == pytest.approx(scores.ssim(restored, clear, region), abs=1e-4)


def test_constant_offset_in_a_hole_has_closed_form():
    clear, hole = np.full((40, 50, 3), 0.4, np.float32), np.ones((40, 50))
    found = scores.hole_scores(clear + np.float32(0.1), clear, hole)
    assert found["hole_l1"] == pytest.approx(0.1, abs=1e-6)
    assert found["hole_psnr"] == pytest.approx(20, abs=1e-4)
    luminance = (2 * 0.4 * 0.5 + 1e-4) / (0.4**2 + 0.5**2 + 1e-4)
    assert found["hole_ssim"] == pytest.approx(luminance, abs=1e-4)
    assert math.isnan(found["hole_sharpness"])  # the truth has nothing to be sharp about


def test_sharpness_of_truth_constant_blur_and_contrast():
    clear, hole = texture(), box()

    def sharpness(filling):
        completed = np.where(hole > 0, filling, clear).astype(np.float32)
        return scores.hole_scores(completed, clear, hole)["hole_sharpness"]

    assert sharpness(clear) == 1
    # The seam to the known pixels, of whatever height, is no sharpness.
    assert sharpness(np.float32(0.9)) == 0
    # Nor is what shines through at a soft edge.
    soft = cv2.blur(hole, (9, 9))[..., None]
    completed = clear * (1 - soft) + np.float32(0.9) * soft
    found = scores.hole_scores(completed, clear, soft)
    assert found["hole_sharpness"] == pytest.approx(0, abs=1e-4)
    few = scores.hole_scores(completed, clear, soft * np.float32(0.98))
    assert math.isnan(few["hole_sharpness"])
    assert few["hole_psnr"] == pytest.approx(found["hole_psnr"], abs=1)
    assert sharpness(0.5 * clear) == pytest.approx(0.25, abs=1e-6)
    blurred = [sharpness(cv2.GaussianBlur(clear, (0, 0), sigma)) for sigma in (1, 2, 4)]
    assert 1 > blurred[0] > blurred[1] > blurred[2] > 0
    noisy = clear + np.random.default_rng(2).normal(0, 0.1, clear.shape)
    assert sharpness(noisy) > 1.2


def test_sharpness_of_a_ramp_has_closed_form():
    rows, columns = np.mgrid[0:32, 0:32].astype(np.float32)
    grey = [np.repeat(g[..., None], 3, axis=-1) for g in (rows / 64, (rows + 2 * columns) / 128)]
    found = scores.hole_scores(*grey, np.ones((32, 32)))
    assert found["hole_sharpness"] == pytest.approx((1 / 64**2) / (5 / 128**2), rel=1e-4)


def test_hole_that_is_too_small_or_does_not_fit():
    clear = texture(32)
    hole = np.zeros((32, 32))
    hole[10:17, 10:19] = 1  # 63 pixels
    assert all(math.isnan(v) for v in scores.hole_scores(clear, clear, hole).values())
    hole[17, 10] = 1
    assert scores.hole_scores(clear, clear, hole)["hole_psnr"] == scores.PSNR_CAP_DB
    with pytest.raises(ValueError, match="hole must be"):
        scores.hole_scores(clear, clear, hole[1:])
    with pytest.raises(ValueError, match="hole must be"):
        scores.hole_scores(clear, clear, np.full((32, 32), np.nan))
    with pytest.raises(ValueError, match="11 pixels"):
        scores.hole_scores(clear[:10], clear[:10], hole[:10])
