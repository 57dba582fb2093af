"""Samples of clear ground with something in the way: cloud, a hole, haze."""

import cv2
import numpy as np

from util.pictures.pixels import PictureError, as_float
from util.samples import clouds
from util.samples.clouds import vary_ground
from util.samples.crops import random_window, random_zoom
from util.samples.haze import scatter, smooth_depth
from util.samples.keys import keyed_rng, shuffled_index


def _same_window(samples, store, index, number):
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
        See `util.samples.crops.random_zoom`.
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
                "hazy": as_float(_same_window(self, self.hazy, hazy_index, number)),
                "clear": as_float(_same_window(self, self.clear, clear_index, number)),
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
        smooth random depth (`util.samples.haze.smooth_depth`), as all do where there are no maps.
    seed, crop_px : int
    zoom : (float, float)
        See `util.samples.crops.random_zoom`.
    airlight, beta : (float, float)
        Ranges that the scattering model's two numbers are drawn from, uniformly.
    jitter : dict
        Arguments of `util.samples.clouds.vary_ground`.
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
        clear = _same_window(self, self.clear, index, number)
        rng = keyed_rng(self.seed, number, "haze")
        airlight, beta = rng.uniform(*self.airlight), rng.uniform(*self.beta)
        if index in self.depth_of:
            depth = as_float(_same_window(self, self.depths, self.depth_of[index], number))
        else:
            depth = smooth_depth(rng, self.crop_px)
        clear = vary_ground(keyed_rng(self.seed, number, "jitter"), clear, **self.jitter)
        return {"hazy": scatter(clear, depth, airlight, beta), "clear": clear}


_GREY_TO_RGB = cv2.COLOR_GRAY2RGB


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
    window = random_window(layers, layers.crop, index, rng, window_px, size_px)
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
        Arguments of `util.samples.clouds.noise_opacity`.
    jitter : dict
        Arguments of `util.samples.clouds.jitter`.
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
        Arguments of `util.samples.clouds.vary_ground`.
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
