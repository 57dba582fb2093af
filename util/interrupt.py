"""Hear Ctrl-C and the like without being torn: a flag that is looked at between steps.

Imports nothing heavy: a script listens before it loads TensorFlow.
"""

import atexit
import signal

from util.say import say_at_once

_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_first = None  # the first signal heard
_guarded = False  # between guard() and leave(): a signal only sets the flag


def _hear(number, frame):
    global _first
    again, _first = _first is not None, _first or number
    if not _guarded:
        raise SystemExit(exit_status())
    text = "saving, please wait" if again else "stopping: finishing this step, then saving"
    # SIGHUP means that the terminal is gone: an error here would tear the step in hand.
    say_at_once(text)


def listen():
    """Take over SIGINT, SIGTERM and SIGHUP; until `guard` they end the program at once.

    A SIGHUP that is ignored already stays so: that is what nohup is for.
    """
    for number in _SIGNALS:
        ignored = signal.getsignal(number) == signal.SIG_IGN
        if not (ignored and number == getattr(signal, "SIGHUP", None)):
            signal.signal(number, _hear)
    atexit.register(_ignore)


def _ignore():
    """Hear nothing more: while Python ends it would give the signals back, and one would kill."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _hear:
            signal.signal(number, signal.SIG_IGN)


def guard():
    """From now on a signal only sets the flag that `requested` shows."""
    global _guarded
    _guarded = True


def leave():
    """Let signals end the program at once again."""
    global _guarded
    _guarded = False


def requested():
    """Tell whether a signal was heard."""
    return _first is not None


def exit_status():
    """Return the exit status for the signal heard: 0 for none and for Ctrl-C, 143 for SIGTERM."""
    return 0 if _first in (None, signal.SIGINT) else 128 + _first
