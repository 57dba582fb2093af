"""Sample n is the same everywhere: on every start, thread, replica and after every resume."""

import hashlib
import itertools
import os
import subprocess
import sys
import threading
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from util.pictures.pixels import as_float, as_pixels
from util.pictures.store import PictureStore
from util.samples import batches as batches_module
from util.samples.batches import ReusedMemory, batches, stack
from util.samples.clouds import draw_opacity
from util.samples.crops import random_zoom, resize_square, turned
from util.samples.damage import Samples, cloud
from util.samples.ground import Ground
from util.samples.keys import Keys, keyed_rng, shuffled_index

NOISE = {"cell_range_px": (8.0, 40.0), "octaves": 4, "persistence": 0.5, "lacunarity": 2.0}
JITTER = {
    "ground_gain": 0.025,
    "ground_offset": 0.01,
    "opacity_offset": (-0.05, 0.25),
    "cloud_colour": (0.98, 1.0),
    "ground_curve": 0.3,
    "ground_tint": 0.15,
}
STILL = {
    "ground_gain": 0.0,
    "ground_offset": 0.0,
    "opacity_offset": (0.0, 0.0),
    "cloud_colour": (1.0, 1.0),
}


class Pictures:
    """Stand in for a PictureStore: random pictures in memory, strict about what is inside."""

    def __init__(self, sizes, channels=3, seed=0):
        rng = np.random.default_rng(seed)
        self.pictures = [rng.random((*size, channels), dtype=np.float32) for size in sizes]
        self.sizes = np.array(sizes, np.int32)
        self.paths = [Path("scene", f"{index}.png") for index in range(len(sizes))]

    def __len__(self):
        return len(self.pictures)

    def crop(self, index, top, left, height, width):
        picture = self.pictures[index]
        assert 0 <= top <= top + height <= picture.shape[0]
        assert 0 <= left <= left + width <= picture.shape[1]
        return picture[top : top + height, left : left + width]

    def pixels(self, index, top, left, height, width):
        return as_pixels(self.crop(index, top, left, height, width), np.uint16)

    def shows_ground(self, index, top, left, height, width):
        return True


LAYERS = Pictures([(50, 60), (64, 64), (20, 90)], channels=1, seed=1)


def make(
    *,
    seed=0,
    noise_share=0.5,
    clear=None,
    layers=LAYERS,
    jitter=JITTER,
    window=(16, 60),
    crop=32,
    zoom=(0.7, 1.5),
):
    """Return samples of small pictures."""
    ground = Ground(
        clear or Pictures([(40, 50), (33, 32), (64, 64), (80, 35), (32, 32)]),
        seed=seed,
        crop_px=crop,
        zoom=zoom,
        varied={name: value for name, value in jitter.items() if name.startswith("ground")},
    )
    draw = partial(
        draw_opacity,
        layers=layers,
        size_px=crop,
        noise_share=noise_share,
        cloud_window_px=window,
        noise=NOISE,
    )
    colour = {name: jitter[name] for name in ("opacity_offset", "cloud_colour")}
    return Samples(ground, partial(cloud, draw=draw, **colour))


def bits(sample):
    return {name: array.tobytes() for name, array in sample.items()}


def digest():
    """Return a hash over some samples; a crop so large that noise is multiplied in pieces."""
    clear, layers = Pictures([(150, 140), (128, 200)]), Pictures([(200, 150)], channels=1, seed=1)
    sample = make(clear=clear, layers=layers, crop=128, window=(64, 256))
    found = hashlib.sha256()
    for number in (0, 1, 2, 3, 12_345, 10**12):
        for name, array in sorted(sample(number).items()):
            found.update(name.encode() + array.tobytes())
    return found.hexdigest()


# --- a sample -----------------------------------------------------------------------------------


def test_a_new_process_makes_the_same_samples():
    here = Path(__file__).resolve().parent
    # Here NumPy has as many threads as there are cores.
    threaded = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    found = subprocess.run(
        [sys.executable, "-c", "import test_samples; print(test_samples.digest())"],
        env={**os.environ, **threaded, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split()[-1] == digest()


@pytest.mark.parametrize("threads", [2, 8])
def test_any_number_of_threads_makes_the_same_samples(threads):
    numbers = list(range(48))
    alone = [bits(make()(n)) for n in numbers]
    shared = make()
    with ThreadPool(threads) as pool:
        together = pool.map(lambda n: bits(shared(n)), numbers[::-1], chunksize=1)[::-1]
    assert together == alone
    assert len({sample["cloudy"] for sample in alone}) == len(numbers)


def test_another_seed_makes_other_samples():
    assert bits(make(seed=0)(7)) != bits(make(seed=1)(7))


def test_a_sample_is_ground_under_cloud():
    for number in range(20):
        found = make(jitter=STILL)(number)
        assert {name: array.shape for name, array in found.items()} == {
            "cloudy": (32, 32, 3),
            "clear": (32, 32, 3),
            "opacity": (32, 32, 1),
        }
        for array in found.values():
            assert array.dtype == np.float32
            assert array.min() >= 0
            assert array.max() <= 1 + 1e-6
        mixed = found["clear"] * (1 - found["opacity"]) + found["opacity"]
        np.testing.assert_allclose(found["cloudy"], mixed, atol=1e-6)


def test_offset_and_colour_of_cloud_use_their_whole_range_and_no_more():
    half = np.full((1, 1, 1), 0.5, np.float32)
    ranges = {"opacity_offset": (-0.05, 0.25), "cloud_colour": (0.8, 1.0)}
    ground = np.zeros((1, 1, 3), np.float32)
    found = [
        cloud(Keys(6, number), ground, draw=lambda rng: half, **ranges) for number in range(400)
    ]
    shifted = np.array([sample["opacity"] for sample in found])
    colours = np.array([sample["cloudy"] / sample["opacity"] for sample in found])
    for values, (low, high) in ((shifted, (0.45, 0.75)), (colours, (0.8, 1.0))):
        edge = 0.05 * (high - low)
        assert low - 1e-6 <= np.min(values) <= low + edge
        assert high - edge <= np.max(values) <= high + 1e-6
    assert np.ptp(colours, axis=-1).max() > 0.05, "the channels vary together"


def test_cloud_stays_float32_within_0_and_1():
    wild = {"opacity_offset": (-1.0, 1.0), "cloud_colour": (0.0, 1.0)}
    for number in range(50):
        for array in make(jitter=STILL | wild)(number).values():
            assert array.dtype == np.float32
            assert 0 <= array.min() <= array.max() <= 1 + 1e-6


def test_ground_does_not_depend_on_how_the_cloud_is_made():
    noise, pictures = make(noise_share=1, jitter=STILL), make(noise_share=0, jitter=STILL)
    for number in range(8):
        a, b = noise(number), pictures(number)
        np.testing.assert_array_equal(a["clear"], b["clear"])
        assert not np.array_equal(a["opacity"], b["opacity"])


def test_each_part_of_a_sample_has_a_purpose_of_its_own(monkeypatch):
    asked = []

    def record(*key):
        if key[2] != "order of pictures":  # that of a whole epoch
            asked.append(key)
        return keyed_rng(*key)

    monkeypatch.setattr("util.samples.keys.keyed_rng", record)
    make(seed=3)(11)
    assert {key[:2] for key in asked} == {(3, 11)}
    purposes = ("cloud", "ground", "jitter", "light", "picked", "sensor", "shadow")
    assert sorted(key[2] for key in asked) == sorted(purposes)


def test_noise_alone_needs_no_cloud_pictures():
    sample = make(noise_share=1, layers=None)
    assert all(sample(n)["opacity"].max() > 0.5 for n in range(8))


def test_cloud_pictures_alone_draw_no_noise(monkeypatch):
    monkeypatch.setattr("util.samples.clouds.noise_opacity", None)
    assert make(noise_share=0)(0)["opacity"].shape == (32, 32, 1)


def test_half_the_samples_are_noise(monkeypatch):
    drawn = []

    def count(rng, size_px, **options):
        drawn.append(1)
        return np.zeros((size_px, size_px), np.float32)

    monkeypatch.setattr("util.samples.clouds.noise_opacity", count)
    sample = make(noise_share=0.5)
    for number in range(200):
        sample(number)
    assert 70 <= len(drawn) <= 130  # four standard deviations


def test_a_window_larger_than_the_cloud_picture(tmp_path):
    wide = np.random.default_rng(0).integers(0, 255, (40, 90), np.uint8)
    small = np.random.default_rng(1).integers(0, 255, (25, 30), np.uint8)  # padded by the store
    paths = []
    for name, picture in (("wide.png", wide), ("small.png", small)):
        paths.append(tmp_path / name)
        cv2.imwrite(str(paths[-1]), picture)
    layers = PictureStore(paths, tmp_path / "cache", crop_px=32, grey=True, progress=False)
    sample = make(noise_share=0, layers=layers, window=(32, 500))
    for number in range(24):
        assert np.isfinite(sample(number)["opacity"]).all()


# --- keys and order -----------------------------------------------------------------------------


def test_every_argument_of_a_key_counts():
    keys = [
        (0, 0, "cloud"),
        (1, 0, "cloud"),
        (0, 1, "cloud"),
        (0, 0, "ground"),
        (1, 1, "cloud"),
        (2**31 - 1 + 1_000_003, 2**40, "cloud"),
    ]
    draws = [keyed_rng(*key).random(200) for key in keys]
    for a, b in itertools.combinations(draws, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.3
    for key, draw in zip(keys, draws, strict=True):
        np.testing.assert_array_equal(keyed_rng(*key).random(200), draw)


def test_first_numbers_of_neighbouring_keys_are_uniform():
    first = np.sort([keyed_rng(0, n, "cloud").random() for n in range(1000)])
    assert np.abs(first - (np.arange(1000) + 0.5) / 1000).max() < 1.63 / np.sqrt(1000)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_each_picture_comes_once_an_epoch(count):
    for epoch in range(3):
        order = [shuffled_index(5, epoch * count + i, count) for i in range(count)]
        assert sorted(order) == list(range(count))


def test_each_epoch_and_seed_has_an_order_of_its_own():
    orders = {
        tuple(shuffled_index(seed, epoch * 30 + i, 30) for i in range(30))
        for seed in (0, 1)
        for epoch in range(10)
    }
    assert len(orders) == 20


def test_samples_go_through_all_pictures_each_epoch():
    grounds = Pictures([(32, 32)] * 6)
    for level, picture in enumerate(grounds.pictures):
        picture[:] = level / 10
    sample = make(clear=grounds, jitter=STILL)
    seen = [round(10 * float(sample(n)["clear"].mean())) for n in range(18)]
    assert all(sorted(seen[i : i + 6]) == list(range(6)) for i in (0, 6, 12))
    assert len({tuple(seen[i : i + 6]) for i in (0, 6, 12)}) == 3


# --- windows ------------------------------------------------------------------------------------


def test_turned_gives_the_eight_symmetries_of_the_square():
    picture = np.arange(48, dtype=np.float32).reshape(4, 4, 3)
    found = {turned(picture, turn).tobytes() for turn in range(8)}
    expected = {
        np.rot90(side, quarter).tobytes()
        for side in (picture, picture[::-1])
        for quarter in range(4)
    }
    assert found == expected
    assert len(found) == 8
    np.testing.assert_array_equal(turned(picture, 0), picture)


def test_windows_are_inside_and_reach_every_place_and_turn():
    picture = np.arange(5 * 6, dtype=np.uint16).reshape(5, 6, 1)
    store = Pictures([(5, 6)], channels=1)
    store.pictures = [as_float(picture)]
    found = {
        random_zoom(store, 0, keyed_rng(0, number, "g"), 4, (1.0, 1.0)).tobytes()
        for number in range(600)
    }
    picture = as_pixels(store.pictures[0], np.uint16)
    places = [picture[top : top + 4, left : left + 4] for top in (0, 1) for left in (0, 1, 2)]
    expected = {turned(place, turn).tobytes() for place in places for turn in range(8)}
    assert found == expected


def test_a_window_as_large_as_the_picture():
    store = Pictures([(32, 32)])
    found = random_zoom(store, 0, np.random.default_rng(0), 32, (1.0, 1.0))
    expected = as_pixels(store.pictures[0], np.uint16)
    assert np.sort(found.ravel()).tolist() == np.sort(expected.ravel()).tolist()


class Sides(Pictures):
    """Remember the sides of the windows that were cut."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.cut = []

    def crop(self, index, top, left, height, width):
        self.cut.append(height)
        assert height == width
        return super().crop(index, top, left, height, width)


def test_zoomed_windows_fill_the_range_and_come_in_one_size():
    store = Sides([(90, 100)])
    for number in range(300):
        found = random_zoom(store, 0, keyed_rng(0, number, "g"), 32, (0.5, 2.0))
        assert found.shape == (32, 32, 3)
        assert found.dtype == np.uint16
    assert (min(store.cut), max(store.cut)) == (16, 64)
    assert 28 <= np.median(store.cut) <= 36  # uniform in the logarithm: as many below 1 as above


def test_a_zoom_beyond_the_picture_takes_its_shorter_side():
    store = Sides([(40, 100)])
    random_zoom(store, 0, np.random.default_rng(0), 32, (5.0, 5.0))
    assert store.cut == [40]


def test_a_zoom_keeps_the_colours_of_an_even_picture():
    store = Sides([(70, 70)])
    store.pictures[0][:] = [0.0, 0.25, 1.0]
    for zoom in ((0.5, 0.5), (2.0, 2.0)):
        found = as_float(random_zoom(store, 0, np.random.default_rng(0), 32, zoom))
        np.testing.assert_allclose(found, np.broadcast_to([0, 0.25, 1], (32, 32, 3)), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side_px", [20, 32, 50, 63, 64, 65, 129, 200, 515])
def test_resizing_keeps_a_ramp_in_its_place(side_px, channels):
    ramp = ((np.arange(side_px, dtype=np.float32) + 0.5) / side_px)[None, :, None]
    window = np.broadcast_to(ramp, (side_px, side_px, channels))
    found = resize_square(np.ascontiguousarray(window), 32)
    assert found.shape == (32, 32, channels)
    expected = (np.arange(32) + 0.5) / 32
    # Halving an odd side leaves out a row: one pixel of the window, and one of the half.
    tolerance = {20: 5e-3, 65: 0.05, 129: 0.02, 515: 6e-3}.get(side_px, 1e-5)
    np.testing.assert_allclose(found[16, 4:-4, 0], expected[4:-4], atol=tolerance)
    assert (np.diff(found[16, :, 0]) > 0).all()


@pytest.mark.parametrize("side_px", [33, 48, 64, 80, 128, 200])
def test_shrinking_uses_every_pixel(side_px):
    """Finer detail than the result can hold is averaged away, not folded into coarse stripes."""
    noise = np.random.default_rng(0).random((side_px, side_px, 1), np.float32)
    found = resize_square(noise, 32)[..., 0]
    of_areas = cv2.resize(noise, (32, 32), interpolation=cv2.INTER_AREA)
    assert found.std() < 1.25 * of_areas.std()
    assert np.corrcoef(found.ravel(), of_areas.ravel())[0, 1] > 0.75


# --- batches ------------------------------------------------------------------------------------


class Machines:
    """Stand in for a strategy: hand out the pipeline, to be called as each machine would."""

    def distribute_datasets_from_function(self, function):
        return function


def counted(number):
    """Return a sample that shows its number."""
    return {"number": np.full((2, 1), number, np.float32), "square": np.float32([number**2 % 97])}


def global_batches(sample, pipelines, replicas, count, first_step=0, batch_size=8):
    """Return the batches of each step, put together over machines and replicas."""
    pipeline = batches(sample, batch_size=batch_size, first_step=first_step, strategy=Machines())
    pieces = [
        iter(pipeline(tf.distribute.InputContext(pipelines, machine, replicas)))
        for machine in range(pipelines)
    ]
    found = []
    for _ in range(count):
        step = [next(part) for part in pieces for _ in range(replicas // pipelines)]
        found.append({n: np.concatenate([p[n].numpy() for p in step]) for n in step[0]})
    return found


@pytest.mark.parametrize(("pipelines", "replicas"), [(1, 1), (1, 2), (1, 4), (2, 2), (2, 4)])
def test_replicas_and_machines_share_the_same_batches(pipelines, replicas):
    sample = make()
    for step, batch in enumerate(global_batches(sample, pipelines, replicas, 3)):
        expected = stack(sample, range(8 * step, 8 * step + 8))
        assert bits(batch) == bits(expected)
        assert all(array.dtype == np.float32 for array in batch.values())


@pytest.mark.parametrize(("pipelines", "replicas"), [(1, 1), (1, 2), (2, 4)])
@pytest.mark.parametrize("first_step", [1, 3, 5])
def test_resuming_gives_the_batches_that_would_have_come(pipelines, replicas, first_step):
    through = global_batches(counted, pipelines, replicas, first_step + 3)
    resumed = global_batches(counted, pipelines, replicas, 3, first_step)
    assert [bits(b) for b in resumed] == [bits(b) for b in through[first_step:]]


def test_resuming_late_reads_nothing_before():
    read = []

    def sample(number):
        read.append(number)
        return {"number": np.zeros(1, np.float32)}

    global_batches(sample, 1, 1, 1, first_step=10_000_000)
    assert min(n for n in read if n) >= 8 * 10_000_000  # one is read at 0, for its shape


def test_the_default_strategy_gives_whole_batches():
    strategy = tf.distribute.get_strategy()
    batch = next(iter(batches(counted, batch_size=4, first_step=2, strategy=strategy)))
    np.testing.assert_array_equal(batch["number"][:, 0, 0], [8, 9, 10, 11])
    assert batch["number"].shape == (4, 2, 1)


def test_stack_keeps_the_order_of_the_numbers():
    np.testing.assert_array_equal(stack(counted, [5, 2])["number"][:, 0, 0], [5, 2])


# --- memory -------------------------------------------------------------------------------------


def place_of(array):
    """Return where an array's memory begins."""
    return array.__array_interface__["data"][0]


def test_memory_is_given_out_again_only_when_nothing_refers_to_it():
    memory = ReusedMemory()
    first = memory.empty((3, 5))
    corner, where = first[1:, ::2], place_of(first)
    del first
    other = memory.empty((3, 5))
    assert not np.shares_memory(other, corner), "a view still referred to it"
    corner[:] = 7.0
    other[:] = 1.0
    assert (corner == 7.0).all()
    del corner
    again = memory.empty((3, 5))
    assert place_of(again) == where
    assert place_of(memory.empty((3, 6))) not in (where, place_of(other)), "another size"


def test_tensorflow_takes_the_memory_over_as_it_is():
    memory = ReusedMemory()
    given = []

    def fill():
        array = memory.empty((64, 3))
        array[:] = len(given)
        given.append(place_of(array))
        return array

    @tf.function  # outside of one TensorFlow copies
    def draw():
        return tf.numpy_function(fill, [], tf.float32, stateful=True)

    kept = [draw() for _ in range(4)]
    assert [place_of(np.asarray(memoryview(tensor))) for tensor in kept] == given
    assert len(set(given)) == 4, "a tensor still referred to it"
    assert all(start % ReusedMemory.ALIGNMENT == 0 for start in given)
    assert [float(tensor[0, 0]) for tensor in kept] == [0, 1, 2, 3]
    kept.clear()
    for _ in range(20):
        draw()
    assert len(set(given)) < 8


def test_batches_that_are_kept_never_change():
    strategy = tf.distribute.get_strategy()
    made = iter(batches(counted, batch_size=4, first_step=0, strategy=strategy))
    kept = [next(made) for _ in range(30)]
    for step, batch in enumerate(kept):
        np.testing.assert_array_equal(batch["number"][:, 0, 0], range(4 * step, 4 * step + 4))


# --- priority -----------------------------------------------------------------------------------

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="threads have a priority of their own"
)


def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@on_linux
def test_samples_are_made_in_threads_that_step_back():
    before, seen = niceness(), {}

    def sample(number):
        seen[threading.get_native_id()] = niceness()
        return {"number": np.full(1, number, np.float32)}

    strategy = tf.distribute.get_strategy()
    ready = iter(batches(sample, batch_size=4, first_step=0, strategy=strategy))
    for _ in range(3):
        next(ready)
    assert niceness() == before
    assert seen.pop(threading.get_native_id()) == before  # the first sample tells the shapes
    assert set(seen.values()) == {max(10, before)}


@on_linux
@pytest.mark.parametrize(("begun", "expected"), [(None, 10), (15, 15)])
def test_a_thread_steps_back_but_never_forward(begun, expected):
    """Who starts the whole program at a low priority wants it low."""
    found = []

    def work():
        if begun:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(begun, niceness()))
        start = niceness()
        batches_module._step_back()
        found.append((start, niceness()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    ((start, end),) = found
    assert end == max(start, expected)
