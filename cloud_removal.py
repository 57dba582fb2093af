"""Clear ground out of a cloudy picture: what shines through is cleared, what is hidden repainted.

    cloudy --> mod_defog: opacity, ground --> where opacity > .75: mod_GAN_poly --> joined ground

    python cloud_removal.py FILE-or-FOLDER... --out DIR    clear pictures of any size
    python cloud_removal.py evaluate                       measure it beside its parts and rivals
    python cloud_removal.py --help                         every option

For a.png the folder --out gets, of the same size, a.png, a_opacity.png (white is opaque cloud) and
a_confidence.png: white where the pixel is the photograph's own, bit for bit, darker the more opaque
the cloud was (with --shadows the darker its shadow was, too), black where the ground is painted or
nothing is there (nodata, alpha 0). A folder's sub-folders are kept. PNG, TIFF and BMP keep their
format, others become PNG; types stay, and what a file carries goes along: georeference, EXIF,
further bands. With rasterio, TIFFs go through part by part, and all three results are GeoTIFFs on
the same grid. What is painted is plausible at best, never evidence.

In Python: from cloud_removal import remove_clouds.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

import argparse
import re
import warnings
from functools import cache
from typing import NamedTuple

import numpy as np

from configure import Defog
from mod_defog import TASK as DEFOG
from mod_GAN_poly import TASK as GAN_POLY
from mod_mend import TASK as MEND
from util import command
from util.pictures.original import Original
from util.pictures.pixels import PictureError, as_float, checked_scale
from util.restore.chain import restore_picture
from util.say import UserError
from util.settings import names_here
from util.use import chain, classical, evaluate_chain, scenes, trained

TASKS = [DEFOG, MEND, GAN_POLY]
# Those that belong to this machine and start; the others come with a trained network.
SETTINGS = [*names_here(Defog), "full_scale"]

# --- from Python ------------------------------------------------------------------------------


class Cleared(NamedTuple):
    """What `remove_clouds` returns.

    ground : like the picture
        Pixels without cloud, and those that are not valid, bit for bit as they came.
    opacity : float32 (H, W), 0..1
        Of the cloud that was found; 0 where the picture is not valid.
    confidence : float32 (H, W), 0..1
        1 where the pixel is the photograph's own, less the more opaque the cloud, or the darker
        the shadow that was lit, 0 where the ground is painted, or the picture not valid.
    """

    ground: np.ndarray
    opacity: np.ndarray
    confidence: np.ndarray


def remove_clouds(
    picture,
    *,
    bands="last",
    valid=None,
    full_scale=None,
    clear="mod_defog",
    repaint=None,
    repaint_from=0.75,
    detail=0.0,
    shadows=False,
    cloud_white=None,
    sizes=None,
    pixel_m=None,
):
    """Return the clear ground of a cloudy picture, how opaque the cloud was, and how sure that is.

    Parameters
    ----------
    picture : uint8, uint16 or float32, (H, W, 3), or (3, H, W) with bands="first"
        Red, green and blue; any size. float32 is 0..1 without `full_scale`. It stays as it is.
    bands : {"last", "first"}
        Which axis the bands are. It is never guessed.
    valid : bool (H, W), optional
        False where there is no ground (nodata). NaN and a black border are none either.
    full_scale : float, optional
        The value of white, above 0, such as 6500 of reflectance x 10,000, where cloud is white
        [the type's greatest, or 1]; in uint8 it counts from 2 to 255. A warning says if little of a
        greater range is used.
    clear : {"mod_defog", "mod_mend", "dcp"}
        Who finds the cloud and clears what shines through; dcp is the dark channel prior.
    repaint : {"mod_GAN_poly", "telea", "ns", "biharmonic", "harmonic"}, optional
        Who repaints what is hidden [mod_GAN_poly; harmonic where that has no weights]. A network
        is left cloud that is 13 pixels wide or more; the rest is filled smoothly.
    repaint_from : float
        Found opacity, above 0, at most 1, above which the ground is repainted. In the rim of wide
        cloud that is from .4 of it on, and near cloud wherever some was left.
    detail : float, 0..1
        Share of the detail of clear ground near by that is laid on what was painted: at 1 it is as
        sharp, right in kind but in a wrong place, and so further from the truth.
    shadows : bool
        Ground in shadows of the cloud gets the light of the ground around, where it is surely
        found where they fall; where they are black it is repainted. Confidence tells how much of
        the light was missing.
    cloud_white : float, optional
        How bright the darkest parts of opaque cloud are, of white, 0.1..1: where grey cloud, or the
        dark sides of cumulus, were not found, less finds them, and more bright ground, too [1].
    sizes : {1, 2}, optional
        2: it is seen at twice its size, too, in up to five times the time, and clean pictures come
        out better [what configure.py says].
    pixel_m : float, optional
        Metres of ground that a pixel's side shows. With it what does not fill half of 100 x 100 m
        (of 106 x 106 pixels where these are small) is no cloud but, say, a roof [not known].

    Returns
    -------
    Cleared
        (ground, opacity, confidence).

    Raises
    ------
    ValueError
        The picture, `valid` or `full_scale` is none of these, nothing of it is valid, or an
        argument is unknown.

    Examples
    --------
    >>> ground, opacity, confidence = remove_clouds(picture)
    >>> sure = ground[confidence > 0.5]
    """
    picture = np.asarray(picture)
    if bands not in ("last", "first"):
        raise ValueError(f"bands must be 'last' or 'first', not {bands!r}")
    pixels = np.moveaxis(picture, 0, -1) if bands == "first" and picture.ndim == 3 else picture
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        wanted = "(H, W, 3)" if bands == "last" else "(3, H, W)"
        raise ValueError(f"picture must have shape {wanted} with bands={bands!r}: {picture.shape}")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"picture must be uint8, uint16 or float32, not {pixels.dtype}")
    valid = None if valid is None else np.asarray(valid)
    if valid is not None and (valid.shape != pixels.shape[:2] or valid.dtype != bool):
        raise ValueError(f"valid must be bool {pixels.shape[:2]}")
    full_scale = checked_scale(full_scale)
    original = Original(np.array(pixels, order="C"))
    original.mask = valid
    original.leave_out_border()
    unused = original.unused_range(full_scale)
    if unused:
        warnings.warn(unused, stacklevel=2)
    try:
        seen, white = original.picture(full_scale)
        seen = original.fill(seen)
        parts = _loaded(
            clear,
            repaint,
            repaint_from,
            detail,
            shadows,
            cloud_white=cloud_white,
            sizes=sizes,
            pixel_m=pixel_m,
        )
    except (PictureError, UserError) as error:
        raise ValueError(str(error)) from None
    restored, *maps = restore_picture(parts, seen, white=white)
    original.take(restored, full_scale)
    if original.ground is not None:
        for found in maps:
            found[~original.ground] = 0
    ground = np.moveaxis(original.values, -1, 0) if bands == "first" else original.values
    return Cleared(ground, *map(as_float, maps))


@cache
def _loaded(clear, repaint, repaint_from, detail, shadows, **own):
    options = {f"setting_{name}": str(value) for name, value in own.items() if value is not None}
    settings, _ = command.settings_from(Defog, argparse.Namespace(**options), [])
    how = {"clear": clear, "repaint": repaint, "repaint_from": repaint_from}
    return chain.load(TASKS, settings, **how, detail=detail, shadows=shadows)


# --- the command line -------------------------------------------------------------------------


def run(arguments):
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="cloud_removal.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    word, arguments = command.command_of(arguments, ["evaluate"], "clear")
    if word == "evaluate":
        parser.add_argument("--data", metavar="DIR", help="clear pictures to make samples of")
        parser.add_argument("--count", type=int, metavar="N", help="samples under each condition")
        parser.add_argument("--csv", metavar="FILE", help="a row a picture and method")
    else:
        parser.add_argument("sources", nargs="+", metavar="FILE-or-FOLDER", help="what to clear")
        parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
        parser.add_argument("--overwrite", action="store_true", help="write existing outputs anew")
        text = "also a_preview.png: before, after and opacity, small"
        parser.add_argument("--preview", action="store_true", help=text)
        text = "take every N-th picture from the K-th on: N starts with K = 1..N share the work"
        parser.add_argument("--part", type=_part, default=(1, 1), metavar="K/N", help=text)
        text = "same, cog (cloud-optimised GeoTIFF, of scenes) or png (of all) [%(default)s]"
        parser.add_argument("--format", choices=scenes.FORMATS, default="same", help=text)
        group = parser.add_argument_group("GeoTIFF scenes")
        text = "red, green and blue, or one for grey [by their roles, else the first]"
        names = "--bands", "--bidx", "-b"  # the latter as in rasterio's own commands
        group.add_argument(*names, type=_bands, metavar="R,G,B", help=text)
        text = "value of pixels that are no ground [what the file says]"
        group.add_argument("--nodata", type=float, metavar="N", help=text)
        text = "creation option of GDAL for the ground, such as COMPRESS=ZSTD; may be repeated"
        group.add_argument(
            "--co", type=_option, action="append", default=[], metavar="NAME=VALUE", help=text
        )
    text = f"{', '.join(t.name for t in TASKS if t.kind.finds_opacity)} or dcp [%(default)s]"
    parser.add_argument("--clear", default="mod_defog", metavar="METHOD", help=text)
    text = f"mod_GAN_poly, {', '.join(classical.PAINTERS)} [mod_GAN_poly, else harmonic]"
    parser.add_argument("--repaint", metavar="METHOD", help=text)
    text = "found opacity above which ground is repainted, with cloud's rim [%(default)s]"
    parser.add_argument("--repaint-from", type=float, default=0.75, metavar="SHARE", help=text)
    text = "how much of the detail of ground near by is laid on what is painted [%(default)s]"
    parser.add_argument("--detail", type=float, default=0.0, metavar="SHARE", help=text)
    text = "give ground in the cloud's shadows its light back, where it is surely found"
    parser.add_argument("--shadows", action="store_true", help=text)
    command.add_settings(parser, Defog, SETTINGS)
    options, extra = parser.parse_known_intermixed_args(arguments)
    settings, given = command.settings_from(Defog, options, extra)
    if word == "evaluate":
        command.check_count(options.count)
    else:
        how = {name: getattr(options, name) for name in ("bands", "nodata", "format")}
        taken = scenes.Scenes(**how, options=dict(options.co))
        taken.check()
    names = "clear", "repaint", "repaint_from", "detail", "shadows"
    how = {name: getattr(options, name) for name in names}
    with command.cut_short("cloud_removal"), trained.choose_device(settings).scope():
        parts = chain.load(TASKS, settings, **how, given=given)
        if word == "evaluate":
            how = {"data": options.data, "count": options.count, "csv_file": options.csv}
            return evaluate_chain.evaluate(parts, **how)
        how = {name: getattr(options, name) for name in ("overwrite", "part", "preview")}
        return chain.remove(parts, options.sources, options.out, scenes=taken, **how)


def _part(text):
    """Turn "3/16" into (3, 16)."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part = tuple(map(int, found.groups())) if found else (0, 0)
    if not 1 <= part[0] <= part[1]:
        raise argparse.ArgumentTypeError(f"{text}: must be K/N with K from 1 to N, such as 3/16")
    return part


def _bands(text):
    """Turn "4,3,2" into (4, 3, 2)."""
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*){0,2}", text):
        raise argparse.ArgumentTypeError(f"{text}: must be numbers from 1 on, such as 4,3,2")
    return tuple(map(int, text.split(",")))


def _option(text):
    """Turn "COMPRESS=ZSTD" into ("COMPRESS", "ZSTD")."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text}: must be NAME=VALUE, such as COMPRESS=ZSTD")
    return name, value


if __name__ == "__main__":
    command.exit_with("cloud_removal", run)
