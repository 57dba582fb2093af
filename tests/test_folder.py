"""The folder of a run: held once, begun with settings that are remembered, moved whole."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import PROJECT, take_up

from configure import Defog, GANPoly
from util.run.folder import RunFolder, as_of_now
from util.say import UserError
from util.settings import changes, home_of
from util.train import end

_HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from configure import Defog
from util.run.folder import RunFolder
with RunFolder("mod_defog", Defog(runs_folder=sys.argv[2])).held():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def make(tmp_path):
    """Return a function: settings that differ -> a RunFolder below the test's own folder."""

    def made(cls=Defog, **changes):
        places = {"runs_folder": tmp_path / "runs", "history_folder": tmp_path / "History"}
        places = {name: str(place) for name, place in places.items()}
        return RunFolder("mod_defog", replace(cls(), **{**places, **changes}))

    return made


# --- the lock -----------------------------------------------------------------------------------


def test_a_run_is_held_once_and_names_its_holder(make):
    run, other = make(), make()
    with run.held():
        with (
            pytest.raises(UserError, match=rf"mod_defog is .* process {os.getpid()} on"),
            other.held(),
        ):
            pytest.fail("the run was held twice")
        with pytest.raises(UserError), other.held():  # asking did not free it
            pytest.fail("the run was held twice")
    with other.held():
        assert not run.path.exists()  # the lock lies beside it


def test_a_run_is_free_when_its_process_is_killed(make, tmp_path):
    words = [str(PROJECT), str(tmp_path / "runs")]
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, *words], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"process {holder.pid} on"), make().held():
            pytest.fail("the run was held twice")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with make().held():
        pass


@pytest.mark.parametrize("number", ["ENOSYS", "ENOTSUP", "ENOLCK", "EINVAL", "EIO"])
def test_where_there_are_no_locks_a_note_is_made_and_it_goes_on(make, number, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")
    code = getattr(errno, number)

    def flock(file, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    run = make()
    with run.held():
        (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {run.path.parent} cannot be locked ({os.strerror(code)})")


def test_a_runs_folder_that_cannot_be_made_is_named(make, tmp_path):
    (tmp_path / "runs").write_text("a file where a folder belongs")
    with pytest.raises(UserError, match="runs_folder"), make().held():
        pytest.fail("there is no such folder")


def test_the_command_that_goes_on_leads_to_the_run(make, tmp_path, monkeypatch):
    home = home_of(Defog)
    for usual in ("runs", f"{home}/runs", "~/runs"):
        monkeypatch.setattr(Defog, "runs_folder", usual)
        there = str(Path(home, Path(usual).expanduser()))
        assert make(runs_folder=there).command == "python mod_defog.py"
    run = make(runs_folder=str(tmp_path / "my runs"))
    assert run.command == f"python mod_defog.py --runs-folder '{tmp_path}/my runs'"
    assert end.of_steps(run, 5, Defog(steps=9)).endswith(f"To go on: {run.command}")


# --- settings.json ------------------------------------------------------------------------------


def test_a_project_that_was_moved_with_its_runs_has_the_same_pictures(tmp_path):
    usual = {n: v for n, v in vars(Defog()).items() if n.endswith(("_folder", "_file")) and v}
    assert {"clear_folder", "runs_folder", "cloud_folder"} <= usual.keys()

    def lying(home, **others):
        home = {n: os.path.join(home, v) for n, v in usual.items()}
        return Defog(**home | {n: str(tmp_path / v) for n, v in others.items()})

    def changed(before, now):
        return changes(now, as_of_now(json.loads(json.dumps(asdict(before))), now)).keys()

    old, new = str(tmp_path / "old"), home_of(Defog)
    assert changed(lying(old), lying(new)) == set()
    assert changed(lying(old), lying(new, clear_folder="mine")) == {"clear_folder"}
    assert changed(lying(old, clear_folder="mine"), lying(new)) == {"clear_folder"}
    # Another project's run is no project that was moved.
    there = {"runs_folder": "old/runs"}
    assert changed(lying(old), lying(new, **there)) == usual.keys() - there.keys()
    assert changed(lying(old, runs_folder="r"), lying(new)) == usual.keys()
    assert changed(lying("/"), lying(new)) == usual.keys()
    assert as_of_now(None, lying(new)) == {}


def test_what_changed_since_the_last_start_is_said(make, capsys):
    take_up(make())
    assert capsys.readouterr().err == ""
    take_up(make(learning_rate=5e-4, noise_share=0.25, clear_below=0.05))
    assert capsys.readouterr().err.splitlines() == [
        "learning_rate: 0.002 before, 0.0005 now",
        "clear_below: 0.04 before, 0.05 now",
        "noise_share: 0.5 before, 0.25 now, so other samples from here on",
    ]


def test_what_the_networks_depend_on_is_refused_and_nothing_is_written(make):
    run = make()
    take_up(run)
    before = (run.path / "settings.json").read_bytes()
    with pytest.raises(UserError, match=r"base_width: 12 before, 4 now\n.*\n?.*--fresh"):
        take_up(make(base_width=4, learning_rate=5e-4))
    assert (run.path / "settings.json").read_bytes() == before


def test_a_start_that_came_to_nothing_binds_nobody(make, capsys):
    make(preset="source", base_width=8).keep()
    run = make(base_width=4)
    run.compare()
    assert run.kept == {}
    assert capsys.readouterr().err == ""
    run.checkpoints.mkdir()
    (run.checkpoints / ".tmp-0123.npz").touch()  # left by a kill
    run.compare()
    (run.checkpoints / "damaged-step-0000001.npz").touch()
    with pytest.raises(UserError, match="preset = source, which"):
        run.compare()


def test_settings_from_before_they_were_renamed_are_compared(make):
    run = make(GANPoly)
    take_up(run)
    file = run.path / "settings.json"
    stored = json.loads(file.read_text())
    stored["history_size"] = stored.pop("past_size")
    file.write_text(json.dumps(stored))
    with pytest.raises(UserError, match="past_size: 768 before, 32 now"):
        take_up(make(GANPoly, past_size=32))
    take_up(make(GANPoly))
    assert json.loads(file.read_text())["past_size"] == 768


def test_a_setting_younger_than_a_run_has_what_it_meant_then(make):
    run = make(optimizer="adam")
    take_up(run)
    file = run.path / "settings.json"
    stored = json.loads(file.read_text())
    del stored["optimizer"]
    file.write_text(json.dumps(stored))
    with pytest.raises(UserError, match="optimizer: 'adam' before, 'muon' now"):
        take_up(make(optimizer="muon"))
    take_up(make(optimizer="adam"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_damaged_settings_do_not_stop_a_run(make, content):
    run = make()
    take_up(run)
    (run.path / "settings.json").write_bytes(content)
    take_up(run)
    assert json.loads((run.path / "settings.json").read_text())["base_width"] == 12


def test_a_folder_that_cannot_be_written_is_named(make):
    run = make()
    run.path.parent.mkdir(parents=True)
    run.path.write_text("a file where the folder belongs")
    with pytest.raises((UserError, NotADirectoryError), match="mod_defog"):
        take_up(run)


# --- moved away ---------------------------------------------------------------------------------


def test_a_fresh_start_moves_the_run_and_says_where(make, capsys, tmp_path):
    run = make()
    run.move_to_history()  # there is none
    assert capsys.readouterr().err == ""
    take_up(run)
    run.move_to_history()
    (moved,) = (tmp_path / "History" / "mod_defog").iterdir()
    assert str(moved) in capsys.readouterr().err
    assert (moved / "settings.json").exists()
    assert not run.path.exists()
