"""Earlier runs: moved into History/, never deleted and never overwritten."""

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path

from util import files


def move_to_history(run_dir: Path, history_dir: Path) -> Path | None:
    """Move a run to `history_dir/<name of run_dir>/<YYYY-MM-DD_HH-MM-SS>` and return that place.

    Returns None where `run_dir` does not exist or is empty. A taken name gets _2, _3 ...
    Everything in the folder goes along, so a lock that must outlive the move belongs beside
    `run_dir`, not in it. Where `run_dir` is a link, the folder behind it is moved and an empty
    one takes its place.

    Raises OSError, naming both places, when it cannot be done; the run is then whole in one
    of them, and the text says in which.
    """
    source = run_dir.resolve()  # a link that is moved would point nowhere, or at the next run
    if not source.is_dir() or not any(source.iterdir()):
        return None
    target = files.free_name(history_dir / run_dir.name, time.strftime("%Y-%m-%d_%H-%M-%S"))
    whole = f"the run is whole in {run_dir}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(source, target)
            whole = f"the run is whole in {target}, remove {run_dir} by hand"
            shutil.rmtree(source)
        if run_dir.is_symlink():
            source.mkdir()
    except OSError as error:
        text = f"{run_dir} could not be moved to {target}: {error}; {whole}"
        raise OSError(error.errno or errno.EIO, text) from error
    with contextlib.suppress(OSError):  # the move is done; only a power cut could undo it
        files.sync(target.parent)
    return target


def _copy(source: Path, target: Path) -> None:
    """Copy a folder so that `target` appears complete and on disk, or not at all."""
    with files.in_place_of(target) as unfinished:
        shutil.copytree(source, unfinished, symlinks=True)
        if _sizes(source) != _sizes(unfinished):
            raise OSError(errno.EIO, "the copy differs from the original")
        for path in (*unfinished.rglob("*"), unfinished):
            if not path.is_symlink():
                files.sync(path)


def _sizes(folder: Path) -> dict[str, int | None]:
    """Return the size in bytes of every file below `folder`, None for folders."""
    found = sorted(folder.rglob("*"))
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.lstat().st_size
        for path in found
    }
