"""Take damaged and odd files through everything that reads them; see tests/test_fuzz.py.

    python tests/fuzz.py FOLDER FIRST END

Each file of make_damaged.py from FIRST to before END goes through read, the store, apply with a
stand-in network, and a TIFF also as a scene. On stdout it has a line when it is begun, "> 17", and
one for whatever is wrong with what came of it: "17 ...". The process ends with a file that takes
too long or too much memory; of one that it hangs or crashes in, stderr says where.
"""

import contextlib
import faulthandler
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

if __name__ == "__main__":  # conftest.py does the same
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from make_damaged import write_damaged
from stand_ins import clearer, dehazer, filler

from util import interrupt
from util.pictures import geotiff
from util.pictures.pixels import PictureError, as_float
from util.pictures.read import read, read_original
from util.pictures.store import PictureStore
from util.say import say
from util.use.apply import apply

HANG_S = 10
MOST_MB = 1024  # besides TensorFlow
# What is larger would take more memory and time, rightly.
MAX_PIXELS, _MAX_RESTORED = 4097 * 4097, 2_000_000
_TILES = {"apply_tile_px": 512, "apply_margin_px": 32}
_LEAST_PX, _AT_ONCE = 16, 50
# What apply says of files that it restores as well.
_BESIDES = (
    "; network: ", "note: ", "passes for nearly black", "nothing is missing",
    # OpenCV's, and GDAL's where a damaged offset is outside the file: nothing can keep them away.
    "libpng warning: ", "libpng error: ", "_tiffSeekProc: ",
)  # fmt: skip
_networks = {}


class Case(NamedTuple):
    """A file, and how it is read."""

    number: int
    path: Path
    place: Path  # an empty folder

    @property
    def scale(self):
        """The full scale, or None."""
        return 10_000.0 if self.number % 4 == 0 else None


def main(folder: Path, first: int, end: int) -> None:
    """Take files through, one after another."""
    folder.mkdir(parents=True, exist_ok=True)
    stderr, most_mb = os.dup(2), _peak_mb() + MOST_MB
    faulthandler.enable(stderr)
    for number in range(first, end):
        print(f"> {number}", flush=True)
        path = write_damaged(folder, number)
        faulthandler.dump_traceback_later(HANG_S, exit=True, file=stderr)
        wrong = wrong_with(number, path)
        faulthandler.cancel_dump_traceback_later()
        if _peak_mb() > most_mb:
            wrong.append(f"took {_peak_mb() - most_mb + MOST_MB} MB")
        for what in wrong:
            print(number, what, flush=True)
        if not wrong:
            path.unlink()
        if _peak_mb() > most_mb:
            return


def _peak_mb():
    if sys.platform != "linux":  # in other units, or not known
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def wrong_with(number: int, path: Path) -> list[str]:
    """Return a line for each thing that is wrong with what comes of a file."""
    wrong = []
    for step in (_read, _store, _apply, _scene):
        with tempfile.TemporaryDirectory() as place, _heard(place + "/heard") as heard:
            raised, ended = "", False
            try:
                ended = step(Case(number, path, Path(place)))
            except PictureError as error:
                say(error)
            except Exception:
                raised = " | ".join(traceback.format_exc(limit=-3).splitlines())
        lines = [line for line in heard if not any(part in line for part in _BESIDES)]
        told = [line for line in lines if path.name in line]
        if raised or lines != told or (not ended and len(told) != 1):
            wrong.append(f"{step.__name__}: {' | '.join(lines) or 'nothing is said'} {raised}")
    return wrong


def _read(case):
    """Read a picture: every step returns whether it ended in one, if not a line was said."""
    pixels, white = read(case.path, max_pixels=MAX_PIXELS, full_scale=case.scale)
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert 0 < white <= np.iinfo(pixels.dtype).max
    return True


def _store(case):
    grey = case.number % 3 == 0
    how = {"max_pixels": MAX_PIXELS, "full_scale": case.scale}
    store = PictureStore(
        [case.path], case.place, crop_px=_LEAST_PX, grey=grey, progress=False, **how
    )
    picture = store.whole(0)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    same = as_float(read(case.path, **how).over_range())
    if picture.shape == same.shape and read_original(case.path).ground is None:
        assert np.array_equal(picture, same)
    return True


def _apply(case):
    kind = (dehazer, clearer, filler)[case.number % 3]
    if (kind, case.scale) not in _networks:
        changes = {"hole_colour": "black"} if kind is filler else {}
        scale = case.scale or 0.0
        _networks[kind, case.scale] = kind(
            max_pixels=_MAX_RESTORED, full_scale=scale, **_TILES, **changes
        )
    network, batches = _networks[kind, case.scale]
    try:
        failed = apply(network, [str(case.path)], case.place / "out")
    finally:
        batches.clear()
        interrupt.leave()
    if failed:
        return False
    outputs = [path for path in (case.place / "out").iterdir() if "_opacity" not in path.name]
    assert len(outputs) == 1
    made, came = (read_original(path).upright() for path in (outputs[0], case.path))
    assert made.shape[:2] == came.shape[:2]
    if outputs[0].suffix == ".tif":
        assert (made.shape, made.dtype) == (came.shape, came.dtype)
    return True


def _scene(case):
    if not (geotiff.available() and geotiff.is_tiff(case.path)):
        return True
    with geotiff.open_scene(case.path, full_scale=case.scale) as scene:
        height, width, _ = scene.shape
        if height * width > _MAX_RESTORED:
            return True
        with scene.create(case.place / "out.tif") as sink:
            for top in range(0, height, _AT_ONCE):
                sink.write(top, scene[top : top + _AT_ONCE, 0:width])
    return True


@contextlib.contextmanager
def _heard(place):
    """Yield a list that gets the lines that Python and its libraries put out to stderr."""
    heard, stderr = [], os.dup(2)
    try:
        with (
            open(place, "w+", errors="replace", buffering=1) as file,
            contextlib.redirect_stderr(file),
            warnings.catch_warnings(),  # forgets which it has given
        ):
            os.dup2(file.fileno(), 2)
            yield heard
            file.seek(0)
            heard += file.read().splitlines()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
