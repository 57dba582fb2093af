"""Write damaged and odd files, each told by its number alone.

    python tests/make_damaged.py FOLDER NUMBER ...

A quarter are whole but odd: one pixel wide, nine bands, 64-bit numbers. In the others bits are
turned, bytes are missing or too many, or a number says what is not so: a PNG's checksums are made
right again, or nothing behind them would ever be reached.
"""

import io
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

_SIDES = (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65)
_LONGEST, _MOST_VALUES = 4097, 6_000_000
# What programs trip over: nothing, signs, ends of types, more than there is, other tags' values.
_LIES = (
    *range(10), 16, 32, 64, 127, 128, 255, 256, 4097, 32767, 32768, 34712, 34925, 50000, 65535,
    65536, 70000, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1,
)  # fmt: skip
_TIFF_TYPES = [*("u1", "u2") * 3, "u4", "u8", "i1", "i2", "i4", "i8", "f2", *("f4",) * 2, "f8"]
_TIFF_TYPES += ["?", "c8"]


def damaged(number: int) -> tuple[str, bytes]:
    """Return the name and the content of a file."""
    rng = np.random.default_rng([14, number])
    maker = _MAKERS[rng.choice(len(_MAKERS), p=_SHARES)]
    suffix, content = maker(rng)
    if rng.random() < 0.75:
        for _ in range(1 + (rng.random() < 0.2)):
            damage = _DAMAGES[rng.integers(len(_DAMAGES))]
            content = damage(rng, bytearray(content))
    if rng.random() < 0.03:  # content decides, not the name
        suffix = rng.choice([".png", ".jpg", ".tif", ".gif", ".bmp", ".webp"])
    return f"{number:05}{suffix}", bytes(content)


# --- pictures -------------------------------------------------------------------------------------


def _size(rng, bands: int) -> tuple[int, int]:
    kind = rng.random()
    if kind < 0.002:
        height, width = map(int, rng.integers(1000, _LONGEST + 1, 2))
        return height, min(width, _MOST_VALUES // (height * bands))
    short = [int(rng.choice(_SIDES) if rng.random() < 0.5 else rng.integers(1, 97)) for _ in "hw"]
    if kind < 0.03:
        short[rng.integers(2)] = int(rng.choice([1000, 4096, _LONGEST]))
    return tuple(short)


def _pixels(rng, bands: int, dtype="u1") -> np.ndarray:
    """Return smooth or random pixels (H, W, bands), some with a corner of one value."""
    height, width = _size(rng, bands)
    if rng.random() < 0.2 and height * width < 10_000:
        share = rng.random((height, width, bands))
    else:
        coarse = rng.random((3, 4, bands)).astype(np.float32)
        share = np.dstack(
            [cv2.resize(coarse[..., b], (width, height), interpolation=1) for b in range(bands)]
        )
    if rng.random() < 0.3:
        share[: height // 2, : width // 3] = rng.integers(2)
    dtype = np.dtype(dtype)
    if dtype.kind in "fc":
        values = (share * rng.choice([1, 1, 10_000, 1e30])).astype(np.float64)
        if rng.random() < 0.3:
            values[rng.random(values.shape[:2]) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    if dtype.kind == "b":
        return share > 0.5
    top = np.iinfo(dtype).max if rng.random() < 0.7 else 120
    least = top // 2 if dtype.kind == "i" else 0
    return (share * (top // 2)).astype(dtype) * dtype.type(2) - dtype.type(least)


def _image(rng, modes: str) -> Image.Image:
    mode = rng.choice(modes.split())
    pixels = _pixels(rng, 4)
    if mode in ("RGBA", "LA") and rng.random() < 0.5:
        pixels[..., 3] = 255 * (pixels[..., 3] > 100)
    image = Image.fromarray(pixels)
    if mode == "CMYK":
        return image.convert("RGB").convert("CMYK")
    if mode == "P":
        return image.convert("RGB").quantize(int(rng.choice([2, 4, 16, 256])))
    return image.convert(mode)


def _extras(rng) -> dict:
    """Return what a camera or a program adds."""
    extras = {}
    if rng.random() < 0.3:
        exif = Image.Exif()
        exif[274] = int(rng.integers(0, 10))
        exif[306] = "2026:01:01 12:00:00"
        exif.get_ifd(34853)[2] = (47.0, 30.0, 0.5)
        extras["exif"] = exif
    if rng.random() < 0.2:
        extras["dpi"] = (72, int(rng.integers(0, 400)))
    if rng.random() < 0.2:
        extras["icc_profile"] = bytes(16) + b"RGB XYZ " + rng.bytes(120)
    return extras


def _saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _png(rng):
    if rng.random() < 0.3:
        bands = int(rng.choice([1, 3, 4]))
        code = cv2.imencode(".png", _pixels(rng, bands, "u2"))[1].tobytes()
    else:
        image, extras = _image(rng, "1 L LA P RGB RGBA"), _extras(rng)
        if image.mode in ("P", "L") and rng.random() < 0.4:
            extras["transparency"] = 1
        code = _saved(image, "PNG", **extras)
    return ".png", code


def _jpeg(rng):
    options = {"quality": int(rng.integers(5, 100)), "progressive": rng.random() < 0.3}
    return ".jpg", _saved(_image(rng, "L RGB RGB CMYK"), "JPEG", **options, **_extras(rng))


def _webp(rng):
    options = {"lossless": rng.random() < 0.5, "method": 0}
    extras = {n: value for n, value in _extras(rng).items() if n != "dpi"}
    return ".webp", _saved(_image(rng, "L RGB RGBA"), "WEBP", **options, **extras)


def _bmp(rng):
    return ".bmp", _saved(_image(rng, "1 L P RGB RGBA"), "BMP")


def _gif(rng):
    frames = [_image(rng, "1 L P RGB") for _ in range(rng.integers(1, 4))]
    options = {"comment": b"a comment"} if rng.random() < 0.3 else {}
    if rng.random() < 0.3:
        options["transparency"] = 1
    return ".gif", _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], **options)


def _tiff(rng):
    """Return a TIFF of any type, bands and layout."""
    bands = int(rng.choice([1, 1, 2, 3, 3, 3, 4, 4, 5, 9]))
    values = _pixels(rng, bands, rng.choice(_TIFF_TYPES))
    separate = bands > 1 and rng.random() < 0.3
    grey = bands < 3 or rng.random() < 0.3
    how = {
        "photometric": ("miniswhite" if rng.random() < 0.1 else "minisblack") if grey else "rgb",
        "planarconfig": "separate" if separate else "contig",
        "byteorder": rng.choice(["<", ">"]),
        "bigtiff": rng.random() < 0.2,
        "metadata": None,
    }
    if values.dtype.kind != "b":
        how["compression"] = rng.choice([None, None, "zlib", "zlib", "lzma"])
    if how.get("compression") == "zlib" and values.dtype.str[1:] in ("u1", "u2", "i2", "i4"):
        how["predictor"] = rng.random() < 0.5
    if rng.random() < 0.4:
        how["tile"] = tuple(int(n) for n in 16 * rng.integers(1, 4, 2))
    else:
        how["rowsperstrip"] = int(rng.choice([1, 7, 64, 4096]))
    further = bands - (1 if grey else 3)
    if further and rng.random() < 0.5:
        how["extrasamples"] = [int(kind) for kind in rng.integers(0, 3, further)]
    tags = []
    if rng.random() < 0.3:
        nodata = rng.choice(["0", "255", "-9999", "nan", "1e400", "none", "-3.4e38", "65535"])
        tags.append((42113, "s", 0, str(nodata), True))
    if rng.random() < 0.2:
        tags.append((274, "H", 1, int(rng.integers(0, 10)), True))
    if rng.random() < 0.2:
        tags += [
            (33550, "d", 3, (10.0, 10.0, 0.0), True),
            (33922, "d", 6, (0, 0, 0, 600000, 5300040, 0), True),
            (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True),
        ]
    file = io.BytesIO()
    planes = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if separate else values
    if bands == 1:
        planes = values[..., 0]
    tifffile.imwrite(file, planes, extratags=tags, **how)
    return ".tif", file.getvalue()


def _libtiff(rng):
    """Return a TIFF with a compression that tifffile alone does not write."""
    if rng.random() < 0.3:
        pixels = _pixels(rng, int(rng.choice([1, 3, 4])), rng.choice(["u1", "u2", "f4"]))
        how = [cv2.IMWRITE_TIFF_COMPRESSION, int(rng.choice([5, 32773, 8]))]
        return ".tif", cv2.imencode(".tif", pixels, how)[1].tobytes()
    image = _image(rng, "1 L P RGB RGBA CMYK")
    kinds = ["tiff_lzw", "packbits", "tiff_adobe_deflate"]
    kinds += ["jpeg"] if image.mode in ("L", "RGB") else []
    kinds += ["group4", "group3"] if image.mode == "1" else []
    extras = _extras(rng)
    if "exif" in extras:
        extras["exif"][274] = int(rng.integers(1, 9))  # libtiff writes no other
    return ".tif", _saved(image, "TIFF", compression=rng.choice(kinds), **extras)


# More of what has more ways to be odd.
_MAKERS = [_png, _jpeg, _webp, _bmp, _gif, _tiff, _libtiff]
_SHARES = [0.16, 0.12, 0.08, 0.07, 0.08, 0.34, 0.15]


# --- damage ---------------------------------------------------------------------------------------


def _bits_turned(rng, code):
    reach = len(code) if rng.random() < 0.5 else min(len(code), 400)
    for place in rng.integers(0, reach, rng.integers(1, 16)):
        code[place] ^= 1 << rng.integers(8)
    return _checked(code) if rng.random() < 0.5 else code


def _cut(rng, code):
    return code[: rng.integers(0, len(code))]


def _part_gone(rng, code):
    start = rng.integers(0, len(code))
    del code[start : start + rng.integers(1, 64)]
    return code


def _part_more(rng, code):
    start = rng.integers(0, len(code))
    code[start:start] = rng.bytes(rng.integers(1, 64))
    return code


def _part_other(rng, code):
    start, length = rng.integers(0, len(code)), int(rng.integers(1, 200))
    filling = [bytes(length), b"\xff" * length, rng.bytes(length)][rng.integers(3)]
    code[start : start + length] = filling
    return _checked(code)


def _a_number_lies(rng, code):
    """Return the file with another number among its first bytes, or in a tag of a TIFF."""
    width, lie = int(rng.choice([1, 2, 4])), int(rng.choice(_LIES))
    order, big, tags = _tags_of(code)
    if tags and rng.random() < 0.9:
        field = int(rng.choice([0, 2, 4, 12 if big else 8]))
        place, width = rng.choice(tags) + field, 4 if field > 2 else 2
    else:
        place = int(rng.integers(2, 200))
    if place + width <= len(code):
        code[place : place + width] = (lie % (1 << 8 * width)).to_bytes(width, order)
    return _checked(code)


def _a_size_lies(rng, code):
    """Return the file with another height or width in its header."""
    side = int(rng.choice([0, 1, 15, 64, 500, _LONGEST, 30_000, 65_535, 2**31 - 1]))
    which = int(rng.integers(2))
    order, big, tags = _tags_of(code)
    size = 2
    if code[:4] == b"\x89PNG":
        place, size = 16 + 4 * which, 4
    elif code[:2] == b"BM":
        place, size = 18 + 4 * which, 4
        side = side if rng.random() < 0.7 else 2**32 - side
    elif code[:3] == b"GIF":
        place = 6 + 2 * which
    elif code[:2] == b"\xff\xd8":
        place = max(code.find(b"\xff\xc0"), code.find(b"\xff\xc2")) + 5 + 2 * which
    elif code[:4] == b"RIFF":
        place = 26 + 2 * which
    else:
        for tag in tags:
            if int.from_bytes(code[tag : tag + 2], order) == 256 + which:
                code[tag + 2 : tag + 4] = (4).to_bytes(2, order)  # so long a number has room
                place, size = tag + (12 if big else 8), 4
                break
        else:
            return code
    code[place : place + size] = (side % (1 << 8 * size)).to_bytes(size, order)
    return _checked(code)


def _tags_of(code: bytearray) -> tuple[str, bool, list[int]]:
    """Return the order of a file's bytes, whether it is a BigTIFF, and where a TIFF's tags lie."""
    if code[:2] not in (b"II", b"MM"):
        small = code[:2] == b"BM" or code[:3] == b"GIF" or code[:4] == b"RIFF"
        return "little" if small else "big", False, []
    order = "little" if code[:2] == b"II" else "big"
    big = 43 in code[2:4]
    wide = 8 if big else 4
    start = int.from_bytes(code[wide : 2 * wide], order)
    first, entry = start + (8 if big else 2), 20 if big else 12
    count = int.from_bytes(code[start:first], order)
    last = min(first + count * entry, len(code) - entry)
    return order, big, list(range(first, last, entry))


def _checked(code: bytearray) -> bytearray:
    """Return a PNG with the checksums that its chunks should have; another file as it is."""
    place = 8
    while code[:4] == b"\x89PNG" and place + 12 <= len(code):
        end = place + 8 + int.from_bytes(code[place : place + 4])
        if end + 4 <= len(code):
            code[end : end + 4] = zlib.crc32(code[place + 4 : end]).to_bytes(4)
        place = end + 4
    return code


_DAMAGES = [
    _bits_turned, _cut, _part_gone, _part_more, _part_other, _a_number_lies, _a_number_lies,
    _a_size_lies,
]  # fmt: skip


def write_damaged(folder: Path, number: int) -> Path:
    """Write a file into a folder; return its path."""
    name, content = damaged(number)
    path = Path(folder, name)
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    for number in map(int, sys.argv[2:]):
        print(write_damaged(Path(sys.argv[1]), number))
