"""Pictures are written whole or not at all; reading gives back what was written."""

import os

import numpy as np
import pytest
from make_zoo import files_in, scene, three

from util.pictures.read import read_picture
from util.pictures.write import write_picture


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_write_and_read_back(tmp_path, suffix, dtype):
    path = tmp_path / f"a{suffix}"
    if suffix == ".bmp" and dtype == np.uint16:
        with pytest.raises(ValueError, match="8 bits"):
            write_picture(path, scene(dtype))
        return
    write_picture(path, scene(dtype))
    assert np.array_equal(read_picture(path), scene(dtype))
    write_picture(path, scene(dtype)[..., 0])
    assert np.array_equal(read_picture(path), three(scene(dtype)[..., 0]))
    assert files_in(tmp_path) == [path.name]


def test_write_jpeg_is_near(tmp_path):
    write_picture(tmp_path / "a.jpg", scene())
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - scene()).mean() < 6


def test_write_refuses_what_it_cannot(tmp_path):
    for path, pixels in (
        ("a.gif", scene()),
        ("a", scene()),
        ("a.png", scene().astype(np.float32)),
        ("a.png", scene()[..., :2]),
        ("a.jpg", scene(np.uint16)),
        ("a.png", scene()[:0]),
    ):
        with pytest.raises(ValueError, match=r"uint8|\(H, W, 3\)|use|8 bits"):
            write_picture(tmp_path / path, pixels)
    many = np.dstack([scene()] * 4)
    for pixels, why in ((many, "12 bands"), (scene().astype(np.float32), "float32")):
        with pytest.raises(ValueError, match=rf"a\.png: \.png holds no {why}; use \.tif"):
            write_picture(tmp_path / "a.png", pixels)
    with pytest.raises(FileNotFoundError, match=r"missing.*a\.png"):
        write_picture(tmp_path / "missing" / "a.png", scene())
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    write_picture(path, scene())
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*a\."):
        write_picture(path, scene()[::-1])
    assert path.read_bytes() == before
    assert files_in(tmp_path) == [path.name]
