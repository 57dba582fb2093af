"""Heaps of cloud: how much they cover, how deep they are, and that round towers make them."""

import numpy as np
import pytest

from util.samples import heaps
from util.samples.keys import keyed_rng

HOW = {"cell_range_px": (20.0, 60.0), "cover_range": (0.4, 0.4), "edge_range": (0.5, 0.5)}


def heap(number, size_px=64, **changes):
    found = heaps.heaped_opacity(keyed_rng(0, number, "c"), size_px, **HOW | changes)
    assert (found >= 0).all()
    assert (found <= 1).all()
    return found[..., 0], found[..., 1]


@pytest.mark.parametrize("cover", [0.05, 0.3, 0.7])
def test_heaps_cover_what_was_drawn(cover):
    found = [(heap(n, cover_range=(cover, cover))[0] > 0).mean() for n in range(20)]
    np.testing.assert_allclose(found, cover, atol=0.03)


def test_light_falls_off_with_the_depth_of_the_cloud():
    opacity, height = heap(1)
    seen = (opacity > 0.01) & (opacity < 0.99)
    # Of light a share of exp(-depth) comes through, and the height is the root of the depth.
    depth = -np.log(1 - opacity[seen].astype(np.float64))
    ratios = depth / height[seen].astype(np.float64) ** 2
    assert np.ptp(ratios) < 1e-2 * ratios.mean()


def test_the_deeper_light_gets_the_thinner_is_the_cloud():
    thin, thick = (heap(2, edge_range=(edge, edge))[0] for edge in (2.0, 0.2))
    assert (thin <= thick).all()
    assert thin.mean() < 0.6 * thick.mean()


def test_domes_are_round_and_lean_on_each_other():
    domes = heaps.domes(keyed_rng(0, 3, "c"), 96, 12.0)
    assert domes.max() == pytest.approx(1, abs=0.01)
    assert (domes > 0).mean() > 0.9
    # Steeper at the foot of a dome than on its top, as it is of a ball.
    slope = np.hypot(*np.gradient(domes))
    assert slope[(domes > 0.1) & (domes < 0.4)].mean() > 3 * slope[domes > 0.95].mean()


def test_a_heap_of_any_size_can_be_drawn():
    for size_px in (16, 33, 128):
        opacity, height = heap(4, size_px, cell_range_px=(3.0, 400.0))
        assert opacity.shape == height.shape == (size_px, size_px)
        assert opacity.dtype == np.float32
