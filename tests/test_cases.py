"""What people's files are really like, through apply, evaluate and what training is fed with.

Each is one that somebody reported: a collar of nodata, reflectance with a sign, a fourth band, a
folder from a NAS. Values are compared, not only whether it went well.
"""

import csv
import unicodedata

import cv2
import numpy as np
import pytest
import tifffile
from make_zoo import collar_of, ground_of, three, write_tiff
from PIL import Image
from stand_ins import clearer, dehazer, filler, run_task, use

from util.measure.scores import psnr
from util.pictures.read import read_picture
from util.pictures.store import PictureStore
from util.pictures.write import write_picture
from util.samples.ground import open_grounds
from util.samples.keys import Keys
from util.samples.pairs import paired_samples

GROUND, COLLAR = ground_of(), collar_of()


def with_collar(value, dtype=np.uint8, scale=1.0):
    """Return ground in another type and unit, with a collar of a value."""
    values = (GROUND * scale).astype(dtype)
    values[COLLAR] = value
    return values


def applied(monkeypatch, capsys, network, *words):
    """Apply a stand-in; return the exit status and what was said."""
    use(monkeypatch, network)
    return run_task(capsys, network.task, "apply", *words, "--devices=cpu")


# --- pixels that are no ground, types, bands ------------------------------------------------------

# What is written, and the nodata and full_scale that belong to it.
COLLARS = {
    "255": (with_collar(255), 255, 0.0),
    "0": (with_collar(0), 0, 0.0),
    "of 16 bits": (with_collar(65535, np.uint16, 40.0), 65535, 10_000.0),
    "reflectance": (with_collar(-9999, np.int16, 40.0), -9999, 10_000.0),
    "NaN": (with_collar(np.nan, np.float32, 1 / 255), None, 0.0),
    "float": (with_collar(-3.4028234663852886e38, np.float32, 40.0), -3.4028234663852886e38, 1e4),
}


@pytest.mark.parametrize("network", [clearer, dehazer])
@pytest.mark.parametrize("name", COLLARS)
def test_a_collar_comes_out_as_it_was_and_has_no_say(tmp_path, monkeypatch, capsys, network, name):
    values, nodata, scale = COLLARS[name]
    write_tiff(tmp_path / "a.tif", values, nodata)
    inner = np.where(COLLAR[..., None], np.median(GROUND), GROUND).astype(np.uint8)
    write_picture(tmp_path / "inner.png", inner)
    trained, calls = network(full_scale=scale, clear_below=0.05)
    status, _ = applied(monkeypatch, capsys, trained, tmp_path / "a.tif", "--out", tmp_path / "o")
    assert status == 0
    made = tifffile.imread(tmp_path / "o" / "a.tif")
    assert made.dtype == values.dtype
    np.testing.assert_array_equal(made[COLLAR], values[COLLAR])
    assert (made[~COLLAR] != values[~COLLAR]).any()
    given = next(iter(calls[0].values()))  # ground alone, all of it within its own range
    assert 59 / 255 < given.min() < given.max() < 181 / 255
    if network is clearer:
        opacity = read_picture(tmp_path / "o" / "a_opacity.png")[..., 0]
        assert not opacity[COLLAR].any()
        kept = opacity < round(0.05 * 255)
        assert kept[~COLLAR].any()
        np.testing.assert_array_equal(made[kept], values[kept])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("under", [0, 255])
def test_what_alpha_hides_stays_and_alpha_too(tmp_path, monkeypatch, capsys, suffix, under):
    alpha = np.where(COLLAR, 0, 255).astype(np.uint8)
    alpha[30:34, 30:50] = 128
    whole = np.dstack([with_collar(under), alpha])
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        Image.fromarray(whole).save(path)
    else:
        write_tiff(path, whole, extra=["unassalpha"])
    applied(monkeypatch, capsys, dehazer()[0], path, "--out", tmp_path / "o")
    made = np.asarray(Image.open(tmp_path / "o" / path.name))
    np.testing.assert_array_equal(made[..., 3], alpha)
    np.testing.assert_array_equal(made[COLLAR], whole[COLLAR])
    other = np.dstack([with_collar(90), alpha])
    Image.fromarray(other).save(tmp_path / "other.png")
    applied(monkeypatch, capsys, dehazer()[0], tmp_path / "other.png", "--out", tmp_path / "o")
    again = np.asarray(Image.open(tmp_path / "o" / "other.png"))
    np.testing.assert_array_equal(again[~COLLAR], made[~COLLAR])


@pytest.mark.parametrize("kind", ["unspecified", "unassalpha"])
def test_infra_red_stays_whatever_it_is_called(tmp_path, monkeypatch, capsys, kind):
    infra_red = np.clip(GROUND[..., 1].astype(int) * 2 - 120, 0, 255).astype(np.uint8)
    write_tiff(tmp_path / "a.tif", np.dstack([GROUND, infra_red]), extra=[kind])
    write_picture(tmp_path / "plain.png", GROUND)
    trained = dehazer()[0]
    words = tmp_path / "a.tif", tmp_path / "plain.png", "--out", tmp_path / "o"
    assert applied(monkeypatch, capsys, trained, *words)[0] == 0
    made = tifffile.imread(tmp_path / "o" / "a.tif")
    np.testing.assert_array_equal(made[..., 3], infra_red)
    np.testing.assert_array_equal(made[..., :3], read_picture(tmp_path / "o" / "plain.png"))
    # It is no mask: whoever repaints holes has to say where they are.
    if kind == "unassalpha":
        path, out = tmp_path / "a.tif", tmp_path / "h"
        status, said = applied(monkeypatch, capsys, filler()[0], path, "--out", out)
        assert status == 1
        assert "a.tif: its alpha has many middle values" in said
        assert "--holes" in said
        hole = np.zeros_like(COLLAR)
        hole[20:30, 20:40] = True
        write_picture(tmp_path / "mask.png", hole * np.uint8(255))
        words = path, "--out", out, "--holes", tmp_path / "mask.png"
        assert applied(monkeypatch, capsys, filler()[0], *words)[0] == 0
        np.testing.assert_array_equal(tifffile.imread(out / "a.tif")[~hole][:, :3], GROUND[~hole])


def test_a_compressed_tiff_stays_small_and_keeps_its_place(tmp_path, monkeypatch, capsys):
    flat = np.repeat(ground_of(256, 4), 64, axis=1)
    how = {"tile": (64, 64), "compression": "zlib", "predictor": True}
    write_tiff(tmp_path / "a.tif", flat, **how)
    trained, _ = clearer(clear_below=0.5)
    assert (
        applied(monkeypatch, capsys, trained, tmp_path / "a.tif", "--out", tmp_path / "o")[0] == 0
    )
    sizes = [(place / "a.tif").stat().st_size for place in (tmp_path, tmp_path / "o")]
    assert sizes[1] < 2 * sizes[0] < flat.nbytes / 4
    with tifffile.TiffFile(tmp_path / "o" / "a.tif") as tiff:
        tags = tiff.pages.first.tags
        assert tags[33922].value == (0, 0, 0, 600000, 5300040, 0)
        assert tags[34735].value[-1] == 32632


def test_a_drones_picture_keeps_its_gps_and_world_file(tmp_path, monkeypatch, capsys):
    exif = Image.Exif()
    exif[274] = 1
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 51.0, 21.5)})
    Image.fromarray(GROUND).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (tmp_path / "a.jgw").write_text("10\n0\n0\n-10\n600005\n5300035\n")
    applied(monkeypatch, capsys, dehazer()[0], tmp_path / "a.jpg", "--out", tmp_path / "o")
    with Image.open(tmp_path / "o" / "a.png") as image:
        assert image.getexif().get_ifd(0x8825)[2] == (33.0, 51.0, 21.5)
    assert (tmp_path / "o" / "a.pgw").read_text() == (tmp_path / "a.jgw").read_text()


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (3, 3), (33, 65)])
def test_tiny_and_thin(tmp_path, monkeypatch, capsys, size):
    write_picture(tmp_path / "a.png", ground_of(*size))
    assert (
        applied(monkeypatch, capsys, clearer()[0], tmp_path / "a.png", "--out", tmp_path / "o")[0]
        == 0
    )
    assert read_picture(tmp_path / "o" / "a.png").shape == (*size, 3)


def test_cmyk_has_its_colours(tmp_path):
    picture = GROUND.copy()
    picture[20:40, 20:50] = (200, 30, 30)
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    found = read_picture(tmp_path / "a.jpg").astype(int)
    assert np.abs(found - picture).mean() < 6


# --- a scale that is not set ----------------------------------------------------------------------


def test_little_of_the_range_is_said_once_with_the_value(
    tmp_path, monkeypatch, capsys, tiny_settings
):
    for name in "abcd":
        write_tiff(tmp_path / f"{name}.tif", (GROUND * 40.0).astype(np.uint16))
    applied(monkeypatch, capsys, dehazer()[0], tmp_path, "--out", tmp_path / "o")
    trained = dehazer(full_scale=10_000.0)[0]
    first = applied(monkeypatch, capsys, dehazer()[0], tmp_path, "--out", tmp_path / "p")[1]
    second = applied(monkeypatch, capsys, trained, tmp_path, "--out", tmp_path / "q")[1]
    assert first.count("set full_scale to the value that means white, perhaps 10000") == 1
    assert "full_scale" not in second
    settings = {"clear_folder": str(tmp_path), "crop_px": 64}
    open_grounds(tiny_settings(tmp_path / "run", **settings), progress=False)
    assert capsys.readouterr().err.count("perhaps 10000") == 1
    scaled = tiny_settings(tmp_path / "run", full_scale=10_000.0, **settings)
    open_grounds(scaled, progress=False)
    assert "perhaps" not in capsys.readouterr().err


# --- what training and scores see -----------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_no_training_crop_shows_a_collar(tmp_path, tiny_settings, compression):
    place = tmp_path / "clear"
    place.mkdir()
    collar = collar_of(300, 320)
    for name, nodata in (("a", 0), ("b", 255)):
        pixels = np.full((300, 320, 3), 100, np.uint8)
        pixels[:, ::2] = 120  # what is filled has no such stripes
        pixels[collar] = nodata
        write_tiff(place / f"{name}.tif", pixels, nodata, compression=compression)
    settings = tiny_settings(tmp_path, clear_folder=str(place), crop_px=64, ground_zoom=(1.0, 1.0))
    for ground in open_grounds(settings, progress=False):
        for number in range(40):
            keys = Keys(ground.seed, number)
            crop = ground.window(ground.store, ground.index(keys), keys)
            steps = [np.abs(np.diff(crop.astype(int), axis=axis)) for axis in (0, 1)]
            assert any((step == 20).all() for step in steps)
    store = PictureStore([place / "a.tif"], tmp_path / "cache", crop_px=64, progress=False)
    assert not store.shows_ground(0, 0, 0, 64, 64)
    assert store.shows_ground(0, 120, 120, 64, 64)
    assert store.pixels(0, 0, 0, 300, 320).min() == 100


def test_pairs_are_cut_alike_where_one_of_them_has_a_collar(tmp_path, tiny_settings):
    collar = collar_of(300, 320)
    for side in ("clear", "hazy"):
        (tmp_path / side).mkdir()
        for name in "ab":
            pixels = ground_of(300, 320, seed=ord(name))
            if side == "hazy":
                pixels[collar] = 0
            write_tiff(tmp_path / side / f"{name}.tif", pixels, 0)
    settings = tiny_settings(
        tmp_path, "mod_deblurgan", crop_px=64, ground_zoom=(1.0, 1.0),
        clear_folder=str(tmp_path / "clear"), hazy_folder=str(tmp_path / "hazy"),
    )  # fmt: skip
    for samples in paired_samples(settings, progress=False):
        for number in range(20):
            sample = samples(number)
            np.testing.assert_array_equal(sample["hazy"], sample["clear"])


def test_a_cloud_layer_takes_its_alpha_and_a_cut_out_cloud_both(tmp_path):
    alpha = np.rint(np.linspace(0, 255, 64 * 80).reshape(64, 80)).astype(np.uint8)
    for name, colours in (
        ("white", np.full_like(GROUND, 255)),
        ("grey", np.full_like(GROUND, 150)),
    ):
        Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / f"{name}.png")
    Image.fromarray(np.dstack([three(GROUND[..., 0]), alpha])).save(tmp_path / "shaded.png")
    write_tiff(
        tmp_path / "map.tif", np.dstack([np.full_like(GROUND, 255), alpha]), extra=["unassalpha"]
    )
    expected = dict.fromkeys(("white", "grey", "map"), alpha)
    expected["shaded"] = np.rint(GROUND[..., 0] * (alpha / 255))
    for name, values in expected.items():
        path = next(tmp_path.glob(f"{name}.*"))
        store = PictureStore([path], tmp_path / "c", crop_px=32, grey=True, progress=False)
        np.testing.assert_allclose(store.whole(0)[..., 0] * 255, values, atol=1, err_msg=name)


def test_a_script_learns_from_cloud_layers_in_alpha(tmp_path, one_by_one):
    clouds = tmp_path / "clouds"
    clouds.mkdir()
    for number in range(3):
        alpha = ground_of(128, 128, number)[..., 0]
        alpha = ((alpha.astype(int) - 60) * 2).astype(np.uint8)
        Image.fromarray(np.dstack([three(np.full_like(alpha, 255)), alpha])).save(
            clouds / f"{number}.png"
        )
    layers_alone = {"clear_share": 0.0, "veil_share": 0.0, "cumulus_share": 0.0}
    layers_alone |= {"noise_share": 0.0, "haze_share": 0.0, "greatest_opacity": (1.0, 1.0)}
    _, step, batch, _ = one_by_one("mod_defog", cloud_folder=str(clouds), **layers_alone)
    given = batch()
    opacity = given["opacity"].numpy()
    assert opacity.std(axis=(1, 2)).min() > 0.05  # a layer read as white would be one value
    metrics, skipped = step(given)
    assert skipped == 0
    assert all(np.isfinite(float(value)) for value in metrics.values())


def test_scores_leave_out_what_is_no_ground(tmp_path, monkeypatch, capsys):
    for side, seed in (("damaged", 1), ("clear", 0)):
        (tmp_path / side).mkdir()
        pixels = ground_of(seed=seed)
        pixels[COLLAR] = 255 if side == "damaged" else 0
        write_tiff(tmp_path / side / "a.tif", pixels, 255 if side == "damaged" else 0)
    network = dehazer()[0]
    use(monkeypatch, network)
    words = "--pairs", tmp_path / "damaged", tmp_path / "clear", "--csv", tmp_path / "s.csv"
    status, _ = run_task(capsys, network.task, "evaluate", *words, "--devices=cpu")
    assert status == 0
    with open(tmp_path / "s.csv", newline="", encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    a, b = (ground_of(seed=seed).astype(np.float32) / 255 for seed in (1, 0))
    assert float(rows["nothing"]["psnr_whole"]) == pytest.approx(psnr(a, b, ~COLLAR), abs=1e-3)


# --- every input is accounted for -----------------------------------------------------------------


def test_two_links_to_one_content_and_one_that_leads_nowhere(tmp_path, monkeypatch, capsys):
    store, place, out = tmp_path / ".annex", tmp_path / "in", tmp_path / "o"
    store.mkdir()
    place.mkdir()
    write_picture(store / "3f.png", GROUND)
    try:
        for name, target in (("may", "3f"), ("again", "3f"), ("gone", "77")):
            (place / f"{name}.png").symlink_to(store / f"{target}.png")
    except OSError:
        pytest.skip("no links on this system")
    _, said = applied(monkeypatch, capsys, dehazer()[0], place, place / "may.png", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["again.png", "may.png"]
    assert "1 links that lead nowhere" in said


def test_what_a_mac_a_nas_and_a_satellite_leave_behind(tmp_path, monkeypatch, capsys):
    place, out = tmp_path / "in", tmp_path / "o"
    for folder in ("", "@eaDir/a.png", "__MACOSX", ".ipynb_checkpoints", "#recycle"):
        (place / folder).mkdir(parents=True, exist_ok=True)
        write_picture(place / folder / "a.png", GROUND)
    for name in ("._a.png", "Thumbs.db", "B02.jp2", "B03.JP2", "me.heic"):
        (place / name).write_bytes(b"\0\x05\x16\x07")
    _, said = applied(monkeypatch, capsys, dehazer()[0], place, "--out", out)
    assert [path.relative_to(out).as_posix() for path in out.rglob("*")] == ["a.png"]
    assert "cannot be read: 1 .heic, 2 .jp2" in said
    assert "1 restored" in said
    assert "0 failed" in said


HOLE = np.zeros_like(COLLAR)
HOLE[20:40, 30:60] = True
MASK = HOLE * np.uint8(255)


def holes_applied(monkeypatch, capsys, tmp_path, source, holes):
    words = source, "--out", tmp_path / "o", "--holes", holes
    return applied(monkeypatch, capsys, filler()[0], *words)


@pytest.mark.parametrize(
    ("picture", "mask"),
    [("a.png", "a_mask.png"), ("a.png", "a_opacity.png"), ("a.jpg", "a.png"),
     ("a.tif", "a_mask.tif")],
)  # fmt: skip
def test_masks_beside_the_pictures(tmp_path, monkeypatch, capsys, picture, mask):
    place = tmp_path / "in"
    place.mkdir()
    write_picture(place / picture, GROUND)
    write_picture(place / mask, MASK)
    write_picture(place / "alone.png", GROUND)
    status, said = holes_applied(monkeypatch, capsys, tmp_path, place, place)
    assert status == 0
    assert "1 restored" in said
    assert "1 failed" in said
    assert "alone.png: no mask" in said
    (made,) = (tmp_path / "o").iterdir()
    came = read_picture(place / picture)
    np.testing.assert_array_equal(read_picture(made)[~HOLE], came[~HOLE])
    assert (read_picture(made)[HOLE] != came[HOLE]).any()


def test_what_one_command_writes_the_next_one_takes(tmp_path, monkeypatch, capsys):
    opacity = np.rint(np.linspace(0, 1, 64 * 80).reshape(64, 80) * 255).astype(np.uint8)
    (tmp_path / "in").mkdir()
    (tmp_path / "found").mkdir()
    write_picture(tmp_path / "in" / "a.png", GROUND)
    write_picture(tmp_path / "found" / "a.png", GROUND)  # the other network's result
    write_picture(tmp_path / "found" / "a_opacity.png", opacity)
    _, said = holes_applied(monkeypatch, capsys, tmp_path, tmp_path / "in", tmp_path / "found")
    assert said.count("hole_opacity_from = 0.75") == 1
    changed = (read_picture(tmp_path / "o" / "a.png") != GROUND).any(axis=-1)
    thick = opacity >= 0.75 * 255
    assert not changed[~thick].any()
    assert changed[thick].mean() > 0.9


def test_a_mask_is_understood_by_its_alpha_or_named(tmp_path, monkeypatch, capsys):
    place = tmp_path / "masks"
    (tmp_path / "in").mkdir()
    place.mkdir()
    white = np.full_like(GROUND, 255)
    for name, mask in (("paint", np.dstack([white, MASK])), ("cut", np.dstack([GROUND, ~MASK])),
                       ("black", np.dstack([white * 0, MASK]))):  # fmt: skip
        Image.fromarray(mask).save(place / f"{name}.png")
        write_picture(tmp_path / "in" / f"{name}.png", GROUND)
    _, said = holes_applied(monkeypatch, capsys, tmp_path, tmp_path / "in", place)
    changed = (read_picture(tmp_path / "o" / "paint.png") != GROUND).any(axis=-1)
    assert not changed[~HOLE].any()
    assert changed[HOLE].mean() > 0.9
    for name in ("cut", "black"):
        assert f"{name}.png: what its transparent pixels mean is not clear" in said


def test_names_in_other_unicode_forms_are_one_name(tmp_path, monkeypatch, capsys):
    place = tmp_path / "masks"
    (tmp_path / "in").mkdir()
    place.mkdir()
    picture = tmp_path / "in" / unicodedata.normalize("NFC", "Wölken.png")
    write_picture(picture, GROUND)
    write_picture(place / unicodedata.normalize("NFD", picture.name), MASK)
    status, said = holes_applied(monkeypatch, capsys, tmp_path, tmp_path / "in", place)
    assert (status, "1 restored" in said) == (0, True)
    assert (tmp_path / "o" / picture.name).exists()


def test_transparent_holes_are_painted_and_shown(tmp_path, monkeypatch, capsys):
    whole = np.dstack([np.where(HOLE[..., None], 0, GROUND).astype(np.uint8), ~MASK])
    cv2.imwrite(str(tmp_path / "a.png"), whole[..., [2, 1, 0, 3]])
    words = tmp_path / "a.png", "--out", tmp_path / "o"
    assert applied(monkeypatch, capsys, filler()[0], *words)[0] == 0
    made = np.asarray(Image.open(tmp_path / "o" / "a.png"))
    assert (made[..., 3] == 255).all()
    np.testing.assert_array_equal(made[~HOLE][:, :3], GROUND[~HOLE])
    assert (made[HOLE][:, :3] > 0).any()
