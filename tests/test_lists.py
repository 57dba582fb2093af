"""Lists say which pictures are trained on, held back and tested on, and training keeps to them."""

import hashlib
import os
import shutil
import subprocess

import numpy as np
import pytest
from test_check import checked, picture, save, scenes

import prepare_data
from configure import Defog
from util.pictures.find import find_pictures, lists_of, read_list, stem_of
from util.pictures.pairs import find_pairs
from util.restore.masks import Holes
from util.samples.split import Split
from util.say import UserError


def listed(folder):
    return {kind: list(names) for kind, names in lists_of(folder).items()}


def sides(folder, split=None, **settings):
    """Return the names on the two sides of a folder, and the split."""
    split = split or Split(Defog(**settings))
    found = split.sides("clear_folder", folder, find_pictures(folder))
    return [[p.relative_to(folder).as_posix() for p in side.paths] for side in found], split


def put(folder, **lists):
    for kind, names in lists.items():
        (folder / f"{kind}.txt").write_text("\n".join(names) + "\n")


# --- written ------------------------------------------------------------------------------------


def test_lists_hold_every_picture_once_and_training_keeps_to_them(tmp_path, capsys):
    folder = scenes(tmp_path / "clear", count=10, each=3)
    words = ["split", str(folder), "--test-share=.2", "--validation-share=.2"]
    assert prepare_data.run(words) == 0
    assert "18 in train.txt, 6 in val.txt, 6 in test.txt" in capsys.readouterr().err
    lists = listed(folder)
    every = [p.relative_to(folder).as_posix() for p in find_pictures(folder)]
    assert sorted(name for names in lists.values() for name in names) == every
    places = {kind: {n.split("/")[0] for n in names} for kind, names in lists.items()}
    assert sum(map(len, places.values())) == 10, "a scene is on two sides"
    found, _ = sides(folder)
    assert found == [lists["train"], lists["val"]]
    assert "18 to train on, 6 held back, 6 are left out" in capsys.readouterr().err
    test = find_pictures(folder / "test.txt")
    assert [p.relative_to(folder).as_posix() for p in test] == lists["test"]
    with pytest.raises(UserError, match="has lists already; --overwrite"):
        prepare_data.run(words)
    words = [*words[:2], "--overwrite", "--validation-by=tile"]
    with pytest.raises(UserError, match=r"has test\.txt; give --test-share"):
        prepare_data.run(words)
    (folder / "test.txt").unlink()
    assert prepare_data.run(words) == 0
    assert all(f"{n}/" in " ".join(listed(folder)["val"]) for n in range(10))


def test_pictures_of_one_place_are_in_one_list(tmp_path, capsys):
    """As in RICE, where one clear picture is there under several clouds."""
    for n in range(30):
        light = np.clip(picture(n // 3) * 1.02 + n % 3, 0, 255).astype(np.uint8)
        save(tmp_path / f"{n:02}.png", light)
    assert checked(capsys, tmp_path)[0] == 1
    assert prepare_data.run(["split", str(tmp_path), "--test-share=.2"]) == 0
    assert "20 pictures are the same as another, or nearly" in capsys.readouterr().err
    assert [len(names) for names in listed(tmp_path).values()] == [18, 6, 6]
    assert checked(capsys, tmp_path)[0] == 0


def test_scenes_that_share_a_picture_are_in_one_list(tmp_path, capsys):
    folder = scenes(tmp_path / "clear", count=6, each=3)
    shutil.copy(folder / "1" / "0.png", folder / "5" / "copy.png")  # the last would be held back
    assert checked(capsys, folder)[0] == 1
    assert prepare_data.run(["split", str(folder), "--hashes"]) == 0
    kinds = {name.split("/")[0]: kind for kind, names in lists_of(folder).items() for name in names}
    assert kinds["1"] == kinds["5"]
    assert sum(len(names) for names in lists_of(folder).values()) == 19
    assert len({(n.split("/")[0], k) for k, names in listed(folder).items() for n in names}) == 6
    assert checked(capsys, folder)[0] == 0
    for n in range(5):
        save(folder / f"{n}" / "shared.png", picture(90))
    with pytest.raises(
        UserError, match="24 pictures are too few for 2 lists of whole scenes; --val"
    ):
        prepare_data.run(["split", str(folder), "--overwrite"])
    assert prepare_data.run(["split", str(folder), "--overwrite", "--validation-by=tile"]) == 0
    assert checked(capsys, folder)[0] == 0


def test_what_cannot_be_compared_is_listed_all_the_same(tmp_path, capsys):
    folder = scenes(tmp_path / "clear")
    (folder / "0" / "cut.png").write_bytes((folder / "0" / "0.png").read_bytes()[:300])
    assert prepare_data.run(["split", str(folder), "--hashes"]) == 0
    assert f"{folder / '0' / 'cut.png'}: damaged" in capsys.readouterr().err
    digest = hashlib.sha256((folder / "0" / "cut.png").read_bytes()).hexdigest()
    assert lists_of(folder)["train"]["0/cut.png"] == digest


def test_hashes_are_those_of_sha256sum_and_check_compares_them(tmp_path, capsys):
    folder = scenes(tmp_path / "clear")
    save(folder / "5" / "with some  spaces.png", picture(77))
    assert prepare_data.run(["split", str(folder), "--hashes"]) == 0
    for name, digest in lists_of(folder)["train"].items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if program := shutil.which("sha256sum"):
        for kind in ("train", "val"):
            subprocess.run([program, "-c", f"{kind}.txt"], cwd=folder, check=True)
    assert checked(capsys, folder)[0] == 0
    name = listed(folder)["train"][0]
    save(folder / name, picture(50))
    (folder / listed(folder)["val"][0]).unlink()
    status, said = checked(capsys, folder)
    assert status == 1
    assert f"{name} of train.txt: has another SHA-256" in said
    assert "val.txt: is not there" in said
    assert "not fit: 2 not as listed\n" in said


@pytest.mark.parametrize("words", [[], ["--hashes"]])
def test_names_that_begin_as_comments_do_are_listed(tmp_path, capsys, words):
    names = [f"{first}{n}.png" for first in ("#", " ", "##/# ") for n in range(4)]
    for n, name in enumerate(names):
        save(tmp_path / name, picture(n))
    assert prepare_data.run(["split", str(tmp_path), *words]) == 0
    lists = listed(tmp_path)
    assert sorted(lists["train"] + lists["val"]) == sorted(names)
    assert checked(capsys, tmp_path)[0] == 0


@pytest.mark.parametrize("sign", ["\n", "\r", "\x85", "\u2028", "\\"])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_no_list_can_hold_are_left_out_with_a_line(tmp_path, capsys, sign):
    for n in range(4):
        save(tmp_path / f"{n}.png", picture(n))
    save(tmp_path / f"a{sign}b.png", picture(9))
    assert prepare_data.run(["split", str(tmp_path), "--validation-by", "tile"]) == 0
    said = capsys.readouterr().err
    shown = sign if sign.isprintable() else "?"
    assert f"left out a{shown}b.png: no list can hold this name; rename it\n" in said
    lists = listed(tmp_path)
    assert sorted(lists["train"] + lists["val"]) == [f"{n}.png" for n in range(4)]


def test_a_test_picture_that_is_trained_on_leaks(tmp_path, capsys):
    folder = scenes(tmp_path / "clear")
    assert prepare_data.run(["split", str(folder), "--test-share=.2"]) == 0
    assert checked(capsys, folder)[0] == 0
    lists = listed(folder)
    shutil.copy(folder / lists["train"][0], folder / lists["test"][0])
    status, said = checked(capsys, folder)
    assert status == 1
    assert f"{folder / lists['test'][0]} (tested on) are the same file" in said


def test_too_few_pictures_are_told(tmp_path):
    save(tmp_path / "a.png", picture(0))
    with pytest.raises(UserError, match="1 pictures are too few for 2 lists"):
        prepare_data.run(["split", str(tmp_path)])
    with pytest.raises(UserError, match="is no folder"):
        prepare_data.run(["split", str(tmp_path / "a.png")])


# --- read ---------------------------------------------------------------------------------------


def test_lines_of_a_list(tmp_path):
    digest = "aB" * 32
    file = tmp_path / "x.txt"
    file.write_bytes(
        f"# made by hand\r\n\r\na.png\r\n./in/b.png\r\n{digest}  in/c d.png\r\n"
        f"{digest} *in/e.png\r\nin\\f.png".encode()
    )
    low = digest.lower()
    names = {"a.png": None, "in/b.png": None, "in/c d.png": low, "in/e.png": low, "in/f.png": None}
    assert read_list(file) == names
    file.write_text("a.png\nb.png\n", encoding="utf-8-sig")  # as Windows' Notepad may write it
    assert list(read_list(file)) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["../a.png"], "does not lie in its folder"),
        (["/etc/a.png"], "does not lie in its folder"),
        (["a/../../b.png"], "does not lie in its folder"),
        (["a.png", "./a.png"], "names a.png twice"),
    ],
)
def test_lists_that_cannot_be_meant(tmp_path, lines, why):
    put(tmp_path, train=lines)
    with pytest.raises(UserError, match=rf"train\.txt.* {why}"):
        lists_of(tmp_path)


def test_a_picture_in_two_lists_is_refused(tmp_path):
    put(tmp_path, train=["a.png"], test=["b.png", "a.png"])
    with pytest.raises(UserError, match=r"a\.png is in train\.txt as well"):
        lists_of(tmp_path)


def test_lists_of_which_nothing_fits_are_named_with_a_way_out(tmp_path):
    folder = scenes(tmp_path / "clear")
    with pytest.raises(UserError, match=r"list needs train\.txt.*prepare_data\.py split"):
        sides(folder, validation_by="list")
    put(folder, train=["0/0.png"])
    by_scene, _ = sides(folder)
    assert sum(map(len, by_scene)) == 12, "one list is no split"
    put(folder, train=["clear/0/0.png"], val=["0/1.png"])
    with pytest.raises(UserError, match=r"train\.txt names none.*validation_by to tile"):
        sides(folder)
    assert sides(folder, validation_by="scene")[0] == by_scene


@pytest.mark.parametrize("lines", [["0/0", "0/1"], ["0/0.png 0/1.png"], ["0/0.png 3"], ["0.png"]])
def test_a_list_of_another_kind_is_one_line_that_says_what_is_expected(tmp_path, capsys, lines):
    folder = scenes(tmp_path / "clear")
    put(folder, train=lines)
    status, said = checked(capsys, folder)
    assert status == 1
    assert "not fit: 1 not as listed\n" in said
    assert (
        "another kind: a line must be one picture's path within the folder, such as a/b.png; "
        f"the first is {lines[0]}\n" in said
    )
    put(folder, val=["5/0.png"])
    with pytest.raises(UserError, match=rf"^FOLDER = {folder}: train\.txt names none .*{lines[0]}"):
        checked(capsys, folder)


def test_a_run_keeps_its_sides_when_lists_change(tmp_path):
    folder = scenes(tmp_path / "clear", count=2, each=3)
    names = [p.relative_to(folder).as_posix() for p in find_pictures(folder)]
    put(folder, train=names[:3], val=names[3:4])
    (trained, held), split = sides(folder)
    put(folder, train=[*names[3:], names[1]], val=names[:1])
    resumed = Split(Defog(), {"split": split.stored()})
    (trained_now, held_now), _ = sides(folder, resumed)
    assert held_now == held
    assert trained_now == [*trained, *names[4:]]
    for kind in ("train", "val"):
        (folder / f"{kind}.txt").unlink()
    assert sides(folder, Split(Defog(), {"split": split.stored()}))[0] == [trained, held]


def test_a_list_stands_for_a_folder_of_pairs(tmp_path, capsys):
    for n in range(3):
        save(tmp_path / "hazy" / f"{n}_0.8_0.1.png", picture(n))
        save(tmp_path / "clear" / f"{n}.png", picture(n))
    put(tmp_path / "clear", test=["1.png", "gone.png"])
    pairs, _ = find_pairs(tmp_path / "hazy", tmp_path / "clear" / "test.txt")
    assert [(path.name, [p.name for p in found]) for path, found in pairs] == [
        ("1.png", ["1_0.8_0.1.png"])
    ]
    assert "1 that are not there" in capsys.readouterr().err


def test_apply_takes_the_pictures_of_a_list_and_their_masks_beside_them(tmp_path):
    names = ["in/0.png", "in/1.png", "in/0_mask.png", "in/1_mask.png"]
    for n, name in enumerate(names):
        save(tmp_path / name, picture(n))
    put(tmp_path, test=names[:2])
    listed = tmp_path / "test.txt"
    assert [stem_of(path, listed) for path in find_pictures(listed)] == ["in/0", "in/1"]
    masks = {tmp_path.resolve() / name for name in names[2:]}
    assert Holes(tmp_path).masks_within(listed) == masks
