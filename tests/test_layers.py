"""Cloud layers are made of colour infrared, alpha and rasters, by the command line as well."""

import os

import cv2
import numpy as np
import pytest
import tifffile
from conftest import PROJECT
from make_zoo import noise
from PIL import Image
from test_noaa import drawn_by_noaa

import prepare_data
from configure import Defog
from util.pictures.pixels import PictureError
from util.pictures.read import read_picture
from util.prepare.layers import Finish, make_layers, opacity_of_layer
from util.say import UserError
from util.settings import from_texts

RAMP = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


def opacity_in(path, **how):
    return opacity_of_layer(path, max_pixels=10**6, **how)


def grey(path):
    pixels = read_picture(path)
    assert not np.ptp(pixels, axis=2).any()
    return pixels[..., 0]


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# --- the command line ---------------------------------------------------------------------------


def test_colour_infrared_becomes_layers_and_stopped_work_goes_on(tmp_path, capsys):
    source, out = tmp_path / "noaa", tmp_path / "layers"
    (source / "2018").mkdir(parents=True)
    pixels = drawn_by_noaa(np.repeat(RAMP, 4, axis=1))
    for name in ("a.png", "2018/b.png"):
        Image.fromarray(pixels).save(source / name)
    (source / "c.jpg").write_bytes(b"<html>")
    before = {path: path.read_bytes() for path in source.rglob("*.*")}
    words = ["noaa", str(source), "--out", str(out), "--line-px=0"]
    assert prepare_data.run(words) == 0
    assert "2 layers made" in (said := capsys.readouterr().err)
    assert "skipped" in said
    assert "c.jpg" in said
    assert tree(out) == ["2018/b.png", "a.png"]
    np.testing.assert_allclose(grey(out / "a.png"), np.repeat(RAMP, 4, axis=1) * 255, atol=0.51)
    assert {path: path.read_bytes() for path in before} == before

    (out / "a.png").unlink()
    os.utime(out / "2018" / "b.png", ns=(1, 1))
    assert prepare_data.run([*words, "--half"]) == 0
    assert grey(out / "a.png").shape == (4, 16)
    assert (out / "2018" / "b.png").stat().st_mtime_ns == 1, "it was made anew"
    assert prepare_data.run([*words, "--overwrite"]) == 0
    assert (out / "2018" / "b.png").stat().st_mtime_ns > 1
    with pytest.raises(UserError, match="is the folder"):
        prepare_data.run(["noaa", str(source), "--out", str(source)])
    for _ in range(2):
        assert prepare_data.run(["noaa", str(source), "--out", str(source / "made")]) == 0
    assert tree(source / "made") == ["2018/b.png", "a.png"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give a command"),
        (["noaa", "nowhere", "--out", "o"], "nowhere: No such file"),
        (["noaa", ".", "--out", "o"], "no picture found"),
        (["layers", ".", "--out", "o", "--max-pixels", "few"], "must be INT"),
        (["layers", ".", "--out", "o", "--max-pixel=9"], "did you mean --max-pixels"),
        (["layers", ".", "--out", "o", "--full-scale=9"], "not understood; see --help"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=why):
        prepare_data.run(words)


@pytest.mark.parametrize(
    "word",
    ["--limits=1,1", "--limits=x", "--blur-px=-1"]
    + [f"--limits={pair}" for pair in ("nan,1", "1,nan", "inf,1", "0,-inf", "0,1e300", "0,1e-60")],
)
def test_numbers_have_their_limits(word):
    with pytest.raises(SystemExit) as end:
        prepare_data.run(["layers", "x", "--out", "o", word])
    assert end.value.code == 2


def test_layers_of_half_the_size_have_windows_of_half_the_size(capsys):
    option = "--cloud-window-px 128,128"
    with pytest.raises(SystemExit):
        prepare_data.run(["noaa", "--help"])
    for text in (capsys.readouterr().out, (PROJECT / "docs" / "data.md").read_text("utf-8")):
        assert option in " ".join(text.split())
    source = {"preset": "source"}
    settings = from_texts(Defog, source)
    assert settings.cloud_window_px == 2 * (2 * settings.crop_px,)
    settings = from_texts(Defog, source | {"cloud_window_px": option.split()[1]})
    assert settings.cloud_window_px == 2 * (settings.crop_px,)


# --- what holds opacity -------------------------------------------------------------------------


def test_alpha_of_a_coloured_layer_is_its_opacity(tmp_path):
    alpha = np.rint(RAMP * 255).astype(np.uint8)
    Image.fromarray(np.dstack([noise(8, 8), alpha])).save(tmp_path / "a.png")
    np.testing.assert_allclose(opacity_in(tmp_path / "a.png"), RAMP, atol=0.003)
    Image.fromarray(noise(8, 8)).save(tmp_path / "b.png")
    with pytest.raises(PictureError, match=r"in colour.*prepare_data\.py noaa") as caught:
        opacity_in(tmp_path / "b.png")
    assert "prepare_data.py layers" not in str(caught.value)  # which says so itself
    first = read_picture(tmp_path / "b.png")[..., 0] / 255
    np.testing.assert_allclose(opacity_in(tmp_path / "b.png", limits=(0, 255)), first, atol=1e-6)
    Image.fromarray(alpha).save(tmp_path / "c.png")
    np.testing.assert_allclose(opacity_in(tmp_path / "c.png"), RAMP, atol=0.003)


def test_soft_alpha_of_a_grey_picture_counts_alone_and_a_mask_does_not(tmp_path):
    alpha, shade = np.rint(RAMP * 255).astype(np.uint8), noise(8, 8)[..., :1].repeat(3, axis=2)
    Image.fromarray(np.dstack([shade, alpha])).save(tmp_path / "a.png")
    np.testing.assert_allclose(opacity_in(tmp_path / "a.png"), RAMP, atol=0.003)
    mask = np.where(np.arange(64).reshape(8, 8) < 20, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([shade, mask])).save(tmp_path / "b.png")
    expected = shade[..., 0] / 255 * (mask > 0)
    np.testing.assert_allclose(opacity_in(tmp_path / "b.png"), expected, atol=0.003)


def test_values_of_another_range_need_limits_and_are_told_so(tmp_path, capsys):
    for n, values in enumerate([200 + 100 * RAMP, *3 * [np.uint16(10_000 * RAMP)]]):
        tifffile.imwrite(tmp_path / f"{n}.tif", values, photometric="minisblack")
    words = ["layers", str(tmp_path), "--out", str(tmp_path / "out")]
    assert prepare_data.run(words) == 0
    said = capsys.readouterr().err
    remedy = "; give --limits, the values of no cloud and of opaque cloud\n"
    assert f"values from 200 to 300 have no known range{remedy}" in said
    assert f"{tmp_path / '3.tif'}: its values reach 10000 of 65535" in said
    assert said.count(remedy) == 4
    assert "full_scale" not in said
    assert prepare_data.run([*words, "--limits=0,10000", "--overwrite"]) == 0
    assert "--limits" not in capsys.readouterr().err


def test_values_in_place_of_colours_are_told_what_takes_them(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", 200 + 100 * RAMP, photometric="minisblack")
    words = [str(tmp_path), "--out", str(tmp_path / "out")]
    assert prepare_data.run(["noaa", *words]) == 1
    said = capsys.readouterr().err
    assert "a.tif: values from 200 to 300 have no known range; save it in 8 bits" in said
    assert "full_scale" not in said  # an option that noaa does not have
    assert prepare_data.run(["layers", *words, "--limits=300,200"]) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint16])
def test_the_first_band_of_a_raster_between_its_limits(tmp_path, dtype):
    kelvin = (300 - 100 * RAMP).astype(dtype)
    bands = np.stack([kelvin, np.zeros_like(kelvin)])
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="separate")
    found = opacity_in(tmp_path / "a.tif", limits=(290, 220))
    np.testing.assert_allclose(found, np.clip((290.0 - kelvin) / 70, 0, 1), atol=1e-5)


def test_where_a_raster_holds_nothing_is_no_cloud(tmp_path):
    kelvin = np.full((8, 8), 220, np.float32)
    kelvin[0], kelvin[1] = np.nan, -9999
    nodata = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "a.tif", kelvin, photometric="minisblack", extratags=nodata)
    found = opacity_in(tmp_path / "a.tif", limits=(290, 220))
    assert found[2:].min() == 1
    assert not found[:2].any()


# --- finish -------------------------------------------------------------------------------------


def test_each_finish_is_what_it_says():
    opacity = np.random.default_rng(0).random((12, 10), np.float32) * 0.5
    np.testing.assert_array_equal(Finish()(opacity), opacity)
    np.testing.assert_array_equal(Finish(bottom_px=3)(opacity), opacity[:9])
    means = opacity.reshape(6, 2, 5, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(Finish(half=True)(opacity), means, atol=1e-6)
    np.testing.assert_allclose(Finish(blur_px=5)(opacity), cv2.blur(opacity, (5, 5)), atol=1e-6)
    stretched = Finish(stretched=True)(opacity)
    assert (stretched.min(), stretched.max()) == (0, pytest.approx(1))
    with pytest.raises(PictureError, match="nothing of it is left"):
        Finish(bottom_px=12)(opacity)


def test_a_full_disk_is_a_line_that_says_so(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")

    def full(*_):
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr("util.prepare.each.write_picture", full)
    with pytest.raises(UserError, match=r"--out there: No space.*after 0 layers"):
        make_layers(tmp_path / "a.png", tmp_path / "out", opacity_in, Finish())
