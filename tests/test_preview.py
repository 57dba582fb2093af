"""Small pictures beside large ones: what they show, and that nothing else changes."""

from types import SimpleNamespace

import numpy as np
import pytest
from make_zoo import noise

from util.use.pictures import Way
from util.use.preview import previewed, small


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_small_is_the_mean_of_what_lies_beneath(dtype):
    came = noise(48, 64, dtype)
    white = float(np.iinfo(dtype).max)
    wanted = came.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3)) / white
    np.testing.assert_allclose(small(came, white, 32), wanted, atol=1 / 255)
    np.testing.assert_allclose(small(came, white, 64), came / white, atol=1e-6)
    assert small(came.swapaxes(0, 1), white, 32).shape == (32, 24, 3)
    np.testing.assert_allclose(small(came[..., 0], white, 64)[..., 2], came[..., 0] / white)
    assert small(came, white / 2, 64).max() == 1


def half(pixels, hole, ground, white, bar):
    pixels //= 2
    return {"opacity": np.full(pixels.shape[:2], 51, np.uint8)}


def half_scene(scene, sinks, ground, bar):
    for top in (0, 30):
        rows = scene[top : top + 30, 0:64] // 2
        ground[top : top + 30] = scene[top : top + 30, 0:64] // 3  # a first step's
        sinks[0].write(top, rows)
        sinks[1].write(top, np.full(rows.shape[:2], 51, np.uint8))
    return {"more": 1}


@pytest.fixture
def shown():
    """Return a Way that halves pictures, and a list that grows by what it shows of each."""
    found = []
    way = Way("half", None, "", ("opacity",), None, half, restore_scene=half_scene)
    return previewed(way, 64, lambda *three: (found.append(three), {"kept": 2})[1]), found


def check(found, came):
    (before, after, opacity), *others = found
    assert not others
    np.testing.assert_allclose(before, came / 255, atol=1e-6)
    np.testing.assert_allclose(after, (came // 2) / 255, atol=1e-6)
    np.testing.assert_allclose(opacity, 0.2, atol=1e-6)


def test_a_picture_is_seen_before_and_after(shown):
    way, found = shown
    came = noise(60, 64)
    pixels = came.copy()
    assert way.restore(pixels, None, None, 255.0, None).keys() == {"opacity", "kept"}
    check(found, came)
    np.testing.assert_array_equal(pixels, came // 2)


def test_what_is_no_ground_is_black_unless_it_was_painted(shown):
    way, found = shown
    came, ground, hole = noise(60, 64), np.ones((60, 64), bool), np.zeros((60, 64), bool)
    ground[:, :30], hole[10:20, :20] = False, True
    for missing in (None, hole):
        way.restore(came.copy(), missing, ground, 255.0, None)
    for (before, after, _), known in zip(found, (ground, ground | hole), strict=True):
        np.testing.assert_allclose(before, came * ground[..., None] / 255, atol=1e-6)
        np.testing.assert_allclose(after, (came // 2) * known[..., None] / 255, atol=1e-6)


def test_of_a_scene_what_is_no_ground_is_black(shown):
    way, found = shown
    scene = noise(60, 64).view(Scene)
    scene.white, scene.has_gaps = 255.0, True
    ground = np.ones((60, 64), bool)
    ground[:, :30] = False
    scene.valid = lambda *at: ground[at]
    sinks = [SimpleNamespace(write=lambda top, rows: None)] * 2
    way.restore_scene(scene, sinks, np.zeros((60, 64, 3), np.uint8), None)
    (before, after, _), *_ = found
    np.testing.assert_allclose(before, scene * ground[..., None] / 255, atol=1e-6)
    np.testing.assert_allclose(after, (scene // 2) * ground[..., None] / 255, atol=1e-6)


def test_a_scene_is_seen_too_whatever_becomes_of_the_array_it_works_in(shown):
    way, found = shown
    came, written = noise(60, 64), []
    sinks = [SimpleNamespace(write=lambda top, rows: written.append((top, rows)))] * 2
    scene = came.view(Scene)
    scene.white, scene.has_gaps = 255.0, False
    made = way.restore_scene(scene, sinks, np.zeros_like(came), None)
    assert made == {"more": 1, "kept": 2}
    check(found, came)
    np.testing.assert_array_equal(np.concatenate([r for _, r in written[::2]]), came // 2)


class Scene(np.ndarray):
    """An array that says what white is."""
