"""What the worker does with a ticket: the picture through a `Way`, and what the page shows."""

import contextlib
from functools import partial

import cv2
import numpy as np
from PIL import Image

from util import files
from util.pictures.pixels import PictureError, as_pixels
from util.pictures.read import TooLarge, check_size
from util.pictures.write import write_picture
from util.restore.masks import read_mask
from util.say import printable
from util.serve.desk import Dropped, Refused, no_room
from util.use.pictures import job_of, restore_file
from util.use.preview import previewed

SMALL = "cloudy", "cleared", "veil"  # pictures that the page shows
SHOWN_PX = 2048  # the longer side of what the page shows, at most
_DIM = 0.25  # a picture that hardly gets brighter than this is shown brighter
_QUALITY = 95
_WARM_PX = 64
# Bytes that a JPEG holds of what Pillow writes beside the pixels: a segment, without its head, of
# the profile 255; and dots per inch.
_MOST = {"exif": 65_533, "xmp": 65_504, "comment": 65_533, "icc_profile": 255 * 65_519}
_MOST_DPI = 65_535


def worker(way_of):
    """Return ``work(ticket)``, ready for a picture of any size.

    Parameters
    ----------
    way_of : callable
        ``way_of(hidden) -> util.use.pictures.Way``; hidden is None, or as of
        `util.use.chain.way_of`.
    """
    _warm_up(way_of)
    return partial(_work, way_of)


def _work(way_of, ticket):
    hidden = ticket.mask and partial(_mask_over, ticket.mask)
    try:
        way = way_of(hidden)._replace(bar=partial(_Bar, ticket))
        if ticket.shown:
            way = previewed(way, SHOWN_PX, partial(_show, ticket))
        source = _readable(ticket, way.settings.max_pixels)
        job = job_of(way, source, source, ticket.folder / "out", {})
        # A signal was heard: the picture is whole by then, and the desk is being closed.
        with contextlib.suppress(SystemExit):
            restore_file(way, job, partial(_note, ticket))
        ticket.files |= {"ground": job.restored, **job.extras}
        if ticket.source.suffix == ".jpg":
            ticket.files |= {"ground": _as_jpeg(job.restored), "lossless": job.restored}
    except TooLarge as error:
        raise Refused(422, too_large(error)) from None
    except PictureError as error:
        raise Refused(400, error.reason) from None
    except ValueError as error:
        raise Refused(422, printable(error)) from None
    except OSError as error:
        raise no_room(error) from None


def too_large(error):
    """Return what of a TooLarge concerns its sender, who cannot change the limit."""
    return error.reason.partition(";")[0]


def _warm_up(way_of):
    """Run a tiny picture through, so that the first real one need not wait for tracing."""
    hole = np.zeros((_WARM_PX, _WARM_PX), bool)
    hole[24:40, 24:40] = True
    way = way_of(lambda shape: hole)
    pixels = np.full((*hole.shape, 3), 128, np.uint8)
    way.restore(pixels, hole if way.holes else None, None, 255.0, _Bar(None, 0))


def _mask_over(path, shape):
    """Return a mask file, bool, stretched over a picture (H, W)."""
    mask = read_mask(path).view(np.uint8)
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST).view(bool)


class Marked:
    """The hole of a picture as its sender marks it, for a network that takes one.

    hidden
        As of `worker`.
    holes : util.restore.masks.Holes
        Tell what else is missing. Where they and its sender find nothing the picture comes back as
        it was, and can be marked.
    """

    def __init__(self, hidden, holes):
        self._hidden, self._holes = hidden, holes

    def find(self, path, stem, pixels, *, full_scale=None):
        """Return the hole, bool (H, W); arguments and errors as of `Holes.find`."""
        try:
            hole = self._holes.find(path, stem, pixels, full_scale=full_scale)
        except PictureError:
            hole = np.zeros(pixels.shape[:2], bool)
        if self._hidden:
            hole = hole | self._hidden(hole.shape)
        if hole.all():
            raise PictureError("all of it is marked or missing; nothing is left to go by")
        return hole


class _Bar:
    """Tell a ticket how far its picture is, where a bar would tell a person."""

    def __init__(self, ticket, total, **_):
        self._ticket, self.total = ticket, total

    def __enter__(self):
        self.refresh()
        return self

    def __exit__(self, *_):
        pass

    def update(self, count=1):
        if self._ticket:
            self._ticket.done += count
            self.refresh()

    def refresh(self):
        if self._ticket:
            self._ticket.total = self.total
            if self._ticket.is_dropped:
                raise Dropped


def _note(ticket, about, line):
    # Where it lies here is nothing to its sender.
    ticket.notes.append(line.replace(f"{ticket.source}: ", "").replace(f"{ticket.folder}/", ""))


def _show(ticket, before, after, opacity):
    """Write what the page shows of a picture, both sides by one measure."""
    high = float(np.percentile(before, 99.5))
    gain = 1 / high if 0 < high < _DIM else 1
    for name, picture in zip(SMALL, (before * gain, after * gain, opacity), strict=True):
        if picture is not None:
            path = ticket.folder / f"{name}.jpg"
            write_picture(path, as_pixels(picture, np.uint8))
            ticket.files[name] = path
    return {}


def _readable(ticket, max_pixels):
    """Return the picture's file, of HEIC a PNG with the same pixels."""
    if ticket.source.suffix != ".heic":
        return ticket.source
    path = ticket.folder / "in.png"
    try:
        with Image.open(ticket.source, formats=("HEIF",)) as image:
            check_size(image.height, image.width, 3, max_pixels)
            image.convert("RGB").save(path, exif=image.info.get("exif"))
    except TooLarge:
        raise
    except Exception as error:  # decoders meet damage with errors of every class
        raise PictureError(f"damaged or cut ({type(error).__name__})") from error
    return path


def _as_jpeg(path):
    """Write a JPEG beside a PNG, with what that carries; return its path."""
    jpeg = path.with_suffix(".jpg")
    with Image.open(path) as image, files.whole(jpeg) as file:
        image.convert("RGB").save(file, "JPEG", quality=_QUALITY, **_carried(image.info))
    return jpeg


def _carried(info):
    """Return what a PNG carries as Pillow writes it into a JPEG, without what has no room there.

    As bytes: decoded and encoded anew, EXIF would lose letters, and some of it cannot be.
    """
    told = {**info, "comment": info.get("Comment", "").encode("latin-1")}
    how = {name: told[name] for name in _MOST if told.get(name)}
    how = {name: value for name, value in how.items() if len(value) <= _MOST[name]}
    dpi = [round(n) for n in info.get("dpi", (0, 0))]
    return how | ({"dpi": dpi} if 0 < min(dpi) <= max(dpi) <= _MOST_DPI else {})
