"""The page and the API, as a WSGI application: what may be asked, and what is answered.

    GET  /                           the page
    POST /api/v1/clear[?as=json]     a picture as body -> the cleared one, or its ticket
    GET  /api/v1/jobs/ID             how far it is; links to what came of it
    GET  /api/v1/jobs/ID/NAME        one of these
    POST /api/v1/jobs/ID/repaint     a mask as body -> the ticket of another try
    DEL  /api/v1/jobs/ID             nobody waits for it
    GET  /api/v1/info, /health

A picture's ID is secret, so links to it work without the token. Nothing that a client names is ever
looked up on the disk.
"""

import contextlib
import hmac
import ipaddress
import json
import re
import shutil
import traceback
from pathlib import Path
from urllib.parse import urlsplit

from util.pictures.pixels import PictureError
from util.pictures.read import TIFF_STARTS, TooLarge, check_head
from util.say import say
from util.serve.desk import Refused, no_room
from util.serve.libraries import (
    FileWrapper,
    HTTPException,
    Map,
    Request,
    Response,
    Rule,
    reads_heic,
)
from util.serve.work import SMALL, too_large

_PAGE = Path(__file__).with_name("page")
_STATIC = {
    "page.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_TYPES = {
    ".jpg": "image/jpeg", ".png": "image/png", ".tif": "image/tiff", ".webp": "image/webp",
    ".bmp": "image/bmp", ".gif": "image/gif",
}  # fmt: skip
_HEIC = ("image/heic", "image/heif")
_NO_HEIC = (
    "HEIC cannot be read here. On an iPhone choose Settings, Camera, Formats, Most Compatible; "
    "or send the picture as JPEG"
)
_STARTS = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"GIF8": ".gif", b"RIFF": ".webp",
    **dict.fromkeys(TIFF_STARTS, ".tif"),
}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ROUTES = Map(
    [
        Rule("/", endpoint="static", defaults={"name": "page.html"}, methods=["GET"]),
        *[
            Rule(f"/{name}", endpoint="static", defaults={"name": name}, methods=["GET"])
            for name in _STATIC
            if name != "page.html"
        ],
        Rule("/health", endpoint="health", methods=["GET"]),
        Rule("/api/v1/info", endpoint="info", methods=["GET"]),
        Rule("/api/v1/clear", endpoint="clear", methods=["POST"]),
        Rule("/api/v1/jobs/<job>", endpoint="job", methods=["GET"]),
        Rule("/api/v1/jobs/<job>", endpoint="drop", methods=["DELETE"]),
        Rule("/api/v1/jobs/<job>/repaint", endpoint="repaint", methods=["POST"]),
        Rule("/api/v1/jobs/<job>/<name>", endpoint="result", methods=["GET"]),
    ],
    merge_slashes=False,
)
_BEARER = re.compile("^bearer ", re.IGNORECASE)
_LOOK_EVERY_S = 0.5  # whether who asked is still there


class Page:
    """Answer requests.

    Parameters
    ----------
    desk : util.serve.desk.Desk
    facts : dict
        For /api/v1/info, besides limits and state.
    hosts : set of str
        Names that the server may be called by.
    any_address : bool
        Whether it may be called by any IP address: a foreign site can take on a name, not those.
    token : str or None
        What a client has to know.
    max_bytes, max_pixels : int
    """

    def __init__(self, desk, facts, *, hosts, any_address=False, token=None, max_bytes, max_pixels):
        self._desk, self._facts, self._token = desk, facts, token
        self._hosts, self._any_address = {name.lower() for name in hosts}, any_address
        self._max_bytes, self._max_pixels = max_bytes, max_pixels
        self._heic = reads_heic()

    def __call__(self, environ, start_response):
        """Answer a request of WSGI."""
        return self._answer(environ)(environ, start_response)

    def _answer(self, environ):
        request = Request(environ)
        request.max_content_length = self._max_bytes
        try:
            self._check_sender(request)
            name, values = _ROUTES.bind_to_environ(environ).match()
            response = getattr(self, f"_{name}")(request, **values)
        except Refused as error:
            response = _error(error)
        except HTTPException as error:
            response = error.get_response(environ)
            if response.status_code >= 400:
                response.data = json.dumps({"error": f"{error.code} {error.name}"})
                response.mimetype = "application/json"
        except Exception as error:
            say(*"".join(traceback.format_exception(error)).splitlines())
            response = _error(Refused(500, "it went wrong here; the server's terminal says more"))
        response.headers.extend(_HEADERS)
        return response

    # --- who asks ---------------------------------------------------------------------------------

    def _check_sender(self, request):
        """Refuse what a foreign site has the browser send."""
        host = request.environ.get("HTTP_HOST", "")
        if not self._is_own(_name_in(host)):
            raise Refused(
                403, "this server is not called so; use an address it prints, or see --host-name"
            )
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if request.method not in ("GET", "HEAD") and (
            (origin is not None and origin.lower().partition("://")[2] != host.lower())
            or site not in ("same-origin", "none")
        ):
            raise Refused(403, "sent by another site's page")

    def _is_own(self, name):
        if name in self._hosts:
            return True
        try:
            return self._any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _check_token(self, request):
        given = _BEARER.sub("", request.headers.get("Authorization", "")).strip()
        if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
            raise Refused(
                401,
                "the token is missing or wrong: open the address that the server printed, or send "
                "it as the header Authorization: Bearer TOKEN",
                WWW_Authenticate="Bearer",
            )

    # --- what is asked for ------------------------------------------------------------------------

    def _static(self, request, name):
        return Response((_PAGE / name).read_bytes(), mimetype=_STATIC[name])

    def _health(self, request):
        ready = self._desk.is_ready
        return _json({"state": "ready" if ready else "loading"}, 200 if ready else 503)

    def _info(self, request):
        self._check_token(request)
        desk = self._desk
        limits = {
            "bytes": self._max_bytes, "pixels": self._max_pixels, "waiting": desk.waiting,
            "kept": desk.kept, "kept_s": desk.kept_s,
        }  # fmt: skip
        types = [*_TYPES.values(), *(_HEIC if self._heic else ())]
        state = "ready" if desk.is_ready else "loading"
        return _json({**self._facts, "state": state, "types": types, "limits": limits})

    def _clear(self, request):
        self._check_token(request)
        self._check_type(request.mimetype)
        with self._new_ticket() as ticket:
            ticket.source = self._taken_in(request, ticket, "in")
            ticket.shown = request.args.get("as") == "json"
        return self._ticket(ticket, 202) if ticket.shown else self._picture(request, ticket)

    def _repaint(self, request, job):
        before = self._desk.find(job)
        if request.mimetype != "image/png":
            raise Refused(415, "a mask is a PNG: white where the picture is to be repainted")
        if not self._facts.get("repaints") or before.state != "done":
            raise Refused(409, "there is nothing to repaint")
        with self._new_ticket() as ticket:
            ticket.mask, ticket.shown = self._taken_in(request, ticket, "mask"), True
            ticket.source = ticket.folder / f"in{before.source.suffix}"
            shutil.copyfile(before.source, ticket.source)
        return self._ticket(ticket, 202)

    def _job(self, request, job):
        return self._ticket(self._desk.find(job))

    def _drop(self, request, job):
        self._desk.drop(self._desk.find(job))
        return Response(status=204)

    def _result(self, request, job, name):
        ticket = self._desk.find(job)
        try:
            response = _file(ticket.files.get(name))
        except (TypeError, FileNotFoundError):  # never there, or not any more
            raise Refused(404, "nothing of that name came of it") from None
        if name not in SMALL:
            response.call_on_close(lambda: self._desk.told(ticket))
        return response

    # --- pictures in and out ----------------------------------------------------------------------

    @contextlib.contextmanager
    def _new_ticket(self):
        """Yield a ticket; it waits for its turn once the block has filled it in."""
        ticket = self._desk.new()
        try:
            yield ticket
            self._desk.queue(ticket)
        except OSError as error:
            self._desk.drop(ticket)
            raise no_room(error) from None
        except BaseException:
            self._desk.drop(ticket)
            raise

    def _check_type(self, kind):
        if kind in _HEIC and not self._heic:
            raise Refused(415, _NO_HEIC)
        if kind not in (*_TYPES.values(), *_HEIC):
            raise Refused(
                415,
                "send the picture itself as the body, with its type, such as Content-Type: "
                f"image/jpeg; not {kind or 'nothing'}",
            )

    def _taken_in(self, request, ticket, stem):
        """Write the body into the ticket's folder, under its true kind; return the path."""
        if not request.content_length:
            raise Refused(411, "the body's length is missing, or it is empty")
        start = request.stream.read(32)
        kind = next((end for head, end in _STARTS.items() if start.startswith(head)), None)
        if start[4:8] == b"ftyp" and self._heic:
            kind = ".heic"
        if kind is None:
            raise Refused(400, "this is no picture that can be read here")
        path = ticket.folder / f"{stem}{kind}"
        with open(path, "wb") as file:
            file.write(start)
            shutil.copyfileobj(request.stream, file)
        if path.stat().st_size != request.content_length:
            raise Refused(400, "the picture was cut on its way")
        if kind != ".heic":
            try:
                check_head(path, max_pixels=self._max_pixels)
            except TooLarge as error:
                raise Refused(422, too_large(error)) from None
            except PictureError as error:
                raise Refused(400, error.reason) from None
        return path

    def _picture(self, request, ticket):
        """Wait for a picture and return it; then it is forgotten."""
        is_gone = request.environ.get("waitress.client_disconnected", bool)
        while not ticket.ended.wait(_LOOK_EVERY_S):
            if is_gone():
                self._desk.drop(ticket)
        if ticket.error:
            self._desk.drop(ticket)
            raise ticket.error
        response = _file(ticket.files["ground"])
        response.call_on_close(lambda: self._desk.drop(ticket))
        return response

    def _ticket(self, ticket, status=200):
        place = f"/api/v1/jobs/{ticket.id}"
        told = {"id": ticket.id, "state": ticket.state, "notes": ticket.notes}
        if ticket.state == "waiting":
            told["before"] = self._desk.place(ticket)
        if ticket.state == "working":
            told["progress"] = ticket.done / ticket.total if ticket.total else 0.0
        if ticket.error:
            told["error"] = ticket.error.text
            self._desk.told(ticket)
        told["links"] = {"self": place}
        if ticket.state == "done":
            told["links"] |= {name: f"{place}/{name}" for name in ticket.files}
            told["type"] = _TYPES[ticket.files["ground"].suffix]
        return _json(told, status)


def _name_in(host):
    """Return the name in a Host header, without the port; "" if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _json(told, status=200, **headers):
    return Response(json.dumps(told), status, headers, mimetype="application/json")


def _error(refused):
    headers = {name.replace("_", "-"): value for name, value in refused.headers.items()}
    return _json({"error": refused.text}, refused.status, **headers)


def _file(path):
    """Return a file as a download, whose name the client chooses."""
    file = open(path, "rb")  # noqa: SIM115 - closed with the response
    return Response(
        FileWrapper(file, 65536),
        headers={"Content-Length": str(path.stat().st_size), "Content-Disposition": "attachment"},
        mimetype=_TYPES[path.suffix],
    )
