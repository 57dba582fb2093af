"""The networks that repaint holes: a generator, and a discriminator with two towers."""

import keras
from keras import layers

from util.networks.blocks import (
    TANH_SLOPE,
    EnlargedDetail,
    FixedNoise,
    ModeProducts,
    SmoothFill,
    Squash,
    bounded,
    down,
    leaky,
    normalise,
    up,
)

TOWERS = ("both", "global", "local")
SCORE_HEADS = ("dense", "tensor")


def inpainting_generator(
    base_width,
    norm="batch",
    upsampling="transposed",
    skips=False,
    painting="direct",
    tanh_slope=TANH_SLOPE,
    name="generator",
):
    """Build the generator that paints what fits into a hole.

    Weights count 7,170,275 at base width 16 with batch norm, transposed convolutions, no skips.

    Parameters
    ----------
    base_width : int
        Channels of the first and last level; the deepest has 16 times as many.
    norm : {"none", "batch", "group", "instance"}
    upsampling : {"transposed", "resize"}
    skips : bool
        Join each level on the way up with its twin on the way down.
    painting : {"direct", "fill"}
        "direct": the last layer, squashed, is the patch. "fill": the hole is first filled
        smoothly (`SmoothFill`); the network sees that, and noise, and corrects it.
    tanh_slope : float
        See `leaky_tanh`.

    Returns
    -------
    keras.Model
        float32 (B, H, W, 4), the picture with its hole zeroed and the hole (1 = missing), ->
        (B, H, W, 3), about 0..1; H and W multiples of 32.
    """
    w = base_width
    given = keras.Input((None, None, 4), name="holed_and_hole")
    seen = given
    if painting == "fill":
        holed, hole = given[..., :3], given[..., 3:]
        filled = SmoothFill(name="fill", dtype="float32")(holed, 1.0 - hole)  # (B, H, W, 3)
        noise = layers.Multiply(name="noise_inside")([FixedNoise(name="noise")(hole), hole])
        seen = layers.Concatenate(name="seen")([filled, hole, noise])  # (B, H, W, 5)
    x, levels = seen, []
    for level, width in enumerate((w, 2 * w, 4 * w, 8 * w, 16 * w), start=1):
        x = down(x, width, f"down{level}")  # (B, H / 2^level, W / 2^level, width)
        levels.append(x)
    for i in range(1, 5):  # all eight: (B, H / 32, W / 32, 16 w)
        x = leaky(layers.Conv2D(16 * w, 3, padding="same", name=f"middle{i}")(x))
    for i in range(5, 9):
        x = layers.Conv2DTranspose(16 * w, 3, padding="same", name=f"middle{i}")(x)
        x = leaky(normalise(x, norm, f"middle{i}"))
    for level, width in zip((5, 4, 3, 2, 1), (16 * w, 8 * w, 4 * w, 2 * w, w), strict=True):
        if skips:
            x = layers.Concatenate(name=f"join{level}")([x, levels[level - 1]])
        x = up(x, width, norm, upsampling, f"up{level}")  # (B, H / 2^(level-1), .., width)
    x = layers.Concatenate(name="join_picture")([x, seen])  # (B, H, W, w + 4 or 5)
    x = layers.Conv2DTranspose(w, 3, padding="same", name="head1")(x)
    x = leaky(normalise(x, norm, "head1"))  # (B, H, W, w)
    x = layers.Conv2D(3, 3, padding="same", name="head2", dtype="float32")(x)  # (B, H, W, 3)
    if painting == "fill":
        # Not bounded: a tanh that a bad step has pushed into its flat ends was seen to stay there.
        x = layers.Add(name="patch", dtype="float32")([filled, x])
    else:
        x = Squash(tanh_slope, name="patch", dtype="float32")(x)
    return keras.Model(given, x, name=name)


def two_tower_discriminator(
    base_width,
    size_px,
    towers="both",
    head="dense",
    spectral_norm=False,
    detail_gain=1.0,
    name="discriminator",
):
    """Build the discriminator that sees the whole picture and, apart from it, the hole's inside.

    The local tower sees the picture with everything outside the hole zeroed, which works for
    holes of any shape. Weights count 1,526,273 at base width 16 and 128 pixels.

    Parameters
    ----------
    base_width : int
        Channels of the first level of each tower.
    size_px : int
        Side of the pictures, a multiple of 32.
    towers : {"both", "global", "local"}
        Which of the two there are.
    head : {"dense", "tensor"}
        "dense" flattens what the towers found. "tensor" keeps its axes and multiplies along each
        of them (`ModeProducts`), with few weights: of a tensor GAN, which is made of nothing else,
        the last layers alone.
    spectral_norm : bool
        Keep the largest singular value of every kernel at 1; see `bounded`.
    detail_gain : float
        By how much both towers see the picture's detail enlarged (`EnlargedDetail`); 1 shows them
        the picture as it is.

    Returns
    -------
    keras.Model
        [float32 (B, S, S, 3), hole (B, S, S, 1)] -> (B, 1): how real, not bounded.
    """
    w = base_width
    picture = keras.Input((size_px, size_px, 3), name="picture")
    hole = keras.Input((size_px, size_px, 1), name="hole")
    shown = picture if detail_gain == 1 else EnlargedDetail(detail_gain, name="detail")(picture)
    sights = {"global": shown, "local": layers.Multiply(name="inside")([shown, hole])}

    found = []
    for tower in ("global", "local") if towers == "both" else (towers,):
        x = sights[tower]
        for level, width in enumerate((w, 2 * w, 4 * w, 8 * w, 16 * w), start=1):
            convolution = layers.Conv2D(
                width, 4, strides=2, padding="same", name=f"{tower}_down{level}"
            )
            x = leaky(
                bounded(convolution, spectral_norm)(x)
            )  # (B, S / 2^level, S / 2^level, width)
        found.append(x)
    x = layers.Concatenate(name="join_towers")(found) if len(found) > 1 else found[0]
    if head == "dense":
        x = layers.Flatten(name="flatten")(x)
        x = leaky(bounded(layers.Dense(w, name="head1"), spectral_norm)(x))  # (B, w)
        x = bounded(layers.Dense(1, name="head2", dtype="float32"), spectral_norm)(x)  # (B, 1)
    else:
        x = leaky(ModeProducts((2, 2, w), name="head1")(x))  # (B, 2, 2, w)
        x = ModeProducts((1, 1, 1), name="head2", dtype="float32")(x)  # (B, 1, 1, 1)
        x = layers.Flatten(name="flatten")(x)  # (B, 1)
    return keras.Model([picture, hole], x, name=name)
