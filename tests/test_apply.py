"""apply: real files in, real files out, through the command line and a network of two steps."""

import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import PROJECT
from stand_ins import at, dehazer, filler, picture, run, run_task, use
from tqdm import tqdm

from util import interrupt
from util.pictures.read import read_picture
from util.pictures.write import write_picture
from util.use import apply, pictures, trained


def test_a_folder_in_a_folder_out(folders, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    write_picture(source / "a.png", picture(0, 1, 1))
    write_picture(source / "b.tif", picture(1, 70, 33, np.uint16))
    write_picture(source / "sub" / "c.jpg", picture(2, 40, 90))
    (source / "broken.png").write_bytes(b"<html>")
    status, said = run(capsys, "apply", source, "--out", out, *at(folders))
    assert status == 0
    assert "broken.png" in said
    assert "3 restored" in said
    assert "1 failed" in said
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert names == [
        "a.png", "a_opacity.png", "b.tif", "b_opacity.png", "sub/c.png", "sub/c_opacity.png",
    ]  # fmt: skip
    restored = read_picture(out / "b.tif")
    assert restored.dtype == np.uint16
    assert restored.shape == (70, 33, 3)
    opacity = cv2.imread(str(out / "b_opacity.png"), cv2.IMREAD_UNCHANGED)
    assert opacity.dtype == np.uint8
    assert opacity.shape == (70, 33)

    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    (out / "a.png").write_bytes(b"mine")
    status, said = run(capsys, "apply", source / "a.png", "--out", out, *at(folders))
    assert status == 0
    assert "--overwrite" in said
    assert (out / "a.png").read_bytes() == b"mine"
    status, _ = run(capsys, "apply", source / "a.png", "--out", out, "--overwrite", *at(folders))
    assert status == 0
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_two_inputs_of_one_name_and_inputs_that_would_be_overwritten(folders, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_picture(source / "a.jpg", picture(0, 40, 40))
    write_picture(source / "a.png", picture(1, 40, 40))
    write_picture(source / "b.png", picture(2, 40, 40))
    write_picture(source / "b_opacity.png", picture(3, 40, 40))
    status, said = run(capsys, "apply", source, "--out", out, *at(folders))
    assert status == 0
    assert "a.jpg: goes out as a_jpg.png" in said
    assert "b_opacity.png: goes out as b_opacity_png.png" in said
    assert "4 restored" in said
    for name, number in (("a_jpg", 0), ("a", 1), ("b", 2), ("b_opacity_png", 3)):
        made = read_picture(out / f"{name}.png").astype(int)
        others = [np.abs(made - picture(n, 40, 40)).mean() for n in range(4)]
        assert np.argmin(others) == number
        assert (out / f"{name}_opacity.png").exists()
    before = (source / "b.png").read_bytes()
    status, said = run(
        capsys, "apply", source / "b.png", "--out", source, "--overwrite", *at(folders)
    )
    assert status == 1
    assert "overwrite a picture that was given" in said
    assert (source / "b.png").read_bytes() == before
    assert run(capsys, "apply", source, "--out", source, *at(folders))[0] == 2


def test_exit_status(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trained, "weights_file", lambda task: tmp_path / "no weights.npz")
    out = tmp_path / "out"
    status, said = run(capsys, "apply", tmp_path / "none.png", "--out", out, *at(folders))
    assert status == 1
    assert "none.png" in said
    assert run(capsys, "apply", "--out", out)[0] == 2
    status, said = run(capsys, "apply", "x.png", "--out", out, f"--runs-folder={tmp_path}")
    assert status == 2
    assert f"train one first: python mod_defog.py --runs-folder {tmp_path}" in said
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no zip")
    status, said = run(capsys, "apply", "x", "--out", out, "--checkpoint", bad, *at(folders))
    assert status == 2
    assert "bad.npz" in said
    status, said = run(capsys, "--runs-folder", tmp_path, "apply")
    assert status == 2
    assert "the command comes first" in said


@pytest.mark.parametrize("name", ["train", "apply", "evaluate", "export"])
def test_help(name, capsys):
    status, said = run(capsys, name, "--help")
    assert status == 0
    assert "--clear-below" in said


def test_networks_are_built_as_they_were_trained(network):
    assert network.settings.base_width == 2  # configure.py says 8
    assert network.step == 2


@pytest.mark.parametrize("when", ["write_picture", "restore_picture"])
def test_interrupted_leaves_whole_files_only(folders, tmp_path, capsys, monkeypatch, when):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in "ab":
        write_picture(source / f"{name}.png", picture(0, 40, 40))
    module = apply if when == "restore_picture" else pictures
    real, calls = getattr(module, when), []

    def pressed(*args, **kwargs):
        calls.append(1)
        result = real(*args, **kwargs)
        if len(calls) == (2 if when == "restore_picture" else 1):
            interrupt._hear(2, None)  # what Ctrl-C calls
        return result

    monkeypatch.setattr(module, when, pressed)
    monkeypatch.setattr(interrupt, "_first", None)
    status, said = run(capsys, "apply", source, "--out", out, *at(folders))
    monkeypatch.setattr(interrupt, "_first", None)
    assert status == 130
    assert "stopped" in said
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "a_opacity.png"]


def test_a_picture_is_done_when_it_is_there_not_its_opacity(folders, tmp_path, capsys, monkeypatch):
    source, out = tmp_path / "a.png", tmp_path / "out"
    write_picture(source, picture(0, 40, 40))
    words = "apply", source, "--out", out, *at(folders)
    real = write_picture

    def full(path, pixels, *carried):
        if path.name == "a.png":
            raise OSError(28, "No space left on device", str(path))
        real(path, pixels, *carried)

    monkeypatch.setattr(pictures, "write_picture", full)
    status, said = run(capsys, *words)
    assert status == 2
    assert said.strip() == (
        f"mod_defog: {out / 'a.png'}: No space left on device; stopped after 0 picture(s), "
        f"which are whole. Make room in {out}, or name another --out"
    )
    assert [path.name for path in out.iterdir()] == ["a_opacity.png"]
    monkeypatch.undo()
    (out / "a_opacity.png").write_bytes(b"of an earlier start")
    status, said = run(capsys, *words)
    assert status == 0
    assert "1 restored" in said
    assert cv2.imread(str(out / "a_opacity.png"), cv2.IMREAD_UNCHANGED).shape == (40, 40)
    assert "a.png exists" in run(capsys, *words)[1]


def test_a_name_that_the_disk_does_not_take_ends_nothing(folders, tmp_path, capsys):
    source, out, name = tmp_path / "in", tmp_path / "out", 245 * "m"
    (source / "sub").mkdir(parents=True)
    for stem in ("a", name, "sub/b", "z"):
        write_picture(source / f"{stem}.png", picture(0, 40, 40))
    write_picture(source / "long.tif", picture(0, 40, 40))
    (source / "long.tif").rename(source / (253 * "n"))  # which becomes a .png
    out.mkdir()
    (out / "sub").write_text("a file")
    status, said = run(capsys, "apply", source, source / (253 * "n"), "--out", out, *at(folders))
    assert status == 0
    assert "2 restored" in said
    assert "3 failed" in said
    assert f"skipped {source / name}.png: {out / name}_opacity.png: File name too long" in said
    assert {p.name for p in out.iterdir()} == {
        "sub", "a.png", "a_opacity.png", "z.png", "z_opacity.png",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_memory_is_bounded(folders, tmp_path, runner):
    """A picture of 5000 x 5000 takes little more than the tile of 1024 that goes through."""
    import resource
    import subprocess

    write_picture(tmp_path / "large.png", np.zeros((5000, 5000, 3), np.uint8))
    script = str(PROJECT / "mod_defog.py")
    subprocess.run(
        [sys.executable, script, "apply", str(tmp_path / "large.png"), "--out",
         str(tmp_path / "out"), "--apply-tile-px=1024", *at(folders)],
        check=True,
    )  # fmt: skip
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert peak_gb < 2


# ---- holes: a stand-in fills them ----


def test_a_folder_with_masks_goes_out(tmp_path, capsys, monkeypatch):
    network, calls = filler()
    use(monkeypatch, network)
    source, out, place = tmp_path / "in", tmp_path / "out", tmp_path / "in" / "masks"
    place.mkdir(parents=True)
    (source / "sub").mkdir()
    (place / "sub").mkdir()
    hole = np.zeros((70, 90), bool)
    hole[10:30, 40:70] = True
    mask = hole.astype(np.uint8) * 255
    came = {"a.tif": picture(0, 70, 90, np.uint16), "sub/b.jpg": picture(1, 70, 90),
            "whole.png": picture(2, 70, 90), "alone.png": picture(3, 70, 90),
            "size.png": picture(4, 70, 80)}  # fmt: skip
    for name, pixels in came.items():
        write_picture(source / name, pixels)
    for name in ("a.png", "sub/b.png", "size.png"):
        write_picture(place / name, mask)
    write_picture(place / "whole.bmp", mask * 0)
    words = ("apply", source, "--out", out, "--devices=cpu", "--holes")
    status, said = run_task(capsys, network.task, *words, place)
    assert status == 0
    assert "3 restored" in said
    assert "2 failed" in said
    assert "alone.png: no mask alone.* in" in said
    assert "size.png: its mask has 90 x 70 pixels" in said
    assert "whole.png: nothing is missing" in said
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert names == ["a.tif", "sub/b.png", "whole.png"]
    made = read_picture(out / "a.tif")
    assert made.dtype == np.uint16
    np.testing.assert_array_equal(made[~hole], came["a.tif"][~hole])
    assert (made[hole] != came["a.tif"][hole]).any(axis=-1).mean() > 0.9
    np.testing.assert_array_equal(read_picture(out / "whole.png"), came["whole.png"])
    assert len(calls) == 2
    assert run_task(capsys, network.task, *words, tmp_path / "none")[0] == 2


def test_transparent_pixels_or_a_colour_and_a_margin(tmp_path, capsys, monkeypatch):
    hole = np.zeros((64, 64), bool)
    hole[20:30, 20:30] = True
    came = np.maximum(picture(0, 64, 64), 1)
    alpha = np.where(hole, 0, 255).astype(np.uint8)
    rgba = np.concatenate([came[..., ::-1], alpha[..., None]], axis=-1)
    cv2.imwrite(str(tmp_path / "alpha.png"), rgba)
    write_picture(tmp_path / "black.png", np.where(hole[..., None], 0, came).astype(np.uint8))
    write_picture(tmp_path / "plain.png", came)
    files = [tmp_path / f"{name}.png" for name in ("alpha", "black", "plain")]
    for margin in (0, 3):
        network, _ = filler(hole_colour="black", hole_margin_px=margin)
        use(monkeypatch, network)
        out = tmp_path / f"out{margin}"
        assert run_task(capsys, network.task, "apply", *files, "--out", out)[0] == 0
        made = [read_picture(out / file.name) for file in files]
        grown = cv2.dilate(hole.astype(np.uint8), np.ones((2 * margin + 1,) * 2)).astype(bool)
        for pixels in made[:2]:
            np.testing.assert_array_equal(pixels[~grown], came[~grown])
        np.testing.assert_array_equal(made[0], made[1])
        np.testing.assert_array_equal(made[2], came)
        changed = (made[0] != came).any(axis=-1)
        assert changed[17, 25] == (margin > 0)
    network, _ = filler()
    use(monkeypatch, network)
    status, said = run_task(capsys, network.task, "apply", files[1], "--out", tmp_path / "o")
    assert status == 1
    assert all(way in said for way in ("--holes", "transparent", "hole_colour"))
    network, _ = filler(hole_colour="red")
    use(monkeypatch, network)
    status, said = run_task(capsys, network.task, "apply", files[1], "--out", tmp_path / "o")
    assert status == 2
    assert "hole_colour = red" in said


# ---- haze: every pixel is the network's ----


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_pixel_is_the_networks(dtype, tmp_path, capsys, monkeypatch):
    network, _ = dehazer()
    use(monkeypatch, network)
    came = picture(8, 64, 96, dtype)
    write_picture(tmp_path / "a.png", came)
    out = tmp_path / "out"
    status, _ = run_task(capsys, network.task, "apply", tmp_path / "a.png", "--out", out)
    assert status == 0
    assert [p.name for p in out.iterdir()] == ["a.png"]
    top = np.iinfo(dtype).max
    direct = network.restore({"hazy": came[None].astype(np.float32) / np.float32(top)})
    wanted = np.rint(np.array(direct["restored"][0]) * top)
    np.testing.assert_allclose(read_picture(out / "a.png"), wanted, atol=1)


def test_help_says_what_this_script_takes_and_gives(capsys):
    holes, haze = filler()[0].task, dehazer()[0].task
    assert "--holes" in run_task(capsys, holes, "apply", "--help")[1]
    said = run_task(capsys, haze, "apply", "--help")[1]
    assert "--holes" not in said
    assert "opacity.png" not in said
    assert "HAZY CLEAR" in run_task(capsys, haze, "evaluate", "--help")[1]
    said = run_task(capsys, holes, "export", "--help")[1]
    assert '"holed" (.., 3), "hole" (.., 1)' in said
    assert '"restored" (.., 3), "patch" (.., 3)' in said
    assert run_task(capsys, haze, "apply", "x", "--out", "y", "--holes", "z")[0] == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"norm": "none", "attention_at": 0}, []),
        ({"norm": "batch", "attention_at": 8}, ["attention_at"]),
        ({"norm": "group"}, ["norm"]),
        ({"norm": "own"}, ["norm"]),
        ({"norm": "batch", "used_as_trained": False}, []),
        ({"norm": "batch", "used_as_trained": True}, ["norm"]),
        ({"norm": "none", "used_as_trained": True}, []),
    ],
)
def test_it_is_said_where_a_result_depends_on_the_tile(settings, said):
    heard = []
    for count, expected in ((1, []), (2, said)):
        heard.clear()
        of = SimpleNamespace(**settings)
        way = SimpleNamespace(settings=of, tiles=lambda *_, n=count: [n], bar=tqdm)
        job = SimpleNamespace(source=Path("a.png"))
        with pictures._progress(way, job, (9, 9), None, lambda about, line: heard.append(about)):
            assert heard == expected
