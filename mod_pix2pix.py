"""Learn to turn one picture into another from pairs of them: to take raindrops off, to begin with.

    damaged (S, S, 3) --> U-Net down to a few pixels --> restored (S, S, 3)
    damaged and restored, damaged and clear --> PatchGAN --> a map of scores: which pair is real?

The generator learns to make the clear picture, by the L1 distance, and one that the discriminator
takes for real beside the damaged one; each score sees a square of field_px pixels. It also finds
what is damaged, and leaves the rest as it came (``--output found``; the published one paints all of
the picture anew: ``--output direct``, for pairs of other kinds as well). Raindrops, small
lenses that are out of focus, are laid over the clear pictures; or pairs come from folders:
damaged_folder beside clear_folder, or pairs_folder with files A|B, in either direction.

    python mod_pix2pix.py            train, or go on training; Ctrl-C stops and saves
    python mod_pix2pix.py --fresh    begin anew; the old run moves to History/
    python mod_pix2pix.py --help     every setting (they live in configure.py)

In runs/mod_pix2pix/: latest.png (look at it), sheets/, log.csv, losses.png, tensorboard/,
checkpoints/, best.npz. On two CPU cores the first sheet appears within a minute.

The published network is used as it is trained: with dropout and with the statistics of the picture
in hand (used_as_trained). A large picture is restored in tiles, whose statistics differ, which may
show as seams; the default has no norm, and no dropout when it is used. Batch norm with averages
over the training instead (norm batch) is unsteady: the innermost levels have few values a batch.
Dropout depends on the place alone.

P. Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017. The
losses and the step, shared with mod_GAN_cloud.py, are in util/train/paired.py.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

from functools import partial

import tensorflow as tf

from configure import Pix2pix
from util import command
from util.measure.judged import DROPS
from util.networks.dropout import dropout_key, made_by
from util.networks.patchgan import patchgan
from util.networks.pix2pix import first_kernel, translator
from util.restore import whole
from util.samples.damage import Samples
from util.samples.ground import open_grounds
from util.samples.pairs import paired_samples, side_by_side_samples
from util.samples.raindrops import raindrops
from util.task import Task
from util.train import paired
from util.train.losses import hole_l1
from util.train.state import TrainState

# --- networks ---------------------------------------------------------------------------------


def make_networks(settings):
    """Return what this task restores with, see util/networks/pix2pix.py: "generator"."""
    return {
        "generator": translator(
            settings.generator_width,
            settings.levels,
            norm=settings.norm,
            dropout=settings.dropout,
            used_as_trained=settings.used_as_trained,
            output=settings.output,
            upsampling=settings.upsampling,
            tanh_slope=settings.tanh_slope,
        )
    }


def make_state(settings):
    """Build networks and optimisers; call within the strategy's scope."""
    networks = make_networks(settings)
    networks["discriminator"] = patchgan(
        settings.field_px,
        settings.discriminator_width,
        channels=6,
        norm=settings.norm,
        initializer=first_kernel,
    )
    rates = {"discriminator": settings.discriminator_rate_share * settings.learning_rate}
    return TrainState.of(networks, settings, rates=rates)


# --- samples: what it eats --------------------------------------------------------------------


def samples(settings, progress=True, grounds=None, split=None):
    """Return what to train and to validate with: number -> dict of float32, 0..1.

    damaged and clear (S, S, 3), and drops (S, S, 1) where they were drawn; S is crop_px.
    grounds: the two grounds, where they are not clear_folder's. split: the run's.
    """
    if grounds is None and (settings.pairs_folder or settings.damaged_folder):
        names = ("damaged", "clear")[:: 1 if settings.direction == "a_to_b" else -1]
        if settings.pairs_folder:
            how = {"setting": "pairs_folder", "names": names}
            return side_by_side_samples(settings, progress, split, **how)
        how = {"setting": "damaged_folder", "names": names}
        return paired_samples(settings, progress, split, **how)
    lay = partial(raindrops, cover=settings.drop_cover, radius_px=settings.drop_radius_px)
    return [Samples(ground, lay) for ground in grounds or open_grounds(settings, progress, split)]


# --- losses and step --------------------------------------------------------------------------


_DAMAGED_FROM = 0.03  # mean over the channels of how far the pair is apart: more than noise


def make(networks, batch, settings, step):
    """Return what the generator makes while it is trained, (B, S, S, 3), and its further losses.

    A generator that finds what is damaged learns it from where the pair differs: finding, the
    cross-entropy of its map. And it learns to paint all of that from the first, however little
    its map would yet let through: painting, the L1 there.
    """
    found = made_by(networks["generator"], batch["damaged"], dropout_key(settings.seed, step))
    if settings.output != "found":
        return found["made"], {}
    apart = tf.reduce_mean(tf.abs(batch["damaged"] - batch["clear"]), axis=-1, keepdims=True)
    damaged = tf.cast(apart > _DAMAGED_FROM, tf.float32)
    of_map = tf.nn.sigmoid_cross_entropy_with_logits(labels=damaged, logits=found["logit"])
    painting = hole_l1(found["painted"], batch["clear"], damaged)
    return found["made"], {"finding": tf.reduce_mean(of_map), "painting": painting}


def score(networks, batch, picture, training):
    """Return the discriminator's scores of pictures beside the damaged ones, (B, h, w, 1)."""
    pair = tf.concat([batch["damaged"], picture], axis=-1)
    return networks["discriminator"](pair, training=training)


# --- what a person sees -----------------------------------------------------------------------


def restore(networks, batch, settings):
    """Return the other picture of the pair, clipped to 0..1.

    Where next to no damage is found the picture stays as it came, to the bit, by the rule of
    `util.restore.whole.keep_clear`; here, so that it holds in exported networks as well.

    batch: dict with damaged, float32 (B, H, W, 3), 0..1, any height and width.
    """
    damaged = batch["damaged"]
    found = made_by(networks["generator"], damaged)
    made = tf.clip_by_value(found["made"], 0.0, 1.0)
    if settings.output == "found" and settings.clear_below:
        taken = tf.clip_by_value(found["share"] / settings.clear_below - 1.0, 0.0, 1.0)
        made = damaged + taken * (made - damaged)
    return {"restored": made}


def sheet(outputs):
    """Return the columns of a sheet."""
    return {"damaged": outputs["damaged"], "clear": outputs["clear"], "made": outputs["restored"]}


TASK = Task(
    name="mod_pix2pix",
    settings=Pix2pix,
    samples=samples,
    make_networks=make_networks,
    make_state=make_state,
    train_step=partial(paired.train_step, make=make, score=score),
    restore=restore,
    sheet=sheet,
    kind=whole.every_pixel("damaged"),
    measure=DROPS,
    judge=partial(paired.judge, score=score),
    scored_with=("used_as_trained", "dropout", "clear_below"),
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
