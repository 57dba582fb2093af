"""Lay raindrops over pictures: small lenses on the glass before the camera, out of focus."""

import math

import cv2
import numpy as np

_MOST = 60  # drops on a picture, lest a small radius with much cover take for ever
_BLUR_PX = (1.0, 3.0)  # what is seen in a drop is out of focus by this
_SHRUNK = (1.5, 4.0)  # a drop shows so many times as much of the scene as it hides
_RIM = (0.1, 0.45)  # width of the soft rim, in radii


def raindrops(keys, clear, *, cover, radius_px):
    """Lay drops over a picture: damaged and clear (S, S, 3), drops (S, S, 1), 0 (none) .. 1.

    A drop shows the scene around it upside down and shrunk, blurred, brighter on one side and
    dark at its soft rim.

    Parameters
    ----------
    cover : (float, float)
        Range of the share of the picture that drops take.
    radius_px : (float, float)
        Range of their radii, drawn uniformly in the logarithm.

    References
    ----------
    R. Qian et al., "Attentive generative adversarial network for raindrop removal from a single
    image", CVPR 2018, section 3, for what a drop shows.
    """
    rng, size_px = keys("drops"), len(clear)
    blur_px = rng.uniform(*_BLUR_PX)
    damaged, drops = clear.copy(), np.zeros((size_px, size_px), np.float32)
    left_px = rng.uniform(*cover) * size_px**2
    for _ in range(_MOST):
        if left_px <= 0:
            break
        radius = math.exp(rng.uniform(*np.log(radius_px)))
        left_px -= math.pi * radius**2
        _lay_drop(rng, damaged, drops, clear, radius, blur_px)
    return {"damaged": damaged, "clear": clear, "drops": drops[..., None]}


def _lay_drop(rng, damaged, drops, scene, radius, blur_px):
    """Lay one drop over `damaged` and `drops`, in place."""
    size_px = len(damaged)
    middle, turn, phase = rng.uniform(0, size_px, 2), *rng.uniform(0, 2 * math.pi, 2)
    long, rim, shrunk = rng.uniform(1.0, 1.3), rng.uniform(*_RIM), rng.uniform(*_SHRUNK)
    light, dark = rng.uniform(-0.25, 0.25), rng.uniform(0.1, 0.4)
    reach = radius * 1.3 * (1 + rim)
    first = np.maximum(np.floor(middle - reach), 0).astype(int)
    last = np.minimum(np.ceil(middle + reach), size_px).astype(int)
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    y, x = (
        np.arange(a, b, dtype=np.float32) + 0.5 - np.float32(at)
        for a, b, at in zip(first, last, middle, strict=True)
    )
    y, x = y[:, None], x[None, :]
    # A circle, drawn out downwards, with two bulges.
    angle = np.arctan2(y, x)
    bulges = 0.1 * np.sin(2 * angle + np.float32(turn)) + 0.06 * np.sin(
        3 * angle + np.float32(phase)
    )
    outline = np.float32(radius) * (1 + bulges)
    distance = np.sqrt(x * x + (y / np.float32(long)) ** 2) / outline  # 1 at the outline
    share = _smooth((1 + rim - distance) / (2 * rim))
    # A lens: what is to the left shows on the right, and towards the rim more of it.
    bent = np.float32(-shrunk) * (1 + 0.5 * distance * distance)
    down, across = (
        np.float32(at - 0.5) + bent * along for at, along in ((middle[0], y), (middle[1], x))
    )
    seen = cv2.remap(scene, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    seen = cv2.GaussianBlur(seen, (0, 0), blur_px)
    gain = (1 + np.float32(light) * y / np.float32(radius)) * (
        1 - np.float32(dark) * _smooth((distance - 0.6) / 0.5)
    )
    seen = np.clip(seen * gain[..., None], 0.0, 1.0)
    damaged[box] += (seen - damaged[box]) * share[..., None]
    drops[box] = np.maximum(drops[box], share)


def _smooth(t):
    """Return the smooth step of t: 0 below 0, 1 above 1, float32."""
    t = np.clip(t, 0.0, 1.0).astype(np.float32)
    return t * t * (3.0 - 2.0 * t)
