"""Pictures are found in folders, each once."""

import os
import shutil

import pytest

from util.pictures.find import find_pictures, partners
from util.pictures.pixels import PictureError


def test_find_pictures_in_the_zoo(zoo):
    folder = zoo["png"].parent
    found = [path.relative_to(folder).as_posix() for path in find_pictures(folder)]
    assert found == sorted(set(found))
    assert {"CAPITALS.PNG", "data[1]/in_brackets.png", "with some spaces.png"} <= set(found)
    assert "wölken_雲.png" in found
    left_out = {"._a.png", ".thumbnails/small.png", "dangling.png", "picture.ppm"}
    assert not left_out & set(found)
    assert not any(name.startswith("loop/") for name in found)
    assert find_pictures(folder / "data[1]") == [zoo["brackets"]]
    assert find_pictures(zoo["png"]) == [zoo["png"]]


def test_linked_folder_is_entered_once(zoo, tmp_path):
    if "link loop" not in zoo:
        pytest.skip("no links on this system")
    (tmp_path / "far").mkdir()
    shutil.copy(zoo["png"], tmp_path / "far" / "a.png")
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "far", target_is_directory=True)
    assert find_pictures(tmp_path / "data") == [tmp_path / "data" / "one" / "a.png"]


def test_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(PictureError, match=r"nowhere.*give an existing"):
        find_pictures(tmp_path / "nowhere")
    assert find_pictures(tmp_path) == []


def test_unreadable_folder_is_skipped_aloud(zoo, tmp_path, capsys):
    shutil.copy(zoo["png"], tmp_path / "a.png")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    try:
        if os.access(locked, os.R_OK):
            pytest.skip("this user may read everything")
        assert find_pictures(tmp_path) == [tmp_path / "a.png"]
        assert "locked" in capsys.readouterr().err
    finally:
        locked.chmod(0o700)


def test_partners_have_one_name_in_two_folders(zoo, tmp_path, capsys):
    one, other = tmp_path / "one", tmp_path / "other"
    for name in ("one/b.png", "one/in/a.png", "one/alone.png", "other/b.tif", "other/in/a.PNG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(zoo["png"], tmp_path / name)
    shutil.copy(zoo["png"], other / "a.png")
    found = partners(one, other)
    assert found == {
        "b": (one / "b.png", other / "b.tif"),
        "in/a": (one / "in" / "a.png", other / "in" / "a.PNG"),
    }
    assert list(found) == ["b", "in/a"]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"left out {one / 'alone.png'}: no alone.* in {other}",
        f"left out {other / 'a.png'}: no a.* in {one}",
    ]
