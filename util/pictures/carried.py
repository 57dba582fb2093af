"""What a file carries besides its pixels, and how the file of the result comes to it.

Size and place of a picture stay, and with them what tells where it lies, when it was taken, by
whom, and what its colours mean: the tags of a TIFF byte for byte, with its compression and tiles;
EXIF, colour profile, resolution and text of others, as chunks of a PNG. Thumbnails and overviews
show what is no longer true, and stay behind. World files and the like: `util.pictures.beside`.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile
from PIL import Image

from util.pictures import segments
from util.pictures.original import Original
from util.pictures.read import COMMON_FORMATS, NODATA_IS_NO_COLOUR, TIFF_STARTS, reason_of

_NAME = "tiff"
# What says how the pixels are stored, which the writer decides, or what shows them as they were:
# tiles, strips, bits, tables of JPEG, colour maps and ranges, sub-pictures, layers of Photoshop.
_OF_THE_PIXELS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 290, 291, 292}
    | {282, 283, 293, 296, 317, 320, 321, 322, 323, 324, 325, 330, 338, 339, 340, 341, 342, 347}
    | {400, *range(512, 522), 529, 530, 531, 532, 32997, 32998, 37724, 50674, 50838, 50839}
)
TIFF_SUFFIXES = (".tif", ".tiff")
_NODATA = 42113
_NAMES = {33550: "place", 33922: "place", 34264: "place", 34735: "CRS", 34675: "colour profile"}
_NAMES |= {42112: "metadata", _NODATA: "nodata", 50844: "RPCs"}
_EXIF_IFDS = frozenset((34665, 34853))  # EXIF, GPS: tags that point to lists of tags
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_SIZES |= {16: 8, 17: 8}
_PNG_CHUNKS = frozenset(b"iCCP sRGB gAMA cHRM cICP mDCV cLLI pHYs eXIf tEXt zTXt iTXt tIME".split())
_RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
_XMP = b"XML:com.adobe.xmp\0"
_XMP_TURN = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8]")
_METRE_IN = 1 / 0.0254
_NONE = MappingProxyType({})


class Carried(NamedTuple):
    """What goes into the file of the result.

    tiff : arguments of `tifffile.imwrite`; empty for another format
    packing : compression and predictor of a TIFF, where tifffile does not know them; or nothing
    ifds : the tags of a TIFF's EXIF and GPS, dict code -> list of tags
    chunks : of a PNG, whole
    mask : a further page of a TIFF, bool (H, W), or None
    per_metre : resolution across and down, for a BMP; or nothing
    note : what a person should know about it, or nothing
    """

    tiff: dict = _NONE
    packing: tuple[int, int] | None = None
    ifds: dict = _NONE
    chunks: bytes = b""
    note: str = ""
    mask: np.ndarray | None = None
    per_metre: tuple = ()

    def is_stored(self, path: str | Path) -> bool:
        """Tell whether pixels go into a file as the original's are stored, with its orientation."""
        return bool(self.tiff) and Path(path).suffix.lower() in TIFF_SUFFIXES

    def lost_in(self, path: str | Path) -> str:
        """Return what of a TIFF does not go into a file that is none, as text, or nothing."""
        if not self.tiff or self.is_stored(path):
            return ""
        lost = [_NAMES[tag[0]] for tag in self.tiff["extratags"] if tag[0] in _NAMES]
        lost += ["mask"] * (self.mask is not None) + ["EXIF"] * bool(self.ifds)
        return ", ".join(dict.fromkeys(lost))


NOTHING = Carried()


class Tag(NamedTuple):
    """A tag of a TIFF, its value as the bytes of the file."""

    code: int
    dtype: int
    count: int
    value: bytes


def carried_by(path: str | Path, original: Original) -> Carried:
    """Return what a file carries whose picture was read; nothing, with a note, if it is damaged."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            if start[:4] in TIFF_STARTS:
                return _by_tiff(file, original)
            return _by_png(file) if start[:4] == b"\x89PNG" else _by_common(file)
    except Exception as error:  # the pixels could be read, and are what matters
        return Carried(note=f"{path}: its pixels go out alone, the rest is {reason_of(error)}")


# --- TIFF -----------------------------------------------------------------------------------------


def _by_tiff(file: BinaryIO, original: Original) -> Carried:
    file.seek(0)
    bands, dtype = original.values.shape[2], original.values.dtype
    with tifffile.TiffFile(file, name=_NAME) as tiff:
        page, order = tiff.pages.first, tiff.byteorder
        # Palettes, grey and others have become RGB.
        same = page.samplesperpixel == bands and page.photometric in (1, 2)
        extra = [int(kind) for kind in page.extrasamples]
        if len(extra) != bands - (1 if same and page.photometric == 1 else 3):
            extra = [2 if band == original.alpha else 0 for band in range(3, bands)]
        grey = same and page.photometric == 1
        options = {
            "photometric": "minisblack" if grey else "rgb",
            "planarconfig": "separate" if page.planarconfig == 2 else "contig",
            "extrasamples": extra,
            "byteorder": order,
            "software": False,
        }
        if tiff.is_bigtiff:
            options["bigtiff"] = True
        if page.is_tiled and page.tilelength % 16 == page.tilewidth % 16 == 0:
            options["tile"] = (page.tilelength, page.tilewidth)
        note, packing, code = "", None, int(page.compression)
        if code != 1:
            if "tile" not in options:
                options["rowsperstrip"] = page.chunks[0]
            if not segments.knows(code):
                note = f"note: TIFFs with {page.compression.name} are written with deflate"
                code = 8
            options["compression"] = code if code in segments.DEFLATE else 8
            whole, predictor = dtype.kind in "iu", page.predictor
            if predictor not in ((1, 2) if whole else (1, 2, 3)):
                predictor = 1
            if code in segments.DEFLATE and (predictor == 1 or (whole and dtype.itemsize <= 4)):
                options["predictor"] = predictor == 2
            else:
                packing = code, predictor
        values = page.tags
        resolution = [values.valueof(code) for code in (282, 283)]
        if all(isinstance(ratio, tuple) and len(ratio) == 2 and ratio[1] for ratio in resolution):
            options["resolution"] = resolution
            options["resolutionunit"] = values.valueof(296, 2)
        tags, ifds = [], exif_of(file, tiff)
        left = _OF_THE_PIXELS | _EXIF_IFDS
        if page.photometric in NODATA_IS_NO_COLOUR:
            left |= {_NODATA}  # the mask says it
        for tag in values:
            if tag.code not in left and tag.dtype in _SIZES:
                file.seek(tag.valueoffset)
                value = file.read(_SIZES[tag.dtype] * tag.count)
                if tag.code != 34675 or same or value[16:20] == b"RGB ":
                    tags.append((tag.code, int(tag.dtype), tag.count, value, True))
        if original.orientation != 1:
            tags.append((274, 3, 1, original.orientation, True))
        options["extratags"] = tags
        return Carried(options, packing, ifds, note=note, mask=original.mask)


def exif_of(file: BinaryIO, tiff: tifffile.TiffFile) -> dict[int, list[Tag]]:
    """Return the lists of tags that are EXIF and GPS in the first page of a TIFF, by their code."""
    places = [tag for tag in tiff.pages.first.tags if tag.code in _EXIF_IFDS]
    return {tag.code: list(_ifd_at(file, _offset_of(file, tag, tiff), tiff)) for tag in places}


def _offset_of(file: BinaryIO, tag: tifffile.TiffTag, tiff: tifffile.TiffFile) -> int:
    """Return where the list of tags lies that a tag points to."""
    _, head, wide = _layout(tiff.byteorder, tiff.is_bigtiff)
    file.seek(tag.offset + struct.calcsize(head))
    return int.from_bytes(file.read(wide), "little" if tiff.byteorder == "<" else "big")


def _layout(order: str, big: bool) -> tuple[str, str, int]:
    """Return the formats of a count of tags and of a tag's head, and the bytes of an offset."""
    return (order + "Q", order + "HHQ", 8) if big else (order + "H", order + "HHI", 4)


def _ifd_at(file: BinaryIO, offset: int, tiff: tifffile.TiffFile) -> Iterator[Tag]:
    """Yield the tags of a list of tags, without those that point to others."""
    counts, head, wide = _layout(tiff.byteorder, tiff.is_bigtiff)
    file.seek(offset)
    (count,) = struct.unpack(counts, file.read(struct.calcsize(counts)))
    entries = file.read(count * (struct.calcsize(head) + wide))
    size = struct.calcsize(head) + wide
    for at in range(0, len(entries) - size + 1, size):
        code, dtype, many = struct.unpack_from(head, entries, at)
        value = entries[at + size - wide : at + size]
        length = _SIZES.get(dtype, 0) * many
        if length > wide:
            file.seek(int.from_bytes(value, "little" if tiff.byteorder == "<" else "big"))
            value = file.read(length)
        if length and len(value) >= length and code != 40965:
            yield Tag(code, dtype, many, value[:length])


def add_tags(
    file: BinaryIO, ifds: Mapping[int, list[Tag]], numbers: Mapping[int, int] = _NONE
) -> None:
    """Put lists of tags, and small numbers, into the first page of a TIFF just written."""
    file.seek(0)
    with tifffile.TiffFile(file, name=_NAME) as tiff:
        order, big, page = tiff.byteorder, tiff.is_bigtiff, tiff.pages.first.offset
    counts, head, wide = _layout(order, big)
    size = struct.calcsize(head) + wide
    number = "Q" if big else "I"

    def append(data: bytes) -> int:
        place = file.seek(0, 2)
        file.write(b"\0" * (place % 2) + data)
        return place + place % 2

    entries = {}
    for code, value in numbers.items():
        short = struct.pack(order + "H", value)
        entries[code] = struct.pack(head, code, 3, 1) + short.ljust(wide, b"\0")
    for code, tags in ifds.items():
        packed = []
        for tag in sorted(tags):
            value = tag.value
            if len(value) > wide:
                value = struct.pack(order + number, append(value))
            packed.append(struct.pack(head, *tag[:3]) + value.ljust(wide, b"\0"))
        table = struct.pack(counts, len(packed)) + b"".join(packed) + bytes(wide)
        where = struct.pack(order + number, append(table))
        entries[code] = struct.pack(head, code, 16 if big else 4, 1) + where
    file.seek(page)
    (count,) = struct.unpack(counts, file.read(struct.calcsize(counts)))
    for entry in [file.read(size) for _ in range(count)]:
        entries.setdefault(*struct.unpack_from(order + "H", entry), entry)
    following = file.read(wide)
    table = struct.pack(counts, len(entries)) + b"".join(entries[code] for code in sorted(entries))
    table += following
    where = append(table)
    file.seek(8 if big else 4)
    file.write(struct.pack(order + number, where))


# --- PNG ------------------------------------------------------------------------------------------


def _by_png(file: BinaryIO) -> Carried:
    """Return what a PNG carries: its chunks that stay true, EXIF's upright."""
    kept, exif, is_text = [], b"", False
    file.seek(8)
    grey = False
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length, kind = struct.unpack(">I4s", head)
        if kind not in _PNG_CHUNKS and kind != b"IHDR":
            file.seek(length + 4, 1)
            continue
        data = file.read(length)
        file.seek(4, 1)
        if kind == b"IHDR":
            grey = data[9] in (0, 4)  # which become RGB
        elif kind == b"eXIf":
            exif = data
        elif data.startswith(_RAW_EXIF):
            is_text = True
        elif not (grey and kind == b"iCCP"):
            kept.append(_chunk(kind, _XMP_TURN.sub(rb"\g<1>1", data)))
    if is_text and not exif:
        exif = _exif_by_pillow(file)
    chunk, note = _exif_chunk(exif, file)
    return Carried(chunks=b"".join(kept) + chunk, note=note)


def _exif_by_pillow(file: BinaryIO) -> bytes:
    file.seek(0)
    with Image.open(file, formats=("PNG",)) as image:
        return image.getexif().tobytes()


def _by_common(file: BinaryIO) -> Carried:
    """Return what a JPEG, WebP, BMP or GIF carries, as chunks of a PNG."""
    file.seek(0)
    with Image.open(file, formats=COMMON_FORMATS) as image:
        info = image.info
    kept, per_metre = [], ()
    profile = info.get("icc_profile") or b""
    if profile[16:20] == b"RGB ":
        kept.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if "dpi" in info:
        per_metre = tuple(round(float(n) * _METRE_IN) for n in info["dpi"])
        kept.append(_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    chunk, note = _exif_chunk(info.get("exif") or b"", file)
    kept.append(chunk)
    if info.get("xmp"):
        xmp = _XMP_TURN.sub(rb"\g<1>1", info["xmp"])
        kept.append(_chunk(b"iTXt", _XMP + bytes(4) + xmp))
    comment = info.get("comment")
    if isinstance(comment, bytes) and comment:
        kept.append(_chunk(b"tEXt", b"Comment\0" + comment.replace(b"\0", b"")))
    return Carried(chunks=b"".join(kept), per_metre=per_metre, note=note)


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


def _exif_chunk(exif: bytes, file: BinaryIO) -> tuple[bytes, str]:
    """Return EXIF as a chunk, upright, and what to say; neither of EXIF that is empty."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        return (_chunk(b"eXIf", _upright(exif)) if exif else b""), ""
    except (KeyError, struct.error):
        return b"", f"{file.name}: its EXIF is damaged, and stays behind"


def _upright(exif: bytes) -> bytes:
    """Return EXIF that says orientation 1 and has no thumbnail, all else as it was."""
    exif = bytearray(exif)
    order = {b"II": "<", b"MM": ">"}[bytes(exif[:2])]
    (at,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", exif, entry) == (274,):
            struct.pack_into(order + "HIHH", exif, entry + 2, 3, 1, 1, 0)
    struct.pack_into(order + "I", exif, at + 2 + 12 * count, 0)
    return bytes(exif)
