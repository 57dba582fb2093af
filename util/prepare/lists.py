"""Write down which pictures are trained on, held back and tested on, to be repeated."""

import hashlib
from pathlib import Path

from tqdm import tqdm

from util import files
from util.pictures.find import LISTS, lists_of, pictures_of, place_in
from util.samples.split import HELD, join_by_scene, join_by_tile, rule_of
from util.say import UserError, say

_JOIN = {"scene": join_by_scene, "tile": join_by_tile}


def write_lists(folder, settings, *, test_share=0.0, hashes=False, overwrite=False):
    """Write train.txt, val.txt and, with a share for it, test.txt into a folder of pictures.

    Parameters
    ----------
    folder : str
    settings : an object of one of configure.py's classes
        validation_by and validation_share say how, as in training.
    test_share : float, below 1
        Share of all, chosen first by the same rule; no training sees it.
    hashes : bool
        Write each file's SHA-256 before its name, as sha256sum does.
    overwrite : bool
        Write lists anew that exist.

    Raises
    ------
    UserError
        `folder` is missing or holds no picture or too few, has lists already, or cannot be written
        to.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; give one of pictures")
    if not overwrite and lists_of(folder):
        raise UserError(f"{folder}: has lists already; --overwrite writes them anew")
    if not test_share and (folder / "test.txt").exists():
        raise UserError(f"{folder}: has test.txt; give --test-share as well, or take it away")
    names = [place_in(path, folder).as_posix() for path in pictures_of(folder, "FOLDER")]
    join, found = _JOIN[rule_of("FOLDER", names, settings.validation_by)], {}
    left = names
    for kind, share in (
        ("test", test_share),
        ("val", settings.validation_share / (1 - test_share)),
    ):
        if share:
            sides = join(left, {}, min(share, 1))
            found[kind] = [name for name in left if sides[name] == HELD]
            left = [name for name in left if sides[name] != HELD]
    found["train"] = left
    if not all(found.values()):
        raise UserError(f"{folder}: {len(names)} pictures are too few for {len(found)} lists")
    bar = tqdm(total=len(names), desc="hashing", unit="file", disable=None if hashes else True)
    for kind in LISTS:
        if kind not in found:
            continue
        try:
            lines = [_line(folder, name, hashes, bar) for name in found[kind]]
            text = "".join(lines).encode("utf-8", "surrogateescape")
            files.write(folder / f"{kind}.txt", text)
        except OSError as error:
            raise UserError(f"{error.filename or folder}: {error.strerror}") from None
    bar.close()
    counts = ", ".join(f"{len(found[kind])} in {kind}.txt" for kind in LISTS if kind in found)
    say(f"{folder}: {counts}")
    return 0


def _line(folder, name, hashes, bar):
    if not hashes:
        return "./" * name.startswith(("#", " ")) + f"{name}\n"  # else a comment, or cut off
    with open(folder / name, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    bar.update()
    return f"{digest}  {name}\n"
