"""Real cloud is cut out of pairs, and laid over other ground with its own light."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from make_zoo import noise
from PIL import Image

import mod_defog
import prepare_data
from configure import Defog
from util.pictures.pixels import PictureError
from util.pictures.read import read_picture
from util.pictures.write import write_picture
from util.prepare.cutouts import cut_out
from util.samples.clouds import cover
from util.samples.cutouts import DAY, open_cutouts
from util.samples.damage import cloud_from
from util.samples.keys import Keys
from util.say import UserError

SIDE = 96


def pair(light=(0.7, 0.75, 0.65), depth=1.0):
    """Return a cloudy picture, the other date, which is a little darker, and the opacity."""
    texture = cv2.GaussianBlur(noise(SIDE, SIDE, seed=3) / np.float32(255), (0, 0), 3)
    clear = 0.1 + 0.2 * texture
    opacity = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(opacity, (30, 40), 16, 1.0, -1)
    cv2.circle(opacity, (70, 70), 9, 1.0, -1)
    opacity *= np.float32(depth)
    cloudy = cover(clear, opacity[..., None], np.float32(light))
    return cloudy, (clear - 0.01) / 1.1, opacity


# --- cut out ------------------------------------------------------------------------------------


def test_light_and_opacity_of_cloud_come_back_from_two_dates():
    cloudy, clear, true = pair()
    light, opacity = cut_out(cloudy, clear)
    colour = np.float32([0.7, 0.75, 0.65])
    inside, outside = cv2.erode(true, np.ones((5, 5))) > 0, cv2.dilate(true, np.ones((7, 7))) == 0
    assert opacity[inside].min() > 0.99
    assert opacity[outside].max() < 0.01
    assert np.abs(light[inside] - colour).max() < 0.02
    # Where there is none it goes on, for whoever blurs or moves the opacity.
    np.testing.assert_allclose(light[0, 0], colour, atol=0.05)


def test_laid_over_the_other_date_a_cut_out_gives_the_picture_again():
    cloudy, clear, _ = pair()
    light, opacity = cut_out(cloudy, clear)
    again = cover(1.1 * clear + 0.01, opacity[..., None], light)
    sure = opacity >= 0.8
    np.testing.assert_allclose(again[sure], cloudy[sure], atol=0.01)
    assert np.abs(again - cloudy).mean() < 0.005


def test_a_shadow_and_what_is_brighter_in_one_channel_alone_are_no_cloud():
    cloudy, clear, _ = pair()
    cloudy[:20, 60:80] *= 0.3
    cloudy[80:, :20, 1] += 0.4  # a field that has grown
    _, opacity = cut_out(cloudy, clear)
    assert opacity[2:18, 62:78].max() == 0
    assert opacity[84:, :16].max() < 0.05


def test_pictures_that_are_nowhere_alike_are_refused():
    with pytest.raises(PictureError, match="nowhere alike"):
        cut_out(np.full((8, 8, 3), 0.9, np.float32), np.full((8, 8, 3), 0.1, np.float32))


def test_where_either_date_shows_no_ground_there_is_no_cloud():
    cloudy, clear, true = pair()
    ground = np.ones((SIDE, SIDE), bool)
    ground[:, :30] = False  # cuts through a cloud
    clear[~ground] = 0
    cloudy[~ground] += 0.3
    light, opacity = cut_out(cloudy, clear, ground)
    assert opacity[~ground].max() == 0
    wanted_light, wanted = cut_out(*pair()[:2])
    inner = np.s_[:, 34:]  # smoothing has rounded off the rim
    np.testing.assert_allclose(opacity[inner], wanted[inner], atol=0.02)
    sure = true[inner] > 0
    np.testing.assert_allclose(light[inner][sure], wanted_light[inner][sure], atol=0.03)


@pytest.mark.parametrize("kind", ["alpha", "border"])
@pytest.mark.parametrize("side", ["cloudy", "clear"])
def test_the_command_takes_alpha_and_a_black_border_for_no_ground(tmp_path, side, kind):
    pictures = dict(zip(("cloudy", "clear"), pair()[:2], strict=True))
    for name, picture in pictures.items():
        (tmp_path / name).mkdir()
        pixels = np.rint(255 * np.dstack([picture, np.ones((SIDE, SIDE))])).astype(np.uint8)
        if name == side and kind == "alpha":
            # What is beneath alpha 0 is anything: here what makes the other date's ground cloud.
            pixels[:, :30] = (255, 255, 255, 0) if side == "cloudy" else 0
        elif name == side:
            pixels[:, :30, :3] = 0
        Image.fromarray(pixels if kind == "alpha" else pixels[..., :3]).save(
            tmp_path / name / "one.png"
        )
    assert cut(tmp_path) == 0
    opacity = read_picture(tmp_path / "cut" / "opacity" / "one.png")[..., 0]
    assert opacity[:, :30].max() == 0
    assert opacity[65:75, 65:75].min() > 250  # a cloud further in stays


@pytest.fixture
def folders(tmp_path):
    """Return folders of cloudy and clear pictures: one good pair, and two that are not."""
    cloudy, clear, _ = pair()
    for folder, picture in (("cloudy", cloudy), ("clear", clear)):
        (tmp_path / folder / "a").mkdir(parents=True)
        pixels = np.rint(255 * picture).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / folder / "a" / "one.png")
        Image.fromarray(pixels[: SIDE // (1 + (folder == "clear"))]).save(
            tmp_path / folder / "odd.png"
        )
    Image.fromarray(np.rint(255 * clear).astype(np.uint8)).save(tmp_path / "cloudy" / "none.png")
    Image.fromarray(np.rint(255 * clear).astype(np.uint8)).save(tmp_path / "clear" / "none.png")
    return tmp_path


def cut(folders, *more):
    words = ["cut", str(folders / "cloudy"), "--clear", str(folders / "clear")]
    return prepare_data.run([*words, "--out", str(folders / "cut"), *more])


def test_the_command_makes_two_pictures_of_each_pair_and_keeps_what_exists(folders, capsys):
    assert cut(folders) == 0
    said = capsys.readouterr().err
    assert "1 cut-outs made" in said
    assert "2 failed" in said
    assert "differ in size" in said
    assert "no cloud is brighter" in said
    light, opacity = (folders / "cut" / n / "a" / "one.png" for n in ("light", "opacity"))
    cloudy, clear, _ = pair()
    wanted = cut_out(cloudy, clear)
    for path, part in zip((light, opacity), wanted, strict=True):
        found = read_picture(path)[..., : 3 if part.ndim == 3 else 1].squeeze() / 255
        assert np.abs(found - part).mean() < 0.01
    opacity.unlink()
    assert cut(folders) == 0
    assert opacity.exists()
    assert cut(folders) == 0
    assert "1 that exist are kept" in capsys.readouterr().err


def test_values_that_use_little_of_their_range_are_told_with_a_value_to_set(tmp_path, capsys):
    for name, picture in zip(("cloudy", "clear"), pair(light=[0.9] * 3)[:2], strict=True):
        for place, white in (("a", 10_000), ("b", 18_000)):
            (tmp_path / name / place).mkdir(parents=True)
            pixels = np.rint(white * picture).astype(np.uint16)
            write_picture(tmp_path / name / place / "one.png", pixels)
    assert cut(tmp_path) == 0  # of b something
    said = capsys.readouterr().err
    assert f"skipped {tmp_path / 'cloudy' / 'a' / 'one.png'}: its values reach" in said
    assert f"{tmp_path / 'cloudy' / 'b' / 'one.png'}: its values reach" in said
    assert said.count("set full_scale to the value that means white, perhaps") == 2
    assert "no cloud is brighter" not in said
    assert cut(tmp_path, "--full-scale", "10000", "--overwrite") == 0
    said = capsys.readouterr().err
    assert "2 cut-outs made" in said
    assert "set full_scale" not in said


def test_what_is_cut_out_never_takes_the_place_of_a_picture(folders):
    (folders / "cloudy").rename(folders / "light")
    before = (folders / "light" / "a" / "one.png").read_bytes()
    words = ["cut", str(folders / "light"), "--clear", str(folders / "clear"), "--overwrite"]
    with pytest.raises(UserError, match="would write over the pictures"):
        prepare_data.run([*words, "--out", str(folders)])
    assert (folders / "light" / "a" / "one.png").read_bytes() == before


# --- laid over other ground ---------------------------------------------------------------------


def cutouts_of(folder, light, opacity):
    for name, pixels in (("light", light), ("opacity", opacity)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / "cloud.png")
    settings = Defog(cut_folder=str(folder), cache_folder=str(folder / "cache"), crop_px=64)
    return open_cutouts(settings, False)


def test_light_and_opacity_are_drawn_from_one_place(tmp_path):
    # Light says in each channel how opaque the cloud is: bright where it is thick.
    opacity = (noise(160, 160, seed=5)[..., 0] > 128).astype(np.uint8) * 255
    draw = cutouts_of(tmp_path, np.repeat(opacity[..., None], 3, axis=2), opacity)
    for number in range(8):
        piece = draw(Keys(0, number)("cloud"))
        assert piece.shape == (64, 64, 4)
        assert piece.dtype == np.float32
        assert 0 <= piece.min() <= piece.max() <= 1
        assert np.corrcoef(piece[..., 0].ravel(), piece[..., 1].ravel())[0, 1] > 0.95
        np.testing.assert_array_equal(piece, draw(Keys(0, number)("cloud")))
    assert not np.array_equal(piece, draw(Keys(0, 9)("cloud")))


def test_cloud_keeps_the_light_it_was_cut_out_with(tmp_path):
    light = np.tile(np.uint8([[[200, 150, 100]]]), (64, 64, 1))
    draw = cutouts_of(tmp_path, light, np.full((64, 64), 255, np.uint8))
    plain = {"crop_px": 64, "cut_share": 1.0, "channel_shift_px": 0.0, "picked_share": 0.0}
    plain |= {"jpeg_share": 0.0, "sensor_noise": 0.0, "haze_share": 0.0}
    settings = Defog(noise_share=1.0, **plain)
    clear = np.full((64, 64, 3), 0.2, np.float32)
    ratios = []
    for number in range(40):
        made = cloud_from(None, settings, draw)(Keys(0, number), clear)
        thick = made["opacity"][..., 0] > 0.99
        if thick.all():
            ratios.append(made["cloudy"].mean(axis=(0, 1)) / np.float32([200, 150, 100]) * 255)
    ratios = np.array(ratios)
    assert len(ratios) > 10
    low, high = DAY["cloud_brightness"]
    # Red is 4/3 of the mean here, and may have lost all of that or have it in another channel.
    assert ratios.min() > 0.96 * low * 0.5
    assert ratios.max() < high * 2
    assert np.ptp(ratios, axis=1).max() > 0.3  # of some the colour is gone or exchanged
    assert np.ptp(ratios, axis=1).min() < 0.1  # of others it is as it was


def test_training_samples_have_cut_outs_in_a_share_and_validation_has_none(tmp_path, tiny_settings):
    settings = tiny_settings(tmp_path)
    opacity = np.full((96, 96), 255, np.uint8)
    cutouts_of(tmp_path / "cut", np.full((96, 96, 3), 180, np.uint8), opacity)
    with_some = replace(settings, cut_folder=str(tmp_path / "cut"), cut_share=0.5)
    plain, cut = (mod_defog.samples(s, progress=False) for s in (settings, with_some))
    for number in range(4):
        a, b = (sides[1](number) for sides in (plain, cut))
        assert all((a[name] == b[name]).all() for name in a)
    same = [
        all((plain[0](n)[k] == cut[0](n)[k]).all() for k in ("cloudy", "clear", "opacity"))
        for n in range(60)
    ]
    assert 15 < sum(same) < 45
    none = mod_defog.samples(replace(with_some, cut_share=0.0), progress=False)[0]
    assert all((plain[0](n)["cloudy"] == none(n)["cloudy"]).all() for n in range(10))


@pytest.mark.parametrize(
    ("names", "sides", "reason"),
    [
        (("light",), (64, 64), "opacity"),
        (("light", "opacity"), (64, 32), "of one size"),
        ((), (64, 64), "prepare_data.py cut makes cut-outs"),
    ],
)
def test_a_folder_that_holds_no_cut_outs_is_refused(tmp_path, names, sides, reason):
    for name, side in zip(names, sides, strict=False):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((side, 64), 9, np.uint8)).save(tmp_path / name / "cloud.png")
    settings = Defog(cut_folder=str(tmp_path), cache_folder=str(tmp_path / "cache"))
    with pytest.raises(UserError, match="cut_folder = ") as caught:
        open_cutouts(settings, False)
    assert reason in str(caught.value)
    assert open_cutouts(Defog(), False) is None
