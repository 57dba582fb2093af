"""Learn to take a veil of cloud off a picture, with a generator and a discriminator.

    cloudy (S, S, 3) --> U-Net with max-pooling --> restored (S, S, 3)
    restored, clear --> residual discriminator: one score a picture --> which of the two is real?

The generator learns to make the clear picture, by the L1 distance, and one that the discriminator
takes for real. The veil is noise that is opacity and light of the cloud at once, so that it
darkens bright ground where it is thin; with ``--composite white`` it is white cloud. The best
network is the one whose generator has the lowest loss on pictures held back, where both networks
are used, not trained: their batch norm goes by its averages over the training.

    python mod_GAN_cloud.py            train, or go on training; Ctrl-C stops and saves
    python mod_GAN_cloud.py --fresh    begin anew; the old run moves to History/
    python mod_GAN_cloud.py --help     every setting (they live in configure.py)

In runs/mod_GAN_cloud/: latest.png (look at it), sheets/, log.csv, losses.png (least and greatest of
each loss are marked), tensorboard/, checkpoints/, best.npz. On two CPU cores the first sheet
appears within a minute.

The losses and the step, shared with mod_pix2pix.py, are in util/train/paired.py.

U-Net: O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015; residual networks: K. He, X. Zhang, S. Ren,
J. Sun, CVPR 2016.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

from functools import partial

import tensorflow as tf

from configure import GANCloud
from util import command
from util.measure.judged import VEIL
from util.networks.gan_cloud import pool_unet, residual_discriminator
from util.restore import whole
from util.samples.damage import Samples
from util.samples.ground import open_grounds
from util.samples.veil import veil
from util.task import Task
from util.train import paired
from util.train.state import TrainState

# --- networks ---------------------------------------------------------------------------------


def make_networks(settings):
    """Return the networks of this task, see util/networks/gan_cloud.py."""
    return {
        "generator": pool_unet(settings.base_width, settings.norm, settings.output),
        "discriminator": residual_discriminator(
            settings.discriminator_width, settings.discriminator_blocks, settings.norm
        ),
    }


def make_state(settings):
    """Build networks and optimisers; call within the strategy's scope."""
    rates = {"discriminator": settings.discriminator_rate_share * settings.learning_rate}
    return TrainState.of(make_networks(settings), settings, rates=rates)


# --- samples: what it eats --------------------------------------------------------------------


def samples(settings, progress=True, grounds=None, split=None):
    """Return what to train and to validate with: number -> dict of float32, 0..1.

    cloudy and clear (S, S, 3), opacity (S, S, 1); S is crop_px.
    grounds: the two grounds, where they are not clear_folder's. split: the run's.
    """
    lay = partial(
        veil,
        composite=settings.composite,
        cell_range_px=settings.noise_cell_px,
        layers=settings.noise_octaves,
        persistence=settings.noise_persistence,
    )
    return [Samples(ground, lay) for ground in grounds or open_grounds(settings, progress, split)]


# --- losses and step --------------------------------------------------------------------------


def make(networks, batch, settings, step):
    """Return what the generator makes while it is trained, (B, S, S, 3), and no further loss."""
    return networks["generator"](batch["cloudy"], training=True), {}


def score(networks, batch, picture, training):
    """Return the discriminator's scores of pictures, float32 (B, 1), linear."""
    return networks["discriminator"](picture, training=training)


# --- what a person sees -----------------------------------------------------------------------


def restore(networks, batch, settings):
    """Return the ground without cloud, clipped to 0..1.

    batch: dict with cloudy, float32 (B, H, W, 3), 0..1, H and W multiples of 16.
    """
    return {"restored": tf.clip_by_value(networks["generator"](batch["cloudy"]), 0.0, 1.0)}


def sheet(outputs):
    """Return the columns of a sheet."""
    return {"cloudy": outputs["cloudy"], "clear": outputs["clear"], "made": outputs["restored"]}


TASK = Task(
    name="mod_GAN_cloud",
    settings=GANCloud,
    samples=samples,
    make_networks=make_networks,
    make_state=make_state,
    train_step=partial(paired.train_step, make=make, score=score),
    restore=restore,
    sheet=sheet,
    kind=whole.every_pixel("cloudy"),
    measure=VEIL,
    judge=partial(paired.judge, score=score),
    scored_with=("adversarial_weight", "reconstruction_weight"),
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
