"""evaluate: the right figures for the right pictures, in a table and in a file."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from stand_ins import at, clearer, dehazer, filler, picture, run, run_task, use

from util import interrupt
from util.measure.baselines import dark_channel_prior
from util.measure.evaluation import CLOUDS, KEPT, NETWORK, Evaluation, LeftOut
from util.measure.scores import hole_scores, mae, psnr, ssim
from util.pictures.write import write_picture
from util.restore.bands import restore_picture
from util.use import evaluate


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_frozen_samples_all_methods_and_the_same_again(folders, network, tmp_path, capsys):
    files = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for file in files:
        status, said = run(capsys, "evaluate", "--count", 3, "--csv", file, *at(folders))
        assert status == 0
    assert "samples 0 to 2 (3) of 64 x 64 px, seed 0" in said
    assert "step 2" in said
    for method in (NETWORK, KEPT, *CLOUDS.rivals):
        assert method in said
    first, second = map(read, files)
    assert len(first) == 3 * (2 + len(CLOUDS.rivals))
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if k not in ("seconds", "memory_mb")} == {
            k: v for k, v in b.items() if k not in ("seconds", "memory_mb")
        }
    sample = network.task.samples(network.settings, progress=False)[1]
    rivals = [row for row in first if row["method"] in CLOUDS.rivals]
    for number, row in enumerate(rivals[:: len(CLOUDS.rivals)]):
        wanted = psnr(sample(number)["cloudy"], sample(number)["clear"])
        assert row["method"] == "nothing"
        assert float(row["psnr_whole"]) == pytest.approx(wanted, abs=1e-3)


def test_default_place_of_the_csv(folders, capsys):
    assert run(capsys, "evaluate", "--count", 1, *at(folders))[0] == 0
    assert (folders["runs_folder"] / "mod_defog" / "evaluation.csv").is_file()


def test_pairs_are_those_of_training(tmp_path, capsys, monkeypatch):
    """A clear picture has all its partners, by RESIDE's names too; two of one name are two rows."""
    stand_in, _ = dehazer()
    hazy, clear = tmp_path / "hazy", tmp_path / "clear"
    for folder, names in (
        (hazy, ["0005_0.8_0.04.png", "0005_1_0.2.tif", "a.bmp", "a.png", "0099_1_0.2.png"]),
        (clear, ["0005.tif", "a.png", "b.png"]),
    ):
        folder.mkdir()
        for seed, name in enumerate(names):
            write_picture(folder / name, picture(seed, 40, 40))
    file = tmp_path / "e.csv"
    said = evaluated(capsys, monkeypatch, stand_in, "--pairs", hazy, clear, "--csv", file)
    rows = {row["picture"]: row for row in read(file) if row["method"] == "nothing"}
    assert list(rows) == ["0005_0.8_0.04", "0005_1_0.2", "a", "a.png"]
    assert f"left out {hazy / '0099_1_0.2.png'}: " in said
    assert f"left out {clear / 'b.png'}: " in said
    wanted = psnr(*(picture(seed, 40, 40).astype(np.float32) / 255 for seed in (1, 0)))
    assert float(rows["0005_1_0.2"]["psnr_whole"]) == pytest.approx(wanted, abs=1e-3)


def test_a_list_may_leave_out_most_hazy_pictures(tmp_path, capsys, monkeypatch):
    for n in range(14):
        for name in (f"hazy/{n:04}_0.8_0.1.png", f"clear/{n:04}.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write_picture(tmp_path / name, picture(n, 40, 40))
    listed, file = tmp_path / "clear" / "test.txt", tmp_path / "e.csv"
    listed.write_text("0003.png\n0007.png\n")
    words = ("--pairs", tmp_path / "hazy", listed, "--csv", file)
    said = evaluated(capsys, monkeypatch, dehazer()[0], *words)
    assert {row["picture"] for row in read(file)} == {"0003_0.8_0.1", "0007_0.8_0.1"}
    assert said.count("left out") == 10
    assert "\nand 2 more\n" in said


def test_neither_table_nor_csv_is_lost_with_the_other(folders, tmp_path, capsys, monkeypatch):
    file = tmp_path / "e.csv"
    (tmp_path / "file").write_text("a file where a folder belongs")
    words = "evaluate", "--count", 1, *at(folders), "--csv"
    status, said = run(capsys, *words, tmp_path / "file" / "e.csv")
    assert status == 2
    assert "see --csv" in said
    assert NETWORK in said

    def there(*lines):
        assert file.is_file()

    monkeypatch.setattr(evaluate, "show", there)
    assert run(capsys, *words, file)[0] == 0


def test_data_uses_every_picture_of_the_folder(network, tmp_path, monkeypatch):
    for number in range(5):
        write_picture(tmp_path / f"{number}.png", np.full((64, 64, 3), 40 * number + 9, np.uint8))
    even = ("ground_gain", "ground_offset", "ground_curve", "ground_tint", "shadow_share")
    settings = replace(network.settings, **dict.fromkeys(even, 0.0))
    _, cases, total = evaluate._samples(replace(network, settings=settings), tmp_path, 5)
    assert total == 5
    greys = {round(float(sample["clear"].mean()) * 255) for _, sample in cases}
    assert greys == {9, 49, 89, 129, 169}


def test_the_head_names_the_folder_that_the_samples_come_from(network):
    of_pairs = SimpleNamespace(pairs_folder="both", clear_folder="clear")
    for settings, folder in ((of_pairs, "both"), (network.settings, network.settings.clear_folder)):
        where, _ = evaluate.ground_from(SimpleNamespace(settings=settings), None)
        assert where == f"the held-out pictures of {folder}"


def test_pairs_by_name(folders, tmp_path, capsys):
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


def test_pairs_fitted_to_another_light(tmp_path, capsys, monkeypatch):
    stand_in, _ = clearer(clear_below=0.1)
    cloudy, clear = tmp_path / "cloudy", tmp_path / "clear"
    a = picture(1, 40, 50).astype(np.float32) / 255
    for folder, pixels in ((cloudy, a), (clear, a * np.float32([0.5, 0.75, 0.25]) + 0.125)):
        folder.mkdir()
        write_picture(folder / "a.png", np.rint(pixels * 65535).astype(np.uint16))
    file = tmp_path / "pairs.csv"
    words = ("--pairs", cloudy, clear, "--csv", file)
    said = evaluated(capsys, monkeypatch, stand_in, *words)
    assert "was fitted" not in said
    before = {row["method"]: float(row["psnr_whole"]) for row in read(file)}
    assert before["nothing"] < 20
    said = evaluated(capsys, monkeypatch, stand_in, *words, "--fit")
    assert "the untouched one too, was fitted" in said
    assert f"{KEPT}: better than untouched in SSIM 0, in PSNR 0 of 1." in said
    after = {row["method"]: float(row["psnr_whole"]) for row in read(file)}
    assert after["nothing"] > 90  # all but rounding to 16 bits
    assert before[NETWORK] < after[NETWORK] < 90


def test_what_is_no_ground_has_no_say_in_the_fit(tmp_path, capsys, monkeypatch):
    stand_in, _ = dehazer()
    hazy, clear = tmp_path / "hazy", tmp_path / "clear"
    truth = picture(1, 40, 50) // 2
    shown = np.full((40, 50, 1), 255, np.uint8)
    shown[:, :20] = 0
    nowhere = 255 - shown
    for folder, name, pixels, alpha in (
        (hazy, "a.png", truth + 60, shown), (clear, "a.png", truth, np.full_like(shown, 255)),
        (hazy, "apart.png", truth + 60, shown), (clear, "apart.png", truth, nowhere),
    ):  # fmt: skip
        folder.mkdir(exist_ok=True)
        write_picture(folder / name, np.concatenate([pixels, alpha], axis=-1))
    file = tmp_path / "pairs.csv"
    words = ("--pairs", hazy, clear, "--csv", file, "--fit")
    assert "that show ground" in evaluated(capsys, monkeypatch, stand_in, *words)
    found = {row["picture"]: row["psnr_whole"] for row in read(file) if row["method"] == "nothing"}
    assert float(found["a"]) == 100  # what was filled in would have taken it down
    assert found["apart"] == ""  # no ground is in both


def test_pairs_that_use_little_of_their_range_are_told_once(tmp_path, capsys, monkeypatch):
    folders = [tmp_path / name for name in ("hazy", "clear")]
    for folder in folders:
        folder.mkdir()
        for name in "ab":
            write_picture(folder / f"{name}.png", picture(1, 40, 50, np.uint16) // 8)
    words = ("--pairs", *folders, "--csv", tmp_path / "pairs.csv")
    said = evaluated(capsys, monkeypatch, dehazer()[0], *words)
    assert said.count("full_scale") == 1
    assert f"{folders[0] / 'a.png'}: its values reach 8" in said
    said = evaluated(capsys, monkeypatch, dehazer(full_scale=8191.0)[0], *words)
    assert "full_scale" not in said


def test_bad_input(folders, tmp_path, capsys):
    for words in (
        ("--pairs", tmp_path / "x", tmp_path / "y"),
        ("--data", tmp_path / "x"),
        ("--masks", tmp_path / "x", tmp_path / "y"),
        ("--count", 0),
    ):
        assert run(capsys, "evaluate", *words, *at(folders))[0] == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--data x --pairs y z", "--data and --pairs exclude each other"),
        ("--conditions --masks y z", "--conditions and --masks exclude each other"),
        ("--fit --data x", "--fit belongs to --pairs"),
    ],
)
def test_ways_that_do_not_go_together(capsys, words, reason):
    status, said = run(capsys, "evaluate", *words.split())
    assert status == 2
    assert reason in said


def test_interrupted_leaves_no_half_csv(folders, tmp_path, capsys, monkeypatch):
    real = evaluate.rows_of

    def pressed(*args, **kwargs):
        result = real(*args, **kwargs)
        interrupt._hear(2, None)
        return result

    monkeypatch.setattr(evaluate, "rows_of", pressed)
    monkeypatch.setattr(interrupt, "_first", None)
    file = tmp_path / "e.csv"
    status, _ = run(capsys, "evaluate", "--count", 2, "--csv", file, *at(folders))
    monkeypatch.setattr(interrupt, "_first", None)
    assert status == 130
    assert not list(tmp_path.iterdir())


# ---- holes and haze, with stand-ins ----


class Samples:
    """Held-out samples of one kind, made of noise that is smooth enough to be filled."""

    def __init__(self, make):
        self.make = make

    def __call__(self, number):
        clear = cv2.GaussianBlur(picture(number, 64, 64).astype(np.float32) / 255, (0, 0), 2)
        return {"clear": clear, **self.make(clear, number)}


def samples_of(make):
    return lambda settings, progress, grounds=None, split=None: (None, Samples(make))


def square(clear, number, sides=(12, 24, 40)):
    hole = np.zeros((64, 64, 1), np.float32)
    hole[8 : 8 + sides[number], 8 : 8 + sides[number]] = 1
    hole[8 + sides[number], 8 : 8 + sides[number]] = 0.25
    return {"hole": hole, "holed": clear * (1 - hole)}


def evaluated(capsys, monkeypatch, stand_in, *words):
    use(monkeypatch, stand_in)
    status, said = run_task(capsys, stand_in.task, "evaluate", *words)
    assert status == 0, said
    return said


def test_holes_by_the_share_that_is_missing(tmp_path, capsys, monkeypatch):
    stand_in, _ = filler(samples_of(square))
    file = tmp_path / "e.csv"
    said = evaluated(capsys, monkeypatch, stand_in, "--csv", file)
    methods = ["network", "mean colour", "Telea", "Navier-Stokes", "harmonic", "biharmonic"]
    rows = read(file)
    assert [row["method"] for row in rows] == 3 * methods
    for title in ("all pictures", "< 10 % missing", "10-20 % missing", "> 20 % missing", "sharp"):
        assert title in said
    for number in range(3):
        sample = stand_in.task.samples(None, progress=False)[1](number)
        row = {r["method"]: r for r in rows if r["picture"] == f"sample {number:04d}"}
        flat = sample["clear"][sample["hole"][..., 0] == 0].mean(axis=0)
        filled = sample["holed"] + flat * sample["hole"]
        wanted = hole_scores(filled, sample["clear"], sample["hole"])
        for name, value in wanted.items():
            assert float(row["mean colour"][name]) == pytest.approx(value, rel=1e-3, abs=1e-5)
        assert float(row["mean colour"]["hole_sharpness"]) == 0
        assert float(row["network"]["cover"]) == pytest.approx(
            (12, 24, 40)[number] ** 2 / 4096, rel=1e-5
        )
        batch = {n: sample[n][None] for n in ("holed", "hole")}
        made = np.array(stand_in.restore(batch)["restored"][0])
        wanted = hole_scores(made, sample["clear"], sample["hole"])
        assert float(row["network"]["hole_psnr"]) == pytest.approx(wanted["hole_psnr"], abs=1e-3)


def test_a_fixed_hole_fills_one_group_of_columns(tmp_path, capsys, monkeypatch):
    stand_in, _ = filler(samples_of(lambda clear, number: square(clear, 2)))
    said = evaluated(capsys, monkeypatch, stand_in, "--csv", tmp_path / "e.csv")
    assert "all pictures" in said
    assert "missing |" not in said


def test_pairs_with_masks(tmp_path, capsys, monkeypatch):
    stand_in, calls = filler()
    places = [tmp_path / name for name in ("holed", "clear", "masks")]
    for folder in places:
        folder.mkdir()
    clear, hole = picture(1, 50, 70), np.zeros((50, 70), bool)
    hole[10:30, 20:50] = True
    holed = np.where(hole[..., None], 255, clear).astype(np.uint8)
    for folder, pixels in zip(places, (holed, clear, hole.astype(np.uint8) * 255), strict=True):
        write_picture(folder / "a.png", pixels)
    for folder in places[:2]:
        write_picture(folder / "unmasked.png", clear)
    file = tmp_path / "pairs.csv"
    words = ("--pairs", *places[:2], "--csv", file)
    said = evaluated(capsys, monkeypatch, stand_in, *words, "--holes", places[2])
    assert "no mask unmasked.*" in said
    rows = {row["method"]: row for row in read(file)}
    flat = np.where(hole[..., None], clear[~hole].mean(axis=0), clear) / 255
    wanted = psnr(flat.astype(np.float32), clear.astype(np.float32) / 255, hole)
    assert float(rows["mean colour"]["hole_psnr"]) == pytest.approx(wanted, abs=1e-3)
    assert not any((call["holed"] * call["hole"]).any() for call in calls)
    # White is not in the picture, so the colour tells the same hole.
    stand_in, _ = filler(hole_colour="white")
    evaluated(capsys, monkeypatch, stand_in, *words)
    again = {row["method"]: row for row in read(file) if row["picture"] == "a"}
    assert again["Telea"]["hole_psnr"] == rows["Telea"]["hole_psnr"]
    use(monkeypatch, stand_in)
    assert run_task(capsys, stand_in.task, "evaluate", "--holes", places[2])[0] == 2


def hazy(clear, number):
    return {"hazy": clear * np.float32(0.6) + np.float32(0.36)}


def test_haze_beside_nothing_and_the_dark_channel(tmp_path, capsys, monkeypatch):
    stand_in, _ = dehazer(samples_of(hazy))
    file = tmp_path / "e.csv"
    evaluated(capsys, monkeypatch, stand_in, "--csv", file)
    rows = read(file)
    assert [row["method"] for row in rows] == 3 * ["network", "nothing", "dark channel prior"]
    sample = stand_in.task.samples(None, progress=False)[1](0)
    restored = np.array(stand_in.restore({"hazy": sample["hazy"][None]})["restored"][0])
    prior = dark_channel_prior(sample["hazy"])
    for row, made in zip(rows, (restored, sample["hazy"], prior), strict=False):
        assert float(row["psnr_whole"]) == pytest.approx(psnr(made, sample["clear"]), abs=1e-3)
        assert float(row["ssim_whole"]) == pytest.approx(ssim(made, sample["clear"]), abs=1e-4)
        assert float(row["mae_whole"]) == pytest.approx(mae(made, sample["clear"]), abs=1e-5)
    places = [tmp_path / name for name in ("hazy", "clear")]
    for folder, seed in zip(places, (1, 2), strict=True):
        folder.mkdir()
        write_picture(folder / "a.png", picture(seed, 40, 50))
    evaluated(capsys, monkeypatch, stand_in, "--pairs", *places, "--csv", file)
    a, b = (picture(seed, 40, 50).astype(np.float32) / 255 for seed in (1, 2))
    assert float(read(file)[1]["psnr_whole"]) == pytest.approx(psnr(a, b), abs=1e-3)


def test_a_script_of_ones_own_needs_only_the_name_of_its_picture(tmp_path, capsys, monkeypatch):
    stand_in, _ = dehazer(samples_of(hazy))
    task = replace(stand_in.task, measure=Evaluation(damaged="hazy"))
    file = tmp_path / "e.csv"
    said = evaluated(capsys, monkeypatch, replace(stand_in, task=task), "--csv", file)
    assert "PSNR SSIM   MAE | picture" in said
    assert [row["method"] for row in read(file)] == 3 * [NETWORK, "nothing"]


def test_who_has_no_answer_is_left_out_and_who_goes_on_from_another_takes_as_long(
    tmp_path, capsys, monkeypatch
):
    def give_up(sample):
        raise LeftOut("too dark for it")

    def cloudy(clear, number):
        return {"cloudy": clear * np.float32(0.5) + np.float32(0.5)}

    stand_in, _ = clearer(samples_of(cloudy), clear_below=0.1)
    rivals = {"brave": give_up, "silent": CLOUDS.rivals["oracle: unmix"]}
    task = replace(stand_in.task, measure=replace(CLOUDS, rivals=rivals))
    file = tmp_path / "e.csv"
    said = evaluated(capsys, monkeypatch, replace(stand_in, task=task), "--csv", file)
    assert said.count("too dark for it, left out") == 3
    assert said.count("left out") == 3
    rows = read(file)
    assert [row["method"] for row in rows] == 3 * [NETWORK, KEPT]
    for first, kept in zip(rows[::2], rows[1::2], strict=True):
        assert float(kept["seconds"]) >= float(first["seconds"])
        assert float(kept["memory_mb"]) >= float(first["memory_mb"])
    # What apply would write, but for the rounding of what the network is given.
    sample = stand_in.task.samples(None, progress=False)[1](0)
    pixels = np.rint(sample["cloudy"] * 65535).astype(np.uint16)
    restored, _ = restore_picture(stand_in, pixels)
    assert 0.01 < (restored == pixels).mean() < 0.99
    wanted = psnr(restored.astype(np.float32) / 65535, sample["clear"])
    assert float(rows[1]["psnr_whole"]) == pytest.approx(wanted, abs=0.01)
