"""Holes lie where they should, are as large as published, and are the same each time."""

import cv2
import numpy as np
import pytest

from util.samples import holes
from util.samples.keys import keyed_rng


def numbered(number, draw=holes.polygon_hole, size_px=128, **options):
    return draw(keyed_rng(0, number, "hole"), size_px, **options)


class KnownCorners:
    """Stand in for a random generator: a polygon's corners, in sides of the picture."""

    def __init__(self, corners):
        self.corners = np.array(corners)

    def uniform(self, low, high, shape):
        assert shape == self.corners.shape
        size_px = low + high  # the margins on both sides are alike
        assert (low, high) == (0.125 * size_px, 0.875 * size_px)
        return size_px * self.corners


def even_odd(corners, size_px):
    """Tell pixel by pixel whether a ray to the right crosses the polygon an odd number of times."""
    y, x = np.mgrid[:size_px, :size_px].astype(float)
    inside = np.zeros((size_px, size_px), bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        if y1 != y2:
            between = (y1 > y) != (y2 > y)
            inside ^= between & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def steps_around(mask):
    """Return a mask that is true within a pixel of an edge of the given one."""
    kernel = np.ones((3, 3), np.uint8)
    mask = mask.astype(np.uint8)
    return cv2.dilate(mask, kernel) != cv2.erode(mask, kernel)


# --- spot ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_px", [32, 64, 128])
def test_spot_is_the_central_rectangle(size_px):
    expected = np.zeros((size_px, size_px, 1), np.float32)
    quarter = size_px // 4
    expected[quarter : 3 * quarter, quarter : 3 * quarter] = 1
    found = numbered(0, holes.spot_hole, size_px)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    assert found.mean() == 0.25


@pytest.mark.parametrize(("share", "side_px"), [(0.25, 16), (0.3, 19), (0.75, 48), (1.0, 64)])
def test_spot_has_the_side_it_is_given_and_is_centred(share, side_px):
    found = numbered(0, holes.spot_hole, 64, side_share=share)[..., 0]
    rows, columns = np.nonzero(found)
    assert found.sum() == side_px**2
    for places in (rows, columns):
        assert np.ptp(places) == side_px - 1
        assert abs((places.min() + places.max()) / 2 - 31.5) <= 0.5


@pytest.mark.parametrize(
    ("place", "corner"), [((0, 0), (0, 0)), ((1, 1), (48, 24)), ((0.5, 0.25), (24, 6))]
)
def test_a_rectangle_has_its_sides_and_its_place(place, corner):
    how = {"side_share": 0.25, "width_share": 0.625, "place": place}
    expected = np.zeros((64, 64, 1), np.float32)
    expected[corner[0] : corner[0] + 16, corner[1] : corner[1] + 40] = 1
    np.testing.assert_array_equal(numbered(0, holes.spot_hole, 64, **how), expected)


def test_a_spot_may_have_the_shape_of_cloud_as_published():
    ramp = np.broadcast_to(np.linspace(0.2, 1.0, 32, dtype=np.float32)[:, None, None], (32, 32, 1))
    how = {"cloud_share": 1.0, "side_share": 0.5}
    found = numbered(0, holes.cloud_or_spot_hole, 32, draw_opacity=lambda rng: ramp, **how)
    np.testing.assert_allclose(found, np.clip((ramp - 0.5) * 4, 0, 1), atol=1e-6)
    square = numbered(0, holes.spot_hole, 32)
    for opacity in (0 * ramp, 0 * ramp + 1):  # nothing hidden, all hidden
        how["draw_opacity"] = lambda rng, opacity=opacity: opacity
        np.testing.assert_array_equal(numbered(0, holes.cloud_or_spot_hole, 32, **how), square)


def test_spot_anywhere_reaches_every_place_and_keeps_its_shape():
    found = [numbered(n, holes.spot_hole, 8, anywhere=True)[..., 0] for n in range(600)]
    corners = set()
    for hole in found:
        rows, columns = np.nonzero(hole)
        assert hole.sum() == 16
        assert (np.ptp(rows), np.ptp(columns)) == (3, 3)
        corners.add((int(rows.min()), int(columns.min())))
    assert corners == {(top, left) for top in range(5) for left in range(5)}


# --- polygon ------------------------------------------------------------------------------------


def test_polygons_cover_what_is_published():
    # Published for 128 pixels: 11.5 % on average, 5 to 95 %: 6.3 to 19.4 %.
    cover = [100 * numbered(n).mean() for n in range(4000)]
    assert np.mean(cover) == pytest.approx(11.5, abs=0.4)  # its standard error is 0.07
    low, high = np.percentile(cover, [5, 95])
    assert low == pytest.approx(6.3, abs=0.3)
    assert high == pytest.approx(19.4, abs=0.8)


@pytest.mark.parametrize("vertices", [3, 5, 9])
def test_a_polygon_is_filled_even_odd_and_united_with_a_circle(vertices):
    for number in range(10):
        corners = keyed_rng(1, number, "corners").uniform(0.125, 0.875, (vertices, 2))
        found = holes.polygon_hole(KnownCorners(corners), 128, vertices, edge_px=1)[..., 0]
        places = np.floor(128 * corners)
        polygon = even_odd(places, 128)
        y, x = np.mgrid[:128, :128]
        circle = np.hypot(x - places[0, 0], y - places[0, 1]) <= 16
        # Which pixels of the outline itself count is a matter of taste.
        edge = steps_around(polygon) | steps_around(circle)
        for start, end in zip(places, np.roll(places, 1, axis=0), strict=True):  # slivers
            line = np.linspace(start, end, 400).round().astype(int)
            edge[line[:, 1], line[:, 0]] = True
        np.testing.assert_array_equal(found[~edge] == 1, (polygon | circle)[~edge])
        assert (~edge).mean() > 0.7


def test_a_star_has_no_middle():
    angles = 2 * np.pi * np.arange(5) * 2 / 5
    corners = 0.5 + 0.37 * np.stack([np.sin(angles), -np.cos(angles)], axis=-1)
    found = holes.polygon_hole(KnownCorners(corners), 256, edge_px=1)[..., 0]
    assert found[128, 128] == 0, "what the outline goes around twice is not missing"
    assert found[60, 128] == 1, "a ray of the star"


def test_polygons_reach_all_of_the_picture_but_its_corners():
    reached = np.max([numbered(n, size_px=64, edge_px=1) for n in range(1500)], axis=0)[..., 0]
    assert reached[8:-8, 3:-3].all(), "the circle goes beyond the margin of the corners"
    assert reached[3:-3, 8:-8].all()
    for turned in (reached, reached[::-1], reached[:, ::-1], reached[::-1, ::-1]):
        assert turned[0, 0] == turned[0, 1] == turned[1, 0] == turned[1, 1] == 0


def test_soft_edges_are_a_box_blur_of_hard_ones():
    for edge_px in (5, 8):
        hard, soft = numbered(3, edge_px=1)[..., 0], numbered(3, edge_px=edge_px)[..., 0]
        assert set(np.unique(hard)) == {0, 1}
        padded = np.pad(hard, 16, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (edge_px, edge_px))
        first = 16 - edge_px // 2
        expected = windows.mean(axis=(2, 3))[first : first + 128, first : first + 128]
        np.testing.assert_allclose(soft, expected, atol=1e-6)
        assert 0.02 < ((soft > 0) & (soft < 1)).mean() < 0.3


def test_what_is_far_from_the_edge_is_exactly_0_or_1():
    for number in range(20):
        hard, soft = numbered(number, edge_px=1), numbered(number, edge_px=7)
        near = cv2.blur(hard, (17, 17))[..., None]
        np.testing.assert_array_equal(soft[near == 0], 0)
        np.testing.assert_array_equal(soft[near > 1 - 1e-6], 1)
        assert soft.max() == 1
        assert soft.dtype == np.float32


def test_a_polygon_without_area_still_has_its_circle():
    found = holes.polygon_hole(KnownCorners([[0.5, 0.5]] * 5), 128, edge_px=1)[..., 0]
    assert found.mean() == pytest.approx(np.pi / 64, rel=0.08)  # radius S / 8
    rows, columns = np.nonzero(found)
    for places in (rows, columns):
        assert (places.min(), places.max()) == (48, 80)


def test_more_vertices_are_drawn_when_asked_for():
    found = {n: numbered(5, vertices=n).tobytes() for n in (3, 4, 5, 8)}
    assert len(set(found.values())) == 4
    assert found[5] == numbered(5).tobytes()


# --- cloud --------------------------------------------------------------------------------------


def test_cloud_hole_is_its_formula():
    opacity = np.float32([0.0, 0.5, 0.6, 0.625, 0.65, 0.725, 1.0])[:, None]
    found = holes.cloud_hole(opacity, 0.6)
    np.testing.assert_allclose(found[:, 0], [0, 0, 0, 0.2, 0.4, 1, 1], atol=1e-5)
    assert found.dtype == np.float32
    assert found.shape == opacity.shape


class Clouds:
    """Draw even opacities from a list, one after the other."""

    def __init__(self, *levels):
        self.levels, self.drawn = levels, 0

    def __call__(self, rng):
        level = self.levels[min(self.drawn, len(self.levels) - 1)]
        self.drawn += 1
        opacity = np.zeros((32, 32, 1), np.float32)
        opacity[: round(32 * level)] = 1.0  # thicker than any threshold
        return opacity


def mixed(number, draw_opacity, cloud_share=1.0, **options):
    return numbered(
        number,
        holes.cloud_or_polygon_hole,
        32,
        cloud_share=cloud_share,
        draw_opacity=draw_opacity,
        **options,
    )


@pytest.mark.parametrize("level", [0.05, 0.3, 0.59])
def test_a_cloud_that_fits_is_taken_at_once(level):
    draw = Clouds(level)
    assert mixed(0, draw).mean() == round(32 * level) / 32
    assert draw.drawn == 1


def test_clouds_that_do_not_fit_are_drawn_again():
    draw = Clouds(0.0, 1.0, 0.7, 0.25)
    assert mixed(0, draw).mean() == 0.25
    assert draw.drawn == 4


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_when_no_cloud_fits_the_hole_is_a_polygon(level):
    draw = Clouds(level)
    found = mixed(0, draw, edge_px=4)
    assert draw.drawn == holes.CLOUD_TRIES
    assert 0.03 < found.mean() < 0.6
    assert ((found > 0) & (found < 1)).any()


def test_half_as_near_each_so_many_pixels_from_the_rim():
    hole = np.zeros((64, 64, 1), np.float32)
    hole[:, 20:] = 1  # from column 20 on: its first pixel lies one from what is known
    found = holes.nearness(hole, 8.0)
    np.testing.assert_array_equal(found[:, :20], 1)
    expected = 0.5 ** (np.arange(1, 45) / 8)
    np.testing.assert_allclose(found[:, 20:, 0], np.tile(expected, (64, 1)), rtol=1e-5)


def test_thresholds_fill_their_range():
    ramp = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32, 1)
    found = [mixed(number, lambda rng: ramp) for number in range(300)]
    # The hole begins at the threshold.
    starts = [float(ramp[hole > 0].min()) for hole in found]
    assert 0.5 <= min(starts) < 0.51
    assert 0.74 < max(starts) <= 0.752
    assert np.mean(starts) == pytest.approx(0.625, abs=0.02)


@pytest.mark.parametrize(("share", "low", "high"), [(0, 0, 0), (0.3, 70, 110), (1, 300, 300)])
def test_clouds_take_their_share(share, low, high):
    draw = Clouds(0.25)
    for number in range(300):
        mixed(number, draw, cloud_share=share)
    assert low <= draw.drawn <= high  # within 2.5 standard deviations of 0.3
    if not share:
        polygon = mixed(0, None, cloud_share=0)
        assert polygon.shape == (32, 32, 1)
