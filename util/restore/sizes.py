"""Restore a picture at its own size and at twice that, and take the mean.

Of a clean picture a network sees more where it is enlarged: small and half-transparent cloud come
out better, in five times the time. JPEG's blocks and noise are enlarged as well, and with them a
picture comes out a little worse (docs/results.md).
"""

import tensorflow as tf

from util.networks.unet import HIDDEN_FROM, KNOWN_BELOW

# What a network throws away at a tile's edge (`apply_margin_px`), where it is enlarged.
_REACH_PX = 80
_STRIDE_PX = 16  # enlarged, the networks' stride of 32
# What either size finds clear is clear: below this the cloud of both is believed less and less.
_TRUSTED_FROM = 0.02
# But what is surely hidden at its own size is, whatever is found at twice that: real cumulus was
# left there, white, and samples lose nothing.
_SURE_FROM, _SURE_FADE = 0.85, 0.1


def over_sizes(restore, batch):
    """Return what is found in a batch at its own size and at twice that, as one.

    Parameters
    ----------
    restore : callable
        dict with cloudy, float32 (B, H, W, 3), 0..1 -> dict with restored (B, H, W, 3) and
        found_opacity (B, H, W, 1), 0..1.
    batch : dict with cloudy
        H and W are multiples of 32 and at least 64.
    """
    cloudy = tf.convert_to_tensor(batch["cloudy"])
    own, large = restore({"cloudy": cloudy}), _enlarged(restore, cloudy)
    opacity = (own["found_opacity"] + large["found_opacity"]) / 2
    sure = tf.clip_by_value((own["found_opacity"] - _SURE_FROM) / _SURE_FADE, 0.0, 1.0)
    opacity += sure * tf.maximum(own["found_opacity"] - opacity, 0.0)
    # What is hidden is filled from what is near, and enlarged nothing is.
    seen = tf.clip_by_value((HIDDEN_FROM - opacity) / (HIDDEN_FROM - KNOWN_BELOW), 0.0, 1.0)
    ground = own["restored"] + seen / 2 * (large["restored"] - own["restored"])
    least = tf.minimum(own["found_opacity"], large["found_opacity"])
    trust = tf.maximum(tf.minimum(least / _TRUSTED_FROM, 1.0), sure)
    restored = tf.clip_by_value(cloudy + trust * (ground - cloudy), 0.0, 1.0)
    return {"restored": restored, "found_opacity": trust * opacity}


def _enlarged(restore, cloudy):
    """Return what is found at twice the size, in quarters, which need the memory of one picture."""
    height, width = cloudy.shape[1:3]
    rows = []
    for seen, kept in _halves(height):
        parts = []
        for across, stays in _halves(width):
            found = _twice(restore, cloudy[:, seen, across])
            parts.append({name: part[:, kept, stays] for name, part in found.items()})
        rows.append({name: tf.concat([p[name] for p in parts], axis=2) for name in parts[0]})
    return {name: tf.concat([row[name] for row in rows], axis=1) for name in rows[0]}


def _halves(side_px):
    """Return the halves of a side: what is seen for each, and what of that is kept, slices."""
    middle = side_px // 2 // _STRIDE_PX * _STRIDE_PX
    if middle <= 2 * _REACH_PX:  # the overlap would be more than the picture
        return [(slice(0, side_px), slice(0, side_px))]
    return [
        (slice(0, middle + _REACH_PX), slice(0, middle)),
        (slice(middle - _REACH_PX, side_px), slice(_REACH_PX, _REACH_PX + side_px - middle)),
    ]


def _twice(restore, cloudy):
    """Return what is found at twice the size, as large as the picture."""
    height, width = cloudy.shape[1:3]
    large = tf.image.resize(cloudy, (2 * height, 2 * width), method="bicubic")
    large = tf.clip_by_value(large, 0.0, 1.0)
    found = {name: _halved(picture) for name, picture in restore({"cloudy": large}).items()}
    found["restored"] += cloudy - _halved(large)  # the detail that this has lost
    return found


def _halved(pictures):
    return tf.nn.avg_pool2d(pictures, 2, 2, "VALID")
