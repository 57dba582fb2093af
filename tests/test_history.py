"""Runs that are moved into History/ arrive whole, and nothing there is overwritten."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from util.run.history import move_to_history

FILES = {"log.csv": b"step\n1\n", "checkpoints/ckpt-1.index": bytes(range(256)), "lock": b""}


def make_run(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def run_dir(tmp_path):
    return make_run(tmp_path / "runs" / "mod defog ü")


@pytest.fixture
def other_disk(monkeypatch, run_dir):
    """Let a rename out of the run's folder fail as it does between two file systems."""
    rename = os.rename

    def cross_device(source, target):
        if Path(source) == run_dir:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    monkeypatch.setattr(os, "rename", cross_device)


def test_nothing_to_move_leaves_no_trace(tmp_path):
    (tmp_path / "empty").mkdir()
    assert move_to_history(tmp_path / "missing", tmp_path / "History") is None
    assert move_to_history(tmp_path / "empty", tmp_path / "History") is None
    assert not (tmp_path / "History").exists()


def test_a_run_is_moved_whole(run_dir, tmp_path):
    place = move_to_history(run_dir, tmp_path / "History")
    assert place.parent == tmp_path / "History" / run_dir.name
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", place.name)
    assert contents(place) == FILES
    assert not run_dir.exists()


def test_moves_in_the_same_second_do_not_overwrite(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "2024-01-02_03-04-05")
    places = []
    for _ in range(3):
        make_run(run_dir)
        places.append(move_to_history(run_dir, tmp_path / "History"))
    assert [p.name[19:] for p in places] == ["", "_2", "_3"]
    assert all(contents(place) == FILES for place in places)


@pytest.mark.usefixtures("other_disk")
def test_across_file_systems(run_dir, tmp_path):
    (run_dir / "newest").symlink_to("log.csv")
    place = move_to_history(run_dir, tmp_path / "History")
    assert contents(place) == FILES | {"newest": FILES["log.csv"]}
    assert (place / "newest").is_symlink()
    assert not run_dir.exists()
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.usefixtures("other_disk")
@pytest.mark.parametrize("failure", ["full", "short"])
def test_a_failed_copy_leaves_the_run_and_no_half_copy(run_dir, tmp_path, monkeypatch, failure):
    copytree = shutil.copytree

    def failing(source, target, *args, **options):
        copytree(source, target, *args, **options)
        if Path(source) != run_dir:  # copytree calls itself for folders in folders
            return
        (Path(target) / "log.csv").write_bytes(b"st")
        if failure == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copytree", failing)
    with pytest.raises(OSError, match="could not be moved") as caught:
        move_to_history(run_dir, tmp_path / "History")
    assert caught.value.errno == (errno.ENOSPC if failure == "full" else errno.EIO)
    assert contents(run_dir) == FILES
    assert list((tmp_path / "History" / run_dir.name).iterdir()) == []


@pytest.mark.usefixtures("other_disk")
def test_a_source_that_cannot_be_removed_is_named(run_dir, tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(errno.EACCES, "no", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermissionError, match=r"whole in .*History.*by hand"):
        move_to_history(run_dir, tmp_path / "History")
    (place,) = (tmp_path / "History" / run_dir.name).iterdir()
    assert contents(place) == contents(run_dir) == FILES


def test_an_error_names_both_places(run_dir, tmp_path):
    (tmp_path / "History").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="could not be moved") as caught:
        move_to_history(run_dir, tmp_path / "History")
    assert str(run_dir) in str(caught.value)
    assert str(tmp_path / "History") in str(caught.value)
    assert contents(run_dir) == FILES


def test_a_linked_run_folder_stays_usable(run_dir, tmp_path):
    link = tmp_path / "mod_defog"
    link.symlink_to(run_dir)
    place = move_to_history(link, tmp_path / "History")
    assert place.parent.name == "mod_defog"
    assert contents(place) == FILES
    assert not place.is_symlink()
    assert link.is_dir()
    assert list(link.iterdir()) == []
