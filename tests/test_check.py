"""A data set is looked through: what is damaged, alone or twice, and what leaks."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import PROJECT, smooth_picture
from PIL import Image

import prepare_data
from util.prepare.check import look, perceptual_hash, same


def picture(seed, height=96, width=128):
    return smooth_picture(np.random.default_rng(seed), height, width, 3)


def save(path, pixels, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def scenes(folder, count=6, each=2, suffix="png", first=0):
    """Write pictures that all differ, some in each of several folders; return the folder."""
    for n in range(count * each):
        save(folder / f"{n // each}" / f"{n % each}.{suffix}", picture(first + n))
    return folder


def checked(capsys, *words):
    """Return the exit status of a check, and all its lines."""
    capsys.readouterr()
    status = prepare_data.run(["check", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out + err


def test_a_sound_folder_is_fit(tmp_path, capsys):
    folder = scenes(tmp_path / "clear")
    save(folder / "0" / "small.png", picture(99, 40, 60))
    status, said = checked(capsys, folder)
    assert status == 0
    assert "13 pictures in 6 folders: 12 of 128 x 96, 1 of 60 x 40" in said
    assert "1 are less than half of crop_px = 128" in said
    assert "9 to train on, 4 held back" in said
    assert "\nfit\n" in said


def test_what_is_unreadable_is_named_and_not_fit(tmp_path, capsys):
    folder = scenes(tmp_path / "clear")
    (folder / "0" / "cut.png").write_bytes((folder / "0" / "0.png").read_bytes()[:300])
    status, said = checked(capsys, folder)
    assert status == 1
    assert f"unreadable: {folder / '0' / 'cut.png'}: damaged" in said
    assert "not fit: 1 unreadable\n" in said


def test_copies_on_one_side_are_told_and_on_both_sides_not_fit(tmp_path, capsys):
    folder = scenes(tmp_path / "clear")
    save(folder / "0" / "copy.png", picture(0))
    status, said = checked(capsys, folder)
    assert status == 0
    assert f"twice: {folder / '0' / '0.png'} and {folder / '0' / 'copy.png'} are the same" in said
    save(folder / "5" / "copy.png", picture(0))  # the last of the scenes is held back
    status, said = checked(capsys, folder)
    assert status == 1
    assert f"{folder / '0' / '0.png'} (trained)" in said
    assert f"{folder / '5' / 'copy.png'} (held back) are the same file" in said
    assert "not fit: 1 on both sides\n" in said


def test_the_mistake_of_reside_is_seen(tmp_path, capsys):
    """Its test set has pictures of its training set, of other names and compression."""
    ots, sots = tmp_path / "OTS", tmp_path / "SOTS"
    for n in range(8):
        save(ots / "clear" / f"{n:04}.jpg", picture(n), quality=95)
        for a in (0.8, 1.0):
            save(ots / "hazy" / f"{n:04}_{a}_0.2.jpg", picture(n) // 2 + 120)
    for n in range(4):
        save(sots / "gt" / f"{n:04}.png", picture(20 + n))
    leaked = cv2.resize(picture(3), (100, 75), interpolation=cv2.INTER_AREA)
    words = [ots / "clear", "--hazy", ots / "hazy", "--against", sots / "gt"]
    assert checked(capsys, *words)[0] == 0
    save(sots / "gt" / "0009.jpg", leaked, quality=80)
    status, said = checked(capsys, *words)
    assert status == 1
    assert f"{ots / 'clear' / '0003.jpg'} (" in said
    assert f"{sots / 'gt' / '0009.jpg'} (in {sots / 'gt'}) are nearly the same" in said
    assert checked(capsys, ots / "clear", "--against", ots / "clear")[0] == 1


def test_the_mistake_of_rice_is_seen(tmp_path, capsys):
    """One place is there under several clouds, and its clear picture on both sides."""
    rice = tmp_path / "RICE2"
    for n in range(10):
        ground = picture(n // 2)  # of each place two pairs
        light = np.clip(ground * 1.02 + n % 2, 0, 255).astype(np.uint8)
        save(rice / "label" / f"{n}.png", light)
        save(rice / "cloud" / f"{n}.png", light // 2 + 100 + n)
    status, said = checked(capsys, rice / "label", "--hazy", rice / "cloud")
    assert status == 1
    two = f"{rice / 'label' / '2.png'} (held back) and {rice / 'label' / '3.png'} (trained)"
    assert f"{two} are nearly the same" in said
    assert "not fit: 2 on both sides\n" in said


def test_pairs_that_are_none(tmp_path, capsys):
    clear, hazy = tmp_path / "clear", tmp_path / "hazy"
    for n in range(8):
        save(clear / f"{n}.png", picture(n))
        save(hazy / f"{n}.png", picture(n) // 2)
    assert checked(capsys, clear, "--hazy", hazy)[0] == 0
    save(hazy / "0.png", picture(0)[:90])
    save(hazy / "1.png", picture(1))
    (hazy / "2.png").rename(hazy / "alone.png")
    status, said = checked(capsys, clear, "--hazy", hazy)
    assert status == 1
    assert f"{hazy / '0.png'}: 128 x 90, but {clear / '0.png'} has 128 x 96" in said
    assert f"{hazy / '1.png'}: is the same file as {clear / '1.png'}" in said
    assert "not fit: 2 without a partner, 2 no pairs\n" in said


@pytest.mark.parametrize("size", [(63, 96), (96, 63)])
def test_a_single_picture_too_small_to_train_on_is_not_fit(tmp_path, capsys, size):
    folder = tmp_path / "clear"
    save(folder / "one.png", picture(0, *size))
    status, said = checked(capsys, folder)
    assert status == 1
    assert "sides with nothing usable: none of the 1 to train on" in said
    assert "sides with nothing usable: none of the 1 held back" in said
    assert "not fit: 2 sides with nothing usable\n" in said
    save(folder / "one.png", picture(0, 64, 64))
    assert checked(capsys, folder)[0] == 0


def test_a_side_of_which_nothing_is_usable_is_not_fit(tmp_path, capsys):
    folder = scenes(tmp_path / "clear", count=3, each=1)
    held = save(folder / "3" / "0.png", picture(9, 60, 96))
    (folder / "val.txt").write_text("3/0.png\n")
    (folder / "train.txt").write_text("".join(f"{n}/0.png\n" for n in range(3)))
    status, said = checked(capsys, folder)
    assert status == 1
    assert "sides with nothing usable: none of the 1 held back\n" in said
    assert "to train on\n" not in said
    held.write_bytes(b"no picture")
    status, said = checked(capsys, folder)
    assert status == 1
    assert "1 sides with nothing usable\n" in said


def test_pairs_of_which_none_is_of_one_size_leave_nothing_usable(tmp_path, capsys):
    clear, hazy = tmp_path / "clear", tmp_path / "hazy"
    for n in range(4):
        save(clear / f"{n}.png", picture(n))
        save(hazy / f"{n}_0.8_0.2.png", picture(n)[:90] // 2)
    status, said = checked(capsys, clear, "--hazy", hazy)
    assert status == 1
    assert "not fit: 4 no pairs, 2 sides with nothing usable\n" in said
    for n in range(4):
        save(hazy / f"{n}_0.9_0.2.png", picture(n) // 2)
    status, said = checked(capsys, clear, "--hazy", hazy)
    assert "not fit: 4 no pairs\n" in said


def test_a_process_of_its_own_loads_no_tensorflow(tmp_path):
    folder = scenes(tmp_path / "clear", count=2, each=1)
    code = (
        "import sys, prepare_data\n"
        "status = prepare_data.run(sys.argv[1:])\n"
        "assert not {'tensorflow', 'keras', 'matplotlib', 'skimage'} & sys.modules.keys()\n"
        "raise SystemExit(status)"
    )
    words = [sys.executable, "-c", code, "check", str(folder)]
    assert subprocess.run(words, cwd=PROJECT, timeout=100, check=False).returncode == 0


# --- the same, and nearly the same --------------------------------------------------------------


def looks_at(tmp_path, pictures):
    paths = [save(tmp_path / f"{n}.png", pixels) for n, pixels in enumerate(pictures)]
    return [look(path, 10**6) for path in paths]


def test_groups_hold_what_is_alike_and_nothing_else(tmp_path):
    one, other, third = picture(1), picture(2), picture(3)
    brighter = np.clip(one * 1.1 + 9, 0, 255).astype(np.uint8)
    larger = cv2.resize(other, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC)
    noise = [np.full((64, 64, 3), 40, np.uint8) + np.eye(64, dtype=np.uint8)[..., None] * n
             for n in (0, 1)]  # fmt: skip
    deep = third.astype(np.uint16) * 257
    found = looks_at(tmp_path, [one, other, brighter, third, larger, *noise])
    assert same(found) == [[0, 2], [1, 4]]
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert same([*found, look(tmp_path / "deep.png", 10**6)]) == [[0, 2], [1, 4], [3, 7]]
    assert same([]) == []


def test_many_are_compared_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("util.prepare.check._AT_ONCE", 20)
    pictures = [picture(n % 9) // 2 + np.uint8(n // 9) for n in range(14)]
    assert same(looks_at(tmp_path, pictures)) == [[n, n + 9] for n in range(5)]


@pytest.mark.parametrize("change", ["light", "size"])
def test_a_hash_outlasts_light_and_size_but_not_another_picture(change):
    small = cv2.cvtColor(cv2.resize(picture(1), (32, 32)), cv2.COLOR_RGB2GRAY)
    rough = cv2.resize(cv2.resize(small, (16, 16), interpolation=cv2.INTER_AREA), (32, 32))
    changed = (small // 2 + 60).astype(np.uint8) if change == "light" else rough
    other = cv2.cvtColor(cv2.resize(picture(2), (32, 32)), cv2.COLOR_RGB2GRAY)
    apart = [
        np.bitwise_count(perceptual_hash(small) ^ perceptual_hash(p)) for p in (changed, other)
    ]
    assert apart[0] <= 6
    assert apart[1] > 16
