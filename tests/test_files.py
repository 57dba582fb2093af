"""Files appear whole or not at all, also on a full disk, after a kill and after a power cut."""

import contextlib
import errno
import os
import time

import numpy as np
import pytest

from util import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_new_file_takes_the_place_of_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path, monkeypatch, fails):
    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match=r"No space left.*a\.txt") as caught:
        files.write(path, "new")
    monkeypatch.undo()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_array_that_does_not_fit_is_a_full_disk(tmp_path):
    """NumPy writes by itself and says "99872 requested and 0 written" only."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with (
            # Where the system tells which limit it is, its own word counts.
            pytest.raises(OSError, match=r"(No space left|File too large).*a\.npy"),
            files.whole(tmp_path / "a.npy") as file,
        ):
            np.save(file, np.zeros(100_000, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_disk_that_cannot_sync_gets_its_files(tmp_path, monkeypatch, number):
    def unknown(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", unknown)
    files.write(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_ends_the_block_early_leaves_nothing(tmp_path, error):
    def interrupted():
        with files.whole(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def make(name, error=None):
        with files.in_place_of(tmp_path / name) as temporary:
            (temporary / "inner").mkdir(parents=True)
            (temporary / "inner" / "file").write_bytes(b"x")
            if error:
                raise error

    make("whole")
    assert (tmp_path / "whole" / "inner" / "file").read_bytes() == b"x"
    with pytest.raises(ValueError, match="bad"):
        make("never", ValueError("bad"))
    assert names(tmp_path) == ["whole"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_made_with_a_file_gets_its_name_or_is_gone(tmp_path, fails):
    with (
        contextlib.suppress(KeyError),
        files.in_place_of(tmp_path / "a.b.tif", [".tfw", "_RPC.TXT", ".wld"]) as temporary,
    ):
        for end in (".tif", ".tfw", "_RPC.TXT"):
            temporary.with_name(temporary.stem + end).write_text(end)
        if fails:
            raise KeyError
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    whole = {"a.b.tif": ".tif", "a.b.tfw": ".tfw", "a.b_RPC.TXT": "_RPC.TXT"}
    assert made == ({} if fails else whole)


def test_the_temporary_name_keeps_the_suffix_and_fits_beside_the_longest_name(tmp_path):
    path = tmp_path / (251 * "n" + ".npz")
    with files.in_place_of(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".npz")
        temporary.write_bytes(b"x")
    assert path.exists()


def test_text_is_written_as_utf_8_with_the_folders_on_its_way(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    files.write(path, "\u00fc\n")
    assert path.read_bytes() == b"\xc3\xbc\n"


def test_file_and_folder_are_synced_before_and_after_the_rename(tmp_path, monkeypatch):
    """Without it a power cut can leave an empty file under the final name."""
    done = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(handle):
        done.append("folder" if os.path.isdir(f"/dev/fd/{handle}") else "file")
        fsync(handle)

    def watched_replace(a, b):
        done.append("rename")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    files.write(tmp_path / "a.txt", b"x")
    assert done == ["file", "rename", "folder"]


def test_sweeping_removes_only_what_killed_writers_left(tmp_path):
    others = ["damaged-step-0000001.npz", "notes.txt", ".hidden", "a.tmp", ".tmp-new.npz"]
    for name in (*others, ".tmp-old.npz"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".tmp-old.npz", (time.time() - 7200,) * 2)
    files.sweep(tmp_path, older_than_s=3600)
    assert names(tmp_path) == sorted(others)
    files.sweep(tmp_path)
    assert names(tmp_path) == sorted(set(others) - {".tmp-new.npz"})
    files.sweep(tmp_path / "not there")


def test_a_free_name_counts_up_and_sees_dangling_links(tmp_path):
    assert files.free_name(tmp_path, "a") == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a_2").symlink_to(tmp_path / "nowhere")
    assert files.free_name(tmp_path, "a") == tmp_path / "a_3"
    (tmp_path / "a.npz").touch()
    assert files.free_name(tmp_path, "a.npz") == tmp_path / "a_2.npz"
