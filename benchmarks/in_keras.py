"""The side of torch_step.py that trains with this project: it runs in a process of its own.

Before it takes steps it writes a folder with all that PyTorch's side needs: reference.json
(settings, layers, optimisers, what the first steps returned) and reference.npz (weights, the batch,
constants, what the networks gave).
"""

import util  # noqa: F401 - first, as in every script: it sets how TensorFlow computes

# isort: split
import importlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import turns
from keras.layers import SpectralNormalization

import mod_colorize
import mod_deblurgan
import mod_defog
import mod_mend
import mod_pix2pix
from util.networks import lab, vgg16
from util.networks.blocks import FixedNoise
from util.networks.dropout import KeyedDropout, made_by
from util.run import machines
from util.samples.batches import stack
from util.train import adversarial, inpainting, loop
from util.train.muon import Muon

PROJECT = Path(__file__).resolve().parents[1]
ALWAYS = 1e9  # a balance_ratio or gate_loss that no losses reach
COMPARED = 2  # steps
_CRITIC_STEPS = 2  # of each: the second one's losses show the first one's gradients, the penalty's

# --- what is run --------------------------------------------------------------------------------


def settings_of(task, crop_px, batch_size):
    """Return a script's settings on this project's pictures; 0: the script's own size."""
    usual = task.settings()
    crop_px = crop_px or usual.crop_px
    changes = {
        "crop_px": crop_px,
        "batch_size": batch_size or usual.batch_size,
        "devices": "cpu",
        "precision": "float32",
        # Worked out, but no network ever waits, or the two sides would soon do different work.
        "balance_ratio": ALWAYS,
        "gate_loss": ALWAYS,
        # A picture is halved as often as it can be, and not padded to be halved once more.
        "levels": min(getattr(usual, "levels", 0), (crop_px & -crop_px).bit_length() - 1),
    }
    for name in ("clear_folder", "cloud_folder", "cache_folder"):
        changes[name] = str(PROJECT / getattr(usual, name, ""))
    return _changed(usual, changes)


def _changed(settings, changes):
    """Return settings with those of the changes that they have."""
    return replace(settings, **{n: v for n, v in changes.items() if hasattr(settings, n)})


def start(task, settings):
    """Return the state of a run whose first part is behind it, and one batch as arrays."""
    strategy = machines.choose_strategy(settings.devices)
    sample, _ = task.samples(settings, progress=False)
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        state = task.make_state(settings)
    # The rate has risen; so has the weight of the adversarial loss, where it does.
    rise = ("reconstruction_steps", "adversarial_rise_steps")
    state.step.assign(max(settings.warmup_steps, sum(getattr(settings, n, 0) for n in rise)))
    _fill_zeros(state.networks)
    return state, stack(sample, range(settings.batch_size))


def _fill_zeros(networks):
    """Give small values to what begins as zeros, which would hide mistakes that lie behind it."""
    rng = np.random.default_rng(0)
    for network in networks.values():
        for variable in network.trainable_variables:
            if not variable.numpy().any():
                variable.assign(rng.normal(0.0, 0.05, variable.shape))


def compiled(task, state, settings, batch):
    """Return a function that takes one compiled step, waits for it and returns its metrics."""
    machines.fix_order_of_sums(state.strategy)  # as in training
    step = loop.make_step(task, state, settings)

    def take():
        metrics, skipped = step(batch)
        skipped.numpy()
        return metrics

    return take


def without_dropout(networks, take, settings):
    """Return the metrics of the first steps, taken without dropout: list of dict of float."""
    dropouts = [x for n in networks.values() for x in n.layers if isinstance(x, KeyedDropout)]
    for layer in dropouts:
        layer.rate = 0.0
    found = [{n: float(v) for n, v in take().items()} for _ in range(COMPARED)]
    for layer in dropouts:
        layer.rate = settings.dropout
    return found


# --- what the networks give ---------------------------------------------------------------------


def _of_defog(state, batch, settings):
    found = mod_defog.find(state.networks, batch["cloudy"], settings)
    return dict(zip(("opacity", "ground"), found, strict=True))


def _of_mend(state, batch, settings):
    found = mod_mend.find(state.networks, batch["cloudy"], settings)
    return dict(zip(("opacity", "first", "mended"), found, strict=True))


def _of_poly(state, batch, settings):
    networks = state.networks
    _, patch = inpainting.complete(networks["generator"], batch["holed"], batch["hole"])
    real = inpainting.real_pictures(batch)
    return {"patch": patch, "scores": networks["discriminator"]([real, batch["hole"]])}


def _of_cloud(state, batch, settings):
    networks = state.networks
    return {
        "made": networks["generator"](batch["cloudy"]),
        "scores": networks["discriminator"](batch["clear"]),
    }


def _of_pix2pix(state, batch, settings):
    pair = tf.concat([batch["damaged"], batch["clear"]], axis=-1)
    return {
        "made": made_by(state.networks["generator"], batch["damaged"])["made"],
        "scores": state.networks["discriminator"](pair),
    }


def _of_deblurgan(state, batch, settings):
    return {
        "made": made_by(state.networks["generator"], batch["hazy"]),
        "scores": state.networks["critic"](batch["clear"]),
        "features": state.frozen["features"](batch["clear"]),
    }


def _of_colorize(state, batch, settings):
    lightness = mod_colorize.lightness_of(batch["grey"])
    colour = lab.lab_from_rgb(batch["clear"])[..., 1:] / mod_colorize._COLOUR
    maps = state.networks["discriminator"](tf.concat([lightness, colour], axis=-1))
    scores = {f"scores of scale {n}": found[-1] for n, found in enumerate(maps, start=1)}
    made = state.networks["generator"](lightness)
    return {"lightness": lightness, "colour": colour, "made": made, **scores}


OUTPUTS = {  # one row a script: (state, batch, settings) -> dict name -> float32 (B, ..)
    "mod_defog": _of_defog,
    "mod_mend": _of_mend,
    "mod_GAN_poly": _of_poly,
    "mod_GAN_cloud": _of_cloud,
    "mod_pix2pix": _of_pix2pix,
    "mod_deblurgan": _of_deblurgan,
    "mod_colorize": _of_colorize,
}


# --- what the other side needs ------------------------------------------------------------------


def layers_of(network):
    """Return the numbers in the configurations of a network's layers: dict layer -> dict."""
    kinds = (bool, int, float, tuple, list)
    layers = [x.layer if isinstance(x, SpectralNormalization) else x for x in network.layers]
    return {
        layer.name: {n: v for n, v in layer.get_config().items() if isinstance(v, kinds)}
        for layer in layers
    }


def weights_of(network):
    """Return dict "layer/variable" -> variable; a bounded layer's under the name of the layer."""
    found = {}
    for layer in network.layers:
        for v in layer.variables:
            bounded = isinstance(layer, SpectralNormalization)
            found[f"{layer.layer.name}/{v.name}" if bounded else v.path] = v
    return found


def optimizer_of(optimizer, weights):
    """Return the numbers of an optimiser, and the names of the weights that it moves by Muon.

    The rate is that of the last step: it hardly falls from one to the next.
    """
    found = {"learning_rate": float(optimizer.learning_rate), "epsilon": optimizer.epsilon}
    if not isinstance(optimizer, Muon):
        return found | {"betas": (optimizer.beta_1, optimizer.beta_2), "by_muon": []}
    trained = {n: v for n, v in weights.items() if v.trainable}
    found["by_muon"] = [n for n, v in trained.items() if not optimizer._should_use_adamw(v)]
    for name in ("momentum", "ns_steps", "rms_rate", "muon_a", "muon_b", "muon_c"):
        found[name] = getattr(optimizer, name)
    return found | {"betas": (optimizer.adam_beta_1, optimizer.adam_beta_2)}


def constants_of(state, batch, settings):
    """Return what PyTorch's side should not spell once more: dict name -> array."""
    step, critic_steps = int(state.step.numpy()), range(_CRITIC_STEPS)
    places = [  # of the gradient penalty
        [
            tf.random.stateless_uniform(
                [settings.batch_size, 1, 1, 1],
                adversarial.draw_key(settings.seed, taken, adversarial._BETWEEN + number),
            )
            for number in critic_steps
        ]
        for taken in range(step, step + COMPARED)
    ]
    return {
        "noise": FixedNoise()(batch["clear"][:1]),
        "places": places,
        "damaged_from": mod_pix2pix._DAMAGED_FROM,
        "feature_scale": mod_deblurgan._FEATURE_SCALE,
        "vgg_mean": vgg16._MEAN_BGR,
        "to_xyz": lab._TO_XYZ,
        "lab": (lab._EPSILON, lab._KAPPA, lab._SHIFT),
    }


class Side:
    """What answers the questions of torch_step.py."""

    def prepare(self, script, folder, crop_px, batch_size, threads):
        """Write the reference of a script; return what its table is headed with."""
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        task = importlib.import_module(script).TASK
        settings = settings_of(task, crop_px, batch_size)
        state, arrays = start(task, settings)
        batch = {name: tf.constant(array) for name, array in arrays.items()}
        networks = state.networks | state.frozen
        step = int(state.step.numpy())
        # One slot of the history is filled in a step, so that both sides draw the same one.
        compared = {"critic_steps": _CRITIC_STEPS, "past_share": 1.0 / settings.batch_size}
        weights = {n: weights_of(network) for n, network in networks.items()}
        groups = {
            "weights": {f"{n}/{w}": v for n, found in weights.items() for w, v in found.items()},
            "batch": arrays,
            "constants": constants_of(state, batch, settings),
            "outputs": OUTPUTS[script](state, batch, settings),
        }
        named = {f"{g}/{n}": np.asarray(a) for g, found in groups.items() for n, a in found.items()}
        np.savez(Path(folder) / "reference.npz", **named)
        take = compiled(task, state, _changed(settings, compared), batch)
        facts = {
            "settings": asdict(settings),
            "compared": compared,
            "step": step,
            "layers": {name: layers_of(network) for name, network in networks.items()},
            "counts": {name: network.count_params() for name, network in networks.items()},
            "trained": {n: [w for w, v in weights[n].items() if v.trainable] for n in weights},
            "metrics": without_dropout(state.networks, take, settings),
            "optimizers": {n: optimizer_of(o, weights[n]) for n, o in state.optimizers.items()},
        }
        (Path(folder) / "reference.json").write_text(json.dumps(facts), encoding="utf-8")
        self._take = compiled(task, state, settings, batch)
        return {"crop_px": settings.crop_px, "batch_size": settings.batch_size}

    def time(self, side, settle, block):
        """Return the seconds of a step; there is one side here."""
        return turns.seconds_a_step(self._take, settle, block)


if __name__ == "__main__":
    side = Side()
    turns.answer({"prepare": side.prepare, "time": side.time})
