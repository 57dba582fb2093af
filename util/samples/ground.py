"""Clear ground: open the pictures that settings name, and cut varied crops."""

import cv2
import numpy as np

from util.pictures.find import pictures_of
from util.pictures.pixels import GREY, PictureError, as_float
from util.pictures.store import PictureStore
from util.samples.crops import random_zoom
from util.samples.keys import shuffled_index
from util.samples.pasted import with_bright_things
from util.samples.split import Split, say_shared
from util.say import UserError, say

VALIDATION_SEED = 1_000_003  # added to the run's: validation draws clouds of its own


class Ground:
    """Give crops of clear pictures: a pure function of a sample's keys.

    Scenes, which are folders, weigh alike, however many pictures they have: each comes in turn, and
    each of its pictures before one comes again.

    Parameters
    ----------
    store : PictureStore
    seed, crop_px : int
    zoom : (float, float)
        See `util.samples.crops.random_zoom`.
    varied : dict
        Arguments of `vary_ground`.
    pasted : float, 0..1
        Share of the crops that get bright things of another one; see `with_bright_things`.
    """

    def __init__(self, store, *, seed, crop_px, zoom, varied, pasted=0.0):
        self.store, self.seed = store, seed
        self.crop_px, self.zoom, self.varied, self.pasted = crop_px, zoom, varied, pasted
        scenes = {}
        for index, path in enumerate(store.paths):
            scenes.setdefault(path.parent, []).append(index)
        self.scenes = list(scenes.values())

    def index(self, keys):
        """Return which picture of the store a sample uses."""
        scene = self.scenes[shuffled_index(keys.seed, keys.number, len(self.scenes))]
        return scene[shuffled_index(keys.seed, keys.number // len(self.scenes), len(scene))]

    def window(self, store, index, keys):
        """Return the pixels of a sample's window, the same of every store with pictures of a size.

        uint8 or uint16 (S, S, C), not varied.
        """
        how = self.crop_px, self.zoom, [(self.store, self.index(keys))]
        return random_zoom(store, index, keys.anew("ground"), *how)

    def __call__(self, keys):
        """Return clear ground, float32 (S, S, 3), 0..1."""
        pixels = self.window(self.store, self.index(keys), keys)
        ground = vary_ground(keys("jitter"), pixels, **self.varied)
        if self.pasted and (rng := keys("pasted")).random() < self.pasted:
            # Not the next in turn: each ground is to meet the things of every other.
            scene = self.scenes[rng.integers(len(self.scenes))]
            index = scene[rng.integers(len(scene))]
            other = random_zoom(self.store, index, rng, self.crop_px, self.zoom)
            ground = with_bright_things(rng, ground, vary_ground(rng, other, **self.varied))
        return ground


def vary_ground(
    rng,
    clear,
    *,
    ground_gain,
    ground_offset,
    ground_curve=0.0,
    ground_tint=0.0,
    ground_saturation=0.0,
):
    """Vary light and colour of ground a little.

    Parameters
    ----------
    clear : uint8, uint16 or float32 (H, W, 3)
        A picture as its file has it, or 0..1.
    rng : numpy.random.Generator
    ground_gain : float
        The ground is multiplied by 1 +- this.
    ground_offset : float
        +- this is added to each channel.
    ground_curve : float, below 1
        The middle tones are brightened or darkened: ``x + c * x * (1 - x)`` with c within +- this.
    ground_tint : float
        Each channel is multiplied by 1 +- this.
    ground_saturation : float
        Each channel's distance from the pixel's grey is multiplied by 1 +- this.

    Returns
    -------
    float32 (H, W, 3), 0..1
    """
    varied = _toned(rng, clear, ground_gain, ground_offset, ground_curve, ground_tint)
    if ground_saturation:
        strength = 1.0 + ground_saturation * rng.uniform(-1.0, 1.0)
        grey = np.tile(np.float32(GREY), (3, 1)) * np.float32(1.0 - strength)
        varied = cv2.transform(varied, grey + np.float32(strength) * np.eye(3, dtype=np.float32))
        np.clip(varied, 0.0, 1.0, out=varied)
    return varied


def _toned(rng, clear, ground_gain, ground_offset, ground_curve, ground_tint):
    draws = rng.uniform(-1.0, 1.0, 8)
    gain = ((1.0 + ground_gain * draws[0]) * (1.0 + ground_tint * draws[1:4])).astype(np.float32)
    offset = (ground_offset * draws[4:7]).astype(np.float32)
    bend = gain * np.float32(ground_curve * draws[7])
    if clear.dtype == np.uint8:
        # A table of what becomes of each grey level takes half the time of working out all pixels.
        return cv2.LUT(clear, _curved(_GREY_LEVELS, gain, bend, offset))
    if clear.dtype == np.uint16:
        clear = as_float(clear)
    return _curved(clear, gain, bend, offset)


_GREY_LEVELS = as_float(np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3))


def _curved(clear, gain, bend, offset):
    """Return ``gain * x + bend * x * (1 - x) + offset`` of float32 (H, W, 3), clipped to 0..1."""
    # As rows of whole lines, and in place: NumPy is slow where a row has 3 numbers, and with every
    # array more. The same as (linear - bend * x) * x + offset.
    width = clear.shape[1]
    linear, bend, offset = (np.tile(part, width) for part in (gain + bend, bend, offset))
    lines = clear.reshape(len(clear), -1)
    varied = bend * lines
    np.subtract(linear, varied, out=varied)
    varied *= lines
    varied += offset
    return np.clip(varied, 0.0, 1.0, out=varied).reshape(clear.shape)


# --- from settings ------------------------------------------------------------------------------


def open_grounds(settings, progress=True, split=None):
    """Return the ground to train on and that to validate on: different pictures of clear_folder.

    split: the run's `util.samples.split.Split`, a new one by default.

    Raises
    ------
    UserError
        The folder is missing or holds no usable picture; the message names folder and setting.
    """
    where = settings.clear_folder, "clear_folder"
    stores = open_stores(*where, settings, settings.crop_px, progress=progress, split=split)
    return [ground_of(store, settings, training=i == 0) for i, store in enumerate(stores)]


def ground_of(store, settings, *, training):
    """Return the ground of a store of clear pictures, varied as settings say."""
    return Ground(
        store,
        **keyed(settings, training=training),
        varied={
            "ground_gain": settings.ground_gain,
            "ground_offset": settings.ground_offset,
            # What only makes few pictures into many has no place in the validation.
            "ground_curve": settings.ground_curve if training else 0.0,
            "ground_tint": settings.ground_tint if training else 0.0,
            "ground_saturation": settings.ground_saturation if training else 0.0,
        },
        pasted=settings.ground_pasted if training else 0.0,
    )


def keyed(settings, *, training):
    """Return what all samples follow from: their seed, side and zoom."""
    return {
        "seed": settings.seed + (0 if training else VALIDATION_SEED),
        "crop_px": settings.crop_px,
        "zoom": settings.ground_zoom if training else (1.0, 1.0),
    }


def open_stores(folder, setting, settings, crop_px, *, split=None, by=None, **how):
    """Return the training and the validation pictures of a folder as two PictureStores.

    by: the rule that they are split by, default validation_by. how: as for `open_store`. Errors as
    in `open_grounds`.
    """
    split, paths = split or Split(settings), pictures_of(folder, setting)
    stores = [
        open_store(
            side.paths, setting, settings, crop_px, parts=side.parts, remedy=side.remedy, **how
        )
        for side in split.sides(setting, folder, paths, crop_px=crop_px, by=by)
    ]
    say_shared(setting, *stores)
    if not how.get("grey"):
        say_unused_range(stores)
    return stores


def say_unused_range(stores):
    """Say of one picture of the stores that its values use little of their range, if one does."""
    hint = next(filter(None, (store.unused_range() for store in stores)), None)
    if hint:
        say(hint)


def open_store(
    paths,
    setting,
    settings,
    crop_px,
    *,
    grey=False,
    scaled=True,
    progress=True,
    parts=None,
    remedy="",
):
    """Return a PictureStore of these files.

    scaled: whether full_scale counts. It says what is white in pictures; in opacity and depth
    white has its meaning.

    Raises
    ------
    UserError
        None is usable, and the message names the setting and the remedy; or cache_folder cannot be
        written.
    """
    try:
        return PictureStore(
            paths,
            settings.cache_folder,
            crop_px=crop_px,
            grey=grey,
            max_pixels=settings.max_pixels,
            full_scale=(scaled and settings.full_scale) or None,
            progress=progress,
            parts=parts,
        )
    except PictureError as error:
        more = f"; {remedy}" if remedy else ""
        raise UserError(f"{setting}: {error}{more}") from None
    except OSError as error:
        raise UserError(
            f"cache_folder = {settings.cache_folder}: cannot be written ({error.strerror or error})"
            "; make room there, or set cache_folder to a place that can be written"
        ) from None
