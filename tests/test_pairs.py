"""Partners are found by name and cut alike; haze is laid over clear pictures sample by sample."""

import itertools
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np
import pytest

import mod_deblurgan
from util.pictures.pairs import find_pairs, partner_indices, say_lonely
from util.pictures.pixels import PictureError, as_float, as_pixels
from util.pictures.store import PictureStore
from util.samples.crops import random_zoom
from util.samples.damage import Samples, haze
from util.samples.ground import Ground
from util.samples.haze import scatter, smooth_depth
from util.samples.keys import Keys, keyed_rng, shuffled_index
from util.samples.pairs import PairedSamples
from util.say import UserError

STILL = {"ground_gain": 0.0, "ground_offset": 0.0}
VARIED = {"ground_gain": 0.1, "ground_offset": 0.02, "ground_curve": 0.3, "ground_tint": 0.15}


def write(folder, names, size=(4, 4), seed=0, bands=3):
    """Write a random picture under each name; return the folder."""
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), rng.integers(0, 256, (*size, bands), np.uint8))
    return folder


def found_names(pairs, hazy, clear):
    """Return what was found, as relative names."""
    return {
        path.relative_to(clear).as_posix(): [p.relative_to(hazy).as_posix() for p in found]
        for path, found in pairs
    }


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "hazy", tmp_path / "clear"


# --- names --------------------------------------------------------------------------------------


def test_equal_names_are_partners_whatever_their_suffix_and_order(folders):
    hazy, clear = folders
    write(hazy, ["b.png", "a.jpg", "sub/a.png", "z.png"])
    write(clear, ["a.png", "sub/a.bmp", "y.png", "b.png"])
    pairs, lonely = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {
        "a.png": ["a.jpg"],
        "b.png": ["b.png"],
        "sub/a.bmp": ["sub/a.png"],
    }
    assert [path for path, _ in lonely] == [hazy / "z.png", clear / "y.png"]
    assert str(clear) in lonely[0][1]
    assert str(hazy) in lonely[1][1]


def test_one_file_more_does_not_shift_the_others(folders):
    hazy, clear = folders
    names = [f"{n:02}.png" for n in range(6)]
    write(hazy, names)
    write(clear, names)
    (hazy / "00.png").unlink()
    (clear / "05.png").unlink()
    pairs, lonely = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {name: [name] for name in names[1:5]}
    assert {path.name for path, _ in lonely} == {"00.png", "05.png"}


def test_sub_folders_are_kept_apart(folders):
    hazy, clear = folders
    write(hazy, ["a/1.png", "2.png"])
    write(clear, ["b/1.png", "1.png", "2.png"])
    pairs, lonely = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {"2.png": ["2.png"]}
    assert len(lonely) == 3


def test_reside_names_go_to_their_clear_picture(folders):
    hazy, clear = folders
    values = [f"{a}_{b}" for a in (0.8, 0.85, 1) for b in (0.04, 0.2)]
    write(hazy, [f"{n}_{v}.jpg" for n in ("0005", "0012", "0099") for v in values])
    write(clear, ["0005.png", "0012.jpg", "0005_2.png"])
    pairs, lonely = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {
        "0005.png": sorted(f"0005_{v}.jpg" for v in values),
        "0012.jpg": sorted(f"0012_{v}.jpg" for v in values),
    }
    assert {path.name[:4] for path, _ in lonely[:-1]} == {"0099"}
    assert lonely[-1][0] == clear / "0005_2.png"


def test_reside_parts_find_the_clear_pictures_at_the_top(folders):
    hazy, clear = folders
    write(hazy, ["part1/0005_0.8_0.04.jpg", "part2/0005_0.9_0.2.jpg", "part2/7_1_0.1.jpg"])
    write(clear, ["0005.jpg", "part2/7.jpg", "7.jpg"])
    pairs, _ = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {
        "0005.jpg": ["part1/0005_0.8_0.04.jpg", "part2/0005_0.9_0.2.jpg"],
        "part2/7.jpg": ["part2/7_1_0.1.jpg"],
    }


@pytest.mark.parametrize(
    "name", ["1_0.8.png", "1_0.8_a.png", "1_0.8_.png", "_0.8_0.1.png", "1.png"]
)
def test_other_names_are_not_taken_for_reside(folders, name):
    hazy, clear = folders
    write(hazy, [name, "both.png"])
    write(clear, ["2.png", "both.png", "1_0.8_0.1.png"])
    pairs, lonely = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {"both.png": ["both.png"]}
    assert hazy / name in [path for path, _ in lonely]


def test_an_equal_name_goes_before_that_of_reside(folders):
    hazy, clear = folders
    write(hazy, ["tile_3_4.png"])
    write(clear, ["tile.png", "tile_3_4.png"])
    pairs, _ = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {"tile_3_4.png": ["tile_3_4.png"]}


def test_two_clear_pictures_of_one_name_are_not_both_used(folders):
    hazy, clear = folders
    write(hazy, ["a.png"])
    write(clear, ["a.bmp", "a.png"])
    pairs, lonely = find_pairs(hazy, clear)
    assert found_names(pairs, hazy, clear) == {"a.bmp": ["a.png"]}
    assert lonely == [(clear / "a.png", "a.bmp has the same name")]


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_without_pictures_is_named_with_its_setting(folders, which, what):
    for number, folder in enumerate(folders):
        folder.mkdir()
        if number != which:
            write(folder, ["a.png"])
    given = list(folders)
    if what == "missing":
        folders[which].rmdir()
    elif what == "file":
        write(folders[which], ["a.png"])
        given[which] = folders[which] / "a.png"
    setting = ("hazy_folder", "clear_folder")[which]
    with pytest.raises(UserError) as caught:
        find_pairs(*given)
    assert str(caught.value).startswith(f"{setting} = {given[which]}: ")


def test_no_partner_at_all_shows_both_folders_and_examples(folders):
    hazy, clear = folders
    write(hazy, ["fog_1.png"])
    write(clear, ["ground_1.png"])
    with pytest.raises(UserError) as caught:
        find_pairs(hazy, clear, "depth_folder")
    for part in (f"depth_folder = {hazy}", f"clear_folder = {clear}", "fog_1", "ground_1"):
        assert part in str(caught.value)


def test_the_lonely_are_listed_ten_lines_at_most(tmp_path, capsys):
    lonely = [(tmp_path / f"{n:02}\x1b[2J.png", "no partner\nhere") for n in range(23)]
    say_lonely(lonely[:10])
    assert len(capsys.readouterr().err.splitlines()) == 10
    say_lonely(lonely)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert "09" in lines[9]
    assert lines[10] == "and 13 more"
    assert all(line.startswith("unpaired ") for line in lines[:10])
    assert "\x1b" not in "".join(lines)
    say_lonely([])
    assert capsys.readouterr().err == ""


# --- stores -------------------------------------------------------------------------------------


def open_store(folder, tmp_path, crop_px=1, grey=False):
    paths = sorted(folder.rglob("*.png"))
    return PictureStore(paths, tmp_path / "cache", crop_px=crop_px, grey=grey, progress=False)


def test_partners_of_other_sizes_and_bad_files_are_left_out(folders, tmp_path):
    hazy, clear = folders
    write(clear, ["a.png", "b.png", "c.png", "d.png"], (40, 50))
    write(clear, ["small.png"], (15, 80))
    write(hazy, ["a_1_1.png", "b.png"], (40, 50))
    write(hazy, ["a_1_2.png", "c.png"], (50, 40))
    write(hazy, ["small.png"], (15, 80))
    (hazy / "a_1_3.png").write_bytes(b"<html>")
    (hazy / "d.png").write_bytes(b"")
    pairs, _ = find_pairs(hazy, clear)
    clear_store, hazy_store = open_store(clear, tmp_path), open_store(hazy, tmp_path)
    partners, lonely = partner_indices(pairs, clear_store, hazy_store, 32)
    found = {
        clear_store.paths[c].name: [hazy_store.paths[h].name for h in hs] for c, hs in partners
    }
    assert found == {"a.png": ["a_1_1.png"], "b.png": ["b.png"]}
    reasons = {path.name: reason for path, reason in lonely}
    assert set(reasons) == {"a_1_2.png", "c.png", "small.png"}
    assert "40 x 50" in reasons["c.png"]
    assert "50 x 40" in reasons["c.png"]
    assert "less than half the crop of 32" in reasons["small.png"]


# --- samples of pairs ---------------------------------------------------------------------------


class Pictures:
    """Stand in for a PictureStore with pictures in memory."""

    def __init__(self, pictures):
        self.pictures = pictures
        self.paths = [Path(f"picture {n}") for n in range(len(pictures))]
        self.sizes = np.array([p.shape[:2] for p in pictures], np.int32)

    def __len__(self):
        return len(self.pictures)

    def lost(self, index):
        return False

    def crop(self, index, top, left, height, width):
        picture = self.pictures[index]
        assert 0 <= top <= top + height <= picture.shape[0]
        assert 0 <= left <= left + width <= picture.shape[1]
        return picture[top : top + height, left : left + width]

    def pixels(self, index, top, left, height, width):
        return as_pixels(self.crop(index, top, left, height, width), np.uint16)

    def shows_ground(self, index, top, left, height, width):
        return True


def grounds(count=5, size=(70, 50), channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return Pictures([rng.random((*size, channels), np.float32) for _ in range(count)])


def pairs_of(shares, *, seed=0, zoom=(0.5, 1.5)):
    """Return samples whose hazy pictures are the clear ones times a share that tells which."""
    clear = grounds()
    hazy = Pictures([p * np.float32(s) for p in clear.pictures for s in shares])
    count = len(shares)
    partners = [(n, tuple(range(n * count, (n + 1) * count))) for n in range(len(clear))]
    return PairedSamples(clear, hazy, partners, seed=seed, crop_px=32, zoom=zoom)


def bits(sample):
    return {name: array.tobytes() for name, array in sample.items()}


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (0.5, 1.5)])
def test_partners_are_cut_and_turned_alike(zoom):
    sample = pairs_of([0.5], zoom=zoom)
    for number in range(40):
        found = sample(number)
        assert {name: a.shape for name, a in found.items()} == dict.fromkeys(
            ("hazy", "clear"), (32, 32, 3)
        )
        assert {a.dtype for a in found.values()} == {np.dtype(np.float32)}
        inside = found["clear"] < 1  # where a cubic enlargement was clipped, the half was not
        inside &= found["clear"] > 0
        np.testing.assert_allclose(found["hazy"][inside], found["clear"][inside] / 2, atol=5e-5)
        assert inside.mean() > 0.5


def test_each_clear_picture_comes_once_an_epoch():
    sample = pairs_of([1.0])
    for level, picture in enumerate(sample.clear.pictures):
        picture[:] = level / 10
    seen = [round(10 * float(sample(n)["clear"].mean())) for n in range(15)]
    assert all(sorted(seen[i : i + 5]) == list(range(5)) for i in (0, 5, 10))


def test_every_hazy_partner_comes_about_as_often():
    shares = [0.2, 0.4, 0.6, 0.8]
    sample = pairs_of(shares, zoom=(1.0, 1.0))
    picked = []
    for number in range(400):
        found = sample(number)
        share = found["hazy"].sum() / found["clear"].sum()
        picked.append(min(range(4), key=lambda n: abs(shares[n] - share)))
    counts = np.bincount(picked, minlength=4)
    assert (np.abs(counts - 100) < 5 * np.sqrt(400 * 0.25 * 0.75)).all()
    # Not the same one for a picture in every epoch.
    of_first = {picked[n] for n in range(400) if shuffled_index(0, n, 5) == 0}
    assert of_first == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["pairs", "haze"])
def test_samples_are_pure_functions_of_their_number(kind):
    def make(seed):
        if kind == "pairs":
            return pairs_of([0.3, 0.6], seed=seed)
        return haze_of(seed=seed, jitter=VARIED)

    alone = [bits(make(0)(n)) for n in range(24)]
    shared = make(0)
    with ThreadPool(8) as pool:
        together = pool.map(lambda n: bits(shared(n)), range(23, -1, -1), chunksize=1)[::-1]
    assert together == alone
    assert len({sample["hazy"] for sample in alone}) == 24
    assert bits(make(1)(3)) != alone[3]
    assert np.isfinite(make(0)(10**12)["hazy"]).all()


def test_a_lost_file_never_breaks_a_pair(folders, tmp_path, capsys):
    hazy, clear = folders
    for level in range(1, 5):
        for folder, brightness in ((hazy, 50 * level + 3), (clear, 50 * level)):
            folder.mkdir(exist_ok=True)
            assert cv2.imwrite(
                str(folder / f"{level}.png"), np.full((32, 32, 3), brightness, np.uint8)
            )
    pairs, _ = find_pairs(hazy, clear)
    stores = [open_store(folder, tmp_path / folder.name) for folder in (clear, hazy)]
    partners, _ = partner_indices(pairs, *stores, 32)
    sample = PairedSamples(*stores, partners, seed=0, crop_px=32, zoom=(1.0, 1.0))

    def lose(folder, name):
        for file in (tmp_path / folder.name / "cache").glob("*.npy"):
            file.unlink()
        (folder / name).unlink()

    def seen():
        """Return the brightness of the clear pictures that come, each beside its partner."""
        levels = set()
        for number in range(12):
            found = {n: round(255 * float(a.mean())) for n, a in sample(number).items()}
            assert found["hazy"] == found["clear"] + 3
            levels.add(found["clear"] // 50)
        return levels

    assert seen() == {1, 2, 3, 4}
    lose(hazy, "2.png")
    assert seen() == {1, 3, 4}
    lose(clear, "4.png")
    assert seen() == {1, 3}
    lose(hazy, "1.png")
    lose(hazy, "3.png")
    with pytest.raises(PictureError):
        sample(0)
    assert "2.png" in capsys.readouterr().err


# --- samples of made haze -----------------------------------------------------------------------


def haze_of(
    clear=None, depths=None, depth_of=None, *, seed=0, jitter=STILL, zoom=(0.5, 1.5), **ranges
):
    ground = Ground(clear or grounds(), seed=seed, crop_px=32, zoom=zoom, varied=jitter)

    def depth(keys):
        index = ground.index(keys)
        if index in (depth_of or {}):
            return as_float(ground.window(depths, depth_of[index], keys))
        return None

    ranges = {"airlight": (0.7, 1.0), "haze_beta": (0.5, 1.5), **ranges}
    return Samples(ground, partial(haze, depth=depth, **ranges))


def test_made_haze_is_the_scattering_model_on_the_clear_window():
    sample = haze_of()
    for number in range(8):
        found = sample(number)
        index = shuffled_index(0, number, 5)
        rng = keyed_rng(0, number, "ground")
        clear = as_float(random_zoom(sample.ground.store, index, rng, 32, (0.5, 1.5)))
        np.testing.assert_allclose(found["clear"], clear, atol=1e-6)
        rng = keyed_rng(0, number, "haze")
        airlight, beta = rng.uniform(0.7, 1.0), rng.uniform(0.5, 1.5)
        expected = scatter(clear, smooth_depth(rng, 32), airlight, beta)
        np.testing.assert_allclose(found["hazy"], expected, atol=1e-6)
        assert {a.dtype for a in found.values()} == {np.dtype(np.float32)}


def test_haze_takes_contrast_but_not_all_of_it():
    sample = haze_of(zoom=(1.0, 1.0))
    for number in range(60):
        found = sample(number)
        left = np.std(found["hazy"][..., 1]) / np.std(found["clear"][..., 1])
        assert 0.2 < left < 0.95


def test_the_ranges_of_the_haze_are_kept():
    black = Pictures([np.zeros((32, 32, 3), np.float32)])
    far = Pictures([np.ones((32, 32, 1), np.float32)])
    sample = haze_of(black, far, {0: 0}, airlight=(0.8, 0.9), haze_beta=(1.0, 1.0), zoom=(1.0, 1.0))
    levels = [float(sample(n)["hazy"].mean()) / (1 - np.exp(-1.0)) for n in range(100)]
    assert 0.8 - 1e-5 <= min(levels) < 0.82
    assert 0.88 < max(levels) <= 0.9 + 1e-5


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (0.6, 0.6), (1.4, 1.4)])
def test_depth_is_cut_and_turned_as_the_ground(zoom):
    # Smooth pictures: the depth is the clear picture's own brightness.
    rng = np.random.default_rng(0)
    depth = cv2.resize(rng.random((5, 4), np.float32), (50, 70))[..., None]
    clear, depths = Pictures([np.repeat(depth, 3, axis=2)]), Pictures([depth])
    sample = haze_of(clear, depths, {0: 0}, airlight=(1.0, 1.0), haze_beta=(1.0, 1.0), zoom=zoom)
    for number in range(16):
        found = sample(number)
        t = np.exp(-found["clear"])
        np.testing.assert_allclose(found["hazy"], found["clear"] * t + 1 - t, atol=1e-5)


def black_under_even_haze(**how):
    """Return even white haze over black, that is its opacity by channel, (60, 32, 32, 3)."""
    black = Pictures([np.zeros((32, 32, 3), np.float32)])
    far = Pictures([np.ones((32, 32, 1), np.float32)])
    still = {"airlight": (1.0, 1.0), "haze_beta": (1.0, 1.0)}
    sample = haze_of(black, far, {0: 0}, zoom=(1.0, 1.0), **still | how)
    return np.stack([sample(number)["hazy"] for number in range(60)])


EVEN = 1 - np.exp(-1.0)


def test_some_samples_have_no_haze():
    hazy = black_under_even_haze(clear_share=0.4)
    none = (hazy == 0).all((1, 2, 3))
    np.testing.assert_allclose(hazy[~none], EVEN, atol=1e-6)
    assert 0.25 < none.mean() < 0.55


def test_haze_is_bluish_and_tinted():
    bluish = black_under_even_haze(wavelength_exponent=(1.0, 1.0))[0, 0, 0]
    np.testing.assert_allclose(bluish, 1 - np.exp(-560.0 / np.array([655, 560, 480])), atol=1e-6)
    tints = black_under_even_haze(haze_colour=(0.9, 1.0))[:, 0, 0] / EVEN
    assert 0.9 - 1e-5 <= tints.min() < 0.91
    assert 0.99 < tints.max() <= 1 + 1e-5
    assert np.ptp(tints, axis=1).max() > 0.05


def test_haze_lies_in_banks():
    hazy = black_under_even_haze(uneven_share=0.5)
    apart = np.ptp(hazy, axis=(1, 2, 3))
    assert 0.3 < (apart > 0.1).mean() < 0.7
    assert ((apart > 0.1) | (apart < 1e-6)).all()
    assert hazy.max() <= EVEN + 1e-6


def test_hazy_pictures_have_a_sensor_and_a_file():
    noisy = black_under_even_haze(sensor_noise=0.02)
    spread = noisy.std((1, 2, 3))
    assert spread.min() < 0.004
    assert 0.015 < spread.max() < 0.022
    stored = haze_of(jpeg_share=1.0, jpeg_quality=(30.0, 30.0))(0)
    off = np.abs(stored["hazy"] - haze_of()(0)["hazy"])
    assert 0.005 < off.mean() < 0.1
    np.testing.assert_allclose(stored["hazy"] * 255, np.rint(stored["hazy"] * 255), atol=1e-3)


def test_pictures_without_a_depth_map_get_a_drawn_depth():
    flat = Pictures([np.ones((70, 50, 1), np.float32)])
    with_map, without = haze_of(depths=flat, depth_of={2: 0}), haze_of()
    for number in range(10):
        same = bits(with_map(number)) == bits(without(number))
        assert same == (shuffled_index(0, number, 5) != 2)


def test_jitter_changes_the_ground_under_the_haze():
    still, varied = haze_of(), haze_of(jitter=VARIED)
    for number in range(6):
        a, b = still(number), varied(number)
        assert np.abs(a["clear"] - b["clear"]).max() > 0.01
        assert b["clear"].min() >= 0
        assert b["clear"].max() <= 1
        # The haze that lies over it is the same.
        rng = keyed_rng(0, number, "haze")
        airlight, beta = rng.uniform(0.7, 1.0), rng.uniform(0.5, 1.5)
        expected = scatter(b["clear"], smooth_depth(rng, 32), airlight, beta)
        np.testing.assert_allclose(b["hazy"], expected, atol=1e-6)


# --- from settings ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What mod_deblurgan.samples reads."""

    clear_folder: str
    cache_folder: str
    hazy_folder: str = ""
    depth_folder: str = ""
    airlight: tuple = (0.7, 1.0)
    haze_beta: tuple = (0.5, 1.5)
    haze_colour: tuple = (1.0, 1.0)
    uneven_share: float = 0.5
    wavelength_exponent: tuple = (0.0, 1.5)
    clear_share: float = 0.1
    jpeg_share: float = 0.3
    jpeg_quality: tuple = (60.0, 95.0)
    sensor_noise: float = 0.01
    crop_px: int = 32
    validation_by: str = "auto"
    validation_share: float = 0.25
    max_pixels: int = 10**6
    full_scale: float = 0.0
    seed: int = 0
    ground_zoom: tuple = (0.7, 1.4)
    ground_gain: float = 0.02
    ground_offset: float = 0.01
    ground_curve: float = 0.3
    ground_tint: float = 0.15
    ground_saturation: float = 0.1
    ground_pasted: float = 0.0


def make(tmp_path, **changes):
    changes = {name: str(v) if name.endswith("folder") else v for name, v in changes.items()}
    settings = Settings(
        **{"clear_folder": str(tmp_path / "clear"), "cache_folder": str(tmp_path / "c"), **changes}
    )
    return mod_deblurgan.samples(settings, progress=False)


def test_settings_make_haze_where_there_are_no_pairs(tmp_path):
    write(tmp_path / "clear", [f"{n}.png" for n in range(8)], (40, 40))
    training, validation = make(tmp_path)
    one, other = training.ground, validation.ground
    assert (len(one.store), len(other.store)) == (6, 2)
    assert not set(one.store.paths) & set(other.store.paths)
    assert (one.zoom, other.zoom) == ((0.7, 1.4), (1.0, 1.0))
    assert (one.varied["ground_tint"], other.varied["ground_tint"]) == (0.15, 0.0)
    assert one.seed != other.seed
    assert {name for s in (training, validation) for name in s(0)} == {"hazy", "clear"}


def test_settings_use_pairs_and_split_them_by_clear_picture(folders, tmp_path, capsys):
    hazy, clear = folders
    write(clear, [f"{n}.png" for n in range(8)], (40, 40))
    write(hazy, [f"{n}_{a}_0.1.png" for n in range(8) for a in (0.8, 0.9, 1)], (40, 40))
    write(hazy, ["77_1_1.png"], (40, 40))
    training, validation = make(tmp_path, hazy_folder=hazy)
    sizes = [
        (len(s.clear), len(s.hazy), [len(found) for _, found in s.partners])
        for s in (training, validation)
    ]
    assert sizes == [(6, 18, [3] * 6), (2, 6, [3] * 2)]
    assert not set(training.clear.paths) & set(validation.clear.paths)
    for samples in (training, validation):
        for index, found in samples.partners:
            stems = {samples.hazy.paths[h].name.split("_")[0] for h in found}
            assert stems == {samples.clear.paths[index].stem}
        assert {a.shape for n in range(4) for a in samples(n).values()} == {(32, 32, 3)}
    assert "77_1_1.png" in capsys.readouterr().err


@pytest.mark.parametrize("second", ["hazy", "depth"])
def test_a_single_pair_is_shared_alike(second, folders, tmp_path):
    other, clear = folders
    for folder in folders:
        write(folder, ["a.png"], (40, 160), bands=3 if second == "hazy" else 1)
    for samples, width in zip(
        make(tmp_path, **{f"{second}_folder": other}), (120, 40), strict=True
    ):
        if second == "hazy":
            assert samples.clear.sizes.tolist() == samples.hazy.sizes.tolist() == [[40, width]]
            np.testing.assert_array_equal(samples(0)["hazy"], samples(0)["clear"])
            continue
        assert samples.ground.store.sizes.tolist() == [[40, width]]
        keys = Keys(samples.ground.seed, 0)
        clear = as_float(samples.ground.window(samples.ground.store, 0, keys))
        depth = samples.damage.keywords["depth"](keys)[..., 0]
        assert np.abs(depth - clear @ [0.299, 0.587, 0.114]).mean() < 0.01  # some overshoot


def test_pairs_smaller_than_the_crop_are_enlarged(folders, tmp_path):
    for folder in folders:
        write(folder, ["a.png", "b.png"], (20, 24))
    training, validation = make(tmp_path, hazy_folder=folders[0])
    for samples in (training, validation):
        found = samples(0)
        assert found["hazy"].shape == (32, 32, 3)
        np.testing.assert_array_equal(found["hazy"], found["clear"])  # the same seed wrote both


def test_pairs_of_which_none_fits_are_an_error(folders, tmp_path, capsys):
    hazy, clear = folders
    write(hazy, ["a.png", "b.png"], (40, 40))
    write(clear, ["a.png", "b.png"], (40, 44))
    with pytest.raises(UserError, match=r"hazy_folder = .*no pair is left to train with.*crop_px"):
        make(tmp_path, hazy_folder=hazy)
    assert "44 x 40" in capsys.readouterr().err


def test_settings_use_the_depth_maps_that_fit(tmp_path, capsys):
    write(tmp_path / "clear", [f"{n}.png" for n in range(8)], (40, 40))
    write(tmp_path / "depth", [f"{n}.png" for n in range(0, 8, 2)], (40, 40), bands=1)
    write(tmp_path / "depth", ["1.png"], (50, 50), bands=1)
    training, validation = make(tmp_path, depth_folder=tmp_path / "depth")
    with_depth = {
        int(s.ground.store.paths[s.ground.index(Keys(s.ground.seed, number))].stem)
        for s in (training, validation)
        for number in range(8)
        if s.damage.keywords["depth"](Keys(s.ground.seed, number)) is not None
    }
    assert sorted(with_depth) == [0, 2, 4, 6]
    for samples, number in itertools.product((training, validation), range(6)):
        assert np.isfinite(samples(number)["hazy"]).all()
    told = capsys.readouterr().err
    assert "1.png: 50 x 50" in told
    assert "3.png: no picture of this name" in told


def test_a_missing_depth_folder_is_named(tmp_path):
    write(tmp_path / "clear", ["a.png", "b.png"], (40, 40))
    with pytest.raises(UserError, match=r"depth_folder = .*nowhere"):
        make(tmp_path, depth_folder=tmp_path / "nowhere")
