"""Write the zoo: one file of every kind that people really have, good and bad.

    python tests/make_zoo.py FOLDER

Every good file shows `scene()` (as far as its format can), so a test knows what must come back.
"""

import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 48, 64

# What no reader may take.
BAD = [
    "cut jpeg",
    "cut png",
    "cut rgb 16 png",
    "cut rgb 16 tiff",
    "cut lzw 16 tiff",
    "cut webp",
    "cut gif",
    "cut bmp",
    "empty",
    "html",
    "bomb png",
    "bomb png 16",
    "bomb bmp",
    "wrong format",
    "format not allowed",
    "dangling link",
]


def scene(dtype=np.uint8) -> np.ndarray:
    """Return a smooth coloured picture without symmetry, (48, 64, 3), over its type's range."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green = columns / (WIDTH - 1), rows / (HEIGHT - 1)
    picture = np.stack([red, green, 0.2 + 0.5 * red * green], axis=-1)
    return np.rint(picture * np.iinfo(dtype).max).astype(dtype)


def noise(height: int, width: int, dtype=np.uint8, seed=0) -> np.ndarray:
    """Return random pixels (height, width, 3) over the whole range of their type."""
    return np.random.default_rng(seed).integers(
        0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True
    )


def ground_of(height=64, width=80, seed=0) -> np.ndarray:
    """Return smooth ground of middle brightness, uint8 (height, width, 3), within 60..180."""
    coarse = np.random.default_rng(seed).random((5, 6, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.rint(60 + 120 * smooth).astype(np.uint8)


def collar_of(height=64, width=80) -> np.ndarray:
    """Return where a turned square of ground has its collar, bool (height, width)."""
    rows, columns = np.mgrid[:height, :width]
    return np.abs(rows / height - 0.5) + np.abs(columns / width - 0.5) > 0.45


def write_tiff(path: Path, values: np.ndarray, nodata=None, extra=(), **how) -> None:
    """Write values (H, W, B) as a GeoTIFF of UTM zone 32 with pixels of 10 m."""
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0, 0, 0, 600000, 5300040, 0), True),
        (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True),
    ]
    if nodata is not None:
        tags.append((42113, "s", 0, str(nodata), True))
    tifffile.imwrite(
        path, values, photometric="rgb", metadata=None, extratags=tags, extrasamples=extra, **how
    )


def three(grey: np.ndarray) -> np.ndarray:
    """Return grey pixels as RGB."""
    return np.stack([grey] * 3, axis=-1)


def files_in(folder: Path) -> list[str]:
    """Return the names of what lies in a folder, sorted."""
    return sorted(path.name for path in Path(folder).iterdir())


def bomb_png(width: int = 60_000, height: int = 60_000, bits: int = 8) -> bytes:
    """Return a tiny PNG whose header claims an enormous picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def bomb_bmp(width: int = 60_000, height: int = 60_000) -> bytes:
    """Return a BMP of 74 bytes that claims the same."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 74, 0, 0, 54) + info + bytes(20)


def make_zoo(folder: Path) -> dict[str, Path]:
    """Write the zoo into a folder and return its files (and folders) by name."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    zoo: dict[str, Path] = {}

    def at(name: str, file: str) -> Path:
        zoo[name] = folder / file
        zoo[name].parent.mkdir(parents=True, exist_ok=True)
        return zoo[name]

    rgb, deep = scene(), scene(np.uint16)
    image = Image.fromarray(rgb)
    grey, deep_grey = rgb[..., 0], deep[..., 0]

    # Good files.
    image.save(at("png", "plain.png"))
    image.save(at("jpeg", "plain.jpg"), quality=95)
    image.save(at("webp", "plain.webp"), lossless=True)
    image.save(at("bmp", "plain.bmp"))
    image.save(at("png named jpg", "really_png.jpg"), format="PNG")
    image.convert("CMYK").save(at("cmyk", "cmyk.jpg"), quality=95)
    image.quantize(256).save(at("palette", "palette.png"))
    Image.fromarray(grey > 127).save(at("1-bit", "one_bit.png"))
    Image.fromarray(grey).save(at("grey 8", "grey8.png"))
    cv2.imwrite(str(at("grey 16 png", "grey16.png")), deep_grey)
    cv2.imwrite(str(at("rgb 16 png", "rgb16.png")), deep[..., ::-1])
    alpha = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
    Image.fromarray(np.concatenate([rgb, alpha], -1)).save(at("alpha", "alpha.png"))
    deep_alpha = np.concatenate([deep[..., ::-1], alpha.astype(np.uint16)], -1)
    cv2.imwrite(str(at("alpha 16", "alpha16.png")), deep_alpha)
    exif = Image.Exif()
    exif[274] = 6
    image.save(at("orientation 6", "turned.png"), exif=exif)
    frames = [image.quantize(256), Image.new("RGB", (WIDTH, HEIGHT))]
    frames[0].save(at("gif", "moving.gif"), save_all=True, append_images=frames[1:])

    # Good TIFFs.
    tifffile.imwrite(at("grey 16 tiff", "grey16.tif"), deep_grey, photometric="minisblack")
    tifffile.imwrite(at("rgb 16 tiff", "rgb16.tif"), deep, photometric="rgb")
    tifffile.imwrite(at("big-endian tiff", "big.tif"), deep, photometric="rgb", byteorder=">")
    tifffile.imwrite(at("rgb 8 tiff", "rgb8.tiff"), rgb, photometric="rgb")
    tifffile.imwrite(
        at("planar tiff", "planar.tif"),
        np.ascontiguousarray(np.moveaxis(deep, -1, 0)),
        photometric="rgb",
        planarconfig="separate",
    )
    tifffile.imwrite(at("tiled tiff", "tiled.tif"), deep, photometric="rgb", tile=(16, 16))
    tifffile.imwrite(at("zlib tiff", "zlib.tif"), rgb, photometric="rgb", compression="zlib")
    image.save(at("lzw tiff", "lzw.tif"), compression="tiff_lzw")
    lzw = [cv2.IMWRITE_TIFF_COMPRESSION, 5]
    cv2.imwrite(str(at("lzw 16 tiff", "lzw16.tif")), deep[..., ::-1], lzw)
    bands = np.concatenate([deep, deep // 2, deep // 3], axis=-1)
    tifffile.imwrite(
        at("9 bands tiff", "bands.tif"), bands, photometric="minisblack", planarconfig="contig"
    )
    Image.fromarray(deep_grey).save(at("turned tiff", "turned.tif"), tiffinfo={274: 6})
    share = (deep / 65535).astype(np.float32)
    tifffile.imwrite(at("float tiff", "share.tif"), share, photometric="rgb")
    tifffile.imwrite(at("reflectance float", "refl.tif"), share * 10_000, photometric="rgb")
    reflectance = np.rint(share * 12_000).astype(np.uint16)
    tifffile.imwrite(at("reflectance 16", "refl16.tif"), reflectance, photometric="rgb")

    # Names.
    for name, file in (
        ("brackets", "data[1]/in_brackets.png"),
        ("capitals", "CAPITALS.PNG"),
        ("spaces", "with some spaces.png"),
        ("unicode", "wölken_雲.png"),
        ("mac shadow", "._a.png"),
        ("hidden folder", ".thumbnails/small.png"),
    ):
        image.save(at(name, file), format="PNG")
    image.resize((24, 20)).save(at("small", "small.png"))
    image.resize((8, 8)).save(at("tiny", "tiny.png"))

    # Bad files.
    whole = zoo["jpeg"].read_bytes()
    at("cut jpeg", "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name in ("png", "rgb 16 png", "rgb 16 tiff", "lzw 16 tiff", "webp", "gif", "bmp"):
        whole = zoo[name].read_bytes()
        at(f"cut {name}", f"cut_{zoo[name].name}").write_bytes(whole[: len(whole) // 2])
    at("empty", "empty.png").write_bytes(b"")
    at("html", "page.jpg").write_bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    at("bomb png", "bomb.png").write_bytes(bomb_png())
    at("bomb png 16", "bomb16.png").write_bytes(bomb_png(bits=16))
    at("bomb bmp", "bomb.bmp").write_bytes(bomb_bmp())
    image.save(at("wrong format", "picture.ppm"))
    image.save(at("format not allowed", "ppm_inside.png"), format="PPM")
    image.save(at("no permission", "locked.png"))
    zoo["no permission"].chmod(0)
    try:
        at("dangling link", "dangling.png").symlink_to(folder / "nothing_here.png")
        at("link loop", "loop").symlink_to(folder, target_is_directory=True)
    except OSError:  # a system without links
        zoo.pop("dangling link", None)
        zoo.pop("link loop", None)
    return zoo


if __name__ == "__main__":
    for name, path in make_zoo(Path(sys.argv[1])).items():
        print(f"{name:20} {path}")
