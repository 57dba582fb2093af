"""Serve until a signal comes: the port, the worker, and an end without anything lost."""

import logging
import math
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from util import interrupt
from util.say import UserError, say
from util.serve.desk import Desk
from util.serve.libraries import create_server
from util.serve.web import Page

_LOOK_EVERY_S = 0.2
_THREADS = 16  # few do more than wait: those of pictures in the queue and in hand
_CONNECTIONS = 100
_SILENT_S = 60  # a client that says nothing so long has gone
_LAST_ANSWERS_S = 30  # for clients to fetch theirs when the server ends
_UNSENT_BYTES = 2**30  # of an answer, kept in a file: a slow client holds up no thread

logging.getLogger("waitress").setLevel(logging.CRITICAL)  # what goes wrong, `Page` tells


def serve(load, facts, *, address, port, first, **how):
    """Serve until a signal comes, and return the exit status for it.

    The picture in hand is finished and its answer sent, or fetched by who asks from time to time.

    Parameters
    ----------
    load : callable
        See `util.serve.desk.Desk`.
    facts, how
        See `util.serve.web.Page`.
    address, port
        To listen at.
    first : str
        The line that is said as soon as the page is there; with {port} in it.

    Raises
    ------
    UserError
        The port cannot be had, or what `load` raised.
    """
    folder = Path(tempfile.mkdtemp(prefix="cloud_removal_"))
    desk = Desk(load, folder)
    try:
        server = listen(Page(desk, facts, **how), address, port, how["max_bytes"])
        say(first.format(port=server.effective_port))
        say("loading TensorFlow and the network; the page is there meanwhile")
        desk.start()
        try:
            _wait(desk)
        finally:
            if desk.is_busy:
                say("stopping: finishing the picture in hand")
            desk.close()
            if desk.is_waited_for:
                say(f"waiting up to {_LAST_ANSWERS_S} s for it to be fetched; Ctrl-C ends at once")
            _until(lambda: _has_answered(server) and not desk.is_waited_for, _LAST_ANSWERS_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if desk.is_alive:  # within TensorFlow, where no thread can be stopped from outside
            sys.stderr.flush()
            os._exit(interrupt.exit_status())
    if desk.failure:
        raise desk.failure
    return interrupt.exit_status()


def _wait(desk):
    """Return when a signal has come, or the worker has failed; say when it is ready."""
    began = time.monotonic()
    _until(lambda: desk.is_ready or desk.failure or interrupt.requested())
    if desk.is_ready:
        say(f"ready after {time.monotonic() - began:.0f} s; Ctrl-C ends")
    _until(lambda: desk.failure or interrupt.requested())


def _until(happened, at_most_s=math.inf):
    end = time.monotonic() + at_most_s
    while not happened() and time.monotonic() < end:
        time.sleep(_LOOK_EVERY_S)


def _has_answered(server):
    """Tell whether every request has its answer, and every answer is sent."""
    channels = list(server.active_channels.values())
    return not any(channel.requests or channel.total_outbufs_len for channel in channels)


def listen(page, address, port, max_bytes):
    """Return a server of waitress that answers in threads of its own.

    Raises UserError if the port cannot be had.
    """
    try:
        server = create_server(
            page,
            host=address,
            port=port,
            threads=_THREADS,
            ident=None,
            max_request_body_size=max_bytes,
            connection_limit=_CONNECTIONS,
            channel_timeout=_SILENT_S,
            outbuf_high_watermark=_UNSENT_BYTES,
            channel_request_lookahead=1,  # tells when a client has gone
        )
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; name another one") from None
    threading.Thread(target=server.run, name="web", daemon=True).start()
    return server


def own_address():
    """Return the address by which others on the network reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent; it is an address of examples
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
