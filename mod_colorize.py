"""Learn to give grey pictures their colours, such as black-and-white aerial photographs.

    grey (S, S, 3) --> lightness L* --> generator: U-Net with self-attention --> colour a*, b*
    restored = the picture's own lightness, the generator's colour
    L*, a*, b* --> three discriminators: full, half and quarter size --> real?

Lightness is all that is left of a colour in a black-and-white archive, so it stays what it was,
and of CIELAB's three numbers only the two for colour are looked for. The generator learns to come
near the true ones; to give the discriminators pictures in which they find the same features as in
real ones; and to be taken for real. Samples are clear pictures without their colours.

Nobody can know the colours that were there: they are those of ground like it, learnt from other
pictures. Train it on colour pictures of the same kind and season.

    python mod_colorize.py            train, or go on training; Ctrl-C stops and saves
    python mod_colorize.py --fresh    begin anew; the old run moves to History/
    python mod_colorize.py --help     every setting (they live in configure.py)
    python mod_colorize.py apply archive --out coloured

In runs/mod_colorize/: latest.png (look at it), sheets/, log.csv, losses.png (losses, PSNR, error
and strength of the colours), tensorboard/, checkpoints/, best.npz.

After E. Wallner's colourisation: P. Isola et al., "Image-to-image translation with conditional
adversarial networks", CVPR 2017; T.-C. Wang et al., "High-resolution image synthesis and semantic
manipulation with conditional GANs", CVPR 2018; H. Zhang et al., "Self-attention generative
adversarial networks", ICML 2019; T. Miyato et al., "Spectral normalization for generative
adversarial networks", ICLR 2018.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

from functools import partial

import tensorflow as tf

from configure import Colorize
from util import command
from util.measure.colour import COLOURS
from util.networks.colorize import colour_generator
from util.networks.lab import lab_from_rgb, rgb_from_lab
from util.networks.multiscale import multi_scale_discriminator
from util.networks.vgg16 import perceptual_loss, vgg16_features
from util.restore import whole
from util.samples.damage import Samples, without_colour
from util.samples.ground import open_grounds
from util.task import Task
from util.train.losses import feature_matching, fooled, judged_fake, judged_real, l1
from util.train.state import TrainState

# --- networks ---------------------------------------------------------------------------------


def make_networks(settings):
    """Return what this task restores with: "generator"."""
    return {
        "generator": colour_generator(
            settings.generator_width,
            settings.levels,
            norm=settings.norm,
            spectral_norm=settings.spectral_norm,
            attention_at=settings.attention_at,
            crop_px=settings.crop_px,
        )
    }


def make_state(settings):
    """Build networks and optimisers, and VGG16 if asked for; call within the strategy's scope."""
    networks = make_networks(settings)
    # Its three scales are one network: they have one optimiser, and stand still together.
    networks["discriminator"] = multi_scale_discriminator(
        settings.discriminator_width,
        spectral_norm=settings.spectral_norm,
        attention=settings.attention_at > 0,
    )
    frozen = {}
    if settings.perceptual_weight:
        file = settings.vgg_weights_file or None
        frozen["features"] = vgg16_features(settings.perceptual_layer, file)
    rates = {"discriminator": settings.discriminator_rate_share * settings.learning_rate}
    return TrainState.of(networks, settings, frozen=frozen, rates=rates)


# --- samples: what it eats --------------------------------------------------------------------


def samples(settings, progress=True, grounds=None, split=None):
    """Return what to train and to validate with: number -> dict of float32, 0..1.

    grey and clear (S, S, 3); S is crop_px.
    grounds: the two grounds, where they are not clear_folder's. split: the run's.
    """
    grounds = grounds or open_grounds(settings, progress, split)
    # What only makes few pictures into many has no place in the validation.
    turns = settings.ground_turn, 0.0
    return [
        Samples(ground, partial(without_colour, turn_degrees=turn))
        for ground, turn in zip(grounds, turns, strict=True)
    ]


# --- losses and step --------------------------------------------------------------------------

# Networks see lightness as 0..1 and colour as about -1..1.
_LIGHTNESS, _COLOUR = 100.0, 128.0

# VGG16 takes 0..255; over this square its features' distance is of the size of the other losses.
_FEATURE_SCALE = 127.5**2


def lightness_of(grey):
    """Return the lightness of pictures (B, H, W, 3), 0..1, as the networks see it."""
    return lab_from_rgb(grey)[..., :1] / _LIGHTNESS


def coloured(lightness, colour):
    """Return the pictures, float32 (B, H, W, 3), 0..1, of what the networks see of them."""
    return rgb_from_lab(tf.concat([lightness * _LIGHTNESS, colour * _COLOUR], axis=-1))


def generator_losses(made, real, fake, batch, state, settings):
    """Return the generator's losses, dict of scalars.

    made, batch["colour"] : float32 (B, S, S, 2)
    real, fake : what the discriminators found in the real and the made pictures
    """
    scales = list(zip(real, fake, strict=True))
    losses = {
        "loss_reconstruction": l1(made, batch["colour"]),
        "loss_features": tf.add_n([feature_matching(a[:-1], b[:-1]) for a, b in scales]),
        "loss_adversarial": tf.add_n([fooled("lsgan", b[-1]) for _, b in scales]),
    }
    total = (
        settings.reconstruction_weight * losses["loss_reconstruction"]
        + settings.feature_weight * losses["loss_features"]
        + settings.adversarial_weight * losses["loss_adversarial"]
    )
    if settings.perceptual_weight:
        features = state.frozen["features"]
        seen = features(coloured(batch["lightness"], made))
        perceptual = perceptual_loss(seen, features(batch["clear"])) / _FEATURE_SCALE
        losses["loss_perceptual"] = perceptual
        total += settings.perceptual_weight * perceptual
    return {"loss_generator": total, **losses}


def train_step(state, batch, settings):
    """Take one step on a batch; return its losses, means over all replicas.

    Both networks are judged as they are before the step; no loss moves the other one's weights.
    """
    generator, discriminator = (state.networks[n] for n in ("generator", "discriminator"))

    def compute(batch):
        lightness = lightness_of(batch["grey"])
        colour = lab_from_rgb(batch["clear"])[..., 1:] / _COLOUR
        batch = {**batch, "lightness": lightness, "colour": colour}
        with tf.GradientTape(persistent=True) as tape:
            # 1. The generator makes colours.
            made = generator(lightness, training=True)
            # 2. The discriminators look at both. One pass a step in training mode is enough, which
            # brings their kernels to norm 1; so both are seen through the same kernels.
            real = discriminator(tf.concat([lightness, colour], axis=-1), training=True)
            fake = discriminator(tf.concat([lightness, made], axis=-1))
            # 3. What each has to say of it.
            found = generator_losses(made, real, fake, batch, state, settings)
            judged = [
                judged_real("lsgan", a[-1]) + judged_fake("lsgan", b[-1])
                for a, b in zip(real, fake, strict=True)
            ]
            found["loss_discriminator"] = tf.add_n(judged)
        gradients = {
            name: tape.gradient(found[f"loss_{name}"], network.trainable_variables)
            for name, network in state.networks.items()
        }
        return gradients, found

    # 4. Move both.
    return state.update(compute, batch).metrics


# --- what a person sees -----------------------------------------------------------------------


def restore(networks, batch, settings):
    """Return the coloured picture, 0..1, of the lightness that came.

    batch: dict with grey, float32 (B, H, W, 3), 0..1, any height and width.
    """
    lightness = lightness_of(batch["grey"])
    return {"restored": coloured(lightness, networks["generator"](lightness))}


def sheet(outputs):
    """Return the columns of a sheet."""
    return {"grey": outputs["grey"], "coloured": outputs["restored"], "true": outputs["clear"]}


TASK = Task(
    name="mod_colorize",
    settings=Colorize,
    samples=samples,
    make_networks=make_networks,
    make_state=make_state,
    train_step=train_step,
    restore=restore,
    sheet=sheet,
    kind=whole.COLOUR,
    measure=COLOURS,
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
