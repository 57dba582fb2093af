"""Samples from pairs of pictures, and depth maps: partners of the clear pictures, cut alike."""

from functools import partial

from util.pictures.find import pictures_of
from util.pictures.pairs import find_pairs, partner_indices, say_lonely
from util.pictures.pixels import PictureError, as_float
from util.samples.crops import random_zoom
from util.samples.ground import keyed, open_store, say_unused_range
from util.samples.keys import Keys, shuffled_index
from util.samples.split import Side, Split, say_shared
from util.say import UserError


class PairedSamples:
    """Make samples of hazy and clear ground from pairs: a pure function of the sample's number.

    Each clear picture comes once an epoch, with one of its hazy ones at random.

    Parameters
    ----------
    clear, hazy : PictureStore
    partners : list of (int, tuple of int)
        Index of a clear picture in its store, and those of its hazy ones, of the same size.
    seed, crop_px : int
    zoom : (float, float)
        See `util.samples.crops.random_zoom`.
    names : (str, str)
        What the hazy and the clear ones are called in a sample.
    """

    def __init__(self, clear, hazy, partners, *, seed, crop_px, zoom, names=("hazy", "clear")):
        self.clear, self.hazy, self.partners = clear, hazy, partners
        self.seed, self.crop_px, self.zoom, self.names = seed, crop_px, zoom, names

    def __len__(self):
        """Return how many samples make an epoch: as many as there are clear pictures."""
        return len(self.partners)

    def __call__(self, number):
        """Return both by name, float32 (S, S, 3), 0..1: the same window and turn."""
        keys = Keys(self.seed, number)
        first = shuffled_index(self.seed, number, len(self.partners))
        choice = keys("haze choice").random()
        for index in range(first, first + len(self.partners)):
            clear, partners = self.partners[index % len(self.partners)]
            both = (self.hazy, partners[int(choice * len(partners))]), (self.clear, clear)
            sides = dict(zip(self.names, both, strict=True))
            how = self.crop_px, self.zoom, list(sides.values())
            cut = {
                name: as_float(random_zoom(*side, keys.anew("ground"), *how))
                for name, side in sides.items()
            }
            # Where a file was lost, its store gave another picture, which is no partner.
            if not any(store.lost(place) for store, place in sides.values()):
                return cut
        raise PictureError(f"no usable pair is left of {len(self.partners)}")


def paired_samples(
    settings, progress=True, split=None, *, setting="hazy_folder", names=("hazy", "clear")
):
    """Return PairedSamples of a folder and clear_folder, to train and to validate with.

    They are split by their clear pictures. Pictures without a partner are named on stderr.

    Parameters
    ----------
    settings : the script's settings
    progress, split
        As for `util.samples.ground.open_grounds`.
    setting : str
        That names the folder of the hazy pictures.
    names : (str, str)
        See `PairedSamples`.

    Raises
    ------
    UserError
        A folder is missing or empty, or no pair is left.
    """
    folder, samples, how = getattr(settings, setting), [], {"progress": progress}
    pairs, lonely = find_pairs(folder, settings.clear_folder, setting)
    say_lonely(lonely)
    split = split or Split(settings)
    sides = split.sides("clear_folder", settings.clear_folder, [path for path, _ in pairs])
    for side, training in zip(sides, (True, False), strict=True):
        kept = set(side.paths)
        here = [pair for pair in pairs if pair[0] in kept]
        paths = [path for _, found in here for path in found]
        hazy = Side(paths, _alike(side.parts, here), side.remedy)
        # Not padded to the crop, so that the sizes of partners can be compared.
        stores = [
            open_store(part.paths, name, settings, 1, parts=part.parts, remedy=part.remedy, **how)
            for part, name in ((side, "clear_folder"), (hazy, setting))
        ]
        samples.append(_of_stores(here, stores, settings, setting, training, names, side.remedy))
    say_shared("clear_folder", *(part.clear for part in samples))
    return samples


def side_by_side_samples(settings, progress=True, split=None, *, setting, names):
    """Return PairedSamples of files that show two pictures side by side, left and right.

    Arguments as for `paired_samples`: the setting names the folder, names are those of the left
    and of the right half. A column in the middle belongs to neither.
    """
    folder, samples = getattr(settings, setting), []
    paths = pictures_of(folder, setting)
    sides = (split or Split(settings)).sides(setting, folder, paths)
    for side, training in zip(sides, (True, False), strict=True):
        left, right = (
            open_store(
                side.paths,
                setting,
                settings,
                1,
                progress=progress,
                remedy=side.remedy,
                parts={path: partial(_half, right, side.parts.get(path)) for path in side.paths},
            )
            for right in (False, True)
        )
        pairs = [(path, [path]) for path in side.paths]
        how = settings, setting, training, names, side.remedy
        samples.append(_of_stores(pairs, (right, left), *how))
    return samples


def _half(right, part, height, width):
    """Return the rows and columns of one half of a picture, as two slices.

    part : callable, optional
        Which rows and columns of the half belong to this side of the split.
    """
    side = width // 2
    rows, columns = part(height, side) if part else (slice(0, height), slice(0, side))
    start = width - side if right else 0
    return rows, slice(start + columns.start, start + columns.stop)


def _of_stores(pairs, stores, settings, setting, training, names, remedy):
    """Return PairedSamples of two stores, that of the clear pictures first."""
    if training:
        say_unused_range(stores)
    partners, unfit = partner_indices(pairs, *stores, settings.crop_px)
    say_lonely(unfit)
    if not partners:
        more = f"; {remedy}" if remedy else ""
        raise UserError(
            f"{setting} = {getattr(settings, setting)}: no pair is left to "
            f"{'train' if training else 'validate'} with, see above. Partners must have the "
            f"same size, at least half of crop_px = {settings.crop_px}{more}"
        )
    return PairedSamples(*stores, partners, **keyed(settings, training=training), names=names)


def _alike(parts, pairs):
    """Return the parts of partners: those of their clear pictures."""
    return {found: parts[path] for path, partners in pairs if path in parts for found in partners}


def depth_from(ground, settings, progress=True):
    """Return a function ``keys -> depth`` from depth_folder's maps; None if there are none.

    Depth is float32 (S, S, 1), 0..1, cut like the clear ground; None for a picture without a map.
    """
    if not settings.depth_folder:
        return None
    pairs, lonely = find_pairs(settings.depth_folder, settings.clear_folder, "depth_folder")
    say_lonely(lonely)
    here = set(ground.store.paths)
    pairs = [(path, depths[:1]) for path, depths in pairs if path in here]
    if not pairs:
        return None
    paths, side_px = [depths[0] for _, depths in pairs], settings.crop_px
    how = {"grey": True, "scaled": False, "parts": _alike(ground.store.parts, pairs)}
    maps = open_store(paths, "depth_folder", settings, side_px, progress=progress, **how)
    partners, unfit = partner_indices(pairs, ground.store, maps, side_px)
    say_lonely(unfit)
    return partial(_depth_of, ground, maps, {index: depths[0] for index, depths in partners})


def _depth_of(ground, maps, partners, keys):
    """Return the depth of a sample's ground, cut like it; None where its picture has no map.

    partners : dict of int -> int
        Index of a clear picture in its store, and that of its depth in `maps`.
    """
    place = partners.get(ground.index(keys))
    return None if place is None else as_float(ground.window(maps, place, keys))
