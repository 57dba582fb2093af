"""Train a generator against a discriminator on pairs: what mod_GAN_cloud and mod_pix2pix share."""

import tensorflow as tf

from util.train.losses import fooled, judged_fake, judged_real, l1

_FORM = "dcgan"  # binary cross-entropy of logits; the generator's in its non-saturating form


def losses(made, clear, of_made, of_clear, settings, further=None):
    """Return the losses of both networks: dict of scalars.

    The discriminator's is the mean of those of real and made pictures.

    Parameters
    ----------
    made, clear : float32 (..., H, W, 3)
    of_made, of_clear : float
        Their scores, linear: logits.
    settings : the script's settings
        Of them adversarial_weight and reconstruction_weight count, and a weight for each further
        loss.
    further : dict of scalars, optional
        What else the generator minimises, such as finding: its weight is finding_weight.
    """
    of_generator = {"adversarial": fooled(_FORM, of_made), "reconstruction": l1(made, clear)}
    of_generator |= further or {}
    weighted = [getattr(settings, f"{name}_weight") * loss for name, loss in of_generator.items()]
    return {
        "loss_generator": tf.add_n(weighted),
        "loss_discriminator": 0.5 * (judged_real(_FORM, of_clear) + judged_fake(_FORM, of_made)),
        **{f"loss_{name}": loss for name, loss in of_generator.items()},
    }


def train_step(state, batch, settings, *, make, score):
    """Take one step on a batch, both networks at once; return its losses, means over replicas.

    Both learn from the same scores. The published systems move the discriminator first and judge
    what was made once more: a pass more for the same game.

    Parameters
    ----------
    make : callable
        ``make(networks, batch, settings, step) -> (made, further)``: what the generator makes in
        training, and further losses of it (`losses`).
    score : callable
        ``score(networks, batch, picture, training) -> scores`` of a picture that is made or clear.
    """

    def compute(batch):
        # 1. The generator makes pictures; the discriminator judges them, and the clear ones.
        with tf.GradientTape(persistent=True) as tape:
            made, further = make(state.networks, batch, settings, state.step)
            scores = [score(state.networks, batch, x, True) for x in (made, batch["clear"])]
            found = losses(made, batch["clear"], *scores, settings, further)
        # 2. Which way should the weights of each go?
        gradients = {
            name: tape.gradient(found[f"loss_{name}"], network.trainable_variables)
            for name, network in state.networks.items()
        }
        return gradients, found

    # 3. Move them; a step with anything that is not finite changes nothing.
    return state.update(compute, batch).metrics


def judge(networks, batch, found, settings, *, score):
    """Return the losses of both networks on each sample of a batch: dict of float32 (B,).

    The generator's without the further ones of training. The discriminator is used, not trained:
    batch norm goes by its averages, so no sample has a say in what another one scores.

    found : dict
        What the script's `restore` has found in the batch.
    score : callable
        As for `train_step`.
    """
    made, clear = found["restored"], batch["clear"]
    scores = [score(networks, batch, x, False) for x in (made, clear)]
    names = ("loss_generator", "loss_discriminator")

    def of_one(sample):
        values = losses(*sample, settings)
        return {name: values[name] for name in names}

    signature = dict.fromkeys(names, tf.TensorSpec((), tf.float32))
    return tf.map_fn(of_one, (made, clear, *scores), fn_output_signature=signature)
