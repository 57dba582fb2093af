"""Find pictures in folders and lists, and call them by their names."""

import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

from util.pictures.pixels import PictureError
from util.say import UserError, say

LISTS = ("train", "val", "test")  # .txt: what a folder's lists are called
# As sha256sum writes them, or names alone.
_LISTED = re.compile(r"(?:(?P<digest>[0-9a-fA-F]{64}) [ *])?(?P<name>.+)")
_LIST_BYTES = 200_000_000  # against a file that claims to be one

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"})

# Pictures, too, that nothing here can read: who has them is told so.
_UNREADABLE = frozenset(
    {".jp2", ".j2k", ".jpx", ".heic", ".heif", ".avif", ".jxl", ".nitf", ".ntf", ".ecw", ".sid"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".psd", ".hdf", ".h5"}
    | {".nc", ".vrt", ".img", ".tga", ".ppm", ".pgm"}
)
# What a NAS, a Mac and Windows put among people's pictures: thumbnails, and what was thrown away.
_OF_SYSTEMS = frozenset(
    {"@eadir", "@recycle", "@tmp", "@recently-snapshot", "#recycle", "#snapshot", "__macosx"}
    | {"$recycle.bin", "system volume information", "lost+found"}
)


def find_pictures(folder: str | Path) -> list[Path]:
    """List the picture files below a folder, sorted by relative POSIX path.

    Regular files with a picture's suffix in any case; hidden files and folders are left out, and
    those of systems. Files of kinds that cannot be read, and links that lead nowhere, are counted
    in a line on stderr.
    `folder` may also be a list (.txt), whose pictures are returned, or another file, which is
    returned whatever its suffix. Links to folders are
    followed, because data sets are often linked into place, but each real folder is entered once,
    so a loop ends. An unreadable sub-folder is skipped with a line on stderr. A missing or
    unreadable `folder` raises PictureError.
    """
    folder = Path(folder)
    if is_list(folder):
        return _pictures_listed(folder)
    if folder.is_file():
        return [folder]
    try:
        with os.scandir(folder):
            seen = {_identity(folder)}
    except OSError as error:
        remedy = "give an existing, readable folder of pictures, or one picture"
        raise PictureError(f"{error.strerror}; {remedy}", folder) from error
    found, unreadable = [], Counter()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_folder_skipped):
        kept = []
        for name in sorted(folders):
            left_out = name.startswith(".") or name.lower() in _OF_SYSTEMS
            identity = None if left_out else _identity(os.path.join(place, name))
            if identity is not None and identity not in seen:
                seen.add(identity)
                kept.append(name)
        folders[:] = kept  # os.walk enters only what is left in its list
        for name in names:
            path = Path(place, name)
            suffix = path.suffix.lower()
            if name.startswith(".") or suffix not in SUFFIXES | _UNREADABLE:
                continue
            if suffix in SUFFIXES and path.is_file():
                found.append(path)
            elif path.is_symlink() and not path.exists():
                unreadable["links that lead nowhere"] += 1
            elif path.is_file():
                unreadable[suffix] += 1
    if unreadable:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unreadable.items()))
        say(f"left out in {folder}, because they cannot be read: {kinds}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _identity(folder: str | Path) -> tuple[int, int] | None:
    try:
        info = os.stat(folder)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _folder_skipped(error: OSError) -> None:
    say(f"skipped folder {error.filename}: {error.strerror}")


def stem_of(path, folder):
    """Return the path of a picture within a folder, without its suffix, as text with slashes.

    In Unicode's form NFC: a Mac's disk has other bytes for one name.
    """
    return in_nfc(place_in(path, folder).with_suffix("").as_posix())


def place_in(path, folder):
    """Return the path of a picture within a folder, or its name if it is itself what was given.

    Of a list's pictures, within the folder that the list lies in.
    """
    if path == folder:
        return Path(path.name)
    return path.relative_to(base_of(folder))


def in_nfc(name):
    """Return a name in the form in which names are compared."""
    return unicodedata.normalize("NFC", str(name))


def by_stem(folder):
    """Return the pictures of a folder, or one picture, by path without suffix: dict str -> Path.

    Of two with the same name the first serves, and a line on stderr names the other. Raises
    PictureError, as `util.pictures.find.find_pictures`.
    """
    folder, found = Path(folder), {}
    for path in find_pictures(folder):
        stem = stem_of(path, folder)
        if stem in found:
            say(f"left out {path}: {found[stem].name} has the same name")
            continue
        found[stem] = path
    return found


def partners(one, other):
    """Return the pictures of equal names in two folders: dict str -> (Path, Path), sorted.

    A line on stderr names each that has no partner. Errors as in `by_stem`.
    """
    sides = by_stem(one), by_stem(other)
    for mine, others, folder in ((*sides, other), (*sides[::-1], one)):
        for stem in sorted(mine.keys() - others.keys()):
            say(f"left out {mine[stem]}: no {stem}.* in {folder}")
    return {stem: (sides[0][stem], sides[1][stem]) for stem in sorted(sides[0].keys() & sides[1])}


def pictures_of(folder, setting):
    """Return the pictures of a folder that a setting names, as `util.pictures.find.find_pictures`.

    Raises
    ------
    UserError
        The folder is missing or holds no picture; the message names folder and setting.
    """
    try:
        paths = find_pictures(folder)
    except PictureError as error:
        raise UserError(f"{setting} = {error}") from None
    if not paths:
        raise UserError(
            f"{setting} = {folder}: no picture found (JPEG, PNG, TIFF, WebP, BMP or GIF). "
            f"Put pictures there or set {setting} to the folder that has them"
        )
    return paths


# --- lists --------------------------------------------------------------------------------------


def is_list(path):
    """Tell whether a path is a list of pictures: a text file."""
    return path.suffix.lower() == ".txt" and path.is_file()


def base_of(folder):
    """Return the folder that names count within: of a list, that which it lies in."""
    return folder.parent if is_list(folder) else folder


def read_list(path):
    """Return what a list names: dict name -> SHA-256 in hexadecimal, or None where none is given.

    A line a picture, by its path within the list's folder, with slashes; lines of sha256sum will
    do. Empty lines, and those that begin with #, are left out.

    Raises
    ------
    UserError
        It cannot be read, or names something outside of its folder, or twice.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = file.read(_LIST_BYTES).splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    found = {}
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        listed = _LISTED.fullmatch(line.strip())
        name = in_nfc(listed["name"].replace("\\", "/").removeprefix("./"))
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{path}: {name} does not lie in its folder; name pictures from there")
        if name in found:
            raise UserError(f"{path}: names {name} twice; take one of the lines away")
        found[name] = listed["digest"] and listed["digest"].lower()
    return found


def lists_of(folder):
    """Return what the lists of a folder name: dict "train", "val", "test" -> as `read_list`.

    Those that are there. Raises UserError as `read_list`, or where two name one picture.
    """
    files = {kind: Path(folder) / f"{kind}.txt" for kind in LISTS}
    found = {kind: read_list(file) for kind, file in files.items() if file.is_file()}
    kinds = {}
    for kind, names in found.items():
        for name in names:
            other = kinds.setdefault(name, kind)
            if other != kind:
                raise UserError(f"{files[kind]}: {name} is in {other}.txt as well; it leaks")
    return found


def another_kind(kind, names):
    """Return what to say of a list "train", "val" or "test" that names no picture of its folder."""
    first = next(iter(names), "")
    return (
        f"{kind}.txt names none of its pictures, so it is a list of another kind: a line must be "
        f"one picture's path within the folder, such as a/b.png; the first is {first:.60}"
    )


def _pictures_listed(file):
    """Return the pictures that a list names and that are there; the others are told."""
    names = read_list(file)
    paths = [path for path in (file.parent / name for name in sorted(names)) if path.is_file()]
    if len(paths) < len(names):
        say(f"left out of {file}: {len(names) - len(paths)} that are not there")
    return paths
