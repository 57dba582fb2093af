"""A line a condition: settings that change for it alone, gains, and a mark where worse."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from stand_ins import clearer, dehazer, picture, run_task, use

from util.measure.evaluation import CLOUDS, KEPT, NETWORK
from util.measure.opacity import on_clear_ground
from util.measure.scores import psnr
from util.use.by_condition import table

CONDITIONS = {"none": {"noise_share": 0.0}, "half": {"noise_share": 0.5}}
METHODS = [NETWORK, KEPT, "nothing", "dark channel prior", "oracle: unmix"]


def half_covered(settings, progress, grounds, split):
    """Return held-out samples whose left half has an opacity of noise_share."""

    def sample(number):
        clear = picture(number, 64, 64).astype(np.float32) / 255
        opacity = np.zeros((64, 64, 1), np.float32)
        opacity[:, :32] = settings.noise_share
        return {"cloudy": clear * (1 - opacity) + opacity, "clear": clear, "opacity": opacity}

    return None, sample


def test_each_condition_beside_its_rivals(clear_folder, tmp_path, capsys, monkeypatch):
    places = {"clear_folder": str(clear_folder), "cache_folder": str(tmp_path / "cache")}
    stand_in, _ = clearer(half_covered, clear_below=0.1, **places)
    task = replace(stand_in.task, measure=replace(CLOUDS, conditions=CONDITIONS))
    use(monkeypatch, replace(stand_in, task=task))
    file = tmp_path / "c.csv"
    words = ("--conditions", "--count", 2, "--csv", file)
    status, said = run_task(capsys, task, "evaluate", *words)
    assert status == 0
    assert "samples 0 to 1 (2) of 64 x 64 px under each condition" in said
    with open(file, encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    samples = [f"sample {n:04d}" for n in range(2)]
    assert [(row["condition"], row["picture"], row["method"]) for row in rows] == [
        (condition, name, method)
        for condition in CONDITIONS
        for name in samples
        for method in METHODS
    ]
    for row in rows:
        number = int(row["picture"][-4:])
        settings = replace(stand_in.settings, **CONDITIONS[row["condition"]])
        sample = half_covered(settings, None, None, None)[1](number)
        untouched = psnr(sample["cloudy"], sample["clear"])
        gain = float(row["psnr_whole"]) - untouched
        assert float(row["gain"]) == pytest.approx(gain, abs=1e-3)
        if row["method"] not in (NETWORK, KEPT):
            assert (row["false_opacity"], row["untouched"]) == ("", "")
            continue
        found = stand_in.task.kind.complete(stand_in, sample)["found_opacity"][..., 0]
        on_clear = on_clear_ground(found, sample["opacity"][..., 0], 0.1)
        for score, value in on_clear.items():
            assert float(row[score]) == pytest.approx(value, abs=1e-4)
    lines = {line.split("|")[0].strip(): line for line in said.splitlines() if "|" in line}
    assert {"none *", "half *"} & lines.keys() == {"none *", "half *"}
    assert "* worse than doing nothing" in said


def rows_with(psnr_kept, ssim_kept):
    """Return the rows of one picture where doing nothing has 20 dB and .8."""
    scores = dict.fromkeys(METHODS, (20.0, 0.8)) | {KEPT: (psnr_kept, ssim_kept)}
    rest = dict.fromkeys(("psnr_seen", "gain", "false_opacity", "untouched"), 0.5)
    return [
        {"condition": "a", "method": method, "psnr_whole": a, "ssim_whole": b, **rest}
        for method, (a, b) in scores.items()
    ]


@pytest.mark.parametrize(
    ("scores", "marked"),
    [
        ((21.0, 0.9), False),
        ((20.0, 0.8), False),
        ((19.99, 0.79999), False),  # no difference that the table shows
        ((19.9, 0.9), True),
        ((21.0, 0.799), True),
    ],
)
def test_worse_than_nothing_is_marked(scores, marked):
    lines = table(rows_with(*scores))
    assert lines[3].startswith("a *") == marked
    assert any(line.startswith("* worse") for line in lines) == marked
    cells = [group.split() for group in lines[3].split("|")[1:]]
    assert cells[0] == ["20.0", ".800"]
    assert cells[3][:2] == [f"{scores[0]:.1f}", f"{scores[1]:.3f}"[1:]]


def test_only_for_what_has_conditions(capsys, monkeypatch):
    stand_in, _ = dehazer()
    use(monkeypatch, stand_in)
    status, said = run_task(capsys, stand_in.task, "evaluate", "--conditions")
    assert status == 2
    assert "--conditions: not understood" in said
