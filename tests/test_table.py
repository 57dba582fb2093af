"""The table: means over those that have a score, groups that have a picture, columns that align."""

import csv
import io
import math

import pytest

from util.measure.evaluation import CLOUDS, HOLES, KEPT, NETWORK, Column
from util.use.table import cell, csv_text, grid, notes, table


def test_means_leave_empty_regions_out():
    rows = [
        {"picture": n, "method": "m", "psnr_whole": p, "ssim_whole": 1.0, "mae_whole": 0.5,
         "seconds": 1.0, "memory_mb": 3.0}
        for n, p in (("a", 10.0), ("b", float("nan")), ("c", 20.0))
    ]  # fmt: skip
    last = table(rows, CLOUDS)[-1]
    assert last.split("|")[1].split() == ["15.0", "1.00", ".5000"]


def test_holes_take_the_median_of_sharpness():
    rows = [
        {"method": "network", "cover": c, "hole_l1": 0.25, "hole_psnr": p, "hole_ssim": 0.5,
         "hole_sharpness": s, "repeats": 0.25, "seconds": 1.0, "memory_mb": 3.0}
        for c, p, s in ((0.05, 10.0, 1.0), (0.05, 20.0, 50.0), (0.15, 30.0, 2.0))
    ]  # fmt: skip
    lines = table(rows, HOLES)
    assert "> 20" not in lines[0]
    cells = [cell.split() for cell in lines[-1].split("|")]
    assert cells[1] == [".2500", "20.0", ".500", "2.00", ".25"]
    assert cells[2] == [".2500", "15.0", ".500", "25.50", ".25"]
    assert cells[3] == [".2500", "30.0", ".500", "2.00", ".25"]
    assert len({len(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    ("values", "column", "text"),
    [
        ([0.25, 0.5], Column("", 3, 5), ".375"),
        ([10.5, math.nan], Column("", 1, 5), "10.5"),
        ([-0.5], Column("", 2, 5), "-0.50"),
        ([1.0, 2.0, 9.0], Column("", 0, 5, "median"), "2"),
        ([1.0, 2.0, 9.0], Column("", 0, 5, "most"), "9"),
        ([0.0], Column("", 0, 5), "0"),
        ([math.nan], Column("", 1, 5), "nan"),
    ],
)
def test_a_cell_sums_up_what_there_is(values, column, text):
    assert cell(values, column) == text


def test_a_grid_aligns_whatever_is_longest():
    column = Column("a title", 1, 7)
    rows = {"a long name": [[1.0], [2.0], [3.0]], "b": [[123.0], [4.0], [5.0]]}
    lines = grid("name", {"group of a long title": [column], "short": [column, column]}, rows)
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(i for i, c in enumerate(line) if c in "|+") for line in lines}) == 1
    assert [cells.split() for cells in lines[3].split("|")[1:]] == [["1.0"], ["2.0", "3.0"]]


@pytest.mark.parametrize("mine", [NETWORK, KEPT])
def test_pictures_better_than_untouched_are_counted(mine):
    scores = {mine: [(20, 0.5), (30, 0.6), (25, 0.9)], "nothing": [(20, 0.4), (29, 0.5), (26, 0.9)]}
    rows = [
        {"picture": n, "method": method, "psnr_whole": psnr, "ssim_whole": ssim}
        for method in scores
        for n, (psnr, ssim) in enumerate(scores[method])
    ]
    assert notes(rows, CLOUDS)[-1] == f"{mine}: better than untouched in SSIM 2, in PSNR 1 of 3."
    assert "untouched" not in notes(rows[:3], CLOUDS)[-1]


def test_numbers_in_a_file_have_six_digits_and_nan_is_empty():
    rows = [{"picture": "a, b", "step": 1234567, "psnr": 12.3456789, "ssim": float("nan")}]
    (row,) = csv.DictReader(io.StringIO(csv_text(rows)))
    assert row == {"picture": "a, b", "step": "1234567", "psnr": "12.3457", "ssim": ""}
