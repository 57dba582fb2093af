"""How a GeoTIFF is laid out on the disk: blocks, compression, overviews, cloud-optimised or not."""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from util.pictures import gdal
from util.pictures.geotiff_facts import Facts
from util.pictures.read import check_whole
from util.say import UserError

_KEPT = ("lzw", "deflate", "zstd", "lzma", "packbits", "lerc", "lerc_deflate", "lerc_zstd")
_LOSSY = ("jpeg", "webp", "jxl")
_OF_US = frozenset(
    ["driver", "width", "height", "count", "dtype", "crs", "transform", "nodata", "sparse_ok"]
)
_TILE_STEP = 16  # sides of tiles are multiples of this
_COG_BLOCK = 512
_METADATA = 42112  # GDAL's tag for tags


class Layout(NamedTuple):
    """Options for the file that rows are written to, and, if it is copied to one, of the COG."""

    tiles: dict
    cog: dict | None


def packing(facts: Facts) -> tuple[dict, str]:
    """Return how a file's pixels are packed, without loss, as options; and what to tell of it.

    What GDAL writes is kept, anything else becomes deflate.
    """
    kind, how, note = facts.profile.get("compress", "").lower(), {}, ""
    bits = facts.structure.get("NBITS")
    if kind in _KEPT:
        how = {"compress": kind}
        if "PREDICTOR" in facts.structure:
            how["predictor"] = facts.structure["PREDICTOR"]
    elif kind:
        how = {"compress": "deflate"} if bits else {"compress": "deflate", "predictor": 2}
        larger = ", without loss and larger" if kind in _LOSSY else ""
        note = f"TIFFs with {kind} are written with deflate{larger}"
    return {**how, "nbits": bits} if bits else how, note


def layout_of(facts: Facts, contents: dict, format: str, options: dict) -> Layout:
    """Return how a file on the grid of another is laid out.

    contents : dict
        Options for what is in it: bands, type, packing.
    options : dict
        A person's, with names in small letters; they win. Raises UserError for one that is the
        scene's.
    """
    ours = sorted(_OF_US & options.keys())
    if ours:
        raise UserError(f"creation option {ours[0].upper()}: is the scene's; leave it out")
    is_cog = facts.structure.get("LAYOUT") == "COG"
    high, wide = facts.blocks
    grid = facts.profile.keys() & {"height", "width", "crs", "transform"}
    # Classic TIFF ends at 4 GB, and how far compression gets nobody knows.
    big = "YES" if facts.page.parent.is_bigtiff else "IF_SAFER"
    order = {"<": "LITTLE", ">": "BIG"}[facts.page.parent.byteorder]
    tiles = {"driver": "GTiff", "bigtiff": big, "endianness": order, **contents}
    tiles |= {name: facts.profile[name] for name in grid}
    if is_cog or format == "cog":
        cog = {"driver": "COG", "bigtiff": big, "overview_resampling": "AVERAGE"}
        cog |= {"blocksize": wide if is_cog else _COG_BLOCK}
        cog |= {"compress": tiles.get("compress", "deflate")}
        cog |= {"predictor": "NO" if "nbits" in tiles else "YES", **options}
        tiles |= {"tiled": True, "blockxsize": _COG_BLOCK, "blockysize": _COG_BLOCK}
        return Layout({**tiles, "compress": "deflate", "zlevel": 1}, cog)
    if not {"tiled", "blockxsize", "blockysize"} & options.keys():
        tiles["blockysize"] = high
        if facts.profile["tiled"]:
            # Damaged and home-made files have others, which GDAL reads and does not write.
            high, wide = (-(-side // _TILE_STEP) * _TILE_STEP for side in (high, wide))
            tiles |= {"tiled": True, "blockxsize": wide, "blockysize": high}
    if "compress" in options:
        tiles.pop("predictor", None)
    return Layout(tiles | options, None)


def try_options(layout: Layout, options: Mapping[str, object]) -> None:
    """Raise gdal.Refused if GDAL does not take a person's options: of a part in memory, at once.

    Some it refuses only when it is given pixels.
    """
    rasterio = gdal.library()
    # The height of strips is what an option may refuse; a COG has none.
    sides = ("width", "height") if layout.cog else ("width",)
    small_sides = {side: min(_COG_BLOCK, layout.tiles[side]) for side in sides}
    tiles = {**layout.tiles, **small_sides, "sparse_ok": True}
    with rasterio.MemoryFile() as small, rasterio.MemoryFile() as cog, gdal.trying(options):
        with small.open(**tiles) as file:
            high = min(file.block_shapes[0][0], file.height)
            part = np.ones((file.count, high, file.width), file.dtypes[0])
            part[..., ::2] = 0  # all nodata would not be written
            file.write(part, window=rasterio.windows.Window(0, 0, file.width, high))
        if layout.cog:
            rasterio.shutil.copy(small.name, cog.name, **layout.cog)


def copy_to_cog(place: Path, result: Path, cog: Mapping[str, object]) -> None:
    """Copy a tiled file to a cloud-optimised one, tags of every domain included.

    GDAL leaves out those of other domains, or else those of the bands. So it is made to leave room
    for the text that holds them all, which then takes its place; nothing moves.
    """
    with tifffile.TiffFile(place) as tiff:
        text = _text_of(tiff)
    rasterio = gdal.library()
    with rasterio.open(place, "r+") as file:
        file.update_tags(ROOM="x" * len(text))
    rasterio.shutil.copy(place, result, **cog)
    with tifffile.TiffFile(result, mode="r+b") as tiff:
        tiff.pages.first.tags[_METADATA].overwrite(text)


def _text_of(tiff):
    """Return the bytes of GDAL's tag for tags, which may be more than ASCII."""
    tag = tiff.pages.first.tags[_METADATA]
    tiff.filehandle.seek(tag.valueoffset)
    return tiff.filehandle.read(tag.valuebytecount)


def add_roles(path: Path, roles: Sequence) -> None:
    """Write what each band shows into a file's text of tags, if GDAL has not done so.

    Beside RGB it does not write infra-red, or else undoes the RGB; but it reads it there.
    """
    with gdal.library().open(path) as file:
        if file.colorinterp == tuple(roles):
            return
    items = "".join(
        f'<Item name="COLORINTERP" sample="{band}" role="colorinterp">{role.name}</Item>'
        for band, role in enumerate(roles)
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        if _METADATA not in tiff.pages.first.tags:  # so wants PROFILE=BASELINE
            return
        text, end = _text_of(tiff), b"</GDALMetadata>"
        text = text.replace(end, items.encode() + end)
        tiff.pages.first.tags[_METADATA].overwrite(text)


def add_overviews(result: object, facts: Facts) -> None:
    """Make the overviews that a scene has anew, of new pixels."""
    if facts.overviews:
        kind = facts.tags.get("rio_overview", {}).get("resampling", "average")
        kinds = gdal.library().enums.Resampling
        result.build_overviews(facts.overviews, getattr(kinds, kind, kinds.average))


def check_file(path: Path, pages: int) -> None:
    """Raise OSError if a file is not whole, or has fewer pages: a full disk GDAL does not tell."""
    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.pages) < pages:
                raise ValueError("pages are missing")
            for page in tiff.pages:
                check_whole(page, tiff.filehandle.size)
                if not all(page.databytecounts):
                    raise ValueError("parts are missing")
    except Exception as error:  # decoders meet damage with errors of every class
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
