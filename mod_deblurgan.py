"""Learn to take haze off a picture, with a DeblurGAN.

    hazy (S, S, 3) --> generator: down, residual blocks, up --> restored (S, S, 3)
    restored, clear --> VGG16, up to its third block --> alike in what it sees?
    restored, clear --> critic: a map of scores, one a patch --> which of the two is real?

The generator finds how opaque the haze is and its light, takes it off by the scattering model, and
corrects the rest (output "light"). It learns to make pictures in which VGG16 sees what it sees in
the clear ones, and whose pixels are theirs; the critic keeps them from looking made. The critic
updates several times a step, on the pictures that the generator has just made. (The published code
has it learn first: critic_turn.) Haze is laid over the clear pictures by the same model,
``clear * t + airlight * (1 - t)``, ``t = exp(-beta * depth)``, in banks, tinted, denser in blue,
by way of files and sensors; or it comes from a folder of hazy pictures (hazy_folder), such as
RESIDE's.

    python mod_deblurgan.py            train, or go on training; Ctrl-C stops and saves
    python mod_deblurgan.py --fresh    begin anew; the old run moves to History/
    python mod_deblurgan.py --help     every setting (they live in configure.py)

In runs/mod_deblurgan/: latest.png (look at it), sheets/, log.csv, losses.png (with the scores of
the dark channel prior beside the network's), tensorboard/, checkpoints/, best.npz. On two CPU cores
the first sheet appears within a minute.

O. Kupyn et al., "DeblurGAN: blind motion deblurring using conditional adversarial networks",
CVPR 2018; its critic here by I. Gulrajani et al., "Improved training of Wasserstein GANs", 2017.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

from functools import partial

import tensorflow as tf

from configure import Deblur
from util import command
from util.measure.evaluation import HAZE
from util.networks.deblurgan import generator, patch_critic, source_critic
from util.networks.dropout import dropout_key, made_by
from util.networks.patchgan import FIELDS_PX
from util.networks.vgg16 import perceptual_loss, vgg16_features
from util.restore import whole
from util.samples.damage import Samples, haze_from
from util.samples.ground import open_grounds
from util.samples.pairs import depth_from, paired_samples
from util.task import Task
from util.train.adversarial import of_this_replica, penalised, train_critic
from util.train.losses import fooled, judged_fake, judged_real, l1
from util.train.state import TrainState

# --- networks ---------------------------------------------------------------------------------


def make_networks(settings):
    """Return what this task restores with, see util/networks/deblurgan.py: "generator"."""
    return {
        "generator": generator(
            settings.generator_width,
            settings.blocks,
            norm=settings.norm,
            dropout=settings.dropout,
            head=settings.output,
            tanh_slope=settings.tanh_slope,
        )
    }


def make_critic(settings):
    """Return the critic, which only training needs."""
    how = {
        "width": settings.critic_width,
        "norm": settings.critic_norm,
        "centred": settings.critic_centred,
        "sigmoid": settings.adversarial == "source",
    }
    if settings.critic == "patch":
        return patch_critic(levels=FIELDS_PX[settings.field_px] - 1, **how)
    return source_critic(settings.crop_px, **how)


def make_state(settings):
    """Build networks, optimisers and VGG16; call within the strategy's scope."""
    networks = make_networks(settings) | {"critic": make_critic(settings)}
    raw = settings.perceptual_input == "raw"
    features = vgg16_features(settings.perceptual_layer, settings.vgg_weights_file or None, raw)
    rates = {"critic": settings.discriminator_rate_share * settings.learning_rate}
    return TrainState.of(networks, settings, frozen={"features": features}, rates=rates)


# --- samples: what it eats --------------------------------------------------------------------


def samples(settings, progress=True, grounds=None, split=None):
    """Return what to train and to validate with: number -> dict of float32, 0..1.

    hazy and clear (S, S, 3); S is crop_px. From pairs where hazy_folder is set.
    grounds: the two grounds, where they are not clear_folder's. split: the run's.
    """
    if grounds is None and settings.hazy_folder:
        return paired_samples(settings, progress, split)
    # Depth maps belong to the pictures of clear_folder.
    mapped = grounds is None
    grounds = grounds or open_grounds(settings, progress, split)
    depths = [depth_from(ground, settings, progress) if mapped else None for ground in grounds]
    return [
        Samples(ground, haze_from(depth, settings))
        for ground, depth in zip(grounds, depths, strict=True)
    ]


# --- losses and step --------------------------------------------------------------------------

# VGG16 takes 0..255, the published code gave it -1..1. Its features grow with its input, so over
# this square their distance comes near that code's size. It was measured to be .16 to .23 of it: at
# -1..1 the biases of VGG16 count most, so no factor makes one of the other.
_FEATURE_SCALE = 127.5**2


def form_of(settings):
    """Return what util/train/losses.py calls the form of the adversarial loss."""
    return "unconstrained" if settings.adversarial == "source" else settings.adversarial


def generator_losses(state, batch, wanted, settings):
    """Return the generator's losses, dict of scalars, and the pictures that it made.

    wanted: the features of the clear pictures.
    """
    key = dropout_key(settings.seed, state.step)
    made = made_by(state.networks["generator"], batch["hazy"], key)
    adversarial = fooled(form_of(settings), state.networks["critic"](made, training=True))
    perceptual = perceptual_loss(state.frozen["features"](made), wanted)
    if settings.perceptual_input == "scaled":
        perceptual /= _FEATURE_SCALE
    reconstruction = l1(made, batch["clear"])
    losses = {
        "loss_generator": settings.perceptual_weight * perceptual
        + settings.adversarial_weight * adversarial
        + settings.reconstruction_weight * reconstruction,
        "loss_perceptual": perceptual,
        "loss_adversarial": adversarial,
        "loss_reconstruction": reconstruction,
    }
    return losses, made


def update_generator(state, batch, settings):
    """Move the generator; return its losses, and what it made, joined over all replicas."""

    def compute(batch):
        # 1. The generator makes pictures: does VGG16 see what it sees in the clear ones, are their
        # pixels near, does the critic take them for real?
        wanted = state.frozen["features"](batch["clear"])  # no gradient goes through these
        with tf.GradientTape() as tape:
            found, made = generator_losses(state, batch, wanted, settings)
        weights = state.networks["generator"].trainable_variables
        gradients = {"generator": tape.gradient(found["loss_generator"], weights)}
        return gradients, found, {"made": made}

    # 2. Move the generator.
    metrics, pictures = state.update(compute, batch)
    return metrics, pictures["made"]


def update_critic(state, batch, made, settings):
    """Move the critic several times, to tell clear pictures from those made; return its losses.

    made: what the generator made while it was trained, joined over all replicas. None: it makes
    them now, as it is used, and the critic learns first what is clear, then what is made.
    """
    form, critic = form_of(settings), state.networks["critic"]

    def moved_by(real, fake):
        """Return ``compute(batch, key)`` of an update that learns of these."""

        def compute(batch, key):
            clear, loss, found = batch["clear"], 0.0, {}
            made_here = batch["made"] if made is None else of_this_replica(made)
            with tf.GradientTape() as tape:
                if real:
                    loss += judged_real(form, critic(clear, training=True))
                if fake:
                    loss += judged_fake(form, critic(made_here, training=True))
                found["loss_critic"] = loss
                if fake and form == "wgan-gp":
                    penalty = penalised(critic, clear, made_here, key)
                    loss += settings.gradient_penalty_weight * penalty
                    found["gradient_penalty"] = penalty
            return {"critic": tape.gradient(loss, critic.trainable_variables)}, found

        return compute

    how = {"name": "critic", "form": form}
    if made is not None:
        return train_critic(state, batch, moved_by(True, True), settings, **how)
    use = partial(made_by, state.networks["generator"])
    batch = {**batch, "made": state.strategy.run(use, (batch["hazy"],))}
    how["then"] = moved_by(False, True)
    return train_critic(state, batch, moved_by(True, False), settings, **how)


def train_step(state, batch, settings):
    """Take one step on a batch; return its losses, means over all replicas."""
    if not settings.adversarial_weight:
        return update_generator(state, batch, settings)[0]  # nobody listens to the critic
    if settings.critic_turn == "before":
        of_critic = update_critic(state, batch, None, settings)
        return {**update_generator(state, batch, settings)[0], **of_critic}
    metrics, made = update_generator(state, batch, settings)
    return {**metrics, **update_critic(state, batch, made, settings)}


# --- what a person sees -----------------------------------------------------------------------


def restore(networks, batch, settings):
    """Return the picture without haze, clipped to 0..1.

    batch: dict with hazy, float32 (B, H, W, 3), 0..1, any height and width.
    """
    restored = made_by(networks["generator"], batch["hazy"])
    return {"restored": tf.clip_by_value(restored, 0.0, 1.0)}


def sheet(outputs):
    """Return the columns of a sheet."""
    return {"hazy": outputs["hazy"], "dehazed": outputs["restored"], "clear": outputs["clear"]}


TASK = Task(
    name="mod_deblurgan",
    settings=Deblur,
    samples=samples,
    make_networks=make_networks,
    make_state=make_state,
    train_step=train_step,
    restore=restore,
    sheet=sheet,
    kind=whole.every_pixel("hazy"),
    measure=HAZE,
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
