"""What a GeoTIFF tells besides its pixels, and how that comes into another on the same grid.

A new file gets size, type, nodata, CRS and transform from its layout; all else is put here.
"""

import contextlib
import math
from collections.abc import Mapping, Set
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
import tifffile

from util.pictures import gdal
from util.pictures.carried import exif_of
from util.pictures.pixels import PictureError
from util.pictures.read import check_whole, reason_of

# What the file itself makes, its pages among it; and EXIF, which GDAL reads and does not write.
_NOT_CARRIED = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "EXIF")
_PER_BAND = ("descriptions", "units", "scales", "offsets")
_DEGREE_M = 111_320  # of a meridian, or of the equator
_UNWRITEABLE = {"ns", "bidx"}  # rasterio takes tags of these names for its own arguments


class Unfit(PictureError):
    """A TIFF whose values are no brightness as they are stored, or that is no picture upright."""


class Facts(NamedTuple):
    """All facts of an open file, read at once.

    tags : dict domain -> dict
        Of the dataset, its own domain is "".
    band_tags : list of such dicts, one a band
    per_band : dict name of a rasterio attribute -> tuple
    roles, points : tuple
        What each band shows; ground control points and their CRS.
    structure : dict
        How the file says that its pixels are packed, with NBITS.
    profile : dict
    blocks : (int, int)
        Rows and columns of a tile or strip.
    overviews : list of int
    is_placed : bool
        It has a place on Earth, by whatever means.
    page : tifffile.TiffPage
    exif : dict
        As `util.pictures.carried.exif_of`.
    """

    tags: dict
    band_tags: list
    per_band: dict
    roles: tuple
    points: tuple
    structure: dict
    profile: dict
    blocks: tuple[int, int]
    overviews: list
    is_placed: bool
    page: tifffile.TiffPage
    exif: dict

    def left_behind(self) -> list[str]:
        """Return what to tell of tags that cannot be written."""
        spaces = [self.tags, *self.band_tags]
        names = {name for space in spaces for tags in space.values() for name in tags}
        return [f"its tag {name!r} stays behind" for name in sorted(names & _UNWRITEABLE)]


def head_of(path: Path) -> tuple[tifffile.TiffPage, dict]:
    """Return the first page of a TIFF that can be taken, as its head tells it, and its EXIF."""
    try:
        with open(path, "rb") as file, tifffile.TiffFile(file, name="tiff") as tiff:
            page = tiff.pages.first
            check_whole(page, tiff.filehandle.size)
            kind = tifffile.PHOTOMETRIC(page.photometric)
            if kind == 3:
                raise Unfit("has a palette; turn it into RGB first: gdal_translate -expand rgb")
            if kind not in (1, 2, 6):
                raise Unfit(f"its colours are {kind.name}; turn them into RGB or grey")
            bits = int(np.min(page.bitspersample))
            if bits < 8:
                raise Unfit(f"{bits} bits hold no brightness; it takes 8 or more")
            if page.tags.valueof(274, 1) in range(2, 9):
                raise Unfit("its orientation tag turns it; store it upright")
            with contextlib.suppress(Exception):  # the pixels are what matters
                return page, exif_of(file, tiff)
            return page, {}
    except PictureError as error:
        raise type(error)(error.reason, path) from None
    except Exception as error:  # decoders meet damage with errors of every class
        raise PictureError(reason_of(error), path) from error


def facts_of(dataset: object, page: tifffile.TiffPage, exif: dict) -> Facts:
    """Return the facts of a rasterio dataset, whose first page and EXIF are known."""

    def tags(*band):
        spaces = {"", *dataset.tag_namespaces(*band)}.difference(_NOT_CARRIED)
        return {space: dataset.tags(*band, ns=space or None) for space in sorted(spaces)}

    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    structure |= dataset.tags(1, ns="IMAGE_STRUCTURE")
    profile, points = dict(dataset.profile), dataset.gcps
    if dataset.transform.is_identity:  # so rasterio says that there is none
        del profile["transform"]
    return Facts(
        tags=tags(),
        band_tags=[tags(band) for band in dataset.indexes],
        per_band={name: getattr(dataset, name) for name in _PER_BAND},
        roles=dataset.colorinterp,
        points=points,
        structure=structure,
        profile=profile,
        blocks=dataset.block_shapes[0],
        overviews=dataset.overviews(1),
        is_placed=bool(profile["crs"] or "transform" in profile or points[0] or dataset.rpcs),
        page=page,
        exif=exif,
    )


def pixel_m(profile: Mapping[str, object]) -> float:
    """Return the side of a pixel on the ground, in metres, 0 where a file's place is not told."""
    if not profile["crs"] or "transform" not in profile:
        return 0.0
    width, height = profile["width"], profile["height"]
    middle_right_bottom = (width / 2, height / 2), (width, height / 2), (width / 2, height)
    x, y = zip(*(profile["transform"] * place for place in middle_right_bottom), strict=True)
    try:
        # By degrees, since metres of a map are not always those of the ground.
        x, y = gdal.library().warp.transform(profile["crs"], "EPSG:4326", x, y)
    except gdal.failures():
        return 0.0
    across, down = (
        math.hypot((x[i] - x[0]) * math.cos(math.radians(y[0])), y[i] - y[0]) for i in (1, 2)
    )
    side = _DEGREE_M * math.sqrt(across / (width / 2) * down / (height / 2))
    return side if math.isfinite(side) else 0.0  # beyond what the map can show


def put_first(facts: Facts, result: object, roles: bool) -> None:
    """Put into a new file what has to be there before its pixels: roles of bands, and points."""
    if roles:
        result.colorinterp = facts.roles
    points, crs = facts.points
    if points:
        result.gcps = points, crs or gdal.library().crs.CRS()


def put_crs(facts: Facts, path: Path) -> None:
    """Write the CRS beside a file, where GDAL reads it, if the file does not say it itself.

    Its keys have no word for a rotated pole, and a person's options may leave them out.
    """
    crs = facts.profile["crs"]
    with gdal.library().open(path) as made:
        if not crs or made.crs == crs:
            return
    text = f"<PAMDataset>\n  <SRS>{escape(crs.to_wkt())}</SRS>\n</PAMDataset>\n"
    path.with_name(f"{path.name}.aux.xml").write_text(text, encoding="utf-8")


def put(facts: Facts, result: object, changed: Set[int]) -> None:
    """Put all tags, names and units into a new file; not the statistics of `changed` bands."""
    for space, tags in facts.tags.items():
        tag(result, space, tags)
    for band, spaces in enumerate(facts.band_tags, 1):
        for space, tags in spaces.items():
            kept = tags.items()
            if band in changed:
                kept = [(n, v) for n, v in kept if not n.startswith("STATISTICS_")]
            tag(result, space, dict(kept), band)
    for name, values in facts.per_band.items():
        setattr(result, name, values)


def put_place(facts: Facts, result: object) -> None:
    """Put into a new file only what tells its place besides CRS, transform and points."""
    tag(result, "", {n: v for n, v in facts.tags[""].items() if n == "AREA_OR_POINT"})
    tag(result, "RPC", facts.tags.get("RPC", {}))


def tag(result: object, space: str, tags: Mapping[str, object], band: int = 0) -> None:
    """Set tags of a domain, "" for the own one, of a band, or of the dataset: 0."""
    tags = {name: str(value) for name, value in tags.items() if name not in _UNWRITEABLE}
    if space.startswith("xml:"):
        # rasterio joins name and value by an equals sign, which GDAL takes for the document.
        name, _, value = next(iter(tags.values())).partition("=")
        tags = {name: value}
    if tags:
        result.update_tags(band, ns=space or None, **tags)
