"""Samples: clear ground, and what is done to it. A script names the damage that it repairs.

A damage is a pure function ``damage(keys, clear) -> dict of float32 (S, S, C), 0..1``, of a
sample's keys (`util.samples.keys.Keys`) and clear ground (S, S, 3). It returns the clear ground,
too, as "clear".
"""

import math
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from util.pictures.lab import grey_of
from util.samples import heaps, light
from util.samples.clouds import (
    cumulus_opacity,
    draw_cloud,
    draw_opacity,
    noise_opacity,
    veil_opacity,
)
from util.samples.cutouts import DAY as DAY_OF_CUTOUTS
from util.samples.ground import open_stores
from util.samples.haze import in_banks, scatter, smooth_depth
from util.samples.holes import nearness
from util.samples.keys import Keys

_GREY_TO_RGB = cv2.COLOR_GRAY2RGB
_MEAN = np.full((1, 3), 1 / 3, np.float32)  # of three channels


class Samples:
    """Make samples: a pure function of their number.

    Parameters
    ----------
    ground : util.samples.ground.Ground
    damage : callable
    """

    def __init__(self, ground, damage):
        self.ground, self.damage = ground, damage

    def __len__(self):
        """Return how many samples make an epoch: as many as there are pictures."""
        return len(self.ground.store)

    def __call__(self, number):
        """Return sample `number`: dict of float32 (S, S, C), 0..1."""
        keys = Keys(self.ground.seed, number)
        return self.damage(keys, self.ground(keys))


# --- kinds of damage ----------------------------------------------------------------------------


def cloud(
    keys,
    clear,
    *,
    draw,
    opacity_offset=(0.0, 0.0),
    haze_share=0.0,
    haze_opacity=(0.0, 0.0),
    cloud_brightness=(1.0, 1.0),
    cloud_colour=(1.0, 1.0),
    cloud_shading=0.0,
    cloud_relief=0.0,
    wavelength_exponent=(0.0, 0.0),
    shadow_share=0.0,
    shadow_depth=(0.0, 0.0),
    channel_shift_px=0.0,
    blur_beneath_px=0.0,
    picked_share=0.0,
    picked_px=0.0,
    jpeg_share=0.0,
    jpeg_quality=(100.0, 100.0),
    sensor_noise=0.0,
):
    """Lay cloud over ground: cloudy and clear (S, S, 3), opacity (S, S, 1).

    A shadow belongs to the ground as it is on that day: it stays in "clear". "opacity" is the mean
    over the channels. See util/samples/light.py for each effect, configure.py for each range.

    Parameters
    ----------
    draw : callable
        ``draw(rng) -> float32 (S, S, 1)``, opacity 0..1, or with the height of its tops (S, S, 2),
        or with its own light, (S, S, 4).
    others : float, or (float, float) to draw from uniformly
        The settings of these names; as they stand here nothing but white cloud is laid.
    """
    opacity, *more = cv2.split(draw(keys("cloud")))
    rng = keys("jitter")
    opacity = np.clip(opacity + np.float32(rng.uniform(*opacity_offset)), 0.0, 1.0)
    colour = rng.uniform(*cloud_colour, 3) * rng.uniform(*cloud_brightness)
    if len(more) == 3:
        colour, more = cv2.merge(more) * np.float32(colour), []
    rng, sun = keys("shadow"), None
    if rng.random() < shadow_share:
        # Small clouds are low, and their shadows near: as many within 8 pixels as beyond.
        far = math.exp(rng.uniform(math.log(1.5), math.log(len(clear) / 3)))
        depth, angle = rng.uniform(*shadow_depth), 2 * math.pi * rng.random()
        down, right, sun = far * math.sin(angle), far * math.cos(angle), angle + math.pi
        clear = light.shadow(clear, opacity, depth, down, right, rng.uniform(0, 3))
    rng = keys("light")
    if rng.random() < haze_share:
        opacity = light.joined(opacity, np.float32(rng.uniform(*haze_opacity)))
    cloudy = clear
    if opacity.any():  # most of the work can be spared where there is no cloud
        if channel_shift_px:
            seen = light.channels_apart(rng, opacity, channel_shift_px)
        else:
            seen = light.three(opacity)
        if exponent := rng.uniform(*wavelength_exponent):
            seen = light.wavelength_opacity(seen, exponent)
        blur_px = rng.uniform(0, blur_beneath_px)
        beneath = light.blurred_beneath(clear, seen, blur_px) if blur_px > 0.2 else clear
        shade = light.three(_shade(rng, opacity, cloud_shading)) if cloud_shading else None
        if cloud_relief:
            rng = keys("relief")
            sun = rng.uniform(0, 2 * math.pi) if sun is None else sun
            dark = heaps.relief(rng, opacity, sun, cloud_relief, cloud_colour, *more)
            shade = dark if shade is None else light.joined(shade, dark)
        cloudy = light.lit(beneath, seen, colour, shade)
        opacity = cv2.transform(seen, _MEAN)
    rng = keys("picked")
    if rng.random() < picked_share:
        cloudy, clear, opacity = light.picked(rng, (cloudy, clear, opacity), picked_px)
    cloudy = _sensed(keys("sensor"), cloudy, jpeg_share, jpeg_quality, sensor_noise)
    return {"cloudy": cloudy, "clear": clear, "opacity": opacity[..., None]}


def _sensed(rng, picture, jpeg_share, jpeg_quality, sensor_noise):
    """Return a picture as a camera and a file have it: some by way of JPEG, all with noise."""
    if rng.random() < jpeg_share:
        picture = light.jpeg(picture, rng.uniform(*jpeg_quality))
    if sensor_noise:
        picture = light.sensor_noise(rng, picture, rng.uniform(0, sensor_noise))
    return picture


def _shade(rng, opacity, most):
    """Return how much darker thick cloud is here and there, float32 (S, S), 0..most."""
    size_px = len(opacity)
    # Coarse, at a quarter of the side: cloud is soft within.
    shade = noise_opacity(rng, max(size_px // 4, 1), (3.0, 32.0), octaves=2)
    shade = cv2.resize(shade, (size_px, size_px))
    shade *= np.float32(rng.uniform(0, most))
    shade *= opacity
    return shade


def holed(keys, clear, *, draw, rim_px=0.0, cleared_share=0.0):
    """Cut a hole out of ground: clear and holed (S, S, 3), hole (S, S, 1), 1 = missing.

    draw : callable
        ``draw(rng) -> float32 (S, S, 1)``, 0 (known) .. 1 (missing).
    rim_px : float
        Unless 0 a sample says as "near", (S, S, 1), how near its rim a pixel of the hole is: half
        as near each `rim_px` further.
    cleared_share : float, 0..1
        Share of samples whose known pixels were hazy and have been `cleared`.
    """
    hole, around = draw(keys("hole")), clear
    if cleared_share and (rng := keys("cleared")).random() < cleared_share:
        hole = (hole > 0.5).astype(np.float32)  # who clears haze gives a pixel up, or does not
        around = cleared(rng, clear, hole)
    # Three channels: NumPy is slow where rows have 3 numbers for 1.
    known = cv2.cvtColor(1.0 - hole, _GREY_TO_RGB)
    near = {"near": nearness(hole, rim_px)} if rim_px else {}
    return {"clear": clear, "hole": hole, "holed": around * known, **near}


def cleared(rng, clear, hole):
    """Return ground as a network hands it on that has taken haze off, float32 (S, S, 3), 0..1.

    Haze of up to half opacity is laid over all of it, or a part, and the edge of the cloud that
    makes the hole around that; then it is taken off by the same formula with an opacity and a
    colour that are somewhat wrong. What is left has the stains and the noise of the real thing:
    both grow with the opacity, by the hole they are worst.

    Parameters
    ----------
    rng : numpy.random.Generator
    clear : float32 (S, S, 3), 0..1
    hole : float32 (S, S, 1), 0..1
        1 = missing; what is returned there has no meaning.
    """
    edge = cv2.GaussianBlur(hole[..., 0], (0, 0), rng.uniform(2, 16)) * np.float32(0.7)
    veil = veil_opacity(rng, len(clear)) * np.float32(rng.uniform(0, 0.5))
    opacity = light.three(light.joined(edge, veil))
    colour = np.float32(rng.uniform(0.9, 1.05, 3))
    hazy = light.sensor_noise(rng, light.lit(clear, opacity, colour), rng.uniform(0, 0.01))
    found = np.clip(opacity * np.float32(rng.normal(1, 0.12)), 0.0, 0.8)
    believed = found * (colour + np.float32(rng.normal(0, 0.03, 3)))
    return np.clip((hazy - believed) / (1.0 - found), 0.0, 1.0)


def haze(
    keys,
    clear,
    *,
    airlight,
    haze_beta,
    depth=None,
    clear_share=0.0,
    haze_colour=(1.0, 1.0),
    uneven_share=0.0,
    wavelength_exponent=(0.0, 0.0),
    jpeg_share=0.0,
    jpeg_quality=(100.0, 100.0),
    sensor_noise=0.0,
):
    """Lay haze over ground by the scattering model: hazy and clear (S, S, 3).

    Parameters
    ----------
    depth : callable, optional
        ``depth(keys) -> float32 (S, S, 1)``, or None where the ground's depth is not known: it is
        smooth and random then, as it is everywhere without this.
    others : float, or (float, float) to draw from uniformly
        The settings of these names; see `scatter`, util/samples/haze.py and light.py.
    """
    rng = keys("haze")
    airlight, beta = rng.uniform(*airlight), rng.uniform(*haze_beta)
    found = depth(keys) if depth else None
    if found is None:
        found = smooth_depth(rng, len(clear))
    rng = keys("air")
    hazy = clear
    if rng.random() >= clear_share:
        if rng.random() < uneven_share:
            found = in_banks(rng, found)
        if exponent := rng.uniform(*wavelength_exponent):
            beta = beta * light.depth_ratios(exponent)
        hazy = scatter(clear, found, airlight * rng.uniform(*haze_colour, 3), beta)
    hazy = _sensed(keys("sensor"), hazy, jpeg_share, jpeg_quality, sensor_noise)
    return {"hazy": hazy, "clear": clear}


def without_colour(keys, clear, *, turn_degrees=0.0):
    """Take the colours off ground: grey and clear (S, S, 3), of the same lightness.

    turn_degrees : float
        The ground is turned by up to this first, and reflected into the corners.
    """
    if turn_degrees:
        middle = (len(clear) - 1) / 2
        angle = keys("turn").uniform(-turn_degrees, turn_degrees)
        how = cv2.getRotationMatrix2D((middle, middle), angle, 1.0), clear.shape[:2]
        clear = cv2.warpAffine(clear, *how, borderMode=cv2.BORDER_REFLECT_101)
    return {"grey": grey_of(clear), "clear": clear}


# --- from settings ------------------------------------------------------------------------------


def open_layers(settings, progress=True, split=None):
    """Return the cloud layers to train and to validate with; None twice if noise is enough.

    split: as for `util.samples.ground.open_grounds`.
    """
    if settings.noise_share == 1:
        return None, None
    side_px = settings.cloud_window_px[0]
    where, how = (settings.cloud_folder, "cloud_folder"), {"grey": True, "scaled": False}
    how |= {"split": split, "by": "tile", "progress": progress}
    return open_stores(*where, settings, side_px, **how)


def opacity_from(layers, settings):
    """Return a function ``rng -> opacity`` of sheets and layers; see `draw_opacity`."""
    return partial(
        draw_opacity,
        layers=layers,
        size_px=settings.crop_px,
        noise_share=settings.noise_share,
        cloud_window_px=settings.cloud_window_px,
        noise={
            "cell_range_px": settings.noise_cell_px,
            "octaves": settings.noise_octaves,
            "persistence": settings.noise_persistence,
            "lacunarity": settings.noise_lacunarity,
        },
    )


def haze_from(depth, settings):
    """Return the damage `haze` as settings say; depth as there."""
    # The settings that it is given have the names of its arguments; two have no default.
    named = {"airlight", "haze_beta", *haze.__kwdefaults__} - {"depth"}
    return partial(haze, depth=depth, **{n: getattr(settings, n) for n in named})


def cloud_from(layers, settings, cutouts=None):
    """Return the damage `cloud` as settings say, a share of it on days of heaped cumulus.

    Its opacity is drawn by `util.samples.clouds.draw_cloud`, and in a share by `cutouts`, a
    `util.samples.cutouts.Cutouts`.
    """
    cumulus = partial(
        cumulus_opacity, octaves=settings.cumulus_octaves, persistence=settings.cumulus_persistence
    )
    usual = _cloud_from(layers, settings, cumulus)
    days = []  # share, and what has it in the place of the usual
    if share := settings.heap_share:
        heaped = _cloud_from(layers, replace(settings, **heaps.DAY), heaps.heaped_opacity)
        days.append((share, heaped))
    if cutouts and (share := settings.cut_share):
        days.append((share, _of_cloud(replace(settings, **DAY_OF_CUTOUTS), cutouts)))
    return partial(_on_a_day, usual=usual, days=days) if days else usual


def _on_a_day(keys, clear, *, usual, days):
    kind = keys("kind of day").random()
    for share, damage in days:
        if kind < share:
            return damage(keys, clear)
        kind -= share
    return usual(keys, clear)


def _cloud_from(layers, settings, cumulus):
    draw = partial(
        draw_cloud,
        size_px=settings.crop_px,
        sheet=partial(opacity_from(layers, settings), own_share=settings.layer_own_share),
        greatest_opacity=settings.greatest_opacity,
        clear_share=settings.clear_share,
        veil_share=settings.veil_share,
        cumulus_share=settings.cumulus_share,
        cumulus=partial(
            cumulus,
            cell_range_px=settings.cumulus_cell_px,
            cover_range=settings.cumulus_cover,
            edge_range=settings.cumulus_edge,
        ),
    )
    return _of_cloud(settings, draw)


def _of_cloud(settings, draw):
    # The settings that `cloud` is given have the names of its arguments.
    return partial(cloud, draw=draw, **{n: getattr(settings, n) for n in cloud.__kwdefaults__})
