"""Learn to find cloud first, then the ground with it.

    cloudy (S, S, 3) --> U-Net 1 --> opacity (S, S, 1), first ground (S, S, 3)
    cloudy (or first ground), opacity (S, S, 4) --> U-Net 2 --> second ground (S, S, 3)
    restored = first * (1 - opacity) + second * opacity

Where cloud is thin the first network's ground is shown, where it is thick the second one's, which
was told where the cloud is. The second network trains only while the first one's mean loss is
below a gate: before that it would learn from wrong maps. The first network is mod_defog.py's, with
the same losses; no gradient of the second reaches it.

    python mod_mend.py              train, or go on training; Ctrl-C stops and saves
    python mod_mend.py --fresh      begin anew; the old run moves to History/
    python mod_mend.py --help       every setting (they live in configure.py)

In runs/mod_mend/: latest.png (look at it), sheets/, log.csv, losses.png, tensorboard/,
checkpoints/, best.npz. On two CPU cores the first sheet appears within a minute.

U-Net: O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015, here with strided convolutions.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while TensorFlow loads

import tensorflow as tf

from configure import Mend
from util import command
from util.measure.evaluation import CLOUDS
from util.networks.blocks import squash
from util.networks.unet import as_bright_as_it_was, brightened, ground_from, unet
from util.restore import whole
from util.samples.cutouts import open_cutouts
from util.samples.damage import Samples, cloud_from, open_layers
from util.samples.ground import open_grounds
from util.task import Task
from util.train.losses import covered_distance, l1, seen_distance
from util.train.state import TrainState, variable

# --- networks ---------------------------------------------------------------------------------


def make_networks(settings):
    """Return the networks of this task.

    "stage1": keras.Model (B, H, W, 3) -> (B, H, W, 4), "stage2": (B, H, W, 4) -> (B, H, W, 3).
    """
    common = {"norm": settings.norm, "upsampling": settings.upsampling}
    return {
        "stage1": unet(settings.stage1_width, name="stage1", **common),
        "stage2": unet(settings.stage2_width, inputs=4, outputs=3, name="stage2", **common),
    }


def find(networks, cloudy, settings, training=False):
    """Return the opacity (B, H, W, 1), the first and the mended ground (B, H, W, 3)."""
    how = {"head": settings.head, "slope": settings.tanh_slope}
    found = networks["stage1"](cloudy, training=training)  # (B, H, W, 4), linear
    opacity = squash(found[..., :1], settings.tanh_slope)  # (B, H, W, 1)
    first = ground_from(found[..., 1:], cloudy, opacity, **how)
    # Stage 2 takes stage 1 as it is: its loss trains the second network alone.
    map_, ground = tf.stop_gradient(opacity), tf.stop_gradient(first)
    shown = cloudy if settings.stage2_sees == "picture" else ground
    with_map = tf.concat([shown, map_], axis=-1)  # (B, H, W, 4)
    second = networks["stage2"](with_map, training=training)  # (B, H, W, 3), linear
    # Not bounded: it begins at the full rate, and one bad step into the flat ends of a tanh was
    # seen to end its learning.
    second = ground_from(second, cloudy, map_, bounded=False, **how)
    mended = ground * (1.0 - map_) + second * map_
    return opacity, first, mended


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
    """Return the losses of a batch: dict of scalars; "loss" and "loss_mended" are minimised."""
    opacity, first, mended = find(networks, batch["cloudy"], settings, training=True)
    of_opacity = l1(opacity, batch["opacity"])
    of_ground = covered_distance(first, batch["clear"], batch["opacity"])
    of_seen = seen_distance(first, batch["clear"], batch["opacity"])
    return {
        "loss": settings.opacity_weight * of_opacity + of_ground + settings.seen_weight * of_seen,
        "loss_opacity": of_opacity,
        "loss_ground": of_ground,
        "loss_seen": of_seen,
        # Not covered: under thick cloud, too, the second network shall show likely ground.
        "loss_mended": l1(mended, batch["clear"]),
    }


_AT_FIRST = 10.0  # the mean loss by which the gate goes, before there was any
_KEPT = 0.98  # of that mean in a step: so it is over about 50 of them


def make_state(settings):
    """Build networks, optimisers and the gate; call within the strategy's scope."""
    variables = {"stage1_mean_loss": variable(_AT_FIRST, "stage1_mean_loss")}
    rates = {"stage2": settings.stage2_rate_share * settings.learning_rate}
    return TrainState.of(make_networks(settings), settings, variables=variables, rates=rates)


def gate_is_open(state, settings):
    """Tell whether the mean of the first network's losses so far is at most `gate_loss`."""
    taken = tf.cast(state.step - state.skipped, tf.float32)
    # So much of the mean is still what it began with: at .1 it would hide a loss for 300 steps.
    first, mean = _KEPT**taken, state.variables["stage1_mean_loss"]
    low = mean - first * _AT_FIRST <= (1.0 - first) * settings.gate_loss
    return (mean <= settings.gate_loss) | (low & (taken > 0.0))


def train_step(state, batch, settings):
    """Take one step on a batch; return its losses, means over all replicas, and who trained."""
    # 1. Is the first network good enough for the second to learn from it?
    mean_loss, gate_open = state.variables["stage1_mean_loss"], gate_is_open(state, settings)

    def compute(batch):
        # 2. How far off are the two, and which way should their weights go?
        weights = {name: net.trainable_variables for name, net in state.networks.items()}
        with tf.GradientTape() as tape:
            values = losses(state.networks, batch, settings)
            # Each network sees only its own term of the sum, so one pass backwards serves both.
            total = values["loss"] + values["loss_mended"]
        return tape.gradient(total, weights), values

    # 3. Move the first, and the second if the gate is open.
    metrics = state.update(compute, batch, trains={"stage2": gate_open}).metrics
    # 4. The gate follows the first one's loss.
    moved = _KEPT * mean_loss + (1.0 - _KEPT) * metrics["loss"]
    # A step that was skipped leaves the gate as it was, too.
    taken = tf.math.is_finite(moved) & tf.math.is_finite(metrics["gradient_norm"])
    mean_loss.assign(tf.where(taken, moved, mean_loss))
    return {**metrics, "trained_stage2": tf.cast(gate_open, tf.float32)}


# --- what a person sees -----------------------------------------------------------------------


def restore(networks, batch, settings):
    """Return the ground without cloud and the opacity that was found, both clipped to 0..1.

    batch: dict with cloudy, float32 (B, H, W, 3), 0..1, H and W multiples of 32.
    """
    cloudy, white = batch["cloudy"], settings.cloud_white
    found = find(networks, brightened(cloudy, white), settings)
    opacity, *grounds = (tf.clip_by_value(x, 0.0, 1.0) for x in found)
    first, mended = (as_bright_as_it_was(ground, cloudy, opacity, white) for ground in grounds)
    return {"first": first, "restored": mended, "found_opacity": opacity}


def sheet(outputs):
    """Return the columns of a sheet."""
    return {
        "cloudy": outputs["cloudy"],
        "true opacity": outputs["opacity"],
        "found opacity": outputs["found_opacity"],
        "first ground": outputs["first"],
        "restored": outputs["restored"],
        "clear": outputs["clear"],
    }


TASK = Task(
    name="mod_mend",
    settings=Mend,
    samples=samples,
    make_networks=make_networks,
    make_state=make_state,
    train_step=train_step,
    restore=restore,
    sheet=sheet,
    kind=whole.CLOUD,
    measure=CLOUDS,
    scored_with=("cloud_white",),
)

if __name__ == "__main__":
    command.main(TASK, __doc__)
