"""What do pictures of full size cost: the first start, a crop, memory?

    python benchmarks/reading.py
    python benchmarks/reading.py --tiles 4 --side 5000 --of 180
    python benchmarks/reading.py --small 27000 --tiles 0

Writes tiles as large as those of the Inria data set, made of this project's clear pictures, in
each of three forms: strips (uncompressed), LZW, and tiles of 256 x 256 (uncompressed). A process
of its own opens them as a script does, with an empty cache and again with a full one, and cuts
crops with the settings of mod_defog; "read" is a window of 256 x 256 alone, neither resized nor
varied. Times are the processor's, of one thread; what the whole set takes is extrapolated from its
tiles. With --small as many JPEGs of 64 x 64 in ten folders, as EuroSAT has, are opened for crops of
64. Memory is what the process itself holds: pages of mapped files are the system's, and it takes
them back.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import tifffile
from PIL import Image

from configure import Defog
from util.pictures.find import find_pictures
from util.pictures.read import read_picture
from util.samples.ground import open_grounds
from util.samples.keys import Keys

PROJECT = Path(__file__).resolve().parents[1]
SMALL_PX = 64
WINDOW_PX = 256  # as a crop of 128 pixels has in the middle of ground_zoom

FORMS = {
    "strips": lambda path, pixels: tifffile.imwrite(path, pixels, rowsperstrip=16),
    "LZW": lambda path, pixels: Image.fromarray(pixels).save(path, compression="tiff_lzw"),
    "tiles": lambda path, pixels: tifffile.imwrite(path, pixels, tile=(256, 256)),
}


def own_parts():
    """Return this project's clear pictures of 512 x 512."""
    pictures = map(read_picture, find_pictures(PROJECT / "data/clear"))
    return [pixels for pixels in pictures if pixels.shape == (512, 512, 3)]


def write_tiles(folder, form, options):
    """Write tiles that differ, mosaics of this project's pictures; return the folder."""
    folder.mkdir()
    parts = own_parts()
    rng, count = np.random.default_rng(0), -(-options.side // 512)
    for number in range(options.tiles):
        rows = [
            np.hstack([parts[i] for i in rng.integers(len(parts), size=count)])
            for _ in range(count)
        ]
        pixels = np.vstack(rows)[: options.side, : options.side]
        FORMS[form](folder / f"{number}.tif", np.ascontiguousarray(pixels))
    return folder


def write_small(folder, count):
    """Write so many small tiles into ten folders; return the folder."""
    parts = own_parts()
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class_{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        y, x = rng.integers(512 - SMALL_PX, size=2)
        tile = parts[rng.integers(len(parts))][y : y + SMALL_PX, x : x + SMALL_PX]
        Image.fromarray(tile).save(place / f"{number}.jpg", quality=90)
    return folder


def memory_mb(name):
    """Return what Linux says of this process, such as RssAnon, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def child(folder, cache, crops, crop_px):
    """Print what it takes to open the pictures of a folder and to cut crops, as JSON."""
    settings = replace(Defog(), clear_folder=folder, cache_folder=cache, crop_px=crop_px)
    if crop_px == SMALL_PX:
        settings = replace(settings, validation_by="tile")
    cv2.setNumThreads(1)
    before = time.process_time(), time.perf_counter()
    ground = open_grounds(settings, progress=False)[0]
    opened = time.process_time(), time.perf_counter()
    found = {"start": opened[0] - before[0], "wall": opened[1] - before[1]}
    found["peak"] = memory_mb("VmHWM") - memory_mb("RssFile")
    for number in range(crops // 10):  # what is first touched is read from the disk
        ground(Keys(1, number))
    started = time.process_time()
    for number in range(crops):
        ground(Keys(0, number))
    found["crop"] = (time.process_time() - started) / crops
    rng, store = np.random.default_rng(0), ground.store
    side = min(WINDOW_PX, int(store.sizes.min()))
    boxes = [
        (i, *(int(rng.integers(n - side + 1)) for n in store.sizes[i]), side, side)
        for i in rng.integers(len(store), size=crops)
    ]
    started = time.process_time()
    for box in boxes:
        np.array(store.pixels(*box))
    found["read"] = (time.process_time() - started) / crops
    found["held"] = memory_mb("RssAnon")
    print(json.dumps(found))


def measured(folder, cache, options, crop_px=Defog.crop_px):
    """Return what a new process finds."""
    words = [sys.executable, __file__, "--child", folder, cache, options.crops, crop_px]
    run = subprocess.run(map(str, words), check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", type=int, default=4, help="to be written, of each form")
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--of", type=int, default=180, help="tiles that the whole set has")
    parser.add_argument("--crops", type=int, default=4000)
    parser.add_argument("--small", type=int, default=0, help="tiles of 64 x 64, too")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child[:2], *map(int, options.child[2:]))
        return
    columns = ("first start", f"of {options.of}", "later", "crop ms", "a second", "read us")
    print("".join(f"{name:>15}" for name in ("pictures", *columns, "peak MB", "held MB")))
    with tempfile.TemporaryDirectory(dir=PROJECT) as place:
        place = Path(place)
        own = measured(PROJECT / "data/clear", place / "own", options)
        rows = [
            ("this project's", own, measured(PROJECT / "data/clear", place / "own", options), 1)
        ]
        for form in FORMS if options.tiles else ():
            folder = write_tiles(place / form, form, options)
            found = [measured(folder, place / f"{form} cache", options) for _ in range(2)]
            rows.append((form, *found, options.of / options.tiles))
        if options.small:
            folder, cache = write_small(place / "small", options.small), place / "small cache"
            found = [measured(folder, cache, options, SMALL_PX) for _ in range(2)]
            rows.append((f"{options.small:,} small", *found, 1))
    for name, first, later, times in rows:
        numbers = (
            *(first["start"], times * first["start"], later["start"], 1e3 * later["crop"]),
            *(1 / later["crop"], 1e6 * later["read"], first["peak"], later["held"]),
        )
        print(f"{name:>15}" + "".join(f"{number:15.2f}" for number in numbers))


if __name__ == "__main__":
    main()
