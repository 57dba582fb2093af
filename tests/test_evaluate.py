"""evaluate: the right figures for the right pictures, in a table and in a file."""

import csv

import numpy as np
import pytest
from test_apply import at, folders, network, picture, run  # noqa: F401 - fixtures

from util import evaluate, interrupt
from util.baselines import BASELINES
from util.pictures import write_picture
from util.scores import psnr


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_frozen_samples_all_methods_and_the_same_again(folders, tmp_path, capsys):  # noqa: F811
    files = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for file in files:
        status, said = run(capsys, "evaluate", "--count", 3, "--csv", file, *at(folders))
        assert status == 0
    assert "samples 0 to 2 (3) of 64 x 64 px, seed 0" in said
    assert "step 2" in said
    for method in (evaluate.NETWORK, evaluate.KEPT, *BASELINES):
        assert method in said
    first, second = map(read, files)
    assert len(first) == 3 * (2 + len(BASELINES))
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if k not in ("seconds", "memory_mb")} == {
            k: v for k, v in b.items() if k not in ("seconds", "memory_mb")
        }
    nothing = [row for row in first if row["method"] == "nothing"]
    oracle = [row for row in first if row["method"] == "oracle: unmix"]
    for a, b in zip(nothing, oracle, strict=True):
        assert float(a["psnr_whole"]) <= float(b["psnr_whole"])


def test_default_place_of_the_csv(folders, capsys):  # noqa: F811
    assert run(capsys, "evaluate", "--count", 1, *at(folders))[0] == 0
    assert (folders["runs_folder"] / "mod_defog" / "evaluation.csv").is_file()


def test_data_uses_every_picture_of_the_folder(network, tmp_path, monkeypatch):  # noqa: F811
    for number in range(5):
        write_picture(tmp_path / f"{number}.png", np.full((64, 64, 3), 40 * number + 9, np.uint8))
    _, cases, total = evaluate._samples(network, tmp_path, 5)
    assert total == 5
    greys = {round(float(sample["clear"].mean()) * 5) for _, sample in cases}
    assert len(greys) >= 4


def test_pairs_by_name(folders, tmp_path, capsys):  # noqa: F811
    cloudy, clear = tmp_path / "cloudy", tmp_path / "clear"
    cloudy.mkdir()
    clear.mkdir()
    a, b = picture(1, 50, 70), picture(2, 50, 70)
    write_picture(cloudy / "a.png", a)
    write_picture(clear / "a.tif", b)
    write_picture(cloudy / "alone.png", a)
    write_picture(cloudy / "size.png", a)
    write_picture(clear / "size.png", picture(3, 40, 40))
    file = tmp_path / "pairs.csv"
    status, said = run(capsys, "evaluate", "--pairs", cloudy, clear, "--csv", file, *at(folders))
    assert status == 0
    assert "alone.png" in said
    assert "left out size" in said
    rows = {row["method"]: row for row in read(file)}
    assert not any(name.startswith("oracle") for name in rows)
    assert "psnr_thin" not in rows["nothing"]
    wanted = psnr(a.astype(np.float32) / 255, b.astype(np.float32) / 255)
    assert float(rows["nothing"]["psnr_whole"]) == pytest.approx(wanted, abs=1e-3)


def test_bad_input(folders, tmp_path, capsys):  # noqa: F811
    for words in (
        ("--pairs", tmp_path / "x", tmp_path / "y"),
        ("--data", tmp_path / "x"),
        ("--count", 0),
        ("--data", "x", "--pairs", "y", "z"),
    ):
        assert run(capsys, "evaluate", *words, *at(folders))[0] == 2


def test_table_means_leave_empty_regions_out():
    rows = [
        {"picture": n, "method": "m", "psnr_whole": p, "ssim_whole": 1.0, "mae_whole": 0.5,
         "seconds": 1.0, "memory_mb": 3.0}
        for n, p in (("a", 10.0), ("b", float("nan")), ("c", 20.0))
    ]  # fmt: skip
    last = evaluate.table(rows).splitlines()[-1]
    assert last.split("|")[1].split() == ["15.0", "1.00", ".5000"]


def test_interrupted_leaves_no_half_csv(folders, tmp_path, capsys, monkeypatch):  # noqa: F811
    real = evaluate._measure

    def pressed(*args, **kwargs):
        result = real(*args, **kwargs)
        interrupt._hear(2, None)
        return result

    monkeypatch.setattr(evaluate, "_measure", pressed)
    monkeypatch.setattr(interrupt, "_first", None)
    file = tmp_path / "e.csv"
    status, _ = run(capsys, "evaluate", "--count", 2, "--csv", file, *at(folders))
    monkeypatch.setattr(interrupt, "_first", None)
    assert status == 130
    assert not list(tmp_path.iterdir())
