"""One worker does one picture after another; few wait before it, results stay for a while.

It knows nothing of networks or of the web: what is done with a ticket is what `load` yields.
"""

import math
import secrets
import shutil
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from util.say import say

WAITING, KEPT, KEPT_S = 4, 20, 15 * 60  # tickets in the queue; results, and for how long
_LOOK_EVERY_S = 10  # for results that are too old
_MOST_WAIT_S = 120  # that a client is told
_NEXT_S = 2  # in which a client asks again, or for the next thing, such as the opacity


class Refused(Exception):
    """A request that is not met: its HTTP status and a sentence for who sent it."""

    def __init__(self, status, text, **headers):
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers


def no_room(error):
    """Return what a client is told of an OSError."""
    return Refused(507, f"no room for it on the server ({error.strerror})")


class Dropped(Exception):
    """Nobody waits any longer for the picture in hand."""


@dataclass(eq=False)
class Ticket:
    """A picture on its way, and what is known of it.

    id : str
        128 random bits: who knows them may see the picture.
    folder : Path
        Its own, which goes when the ticket goes. No name in it comes from a client.
    source, mask : Path or None
        The picture; what of it is to be repainted.
    shown : bool
        Whether small pictures are made of it as well, for the page.
    state : {"new", "waiting", "working", "done", "failed"}
    done, total : int
        Tiles, so far and of what is known to come.
    files : dict name -> Path
        What has come of it.
    error : Refused or None
    told_at : float
        When its client got the error, or the last of what came of it.
    """

    id: str
    folder: Path
    source: Path | None = None
    mask: Path | None = None
    shown: bool = False
    state: str = "new"
    done: int = 0
    total: int = 0
    notes: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    error: Refused | None = None
    is_dropped: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    ended_at: float = 0.0
    told_at: float = math.inf


class Desk:
    """Take tickets, and let the worker see to them in turn.

    Parameters
    ----------
    load : callable
        Returns a context with ``work(ticket)`` in it, which fills in its files, or raises Refused.
        It is entered by the worker's own thread, which alone ever touches the network.
    folder : Path
        For the folders of tickets.
    waiting, kept, kept_s : int
        So many wait before the next is refused; so many results stay, for so many seconds.
    clock : callable
        Seconds that pass.

    Attributes
    ----------
    is_ready : bool
        Whether the network is loaded.
    failure : exception or None
        Why it could not be.
    """

    def __init__(
        self, load, folder, *, waiting=WAITING, kept=KEPT, kept_s=KEPT_S, clock=time.monotonic
    ):
        self._load, self._folder, self._clock = load, Path(folder), clock
        self.waiting, self.kept, self.kept_s = waiting, kept, kept_s
        self._tickets, self._queue, self._in_hand = {}, deque(), None
        self._last_s = 5.0
        self._changed = threading.Condition()
        self._closing, self._last = False, []
        self.is_ready, self.failure = False, None
        self._worker = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self):
        """Begin to load, and then to work."""
        self._worker.start()

    @property
    def is_busy(self):
        """Whether a picture is in hand."""
        return self._in_hand is not None

    @property
    def is_alive(self):
        """Whether the worker still runs."""
        return self._worker.is_alive()

    @property
    def is_waited_for(self):
        """Whether clients that ask from time to time have yet to get what was there at the end."""
        now = self._clock()
        return any(not t.is_dropped and now < t.told_at + _NEXT_S for t in self._last)

    def new(self):
        """Return a new ticket with a folder of its own."""
        name = secrets.token_urlsafe(16)
        ticket = Ticket(name, self._folder / name)
        ticket.folder.mkdir()
        with self._changed:
            self._tickets[name] = ticket
        return ticket

    def queue(self, ticket):
        """Let a ticket wait for its turn; Refused, 503, if too many do."""
        with self._changed:
            self._check_open()
            if len(self._queue) >= self.waiting:
                # A place is free when the next picture is done.
                wait_s = max(1, min(_MOST_WAIT_S, math.ceil(self._last_s)))
                text = f"busy: {len(self._queue)} pictures wait already; try again in {wait_s} s"
                raise Refused(503, text, Retry_After=str(wait_s))
            ticket.state = "waiting"
            self._queue.append(ticket)
            self._changed.notify_all()

    def find(self, name):
        """Return a ticket; Refused, 404, if there is none any more."""
        with self._changed:
            self._sweep()
            ticket = self._tickets.get(name)
        if ticket is None or ticket.is_dropped:
            raise Refused(404, "no such picture; results are kept for a while only")
        return ticket

    def place(self, ticket):
        """Return how many are before a ticket."""
        with self._changed:
            before = self._queue.index(ticket) if ticket in self._queue else 0
            return before + (self._in_hand is not None)

    def told(self, ticket):
        """Note that a ticket's client has got what came of it."""
        ticket.told_at = self._clock()

    def drop(self, ticket):
        """Forget a ticket and all of its files; the worker leaves it at its next step."""
        with self._changed:
            ticket.is_dropped = True
            if ticket in self._queue:
                self._queue.remove(ticket)
                self._end(ticket, _nobody())
            if ticket is not self._in_hand:
                self._forget(ticket)

    def close(self):
        """Refuse what waits and what comes, and return when the picture in hand is done."""
        with self._changed:
            self._closing = True
            recent = self._clock() - _NEXT_S
            shown = [ticket for ticket in self._tickets.values() if ticket.shown]
            self._last = [t for t in shown if not t.ended.is_set() or t.ended_at >= recent]
            while self._queue:
                self._end(self._queue.popleft(), Refused(503, "the server is being stopped"))
            self._changed.notify_all()
            is_ready = self.is_ready
        if is_ready:  # what still loads may take long
            self._worker.join()

    # --- the worker -------------------------------------------------------------------------------

    def _run(self):
        try:
            with self._load() as work:
                with self._changed:
                    self.is_ready = not self._closing
                while (ticket := self._next()) is not None:
                    self._work(work, ticket)
        except BaseException as error:
            with self._changed:
                self.failure, self.is_ready = error, False
                while self._queue:
                    self._end(self._queue.popleft(), Refused(503, "the server is being stopped"))

    def _next(self):
        with self._changed:
            while not (self._queue or self._closing):
                self._changed.wait(_LOOK_EVERY_S)
                self._sweep()
            if self._closing:
                return None
            self._in_hand = self._queue.popleft()
            self._in_hand.state = "working"
            return self._in_hand

    def _work(self, work, ticket):
        began, error = self._clock(), None
        try:
            work(ticket)
        except Refused as refused:
            error = refused
        except Dropped:
            error = _nobody()
        except Exception as unforeseen:
            say(*"".join(traceback.format_exception(unforeseen)).splitlines())
            error = Refused(500, "it went wrong here; the server's terminal says more")
        with self._changed:
            self._last_s = self._clock() - began
            self._in_hand = None
            self._end(ticket, error)
            if ticket.is_dropped:
                self._forget(ticket)
            self._sweep()

    # --- with the lock held -----------------------------------------------------------------------

    def _check_open(self):
        if self._closing or self.failure:
            raise Refused(503, "the server is being stopped")

    def _end(self, ticket, error=None):
        ticket.ended_at, ticket.error = self._clock(), error
        ticket.state = "failed" if error else "done"
        ticket.ended.set()

    def _sweep(self):
        ended = [ticket for ticket in self._tickets.values() if ticket.ended.is_set()]
        ended.sort(key=lambda ticket: ticket.ended_at)
        oldest = self._clock() - self.kept_s
        for number, ticket in enumerate(reversed(ended)):
            if number >= self.kept or ticket.ended_at < oldest:
                self._forget(ticket)

    def _forget(self, ticket):
        self._tickets.pop(ticket.id, None)
        shutil.rmtree(ticket.folder, ignore_errors=True)


def _nobody():
    return Refused(404, "nobody waited for it")
