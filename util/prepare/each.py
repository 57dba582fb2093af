"""Make files of each of many pictures, keep those that exist, and say how many."""

import numpy as np
from tqdm import tqdm

from util import files
from util.pictures.pixels import PictureError, as_pixels
from util.pictures.write import write_picture
from util.say import UserError, say

_STALE_S = 3600  # a temporary file so old is nobody's


def make_each(what, found, targets, parts_of, out, *, overwrite=False):
    """Write the PNGs, 8 bits, that are made of each picture; what exists is kept.

    Parameters
    ----------
    what : str
        What they are called, such as "layers".
    found : dict of str -> Path
        The pictures that are named where one cannot be used.
    targets : dict of str -> list of Path
        The files of each.
    parts_of : callable
        ``parts_of(name)`` -> what they hold, float32, 0..1; raises PictureError.
    out : Path
        The folder as the user named it.
    overwrite : bool
        Make anew what exists.

    Returns
    -------
    int
        0, or 1 if there is none.

    Raises
    ------
    UserError
        `out` cannot be written.
    """
    made = kept = failed = 0
    try:
        for name, path in tqdm(found.items(), what, unit="file", disable=None):
            if all(target.exists() for target in targets[name]) and not overwrite:
                kept += 1
                continue
            try:
                parts = parts_of(name)
            except PictureError as error:
                say(f"skipped {path}: {error.reason}")
                failed += 1
                continue
            for target, part in zip(targets[name], parts, strict=True):
                if not target.parent.exists() or not made:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.sweep(target.parent, older_than_s=_STALE_S)
                write_picture(target, as_pixels(part, np.uint8))
            made += 1
    except OSError as error:
        where = error.filename or out
        raise UserError(f"--out {where}: {error.strerror}; stopped after {made} {what}") from None
    more = f", {kept} that exist are kept (--overwrite makes them anew)" * bool(kept)
    say(f"{made} {what} made in {out}{more}, {failed} failed")
    return 0 if made or kept else 1
