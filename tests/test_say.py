"""Lines for a person never raise, never steer the terminal, and never wait for a lock."""

import io
import threading

import pytest
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
