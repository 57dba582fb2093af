"""Train a generator to repaint holes: what mod_GAN_spot.py and mod_GAN_poly.py share."""

import math

import tensorflow as tf

from util.networks.inpainting import (
    inpainting_generator,
    two_tower_discriminator,
    with_features,
)
from util.train import losses
from util.train.adversarial import (
    Balance,
    PastPictures,
    discriminator_loss,
    of_this_replica,
    penalised,
    train_critic,
)
from util.train.state import TrainState

# --- networks ---------------------------------------------------------------------------------


def make_networks(settings):
    """Return what these tasks paint with: "generator"."""
    return {
        "generator": inpainting_generator(
            settings.base_width,
            form=settings.generator,
            norm=settings.norm,
            upsampling=settings.upsampling,
            skips=settings.skips,
            painting=settings.painting,
            tanh_slope=settings.tanh_slope,
        )
    }


def make_state(settings):
    """Build networks, optimisers, past pictures and balance; call within the strategy's scope."""
    networks = make_networks(settings)
    networks["discriminator"] = two_tower_discriminator(
        settings.base_width,
        settings.crop_px,
        towers=settings.towers,
        head=settings.discriminator_head,
        spectral_norm=settings.spectral_norm,
        detail_gain=settings.detail_gain,
    )
    variables = {}
    if settings.past_size:
        slots, bits = settings.past_size, settings.past_bits
        variables |= PastPictures.make_variables(slots, settings.crop_px, bits)
    if settings.adversarial not in losses.WASSERSTEIN:
        variables |= Balance.make_variables(settings.balance_window)
    rates = {"discriminator": settings.discriminator_rate_share * settings.learning_rate}
    averages = make_networks(settings) if settings.average else {}
    how = {"averages": averages, "average": settings.average}
    return TrainState.of(networks, settings, variables=variables, rates=rates, **how)


def complete(generator, holed, hole, training=False):
    """Return the completed picture and what was painted everywhere, both float32 (B, H, W, 3).

    Known pixels, where `hole` is 0, are those of `holed` bit for bit.
    """
    patch = generator(tf.concat([holed, hole], axis=-1), training=training)
    return holed + patch * hole, patch


# --- losses and step --------------------------------------------------------------------------


def rise(step, settings):
    """Return the share of their weights that what the discriminator says has at a step: 0 to 1."""
    done = tf.cast(step, tf.float32) - settings.reconstruction_steps
    rise_steps = settings.adversarial_rise_steps
    return tf.clip_by_value(done / rise_steps if rise_steps else done + 1.0, 0.0, 1.0)


def real_pictures(batch):
    """Return what a completed picture would be if the patch were true, float32 (B, H, W, 3).

    The known pixels are those that the generator was given, cleared haze too: a discriminator that
    was shown clear ones would tell the two apart by what the generator cannot change.
    """
    return batch["holed"] + batch["clear"] * batch["hole"]


def generator_losses(networks, batch, settings, share):
    """Return the generator's losses, dict of scalars, the completed pictures and their scores."""
    discriminator, hole, real = networks["discriminator"], batch["hole"], real_pictures(batch)
    made, _ = complete(networks["generator"], batch["holed"], hole, training=True)
    reconstruction = losses.hole_l1(made, real, hole * batch.get("near", 1.0))
    matching = {}
    if settings.feature_weight:
        model = with_features(discriminator)
        scores, *features = model([made, hole], training=True)
        _, *wanted = model([real, hole], training=False)
        matching = {"loss_features": losses.feature_matching(wanted, features)}
    else:
        scores = discriminator([made, hole], training=True)
    adversarial = losses.fooled(settings.adversarial, scores)
    judged = settings.adversarial_weight * adversarial
    judged += settings.feature_weight * sum(matching.values())
    found = {
        "loss_generator": share * judged + settings.reconstruction_weight * reconstruction,
        "loss_adversarial": adversarial,
        "loss_reconstruction": reconstruction,
        **matching,
    }
    return found, made, scores


def train_step(state, batch, settings):
    """Take one step on a batch; return its losses, means over all replicas, and who trained.

    The generator's update comes first, and the pictures that it made serve the discriminator as
    well. For the Wasserstein forms the critic then updates several times; for the others both
    train at once, or the one that the balance has chosen.
    """
    networks, form = state.networks, settings.adversarial
    share = rise(state.step, settings)
    # 1. Which earlier pictures will the discriminator see again?
    memory, past, has_past = None, None, False
    if settings.past_size:
        refresh = math.ceil(settings.past_share * settings.batch_size)
        memory = PastPictures(state.variables, seed=settings.seed, refresh=refresh)
        past, has_past = memory.draw(state.step, settings.batch_size)

    def judge(real, hole, fake_scores):
        """Return the discriminator's loss; past and real pictures go through it as one batch."""
        discriminator = networks["discriminator"]
        if past is None:
            scores = discriminator([real, hole], training=True)
            return discriminator_loss(form, scores, fake_scores)
        mine = of_this_replica(past)
        both = [tf.concat([real, mine[..., :3]], 0), tf.concat([hole, mine[..., 3:]], 0)]
        of_real, of_past = tf.split(discriminator(both, training=True), 2)
        return discriminator_loss(form, of_real, fake_scores, of_past, has_past)

    # 2. The generator completes the pictures, the discriminator judges them, and they move.
    if form in losses.WASSERSTEIN:
        metrics, made = _wasserstein_updates(state, batch, settings, share, judge)
    else:
        metrics, made = _balanced_update(state, batch, settings, share, judge)
    # 3. Some of what was just made will be seen again.
    if memory:
        memory.take_in(state.step, made, sound=tf.math.is_finite(metrics["gradient_norm"]))
    return {**metrics, "adversarial_weight": settings.adversarial_weight * share}


def _balanced_update(state, batch, settings, share, judge):
    balance = Balance(state.variables, ratio=settings.balance_ratio)
    trains = dict(zip(("generator", "discriminator"), balance.trains(), strict=True))

    def compute(batch):
        weights = {name: net.trainable_variables for name, net in state.networks.items()}
        with tf.GradientTape(persistent=True) as tape:
            found, made, scores = generator_losses(state.networks, batch, settings, share)
            of_discriminator = judge(real_pictures(batch), batch["hole"], scores)
        gradients = {
            "generator": tape.gradient(found["loss_generator"], weights["generator"]),
            "discriminator": tape.gradient(of_discriminator, weights["discriminator"]),
        }
        found["loss_discriminator"] = of_discriminator
        found["loss_of_balance"] = losses.not_fooled(settings.adversarial, scores)
        return gradients, found, {"made": tf.concat([made, batch["hole"]], axis=-1)}

    metrics, pictures = state.update(compute, batch, trains)
    behind = metrics.pop("loss_of_balance")
    sound = tf.math.is_finite(metrics["gradient_norm"])
    balance.note(behind, metrics["loss_discriminator"], sound)
    trained = {f"trained_{n}": tf.cast(t, tf.float32) for n, t in trains.items()}
    return {**metrics, **trained}, pictures["made"]


def _wasserstein_updates(state, batch, settings, share, judge):
    def compute_generator(batch):
        with tf.GradientTape() as tape:
            found, made, _ = generator_losses(state.networks, batch, settings, share)
        weights = state.networks["generator"].trainable_variables
        gradients = {"generator": tape.gradient(found["loss_generator"], weights)}
        return gradients, found, {"made": tf.concat([made, batch["hole"]], axis=-1)}

    metrics, pictures = state.update(compute_generator, batch)

    def compute_critic(batch, key):
        critic, hole = state.networks["discriminator"], batch["hole"]
        real, fake = real_pictures(batch), of_this_replica(pictures["made"])[..., :3]
        with tf.GradientTape() as tape:
            scores = critic([fake, hole], training=True)
            loss = judge(real, hole, scores)
            found = {"loss_discriminator": loss}
            if settings.adversarial == "wgan-gp":
                penalty = penalised(lambda p: critic([p, hole]), real, fake, key)
                loss += settings.gradient_penalty_weight * penalty
                found["gradient_penalty"] = penalty
        return {"discriminator": tape.gradient(loss, critic.trainable_variables)}, found

    names = {"name": "discriminator", "form": settings.adversarial}
    of_critic = train_critic(state, batch, compute_critic, settings, **names)
    return {**metrics, **of_critic}, pictures["made"]


# --- what a person sees -----------------------------------------------------------------------


def restore(networks, batch, settings):
    """Return the completed picture and what was painted everywhere, both clipped to 0..1.

    batch: dict with holed, float32 (B, H, W, 3), 0..1, and hole, (B, H, W, 1), 1 = missing; H and
    W multiples of 32.
    """
    made, patch = complete(networks["generator"], batch["holed"], batch["hole"])
    return {
        "restored": tf.clip_by_value(made, 0.0, 1.0),
        "patch": tf.clip_by_value(patch, 0.0, 1.0),
    }


def sheet(outputs):
    """Return the columns of a sheet."""
    return {
        "true": outputs["clear"],
        "with hole": outputs["holed"],
        "completed": outputs["restored"],
        "patch": outputs["patch"],
    }
