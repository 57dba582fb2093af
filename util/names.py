"""Find pictures by name."""

from pathlib import Path

from util.pictures import PictureError, find_pictures
from util.say import UserError, say


def stem_of(path, folder):
    """Return the path of a picture within a folder, without its suffix, as text with slashes."""
    relative = path.relative_to(folder) if path != folder else Path(path.name)
    return relative.with_suffix("").as_posix()


def by_stem(folder):
    """Return the pictures of a folder, or one picture, by path without suffix: dict str -> Path.

    Of two with the same name the first serves, and a line on stderr names the other. Raises
    PictureError, as `util.pictures.find_pictures`.
    """
    folder, found = Path(folder), {}
    for path in find_pictures(folder):
        stem = stem_of(path, folder)
        if stem in found:
            say(f"left out {path}: {found[stem].name} has the same name")
            continue
        found[stem] = path
    return found


def pictures_of(folder, setting):
    """Return the pictures of a folder that a setting names, as `util.pictures.find_pictures`.

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
