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
    dilated_block,
    down,
    gated_down,
    leaky,
    normalise,
    up,
)

TOWERS = ("both", "global", "local")
SCORE_HEADS = ("dense", "tensor")
_SWEEPS = {"fill": 0, "membrane": 2}  # with 2 within .25 dB of the membrane, without 2 dB off
_DILATIONS = (2, 4, 8, 2, 4, 8)


def inpainting_generator(
    base_width,
    form="source",
    norm="batch",
    upsampling="transposed",
    skips=False,
    painting="direct",
    tanh_slope=TANH_SLOPE,
    name="generator",
):
    """Build the generator that paints what fits into a hole.

    Weights count 7,170,275 at base width 16 as it stands here, 2,301,379 as configure.py has it.

    Parameters
    ----------
    base_width : int
        Channels of the last level.
    form : {"source", "gated"}
        "source": five levels, the deepest 16 times as wide as the last one, and convolutions in
        the middle. "gated": three levels of gated convolutions, the deepest 8 times as wide, and
        dilated blocks in the middle, which see as far and keep four times the resolution.
    norm : {"none", "batch", "group", "instance"}
    upsampling : {"transposed", "resize"}
    skips : bool
        Join each level on the way up with its twin on the way down.
    painting : {"direct", "fill", "membrane"}
        "direct": the last layer, squashed, is the patch. Otherwise the hole is first filled
        smoothly (`SmoothFill`), by averages ("fill") or close to harmonically ("membrane"); the
        network sees that, and noise, and corrects it.
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
    seen, filled = given, None
    if painting != "direct":
        holed, hole = given[..., :3], given[..., 3:]
        fill = SmoothFill(sweeps=_SWEEPS[painting], name="fill", dtype="float32")
        filled = fill(holed, 1.0 - hole)  # (B, H, W, 3)
        noise = layers.Multiply(name="noise_inside")([FixedNoise(name="noise")(hole), hole])
        seen = layers.Concatenate(name="seen")([filled, hole, noise])  # (B, H, W, 5)
    build = _gated if form == "gated" else _source
    x, levels, widths = build(seen, w, norm)
    for level in range(len(levels), 0, -1):
        if skips:
            x = layers.Concatenate(name=f"join{level}")([x, levels[level - 1]])
        x = up(x, widths[level - 1], norm, upsampling, f"up{level}")  # (B, H / 2^(level-1), .., ..)
    x = layers.Concatenate(name="join_picture")([x, seen])  # (B, H, W, w + 4 or 5)
    x = layers.Conv2DTranspose(w, 3, padding="same", name="head1")(x)
    x = leaky(normalise(x, norm, "head1"))  # (B, H, W, w)
    # Where a hole is filled to begin with, training begins with just that filling.
    begin = "zeros" if painting == "membrane" else "glorot_uniform"
    head = {"kernel_initializer": begin, "name": "head2", "dtype": "float32"}
    x = layers.Conv2D(3, 3, padding="same", **head)(x)  # (B, H, W, 3)
    if painting == "direct":
        x = Squash(tanh_slope, name="patch", dtype="float32")(x)
    else:
        # Not bounded: a tanh that a bad step has pushed into its flat ends was seen to stay there.
        x = layers.Add(name="patch", dtype="float32")([filled, x])
    return keras.Model(given, x, name=name)


def _source(x, w, norm):
    """Return the deepest features of the form "source", all levels', and the widths on the way up.

    (B, H / 32, W / 32, 16 w), list of (B, H / 2^level, W / 2^level, C), one number a level.
    """
    levels, widths = [], (w, 2 * w, 4 * w, 8 * w, 16 * w)
    for level, width in enumerate(widths, start=1):
        x = down(x, width, f"down{level}")
        levels.append(x)
    for i in range(1, 5):
        x = leaky(layers.Conv2D(16 * w, 3, padding="same", name=f"middle{i}")(x))
    for i in range(5, 9):
        x = layers.Conv2DTranspose(16 * w, 3, padding="same", name=f"middle{i}")(x)
        x = leaky(normalise(x, norm, f"middle{i}"))
    return x, levels, widths


def _gated(x, w, norm):
    """Return the same of the form "gated"; the deepest features are (B, H / 8, W / 8, 8 w)."""
    levels, widths = [], (w, 2 * w, 4 * w)
    for level, width in enumerate(widths, start=1):
        x = gated_down(x, 2 * width, f"down{level}")
        levels.append(x)
    for i, dilation in enumerate(_DILATIONS, start=1):
        x = dilated_block(x, dilation, norm, f"middle{i}")
    return x, levels, widths


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


def with_features(discriminator):
    """Return a discriminator that returns what its layers found besides: [scores, (B, ..), ..].

    It shares the weights. One tensor each LeakyReLU, those of the head's vectors left out.
    """
    found = [x.output for x in discriminator.layers if isinstance(x, layers.LeakyReLU)]
    maps = [x for x in found if len(x.shape) == 4]
    return keras.Model(discriminator.inputs, [discriminator.output, *maps])
