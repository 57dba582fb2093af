"""Open the pictures that a script's settings name, and make its samples from them."""

from functools import partial
from pathlib import Path

from util.pictures.find import pictures_of
from util.pictures.pairs import find_pairs, partner_indices, say_lonely
from util.pictures.pixels import PictureError
from util.pictures.store import PictureStore
from util.samples.damage import (
    CloudySamples,
    HazySamples,
    HoledSamples,
    PairedSamples,
    draw_opacity,
)
from util.samples.holes import cloud_or_polygon_hole, spot_hole
from util.say import UserError


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


VALIDATION_SEED = 1_000_003  # added to the run's: validation draws clouds of its own


def open_stores(folder, setting, settings, *, crop_px, grey=False, progress=True):
    """Return the training and the validation pictures of a folder as two PictureStores.

    Raises
    ------
    UserError
        The folder is missing or holds no usable picture; the message names folder and setting.
    """
    return [
        _open_store(part, setting, settings, crop_px=crop_px, grey=grey, progress=progress)
        for part in split_by_place(pictures_of(folder, setting), settings.validation_share)
    ]


def _open_store(paths, setting, settings, *, crop_px, grey=False, progress=True):
    """Return a PictureStore of these files; UserError names the setting if none is usable."""
    try:
        return PictureStore(
            paths,
            Path(settings.cache_folder),
            crop_px=crop_px,
            grey=grey,
            max_pixels=settings.max_pixels,
            full_scale=settings.full_scale or None,
            progress=progress,
        )
    except PictureError as error:
        raise UserError(f"{setting}: {error}") from None


def _open_clear(settings, progress):
    """Return the clear pictures to train and to validate with."""
    return open_stores(
        settings.clear_folder,
        "clear_folder",
        settings,
        crop_px=settings.crop_px,
        progress=progress,
    )


def _open_layers(settings, progress):
    """Return the cloud layers to train and to validate with; None twice if noise is enough."""
    if settings.noise_share == 1:
        return None, None
    return open_stores(
        settings.cloud_folder,
        "cloud_folder",
        settings,
        crop_px=settings.cloud_window_px[0],
        grey=True,
        progress=progress,
    )


def _opacity_settings(settings):
    """Return the arguments of `util.samples.damage.draw_opacity` that settings give."""
    return {
        "noise_share": settings.noise_share,
        "cloud_window_px": settings.cloud_window_px,
        "noise": {
            "cell_range_px": settings.noise_cell_px,
            "octaves": settings.noise_octaves,
            "persistence": settings.noise_persistence,
            "lacunarity": settings.noise_lacunarity,
        },
    }


def _keyed(settings, training):
    """Return what all samples follow from: their seed, side and zoom."""
    return {
        "seed": settings.seed + (0 if training else VALIDATION_SEED),
        "crop_px": settings.crop_px,
        "zoom": settings.ground_zoom if training else (1.0, 1.0),
    }


def _ground_settings(settings, training):
    """Return the arguments of `util.samples.clouds.vary_ground` that settings give."""
    return {
        "ground_gain": settings.ground_gain,
        "ground_offset": settings.ground_offset,
        # What only makes few pictures into many has no place in the validation.
        "ground_curve": settings.ground_curve if training else 0.0,
        "ground_tint": settings.ground_tint if training else 0.0,
    }


def cloudy_samples(settings, progress=True):
    """Return the training and the validation samples of a script that covers ground with cloud.

    Returns
    -------
    (CloudySamples, CloudySamples)
        Made of different pictures, of ground and of cloud.
    """
    clear = _open_clear(settings, progress)
    layers = _open_layers(settings, progress)
    return tuple(
        CloudySamples(
            clear[i],
            layers[i],
            **_keyed(settings, training),
            **_opacity_settings(settings),
            jitter={
                **_ground_settings(settings, training),
                "opacity_offset": settings.opacity_offset,
                "cloud_colour": settings.cloud_colour,
            },
        )
        for i, training in ((0, True), (1, False))
    )


def spot_samples(settings, progress=True):
    """Return the training and the validation samples of a script that fills square holes.

    Returns
    -------
    (HoledSamples, HoledSamples)
        Made of different pictures.
    """
    hole = partial(
        spot_hole,
        size_px=settings.crop_px,
        side_share=settings.spot_share,
        anywhere=settings.spot_anywhere,
    )
    return _holed_samples(settings, (hole, hole), progress)


def poly_samples(settings, progress=True):
    """Return the samples of a script that fills polygons and holes in the shape of cloud.

    Returns
    -------
    (HoledSamples, HoledSamples)
        To train and to validate with; made of different pictures, of ground and of cloud.
    """
    layers = (None, None)
    if settings.cloud_hole_share > 0:
        layers = _open_layers(settings, progress)
    holes = [
        partial(
            cloud_or_polygon_hole,
            size_px=settings.crop_px,
            cloud_share=settings.cloud_hole_share,
            draw_opacity=partial(
                draw_opacity,
                layers=part,
                size_px=settings.crop_px,
                **_opacity_settings(settings),
            ),
            vertices=settings.polygon_vertices,
            edge_px=settings.edge_px,
        )
        for part in layers
    ]
    return _holed_samples(settings, holes, progress)


def _holed_samples(settings, holes, progress):
    """Return HoledSamples to train and to validate with, each with its own way to draw holes."""
    clear = _open_clear(settings, progress)
    return tuple(
        HoledSamples(
            clear[i],
            **_keyed(settings, training),
            hole=holes[i],
            jitter=_ground_settings(settings, training),
        )
        for i, training in ((0, True), (1, False))
    )


def hazy_samples(settings, progress=True):
    """Return the training and the validation samples of a script that takes haze off.

    Where `hazy_folder` is empty, haze is made from the clear pictures, with the depth maps of
    `depth_folder` where there are some. Pictures without a partner are named on stderr.

    Returns
    -------
    (PairedSamples, PairedSamples) or (HazySamples, HazySamples)
        Made of different pictures.
    """
    if settings.hazy_folder:
        return _paired_samples(settings, progress)
    clear = _open_clear(settings, progress)
    pairs = []
    if settings.depth_folder:
        pairs, lonely = find_pairs(settings.depth_folder, settings.clear_folder, "depth_folder")
        say_lonely(lonely)
    return tuple(
        HazySamples(
            clear[i],
            *_open_depths(pairs, clear[i], settings, progress),
            **_keyed(settings, training),
            airlight=settings.airlight,
            beta=settings.haze_beta,
            jitter=_ground_settings(settings, training),
        )
        for i, training in ((0, True), (1, False))
    )


def _open_depths(pairs, clear, settings, progress):
    """Return the depth maps of a store's pictures, or None, and which is whose."""
    here = set(clear.paths)
    pairs = [(path, depths[:1]) for path, depths in pairs if path in here]
    if not pairs:
        return None, {}
    paths = [depths[0] for _, depths in pairs]
    store = _open_store(
        paths, "depth_folder", settings, crop_px=settings.crop_px, grey=True, progress=progress
    )
    partners, lonely = partner_indices(pairs, clear, store, settings.crop_px)
    say_lonely(lonely)
    return store, {index: depths[0] for index, depths in partners}


def _paired_samples(settings, progress):
    """Return PairedSamples to train and to validate with."""
    pairs, lonely = find_pairs(settings.hazy_folder, settings.clear_folder)
    say_lonely(lonely)
    samples = []
    parts = split_by_place([path for path, _ in pairs], settings.validation_share)
    for i, part in enumerate(parts):
        kept = set(part)
        here = [pair for pair in pairs if pair[0] in kept]
        # Not padded to the crop, so that the sizes of partners can be compared.
        stores = [
            _open_store(paths, setting, settings, crop_px=1, progress=progress)
            for paths, setting in (
                ([path for path, _ in here], "clear_folder"),
                ([path for _, found in here for path in found], "hazy_folder"),
            )
        ]
        partners, unfit = partner_indices(here, *stores, settings.crop_px)
        say_lonely(unfit)
        if not partners:
            raise UserError(
                f"hazy_folder = {settings.hazy_folder}: no pair is left to "
                f"{('train', 'validate')[i]} with, see above. Partners must have the same size, "
                f"at least half of crop_px = {settings.crop_px}"
            )
        samples.append(
            PairedSamples(
                *stores,
                partners,
                **_keyed(settings, training=i == 0),
            )
        )
    return tuple(samples)
