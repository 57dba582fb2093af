"""CIELAB within a network: from RGB and back, for gradients and for export.

L* is 0 (black) .. 100 (white); a* and b*, colour, lie within about -110..110 and are 0 for grey.
RGB is sRGB, 0..1, white is D65. `util.pictures.lab` brings what comes out to whole numbers.
"""

import numpy as np
import tensorflow as tf

# IEC 61966-2-1: linear RGB to XYZ, here as shares of white, so that each row sums to about 1.
_WHITE = np.array([[0.95047], [1.0], [1.08883]])
_TO_XYZ = (
    np.array(
        [
            [0.412453, 0.357580, 0.180423],
            [0.212671, 0.715160, 0.072169],
            [0.019334, 0.119193, 0.950227],
        ]
    )
    / _WHITE
)
_TO_RGB = np.linalg.inv(_TO_XYZ)
_EPSILON, _KAPPA, _SHIFT = 0.008856, 7.787, 16 / 116  # of CIE 15: the cube root's straight start


def lab_from_rgb(rgb):
    """Return L*, a*, b*, float32 (B, H, W, 3), of RGB float32 (B, H, W, 3), 0..1."""
    bent = ((tf.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4
    linear = tf.where(rgb > 0.04045, bent, rgb / 12.92)
    xyz = _mixed(linear, _TO_XYZ)
    root = tf.maximum(xyz, _EPSILON) ** (1 / 3)
    x, y, z = tf.unstack(tf.where(xyz > _EPSILON, root, _KAPPA * xyz + _SHIFT), axis=-1)
    return tf.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def rgb_from_lab(lab):
    """Return RGB, float32 (B, H, W, 3), 0..1, of L*, a*, b*, float32 (B, H, W, 3).

    A colour that no RGB has becomes paler until one does: it moves towards the grey of its
    lightness along the straight line in linear RGB, on which the lightness stays the same.
    """
    lightness, a, b = tf.unstack(lab, axis=-1)
    y = (tf.clip_by_value(lightness, 0.0, 100.0) + 16.0) / 116.0
    bent = tf.stack([y + a / 500.0, y, y - b / 200.0], axis=-1)
    xyz = tf.where(bent > _EPSILON ** (1 / 3), bent**3, (bent - _SHIFT) / _KAPPA)
    grey = xyz[..., 1:2]
    apart = _mixed(xyz, _TO_RGB) - grey
    room = tf.where(apart > 0.0, 1.0 - grey, grey)
    share = tf.reduce_min(room / tf.maximum(tf.abs(apart), 1e-6), axis=-1, keepdims=True)
    linear = tf.clip_by_value(grey + tf.minimum(share, 1.0) * apart, 0.0, 1.0)
    root = 1.055 * tf.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return tf.clip_by_value(tf.where(linear > 0.0031308, root, 12.92 * linear), 0.0, 1.0)


def _mixed(channels, matrix):
    # Not by einsum: of "..." the ONNX converter prints errors, though it converts it.
    return tf.tensordot(channels, tf.constant(matrix, channels.dtype), [[-1], [1]])
