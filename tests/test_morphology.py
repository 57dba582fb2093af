"""Cells: each sum by itself, also where the last cells are smaller."""

import numpy as np
import pytest

from util.pictures.morphology import cell_sums


@pytest.mark.parametrize("shape", [(1, 1), (6, 8), (7, 9), (300, 20), (5, 7, 3)])
@pytest.mark.parametrize("side_px", [1, 3, 256])
def test_each_cell_is_summed_by_itself(shape, side_px):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = cell_sums(values, side_px)
    tops, lefts = (range(0, side, side_px) for side in shape[:2])
    wanted = [
        [values[t : t + side_px, n : n + side_px].sum(axis=(0, 1), dtype=int) for n in lefts]
        for t in tops
    ]
    np.testing.assert_array_equal(found, wanted)


def test_of_a_mask_pixels_are_counted():
    mask = np.ones((300, 300), bool)
    assert cell_sums(mask, 256).tolist() == [[65536, 256 * 44], [44 * 256, 44 * 44]]
    assert cell_sums(mask, 4, np.float32).dtype == np.float32
