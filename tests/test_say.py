"""Lines for a person never raise, never steer the terminal, and never wait for a lock."""

import io
import os
import subprocess
import sys
import threading

import pytest
from conftest import PROJECT
from tqdm import tqdm

from util import say


class Stream(io.TextIOWrapper):
    """A terminal or a pipe that can show one encoding only."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


class Gone(io.StringIO):
    """A terminal that was closed, or a pipe whose reader has left."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize(("speak", "name"), [(say.say, "stderr"), (say.show, "stdout")])
def test_a_line_for_a_person(speak, name, monkeypatch):
    stream = Stream("utf-8")
    monkeypatch.setattr(f"sys.{name}", stream)
    speak("bad\x1b[2Jname\n.png", "\u00fcber")
    assert stream.text() == "bad?[2Jname?.png\n\u00fcber\n"
    stream = Stream("ascii")
    monkeypatch.setattr(f"sys.{name}", stream)
    speak("\u6d77.png")
    assert stream.text() == "?.png\n"
    for stream in (Gone(), None):
        monkeypatch.setattr(f"sys.{name}", stream)
        speak("nobody listens")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(f"sys.{name}", closed)
    speak("nobody listens")


def test_a_line_is_said_while_a_bar_that_failed_holds_the_lock(capfd):
    said = threading.Event()

    def speak():
        say.say("heard")
        said.set()

    before = tqdm.get_lock()
    tqdm.set_lock(threading.RLock())
    try:
        with tqdm.get_lock():
            threading.Thread(target=speak, daemon=True).start()
            assert said.wait(10)
    finally:
        tqdm.set_lock(before)
    assert "heard" in capfd.readouterr().err


def test_nothing_that_prints_fails_for_want_of_a_reader_or_a_character(monkeypatch):
    for stream in (Gone(), None, Stream("ascii")):
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr("sys.stdout", stream)
        with say.lossy_streams():
            for _ in tqdm(range(3), "\u536b", mininterval=0):
                print("\u536b\u661f")
            say.say("line")
        assert sys.stdout is sys.stderr is stream
    assert "??\n" in stream.text()
    assert "\u536b" not in stream.text()


def test_a_line_does_not_tear_a_bar(monkeypatch):
    stream = Stream("utf-8")
    monkeypatch.setattr("sys.stderr", stream)
    with tqdm(total=2, desc="bar") as bar:
        bar.refresh()
        say.say("line")
    assert "\r   " in stream.text().split("line\n")[0]  # the bar was wiped before


HELP = """
from types import SimpleNamespace
from configure import Defog
from util import command
command.main(SimpleNamespace(name="mod_x", settings=Defog), "\u536b\u661f", ["--help"])
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_code_page_that_lacks_a_character(encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    words = [sys.executable, "-c", HELP]
    ended = subprocess.run(words, env=env, cwd=PROJECT, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ("\u536b\u661f" if encoding == "utf-8" else "??").encode() in ended.stdout


@pytest.mark.parametrize(
    "printed", ["say.show('x')", "say.say('x')", "print('x')", "print('x' * 99999)"]
)
def test_a_reader_that_has_left_is_no_failure(printed):
    """As head leaves: the end is quiet, and what was done counts."""
    read, write = os.pipe()
    os.close(read)
    code = f"from util import say\nwith say.lossy_streams():\n    {printed}"
    gone = "stderr" if "say.say" in printed else "stdout"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, gone: write}
    env = {**os.environ, "PYTHONUNBUFFERED": ""}  # else Python has nothing to flush in the end
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, env=env, **streams)
    os.close(write)
    assert [text or b"" for text in process.communicate()] == [b"", b""]
    assert process.returncode == 0
