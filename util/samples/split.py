"""The split: which pictures are trained on and which are held back, the same for all of a run."""

import base64
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

from util.pictures.find import another_kind, in_nfc, lists_of, place_in
from util.say import UserError, say

SCENES_FROM = 4  # "auto" holds whole scenes back from so many on
TRAINED, HELD, STRIP, BOTH = "thsb"  # STRIP: a part of it each; BOTH: all of it on both sides
_MOST_BYTES = 200_000_000  # of names, against a file that claims absurd sizes
_NAMED = 5


class Side(NamedTuple):
    """Hold one side of a split.

    paths : list of Path
    parts : dict of Path -> callable
        Of which pictures only a part is meant; see `util.pictures.store.PictureStore`.
    remedy : str
        What to do where none of them is usable, though pictures of the other side are.
    """

    paths: list
    parts: dict
    remedy: str = ""


class Split:
    """Share the pictures of folders out: to train on, and held back to validate on.

    A picture that has a side keeps it; those that come later join. The rest follows from the
    settings and the names alone.

    Parameters
    ----------
    settings : the script's settings
    meta : dict, optional
        The JSON part of the run's checkpoint, None where there is none yet.
    closed : bool
        Leave out what came later, unless all pictures did.

    Attributes
    ----------
    moved : bool
        Whether the pictures held back are others than the checkpoint's.

    Raises
    ------
    ValueError
        The checkpoint's split cannot be read.
    """

    def __init__(self, settings, meta=None, *, closed=False):
        self._settings, self._closed, self.moved = settings, closed, False
        try:
            # Runs from before splits were kept: by tile, a single picture whole on both sides.
            self._before = meta is not None and "split" not in meta
            kept = (meta or {}).get("split", {}).items()
            self._known = {name: (_checked_rule(by), _names(text)) for name, (by, text) in kept}
        except (ValueError, TypeError, AttributeError, zlib.error) as error:
            raise ValueError(f"its split cannot be read: {error}") from error

    def stored(self):
        """Return what a checkpoint keeps: dict setting -> [rule, text]."""
        return {setting: [by, _text(sides)] for setting, (by, sides) in self._known.items()}

    def sides(self, setting, folder, paths, *, crop_px=0, by=None):
        """Return the `Side` to train on and that held back; a line says what came and went.

        Parameters
        ----------
        setting : str
            That names the folder.
        folder : str or Path
        paths : list of Path, sorted
            Pictures of the folder, at least one.
        crop_px : int
            What either part of a shared picture must have room for; setting crop_px at least.
        by : str, optional
            The rule for a folder that is new, default validation_by.

        Raises
        ------
        UserError
            Nothing is left of a side, the folder has no scenes to be split by, or another rule is
            asked for than it was split by.
        """
        path_of = {_name(path, folder): path for path in paths}
        asked = by or self._settings.validation_by
        by, known = self._known.get(setting) or (self._rule(setting, folder, path_of, asked), {})
        if asked not in ("auto", by) and not self._closed:
            raise UserError(
                f"validation_by = {asked}: this run has split {setting} by {by}, which stays; set "
                f"it to {by}, or begin anew with --fresh"
            )
        names = [name for name in path_of if name in known] if self._closed else []
        names = names or [*path_of]
        here = self._joined(folder, names, known, by)
        came = [side for name, side in here.items() if not known.get(name, "").islower()]
        gone = [side for name, side in known.items() if side.islower() and name not in here]
        if known:
            self.moved |= any(side != TRAINED for side in came + gone)
            _say_change(setting, came, gone, len(path_of) - len(names))
        elif by == "scene":
            _say_held(setting, here)
        elif by == "list":
            _say_listed(setting, here, len(names) - len(here))
        # Upper case: not there now.
        self._known[setting] = by, {n: s.upper() for n, s in known.items()} | here
        shared = [path_of[name] for name, side in here.items() if side == STRIP]
        found = []
        for training, other in ((True, HELD), (False, TRAINED)):
            mine = [path_of[name] for name, side in here.items() if side != other]
            if not mine:
                what = "trained on" if training else "held back"
                remedy = "give --data" if self._closed else "begin anew with --fresh"
                raise UserError(
                    f"{setting} = {folder}: nothing is left of the pictures that are {what}; put "
                    f"them back, or {remedy}"
                )
            part = partial(
                strip,
                share=self._settings.validation_share,
                crop_px=max(crop_px, self._settings.crop_px),
                training=training,
            )
            remedy = self._remedy(training, len(here) - len(mine), begun=bool(known))
            found.append(Side(mine, dict.fromkeys(shared, part), remedy))
        return found

    def _remedy(self, training, others, *, begun):
        if not others:
            return ""
        if self._closed:
            way = "or give --data"
        elif begun:
            way = "or begin anew with --fresh, without them"
        else:
            way = "or take them out" + ", or set a larger validation_share" * (not training)
        theirs = "held back" if training else "trained on"
        return f"all others ({others}) are {theirs}. Mend the bad ones, {way}"

    def _rule(self, setting, folder, names, by):
        """Return "scene", "tile" or "list" for a folder that has no split yet."""
        if self._before:
            return "tile"
        lists = lists_of(folder) if by in ("auto", "list") else {}
        if {"train", "val"} <= lists.keys():
            here = set(map(in_nfc, names))
            for kind in ("train", "val"):
                if not here & lists[kind].keys():
                    raise UserError(
                        f"{setting} = {folder}: {another_kind(kind, lists[kind])}. Mend it, or set "
                        "validation_by to tile"
                    )
            return "list"
        if by == "list":
            raise UserError(
                f"{setting} = {folder}: validation_by = list needs train.txt and val.txt there; "
                "python prepare_data.py split writes them"
            )
        return rule_of(setting, names, by)

    def _joined(self, folder, names, known, by):
        """Return the side of each picture, its own where it has one: dict name -> side."""
        if by == "list":
            new = join_by_list(names, known, lists_of(folder))
        elif len(names) == 1 and by == "tile":
            new = {names[0]: BOTH if self._before else STRIP}
        else:
            join = join_by_scene if by == "scene" else join_by_tile
            new = join(names, known, self._settings.validation_share)
        sides = {name: known.get(name, "").lower() or new.get(name) for name in names}
        return {name: side for name, side in sides.items() if side}


# --- rules --------------------------------------------------------------------------------------


def rule_of(setting, names, by):
    """Return "scene" or "tile" for pictures without lists; UserError where they have no scenes."""
    scenes = len(set(map(_scene, names)))
    if by == "scene" and scenes < 2:
        raise UserError(
            f"{setting}: its pictures lie in one folder, where validation_by = scene needs two or "
            "more; put each scene into a folder of its own, or set validation_by to tile"
        )
    by_scene = by == "scene" or (by != "tile" and scenes >= SCENES_FROM)
    return "scene" if by_scene else "tile"


def join_by_scene(names, known, share):
    """Return the side of each new picture: that of its scene.

    A scene is the folder that a picture lies in. Of new ones as many are held back as are lacking
    to `share` of all (one at least, two of five or more): the last of each of equal stretches of
    their sorted names.

    Parameters
    ----------
    names : list of str, sorted
        All pictures that are there.
    known : dict of str -> side
        Those that were there at some time.
    share : float
    """
    scenes = sorted({_scene(name) for name in names})
    sides = {_scene(name): side.lower() for name, side in known.items()}
    new = [scene for scene in scenes if scene not in sides]
    held = sum(sides.get(scene) == HELD for scene in scenes)
    count = _lacking(len(scenes), share, 2 if len(scenes) >= 5 else 1, held, len(new))
    chosen = {new[(i + 1) * len(new) // count - 1] for i in range(count)}
    sides |= {scene: HELD if scene in chosen else TRAINED for scene in new}
    return {name: sides[_scene(name)] for name in names if name not in known}


def join_by_tile(names, known, share):
    """Return the side of each new picture, folder by folder.

    Of a folder's new pictures as many are held back as are lacking to `share` of all it has, one
    at least, evenly spread over the sorted names. A folder with a single picture is trained on
    unless no folder has two. Parameters as in `join_by_scene`.
    """
    folders = {}
    for name in names:
        folders.setdefault(_scene(name), []).append(name)
    chosen = set()
    for group in [group for group in folders.values() if len(group) > 1] or [names]:
        new = [name for name in group if name not in known]
        held = sum(known[name].lower() != TRAINED for name in group if name in known)
        count = _lacking(len(group), share, 1, held, len(new))
        chosen |= {new[int((i + 0.5) * len(new) / count)] for i in range(count)}
    return {name: HELD if name in chosen else TRAINED for name in names if name not in known}


def join_by_list(names, known, lists):
    """Return the side of each new picture that is in a list "train" or "val"; of others none.

    names, known : as in `join_by_scene`
    lists : dict of str -> names
    """
    sides = {"train": TRAINED, "val": HELD}
    listed = {name: side for kind, side in sides.items() for name in lists.get(kind, ())}
    new = {name: listed.get(in_nfc(name)) for name in names if name not in known}
    return {name: side for name, side in new.items() if side}


def _lacking(total, share, least, held, new):
    """Return how many of the new are to be held back; one of all stays to be trained on."""
    return min(new, max(0, min(total - 1, max(least, round(share * total))) - held))


def strip(height, width, *, share, crop_px, training):
    """Return the rows and columns of one side of a shared picture, as two slices.

    The last `share` of its longer side is held back, a crop at least and leaving one; all of a
    picture that is too small for two crops is on both sides.
    """
    long = max(height, width)
    if long < 2 * crop_px:
        return slice(0, height), slice(0, width)
    cut = max(crop_px, long - max(crop_px, round(share * long)))
    along = slice(0, cut) if training else slice(cut, long)
    return (along, slice(0, width)) if height >= width else (slice(0, height), along)


def say_shared(setting, training, held):
    """Say of each picture that two PictureStores share which part of it is held back."""
    for path in sorted(training.parts.keys() & set(held.paths)):
        rows, columns = held.spans[held.paths.index(path)]
        along, kind = (rows, "rows") if rows.start else (columns, "columns")
        if along.start:
            how = f"its last {along.stop - along.start} {kind} are held back for validation"
        else:
            how = "it is too small to be divided, so validation sees what is trained on"
        say(f"{setting}: {path} serves both sides: {how}")


def _say_held(setting, sides):
    held = sorted({_scene(name) or "." for name, side in sides.items() if side == HELD})
    more = f" and {len(held) - _NAMED} more" * (len(held) > _NAMED)
    say(f"{setting}: held back for validation: {', '.join(held[:_NAMED])}{more}")


def _say_listed(setting, sides, others):
    held = sum(side == HELD for side in sides.values())
    more = f", {others} are left out" * bool(others)
    say(f"{setting}: split by its lists: {len(sides) - held} to train on, {held} held back{more}")


def _say_change(setting, came, gone, left_out):
    held = sum(side != TRAINED for side in came)
    said = []
    if came:
        said += [f"{len(came)} came ({len(came) - held} to train on, {held} held back)"]
    if gone:
        said += [f"{len(gone)} went"]
    if left_out:
        said += [f"{left_out} that came since the checkpoint are left out"]
    if said:
        say(f"{setting}: of its pictures {', '.join(said)}")


# --- names --------------------------------------------------------------------------------------


def _name(path, folder):
    """Return the path of a picture within a folder as text with slashes."""
    return place_in(path, Path(folder)).as_posix()


def _scene(name):
    return name.rpartition("/")[0]


def _checked_rule(by):
    if by not in ("scene", "tile", "list"):
        raise ValueError(f"{by!s:.20} is no rule")
    return by


def _text(sides):
    """Return dict name -> side as text: sorted, so that names that begin alike take little."""
    lines = "\0".join(f"{name}\0{side}" for name, side in sorted(sides.items()))
    return base64.b64encode(zlib.compress(lines.encode("utf-8", "surrogateescape"), 9)).decode()


def _names(text):
    """Return what `_text` was made of; raise ValueError or zlib.error for anything else."""
    decoder = zlib.decompressobj()
    content = decoder.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
    if decoder.unconsumed_tail or not decoder.eof:
        raise ValueError("its names are cut, or too many")
    words = content.decode("utf-8", "surrogateescape").split("\0")
    sides = dict(zip(words[::2], words[1::2], strict=True))
    if not set(sides.values()) <= set("thsbTHSB"):
        raise ValueError("a picture has no side")
    return sides
