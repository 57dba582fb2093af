"""Find the partners of pictures in another folder, by name."""

import re
from pathlib import Path

from util.pictures.find import is_list, pictures_of, stem_of
from util.say import UserError, say_first

# RESIDE: <id>_<A>_<beta>, such as 0005_0.85_0.04 for the clear picture 0005.
_RESIDE = re.compile(r"(?P<id>.+)_\d*\.?\d+_\d*\.?\d+")


def find_pairs(hazy_folder, clear_folder, setting="hazy_folder", clear_setting="clear_folder"):
    """Find the partners of clear pictures in another folder, by name, never by order.

    Names are compared without suffix, sub-folders included: ``hazy/a/1.png`` belongs to
    ``clear/a/1.jpg``. Where there is no such name, ``<id>_<A>_<beta>`` of the RESIDE data set
    belongs to ``<id>``, in the same sub-folder or else at the top of `clear_folder`.

    Parameters
    ----------
    hazy_folder, clear_folder : str or Path
    setting, clear_setting : str
        What errors call the two.

    Returns
    -------
    pairs : list of (Path, list of Path)
        A clear picture and all its partners, in the order of `find_pictures`.
    lonely : list of (Path, str)
        The other pictures of both folders, and why they have no partner.

    Raises
    ------
    UserError
        A folder is missing or empty, or no picture has a partner.
    """
    hazy = _pictures(hazy_folder, setting)
    clear = _pictures(clear_folder, clear_setting)
    lonely, of_name, partners = [], {}, {}
    for name, path in clear:
        if name in of_name:
            lonely.append((path, f"{of_name[name].name} has the same name"))
            continue
        of_name[name], partners[name] = path, []
    for name, path in hazy:
        clear_name = next((n for n in _clear_names(name) if n in of_name), None)
        if clear_name is None:
            names = " or ".join(dict.fromkeys(_clear_names(name)))
            lonely.append((path, f"no picture {names} in {clear_folder}"))
        else:
            partners[clear_name].append(path)
    pairs = [(of_name[name], found) for name, found in partners.items() if found]
    if not pairs:
        raise UserError(
            f"{setting} = {hazy_folder}: none of its {len(hazy)} pictures has a partner among "
            f"the {len(clear)} of {clear_setting} = {clear_folder}. Names must be equal, or "
            f"<id>_<A>_<beta> for <id>; here the first ones are {hazy[0][0]} and {clear[0][0]}"
        )
    lonely += [
        (of_name[name], f"no picture of this name in {hazy_folder}")
        for name, found in partners.items()
        if not found
    ]
    return pairs, lonely


def _pictures(folder, setting):
    """Return (name without suffix relative to the folder, path) of each picture of a folder."""
    if Path(folder).is_file() and not is_list(Path(folder)):
        raise UserError(f"{setting} = {folder}: is one file; give the folder it lies in")
    return [(stem_of(path, Path(folder)), path) for path in pictures_of(folder, setting)]


def _clear_names(name):
    """Return the names under which the clear picture of a hazy one is looked for, in order."""
    folder, slash, stem = name.rpartition("/")
    reside = _RESIDE.fullmatch(stem)
    return [name] + ([f"{folder}{slash}{reside['id']}", reside["id"]] if reside else [])


def say_lonely(lonely):
    """Print which pictures have no partner and why, ten lines at most, to stderr."""
    say_first([f"unpaired {path}: {reason}" for path, reason in lonely])


def partner_indices(pairs, clear, hazy, crop_px):
    """Find pairs in the stores that hold their pictures; only those of the same size fit.

    Parameters
    ----------
    pairs : list of (Path, list of Path)
        From `find_pairs`.
    clear, hazy : PictureStore
        Made with ``crop_px=1``: a store pads small pictures to its crop, which would hide that
        sizes differ.
    crop_px : int
        Side of the crops that are wanted; a picture of less than half of it is left out.

    Returns
    -------
    partners : list of (int, tuple of int)
        Index of a clear picture, and those of all its partners.
    lonely : list of (Path, str)
        Partners that do not fit, and why; pictures that a store skipped were named by it.
    """
    clear_at = {path: index for index, path in enumerate(clear.paths)}
    hazy_at = {path: index for index, path in enumerate(hazy.paths)}
    partners, lonely = [], []
    for path, found in pairs:
        if path not in clear_at:
            continue
        height, width = (int(n) for n in clear.sizes[clear_at[path]])
        if 2 * min(height, width) < crop_px:
            reason = f"{width} x {height} is less than half the crop of {crop_px}"
            lonely.append((path, reason))
            continue
        fitting = []
        for partner in found:
            if partner not in hazy_at:
                continue
            rows, columns = (int(n) for n in hazy.sizes[hazy_at[partner]])
            if (rows, columns) == (height, width):
                fitting.append(hazy_at[partner])
            else:
                reason = f"{columns} x {rows}, but its partner {path} has {width} x {height}"
                lonely.append((partner, reason))
        if fitting:
            partners.append((clear_at[path], tuple(fitting)))
    return partners, lonely
