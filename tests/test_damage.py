"""A sample with a hole depends on its number alone; what is known of it is the clear picture."""

import itertools
from dataclasses import replace
from functools import partial
from multiprocessing.pool import ThreadPool

import cv2
import numpy as np
import pytest
from test_samples import NOISE, Pictures, bits

import mod_GAN_poly
import mod_GAN_spot
from configure import Clouds, Defog
from util.samples import heaps, holes
from util.samples.clouds import cover, cumulus_opacity, draw_opacity
from util.samples.damage import Samples, cleared, cloud, cloud_from, holed
from util.samples.ground import Ground
from util.samples.keys import Keys, keyed_rng
from util.say import UserError
from util.settings import settings_class

JITTER = {"ground_gain": 0.1, "ground_offset": 0.01, "ground_curve": 0.3, "ground_tint": 0.15}
STILL = {"ground_gain": 0.0, "ground_offset": 0.0}
SPOT = partial(holes.spot_hole, size_px=32)
POLYGON = partial(holes.polygon_hole, size_px=32)


def layers():
    return Pictures([(50, 60), (64, 64)], channels=1, seed=1)


def clouds_and_polygons():
    """Return a way to draw holes that uses everything there is."""
    draw = partial(
        draw_opacity,
        layers=layers(),
        size_px=32,
        noise_share=0.5,
        cloud_window_px=(16, 60),
        noise=NOISE,
    )
    return partial(holes.cloud_or_polygon_hole, size_px=32, cloud_share=0.7, draw_opacity=draw)


def make(*, seed=0, hole=None, clear=None, jitter=JITTER, zoom=(0.7, 1.5)):
    ground = Ground(
        clear or Pictures([(40, 50), (33, 32), (64, 64), (80, 35)]),
        seed=seed,
        crop_px=32,
        zoom=zoom,
        varied=jitter,
    )
    return Samples(ground, partial(holed, draw=hole or clouds_and_polygons()))


# --- a sample -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hole", [SPOT, POLYGON, None])
def test_the_same_number_gives_the_same_bits_in_any_order_and_thread(hole):
    numbers = [*range(24), 12_345, 10**12]
    alone = [bits(make(hole=hole)(n)) for n in numbers]
    shared = make(hole=hole)
    assert [bits(shared(n)) for n in numbers[::-1]] == alone[::-1]
    with ThreadPool(4) as pool:
        assert pool.map(lambda n: bits(shared(n)), numbers, chunksize=1) == alone
    assert len({sample["clear"] for sample in alone}) == len(numbers)
    if hole is not SPOT:  # which is always in the middle
        assert len({sample["hole"] for sample in alone}) == len(numbers)


def test_another_seed_makes_other_samples():
    a, b = bits(make(seed=0)(7)), bits(make(seed=1)(7))
    assert all(a[name] != b[name] for name in ("clear", "hole", "holed"))


@pytest.mark.parametrize("hole", [SPOT, POLYGON, None])
def test_a_sample_is_ground_without_what_is_missing(hole):
    for number in range(20):
        found = make(hole=hole)(number)
        assert {name: array.shape for name, array in found.items()} == {
            "clear": (32, 32, 3),
            "hole": (32, 32, 1),
            "holed": (32, 32, 3),
        }
        for array in found.values():
            assert array.dtype == np.float32
            assert array.min() >= 0
            assert array.max() <= 1
        clear, missing, holed = found["clear"], found["hole"], found["holed"]
        np.testing.assert_array_equal(holed, clear * (1 - missing))
        known, gone = missing[..., 0] == 0, missing[..., 0] == 1
        assert known.any()
        np.testing.assert_array_equal(holed[known], clear[known])
        assert (holed[gone] == 0).all()


def test_cleared_haze_is_off_the_ground_most_by_the_hole():
    hole = np.zeros((64, 64, 1), np.float32)
    hole[20:40, 20:40] = 1
    near = (cv2.dilate(hole, np.ones((9, 9))) > hole[..., 0]).nonzero()
    clear = np.full((64, 64, 3), 0.4, np.float32)
    errors = []
    for number in range(40):
        made = cleared(keyed_rng(0, number, "cleared"), clear, hole)
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 1
        error = np.abs(made - clear).mean(-1)
        errors.append((error[near].mean(), error[:12].mean()))
    rim, far = np.mean(errors, axis=0)
    assert 0.01 < far < rim < 0.25
    assert far < 0.6 * rim


def test_a_share_of_the_samples_has_cleared_haze_around_a_hard_hole():
    clear = make(hole=POLYGON)
    sample = Samples(clear.ground, partial(holed, draw=POLYGON, cleared_share=0.5, rim_px=8.0))
    hard = 0
    for number in range(40):
        found, before = sample(number), clear(number)
        np.testing.assert_array_equal(found["clear"], before["clear"])
        np.testing.assert_array_equal(found["near"], holes.nearness(before["hole"], 8.0))
        if np.array_equal(found["hole"], before["hole"]):
            np.testing.assert_array_equal(found["holed"], before["holed"])
        else:
            hard += 1
            np.testing.assert_array_equal(found["hole"], before["hole"] > 0.5)
            assert (found["holed"][found["hole"][..., 0] == 1] == 0).all()
            assert 0 < np.abs(found["holed"] - before["holed"]).mean() < 0.2
    assert 12 <= hard <= 28


def test_ground_does_not_depend_on_the_hole():
    for number in range(8):
        a, b = make(hole=SPOT)(number), make(hole=POLYGON)(number)
        np.testing.assert_array_equal(a["clear"], b["clear"])
        assert not np.array_equal(a["hole"], b["hole"])


def test_each_part_of_a_sample_has_a_purpose_of_its_own(monkeypatch):
    asked = []

    def record(*key):
        if key[2] != "order of pictures":  # that of a whole epoch
            asked.append(key)
        return keyed_rng(*key)

    monkeypatch.setattr("util.samples.keys.keyed_rng", record)
    make(seed=3)(11)
    assert {key[:2] for key in asked} == {(3, 11)}
    assert len(asked) == len(set(asked)) == 3


def test_samples_go_through_all_pictures_each_epoch():
    grounds = Pictures([(32, 32)] * 6)
    for level, picture in enumerate(grounds.pictures):
        picture[:] = level / 10
    sample = make(clear=grounds, jitter=STILL, zoom=(1, 1))
    seen = [round(10 * float(sample(n)["clear"].mean())) for n in range(12)]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_ground_is_varied_as_under_clouds():
    colour = {"opacity_offset": (0.0, 0.0), "cloud_colour": (1.0, 1.0)}
    alone = make()
    under = Samples(alone.ground, partial(cloud, draw=SPOT, **colour))
    for number in range(5):
        np.testing.assert_array_equal(alone(number)["clear"], under(number)["clear"])


def test_every_hole_that_cloud_shapes_leaves_something_to_see():
    sample = make(hole=partial(clouds_and_polygons(), cloud_share=1.0))
    cover = [float(sample(n)["hole"].mean()) for n in range(200)]
    assert min(cover) >= 0.02
    assert max(cover) <= 0.6
    assert np.std(cover) > 0.05


# --- from settings ------------------------------------------------------------------------------


@settings_class
class Holes(Clouds):
    """The settings that `spot_samples` and `poly_samples` read."""

    rim_px: float = 32.0
    cleared_share: float = 0.0
    spot_share: float = 0.5
    spot_width_share: float = 0.0
    spot_place: tuple[float, float] = (0.5, 0.5)
    spot_anywhere: bool = False
    polygon_vertices: int = 5
    edge_px: int = 8
    cloud_hole_share: float = 0.5


@pytest.fixture
def settings(tmp_path):
    rng = np.random.default_rng(0)
    for folder, shape in (("clear", (80, 90, 3)), ("clouds", (70, 70))):
        (tmp_path / folder).mkdir()
        for number in range(4):
            picture = rng.integers(0, 256, shape, np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), picture)
    return Holes(
        clear_folder=str(tmp_path / "clear"),
        cloud_folder=str(tmp_path / "clouds"),
        cache_folder=str(tmp_path / "cache"),
        crop_px=64,
        cloud_window_px=(8, 64),
        noise_octaves=2,
    )


@pytest.mark.parametrize("make_samples", [mod_GAN_spot.samples, mod_GAN_poly.samples])
def test_training_and_validation_differ_in_pictures_and_draws(make_samples, settings):
    training, validation = make_samples(settings, progress=False)
    assert not set(training.ground.store.paths) & set(validation.ground.store.paths)
    assert training.ground.seed != validation.ground.seed
    assert (training.ground.zoom, validation.ground.zoom) == (settings.ground_zoom, (1.0, 1.0))
    for name in ("ground_curve", "ground_tint"):
        assert (
            training.ground.varied[name]
            == getattr(settings, name)
            > 0
            == validation.ground.varied[name]
        )
    for name in ("ground_gain", "ground_offset"):
        assert (
            training.ground.varied[name]
            == validation.ground.varied[name]
            == getattr(settings, name)
        )
    again = make_samples(settings, progress=False)
    for one, other in zip((training, validation), again, strict=True):
        assert [bits(one(n)) for n in range(3)] == [bits(other(n)) for n in range(3)]


def test_spots_follow_their_settings(settings):
    for share, anywhere in itertools.product((0.25, 0.5), (False, True)):
        changed = replace(settings, spot_share=share, spot_anywhere=anywhere, cloud_hole_share=0.0)
        training, _ = mod_GAN_spot.samples(changed, progress=False)
        found = [training(n)["hole"] for n in range(6)]
        assert {float(hole.mean()) for hole in found} == {share**2}
        assert (len({hole.tobytes() for hole in found}) > 1) == anywhere


def test_polygons_follow_their_settings(settings):
    plain = replace(settings, cloud_hole_share=0.0, edge_px=1)
    training, _ = mod_GAN_poly.samples(plain, progress=False)
    hard = [training(n)["hole"] for n in range(4)]
    assert all(set(np.unique(hole)) == {0, 1} for hole in hard)
    training, _ = mod_GAN_poly.samples(replace(plain, edge_px=6), progress=False)
    for number, hole in enumerate(hard):
        np.testing.assert_allclose(
            training(number)["hole"][..., 0], cv2.blur(hole, (6, 6)), atol=1e-6
        )
    training, _ = mod_GAN_poly.samples(replace(plain, polygon_vertices=9), progress=False)
    assert any(not np.array_equal(training(n)["hole"], hole) for n, hole in enumerate(hard))


def test_clouds_shape_their_share_of_the_holes(settings, monkeypatch):
    drawn = set()

    def record(rng, size_px, vertices, edge_px):
        drawn.add(number)
        return holes.spot_hole(rng, size_px)

    monkeypatch.setattr(holes, "polygon_hole", record)
    training, _ = mod_GAN_poly.samples(replace(settings, noise_share=0.5), progress=False)
    for number in range(200):
        training(number)
    # Some clouds never fit and add to the polygons.
    assert 70 <= len(drawn) <= 140


@pytest.mark.parametrize("changes", [{"cloud_hole_share": 0.0}, {"noise_share": 1.0}])
def test_cloud_pictures_are_opened_only_where_they_are_used(settings, changes):
    unused = replace(settings, cloud_folder=settings.cloud_folder + "-missing")
    for part in mod_GAN_poly.samples(replace(unused, **changes), progress=False):
        assert part(0)["hole"].shape == (64, 64, 1)
    with pytest.raises(UserError, match="cloud_folder"):
        mod_GAN_poly.samples(unused, progress=False)


def test_validation_holes_come_from_cloud_pictures_of_their_own(settings):
    changed = replace(settings, cloud_hole_share=1.0, noise_share=0.0)
    both = mod_GAN_poly.samples(changed, progress=False)
    used = [
        part.damage.keywords["draw"].keywords["draw_opacity"].keywords["layers"] for part in both
    ]
    assert not set(used[0].paths) & set(used[1].paths)
    assert used[0].paths
    assert used[1].paths


# --- cloud with its light -----------------------------------------------------------------------

EVERYTHING = {
    "haze_share": 0.5,
    "haze_opacity": (0.1, 0.3),
    "cloud_brightness": (0.8, 1.1),
    "cloud_colour": (0.9, 1.0),
    "cloud_shading": 0.3,
    "cloud_relief": 0.5,
    "wavelength_exponent": (0.5, 1.5),
    "shadow_share": 0.5,
    "shadow_depth": (0.3, 0.6),
    "channel_shift_px": 2.0,
    "blur_beneath_px": 1.5,
    "picked_share": 0.5,
    "picked_px": 2.0,
    "jpeg_share": 0.5,
    "jpeg_quality": (60.0, 90.0),
    "sensor_noise": 0.02,
}


def ground_and_cloud(seed=0, size=32):
    rng = np.random.default_rng(seed)
    clear = cv2.GaussianBlur(rng.random((size, size, 3), np.float32), (0, 0), 3)
    opacity = cv2.GaussianBlur(rng.random((size, size), np.float32), (0, 0), 2)[..., None]
    return clear, opacity


def test_no_cloud_leaves_the_ground_to_the_bit():
    clear, opacity = ground_and_cloud()
    sensor = {"picked_share": 0.0, "jpeg_share": 0.0, "sensor_noise": 0.0, "haze_share": 0.0}
    made = cloud(Keys(0, 1), clear, draw=lambda rng: 0 * opacity, **{**EVERYTHING, **sensor})
    np.testing.assert_array_equal(made["cloudy"], made["clear"])
    np.testing.assert_array_equal(made["clear"], clear)
    assert not made["opacity"].any()


def round_cloud(size=64):
    from_middle = np.hypot(*(np.indices((size, size)) - (size - 1) / 2))
    return np.clip(1.5 - from_middle / (size / 5), 0, 1).astype(np.float32)[..., None]


def round_cloud_and_height():
    opacity = round_cloud()
    return np.dstack([opacity, np.sqrt(opacity)])


@pytest.mark.parametrize("drawn", [round_cloud(), round_cloud_and_height()])
def test_heaps_of_cloud_are_darker_by_no_more_than_their_relief(drawn):
    black, opacity = np.zeros((64, 64, 3), np.float32), round_cloud()
    darkest = []
    for number in range(20):
        made = cloud(Keys(0, number), black, draw=lambda rng: drawn, cloud_relief=0.5)
        assert (made["cloudy"] <= opacity + 1e-6).all()
        assert (made["cloudy"] >= 0.5 * opacity - 1e-6).all()
        np.testing.assert_allclose(made["opacity"], opacity, atol=1e-6)
        darkest.append((made["cloudy"] / np.maximum(opacity, 1e-6))[opacity[..., 0] > 0.1].min())
    assert min(darkest) < 0.65


@pytest.mark.parametrize("drawn", [round_cloud(), round_cloud_and_height()])
def test_heaps_of_cloud_are_darker_on_the_side_of_their_shadow(drawn):
    white, opacity = np.ones((64, 64, 3), np.float32), round_cloud()
    places = np.indices((64, 64)) - 31.5
    how = {"shadow_share": 1.0, "shadow_depth": (0.5, 0.5), "cloud_relief": 1.0}
    shaded = []
    for number in range(20):
        made = cloud(Keys(0, number), white, draw=lambda rng: drawn, **how)
        toward = (places * (white - made["clear"])[..., 0]).sum(axis=(1, 2))
        sent_up = (made["cloudy"] - made["clear"] * (1 - opacity)) / np.maximum(opacity, 1e-6)
        dark = np.where(opacity > 0.3, 1 - sent_up, 0)[..., 0]
        shaded.append((places * dark).sum(axis=(1, 2)) @ toward > 0)
    assert np.mean(shaded) > 0.8


def test_dark_sides_of_tinted_cloud_have_more_of_a_tint():
    black, opacity = np.zeros((64, 64, 3), np.float32), round_cloud()
    by = {}
    for colour in ((1.0, 1.0), (0.8, 1.0)):
        how = {"cloud_relief": 0.8, "cloud_colour": colour}
        made = (cloud(Keys(0, n), black, draw=lambda rng: opacity, **how) for n in range(9))
        sent_up = [each["cloudy"][opacity[..., 0] == 1] for each in made]
        # Of light that is darker by one share in all channels the ratio of two does not vary.
        ratios = [light[:, 0] / light[:, 2] for light in sent_up]
        by[colour] = max(ratio.max() / ratio.min() for ratio in ratios)
    assert by[1.0, 1.0] == pytest.approx(1, abs=1e-5)
    assert by[0.8, 1.0] > 1.05


def test_a_share_of_the_samples_has_heaps_and_the_others_stay_as_they_were(monkeypatch):
    settings = Defog(crop_px=32, noise_share=1.0)
    clear = np.full((32, 32, 3), 0.4, np.float32)

    def made(**changes):
        damage = cloud_from(None, replace(settings, **changes))
        return [damage(Keys(0, number), clear)["cloudy"].tobytes() for number in range(200)]

    none, some, all_of_them = made(), made(heap_share=0.4), made(heap_share=1.0)
    assert sum(a != b for a, b in zip(all_of_them, none, strict=True)) > 150  # some are clear
    heaped = [a != b for a, b in zip(some, none, strict=True)]
    assert 50 < sum(heaped) < 110
    pairs = zip(heaped, some, none, all_of_them, strict=True)
    assert all(each == (heap if is_heaped else usual) for is_heaped, each, usual, heap in pairs)
    # Drawn as on other days it is those settings' cumulus.
    drawn = {"octaves": settings.cumulus_octaves, "persistence": settings.cumulus_persistence}
    monkeypatch.setattr(heaps, "heaped_opacity", partial(cumulus_opacity, **drawn))
    assert made(heap_share=1.0) == made(**heaps.DAY)


def test_pixels_are_picked_alike_from_cloud_ground_and_opacity():
    clear, opacity = ground_and_cloud()
    how = {"picked_share": 1.0, "picked_px": 4.0}
    made = cloud(Keys(0, 1), clear, draw=lambda rng: opacity, **how)
    covered = cover(made["clear"], made["opacity"])
    np.testing.assert_allclose(made["cloudy"], covered, atol=1e-6)
    assert np.abs(made["clear"] - clear).max() > 0.05


def test_cloud_with_every_effect_is_a_sample_like_any_other():
    clear, opacity = ground_and_cloud()
    seen = set()
    for number in range(30):
        made = cloud(Keys(0, number), clear.copy(), draw=lambda rng: opacity, **EVERYTHING)
        again = cloud(Keys(0, number), clear.copy(), draw=lambda rng: opacity, **EVERYTHING)
        for name, channels in (("cloudy", 3), ("clear", 3), ("opacity", 1)):
            assert made[name].shape == (32, 32, channels)
            assert made[name].dtype == np.float32
            assert 0 <= made[name].min() <= made[name].max() <= 1
            np.testing.assert_array_equal(made[name], again[name])
        seen.add(made["cloudy"].tobytes())
    assert len(seen) == 30


@pytest.mark.parametrize("effect", ["haze", "shadow", "wavelength", "channel", "jpeg", "sensor"])
def test_each_effect_changes_what_it_should_and_nothing_else(effect):
    clear, opacity = ground_and_cloud()
    own = {n: v for n, v in EVERYTHING.items() if n.startswith(effect)}
    own |= {n: 1.0 for n in own if n.endswith("_share")}
    plain, made = (cloud(Keys(0, 3), clear, draw=lambda rng: opacity, **how) for how in ({}, own))
    changed = {n for n in plain if not np.allclose(plain[n], made[n], atol=1e-6)}
    expected = {
        "haze": {"cloudy", "opacity"},
        "shadow": {"cloudy", "clear"},
        "wavelength": {"cloudy", "opacity"},
        "channel": {"cloudy", "opacity"},
        "jpeg": {"cloudy"},
        "sensor": {"cloudy"},
    }
    assert changed == expected[effect]


def test_opacity_is_the_mean_over_the_channels():
    clear, opacity = np.zeros((32, 32, 3), np.float32), ground_and_cloud()[1]
    how = {n: EVERYTHING[n] for n in ("wavelength_exponent", "channel_shift_px")}
    made = cloud(Keys(0, 5), clear, draw=lambda rng: opacity, **how)
    # White cloud over black ground shows its opacity in each channel.
    np.testing.assert_allclose(made["cloudy"].mean(-1), made["opacity"][..., 0], atol=1e-6)
