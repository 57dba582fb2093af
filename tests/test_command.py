"""The command line of training: what is wrong is said at once, and --help says everything."""

import inspect
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields

import pytest
from conftest import PROJECT, SCRIPTS, contents, take_up, task_of

from util import command, interrupt
from util.run.folder import RunFolder
from util.train import loop


def test_mistakes_are_told_all_at_once(runner, capsys):
    run = runner()
    words = ("--batch-sizes=3", "--jit-compile=maybe")
    status, text = run.here(capsys, *words, crop_px=65, learning_rate=-1, validate_every=3)
    assert status == 2
    for part in (
        *("5 mistake(s)", "--batch-sizes=3: not understood; did you mean --batch-size"),
        *("--jit-compile maybe: must be true|false", "crop_px = 65: must be a multiple of 32"),
        *("learning_rate = -1.0: must be above 0", "validate_every = 3: must be a multiple"),
    ):
        assert part in text, text
    assert not run.run_dir.exists()


@pytest.mark.parametrize("setting", ["clear_folder", "cloud_folder"])
def test_without_pictures_the_folder_and_its_setting_are_named(runner, tmp_path, capsys, setting):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "page.jpg").write_text("<html>not found</html>")
    for folder in ("not there", "broken"):
        status, text = runner().here(capsys, **{setting: tmp_path / folder})
        assert status == 2
        assert str(tmp_path / folder) in text
        assert setting in text


def test_a_run_that_is_being_trained_is_left_alone(runner, capsys, tiny_settings, tmp_path):
    run = runner()
    with RunFolder(run.script, tiny_settings(tmp_path, run.script)).held():
        status, text = run.here(capsys, "--fresh")
    assert status == 2
    assert "is being trained by process" in text
    assert "runs_folder" in text
    assert not run.run_dir.exists()


# Signals itself, and again when Python has nearly ended.
_TWICE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from util import interrupt
class Late:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGINT):
        kill(process, number)
late = Late()
interrupt.listen()
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_second_ctrl_c_while_python_ends_changes_nothing():
    words = [sys.executable, "-c", _TWICE, str(PROJECT)]
    found = subprocess.run(words, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (0, b"")


def test_a_start_that_fails_leaves_the_run_as_it_was(runner, capsys, tiny_settings, tmp_path):
    run = runner()
    take_up(RunFolder(run.script, tiny_settings(tmp_path, run.script)))
    before = contents(tmp_path / "runs")
    wrong = {"clear_folder": tmp_path / "not there", "validation_by": "scene"}
    for words, changes in (
        ((), wrong),
        (("--fresh",), wrong),
        (("--fresh", f"--from={tmp_path / 'none.npz'}"), {}),
    ):
        status, text = run.here(capsys, *words, **changes)
        assert status == 2
        assert "not there" in text or "none.npz: no such file" in text
        assert contents(tmp_path / "runs").keys() - before.keys() <= {".mod_defog.lock"}
        assert before.items() <= contents(tmp_path / "runs").items()
    assert not (tmp_path / "History").exists()


def test_what_a_run_shall_begin_with_is_missed_before_pictures_are_opened(runner, tmp_path, capsys):
    run = runner("mod_pix2pix")
    for given, said in (
        ("weights", "--from weights: no weights come with the project for mod_pix2pix; "),
        (tmp_path / "none.npz", "none.npz: no such file"),
    ):
        status, text = run.here(capsys, f"--from={given}", clear_folder=tmp_path / "not there")
        assert status == 2
        assert said in text
        assert "not there" not in text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_before_the_first_step_is_told(number, status, runner, capsys, monkeypatch):
    monkeypatch.setattr(interrupt, "_first", None)
    monkeypatch.setattr(interrupt, "_guarded", False)
    monkeypatch.setattr(loop, "train", lambda *_: interrupt._hear(number, None))
    found, text = runner().here(capsys)
    assert found == status
    assert "mod_defog: stopped; no step was taken yet; the same command goes on" in text


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_setting_with_its_comment(script, capsys, monkeypatch):
    monkeypatch.setattr(interrupt, "listen", lambda: None)  # pytest keeps its own handlers
    with pytest.raises(SystemExit) as end:
        command.main(task_of(script), "what it does", ["--help"])
    assert end.value.code == 0
    text = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    settings = task_of(script).settings
    # A class may set a value anew, with a comment of its own: its lines come first.
    source = "\n".join(inspect.getsource(cls) for cls in settings.__mro__[:-1])
    for field in fields(settings):
        assert f"--{field.name.replace('_', '-')}" in text
        # The comment beside the setting, or in the brackets that the formatter made.
        beside = re.search(rf"^    {field.name}: .*?#[ ](.*?)$", source, re.M | re.S)[1]
        assert "".join(beside.split()) in text, field.name
