"""Holes of pictures: from mask files, transparent pixels and colours that people really have."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from util.pictures.pixels import PictureError
from util.pictures.read import read_alpha, read_picture
from util.pictures.write import write_picture
from util.restore import masks
from util.say import UserError


def picture(dtype=np.uint8, height=20, width=30):
    """Pixels of which none is black or white."""
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(1, top, (height, width, 3)).astype(dtype)


def corner(height=20, width=30):
    """A hole without symmetry."""
    hole = np.zeros((height, width), bool)
    hole[2:9, 4:20] = True
    return hole


def with_alpha(pixels, hole):
    """RGBA whose pixels are transparent in the hole, and half opaque in its last row."""
    alpha = np.where(hole, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    alpha[8] = np.where(hole[8], alpha.max() // 2, alpha[8])  # below half: still missing
    return np.concatenate([pixels, alpha[..., None]], axis=-1)


# ---- transparent pixels ----


def save_png(path, rgba):
    cv2.imwrite(str(path), rgba[..., [2, 1, 0, 3]])


def save_tiff(path, rgba):
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"])


def save_lzw_tiff(path, rgba):
    Image.fromarray(rgba).save(path, compression="tiff_lzw")


def save_webp(path, rgba):
    Image.fromarray(rgba).save(path, lossless=True, exact=True)


@pytest.mark.parametrize(
    ("name", "save", "dtype"),
    [
        ("a.png", save_png, np.uint8),
        ("a.png", save_png, np.uint16),
        ("a.tif", save_tiff, np.uint8),
        ("a.tif", save_tiff, np.uint16),
        ("a.tif", save_lzw_tiff, np.uint8),
        ("a.webp", save_webp, np.uint8),
    ],
)
def test_transparent_pixels_are_missing(tmp_path, name, save, dtype):
    pixels, hole = picture(dtype), corner()
    save(tmp_path / name, with_alpha(pixels, hole))
    found = masks.Holes().find(tmp_path / name, "a", pixels)
    np.testing.assert_array_equal(found, hole)
    # It fits the picture that the reader of colours returns.
    np.testing.assert_array_equal(read_picture(tmp_path / name)[~hole], pixels[~hole])


def test_transparent_colour_of_a_palette(tmp_path):
    hole = corner()
    image = Image.fromarray(np.where(hole, 3, 1).astype(np.uint8), "P")
    image.putpalette([n for i in range(256) for n in (i, 255 - i, 9)])
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name, transparency=3)
        np.testing.assert_array_equal(read_alpha(tmp_path / name) < 128, hole)


def test_alpha_is_turned_as_its_picture(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(with_alpha(picture(), corner())).save(path, exif=exif)
    alpha = read_alpha(path)
    assert alpha.shape == read_picture(path).shape[:2] == (30, 20)
    np.testing.assert_array_equal(alpha < 128, np.rot90(corner(), -1))


def test_no_alpha_is_none_and_damage_is_an_error(tmp_path):
    for name in ("a.png", "a.tif", "a.bmp"):
        write_picture(tmp_path / name, picture())
        assert read_alpha(tmp_path / name) is None
    four_bands = np.concatenate([picture(), picture()[..., :1]], axis=-1)
    tifffile.imwrite(tmp_path / "nir.tif", four_bands, photometric="rgb", extrasamples=[0])
    assert read_alpha(tmp_path / "nir.tif") is None
    path = tmp_path / "cut.png"
    save_png(path, with_alpha(picture(), corner()))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(PictureError, match=r"cut\.png"):
        read_alpha(path)
    with pytest.raises(PictureError, match="no such file"):
        read_alpha(tmp_path / "none.png")
    with pytest.raises(PictureError, match="max_pixels"):
        read_alpha(tmp_path / "a.png", max_pixels=10) or read_alpha(path, max_pixels=10)


# ---- colours ----


def test_names_and_numbers_of_colours():
    assert masks.colour_of("none") is None
    assert masks.colour_of("Black") == (0, 0, 0)
    assert masks.colour_of("white") == (255, 255, 255)
    assert masks.colour_of("255, 0,127") == (255, 0, 127)
    for wrong in ("", "red", "1,2", "1,2,256", "1,2,-3", "0.5,0,0"):
        with pytest.raises(ValueError, match="r,g,b"):
            masks.colour_of(wrong)
    with pytest.raises(UserError, match="hole_colour = red"):
        masks.Holes(colour="red")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_exactly_the_colour_is_missing(dtype):
    top = np.iinfo(dtype).max
    pixels, hole = picture(dtype), corner()
    for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 51)):
        pixels[hole] = np.array(colour) * (top // 255)
        np.testing.assert_array_equal(masks.of_colour(pixels, colour), hole)
        pixels[2, 4, 1] ^= 1
        assert np.count_nonzero(masks.of_colour(pixels, colour)) == hole.sum() - 1


def test_white_is_full_scale_where_it_is_set():
    pixels, hole = picture(np.uint16) // 7, corner()
    pixels[hole] = 10_000
    np.testing.assert_array_equal(
        masks.of_colour(pixels, (255, 255, 255), full_scale=10_000.0), hole
    )


# ---- mask files ----


def test_masks_by_name_in_any_format(tmp_path):
    place, hole = tmp_path / "masks", corner()
    (place / "sub").mkdir(parents=True)
    white = hole.astype(np.uint8) * 255
    deep = np.repeat(hole[..., None], 3, axis=-1) * np.uint16(40_000)
    write_picture(place / "a.png", white)
    Image.fromarray(hole).save(place / "b.tif")  # 1 bit
    write_picture(place / "sub" / "c.png", deep)
    Image.fromarray(white).save(place / "d.jpg", quality=90)
    holes = masks.Holes(str(place))
    assert holes.files == {p.resolve() for p in place.rglob("*.*")}
    for stem in ("a", "b", "sub/c"):
        found = holes.find(tmp_path / "x.png", stem, picture())
        np.testing.assert_array_equal(found, hole)
    assert np.mean(holes.find(tmp_path / "x.png", "d", picture()) == hole) > 0.95
    with pytest.raises(PictureError, match=r"x\.png: no mask sub/a\.\*"):
        holes.find(tmp_path / "x.png", "sub/a", picture())
    one = masks.Holes(str(place / "a.png"))
    np.testing.assert_array_equal(one.find(tmp_path / "x.png", "any", picture()), hole)
    with pytest.raises(UserError, match="--holes"):
        masks.Holes(str(tmp_path / "nowhere"))


def test_masks_that_cannot_be_meant(tmp_path):
    for name, mask, text in (
        ("ones", corner().astype(np.uint8), "greatest value is 1"),
        ("all", np.full((20, 30), 255, np.uint8), "nothing is left"),
        ("size", np.zeros((30, 20), np.uint8), "20 x 30 pixels, the picture 30 x 20"),
    ):
        write_picture(tmp_path / f"{name}.png", mask)
        with pytest.raises(PictureError, match=text):
            masks.Holes(str(tmp_path)).find(tmp_path / "x.png", name, picture())
    write_picture(tmp_path / "black.png", np.zeros((20, 30), np.uint8))
    assert not masks.Holes(str(tmp_path)).find(tmp_path / "x.png", "black", picture()).any()


def test_a_bad_mask_is_named_with_its_picture_and_one_for_all_is_refused_at_once(tmp_path):
    one = tmp_path / "x_mask.png"
    write_picture(one, corner().astype(np.uint8))
    reason = f"{one}: its greatest value is 1; white, which means missing, is 255"
    with pytest.raises(PictureError) as caught:
        masks.Holes(str(tmp_path)).find(tmp_path / "in" / "x.png", "x", picture())
    assert str(caught.value) == f"{tmp_path / 'in' / 'x.png'}: its mask {reason}"
    with pytest.raises(UserError) as refused:
        masks.Holes(str(one))
    assert str(refused.value) == f"--holes {reason}"


# ---- which of them counts ----


def test_mask_before_alpha_before_colour(tmp_path):
    hole, other = corner(), np.roll(corner(), 5, axis=1)
    pixels = picture()
    pixels[np.roll(hole, 8, axis=0)] = 0
    path, opaque = tmp_path / "x.png", tmp_path / "opaque.png"
    save_png(path, with_alpha(pixels, other))
    save_png(opaque, with_alpha(pixels, np.zeros_like(hole)))
    (tmp_path / "masks").mkdir()
    write_picture(tmp_path / "masks" / "x.png", hole.astype(np.uint8) * 255)

    def found(file, place=None, colour="black"):
        return masks.Holes(place, colour=colour).find(file, "x", pixels)

    np.testing.assert_array_equal(found(path, str(tmp_path / "masks")), hole)
    np.testing.assert_array_equal(found(path), other)
    # An alpha channel that says nothing leaves the word to the colour.
    np.testing.assert_array_equal(found(opaque), np.roll(hole, 8, axis=0))
    assert not found(opaque, colour="none").any()
    write_picture(path, pixels)
    np.testing.assert_array_equal(found(path), np.roll(hole, 8, axis=0))
    with pytest.raises(PictureError, match=r"--holes.*transparent.*hole_colour"):
        found(path, colour="none")


def test_holes_grow_in_all_directions_by_a_disc():
    hole = np.zeros((21, 21), bool)
    hole[10, 10] = hole[0, 0] = True
    rows, columns = np.mgrid[0:21, 0:21]
    for margin in (0, 1, 4):
        near = (rows - 10) ** 2 + (columns - 10) ** 2 <= margin**2
        near |= rows**2 + columns**2 <= margin**2
        np.testing.assert_array_equal(masks.grow(hole, margin), near)
    assert not masks.grow(np.zeros((5, 5), bool), 3).any()
