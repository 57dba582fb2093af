"""Write down which pictures are trained on, held back and tested on, to be repeated."""

from itertools import compress
from pathlib import Path

from util import files
from util.pictures.find import LISTS, lists_of, pictures_of, place_in
from util.prepare.check import digest_of, joined, looks_at, same
from util.samples.split import HELD, join_by_scene, join_by_tile, rule_of
from util.say import UserError, say, say_first

_JOIN = {"scene": join_by_scene, "tile": join_by_tile}


def write_lists(folder, settings, *, test_share=0.0, hashes=False, overwrite=False):
    """Write train.txt, val.txt and, with a share for it, test.txt into a folder of pictures.

    Pictures that `util.prepare.check.same` finds alike are in one list.

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
    paths = pictures_of(folder, "FOLDER")
    names = [place_in(path, folder).as_posix() for path in paths]
    # Others would be read again as other names.
    fits = ["\\" not in name and len(name.splitlines()) == 1 for name in names]
    unfit = [name for name, fit in zip(names, fits, strict=True) if not fit]
    say_first([f"left out {name}: no list can hold this name; rename it" for name in unfit])
    paths, names = list(compress(paths, fits)), list(compress(names, fits))
    by = rule_of("FOLDER", names, settings.validation_by)
    looks, unreadable = looks_at(paths, settings)
    say_first(unreadable)
    leads = _leads(paths, looks, by == "scene")
    left = [name for place, name in enumerate(names) if leads[place] == place]
    kinds = dict.fromkeys(left, "train")
    shares = {"test": test_share, "val": settings.validation_share / (1 - test_share)}
    for kind, share in shares.items():
        if share:
            sides = _JOIN[by](left, {}, min(share, 1))
            kinds |= {name: kind for name in left if sides[name] == HELD}
            left = [name for name in left if sides[name] != HELD]
    found = {kind: [] for kind in LISTS if shares.get(kind, 1)}
    for name, lead in zip(names, leads, strict=True):
        found[kinds[names[lead]]].append(name)
    if not all(found.values()):
        more = " of whole scenes; --validation-by tile divides these" * (by == "scene")
        raise UserError(f"{folder}: {len(names)} pictures are too few for {len(found)} lists{more}")
    for kind, listed in found.items():
        try:
            lines = [_line(folder / name, name, looks, hashes) for name in listed]
            text = "".join(lines).encode("utf-8", "surrogateescape")
            files.write(folder / f"{kind}.txt", text)
        except OSError as error:
            raise UserError(f"{error.filename or folder}: {error.strerror}") from None
    counts = ", ".join(f"{len(listed)} in {kind}.txt" for kind, listed in found.items())
    say(f"{folder}: {counts}")
    return 0


def _leads(paths, looks, by_scene):
    """Return of each picture the place of that whose side it takes: of those alike, the first.

    By scene, of all pictures of scenes that share such pictures.
    """
    place_of = {path: place for place, path in enumerate(paths)}
    seen, firsts = [place_of[path] for path in looks], {}
    groups = same(list(looks.values()))
    pairs = [(seen[group[0]], seen[other]) for group in groups for other in group[1:]]
    if pairs:
        say(f"{len(pairs)} pictures are the same as another, or nearly, and go where it goes")
    if by_scene:
        pairs += [(firsts.setdefault(path.parent, n), n) for n, path in enumerate(paths)]
    return joined(len(paths), pairs)


def _line(path, name, looks, hashes):
    if not hashes:
        return "./" * name.startswith(("#", " ")) + f"{name}\n"  # else a comment, or cut off
    digest = looks[path].digest if path in looks else digest_of(path)
    return f"{digest.hex()}  {name}\n"
