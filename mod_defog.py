"""Learn to find cloud in a picture and to clear the ground beneath it, in one pass.

    cloudy (S, S, 3) --> U-Net --> opacity (S, S, 1), restored ground (S, S, 3)

The cloud's opacity, its light and the ground are found together. With head "light" the cloud is
taken out of the picture, ``(cloudy - opacity * light) / (1 - opacity)``, and three channels of the
network correct what remains; opacity is bounded by what the darkest channel allows. With head
"unmix" all cloud is white, and with "direct" the three channels are the ground themselves, as in
the published system. Before two grounds are compared, both are covered with the TRUE opacity: what
lies under thick cloud cannot be known from its colours and does not count (repainting it is the
work of mod_GAN_poly.py). When the network is used, it is shown what is darker than cloud a little
darker, so that bright ground passes less for cloud.

    python mod_defog.py              train, or go on training; Ctrl-C stops and saves
    python mod_defog.py --fresh      begin anew; the old run moves to History/
    python mod_defog.py --help       every setting (they live in configure.py)

In runs/mod_defog/: latest.png (look at it), sheets/, log.csv, losses.png, tensorboard/,
checkpoints/, best.npz. On two CPU cores the first sheet appears within a minute.

U-Net: O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015, here with strided convolutions.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

import tensorflow as tf

from configure import Defog
from util import command
from util.measure.evaluation import CLOUDS
from util.networks.blocks import squash
from util.networks.unet import (
    FILL_REACH_PX,
    as_bright_as_it_was,
    brightened,
    cloud_light,
    dimming,
    fill_hidden,
    ground_from,
    possible_opacity,
    unet,
)
from util.restore import whole
from util.samples.cutouts import open_cutouts
from util.samples.damage import Samples, cloud_from, open_layers
from util.samples.ground import open_grounds
from util.task import Task
from util.train.losses import (
    DISTANCES,
    covered_distance,
    faint_weights,
    hidden_distance,
    seen_distance,
)
from util.train.state import TrainState

# --- networks ---------------------------------------------------------------------------------


def make_networks(settings):
    """Return the networks of this task: {"unet": keras.Model (B, H, W, 3) -> (B, H, W, C)}."""
    outputs = 7 if settings.head == "light" else 4
    how = {"norm": settings.norm, "upsampling": settings.upsampling}
    return {"unet": unet(settings.base_width, outputs, **how)}


def find(networks, cloudy, settings, training=False):
    """Return the opacity (B, H, W, 1) and the ground (B, H, W, 3) found in a cloudy picture."""
    found = networks["unet"](cloudy, training=training)  # (B, H, W, 4 or 7), linear
    slope = settings.tanh_slope
    opacity, light = squash(found[..., :1], slope), 1.0  # (B, H, W, 1)
    if settings.head == "light":
        light = cloud_light(found[..., 4:], slope)  # (B, H, W, 3)
        opacity = possible_opacity(opacity, cloudy, light)
    ground = ground_from(found[..., 1:4], cloudy, opacity, settings.head, light, slope=slope)
    return opacity, ground


# --- samples: what it eats --------------------------------------------------------------------


def samples(settings, progress=True, grounds=None, split=None):
    """Return what to train and to validate with: number -> dict of float32, 0..1.

    cloudy and clear (S, S, 3), opacity (S, S, 1); S is crop_px.
    grounds: the two grounds, where they are not clear_folder's. split: the run's.
    """
    grounds = grounds or open_grounds(settings, progress, split)
    layers = open_layers(settings, progress, split)
    cutouts = open_cutouts(settings, progress), None  # none to validate with
    return [
        Samples(ground, cloud_from(part, settings, cut))
        for ground, part, cut in zip(grounds, layers, cutouts, strict=True)
    ]


# --- losses and step --------------------------------------------------------------------------


def losses(networks, batch, settings):
    """Return the losses of a batch: dict of scalars; "loss" is the one to minimise."""
    opacity, ground = find(networks, batch["cloudy"], settings, training=True)
    distance = DISTANCES[settings.distance]
    both, true = (ground, batch["clear"]), batch["opacity"]
    found = {
        "opacity": distance(opacity, true),  # (B,) each
        "ground": covered_distance(*both, true, distance),
        "seen": seen_distance(*both, true, distance),
        "hidden": hidden_distance(*both, true, distance),
    }
    counts = faint_weights(batch["cloudy"], batch["clear"], settings.faint_weight)  # (B,)
    found = {f"loss_{name}": tf.reduce_mean(counts * each) for name, each in found.items()}
    loss = (
        settings.opacity_weight * found["loss_opacity"]
        + found["loss_ground"]
        + settings.seen_weight * found["loss_seen"]
        + settings.hidden_weight * found["loss_hidden"]
    )
    return {"loss": loss, **found}


def make_state(settings):
    """Build the network and its optimiser; call within the strategy's scope."""
    return TrainState.of(make_networks(settings), settings)


def train_step(state, batch, settings):
    """Take one step on a batch; return its losses, means over all replicas."""

    def compute(batch):
        # 1. How far off is what the network finds?
        with tf.GradientTape() as tape:
            values = losses(state.networks, batch, settings)
        # 2. Which way should its weights go?
        weights = state.networks["unet"].trainable_variables
        return {"unet": tape.gradient(values["loss"], weights)}, values

    # 3. Move them; a step with anything that is not finite changes nothing.
    return state.update(compute, batch).metrics


# --- what a person sees -----------------------------------------------------------------------


def restore(networks, batch, settings):
    """Return the ground without cloud and the opacity that was found, both clipped to 0..1.

    batch: dict with cloudy, float32 (B, H, W, 3), 0..1, H and W multiples of 32 and at least 64.
    """
    cloudy, white = batch["cloudy"], settings.cloud_white
    bright = brightened(cloudy, white)
    shown = dimming(bright, settings.dimmed)  # (B, H, W, 1)
    opacity, ground = find(networks, bright * shown, settings)
    opacity, ground = (tf.clip_by_value(x, 0.0, 1.0) for x in (opacity, ground / shown))
    ground = as_bright_as_it_was(ground, cloudy, opacity, white)
    if settings.head == "light":
        ground = fill_hidden(ground, cloudy, opacity)
    return {"restored": ground, "found_opacity": opacity}


def sheet(outputs):
    """Return the columns of a sheet."""
    return {
        "cloudy": outputs["cloudy"],
        "true opacity": outputs["opacity"],
        "found opacity": outputs["found_opacity"],
        "restored": outputs["restored"],
        "clear": outputs["clear"],
    }


TASK = Task(
    name="mod_defog",
    settings=Defog,
    samples=samples,
    make_networks=make_networks,
    make_state=make_state,
    train_step=train_step,
    restore=restore,
    sheet=sheet,
    kind=whole.CLOUD,
    measure=CLOUDS,
    scored_with=("cloud_white", "dimmed"),
    reach_px=FILL_REACH_PX,
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
