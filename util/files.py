"""Write files and folders whole or not at all, and remove what killed writers have left."""

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

_TEMPORARY = ".tmp-"

# How a file system says that it does not know a call at all.
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def in_place_of(path, ends=()):
    """Yield a temporary path beside `path`; what is made there takes its place at the end.

    A file or a folder. If the block fails, the old one stays as it was and nothing is left behind.

    Parameters
    ----------
    path : str or Path
    ends : iterable of str
        Of further files that a library may make with it: of a.tif, ".tfw" makes a.tfw.

    Raises
    ------
    OSError
        It cannot be written: the disk is full, the folder is missing. `filename` is `path`.
    """
    path = Path(path)
    try:
        with scratch(path, ends) as temporary:
            yield temporary
            further = zip(_with_ends(temporary, ends), _with_ends(path, ends), strict=True)
            for made, place in further:
                if made.exists():
                    os.replace(made, place)
            os.replace(temporary, path)
        with contextlib.suppress(OSError):  # it is done; only a power cut could undo it
            sync(path.parent)
    except OSError as error:
        number = error.errno
        if number is None and "requested and" in str(error):  # so NumPy says it, without a number
            number = errno.ENOSPC
        if number is None:
            raise
        raise OSError(number, error.strerror or os.strerror(number), str(path)) from error


@contextlib.contextmanager
def scratch(path, ends=()):
    """Yield a temporary path beside `path`; what is made there is gone at the end.

    `ends` as for `in_place_of`.
    """
    temporary = path.with_name(f"{_TEMPORARY}{uuid4().hex[:12]}{path.suffix}")
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            for made in (temporary, *_with_ends(temporary, ends)):
                with contextlib.suppress(OSError):
                    made.unlink()


def _with_ends(path, ends):
    return [path.with_name(path.stem + end) for end in ends]


@contextlib.contextmanager
def whole(path):
    """Open a binary file that takes the place of `path` once it is safe on the disk.

    Errors as in `in_place_of`.
    """
    with in_place_of(path) as temporary, open(temporary, "w+b") as file:
        yield file
        file.flush()
        _sync(file.fileno())


def write(path, content):
    """Write bytes, or text as UTF-8, whole or not at all; the folder is made if need be.

    Errors as in `in_place_of`.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync(path):
    """Make a file, or the names in a folder, outlast a power cut."""
    if os.name != "posix":  # elsewhere a folder cannot be opened for this
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle):
    """Sync what is open, unless the disk does not know how to."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise


def sweep(folder, older_than_s=0):
    """Remove temporary files of killed writers; younger ones may belong to a live one."""
    for path in Path(folder).glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):  # another process was faster
            if path.stat().st_mtime <= time.time() - older_than_s:
                path.unlink()


def free_name(folder, name):
    """Return `folder / name`, or the first of name_2, name_3 ... that nothing has taken yet.

    The number stands before the suffix: ``a.npz``, ``a_2.npz``.
    """
    place, number = Path(folder) / name, 1
    stem, suffix = place.stem, place.suffix
    while os.path.lexists(place):  # a dangling link takes a name too
        number += 1
        place = place.with_name(f"{stem}_{number}{suffix}")
    return place
