"""Measure the opacity found in real pictures against masks in which experts drew the cloud."""

from itertools import islice

import numpy as np
from tqdm import tqdm

from util.measure.baselines import dark_channel_transmission
from util.measure.evaluation import NETWORK, PRIOR, Column
from util.measure.opacity import CLOUD, SHADOW, mask_scores
from util.pictures.find import partners
from util.pictures.pixels import PictureError, as_float
from util.pictures.read import MAX_PIXELS, read_original, read_picture
from util.say import UserError, noting, say
from util.use.table import grid

COLUMNS = {
    "auc": Column("AUC", 3, 5),
    "thick_found": Column("thick > .5", 3, 10),
    "clear_mistaken": Column("clear > .1", 3, 10),
}
NOTES = [
    "AUC: area under the ROC curve of the opacity, cloud against the rest; shadow counts as clear.",
    "thick > .5, clear > .1: shares of thick cloud and of clear ground that are found so opaque.",
    "nan: the mask has too few such pixels, or does not tell thick cloud from thin.",
]


def measured(trained, pictures, masks, count):
    """Return what was measured, as text, the rows, and the lines of the table with its notes.

    Parameters
    ----------
    trained : util.use.trained.Trained
        It finds opacity.
    pictures, masks : str
        Folders with equal names; see `read_classes`.
    count : int, optional
        How many pictures; default: all.
    """
    both = dict(islice(partners(pictures, masks).items(), count))
    if not both:
        raise UserError(f"--masks {pictures} {masks}: no name is in both folders")
    rows, note = [], noting()
    for name, paths in tqdm(both.items(), "evaluate", unit="picture", disable=None):
        try:
            picture, classes, ground = _read(trained.settings, *paths, note)
        except PictureError as error:
            say(f"left out {error}")
            continue
        for method, found in _opacities(trained, picture).items():
            scores = mask_scores(found[ground], classes[ground])
            rows.append({"picture": name, "method": method, **scores})
    head = f"{len(both)} pictures of {pictures} with masks of {masks}"
    return head, rows, table(rows) if rows else []


def table(rows):
    """Return the table, a line a picture and one for their means, and its notes, as lines."""
    methods = dict.fromkeys(row["method"] for row in rows)
    lines = {}
    for row in rows:
        lines.setdefault(row["picture"], []).extend([row[score]] for score in COLUMNS)
    means = [
        [value for cell in cells for value in cell] for cells in zip(*lines.values(), strict=True)
    ]
    groups = {method: list(COLUMNS.values()) for method in methods}
    return [*grid("picture", groups, {**lines, "mean": means}), "", *NOTES]


def read_classes(path, *, max_pixels=MAX_PIXELS):
    """Return a mask as the classes of `util.measure.opacity`, uint8 (H, W).

    A grey picture of 0 clear, 1 thick, 2 thin and 3 shadow, or of two values, 0 and one above 3,
    which means cloud.

    Raises PictureError, as `util.pictures.read.read_picture`; also for other values.
    """
    pixels = read_picture(path, max_pixels=max_pixels)
    classes = pixels[..., 0]
    values = np.unique(classes)
    above = values[values > SHADOW]
    known = len(above) == 0 or (len(above) == 1 and not values[:-1].any())
    if not known or (pixels != classes[..., None]).any():
        raise PictureError(
            "no mask: it must be grey, of 0 clear, 1 thick, 2 thin, 3 shadow, or of two values, 0 "
            "and one above 3 for cloud",
            path,
        )
    return np.minimum(classes, CLOUD).astype(np.uint8)


def _read(settings, picture, mask, note):
    """Return a picture, float32 (H, W, 3), its classes, uint8, and its ground, bool (H, W).

    It is shown to methods as `apply` shows it to a network; `note` is told what `apply` tells.
    """
    max_pixels, scale = settings.max_pixels, settings.full_scale or None
    original = read_original(picture, max_pixels=max_pixels)
    original.leave_out_border()
    pixels = original.fill(original.picture(scale).over_range())
    if unused := original.unused_range(scale):
        note("range", f"{picture}: {unused}")
    classes = read_classes(mask, max_pixels=max_pixels)
    if classes.shape != pixels.shape[:2]:
        raise PictureError(
            f"its mask has {classes.shape[1]} x {classes.shape[0]} pixels, the picture "
            f"{pixels.shape[1]} x {pixels.shape[0]}",
            picture,
        )
    ground = np.ones_like(classes, bool) if original.ground is None else original.ground
    return as_float(pixels), classes, ground


def _opacities(trained, picture):
    """Return the opacity, (H, W), that each method finds in a picture."""
    damaged, kind = trained.task.measure.damaged, trained.task.kind
    return {
        NETWORK: kind.complete(trained, {damaged: picture})["found_opacity"][..., 0],
        PRIOR: 1 - dark_channel_transmission(picture)[0],
    }
