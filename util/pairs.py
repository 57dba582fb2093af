"""Pair hazy pictures with clear ones by name, and make samples of hazy and clear ground."""

import re
from pathlib import Path

from util.clouds import vary_ground
from util.haze import scatter, smooth_depth
from util.keys import keyed_rng, shuffled_index
from util.names import pictures_of, stem_of
from util.pictures import PictureError, as_float
from util.samples import random_zoom
from util.say import UserError, say

_LINES = 10
# RESIDE: <id>_<A>_<beta>, such as 0005_0.85_0.04 for the clear picture 0005.
_RESIDE = re.compile(r"(?P<id>.+)_\d*\.?\d+_\d*\.?\d+")


# --- finding partners ---------------------------------------------------------------------------


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
    if Path(folder).is_file():
        raise UserError(f"{setting} = {folder}: is one file; give the folder it lies in")
    return [(stem_of(path, Path(folder)), path) for path in pictures_of(folder, setting)]


def _clear_names(name):
    """Return the names under which the clear picture of a hazy one is looked for, in order."""
    folder, slash, stem = name.rpartition("/")
    reside = _RESIDE.fullmatch(stem)
    return [name] + ([f"{folder}{slash}{reside['id']}", reside["id"]] if reside else [])


def say_lonely(lonely):
    """Print which pictures have no partner and why, ten lines at most, to stderr."""
    for path, reason in lonely[:_LINES]:
        say(f"unpaired {path}: {reason}")
    if len(lonely) > _LINES:
        say(f"and {len(lonely) - _LINES} more")


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


# --- samples ------------------------------------------------------------------------------------


def _window(samples, store, index, number):
    """Return the pixels of a sample's window, the same of every store with pictures of one size.

    The generator is made anew for each, so all get the same draws.
    """
    rng = keyed_rng(samples.seed, number, "ground")
    return random_zoom(store, index, rng, samples.crop_px, samples.zoom)


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
        See `util.samples.random_zoom`.
    """

    def __init__(self, clear, hazy, partners, *, seed, crop_px, zoom):
        self.clear, self.hazy, self.partners = clear, hazy, partners
        self.seed, self.crop_px, self.zoom = seed, crop_px, zoom
        self._bad = {store: len(store.skipped) for store in (clear, hazy)}  # from the start

    def __call__(self, number):
        """Return hazy and clear (S, S, 3): float32, 0..1, the same window and turn of both."""
        first = shuffled_index(self.seed, number, len(self.partners))
        choice = keyed_rng(self.seed, number, "haze choice").random()
        for index in range(first, first + len(self.partners)):
            clear_index, hazy_indices = self.partners[index % len(self.partners)]
            hazy_index = hazy_indices[int(choice * len(hazy_indices))]
            cut = {
                "hazy": as_float(_window(self, self.hazy, hazy_index, number)),
                "clear": as_float(_window(self, self.clear, clear_index, number)),
            }
            # Where a file was lost, its store gave another picture, which is no partner.
            if not (self._lost(self.clear, clear_index) or self._lost(self.hazy, hazy_index)):
                return cut
        raise PictureError(f"no usable pair is left of {len(self.partners)}")

    def _lost(self, store, index):
        lost = store.skipped[self._bad[store] :]
        return any(path == store.paths[index] for path, _ in lost)


class HazySamples:
    """Make samples of clear ground under haze by the scattering model, purely from the number.

    Parameters
    ----------
    clear : PictureStore
    depths : PictureStore or None
        Grey pictures whose brightness is depth: black is near (no haze), white is far.
    depth_of : dict[int, int], optional
        Index of the depth map of a clear picture, of the same size; pictures without one get a
        smooth random depth (`util.haze.smooth_depth`), as all do where there are no maps.
    seed, crop_px : int
    zoom : (float, float)
        See `util.samples.random_zoom`.
    airlight, beta : (float, float)
        Ranges that the scattering model's two numbers are drawn from, uniformly.
    jitter : dict
        Arguments of `util.clouds.vary_ground`.
    """

    def __init__(
        self, clear, depths=None, depth_of=None, *, seed, crop_px, zoom, airlight, beta, jitter
    ):
        self.clear, self.depths, self.depth_of = clear, depths, depth_of or {}
        self.seed, self.crop_px, self.zoom = seed, crop_px, zoom
        self.airlight, self.beta, self.jitter = airlight, beta, jitter

    def __call__(self, number):
        """Return hazy and clear (S, S, 3): float32, 0..1."""
        index = shuffled_index(self.seed, number, len(self.clear))
        clear = _window(self, self.clear, index, number)
        rng = keyed_rng(self.seed, number, "haze")
        airlight, beta = rng.uniform(*self.airlight), rng.uniform(*self.beta)
        if index in self.depth_of:
            depth = as_float(_window(self, self.depths, self.depth_of[index], number))
        else:
            depth = smooth_depth(rng, self.crop_px)
        clear = vary_ground(keyed_rng(self.seed, number, "jitter"), clear, **self.jitter)
        return {"hazy": scatter(clear, depth, airlight, beta), "clear": clear}
