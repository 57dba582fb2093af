"""cloud_removal.py: files and arrays through the chain, on the weights that come along."""

import csv

import cv2
import numpy as np
import pytest
from conftest import PROJECT, task_of
from stand_ins import picture
from test_shadows import in_shadow, pixels_of, scene

import cloud_removal
from cloud_removal import remove_clouds
from util import command, interrupt
from util.pictures import gdal
from util.pictures.read import read_picture
from util.pictures.write import write_picture
from util.run import checkpoint
from util.run.folder import RunFolder, weights_file
from util.train import loop
from util.use import chain, pictures, trained

FOUND = trained.found
CLOUDY = PROJECT / "tests" / "golden" / "cloudy.png"


@pytest.fixture(autouse=True)
def nothing_trained(monkeypatch):
    """mod_defog's network is that which comes along, whatever lies in runs; others have none."""
    mine = weights_file(cloud_removal.DEFOG)
    monkeypatch.setattr(trained, "found", lambda task, _: [mine] if task.name == mine.stem else [])


@pytest.fixture
def run(capsys):
    """Return a function: words -> (exit status, what was said)."""

    def run(*words):
        words = [*map(str, words), "--devices=cpu"]
        with pytest.raises(SystemExit) as end:
            command.exit_with("cloud_removal", cloud_removal.run, words)
        interrupt.leave()
        said = capsys.readouterr()
        return end.value.code, said.out + said.err

    return run


@pytest.fixture
def five(tmp_path):
    """A folder of five small cloudy pictures, one of them in a sub-folder, one JPEG."""
    source, cloudy = tmp_path / "in", read_picture(CLOUDY)[:64, :80]
    (source / "sub").mkdir(parents=True)
    for name in ("a.png", "b.tif", "c.bmp", "d.jpg", "sub/a.png"):
        write_picture(source / name, cloudy)
    return source


def names_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# ---- files ----


def test_a_folder_in_ground_opacity_confidence_and_preview_out(run, five, tmp_path):
    out = tmp_path / "out"
    status, said = run(five, "--out", out, "--preview")
    assert status == 0
    assert "repainted by harmonic; mod_GAN_poly is not trained yet" in said
    assert "5 restored" in said
    assert "cleared by" in said
    ends = ("", "_confidence", "_opacity", "_preview")
    wanted = [f"{stem}{end}.png" for stem in ("a", "b", "c", "d", "sub/a") for end in ends]
    wanted[wanted.index("c.png")] = "c.bmp"
    wanted[wanted.index("b.png")] = "b.tif"
    end = ".tif" if gdal.available() else ".png"
    for name in ("opacity", "confidence"):
        wanted[wanted.index(f"b_{name}.png")] = f"b_{name}{end}"
    assert names_in(out) == sorted(wanted)
    came, made = read_picture(five / "b.tif"), read_picture(out / "b.tif")
    found = {n: cv2.imread(str(out / f"b_{n}{end}"), -1) for n in ("opacity", "confidence")}
    assert all((m.dtype, m.shape) == (np.uint8, came.shape[:2]) for m in found.values())
    own = found["confidence"] == 255
    np.testing.assert_array_equal(made[own], came[own])
    assert (made != came).any()
    assert cv2.imread(str(out / "a_preview.png")).shape == (64, 240, 3)
    before = {name: (out / name).read_bytes() for name in names_in(out)}
    status, said = run(five, "--out", out)
    assert status == 0
    assert "5 skipped because they exist" in said
    assert before == {name: (out / name).read_bytes() for name in names_in(out)}


@pytest.mark.parametrize("end", ["png", "tif"])
def test_where_next_to_no_cloud_is_found_a_line_says_what_finds_grey_cloud(run, tmp_path, end):
    source, cloudy = tmp_path / "in", read_picture(CLOUDY)[:70, 60:150]
    source.mkdir()
    write_picture(source / f"cloudy.{end}", cloudy)
    write_picture(source / f"grey.{end}", cloudy // 2)
    hint = "1 of 2 have next to no opaque cloud; if one sees some, --cloud-white 0.5"
    _, said = run(source, "--out", tmp_path / "out")
    assert hint in said
    for given in (["--cloud-white", "0.5"], ["--clear", "dcp"]):
        _, said = run(source, "--out", tmp_path / given[-1], *given)
        assert "2 restored" in said
        assert "next to no opaque cloud" not in said


def test_a_trained_painter_is_taken_by_itself(run, five, tiny_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "found", FOUND)
    monkeypatch.setattr(chain, "_NARROW_PX", 0)  # or all of so small a picture were filled smoothly
    task, settings = task_of("mod_GAN_poly"), tiny_settings(tmp_path, "mod_GAN_poly")
    state = task.make_state(settings)
    best = RunFolder(task.name, settings).best
    checkpoint.save(best, state, loop.describe(task, settings, {}))
    words = five / "a.png", "--repaint-from=.3", f"--runs-folder={settings.runs_folder}"
    status, said = run(*words, "--out", tmp_path / "painted")
    assert status == 0
    assert "what is hidden is repainted by mod_GAN_poly (see --repaint)" in said
    assert f"repainted by {best}" in said
    run(*words, "--repaint=harmonic", "--out", tmp_path / "smooth")
    painted, smooth = (read_picture(tmp_path / n / "a.png") for n in ("painted", "smooth"))
    opacity = cv2.imread(str(tmp_path / "painted" / "a_opacity.png"), -1)
    differs = (painted != smooth).any(axis=-1)
    assert differs[opacity > 0.4 * 255].mean() > 0.9
    assert not differs[opacity < 8].any()


def test_detail_is_laid_on_what_is_painted_and_on_nothing_else(run, tmp_path):
    for share in (0, 0.75):
        words = "--detail", share, "--repaint", "harmonic", "--out", tmp_path / f"{share}"
        assert run(CLOUDY, *words)[0] == 0
    smooth, detailed = (read_picture(tmp_path / n / CLOUDY.name) for n in ("0", "0.75"))
    confidence, same = (
        cv2.imread(str(tmp_path / n / f"{CLOUDY.stem}_confidence.png"), -1) for n in ("0", "0.75")
    )
    np.testing.assert_array_equal(confidence, same)
    differs = (smooth != detailed).any(axis=-1)
    assert not differs[confidence >= 64].any()
    assert differs[confidence == 0].mean() > 0.5
    made = remove_clouds(read_picture(CLOUDY), repaint="harmonic", detail=0.75).ground
    np.testing.assert_array_equal(made, detailed)


def test_what_is_hidden_is_painted_from_ground_that_has_its_light_back(run, tmp_path):
    ground, shaded, cloud = scene()
    opacity = np.float32(cloud / 255)[..., None]
    cloudy = pixels_of(shaded * (1 - opacity) + opacity)
    plain, relit = (
        remove_clouds(cloudy, repaint="harmonic", shadows=wanted) for wanted in (False, True)
    )
    deep, lit = in_shadow(ground, shaded, cloud)

    def off(made, here):
        return np.abs(made.ground / 255 - ground)[here].mean()

    assert off(relit, deep) < 0.4 * off(plain, deep)
    assert off(relit, cloud > 250) < off(plain, cloud > 250)
    assert (relit.opacity != plain.opacity)[deep].mean() < 0.01
    assert np.median(relit.confidence[deep]) == pytest.approx(0.5, abs=0.1)
    assert (relit.ground != plain.ground).any(axis=2)[lit].mean() < 0.01
    own = relit.confidence == 1
    np.testing.assert_array_equal(relit.ground[own], cloudy[own])
    write_picture(tmp_path / "cloudy.png", cloudy)
    words = tmp_path / "cloudy.png", "--shadows", "--repaint", "harmonic", "--out", tmp_path / "out"
    assert run(*words)[0] == 0
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "cloudy.png"), relit.ground)


def test_parts_share_the_work_and_the_names(run, five, tmp_path):
    write_picture(five / "a.jpg", read_picture(CLOUDY)[:64, :64])  # gives way to a.png
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    run(five, "--out", whole)
    counts = []
    for k in range(1, 5):
        before = len(names_in(shared)) if shared.exists() else 0
        status, _ = run(five, "--out", shared, "--part", f"{k}/4")
        assert status == 0
        counts.append((len(names_in(shared)) - before) // 3)
    assert counts == [2, 2, 1, 1]
    assert names_in(shared) == names_in(whole)
    for name in names_in(whole):
        assert (whole / name).read_bytes() == (shared / name).read_bytes()
    assert run(five, "--out", shared, "--part", "9/9")[0] == 0  # six pictures: nothing to do
    for wrong in ("0/4", "5/4", "1", "a/b"):
        status, said = run(five, "--out", shared, "--part", wrong)
        assert status == 2
        assert "K/N" in said


def test_what_appears_meanwhile_is_skipped(run, five, tmp_path, monkeypatch):
    out, real = tmp_path / "out", pictures.write_picture

    def another_writes_too(path, *what):
        real(path, *what)
        if path == out / "a.png":
            (out / "b.tif").write_bytes(b"of another process")

    monkeypatch.setattr(pictures, "write_picture", another_writes_too)
    status, said = run(five / "a.png", five / "b.tif", "--out", out)
    assert status == 0
    assert "1 restored" in said
    assert "b.tif exists" in said
    assert (out / "b.tif").read_bytes() == b"of another process"


def test_nodata_stays_and_nothing_is_known_of_it(run, tmp_path):
    cloudy = read_picture(CLOUDY)[:64, :80]
    alpha = np.full((64, 80, 1), 255, np.uint8)
    alpha[:, :20] = 0
    rgba = np.concatenate([cloudy[..., ::-1], alpha], axis=-1)
    assert cv2.imwrite(str(tmp_path / "a.png"), rgba)
    assert run(tmp_path / "a.png", "--out", tmp_path / "out")[0] == 0
    made = cv2.imread(str(tmp_path / "out" / "a.png"), -1)
    np.testing.assert_array_equal(made[:, :20], rgba[:, :20])
    for name in ("opacity", "confidence"):
        assert not cv2.imread(str(tmp_path / "out" / f"a_{name}.png"), -1)[:, :20].any()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--repaint", "brush"], "--repaint brush: must be one of mod_GAN_poly, telea"),
        (["--clear", "mod_GAN_poly"], "--clear mod_GAN_poly: must be one of mod_defog, mod_mend"),
        (["--repaint-from", "1.5"], "must be above 0 and at most 1"),
        (["--detail", "1.5"], "--detail 1.5: must be from 0 to 1"),
        (["--repaint", "mod_GAN_poly"], "train one first: python mod_GAN_poly.py"),
        (["--apply-tile-px", "9"], "apply_tile_px = 9"),
        (["--cloud-white", "0"], "cloud_white = 0"),
        (["--cloud-white", "0.5", "--clear", "dcp"], "--cloud-white is for a network"),
        (["--fnord"], "--fnord: not understood"),
    ],
)
def test_mistakes_are_said_in_a_line(words, text, run, five, tmp_path):
    status, said = run(five, "--out", tmp_path / "out", *words)
    assert status == 2
    assert text in said
    assert not (tmp_path / "out").exists()


# ---- measured ----


def test_the_chain_is_measured_beside_its_parts_under_each_kind_of_cloud(run, tmp_path):
    file = tmp_path / "a.csv"
    words = "--count", 1, "--csv", file, "--repaint=telea", f"--cache-folder={tmp_path}"
    status, said = run("evaluate", *words)
    assert status == 0
    with open(file, encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    found = {(row["condition"], row["method"]): row for row in rows}
    methods = [
        "nothing", "mod_defog alone", "mod_defog + telea", "mod_defog + ns",
        "mod_defog + biharmonic", "mod_defog + harmonic", "dcp alone", "dcp + telea",
        "oracle: unmix + Telea",
    ]  # fmt: skip
    assert list(found) == [(c, m) for c in ("thin", "mixed", "thick", "cumulus") for m in methods]
    for (condition, _), row in found.items():
        nothing = float(found[condition, "nothing"]["psnr_whole"])
        gain = float(row["psnr_whole"]) - nothing
        assert float(row["gain"]) == pytest.approx(gain, abs=1e-3)
    assert run("evaluate", "--count", 0) == (2, "cloud_removal: --count 0: must be 1 or more\n")
    assert float(found["thick", methods[-1]]["gain"]) > 5
    for method in methods:
        assert sum(line.startswith(method + " ") for line in said.splitlines()) == 4


# ---- arrays ----


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("clear", ["mod_defog", "dcp"])
def test_arrays_of_any_type_and_order_of_bands(clear, dtype):
    eight = read_picture(CLOUDY)[:70, 60:150]  # cloud and clear ground, for either method
    scale = {np.uint8: 1, np.uint16: 257, np.float32: np.float32(1 / 255)}[dtype]
    came = eight.astype(dtype) * scale
    before = came.copy()
    found = remove_clouds(came, clear=clear)
    np.testing.assert_array_equal(came, before)
    assert found.ground.dtype == dtype
    assert found.ground.shape == came.shape
    for part in (found.opacity, found.confidence):
        assert part.dtype == np.float32
        assert part.shape == (70, 90)
        assert 0 <= part.min() < part.max() <= 1
    own = found.confidence == 1
    np.testing.assert_array_equal(found.ground[own], came[own])
    assert (found.ground != came).any()
    wanted = remove_clouds(eight, clear=clear)
    # Where cloud was left two roundings count: of what came, and of how much brighter it is.
    np.testing.assert_allclose(found.ground / scale, wanted.ground, atol=2.5)
    first = remove_clouds(np.moveaxis(came, -1, 0), bands="first", clear=clear)
    np.testing.assert_array_equal(np.moveaxis(first.ground, 0, -1), found.ground)
    np.testing.assert_array_equal(first.opacity, found.opacity)


def test_a_dark_picture_of_8_bits_is_told_its_white():
    came = read_picture(CLOUDY)[:70, 60:150]
    wanted = remove_clouds(came)
    dark = remove_clouds(came // 2, full_scale=127)
    assert np.abs(dark.opacity - wanted.opacity).mean() < 0.01
    assert np.abs(dark.ground * 2.0 - wanted.ground).mean() < 2
    assert (remove_clouds(came // 2).opacity > 0.5).sum() < (dark.opacity > 0.5).sum() / 2


def test_grey_cloud_is_found_and_its_picture_keeps_its_light():
    came = read_picture(CLOUDY)[:70, 60:150]
    wanted, grey = remove_clouds(came), remove_clouds(came // 2, cloud_white=0.5)
    assert np.abs(grey.opacity - wanted.opacity).mean() < 0.02
    assert np.abs(grey.ground * 2.0 - wanted.ground).mean() < 3
    own = grey.confidence == 1
    assert own.any()
    np.testing.assert_array_equal(grey.ground[own], (came // 2)[own])
    assert (remove_clouds(came // 2).opacity > 0.5).sum() < (grey.opacity > 0.5).sum() / 2


def test_two_sizes_see_otherwise_and_leave_the_photograph_its_own():
    came = read_picture(CLOUDY)[:70, 60:150]
    one, two = (remove_clouds(came, sizes=n) for n in (1, 2))
    assert (one.opacity != two.opacity).any()
    assert np.abs(one.opacity - two.opacity).mean() < 0.1
    own = two.confidence == 1
    assert own.any()
    np.testing.assert_array_equal(two.ground[own], came[own])


def test_reflectance_without_its_white_is_warned_of():
    picture = np.full((40, 40, 3), 2000, np.uint16)
    with pytest.warns(UserWarning, match="set full_scale"):
        remove_clouds(picture, valid=[[True] * 40] * 40)


def test_what_is_not_valid_has_no_say_and_stays():
    came = read_picture(CLOUDY)[:70, :90].astype(np.float32) / 255
    valid = np.ones((70, 90), bool)
    valid[:, :30] = False
    found = []
    for value in (0.0, 1.0, np.nan):
        given = np.where(valid[..., None], came, np.float32(value))
        told = None if np.isnan(value) else valid
        ground, opacity, confidence = remove_clouds(given, valid=told)
        np.testing.assert_array_equal(ground[~valid], given[~valid])
        assert not opacity[~valid].any()
        assert not confidence[~valid].any()
        found.append(ground[valid])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_is_no_picture_is_refused():
    good = picture(0, 64, 64)
    for words, text in (
        (((good,), {"bands": "middle"}), "bands must be"),
        (((good,), {"bands": "first"}), r"\(3, H, W\)"),
        (((good[..., 0],), {}), r"\(H, W, 3\)"),
        (((good.astype(np.float64),), {}), "not float64"),
        (((good.astype(np.float32),), {}), "full_scale"),
        (((good,), {"valid": np.ones((64, 63), bool)}), r"bool \(64, 64\)"),
        (((good,), {"valid": np.zeros((64, 64), bool)}), "nothing of it is ground"),
        (((good,), {"repaint": "brush"}), "must be one of"),
        (((good,), {"sizes": 3}), "sizes = 3: must be one of"),
    ):
        with pytest.raises(ValueError, match=text):
            remove_clouds(*words[0], **words[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("full_scale", [-1, 0, float("nan"), float("inf"), "128"])
def test_a_white_that_means_nothing_is_refused(dtype, full_scale):
    with pytest.raises(ValueError, match="full_scale must be a number above 0"):
        remove_clouds(np.ones((64, 64, 3), dtype), full_scale=full_scale)
