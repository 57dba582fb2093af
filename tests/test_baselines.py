"""Baselines against synthetic pictures whose true answer is known."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from util.measure import baselines, scores

DATA = Path(__file__).parent.parent / "data"
PAINTERS = [
    baselines.inpaint_mean,
    baselines.inpaint_telea,
    baselines.inpaint_navier_stokes,
    baselines.inpaint_harmonic,
    baselines.inpaint_biharmonic,
]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def ground(name):
    """A bundled clear picture, (256, 256, 3)."""
    picture = cv2.imread(str(DATA / "clear" / name), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return picture[:256, :256].astype(np.float32) / 255


# ---- dark channel prior ----

LIGHT = np.array([0.9, 0.85, 0.8], np.float32)
TRANSMISSION = 0.6
FAR = np.s_[120:, 120:]  # further from the opaque corner than the filters reach


@pytest.fixture
def clear():
    """Texture with a dark channel of 0: in every window some pixel is black in one channel."""
    clear = 0.8 * noise(256, 256)
    rows, columns = np.mgrid[3:256:7, 3:256:7]
    clear[rows, columns, np.random.default_rng(1).integers(3, size=rows.shape)] = 0
    return clear


@pytest.fixture
def hazy(clear):
    """Uniform haze, and a corner where it is opaque, in which the light can be seen."""
    hazy = clear * np.float32(TRANSMISSION) + LIGHT * np.float32(1 - TRANSMISSION)
    hazy[:40, :40] = LIGHT
    return hazy


def test_dark_channel_is_least_value_in_window():
    picture = noise(20, 30)
    dark = baselines.dark_channel(picture, 5)
    assert dark[10, 12] == picture[8:13, 10:15].min()
    assert dark[0, 29] == picture[:3, 27:].min()
    np.testing.assert_array_equal(baselines.dark_channel(picture, 1), picture.min(axis=-1))
    with pytest.raises(ValueError, match="odd"):
        baselines.dark_channel(picture, 4)


def test_uniform_haze_is_found(hazy):
    transmission, light = baselines.dark_channel_transmission(hazy)
    np.testing.assert_allclose(light, LIGHT, rtol=0.01)
    expected = 1 - 0.95 * (1 - TRANSMISSION)
    np.testing.assert_allclose(transmission[FAR], expected, rtol=0.02)
    # In the opaque corner 1 - omega, where the guided filter does not reach out of it.
    transmission, _ = baselines.dark_channel_transmission(hazy, guide_radius_px=4)
    np.testing.assert_allclose(transmission[10:20, 10:20], 0.05, atol=0.001)


@pytest.mark.parametrize(("omega", "error"), [(1, 0.01), (0.95, 0.033 * 0.9)])
def test_uniform_haze_is_undone(clear, hazy, omega, error):
    # omega = 0.95 leaves (0.62 - 0.6) / 0.62 of the distance to the light.
    restored = baselines.dark_channel_prior(hazy, omega=omega)
    np.testing.assert_allclose(restored[FAR], clear[FAR], atol=error)


def test_real_ground_is_restored():
    for name in ("neon_yell_a/0512_0512.jpg", "s2_virginia/0512_0512.jpg"):
        clear = ground(name)
        hazy = clear * np.float32(TRANSMISSION) + np.float32(1 - TRANSMISSION)
        gain = scores.psnr(baselines.dark_channel_prior(hazy), clear) - scores.psnr(hazy, clear)
        assert gain > 5, name


def test_light_is_not_taken_from_a_white_roof(clear):
    hazy = clear * np.float32(0.5) + np.float32(0.4)
    hazy[:40, :40] = 0.8
    hazy[100:106, 100:106] = 1  # brighter than the haze, smaller than the window
    _, light = baselines.dark_channel_transmission(hazy)
    np.testing.assert_allclose(light, 0.8, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_picture_stays(value):
    picture = np.full((30, 40, 3), value, np.float32)
    np.testing.assert_allclose(baselines.dark_channel_prior(picture), picture, atol=1e-6)


def test_guided_filter_with_flat_guide_is_box_mean():
    picture = noise(30, 40)[..., 0]
    once = baselines.guided_filter(np.full_like(picture, 0.3), picture, 4, 1e-3)
    assert once.dtype == np.float32
    # b is the box mean, and the result the box mean of b, in windows cut at the border.
    padded = np.pad(picture, 4, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
    mean = np.nanmean(windows, axis=(2, 3))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(mean, 4, constant_values=np.nan), (9, 9)
    )
    twice = np.nanmean(windows, axis=(2, 3))
    np.testing.assert_allclose(once, twice, atol=1e-5)
    huge_eps = baselines.guided_filter(noise(30, 40, seed=5)[..., 0], picture, 4, 1e9)
    np.testing.assert_allclose(huge_eps, twice, atol=1e-5)


def test_guided_filter_with_itself_and_no_eps_is_identity():
    picture = noise(30, 40)[..., 0]
    picture[:, 20:] = 0.25  # flat windows too
    np.testing.assert_allclose(baselines.guided_filter(picture, picture, 4, 0), picture, atol=1e-5)


def test_guided_filter_keeps_edges_of_the_guide():
    guide = np.zeros((40, 40), np.float32)
    guide[:, 20:] = 1
    noisy = guide + 0.1 * (noise(40, 40)[..., 0] - 0.5)
    smooth = baselines.guided_filter(guide, noisy, 6, 1e-4)
    np.testing.assert_allclose(smooth, guide, atol=0.03)
    with pytest.raises(ValueError, match="same"):
        baselines.guided_filter(guide, noisy[1:], 6, 1e-4)


# ---- inpainting ----


ERRORS = [0.1, 0.1, 1e-3, 1e-3]


@pytest.mark.parametrize(("paint", "error"), list(zip(PAINTERS[1:], ERRORS, strict=True)))
def test_linear_ramp_is_continued(paint, error):
    rows, columns = np.mgrid[0:48, 0:64].astype(np.float32)
    ramp = np.stack([0.1 + rows / 60, 0.9 - columns / 90, (rows + columns) / 120], axis=-1)
    hole = np.zeros((48, 64), bool)
    hole[15:30, 20:40] = True
    cloudy = np.where(hole[..., None], np.float32(1), ramp)
    restored = paint(cloudy, hole)
    np.testing.assert_allclose(restored, ramp, atol=error)
    np.testing.assert_array_equal(restored[~hole], ramp[~hole])


@pytest.mark.parametrize("paint", PAINTERS)
def test_known_pixels_keep_their_bits_and_hidden_ones_do_not_matter(paint):
    cloudy = noise(24, 32)
    before = cloudy.copy()
    hole = noise(24, 32, seed=1)[..., 0] > 0.75
    hole[:, :3] = True  # touches the border
    restored = paint(cloudy, hole)
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(restored[~hole], cloudy[~hole])
    np.testing.assert_array_equal(cloudy, before)
    assert restored.min() >= 0
    assert restored.max() <= 1
    other = np.where(hole[..., None], np.float32(0.2), cloudy)
    np.testing.assert_array_equal(paint(other, hole), restored)


@pytest.mark.parametrize("paint", PAINTERS)
def test_hole_of_nothing_and_of_everything(paint):
    cloudy = noise(16, 20)
    untouched = paint(cloudy, np.zeros((16, 20), bool))
    np.testing.assert_array_equal(untouched, cloudy)
    assert untouched is not cloudy
    np.testing.assert_array_equal(paint(cloudy, np.ones((16, 20), bool)), 0.5)
    one_known = np.ones((16, 20), bool)
    one_known[5, 5] = False
    np.testing.assert_allclose(
        paint(cloudy, one_known) - cloudy[5, 5], np.zeros((16, 20, 3)), atol=0.1
    )


@pytest.mark.parametrize("paint", PAINTERS)
def test_bad_hole_is_refused(paint):
    with pytest.raises(ValueError, match="hole must be bool"):
        paint(noise(16, 20), np.zeros((16, 20)))
    with pytest.raises(ValueError, match="hole must be bool"):
        paint(noise(16, 20), np.zeros((20, 16), bool))


# ---- oracles ----


@pytest.fixture
def covered():
    """Clear ground, opacity 0..1 and the two composed, (48, 64)."""
    clear = noise(48, 64, seed=7)
    opacity = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (48, 1))
    return clear, opacity, clear * (1 - opacity[..., None]) + opacity[..., None]


def test_unmix_inverts_the_composite(covered):
    clear, opacity, cloudy = covered
    restored = baselines.unmix(cloudy, opacity)
    np.testing.assert_allclose(restored[opacity <= 0.75], clear[opacity <= 0.75], atol=1e-5)
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()
    np.testing.assert_array_equal(restored[opacity == 0], cloudy[opacity == 0])
    colour = np.array([1, 0.98, 0.99], np.float32)
    tinted = clear * (1 - opacity[..., None]) + opacity[..., None] * colour
    restored = baselines.unmix(tinted, opacity, cloud_colour=colour)
    np.testing.assert_allclose(restored[opacity <= 0.75], clear[opacity <= 0.75], atol=1e-5)


def test_unmix_and_inpaint_joins_the_two(covered):
    clear, opacity, cloudy = covered
    restored = baselines.unmix_and_inpaint(cloudy, opacity)
    thick = opacity >= 0.75
    np.testing.assert_allclose(restored[~thick], clear[~thick], atol=1e-5)
    expected = baselines.inpaint_telea(baselines.unmix(cloudy, opacity), thick)
    np.testing.assert_allclose(restored, expected, atol=1 / 255)


def test_oracles_refuse_bad_input():
    picture = noise(16, 20)
    with pytest.raises(ValueError, match="does not fit"):
        baselines.unmix(picture, np.zeros((20, 16)))
    with pytest.raises(ValueError, match="opacity holds nan"):
        baselines.unmix(picture, np.full((16, 20), np.nan))
    with pytest.raises(ValueError, match="floor"):
        baselines.unmix(picture, np.zeros((16, 20)), floor=0)


# ---- all ----

ALL = {
    "dark channel prior": lambda picture, opacity: baselines.dark_channel_prior(picture),
    **{paint.__name__: lambda p, o, paint=paint: paint(p, o >= 0.75) for paint in PAINTERS},
    "unmix": baselines.unmix,
    "unmix and inpaint": baselines.unmix_and_inpaint,
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(8, 8), (16, 100), (1, 5), (33, 47)])
def test_any_size_works(name, size):
    cloudy, opacity = noise(*size), noise(*size, seed=2)[..., 0]
    before = cloudy.copy()
    restored = ALL[name](cloudy, opacity)
    assert restored.shape == cloudy.shape
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1
    np.testing.assert_array_equal(cloudy, before)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (np.zeros((16, 16), np.float32), r"\(H, W, 3\)"),
        (np.zeros((16, 16, 4), np.float32), r"\(H, W, 3\)"),
        (np.zeros((16, 16, 3), np.uint8), "float32"),
        (np.full((16, 16, 3), np.nan, np.float32), "nan"),
    ],
)
def test_bad_picture_is_refused(name, picture, text):
    with pytest.raises(ValueError, match=text):
        ALL[name](picture, np.zeros(picture.shape[:2], np.float32))


def test_the_median_takes_specks_away_and_keeps_edges():
    picture = np.full((40, 60, 3), 51 / 255, np.float32)
    picture[:, 30:] = 204 / 255
    specked = picture.copy()
    specked[5:8, 10:14] = 1.0
    np.testing.assert_allclose(baselines.median_filter(specked), picture, atol=1e-6)


def test_mean_colour_of_what_is_known():
    picture, hole = noise(24, 32), np.zeros((24, 32), bool)
    hole[4:12, 5:20] = True
    filled = baselines.inpaint_mean(picture, hole)
    np.testing.assert_allclose(
        filled[hole], np.broadcast_to(picture[~hole].mean(axis=0), (120, 3)), atol=1e-6
    )
    np.testing.assert_array_equal(filled[~hole], picture[~hole])
