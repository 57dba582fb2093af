"""The page with a stand-in for the networks: it turns pictures into their negatives at once."""

import contextlib
import io
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("waitress", reason="pip install -r requirements-page.txt")
from werkzeug.test import Client

from util.serve.desk import Desk
from util.serve.run import listen
from util.serve.web import Page
from util.serve.work import worker
from util.use.pictures import Way
from util.use.scenes import Scenes

MAPS = ("opacity", "confidence")
FACTS = {"script": "negative", "networks": ["none"], "repaints": True, "marks_first": False}
LIMITS = {"max_bytes": 2**20, "max_pixels": 250_000}


def negative(hidden=None):
    """Return a Way to the negative, black where it is to be repainted."""

    def made(came, white):
        found = white - came
        if hidden:
            found[hidden(came.shape[:2])] = 0
        return found.astype(came.dtype), *(np.full(came.shape[:2], n, np.uint8) for n in (51, 204))

    def restore(pixels, hole, ground, white, bar):
        pixels[...], *maps = made(pixels, white)
        bar.update()
        return dict(zip(MAPS, maps, strict=True))

    def restore_scene(scene, sinks, ground, bar):
        height, width, _ = scene.shape
        for sink, part in zip(sinks, made(scene[0:height, 0:width], scene.white), strict=True):
            sink.write(0, part)
        return {}

    settings = SimpleNamespace(full_scale=0.0, max_pixels=LIMITS["max_pixels"])
    return Way(
        "negative", settings, "", MAPS, lambda shape, hole: [1], restore,
        scenes=Scenes(maps=MAPS), restore_scene=restore_scene,
    )  # fmt: skip


@contextlib.contextmanager
def load():
    """Yield what the worker does, as `Desk` wants it."""
    yield worker(negative)


class Slow:
    """Hold up every ticket until it is told to go on."""

    def __init__(self):
        self.go, self.worked, self.begun = threading.Event(), [], threading.Semaphore(0)

    @contextlib.contextmanager
    def load(self):
        """Yield what the worker does, as `Desk` wants it."""
        with load() as work:

            def slowly(ticket):
                self.worked.append(ticket)
                self.begun.release()
                assert self.go.wait(60)
                work(ticket)

            yield slowly


@contextlib.contextmanager
def opened(folder, load=load, facts=FACTS, hosts=("localhost",), **how):
    """Yield (client, page, desk) of a page whose worker is ready; it ends with the block."""
    desk = Desk(load, folder)
    page = Page(desk, facts, hosts=set(hosts), **LIMITS | how)
    desk.start()
    try:
        while not (desk.is_ready or desk.failure):
            threading.Event().wait(0.005)
        yield Client(page), page, desk
    finally:
        desk.close()


@contextlib.contextmanager
def serving(folder, **how):
    """Yield (address, client, desk) of a page that is served on a port of its own."""
    with opened(folder, hosts=["127.0.0.1"], **how) as (client, page, desk):
        server = listen(page, "127.0.0.1", 0, LIMITS["max_bytes"])
        try:
            yield f"http://127.0.0.1:{server.effective_port}", client, desk
        finally:
            server.trigger.pull_trigger(server.close)  # within its own thread
            server.task_dispatcher.shutdown()


def encoded(pixels, kind="PNG", **how):
    """Return pixels as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def flat(value=200, height=48, width=64):
    """Return a picture of one grey as the bytes of a PNG."""
    return encoded(np.full((height, width, 3), value, np.uint8))
