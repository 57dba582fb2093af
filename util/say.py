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

    with contextlib.suppress(*_GONE):
        # Without tqdm's lock, which a bar that fails on a closed terminal never gives back.
        tqdm.write(_encodable(lines, sys.stderr), file=sys.stderr, nolock=True)
        sys.stderr.flush()


def say_first(lines, limit=10):
    """Say the first lines of many, and how many more there are."""
    for line in lines[:limit]:
        say(line)
    if len(lines) > limit:
        say(f"and {len(lines) - limit} more")


def show(*lines):
    """Print lines of results to stdout."""
    with contextlib.suppress(*_GONE):
        print(_encodable(lines, sys.stdout), flush=True)


def say_at_once(text):
    """Print a line to stderr from within a signal handler, where `print` may not be called."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def _encodable(lines, stream):
    """Return printable lines as one text that the stream can encode."""
    text = "\n".join(map(printable, lines))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
