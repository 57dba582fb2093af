"""The table: means over those that have a score, groups that have a picture, columns that align."""

import csv
import io

from util.measure.evaluation import CLOUDS, HOLES
from util.use.table import csv_text, table


def test_means_leave_empty_regions_out():
    rows = [
        {"picture": n, "method": "m", "psnr_whole": p, "ssim_whole": 1.0, "mae_whole": 0.5,
         "seconds": 1.0, "memory_mb": 3.0}
        for n, p in (("a", 10.0), ("b", float("nan")), ("c", 20.0))
    ]  # fmt: skip
    last = table(rows, CLOUDS).splitlines()[-1]
    assert last.split("|")[1].split() == ["15.0", "1.00", ".5000"]


def test_holes_take_the_median_of_sharpness():
    rows = [
        {"method": "network", "cover": c, "hole_l1": 0.25, "hole_psnr": p, "hole_ssim": 0.5,
         "hole_sharpness": s, "seconds": 1.0, "memory_mb": 3.0}
        for c, p, s in ((0.05, 10.0, 1.0), (0.05, 20.0, 50.0), (0.15, 30.0, 2.0))
    ]  # fmt: skip
    lines = table(rows, HOLES).splitlines()
    assert "> 20" not in lines[0]
    cells = [cell.split() for cell in lines[-1].split("|")]
    assert cells[1] == [".2500", "20.0", ".500", "2.00"]
    assert cells[2] == [".2500", "15.0", ".500", "25.50"]
    assert cells[3] == [".2500", "30.0", ".500", "2.00"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_numbers_in_a_file_have_six_digits_and_nan_is_empty():
    rows = [{"picture": "a, b", "step": 1234567, "psnr": 12.3456789, "ssim": float("nan")}]
    (row,) = csv.DictReader(io.StringIO(csv_text(rows)))
    assert row == {"picture": "a, b", "step": "1234567", "psnr": "12.3457", "ssim": ""}
