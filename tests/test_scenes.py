"""GeoTIFF scenes through cloud_removal.py; the network is a stand-in, the oracle the file."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image
from stand_ins import clearer, filler, picture

import cloud_removal
from util import command, interrupt
from util.pictures import gdal
from util.restore.chain import Chain
from util.use import classical, pictures, scenes

rasterio = pytest.importorskip("rasterio", reason="pip install -r requirements-geo.txt")
from test_geotiff import (  # noqa: E402  it needs rasterio, too
    POINTS,
    RPC,
    all_the_rest,
    assert_equal_facts,
    facts,
    read,
    values_of,
    write_scene,
)

from util.pictures.geotiff_write import PROVENANCE  # noqa: E402

HEIGHT, WIDTH = 70, 90
TILED = {"tiled": True, "blockxsize": 32, "blockysize": 16}
Affine = rasterio.transform.Affine
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def veiled(batch):
    """Find cloud, of opacity .5, where red is above .6, and return ground of half of it."""
    cloudy = np.asarray(batch["cloudy"])
    return {"restored": cloudy / 2, "found_opacity": (cloudy[..., :1] > 0.6) * np.float32(0.5)}


def hidden(batch):
    """Find opaque cloud where red is above .6."""
    found = veiled(batch)
    return {**found, "found_opacity": found["found_opacity"] * 2}


def nothing(batch):
    """Find no cloud."""
    cloudy = np.asarray(batch["cloudy"])
    return {"restored": cloudy / 2, "found_opacity": cloudy[..., :1] * 0}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Return a function: words, how cloud is found -> (exit status, what was said)."""
    (tmp_path / "net.npz").write_bytes(b"weights")

    def load(restore):
        network, _ = clearer(apply_tile_px=96, apply_margin_px=16)
        network = replace(network, restore=restore, path=tmp_path / "net.npz")
        painter, _ = filler()
        return Chain(network, classical.painter("harmonic", painter.task, painter.settings))

    def run(*words, restore=nothing, status=0):
        monkeypatch.setattr(cloud_removal.chain, "load", lambda *_, **__: load(restore))
        words = [*map(str, words), "--devices=cpu"]
        with pytest.raises(SystemExit) as end:
            command.exit_with("cloud_removal", cloud_removal.run, words)
        interrupt.leave()
        said = capsys.readouterr()
        said = said.out + said.err
        assert end.value.code == status, said
        return said

    return run


def small(bands, dtype):
    return values_of(bands, dtype, HEIGHT, WIDTH)


def names_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# 1, 2, 3, 13, 20
@pytest.mark.parametrize(
    ("bands", "dtype", "profile"),
    [
        (3, "uint8", {"photometric": "RGB", "transform": Affine(0, 9, 7, 9, 1, 5)}),
        (4, "uint16", {"photometric": "MINISBLACK", "nodata": 0, "interleave": "band"}),
        (5, "int16", {"compress": "zstd", "nodata": -9999, "tiled": False, "blockysize": 7}),
        (3, "float32", {"nodata": float("nan"), "transform": Affine(10, 0, 500, 0, 10, 9)}),
        (2, "uint16", {"photometric": "MINISBLACK", "alpha": "YES"}),
    ],
)  # fmt: skip
def test_a_scene_without_cloud_comes_out_as_it_was_and_nothing_beside_it(
    run, tmp_path, bands, dtype, profile
):
    values, folder = small(bands, dtype), tmp_path / "in"
    folder.mkdir()

    def after(made):
        all_the_rest(made)
        made.update_tags(AREA_OR_POINT="Point")
        made.build_overviews([2, 4])

    source = write_scene(folder / "a.tif", values, after=after, **{**TILED, **profile})
    before = source.read_bytes()
    folder.chmod(0o500)
    said = run(folder, "--out", tmp_path / "out")
    folder.chmod(0o700)
    assert "1 restored" in said
    assert names_in(folder) == ["a.tif"]
    assert source.read_bytes() == before
    assert names_in(tmp_path / "out") == ["a.tif", "a_confidence.tif", "a_opacity.tif"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.tif"), values)
    assert_equal_facts(tmp_path / "out" / "a.tif", source)


# 3, 7, 11
def test_cloud_is_cleared_in_the_bands_that_were_chosen(run, tmp_path):
    values = small(4, "uint16")
    values[0, 0, 0] = 65535  # far beyond white
    source = write_scene(
        tmp_path / "a.tif", values, photometric="MINISBLACK", nodata=7,
        after=lambda made: made.build_overviews([2]), **TILED,
    )  # fmt: skip
    run(source, "--out", tmp_path / "out", "--bands=4,3,2", restore=veiled)
    made = read(tmp_path / "out" / "a.tif")
    np.testing.assert_array_equal(made[0], values[0])
    opacity = read(tmp_path / "out" / "a_opacity.tif")[0]
    cloudy = opacity > 0
    assert 0.1 < cloudy.mean() < 0.9
    assert (made[1:, cloudy].mean(axis=0) < values[1:, cloudy].mean(axis=0)).mean() > 0.9
    np.testing.assert_array_equal(made[:, ~cloudy], values[:, ~cloudy])
    with rasterio.open(tmp_path / "out" / "a.tif", overview_level=0) as file:
        wanted = made[3].reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean(axis=(1, 3))
        assert np.abs(file.read(4) - wanted).max() <= 1


# 18
def test_the_chain_makes_of_a_scene_what_it_makes_of_a_picture_whatever_its_blocks(run, tmp_path):
    """Through all that the chain does across tiles: rims, rings, fringes, white that touches."""
    values = cv2.GaussianBlur(np.moveaxis(values_of(3, "uint8", 300, 280), 0, -1), None, 9)
    values = cv2.normalize(values, None, 0, 255, cv2.NORM_MINMAX)
    Image.fromarray(values).save(tmp_path / "plain.png")
    run(tmp_path / "plain.png", "--out", tmp_path / "out", restore=hidden)
    made = np.array(Image.open(tmp_path / "out" / "plain.png"))
    assert 0.1 < (made != values).any(axis=-1).mean() < 0.9
    square = [{"tiled": True, "blockxsize": n, "blockysize": n} for n in (128, 256, 512)]
    for number, blocks in enumerate([*square, {"tiled": False, "blockysize": 3}]):
        path = tmp_path / f"{number}.tif"
        # Pixels so large that they tell nothing about the size of clouds.
        blocks["transform"] = Affine(300, 0, 500_000, 0, -300, 5_000_000)
        write_scene(path, np.moveaxis(values, -1, 0), photometric="RGB", **blocks)
        run(path, "--out", tmp_path / "out", restore=hidden)
        found = np.moveaxis(read(tmp_path / "out" / path.name), 0, -1)
        np.testing.assert_array_equal(found, made)


@pytest.mark.parametrize(("metres", "cleared"), [(5, 0), (300, 1)])
def test_what_is_too_small_for_cloud_by_the_files_scale_is_ground(run, tmp_path, metres, cleared):
    values = np.full((3, 120, 140), 60, np.uint8)
    values[:, 50:56, 70:76] = 250  # 30 x 30 m of white
    place = Affine(metres, 0, 500_000, 0, -metres, 5_000_000)
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", transform=place)
    run(source, "--out", tmp_path / "out", restore=veiled)
    made = read(tmp_path / "out" / "a.tif")
    assert (made != values).any(axis=0)[50:56, 70:76].mean() == cleared
    assert (read(tmp_path / "out" / "a_opacity.tif")[0] > 0).any() == cleared


# 4, 6
def test_what_no_ground_is_filled_with_has_no_say(run, tmp_path):
    values, results = small(3, "uint16"), []
    gap = np.zeros((HEIGHT, WIDTH), bool)
    gap[:, :30] = gap[:20] = True
    for fill in (0, 65535):
        filled = np.where(gap, np.uint16(fill), values)
        source = write_scene(tmp_path / f"{fill}.tif", filled, photometric="RGB", **TILED)
        run(source, "--out", tmp_path / "out", f"--nodata={fill}", restore=veiled)
        made = read(tmp_path / "out" / f"{fill}.tif")
        np.testing.assert_array_equal(made[:, gap], filled[:, gap])
        maps = [tmp_path / "out" / f"{fill}_{name}.tif" for name in ("opacity", "confidence")]
        for path in maps:
            with rasterio.open(path) as file:
                np.testing.assert_array_equal(file.dataset_mask() == 0, gap)
            assert not read(path)[0][gap].any()
        results.append([made[:, ~gap], *(read(path)[0] for path in maps)])
        assert results[-1][1].any()
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


# 6
@pytest.mark.parametrize("kind", ["alpha", "mask", "beside", "NaN"])
def test_what_tells_the_ground_comes_out_as_it_was(run, tmp_path, kind):
    values = small(4 if kind == "alpha" else 3, "float32" if kind == "NaN" else "uint8")
    gap, how, mask = np.zeros((HEIGHT, WIDTH), bool), {}, None
    gap[:, :30] = True
    if kind == "alpha":
        values[3] = np.where(gap, 0, 255)
        values[3, 40:, 30:] = 128  # which is ground
        how["alpha"] = "YES"
    elif kind == "NaN":
        values[:, gap] = np.nan
    else:
        mask = ~gap
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind != "beside"):
        source = write_scene(
            tmp_path / "a.tif", values, mask=mask, photometric="RGB", **TILED, **how
        )
    assert (tmp_path / "a.tif.msk").exists() == (kind == "beside")
    run(source, "--out", tmp_path / "out", restore=veiled)
    assert names_in(tmp_path / "out") == ["a.tif", "a_confidence.tif", "a_opacity.tif"]
    with rasterio.open(source) as came, rasterio.open(tmp_path / "out" / "a.tif") as made:
        assert made.mask_flag_enums == came.mask_flag_enums
        np.testing.assert_array_equal(made.dataset_mask(), came.dataset_mask())
        made = made.read()
    np.testing.assert_array_equal(made[:, gap], values[:, gap])
    np.testing.assert_array_equal(made[3:], values[3:])
    opacity = read(tmp_path / "out" / "a_opacity.tif")[0]
    assert not opacity[gap].any()
    cloudy = opacity > 0
    assert cloudy[40:, 30:].mean() > 0.1
    assert (made[:3, cloudy].mean(axis=0) < values[:3, cloudy].mean(axis=0)).mean() > 0.9


# 12
def test_files_appear_whole_and_the_restored_one_last(run, tmp_path, monkeypatch):
    values = small(3, "uint8")
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", **TILED)
    out, order, real = tmp_path / "out", [], os.replace

    def seen(old, new):
        order.append(new.name)
        return real(old, new)

    monkeypatch.setattr(os, "replace", seen)
    run(source, "--out", out, "--preview", restore=hidden)
    assert order == ["a_preview.png", "a_confidence.tif", "a_opacity.tif", "a.tif"]
    preview = cv2.imread(str(out / "a_preview.png"))
    assert preview.shape == (HEIGHT, 3 * WIDTH, 3)
    shown = [np.moveaxis(part[..., ::-1], -1, 0) for part in np.hsplit(preview, 3)]
    opacity = read(out / "a_opacity.tif").repeat(3, axis=0)
    for part, wanted in zip(shown, (values, read(out / "a.tif"), opacity), strict=True):
        np.testing.assert_array_equal(part, wanted)
    assert (shown[0] != shown[1])[opacity == 255].mean() > 0.9
    monkeypatch.setattr(scenes, "_IN_MEMORY_BYTES", 0)
    before = {name: (out / name).read_bytes() for name in names_in(out)}
    assert "1 skipped because they exist" in run(source, "--out", out, restore=nothing)
    assert before == {name: (out / name).read_bytes() for name in names_in(out)}
    run(source, "--out", out, "--preview", "--overwrite", restore=hidden)  # its ground in a file
    assert before == {name: (out / name).read_bytes() for name in names_in(out)}

    def broken(batch):
        raise SystemExit(130)  # as a signal does

    run(source, "--out", tmp_path / "b", restore=broken, status=130)
    assert names_in(tmp_path / "b") == []


# 10
def test_formats(run, tmp_path):
    values = small(3, "uint8")
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", **TILED)
    run(source, "--out", tmp_path / "cog", "--format=cog", "--co=COMPRESS=ZSTD")
    for name in ("a", "a_opacity", "a_confidence"):
        told = facts(tmp_path / "cog" / f"{name}.tif")
        assert told["packed"]["LAYOUT"] == "COG"
    assert facts(tmp_path / "cog" / "a.tif")["profile"]["compress"] == "zstd"
    np.testing.assert_array_equal(read(tmp_path / "cog" / "a.tif"), values)
    run(source, "--out", tmp_path / "png", "--format=png")
    assert names_in(tmp_path / "png") == ["a.png", "a_confidence.png", "a_opacity.png"]
    made = cv2.imread(str(tmp_path / "png" / "a.png"), -1)[..., ::-1]
    np.testing.assert_array_equal(np.moveaxis(made, -1, 0), values)
    source = write_scene(tmp_path / "b.tif", values, mask=values[0] > 99, nodata=3, **TILED)
    said = run(source, "--out", tmp_path / "png", "--format=png")
    assert "b.tif: as .png it loses place, CRS, nodata, mask; so do others like it" in said
    said = run(source, "--out", tmp_path / "c", "--co=COMPRESS=NONSENSE", status=2)
    assert "COMPRESS=NONSENSE" in said
    assert names_in(tmp_path / "c") == []


def test_a_scene_that_cannot_have_the_options_is_skipped(run, tmp_path):
    values, folder = small(3, "uint8"), tmp_path / "in"
    folder.mkdir()
    for name, rows in (("a", 13), ("b", 16)):
        how = {"photometric": "RGB", "tiled": False, "blockysize": rows}
        write_scene(folder / f"{name}.tif", values, **how)
    write_scene(folder / "c.tif", small(3, "uint16"), photometric="RGB", **TILED)
    said = run(folder, "--out", tmp_path / "out", "--co=COMPRESS=JPEG")
    assert "skipped " + str(folder / "a.tif") + ": creation options COMPRESS=JPEG: " in said
    assert "1 restored" in said
    assert "2 failed" in said
    assert names_in(tmp_path / "out") == ["b.tif", "b_confidence.tif", "b_opacity.tif"]


# 20
@pytest.mark.parametrize("shape", [(1, 1), (1, WIDTH), (HEIGHT, 1)])
def test_scenes_of_one_pixel_row_or_column(run, tmp_path, shape):
    values = values_of(3, "uint16", *shape)
    how = {"photometric": "RGB", "transform": Affine(8, 6, 9, 6, 8, 5)}
    source = write_scene(tmp_path / "a.tif", values, tiled=False, blockysize=1, **how)
    run(source, "--out", tmp_path / "same")
    np.testing.assert_array_equal(read(tmp_path / "same" / "a.tif"), values)
    assert_equal_facts(tmp_path / "same" / "a.tif", source)
    run(source, "--out", tmp_path / "cog", "--format=cog", "--preview", restore=hidden)
    for name in ("a", "a_opacity", "a_confidence"):
        assert read(tmp_path / "cog" / f"{name}.tif").shape[1:] == shape
    assert cv2.imread(str(tmp_path / "cog" / "a_preview.png")) is not None


# 14
@pytest.mark.parametrize("kind", ["points", "RPCs", "none"])
def test_scenes_without_a_transform(run, tmp_path, kind):
    place = {"crs": None, "transform": None}
    before = {
        "points": lambda made: setattr(made, "gcps", (POINTS, rasterio.crs.CRS.from_epsg(4326))),
        "RPCs": lambda made: made.update_tags(ns="RPC", **RPC),
        "none": None,
    }[kind]
    values = small(3, "uint8")
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", before=before, **place)
    said = run(source, "--out", tmp_path / "out")
    assert said.count("has no georeference") == (kind == "none")
    assert "Warning" not in said
    assert_equal_facts(tmp_path / "out" / "a.tif", source)
    told, wanted = facts(tmp_path / "out" / "a_opacity.tif"), facts(source)
    assert (told["rpcs"], told["points"]) == (wanted["rpcs"], wanted["points"])


@pytest.mark.parametrize("crs", [None, "EPSG:32632"])
def test_a_crs_beside_a_scene_goes_along_where_it_has_no_other(run, tmp_path, crs):
    source = write_scene(tmp_path / "a.tif", small(3, "uint8"), transform=None, crs=crs, **TILED)
    source.with_suffix(".tfw").write_text("10\n0\n0\n-10\n500005\n5299995\n")
    source.with_suffix(".PRJ").write_text("a projection")
    run(source, "--out", tmp_path / "out")
    beside = [] if crs else ["a.prj"]
    maps = ["a_confidence.tif", "a_opacity.tif"]
    assert names_in(tmp_path / "out") == sorted(["a.tif", *maps, *beside])
    assert all((tmp_path / "out" / name).read_text() == "a projection" for name in beside)
    with rasterio.open(tmp_path / "out" / "a.tif") as made:
        assert (made.transform.c, made.crs) == (500000, crs)


# 17, 19
def test_maps_lie_on_the_grid_and_tags_tell_how_it_was_made(run, tmp_path):
    place = Affine(300, 0, 500_000, 0, -300, 5_000_000)  # such pixels do not tell cloud by its size
    how = {"photometric": "RGB", "transform": place, **TILED}
    source = write_scene(tmp_path / "a.tif", small(3, "uint16"), **how)
    run(source, "--out", tmp_path / "out", restore=veiled)
    found = {}
    for name in ("opacity", "confidence"):
        with (
            rasterio.open(tmp_path / "out" / f"a_{name}.tif") as file,
            rasterio.open(source) as came,
        ):
            assert (file.dtypes, file.shape) == (("uint8",), came.shape)
            assert (file.crs, file.transform) == (came.crs, came.transform)
            assert file.descriptions == (name,)
            found[name] = file.read(1)
    assert set(np.unique(found["opacity"])) == {0, 128}
    assert (found["confidence"][found["opacity"] == 0] == 255).all()
    assert (found["confidence"][found["opacity"] > 0] < 128).all()
    for name in ("a", "a_opacity", "a_confidence"):
        with rasterio.open(tmp_path / "out" / f"{name}.tif") as file:
            told = file.tags(ns=PROVENANCE)
        digest = hashlib.sha256(b"weights").hexdigest()
        assert told["SCRIPT"] == "cloud_removal.py"
        assert told["CLEAR"] == f"mod_clearer, step 0, sha256 {digest}"
        assert told["PAINT"] == "harmonic"
        assert time.strptime(told["DATE"], "%Y-%m-%d").tm_year >= 2026
        assert "percentiles" in told["STRETCH"]


# 16, 21
def test_a_mixed_folder_of_scenes_pictures_and_damage(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(picture(0, HEIGHT, WIDTH)).save(folder / "a.png")
    source = write_scene(folder / "b.tif", small(3, "uint16"), photometric="RGB", **TILED)
    (folder / "c.tif").write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    Image.fromarray(picture(0, HEIGHT, WIDTH)).convert("P").save(folder / "d.tif")
    said = run(folder, "--out", tmp_path / "out", "--bands=3,2,1", restore=veiled)
    assert "3 restored" in said
    assert "1 failed" in said
    assert said.count("c.tif") == 1
    assert f"{folder / 'a.png'}: is no GeoTIFF; --bands not heeded" in said
    assert said.count("not heeded") == 1
    stems = {name.split(".")[0].split("_")[0] for name in names_in(tmp_path / "out")}
    assert stems == {"a", "b", "d"}
    assert len(names_in(tmp_path / "out")) == 9
    said = run(folder / "d.tif", "--out", tmp_path / "d", "--bands=3,2,1")
    assert "d.tif: has a palette" in said


# 22
def test_without_rasterio_a_line_says_what_is_lost(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    gdal.library.cache_clear()
    values = small(3, "uint8")
    # What wrote it is loaded above.
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", **TILED)
    said = run(source, "--out", tmp_path / "out")
    assert said.count("pip install -r requirements-geo.txt") == 1
    assert names_in(tmp_path / "out") == ["a.tif", "a_confidence.png", "a_opacity.png"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.tif"), values)
    said = run(source, "--out", tmp_path / "b", "--bands=1", status=2)
    assert said == f"cloud_removal: --bands: {gdal.MISSING}\n"
    monkeypatch.undo()
    gdal.library.cache_clear()


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("--bands=4,x", "must be numbers from 1 on"),
        ("--co=COMPRESS", "must be NAME=VALUE"),
        ("--format=jpeg", "invalid choice"),
    ],
)
def test_mistakes_are_said_in_a_line(run, tmp_path, word, text):
    assert text in run(tmp_path, "--out", tmp_path / "out", word, status=2)
    said = run(tmp_path, "--out", tmp_path / "out", "--nodata=0", "--format=png", status=2)
    assert "--nodata: only for GeoTIFF results; leave out --format png" in said


def test_a_part_that_begins_while_another_works_does_the_rest(run, tmp_path, monkeypatch):
    """At the worst moment: the other one's files are half written."""
    folder, out, real, done = tmp_path / "in", tmp_path / "out", pictures.write_picture, []
    folder.mkdir()
    for name in "abcd":
        write_scene(folder / f"{name}.tif", small(3, "uint8"), photometric="RGB", **TILED)
    for name in "efgh":
        Image.fromarray(picture(0, HEIGHT, WIDTH)).save(folder / f"{name}.png")

    def other_part(path, *what):
        if not done:
            done.append("")
            assert len([name for name in names_in(out) if name.startswith(".tmp-")]) == 3
            done[0] = run(folder, "--out", out, "--part=2/2", "--preview", restore=hidden)
        real(path, *what)

    monkeypatch.setattr(pictures, "write_picture", other_part)
    said = run(folder, "--out", out, "--part=1/2", "--preview", restore=hidden)
    for part, text in zip(("aceg", "bdfh"), (said, done[0]), strict=True):
        assert "4 restored" in text
        assert "0 skipped because they exist, 0 failed" in text
        assert all((out / f"{name}_preview.png").exists() for name in part)
    monkeypatch.undo()
    run(folder, "--out", tmp_path / "alone", "--preview", restore=hidden)
    assert names_in(out) == names_in(tmp_path / "alone")
    for name in names_in(out):
        assert (out / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


_KILLED_AT_THE_COPY = """
import os, signal, sys
import cloud_removal
from util.pictures import geotiff_write
copy = geotiff_write.copy_to_cog
def half(place, result, cog):
    copy(place, result, cog)
    os.truncate(result, os.path.getsize(result) // 2)
    os.kill(os.getpid(), signal.SIGKILL)
geotiff_write.copy_to_cog = half
cloud_removal.run(sys.argv[1:])
"""


# 12
@pytest.mark.kill
@pytest.mark.parametrize("when", ["first", "copy"])
def test_a_killed_process_leaves_no_half_file(run, tmp_path, when):
    values = values_of(3, "uint16", 600, 600)
    source = write_scene(tmp_path / "a.tif", values, photometric="RGB", **TILED)
    out = tmp_path / "out"
    words = [source, "--out", out, "--clear=dcp", "--repaint=harmonic", "--devices=cpu"]
    start = [PROJECT / "cloud_removal.py"] if when == "first" else ["-c", _KILLED_AT_THE_COPY]
    words += ["--format=cog"] * (when == "copy")
    process = subprocess.Popen(
        [sys.executable, *map(str, [*start, *words])], cwd=PROJECT, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (when == "first" and names_in(out)):
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    left = names_in(out)
    assert left
    assert all(name.startswith(".tmp-") for name in left)
    for name in left:
        os.utime(out / name, (0, time.time() - pictures._STALE_S - 60))
    run(*words)
    assert names_in(out) == ["a.tif", "a_confidence.tif", "a_opacity.tif"]
