"""Open the pictures that a script's settings name, and make its samples from them."""

from pathlib import Path

from util.errors import UserError
from util.pictures import PictureError, PictureStore, find_pictures
from util.samples import CloudySamples, split_by_place

VALIDATION_SEED = 1_000_003  # added to the run's: validation draws clouds of its own


def open_stores(folder, setting, settings, *, crop_px, grey=False, progress=True):
    """Return the training and the validation pictures of a folder as two PictureStores.

    Raises
    ------
    UserError
        The folder is missing or holds no usable picture; the message names folder and setting.
    """
    try:
        paths = find_pictures(folder)
    except PictureError as error:
        raise UserError(f"{setting} = {error}") from None
    if not paths:
        raise UserError(
            f"{setting} = {folder}: no picture found (JPEG, PNG, TIFF, WebP, BMP or GIF). "
            f"Put pictures there or set {setting} to the folder that has them"
        )
    try:
        return [
            PictureStore(
                part,
                Path(settings.cache_folder),
                crop_px=crop_px,
                grey=grey,
                max_pixels=settings.max_pixels,
                full_scale=settings.full_scale or None,
                progress=progress,
            )
            for part in split_by_place(paths, settings.validation_share)
        ]
    except PictureError as error:
        raise UserError(f"{setting}: {error}") from None


def cloudy_samples(settings, progress=True):
    """Return the training and the validation samples of a script that covers ground with cloud.

    Returns
    -------
    (CloudySamples, CloudySamples)
        Made of different pictures, of ground and of cloud.
    """
    clear = open_stores(
        settings.clear_folder,
        "clear_folder",
        settings,
        crop_px=settings.crop_px,
        progress=progress,
    )
    layers = (None, None)
    if settings.noise_share < 1:
        layers = open_stores(
            settings.cloud_folder,
            "cloud_folder",
            settings,
            crop_px=settings.cloud_window_px[0],
            grey=True,
            progress=progress,
        )
    return tuple(
        CloudySamples(
            clear[i],
            layers[i],
            seed=settings.seed + i * VALIDATION_SEED,
            crop_px=settings.crop_px,
            zoom=settings.ground_zoom if training else (1.0, 1.0),
            noise_share=settings.noise_share,
            cloud_window_px=settings.cloud_window_px,
            noise={
                "cell_range_px": settings.noise_cell_px,
                "octaves": settings.noise_octaves,
                "persistence": settings.noise_persistence,
                "lacunarity": settings.noise_lacunarity,
            },
            jitter={
                "ground_gain": settings.ground_gain,
                "ground_offset": settings.ground_offset,
                "opacity_offset": settings.opacity_offset,
                "cloud_colour": settings.cloud_colour,
                # What only makes few pictures into many has no place in the validation.
                "ground_curve": settings.ground_curve if training else 0.0,
                "ground_tint": settings.ground_tint if training else 0.0,
            },
        )
        for i, training in ((0, True), (1, False))
    )
