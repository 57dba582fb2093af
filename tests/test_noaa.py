"""Colour infrared: the opacity that pictures were drawn of comes back, and lines leave no trace."""

import cv2
import numpy as np
import pytest

from util.prepare import noaa
from util.samples.clouds import noise_opacity
from util.say import UserError

SIDE_PX = 240


def drawn_by_noaa(opacity):
    """Return a picture of opacity: grey from 60 on, from the middle on yellow to red."""
    value = np.rint(opacity * 255)
    green = np.where(value <= 128, 60 + value, 316 - value)
    red, blue = np.where(value <= 128, green, 240), np.where(value <= 128, green, 0)
    return np.stack([red, green, blue], -1).clip(0, 255).astype(np.uint8)


def rainbow(count=200):
    """Return a table from dark blue over cyan, green and yellow to dark red."""
    corners = np.array([[0, 0, 90], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0]])
    corners = np.vstack([corners, [[255, 0, 0], [90, 0, 0]]])
    at = np.linspace(0, 6, count)
    return np.stack([np.interp(at, range(7), band) for band in corners.T], -1).astype(np.float32)


def drawn_by_table(opacity):
    table = rainbow()
    return np.rint(table[np.rint(opacity * (len(table) - 1)).astype(int)]).astype(np.uint8)


def with_lines(pixels, width_px, smooth):
    """Return pixels with white lines over them, and where these are."""
    lines, kind = np.zeros(pixels.shape[:2], np.uint8), cv2.LINE_AA if smooth else cv2.LINE_8
    corners = (np.random.default_rng(5).random((5, 2)) * SIDE_PX).astype(np.int32)
    cv2.polylines(lines, [corners], False, 255, width_px, kind)
    cv2.ellipse(lines, (120, 120), (60, 40), 30, 0, 360, 255, width_px, kind)
    share = lines[..., None] / 255
    return np.rint(pixels * (1 - share) + 255 * share).astype(np.uint8), lines > 0


def through_jpeg(pixels, quality):
    _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("quality", [75, 85, 95])
@pytest.mark.parametrize("draw", [drawn_by_noaa, drawn_by_table])
def test_drawn_opacity_comes_back_from_beneath_lines_and_jpeg(draw, quality):
    table = rainbow() if draw is drawn_by_table else None
    for seed, (width_px, smooth) in enumerate([(1, False), (1, True), (2, True), (3, True)]):
        rng = np.random.default_rng(seed)
        opacity = noise_opacity(rng, SIDE_PX, (40.0, 240.0), octaves=4)
        pixels, lines = with_lines(draw(opacity), width_px, smooth)
        pixels = through_jpeg(pixels, quality)
        error = np.abs(noaa.opacity_of(pixels, table) - opacity)
        beneath = cv2.dilate(lines.astype(np.uint8), np.ones((5, 5))) > 0
        assert error.mean() < 0.03
        assert error[beneath].mean() < 0.06
        left = np.abs(noaa.opacity_of(pixels, table, line_px=0) - opacity)[beneath].mean()
        assert error[beneath].mean() < left


def test_every_step_of_noaas_colours():
    value = np.arange(256)
    found = noaa.by_noaa(drawn_by_noaa(value[None] / 255))[0] * 255
    np.testing.assert_allclose(found, value, atol=1e-4)
    # Beyond both ends, and on both sides of where red is 5 above blue.
    colours = [[20, 20, 20], [255, 255, 255], [255, 10, 0], [104, 100, 100], [105, 100, 100]]
    found = [noaa.by_noaa(np.array([[colour]], np.uint8)).item() * 255 for colour in colours]
    np.testing.assert_allclose(found, [0, 135, 255, 40, 216], atol=1e-4)


def test_colour_that_jpeg_has_carried_over_is_no_thick_cloud():
    pixels = drawn_by_noaa(np.array([[1.0, 0.5, 0.2, 0.2]]))
    pixels[0, 2, 2] -= 20  # yellowish
    found = noaa.by_noaa(pixels)[0] * 255
    np.testing.assert_allclose(found, [255, 128, 51, 51], atol=0.51)


def test_the_nearest_colour_of_a_table():
    table = np.array([[0, 0, 0], [0, 0, 200], [250, 0, 0]], np.float32)
    pixels = np.array([[[9, 9, 9], [3, 5, 255], [255, 40, 0], [0, 0, 99]]], np.uint8)
    np.testing.assert_array_equal(noaa.by_table(pixels, table), [[0, 0.5, 1, 0]])


def test_lines_are_thin_and_white():
    pixels = np.full((60, 80, 3), 90, np.uint8)
    pixels[:, 10:13] = 255
    pixels[20:40, 30:50] = 255  # a field
    pixels[:, 60:63] = 255, 230, 0  # thin and bright, and a colour of the table
    found = noaa.lines_of(pixels, 3)
    assert found[:, 10:13].all()
    assert not found[:, 16:].any()
    assert not noaa.lines_of(np.full((60, 80, 3), 255, np.uint8), 3).any()


def test_16_bits_are_8_bits_finer():
    pixels = drawn_by_noaa(np.linspace(0, 1, 64).reshape(8, 8))
    deep = pixels.astype(np.uint16) * 257
    np.testing.assert_array_equal(noaa.opacity_of(deep), noaa.opacity_of(pixels))


def test_a_table_is_read_from_a_text_file(tmp_path):
    file = tmp_path / "table.txt"
    file.write_text("# warm\n0 0 0\n\n 10, 20;30.5  # half\n255 255 255\n")
    np.testing.assert_array_equal(
        noaa.read_table(file), np.float32([[0, 0, 0], [10, 20, 30.5], [255, 255, 255]])
    )
    file.write_text("0 0 0\n9 9 9\n", encoding="utf-8-sig")
    assert noaa.read_table(file).tolist() == [[0, 0, 0], [9, 9, 9]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"0 0 0\n1 2\n", "line 2 must be"),
        (b"0 0 0\n1 2 256\n", "line 2 must be"),
        (b"0 0 0\n1 2 nan\n", "line 2 must be"),
        (b"red\n", "line 1 must be"),
        (b"0 0 0\n", "holds 1 colours"),
        (b"\xff\xfe", "is no text"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, content, why):
    file = tmp_path / "table.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"--table .*table.txt: {why}"):
        noaa.read_table(file)
    with pytest.raises(UserError, match="No such file"):
        noaa.read_table(tmp_path / "none.txt")
