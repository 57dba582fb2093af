"""What is bright in one ground is laid over another, and stays ground: no cloud changes by it."""

from dataclasses import replace

import numpy as np
import pytest
from test_samples import Pictures

from configure import Defog
from util.samples.damage import Samples, cloud_from
from util.samples.ground import ground_of
from util.samples.keys import keyed_rng
from util.samples.pasted import with_bright_things

DARK = np.full((64, 64, 3), 0.2, np.float32)


def pasted(number, ground, other):
    return with_bright_things(keyed_rng(0, number, "pasted"), ground, other)


def test_a_bright_thing_comes_whole_or_not_at_all_and_nothing_else_does():
    other = DARK + np.float32(0.1)
    other[10:30, 20:40] = [1.0, 0.95, 1.0]
    other[40:44, 40:44] = 1.0  # 16 pixels are too few
    other[50:60, 5:15] = [1.0, 1.0, 0.3]  # yellow: dark in a channel
    thing = np.zeros((64, 64), bool)
    thing[10:30, 20:40] = True
    came = set()
    for number in range(40):
        found = pasted(number, DARK, other)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[~thing], DARK[~thing])
        assert np.ptp(found[thing], axis=0).max() == 0
        assert (found[thing] >= DARK[thing]).all()
        came.add(bool((found[thing] != DARK[thing]).all()))
    assert came == {True, False}  # as white as this one it comes, made darker it may be too dark


def test_it_comes_darker_or_brighter_and_never_all_white():
    other = DARK.copy()
    other[10:30, 20:40] = 0.9
    levels = [pasted(number, DARK, other)[20, 30, 0] for number in range(200)]
    levels = np.array([level for level in levels if level != DARK[0, 0, 0]])
    assert levels.max() == np.float32(0.95)
    assert (levels == levels.max()).any()
    assert (levels < 0.85).any()


def test_as_surely_as_a_pixel_is_bright_it_covers_the_ground():
    other = DARK.copy()
    other[:, :30] = np.linspace(0.3, 1, 64, dtype=np.float32)[:, None, None]
    full = []
    for number in range(20):
        found = pasted(number, DARK, other)
        share = (found[:, 0, 0] - 0.2).clip(0)
        assert (np.diff(share) >= -1e-6).all()
        assert share[0] == 0
        assert share[-1] <= 0.75 + 1e-5
        full.append(share[-1])
    assert max(full) == pytest.approx(0.75, abs=1e-5)  # as white as such things get


def test_of_many_things_some_are_taken():
    other = DARK.copy()
    for row in range(0, 64, 16):
        for column in range(0, 64, 16):
            other[row + 4 : row + 12, column + 4 : column + 12] = 1
    counts = {int((pasted(n, DARK, other)[8::16, 8::16, 0] > 0.9).sum()) for n in range(100)}
    assert counts == {0, 1, 2, 3, 4, 5}


def test_ground_that_would_vanish_stays():
    np.testing.assert_array_equal(pasted(0, DARK, np.ones_like(DARK)), DARK)
    np.testing.assert_array_equal(pasted(0, DARK, np.zeros_like(DARK)), DARK)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_so_many_samples_have_such_things_and_their_cloud_is_that_without(share):
    plain = Defog(crop_px=64, noise_share=1.0, clear_share=1.0, sensor_noise=0.0, jpeg_share=0.0)
    plain = replace(plain, haze_share=0.0, picked_share=0.0, ground_zoom=(1.0, 1.0))
    store = Pictures([(80, 90)])
    store.pictures[0][:] = 0.2
    store.pictures[0][:, 35:50] = 1  # in each window

    def samples(settings):
        return Samples(ground_of(store, settings, training=True), cloud_from(None, settings))

    both = [samples(s) for s in (plain, replace(plain, ground_pasted=share))]
    changed = 0
    for number in range(40):
        without, found = (made(number) for made in both)
        np.testing.assert_array_equal(found["opacity"], without["opacity"])
        np.testing.assert_array_equal(found["cloudy"], found["clear"])  # there is no cloud
        changed += (found["clear"] != without["clear"]).any()
    assert 0.6 * share <= changed / 40 <= 1.4 * share  # where they are not too dark


def test_validation_has_none():
    settings = Defog(crop_px=64, ground_pasted=1.0)
    store = Pictures([(80, 90)])
    assert ground_of(store, settings, training=True).pasted == 1
    assert ground_of(store, settings, training=False).pasted == 0
