"""Turn keyed samples into batches: the only tf.data code.

A sample is a dictionary of float32 arrays that depends on nothing but its number, so a run has no
data position to save: step s uses samples ``s * batch_size`` and up, with any number of replicas,
threads or restarts.
"""

import contextlib
import math
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import tensorflow as tf

from util import clouds
from util.keys import keyed_rng, shuffled_index

# Samples are made in several threads already; OpenCV's own would only wait for each other.
cv2.setNumThreads(1)
_GREY_TO_RGB = cv2.COLOR_GRAY2RGB


def turned(picture, turn):
    """Return one of the eight flips and quarter turns (0 = none .. 7) of a picture (H, W, C)."""
    # OpenCV's, fifteen times as fast as copying a turned view, which goes across the memory.
    shape, rows, columns = picture.shape, turn & 1, turn & 2
    if rows or columns:
        picture = cv2.flip(picture, -1 if rows and columns else 0 if rows else 1)
    if turn & 4:
        picture = cv2.transpose(picture)
        shape = (shape[1], shape[0], *shape[2:])
    return picture.reshape(shape)  # OpenCV drops the axis of a single channel


def random_zoom(store, index, rng, side_px, zoom):
    """Cut a square of a random size at a random place, resize it, and turn it at random.

    Parameters
    ----------
    store : PictureStore
    index : int
    rng : numpy.random.Generator
    side_px : int
    zoom : (float, float)
        Side of the window as a multiple of `side_px`, drawn uniformly in the logarithm and
        limited by the picture; (1, 1) cuts without resizing.

    Returns
    -------
    uint8 or uint16 (side_px, side_px, C), as the store has it
        Resized as whole numbers: rounding once more shows nowhere, and the window is a quarter of
        the memory that it would be in float32.
    """
    multiple = math.exp(rng.uniform(math.log(zoom[0]), math.log(zoom[1])))
    window_px = min(round(side_px * multiple), int(store.sizes[index].min()))
    return _window(store, store.pixels, index, rng, window_px, side_px)


def _window(store, cut, index, rng, window_px, side_px):
    """Cut a square with one of the store's methods, at a random place; resize and turn it."""
    height, width = store.sizes[index]
    top = int(rng.integers(height - window_px + 1))
    left = int(rng.integers(width - window_px + 1))
    window = resize_square(cut(index, top, left, window_px, window_px), side_px)
    return turned(window, int(rng.integers(8)))


def resize_square(window, side_px):
    """Resize a square (h, h, C) of uint8, uint16 or float32, 0..1, to (side_px, side_px, C).

    Grown by cubic interpolation. Shrunk by linear interpolation, which up to a half uses every
    pixel, almost as the mean over an area does, at a tenth of its time; beyond that the square is
    halved first, where the two are the same.
    """
    channels = window.shape[2]
    while len(window) > 2 * side_px:
        half = len(window) // 2
        window = cv2.resize(window[: 2 * half, : 2 * half], (half, half))
    if len(window) > side_px:
        window = cv2.resize(window, (side_px, side_px))
    elif len(window) < side_px:
        window = cv2.resize(window, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
        if window.dtype == np.float32:
            np.clip(window, 0.0, 1.0, out=window)  # cubic overshoots
    return window.reshape(side_px, side_px, channels)  # OpenCV drops the axis of a single channel


def draw_opacity(rng, layers, size_px, *, noise_share, cloud_window_px, noise):
    """Draw opacity from Perlin noise or from a window of a cloud-layer picture.

    Parameters
    ----------
    rng : numpy.random.Generator
    layers, noise_share, cloud_window_px, noise
        See `CloudySamples`.
    size_px : int
        Side of the result.

    Returns
    -------
    float32 (size_px, size_px, 1), 0..1
    """
    if rng.random() < noise_share:
        return clouds.noise_opacity(rng, size_px, **noise)[..., None]
    low, high = cloud_window_px
    index = int(rng.integers(len(layers)))
    high = min(high, int(layers.sizes[index].min()))
    # In float32: a window of few grey levels is stretched, and rounding would show as steps.
    window_px = int(rng.integers(low, high + 1))
    window = _window(layers, layers.crop, index, rng, window_px, size_px)
    return clouds.layer_opacity(window)[..., None]


class CloudySamples:
    """Make samples of clear ground under drawn cloud: a pure function of the sample's number.

    Ground and cloud are drawn independently of each other; each clear picture comes once an epoch.

    Parameters
    ----------
    clear : PictureStore
    layers : PictureStore or None
        Cloud-layer pictures; may be None where `noise_share` is 1.
    seed, crop_px : int
    noise_share : float
        Share of the samples whose opacity is Perlin noise; the others use a cloud layer.
    zoom : (float, float)
        See `random_zoom`.
    cloud_window_px : (int, int)
        Smallest and largest window that is cut out of a cloud layer.
    noise : dict
        Arguments of `util.clouds.noise_opacity`.
    jitter : dict
        Arguments of `util.clouds.jitter`.
    """

    def __init__(
        self, clear, layers, *, seed, crop_px, zoom, noise_share, cloud_window_px, noise, jitter
    ):
        self.clear, self.layers = clear, layers
        self.seed, self.crop_px, self.zoom = seed, crop_px, zoom
        self.noise_share, self.cloud_window_px = noise_share, cloud_window_px
        self.noise, self.jitter = noise, jitter

    def __call__(self, number):
        """Return cloudy and clear (S, S, 3), opacity (S, S, 1): float32, 0..1."""
        index = shuffled_index(self.seed, number, len(self.clear))
        rng = keyed_rng(self.seed, number, "ground")
        clear = random_zoom(self.clear, index, rng, self.crop_px, self.zoom)
        opacity = self._opacity(keyed_rng(self.seed, number, "cloud"))
        rng = keyed_rng(self.seed, number, "jitter")
        clear, opacity, colour = clouds.jitter(rng, clear, opacity, **self.jitter)
        # The same as cover(clear, opacity, colour), but NumPy is slow where rows have 3 numbers,
        # and with every array more.
        row = (self.crop_px, -1)
        cloudy = np.tile(colour, self.crop_px) - clear.reshape(row)
        cloudy *= cv2.cvtColor(opacity, _GREY_TO_RGB).reshape(row)
        cloudy += clear.reshape(row)
        return {"cloudy": cloudy.reshape(clear.shape), "clear": clear, "opacity": opacity}

    def _opacity(self, rng):
        return draw_opacity(
            rng,
            self.layers,
            self.crop_px,
            noise_share=self.noise_share,
            cloud_window_px=self.cloud_window_px,
            noise=self.noise,
        )


class HoledSamples:
    """Make samples of clear ground with a hole: a pure function of the sample's number.

    Ground and hole are drawn independently of each other; each clear picture comes once an epoch.

    Parameters
    ----------
    clear : PictureStore
    seed, crop_px : int
    zoom : (float, float)
        See `random_zoom`.
    hole : callable
        ``hole(rng) -> float32 (S, S, 1)``, 0 (known) .. 1 (missing), pure and thread-safe.
    jitter : dict
        Arguments of `util.clouds.vary_ground`.
    """

    def __init__(self, clear, *, seed, crop_px, zoom, hole, jitter):
        self.clear, self.hole, self.jitter = clear, hole, jitter
        self.seed, self.crop_px, self.zoom = seed, crop_px, zoom

    def __call__(self, number):
        """Return clear and holed (S, S, 3), hole (S, S, 1): float32, 0..1."""
        index = shuffled_index(self.seed, number, len(self.clear))
        rng = keyed_rng(self.seed, number, "ground")
        clear = random_zoom(self.clear, index, rng, self.crop_px, self.zoom)
        clear = clouds.vary_ground(keyed_rng(self.seed, number, "jitter"), clear, **self.jitter)
        hole = self.hole(keyed_rng(self.seed, number, "hole"))
        # Three channels: NumPy is slow where rows have 3 numbers for 1.
        known = cv2.cvtColor(1.0 - hole, _GREY_TO_RGB)
        return {"clear": clear, "hole": hole, "holed": clear * known}


def split_by_place(paths, share):
    """Split pictures into those to train on and those to validate on, folder by folder.

    Crops of one picture never fall on both sides. Within a folder the pictures kept back are
    evenly spread over the sorted names; a folder with a single picture is trained on unless no
    folder has two.

    Parameters
    ----------
    paths : list of Path, sorted
    share : float
        Share to keep back, at least one picture of each folder that has two or more.

    Returns
    -------
    (list of Path, list of Path)
        A single picture stands on both sides: there is nothing to split.
    """
    if len(paths) == 1:
        return list(paths), list(paths)
    folders = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    groups = [group for group in folders.values() if len(group) > 1] or [list(paths)]
    kept = set()
    for group in groups:
        count = min(len(group) - 1, max(1, round(share * len(group))))
        kept |= {group[int((i + 0.5) * len(group) / count)] for i in range(count)}
    return [p for p in paths if p not in kept], [p for p in paths if p in kept]


class ReusedMemory:
    """Give out memory for arrays, and the same again once nothing refers to those arrays.

    Memory fresh from the system is slow at its first touch: filling a batch of 7 MB took 4 ms,
    and 0.3 ms in memory that was used before. It starts at a multiple of 64 bytes, because
    TensorFlow then takes an array over as it is instead of copying it.
    """

    ALIGNMENT = 64  # bytes; the widest vectors of today's processors

    def __init__(self):
        self._blocks, self._lock = [], threading.Lock()

    def empty(self, shape):
        """Return a float32 array of this shape, its values not set."""
        size = 4 * math.prod(shape)
        with self._lock:
            block = self._unused_block(size + self.ALIGNMENT)
            start = -block.ctypes.data % self.ALIGNMENT
            # A view, whose own views refer to the block as well: it is unused once all have gone.
            return block[start : start + size].view(np.float32).reshape(shape)

    def _unused_block(self, size):
        for place in range(len(self._blocks)):
            fits = self._blocks[place].nbytes == size
            if fits and _references(self._blocks, place) == _REFERENCES_OF_UNUSED:
                return self._blocks[place]
        block = np.empty(size, np.uint8)
        self._blocks.append(block)
        return block


def _references(blocks, place):
    return sys.getrefcount(blocks[place])


_REFERENCES_OF_UNUSED = _references([np.empty(0)], 0)


def stack(sample, numbers):
    """Return the samples of these numbers as one dictionary of float32 arrays (B, ...)."""
    made = [sample(int(number)) for number in numbers]
    return {name: np.stack([arrays[name] for arrays in made]) for name in made[0]}


def _fill(batch, sample, numbers, places):
    for place in places:
        for name, array in sample(int(numbers[place])).items():
            batch[name][place] = array


def _step_back():
    """Let this thread give way to the training step's.

    A step shares its work out evenly over all cores, so it is as slow as the core that a thread
    like this one takes a part of; between its operations there is time enough left over.
    """
    if sys.platform == "linux":  # elsewhere a process has one priority for all its threads
        with contextlib.suppress(OSError):  # where a sandbox forbids it, training is a bit slower
            thread = threading.get_native_id()
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, max(now, _NICENESS))  # never a step forward


_NICENESS = 10  # not the greatest, 19: on a machine with other work samples would starve
# More would wait for the interpreter's lock, which NumPy and OpenCV hand on at each call: with its
# files in memory a batch took 9 ms in one thread, 12 in two, 17 in four, 23 in sixteen. Where files
# come from a disk, one draws while the other waits for it.
_THREADS = min(2, os.cpu_count())
_BACKGROUND = ThreadPoolExecutor(_THREADS, "samples", initializer=_step_back)


def _fill_in_background(batch, sample, numbers):
    """Fill a batch with the samples of these numbers, the same share of it in each thread.

    For a step is as slow as its slowest core: this holds the cores up alike.
    """
    shares = [range(len(numbers))[thread::_THREADS] for thread in range(_THREADS)]
    try:
        parts = [_BACKGROUND.submit(_fill, batch, sample, numbers, share) for share in shares]
    except RuntimeError:  # the interpreter is ending, and starts nothing more
        _fill(batch, sample, numbers, range(len(numbers)))
    else:
        for part in parts:
            part.result()


def batches(sample, *, batch_size, first_step, strategy):
    """Return an endless distributed dataset of batches, starting with that of `first_step`.

    Parameters
    ----------
    sample : callable
        ``sample(number) -> dict[str, float32 array]``, pure and thread-safe.
    batch_size : int
        Samples a step over all replicas; must be a multiple of their number.
    first_step : int
    strategy : tf.distribute.Strategy

    Returns
    -------
    tf.distribute.DistributedDataset of dict[str, float32 (batch_size / replicas, ...)]
    """
    example = sample(0)
    names = list(example)
    memory = ReusedMemory()

    def pipeline(context):
        share = batch_size // context.num_input_pipelines  # samples a step on this machine
        local = context.get_per_replica_batch_size(batch_size)

        def numbers_of(piece):
            """Sample numbers of one replica's piece of a step."""
            first = piece * local
            step, within = first // share, first % share
            start = step * batch_size + context.input_pipeline_id * share + within
            return start + tf.range(local, dtype=tf.int64)

        def read(piece):
            def read_numpy(numbers):
                batch = {n: memory.empty((local, *example[n].shape)) for n in names}
                _fill_in_background(batch, sample, numbers)
                return [batch[name] for name in names]

            arrays = tf.numpy_function(
                read_numpy, [numbers_of(piece)], [tf.float32] * len(names), stateful=False
            )
            for name, array in zip(names, arrays, strict=True):
                array.set_shape((local, *example[name].shape))
            return dict(zip(names, arrays, strict=True))

        pieces = tf.data.Dataset.range(first_step * (share // local), np.iinfo(np.int64).max)
        ready = pieces.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return ready.prefetch(2)

    return strategy.distribute_datasets_from_function(pipeline)
