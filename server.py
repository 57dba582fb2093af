"""A page and an address for a phone: drop a picture, see it cleared.

    python server.py                            open the address that it prints
    python server.py --lan                      for others on the same network, with a token
    python server.py --script mod_deblurgan     one script's network instead of cloud and painter
    python server.py --help                     every option

One picture at a time goes through the chain of cloud_removal.py, or one script's network; four may
wait. The page shows cloudy and cleared under one slider, and how opaque cloud is; a brush marks
what else is to be repainted. Pictures stay on this machine, for a quarter of an hour at most.
docs/page.md tells about the API, and about limits.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

import argparse
import contextlib
import importlib
import os
import re
import secrets
import socket
from dataclasses import replace
from pathlib import Path

from configure import Defog
from util import command
from util.say import UserError
from util.settings import names_here

SETTINGS = [*names_here(Defog), "full_scale"]
SCRIPTS = sorted(path.stem for path in Path(__file__).parent.glob("mod_*.py"))
CHAIN = "cloud_removal"
TOKEN = "CLOUD_REMOVAL_TOKEN"  # noqa: S105 - the name of a variable
MAX_PIXELS = 64_000_000  # by default: strangers' pictures, several of them on their way at once
_MB = 2**20


def run(arguments):
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="server.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    text = f"who restores: {', '.join([CHAIN, *SCRIPTS])} [%(default)s]"
    parser.add_argument("--script", default=CHAIN, metavar="NAME", help=text)
    parser.add_argument(
        "--clear", default="mod_defog", metavar="METHOD", help="as cloud_removal.py"
    )
    parser.add_argument("--repaint", metavar="METHOD", help="as cloud_removal.py")
    parser.add_argument(
        "--detail", type=float, default=0.0, metavar="SHARE", help="as cloud_removal.py"
    )
    parser.add_argument("--shadows", action="store_true", help="as cloud_removal.py")
    text = "listen on all addresses; a token in the printed one, or in the variable " + TOKEN
    parser.add_argument("--lan", action="store_true", help=text)
    parser.add_argument("--port", type=int, default=8000, help="[%(default)s]")
    text = "a further name of this server, as behind a reverse proxy; may be repeated"
    parser.add_argument("--host-name", action="append", default=[], metavar="NAME", help=text)
    text = "largest upload [%(default)s]"
    parser.add_argument("--max-mb", type=int, default=200, metavar="N", help=text)
    command.add_settings(parser, Defog, SETTINGS)
    options, extra = parser.parse_known_intermixed_args(arguments)
    settings, given = command.settings_from(Defog, options, extra)
    if options.script not in (CHAIN, *SCRIPTS):
        raise UserError(f"--script {options.script}: must be one of {', '.join([CHAIN, *SCRIPTS])}")
    if not 0 <= options.port <= 65535:
        raise UserError(f"--port {options.port}: must be from 0 to 65535")
    if options.max_mb < 1:
        raise UserError(f"--max-mb {options.max_mb}: must be 1 or more")
    if "max_pixels" not in given:
        settings = replace(settings, max_pixels=MAX_PIXELS)
    token = _token(options.lan)
    from util.serve import run as serving  # here: it needs what is optional

    name = serving.own_address() if options.lan else "127.0.0.1"
    own = {"localhost", "127.0.0.1", "::1", *options.host_name}
    if options.lan:
        own |= {socket.gethostname(), f"{socket.gethostname()}.local"}
    facts = {"script": options.script}
    return serving.serve(
        lambda: _loaded(options, settings, given, facts),
        facts,
        address="0.0.0.0" if options.lan else "127.0.0.1",  # noqa: S104 - asked for
        port=options.port,
        first=f"http://{name}:{{port}}/{f'#{token}' if token else ''}",
        hosts=own,
        any_address=options.lan,
        token=token,
        max_bytes=options.max_mb * _MB,
        max_pixels=settings.max_pixels,
    )


def _token(lan):
    """Return what a client has to know, None if that is nothing."""
    token = os.environ.get(TOKEN) or (secrets.token_urlsafe(16) if lan else None)
    # As RFC 6750 has it; all of these stay as they are behind the # of an address, too.
    if token and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):
        raise UserError(f"{TOKEN}: must be of A-Z a-z 0-9 - . _ ~ + / alone, with = at its end")
    return token


@contextlib.contextmanager
def _loaded(options, settings, given, facts):
    """Yield what works on a ticket; facts come to know who restores."""
    # Here: TensorFlow takes seconds to load, and the page is there before.
    from cloud_removal import TASKS
    from util.serve.work import Marked, worker
    from util.use import apply, chain, trained

    with trained.choose_device(settings).scope():
        if options.script == CHAIN:
            how = {
                name: getattr(options, name) for name in ("clear", "repaint", "detail", "shadows")
            }
            parts = chain.load(TASKS, settings, **how, given=given)
            networks = [parts.clear.origin, parts.paint.origin]
            facts |= {"networks": networks, "repaints": True, "marks_first": False}
            yield worker(lambda hidden: chain.way_of(parts, hidden=hidden))
            return
        task = importlib.import_module(options.script).TASK
        network = trained.load(task, chain.own_settings(task, settings, given), None, given)
        holes = apply.find_holes(network)
        takes_hole = holes is not None
        facts |= {"networks": [network.origin], "repaints": takes_hole, "marks_first": takes_hole}
        yield worker(lambda hidden: apply.way_of(network, holes and Marked(hidden, holes)))


if __name__ == "__main__":
    command.exit_with("server", run)
