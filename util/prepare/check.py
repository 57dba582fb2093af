"""Look through a data set before it is trained on: what is damaged, alone, twice, or leaks."""

import hashlib
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from util.pictures.find import another_kind, in_nfc, lists_of, pictures_of, place_in
from util.pictures.pairs import find_pairs
from util.pictures.pixels import PictureError, luma
from util.pictures.read import read
from util.samples.split import Split
from util.say import say_first, show

_SMALL_PX, _WAVES = 32, 8  # side of the small picture that is compared, and of its lowest waves
# Nearly the same: hashes of 63 bits that differ in so few, and small pictures that correlate so
# well, if they vary by as much (of 255).
_BITS, _CORRELATED, _VARIED = 10, 0.97, 1.5
_AT_ONCE = 2**22  # hashes compared at once
_SIZES = 3  # named in a line


class Look(NamedTuple):
    """What was seen of a picture.

    size : (int, int)
        Height and width.
    digest : bytes
        SHA-256 of the file.
    small : uint8 (32, 32)
        Its brightness.
    """

    size: tuple[int, int]
    digest: bytes
    small: np.ndarray


def check(folder, settings, *, hazy=None, against=None):
    """Look through a folder of clear pictures, and say what is wrong with it.

    Parameters
    ----------
    folder : str
    settings : an object of one of configure.py's classes
        They say how it would be split.
    hazy : str, optional
        Folder of their hazy or cloudy partners.
    against : str, optional
        Folder of pictures that none of `folder` may show, such as a test set.

    Returns
    -------
    int
        0 if it is fit to be trained and measured on; 1 if a file is unreadable or other than its
        list says, or a picture has no partner of its size, is on both sides of the split, or is in
        `against` as well, or nothing of a side is usable.

    Raises
    ------
    UserError
        A folder is missing or empty, no picture has a partner, or the split is impossible.
    """
    folder, bad = Path(folder), {}
    paths = pictures_of(folder, "FOLDER")
    looks, bad["unreadable"] = looks_at(paths, settings)
    _say_what(folder, paths, looks, settings)
    bad["not as listed"] = _not_as_listed(folder, looks)
    trained, fitting = paths, looks.keys()
    if hazy:
        pairs, lonely = find_pairs(hazy, folder, "--hazy", "FOLDER")
        bad["without a partner"] = [f"{path}: {reason}" for path, reason in lonely]
        partners, unreadable = looks_at([p for _, found in pairs for p in found], settings)
        bad["unreadable"] += unreadable
        bad["no pairs"] = _unlike(pairs, looks, partners)
        _say_what(hazy, partners, partners, settings)
        trained, fitting = [path for path, _ in pairs], _fitting(pairs, looks, partners)
    split = Split(settings).sides("FOLDER", folder, trained, crop_px=settings.crop_px)
    show(f"  split: {len(split[0].paths)} to train on, {len(split[1].paths)} held back")
    bad["sides with nothing usable"] = _nothing_usable(split, fitting, looks, settings.crop_px)
    # A single picture is divided, which is no leak.
    side_of = dict.fromkeys(split[1].paths, "held back") | dict.fromkeys(split[0].paths, "trained")
    tested = lists_of(folder).get("test", {})
    side_of |= {path: "tested on" for path in paths if _listed_as(path, folder) in tested}
    seen = [(path, side_of.get(path, "left out"), found) for path, found in looks.items()]
    if against:
        others, unreadable = looks_at(pictures_of(against, "--against"), settings)
        bad["unreadable"] += unreadable
        seen += [(path, f"in {against}", found) for path, found in others.items()]
    bad["on both sides"], twice = _shared(seen)
    say_first(twice)
    for kind, lines in bad.items():
        say_first([f"{kind}: {line}" for line in lines])
    wrong = ", ".join(f"{len(lines)} {kind}" for kind, lines in bad.items() if lines)
    show(f"not fit: {wrong}" if wrong else "fit")
    return 1 if wrong else 0


def looks_at(paths, settings):
    """Return a Look at each picture, dict path -> Look, and a line on each that is unreadable."""
    looks, lines = {}, []
    for path in tqdm(paths, "looking", unit="file", disable=None):
        try:
            looks[path] = look(path, settings.max_pixels, settings.full_scale or None)
        except PictureError as error:
            lines.append(str(error))
        except OSError as error:
            lines.append(f"{path}: {error.strerror}")
    return looks, lines


def look(path, max_pixels, full_scale=None):
    """Return a Look at a picture. Raises PictureError, and OSError if it cannot be read again."""
    pixels = read(path, max_pixels=max_pixels, full_scale=full_scale).over_range()
    small = cv2.resize(pixels, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
    small = luma(small) if small.dtype == np.uint8 else (luma(small) >> 8).astype(np.uint8)
    return Look(pixels.shape[:2], digest_of(path), small)


def digest_of(path):
    """Return the SHA-256 of a file. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _say_what(folder, paths, looks, settings):
    folders = len({path.parent for path in paths})
    sizes = Counter(found.size for found in looks.values()).most_common()
    named = [f"{count} of {width} x {height}" for (height, width), count in sizes[:_SIZES]]
    if len(sizes) > _SIZES:
        named.append(f"{sum(count for _, count in sizes[_SIZES:])} of {len(sizes) - _SIZES} others")
    more = f" in {folders} folders" * (folders > 1)
    show(f"{folder}: {len(paths)} pictures{more}: {', '.join(named) or 'none readable'}")
    small = sum(2 * min(found.size) < settings.crop_px for found in looks.values())
    if small:
        show(f"  {small} are less than half of crop_px = {settings.crop_px}, and would be skipped")


def _not_as_listed(folder, looks):
    """Return a line on each picture of the folder's lists that is not there, or is another."""
    here = {_listed_as(path, folder): seen for path, seen in looks.items()}
    lines = []
    for kind, names in lists_of(folder).items():
        if names and not here.keys() & names:
            lines.append(another_kind(kind, names))
            continue
        for name, digest in names.items():
            if name not in here:
                lines.append(f"{name} of {kind}.txt: is not there, or unreadable")
            elif digest and here[name].digest.hex() != digest:
                lines.append(f"{name} of {kind}.txt: has another SHA-256")
    return lines


def _listed_as(path, folder):
    return in_nfc(place_in(path, folder).as_posix())


def _unlike(pairs, looks, partners):
    """Return a line on each pair that is none: of two sizes, or of one file."""
    lines = []
    for path, found in pairs:
        for partner in found:
            if path not in looks or partner not in partners:
                continue
            one, other = looks[path], partners[partner]
            if one.size != other.size:
                sides = [f"{width} x {height}" for height, width in (other.size, one.size)]
                lines.append(f"{partner}: {sides[0]}, but {path} has {sides[1]}")
            elif one.digest == other.digest:
                lines.append(f"{partner}: is the same file as {path}")
    return lines


def _fitting(pairs, looks, partners):
    """Return the clear pictures that have a readable partner of their size."""
    sizes = {path: {partners[p].size for p in found if p in partners} for path, found in pairs}
    return {path for path, there in sizes.items() if path in looks and looks[path].size in there}


def _nothing_usable(split, fitting, looks, crop_px):
    """Return a line on each side of a split with nothing that training would take."""
    lines = []
    for side, what in zip(split, ("to train on", "held back"), strict=True):
        sizes = {path: looks[path].size for path in side.paths if path in fitting}
        for path, part in side.parts.items():
            if path in sizes:
                sizes[path] = [along.stop - along.start for along in part(*sizes[path])]
        if not any(2 * min(size) >= crop_px for size in sizes.values()):
            lines.append(f"none of the {len(side.paths)} {what}")
    return lines


# --- the same, and nearly the same --------------------------------------------------------------


def perceptual_hash(small):
    """Return a hash that pictures share which look alike, 63 bits as a uint64.

    Which of the lowest waves of brightness are above their median: it outlasts another size,
    compression and light, but no other crop, and no turn.

    Parameters
    ----------
    small : uint8 (32, 32)

    References
    ----------
    Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010.
    """
    waves = cv2.dct(small.astype(np.float32))[:_WAVES, :_WAVES].ravel()[1:]  # not the mean
    bits = np.packbits(np.append(waves > np.median(waves), False))
    return bits.view(np.uint64)[0]


def same(looks):
    """Return groups of pictures that are the same file or look nearly the same.

    Parameters
    ----------
    looks : list of Look

    Returns
    -------
    list of list of int
        Places of two or more, sorted.
    """
    by_digest, groups = {}, {}
    copies = ((by_digest.setdefault(s.digest, place), place) for place, s in enumerate(looks))
    for place, first in enumerate(joined(len(looks), chain(copies, _nearly_the_same(looks)))):
        groups.setdefault(first, []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def joined(count, pairs):
    """Return of each of so many places the first that pairs join it to, itself if none do."""
    first = list(range(count))  # or one that leads there

    def of(place):
        while first[place] != place:
            place = first[place]
        return place

    for pair in pairs:
        low, high = sorted(map(of, pair))
        first[high] = low
    return [of(place) for place in range(count)]


def _nearly_the_same(looks):
    """Yield pairs of places of pictures that look alike."""
    at = [place for place, seen in enumerate(looks) if seen.small.std() >= _VARIED]
    if not at:
        return
    hashes = np.array([perceptual_hash(looks[place].small) for place in at])
    small = np.stack([looks[place].small.ravel() for place in at]).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    step = max(1, _AT_ONCE // len(at))
    for top in range(0, len(at), step):
        apart = np.bitwise_count(hashes[top : top + step, None] ^ hashes[None])
        ones, others = np.nonzero(np.triu(apart <= _BITS, top + 1))
        for some in np.array_split(np.arange(len(ones)), len(ones) // step + 1):
            one, other = ones[some] + top, others[some]
            alike = np.einsum("nk,nk->n", small[one], small[other]) >= _CORRELATED
            yield from ((at[i], at[j]) for i, j in zip(one[alike], other[alike], strict=True))


def _shared(seen):
    """Return a line on each group of the same pictures on two sides, and on each on one side.

    seen : list of (path, side, Look)
    """
    leaks, twice = [], []
    for group in same([found for _, _, found in seen]):
        members = [seen[place] for place in group]
        alike = len({found.digest for _, _, found in members}) == 1
        how = "are the same file" if alike else "are nearly the same"
        sides = {}
        for path, side, _ in members:
            sides.setdefault(side, path)
        if len(sides.keys() - {"left out"}) > 1:
            named = " and ".join(f"{path} ({side})" for side, path in sides.items())
            leaks.append(f"{named} {how}")
        else:
            named = " and ".join(str(path) for path, _, _ in members[:2])
            more = f" and {len(group) - 2} more" * (len(group) > 2)
            twice.append(f"twice: {named}{more} {how}")
    return leaks, twice
