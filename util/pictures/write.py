"""Write a picture whole or not at all."""

from pathlib import Path

import cv2
import numpy as np
import tifffile

from util import files
from util.pictures.pixels import top_of
from util.say import printable


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 or uint16 pixels, RGB (H, W, 3) or grey (H, W), whole or not at all.

    The suffix chooses the format: .png .tif .tiff .bmp without loss (BMP 8-bit only), .jpg .jpeg
    at quality 95 (8-bit only). Raises ValueError for other pixels or suffixes, OSError with the
    path if it cannot be written; the old file, if any, then stays as it was.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    top_of(pixels.dtype)
    if (pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] != 3)) or pixels.size == 0:
        raise ValueError(f"pixels must be (H, W, 3) or (H, W), not {pixels.shape}")
    if suffix not in (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg"):
        raise ValueError(f"cannot write {printable(path)}: use .png, .tif, .bmp or .jpg")
    if suffix in (".bmp", ".jpg", ".jpeg") and pixels.dtype != np.uint8:
        raise ValueError(f"cannot write {printable(path)}: {suffix} holds 8 bits; use .png or .tif")
    if suffix in (".tif", ".tiff"):  # uncompressed, so that a PictureStore can map it
        kind = "rgb" if pixels.ndim == 3 else "minisblack"
        with files.whole(path) as file:
            tifffile.imwrite(file, pixels, photometric=kind, metadata=None)
        return
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in (".jpg", ".jpeg") else []
    order = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    done, code = cv2.imencode(suffix, order, options)
    if not done:
        raise ValueError(
            f"cannot write {printable(path)}: {pixels.shape} does not fit into {suffix}"
        )
    with files.whole(path) as file:
        file.write(code)
