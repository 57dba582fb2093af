"""Data sets as they are unpacked, with the commands of docs/data.md: each picture says what it is.

A picture is of one even colour: red says which scene it shows, green which variant of it, blue
which folder it lies in. So each crop tells where it came from, and partners are of one red.
"""

import re
import shlex
from argparse import Namespace

import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image

from configure import Deblur, Defog
from util import command
from util.pictures.find import find_pictures
from util.pictures.pairs import find_pairs
from util.pictures.read import read_picture
from util.samples.ground import open_grounds
from util.samples.keys import Keys
from util.samples.pairs import paired_samples

STEP = 16  # between two values of a band: JPEG changes a colour by less than half of it
CLASSES = ("AnnualCrop", "Forest", "Highway", "River", "SeaLake")
CITIES = ("austin", "chicago", "kitsap", "tyrol-w", "vienna")
# Its authors read the clear pictures from "reference"; others call that folder "label".
T_CLOUD = [f"{side}/{n}" for side in ("train", "test") for n in ("cloud", "reference", "label")]


def in_folders(count, *folders):
    return [(f"{folder}/{n}.png", n, 0) for folder in folders for n in range(count)]


# name of a file, scene, variant
LAYOUTS = {
    "AerialImageDataset": [
        (f"{folder}/{city}{n + 1}.tif", 3 * i + n, 0)
        for folder in ("train/images", "train/gt", "test/images")
        for i, city in enumerate(CITIES)
        for n in range(3)
    ],
    "EuroSAT_RGB": [
        (f"{name}/{name}_{n + 1}.jpg", 3 * i + n, 0)
        for i, name in enumerate(CLASSES)
        for n in range(3)
    ],
    "OTS_ALPHA": [
        *((f"clear/clear_images/{n:04}.jpg", n, 0) for n in range(6)),
        *(
            (f"haze/OTS/{n:04}_{light}_{beta}.jpg", n, 1 + 3 * i + j)
            for n in range(6)
            for i, light in enumerate(("0.8", "0.85", "1"))
            for j, beta in enumerate(("0.04", "0.1", "0.2"))
        ),
    ],
    "SOTS": [
        *((f"outdoor/gt/{n:04}.png", n, 0) for n in range(5)),
        *((f"outdoor/hazy/{n:04}_0.8{n}_0.2.jpg", n, 1) for n in range(5)),
        ("outdoor/hazy/0000_0.95_0.12.jpg", 0, 2),
        *in_folders(5, "indoor/gt", "indoor/hazy"),
    ],
    "RICE2": in_folders(12, "cloud", "label", "mask"),
    "T-CLOUD": in_folders(8, *T_CLOUD),
    "CUHK-CR1": in_folders(8, "train/cloud", "train/label", "test/cloud", "test/label"),
}


def commands():
    """Return the commands of the table of data sets, as lists of words."""
    text = (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")
    table = text.partition("## Data sets by name")[2].partition("\n## ")[0]
    return [shlex.split(line) for line in re.findall(r"`(python .+?)`", table)]


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory):
    """A folder with all data sets, and the folders of each that blue counts."""
    place, folders = tmp_path_factory.mktemp("unpacked"), []
    for name, files in LAYOUTS.items():
        inside = sorted({file.rpartition("/")[0] for file, _, _ in files})
        folders.append([place / name / folder for folder in inside])
        for file, scene, variant in files:
            path = place / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = scene, variant, inside.index(file.rpartition("/")[0])
            quality = {"quality": 95} if path.suffix == ".jpg" else {}
            Image.new("RGB", (64, 64), tuple(STEP * n for n in colour)).save(path, **quality)
    return place, folders


@pytest.fixture
def unpacked(data_sets, monkeypatch):
    """The same; it is where the user is."""
    monkeypatch.chdir(data_sets[0])
    return data_sets


def scene_and_variant(pixels, within, folders):
    """Return which scene, and which variant, pixels show; they come from a folder `within`."""
    values = pixels.reshape(-1, 3).astype(np.float32)
    assert np.ptp(values, axis=0).max() < STEP / 2, "more than one picture"
    scene, variant, place = (round(float(n)) for n in values.mean(axis=0) / STEP)
    mine = next(f for f in folders if any(within in (p, *p.parents) for p in f))
    assert within in (mine[place], *mine[place].parents), "from another folder"
    return scene, variant


def settings_of(words, folder):
    """Return the settings of a training command, as its script makes them."""
    cls = {"mod_defog.py": Defog, "mod_deblurgan.py": Deblur}[words[1]]
    words = [*words[2:], "--cache-folder", str(folder / "cache"), "--crop-px", "64"]
    given = zip(words[::2], words[1::2], strict=True)
    options = {f"setting_{name[2:].replace('-', '_')}": text for name, text in given}
    return command.settings_from(cls, Namespace(**options), [])[0]


def test_every_layout_has_its_command():
    named = {word.split("/")[0] for words in commands() for word in words}
    assert named >= LAYOUTS.keys()
    words = {word for words in commands() for word in words}
    assert words >= {f"T-CLOUD/{folder}" for folder in T_CLOUD}
    assert all(words[1] == "mod_deblurgan.py" for words in EVALUATING), "what was trained above it"


TRAINING = [words for words in commands() if "evaluate" not in words]
EVALUATING = [words for words in commands() if "evaluate" in words]


@pytest.mark.parametrize("words", TRAINING, ids=lambda words: words[3])
def test_training_takes_each_scene_from_its_folder_with_its_partner(words, unpacked, tmp_path):
    place, folders = unpacked
    settings = settings_of(words, tmp_path)
    clear_folder, hazy_folder = (
        place / words[words.index(option) + 1] if option in words else None
        for option in ("--clear-folder", "--hazy-folder")
    )
    seen, variants = [], set()
    for side in (paired_samples if hazy_folder else open_grounds)(settings, progress=False):
        scenes = set()
        for number in range(40):
            if hazy_folder:
                sample = {name: 255 * crop for name, crop in side(number).items()}
                hazy, variant = scene_and_variant(sample["hazy"], hazy_folder, folders)
                variants.add(variant)
                clear = sample["clear"]
            else:
                keys = Keys(side.seed, number)
                clear = side.window(side.store, side.index(keys), keys)
            scene, _ = scene_and_variant(clear, clear_folder, folders)
            assert not hazy_folder or scene == hazy
            scenes.add(scene)
        seen.append(scenes)
    assert not seen[0] & seen[1]
    assert len(seen[0] | seen[1]) == len(find_pictures(clear_folder)), "not all were seen"
    assert not hazy_folder or len(variants) == (9 if "OTS" in words[3] else 1)


@pytest.mark.parametrize("words", EVALUATING, ids=lambda words: words[4])
def test_evaluate_takes_each_picture_with_its_partner(words, unpacked):
    place, folders = unpacked
    damaged, clear = words[words.index("--pairs") + 1 :]
    pairs, lonely = find_pairs(damaged, clear)
    assert not lonely
    assert sum(len(found) for _, found in pairs) == len(find_pictures(damaged))
    for path, found in pairs:
        scene, _ = scene_and_variant(read_picture(path), place / clear, folders)
        for partner in found:
            pixels = read_picture(partner)
            assert scene_and_variant(pixels, place / damaged, folders)[0] == scene
