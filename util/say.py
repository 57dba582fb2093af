"""Everything that a person reads: errors that are theirs to mend, and lines that can be printed.

No other module of util prints. Names of files are in nearly every line, and they are data that
somebody else made: what could steer a terminal is replaced. A line that cannot be shown, because
the terminal is gone or the pipe is closed, is lost and nothing else is.
"""

import contextlib
import os
import sys

# A closed terminal or pipe, a closed stream, and no stream at all.
_GONE = (OSError, ValueError, AttributeError)


class UserError(Exception):
    """Say what is wrong and what to do; printed without a stack trace, exit status 2."""


def printable(text):
    """Return the text on one line, without characters that could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def say(*lines):
    """Print lines to stderr, past progress bars."""
    from tqdm import tqdm  # here: Ctrl-C is heard before anything but Python itself is loaded

    stream = _lossy(sys.stderr)
    # Without tqdm's lock, which a bar that fails on a closed terminal never gives back.
    tqdm.write(_text(lines), file=stream, nolock=True)
    stream.flush()


def say_first(lines, limit=10):
    """Say the first lines of many, and how many more there are."""
    for line in lines[:limit]:
        say(line)
    if len(lines) > limit:
        say(f"and {len(lines) - limit} more")


def noting():
    """Return ``note(about, line)``, which says the first line about each thing, and no other."""
    said = set()

    def note(about, line):
        if about not in said:
            said.add(about)
            say(line)

    return note


def show(*lines):
    """Print lines of results to stdout."""
    print(_text(lines), file=_lossy(sys.stdout), flush=True)


def say_at_once(text):
    """Print a line to stderr from within a signal handler, where `print` may not be called."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


@contextlib.contextmanager
def lossy_streams():
    """Let nothing that prints fail for want of a reader or a character: help, bars, warnings.

    In the end what was printed is out, or is dropped before Python itself fails to flush it.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_lossy, streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for stream in streams:
            try:
                stream.flush()
            except _GONE:
                with contextlib.suppress(*_GONE), open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), stream.fileno())


class _Lossy:
    """A stream that loses what it cannot show and never raises."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def __eq__(self, other):  # tqdm asks whether a bar is on the stream that a line goes to
        return self.stream is getattr(other, "stream", other)

    def __hash__(self):
        return hash(self.stream)

    def write(self, text):
        with contextlib.suppress(*_GONE):
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding
                self.stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self):
        with contextlib.suppress(*_GONE):
            self.stream.flush()


def _lossy(stream):
    return stream if isinstance(stream, _Lossy) else _Lossy(stream)


def _text(lines):
    return "\n".join(map(printable, lines))
