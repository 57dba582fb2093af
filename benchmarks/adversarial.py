"""Measure adversarial training steps against the same networks and losses in PyTorch.

    python benchmarks/adversarial.py
    python benchmarks/adversarial.py --only gan --rounds 12
    python benchmarks/adversarial.py --only deblurgan --batch-size 2 --block 1

gan        one step of mod_GAN_poly: generator, two-tower discriminator, history, balance.
deblurgan  one step of mod_deblurgan: four updates of the critic, each with the gradient penalty,
           and one of the generator, with VGG16 for the perceptual loss.

Blocks of the compiled step (`util.train.loop.make_step`) take turns with blocks of PyTorch's, in
both of its memory layouts, on one batch that is repeated. All use float32 and as many threads as
there are cores. PyTorch (`pip install torch`) is for this comparison alone; nothing else needs it.

Both sides do the same work: as many passes through each network in either direction, the same
clipping, Adam, history and balance. The balance is worked out but never lets one network wait, or
the two sides would soon do different work. PyTorch has what makes it fast: activations in place,
the fused Adam, and gradients of those weights only that the loss is for.

Nothing is timed before the two agree: the weights are copied from Keras, and their numbers, the
outputs of the networks, and the losses and gradients of the first steps are compared.
"""

import argparse
import math
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

try:
    import torch
    from torch.nn import functional as F
except ImportError:
    torch = None

LARGEST_DIFFERENCE = 1e-3  # of outputs 0..1 and of losses, relative; more, and nothing is timed
BALANCED = 1e9  # a balance_ratio that no losses reach
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


# --- PyTorch: networks --------------------------------------------------------------------------


class Copied:
    """Hold a copy of a Keras network's weights for PyTorch, by the names of its layers.

    Parameters
    ----------
    network : keras.Model
    layout : torch.memory_format
        Of the kernels.
    """

    def __init__(self, network, layout):
        self.layers = {layer.name: layer for layer in network.layers}
        self.weights, self.parameters, self.constants = {}, [], {}
        for layer in network.layers:
            for variable in layer.variables:
                array = torch.from_numpy(variable.numpy().copy())
                if array.ndim == 4:  # (height, width, in, out), or (.., out, in) if transposed
                    array = array.permute(3, 2, 0, 1).contiguous(memory_format=layout)
                elif array.ndim == 2:
                    array = array.T.contiguous()
                array.requires_grad_(variable.trainable)
                self.weights[f"{layer.name}/{variable.name}"] = array
                if variable.trainable:
                    self.parameters.append(array)

    def __contains__(self, name):
        return name in self.layers

    def _of(self, name):
        return self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"]

    def convolution(self, x, name, stride=1, padding=0):
        return F.conv2d(x, *self._of(name), stride=stride, padding=padding)

    def transposed(self, x, name, stride=1, padding=0):
        return F.conv_transpose2d(x, *self._of(name), stride=stride, padding=padding)

    def dense(self, x, name):
        return F.linear(x, *self._of(name))

    def normalised(self, x, name, training):
        """Apply the norm that follows a layer in the Keras network, if there is one."""
        layer = self.layers.get(f"{name}_norm")
        if layer is None:
            return x
        gamma, beta = (self.weights[f"{name}_norm/{part}"] for part in ("gamma", "beta"))
        if hasattr(layer, "groups"):
            groups = x.shape[1] if layer.groups == -1 else layer.groups
            return F.group_norm(x, groups, gamma, beta, layer.epsilon)
        mean, variance = (
            self.weights[f"{name}_norm/moving_{part}"] for part in ("mean", "variance")
        )
        return F.batch_norm(
            x, mean, variance, gamma, beta, training, 1.0 - layer.momentum, layer.epsilon
        )


# What PyTorch's side has been written for: mod_GAN_poly as it was at first.
BEFORE = {
    **{"generator": "source", "painting": "fill", "feature_weight": 0.0, "rim_px": 0.0},
    **{"past_bits": 32, "average": 0.0, "cleared_share": 0.0},
}


def leaky(x):
    return F.leaky_relu(x, 0.2, inplace=True)


def smooth_fill(holed, known, levels):
    """Fill holes as `util.blocks.SmoothFill` does; (B, C, H, W) -> the same."""
    pyramid = [(holed, known)]
    for _ in range(levels):
        pyramid.append([F.avg_pool2d(x, 2) for x in pyramid[-1]])
    colour, weight = (x.mean(dim=(2, 3), keepdim=True) for x in pyramid[-1])
    filled = colour / weight.clamp_min(1e-6)
    for level, (colour, weight) in enumerate(reversed(pyramid)):
        if level:
            filled = F.interpolate(
                filled, size=colour.shape[2:], mode="bilinear", align_corners=False
            )
        filled = colour + (1.0 - weight) * filled
    return filled


def paint(net, holed, hole, training=True):
    """Return what `util.networks.inpainting_generator` paints, (B, 3, H, W)."""
    filled = None
    seen = torch.cat([holed, hole], 1)
    if "fill" in net:
        filled = smooth_fill(holed, 1.0 - hole, net.layers["fill"].levels)
        seen = torch.cat([filled, hole], 1)
    if "noise" in net:
        if "noise" not in net.constants:  # of a place alone: worked out once
            net.constants["noise"] = to_torch(net.layers["noise"](as_keras(hole[:1])).numpy())
        seen = torch.cat([seen, net.constants["noise"] * hole], 1)
    x, levels = seen, []
    for level in range(1, 6):
        x = leaky(net.convolution(x, f"down{level}", 2, 1))
        levels.append(x)
    for i in range(1, 5):
        x = leaky(net.convolution(x, f"middle{i}", padding=1))
    for i in range(5, 9):
        x = net.transposed(x, f"middle{i}", padding=1)
        x = leaky(net.normalised(x, f"middle{i}", training))
    for level in range(5, 0, -1):
        if f"join{level}" in net:
            x = torch.cat([x, levels[level - 1]], 1)
        if net.weights[f"up{level}/kernel"].shape[-1] == 3:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = net.convolution(x, f"up{level}", padding=1)
        else:
            x = net.transposed(x, f"up{level}", 2, 1)
        x = leaky(net.normalised(x, f"up{level}", training))
    x = net.transposed(torch.cat([x, seen], 1), "head1", padding=1)
    x = leaky(net.normalised(x, "head1", training))
    x = net.convolution(x, "head2", padding=1)
    return 0.505 * torch.tanh(x) + 0.5 if filled is None else filled + x


def judge(net, picture, hole):
    """Return the scores of `util.networks.two_tower_discriminator`, (B, 1)."""
    if "detail" in net:
        layer = net.layers["detail"]
        window, border = layer.WINDOW_PX, layer.WINDOW_PX // 2
        mean = F.avg_pool2d(picture, window, 1, border, count_include_pad=False)
        picture = mean - 0.5 + layer.gain * (picture - mean)
    found = []
    for tower, x in (("global", picture), ("local", picture * hole)):
        if f"{tower}_down1" in net:
            for level in range(1, 6):
                x = leaky(net.convolution(x, f"{tower}_down{level}", 2, 1))
            found.append(x)
    # Flattened in the order of Keras, so that the dense weights fit.
    x = torch.cat(found, 1).permute(0, 2, 3, 1).flatten(1)
    return net.dense(leaky(net.dense(x, "head1")), "head2")


def dehaze(net, hazy, training=True):
    """Return what `util.deblur.generator` makes of hazy pictures, (B, 3, H, W)."""

    def reflected(x, width):
        return F.pad(x, (width,) * 4, mode="reflect")

    def convolution(x, name, stride=1, padding=0):
        return net.normalised(net.convolution(x, name, stride, padding), name, training)

    x = F.relu(convolution(reflected(2.0 * hazy - 1.0, 3), "first"), inplace=True)
    for level in (1, 2):
        # Keras pads what a stride of 2 lacks on one side only.
        x = F.relu(convolution(F.pad(x, (0, 1, 0, 1)), f"down{level}", 2), inplace=True)
    block = 1
    while (name := f"block{block}") in net:
        y = F.relu(convolution(reflected(x, 1), f"{name}_conv1"), inplace=True)
        if rate := net.layers[f"{name}_dropout"].rate:
            y = F.dropout(y, rate, training)
        x = x + convolution(reflected(y, 1), f"{name}_conv2")
        block += 1
    for level in (2, 1):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.relu(convolution(x, f"up{level}", padding=1), inplace=True)
    x, kind = net.convolution(reflected(x, 3), "last"), net.layers["head"].kind
    if kind == "light":
        light = 0.825 + 0.325 * torch.tanh(x[:, 4:] + 0.5)
        most = (hazy / light).amin(1, keepdim=True).clamp(max=1.0)
        opacity = (0.505 * torch.tanh(x[:, :1]) + 0.5) * most
        return (hazy - opacity * light) / (1 - opacity).clamp(min=0.2) + torch.tanh(x[:, 1:4])
    x = torch.tanh(x)
    if kind == "direct":
        return 0.505 * x + 0.5
    return hazy + x if kind == "add" else 0.5 * hazy + 0.25 * (x + 1.0)


def criticise(net, picture):
    """Return the map of scores of `util.deblur.patch_critic`, (B, 1, h, w)."""
    x = leaky(net.convolution(picture, "down1", 2, 1))
    level = 2
    while (name := f"down{level}") in net:
        x = leaky(net.normalised(net.convolution(x, name, 2, 1), name, True))
        level += 1
    x = net.convolution(F.pad(x, (1, 2, 1, 2)), "wide")
    x = leaky(net.normalised(x, "wide", True))
    return net.convolution(F.pad(x, (1, 2, 1, 2)), "scores")


def features(net, picture):
    """Return the features of `util.perceptual.vgg16_features`, (B, C, h, w)."""
    from util.networks.vgg16 import LAYERS

    mean = torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    x = picture.flip(1) * 255.0 - mean
    for name in LAYERS:
        if name not in net:
            return x
        if name.endswith("conv1") and name != LAYERS[0]:
            x = F.max_pool2d(x, 2)
        x = F.relu(net.convolution(x, name, padding=1), inplace=True)
    return x


# --- PyTorch: steps -----------------------------------------------------------------------------


def to_torch(array, layout=None):
    """Return pictures (B, H, W, C) as PyTorch has them, (B, C, H, W)."""
    array = torch.from_numpy(array.copy()).permute(0, 3, 1, 2)
    return array.contiguous(memory_format=layout or torch.contiguous_format)


class Rival:
    """What both steps in PyTorch share: networks, optimisers, the update.

    Parameters
    ----------
    state : util.train.state.TrainState
        Its weights and the settings of its optimisers are copied.
    batch : dict[str, array]
    settings : the script's settings
    rate : float
        The learning rate.
    layout : torch.memory_format
    """

    def __init__(self, state, batch, settings, rate, layout):
        self.settings = settings
        self.networks = {n: Copied(network, layout) for n, network in state.networks.items()}
        self.optimizers = {
            name: torch.optim.Adam(
                self.networks[name].parameters,
                lr=rate,
                betas=(keras_adam.beta_1, keras_adam.beta_2),
                eps=keras_adam.epsilon,
                fused=True,
            )
            for name, keras_adam in state.optimizers.items()
        }
        self.batch = {name: to_torch(array, layout) for name, array in batch.items()}

    def set_epsilon(self, state, first):
        """Let Adam's first update, or else the later ones, be what Keras makes of them.

        Keras adds epsilon before the bias is corrected, PyTorch after it. Later it is the same.
        """
        for name, optimizer in self.optimizers.items():
            keras_adam = state.optimizers[name]
            share = math.sqrt(1.0 - keras_adam.beta_2) if first else 1.0
            for group in optimizer.param_groups:
                group["eps"] = keras_adam.epsilon / share

    def update(self, losses, trains=None):
        """Train the networks on their losses, all or none; return the gradients' norm together."""
        norms = []
        for name, loss in losses.items():
            self.optimizers[name].zero_grad(set_to_none=True)
            parameters = self.networks[name].parameters
            loss.backward(inputs=parameters, retain_graph=len(norms) + 1 < len(losses))
            limit = self.settings.clip_norm or float("inf")
            norms.append(torch.nn.utils.clip_grad_norm_(parameters, limit))
        norm = torch.linalg.vector_norm(torch.stack(norms))
        sound = bool(torch.isfinite(norm))
        for name in losses:
            if sound and (trains is None or trains[name]):
                self.optimizers[name].step()
        return norm


class InpaintingRival(Rival):
    """One step of `util.train.inpainting`, for a form of the loss that is not Wasserstein."""

    def __init__(self, state, batch, settings, rate, layout, weight):
        super().__init__(state, batch, settings, rate, layout)
        self.weight = weight
        s = settings
        self.history = torch.zeros(s.past_size, 4, s.crop_px, s.crop_px)
        self.history = self.history.contiguous(memory_format=layout)
        self.fill, self.count = 0, 0
        self.losses = torch.zeros(s.balance_window, 2)

    def __call__(self):
        """Take one step; return its losses."""
        s, discriminator = self.settings, self.networks["discriminator"]
        clear, holed, hole = (self.batch[name] for name in ("clear", "holed", "hole"))
        of_generator, of_discriminator = self.losses.sum(0).tolist()
        trains = {
            "generator": s.balance_ratio * of_generator >= of_discriminator,
            "discriminator": s.balance_ratio * of_discriminator >= of_generator,
        }
        past = self.history[torch.randint(max(self.fill, 1), (len(clear),))]

        made = holed + paint(self.networks["generator"], holed, hole) * hole
        fake = judge(discriminator, made, hole)
        adversarial = F.softplus(-fake).mean()
        difference = ((made - clear).abs() * hole).sum((1, 2, 3))
        reconstruction = (difference / (3.0 * hole.sum((1, 2, 3))).clamp_min(1e-6)).mean()
        loss_generator = self.weight * adversarial + s.reconstruction_weight * reconstruction

        both = torch.cat([clear, past[:, :3]]), torch.cat([hole, past[:, 3:]])
        of_real, of_past = judge(discriminator, *both).chunk(2)
        judged = F.softplus(fake).mean()
        judged_past = F.softplus(of_past).mean() if self.fill else judged
        loss_discriminator = F.softplus(-of_real).mean() + 0.5 * (judged + judged_past)

        norm = self.update(
            {"generator": loss_generator, "discriminator": loss_discriminator}, trains
        )
        with torch.no_grad():
            self._remember(torch.cat([made, hole], 1), norm)
            self.losses[self.count % s.balance_window] = torch.stack(
                [adversarial, loss_discriminator]
            )
            self.count += 1
        return {
            "loss_generator": loss_generator,
            "loss_adversarial": adversarial,
            "loss_reconstruction": reconstruction,
            "loss_discriminator": loss_discriminator,
            "gradient_norm": norm,
        }

    def _remember(self, pictures, norm):
        s = self.settings
        count = min(s.past_size, math.ceil(s.past_share * s.batch_size))
        slots = torch.randperm(s.past_size)[:count]
        if self.fill < s.past_size:
            slots = torch.arange(self.fill, min(self.fill + count, s.past_size))
        if torch.isfinite(norm):
            self.history[slots] = pictures[: len(slots)]
            self.fill = min(self.fill + count, s.past_size)


class DeblurRival(Rival):
    """One step of `mod_deblurgan.train_step` with WGAN-GP.

    vgg: the Keras network that finds the features; `scale`: what their distance is divided by.
    """

    def __init__(self, state, batch, settings, rate, layout, scale):
        super().__init__(state, batch, settings, rate, layout)
        self.vgg, self.scale = Copied(state.frozen["features"], layout), scale
        self.places = None  # where the penalty is measured, one tensor an update; else at random

    def __call__(self):
        """Take one step; return its losses, those of the critic as means over its updates."""
        s, critic = self.settings, self.networks["critic"]
        hazy, clear = self.batch["hazy"], self.batch["clear"]
        with torch.no_grad():
            wanted = features(self.vgg, clear)
        made = dehaze(self.networks["generator"], hazy)
        adversarial = -criticise(critic, made).mean()
        perceptual = F.mse_loss(features(self.vgg, made), wanted) / self.scale
        reconstruction = F.l1_loss(made, clear)
        loss = (
            s.perceptual_weight * perceptual
            + s.adversarial_weight * adversarial
            + s.reconstruction_weight * reconstruction
        )
        norm = self.update({"generator": loss})
        made = made.detach()
        found = [self._update_critic(clear, made, number) for number in range(s.critic_steps)]
        return {
            "loss_generator": loss,
            "loss_perceptual": perceptual,
            "loss_adversarial": adversarial,
            "loss_reconstruction": reconstruction,
            "gradient_norm": norm,
            "loss_critic": sum(loss for loss, _ in found) / s.critic_steps,
            "gradient_penalty": sum(penalty for _, penalty in found) / s.critic_steps,
        }

    def _update_critic(self, real, fake, number):
        critic = self.networks["critic"]
        loss = criticise(critic, fake).mean() - criticise(critic, real).mean()
        place = self.places[number] if self.places else torch.rand(len(real), 1, 1, 1)
        between = (place * real + (1.0 - place) * fake).requires_grad_()
        score = criticise(critic, between).mean((1, 2, 3)).sum()
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        norm = torch.linalg.vector_norm(gradient, dim=(1, 2, 3))
        penalty = (norm - 1.0).square().mean()
        self.update({"critic": loss + self.settings.gradient_penalty_weight * penalty})
        return loss.detach(), penalty.detach()


# --- Keras --------------------------------------------------------------------------------------


def settings_of(task, options):
    """Return a script's settings on this project's pictures, with the sizes asked for."""
    usual = task.settings()
    changes = {"crop_px": options.crop_px, "devices": "cpu", "precision": "float32"}
    for name in ("clear_folder", "cloud_folder", "cache_folder"):
        if hasattr(usual, name):
            changes[name] = str(PROJECT / getattr(usual, name))
    if options.batch_size:
        changes["batch_size"] = options.batch_size
    if hasattr(usual, "balance_ratio"):
        changes["balance_ratio"] = BALANCED
    return replace(usual, **changes)


def start(task, settings):
    """Return the state of a new run and one batch of its samples, as arrays."""
    import keras

    from util.run import machines
    from util.samples.batches import stack

    strategy = machines.choose_strategy(settings.devices)
    sample, _ = task.samples(settings, progress=False)
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        state = task.make_state(settings)
    return state, stack(sample, range(settings.batch_size))


def keras_step(task, state, settings, batch):
    """Return a function that takes one compiled step, waits for it and returns its metrics."""
    import tensorflow as tf

    from util.train import loop

    tensors = {name: tf.constant(array) for name, array in batch.items()}
    step = loop.make_step(task, state, settings)

    def take():
        metrics, skipped = step(tensors)
        skipped.numpy()
        return metrics

    return take


def rate_at(state, settings):
    """Return the learning rate of the state's next step, a float."""
    from util.train.schedule import learning_rate

    rate = learning_rate(
        state.step,
        highest=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        total_steps=settings.steps,
        final_share=settings.final_rate_share,
    )
    return float(rate)


# --- do they agree? -----------------------------------------------------------------------------


class Agreement:
    """Print how far PyTorch is from Keras, and refuse to go on where it is too far."""

    def weights(self, networks, copies):
        """Compare the numbers of weights."""
        for name, network in networks.items():
            ours = network.count_params()
            theirs = sum(array.numel() for array in copies[name].weights.values())
            print(f"  {name}: {ours:,} weights; PyTorch {theirs:,}")
            if ours != theirs:
                raise SystemExit(f"{name}: the numbers of weights differ; nothing is timed")

    def values(self, text, ours, theirs, relative=False):
        """Compare arrays, and print their largest difference."""
        import numpy as np

        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if ours.shape != theirs.shape:
            raise SystemExit(f"{text}: shapes {ours.shape} and {theirs.shape}; nothing is timed")
        difference = np.abs(ours - theirs).max() / (np.abs(ours).max() if relative else 1.0)
        how = "of the largest" if relative else "at most"
        print(f"  {text}: differ by {difference:.1e} {how}")
        if not difference <= LARGEST_DIFFERENCE:
            raise SystemExit(f"{text}: more than {LARGEST_DIFFERENCE} apart; nothing is timed")

    def metrics(self, number, ours, theirs):
        """Compare what a step returned, relatively."""
        for name, value in theirs.items():
            text = f"step {number}, {name} = {float(ours[name]):.5g}"
            self.values(text, [float(ours[name])], [float(value.detach())], relative=True)


def as_keras(tensor):
    """Return a tensor (B, C, H, W) or (B, C) of PyTorch's as an array as Keras has it."""
    tensor = tensor.detach()
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).numpy()


def layouts(options):
    """Return the memory layouts to try: dict name -> torch.memory_format."""
    both = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}
    return {n: kind for n, kind in both.items() if options.layout in ("both", n.split()[1])}


def prepare_gan(options):
    """Check both sides of mod_GAN_poly; return its settings and the steps, dict name -> step."""
    import mod_GAN_poly
    from util.train import inpainting

    task = mod_GAN_poly.TASK
    settings = replace(settings_of(task, options), **BEFORE)
    state, batch = start(task, settings)
    # From here on the adversarial loss has its full weight.
    state.step.assign(settings.reconstruction_steps + settings.adversarial_rise_steps)
    rate = rate_at(state, settings)
    weight = settings.adversarial_weight * float(inpainting.rise(state.step, settings))
    rivals = {
        name: InpaintingRival(state, batch, settings, rate, layout, weight)
        for name, layout in layouts(options).items()
    }
    agreement = Agreement()
    networks = state.networks
    _, patch = inpainting.complete(networks["generator"], batch["holed"], batch["hole"])
    scores = networks["discriminator"]([batch["clear"], batch["hole"]])
    take = keras_step(task, state, settings, batch)
    taken = {}
    for name, rival in rivals.items():
        print(f"PyTorch, {name}:")
        agreement.weights(networks, rival.networks)
        holed, hole, clear = (rival.batch[n] for n in ("holed", "hole", "clear"))
        with torch.no_grad():
            painted = paint(rival.networks["generator"], holed, hole, training=False)
            judged = judge(rival.networks["discriminator"], clear, hole)
        agreement.values("generator's output", patch, as_keras(painted))
        agreement.values("discriminator's scores", scores, as_keras(judged))
        taken = taken or {1: take(), 2: take()}
        rival.set_epsilon(state, first=True)
        agreement.metrics(1, taken[1], rival())
        rival.set_epsilon(state, first=False)
        # From now on each draws pictures of its own from the history: the generator's alone.
        second = {n: v for n, v in rival().items() if n != "loss_discriminator"}
        del second["gradient_norm"]
        agreement.metrics(2, taken[2], second)
    return settings, {"Keras": take, **{f"PyTorch, {n}": r for n, r in rivals.items()}}


def prepare_deblurgan(options):
    """Check both sides of mod_deblurgan; return its settings and the steps, dict name -> step."""
    import tensorflow as tf

    import mod_deblurgan
    from util.networks import deblurgan as deblur
    from util.train import adversarial

    task = mod_deblurgan.TASK
    settings = settings_of(task, options)
    state, batch = start(task, settings)
    state.step.assign(settings.warmup_steps)
    rate = rate_at(state, settings)
    scale = mod_deblurgan._FEATURE_SCALE
    rivals = {
        name: DeblurRival(state, batch, settings, rate, layout, scale)
        for name, layout in layouts(options).items()
    }
    networks = {**state.networks, "vgg": state.frozen["features"]}
    ours = {
        "generator's output": deblur.made_by(networks["generator"], batch["hazy"]),
        "critic's scores": networks["critic"](batch["clear"]),
        "features": state.frozen["features"](batch["clear"]),
    }
    # What is compared has no dropout, and measures the penalty at the same places. Two updates of
    # the critic: the second one's losses show the first one's gradients, the penalty's as well.
    twice = replace(settings, critic_steps=2)
    places = [
        tf.random.stateless_uniform(
            [settings.batch_size, 1, 1, 1],
            adversarial.draw_key(settings.seed, state.step, adversarial._BETWEEN + number),
        ).numpy()
        for number in range(2)
    ]
    dropouts = [x for x in networks["generator"].layers if isinstance(x, deblur.KeyedDropout)]
    rates = [layer.rate for layer in dropouts]
    for layer in dropouts:
        layer.rate = 0.0
    metrics = keras_step(task, state, twice, batch)()
    agreement = Agreement()
    for name, rival in rivals.items():
        print(f"PyTorch, {name}:")
        agreement.weights(networks, {**rival.networks, "vgg": rival.vgg})
        with torch.no_grad():
            theirs = {
                "generator's output": dehaze(
                    rival.networks["generator"], rival.batch["hazy"], training=False
                ),
                "critic's scores": criticise(rival.networks["critic"], rival.batch["clear"]),
                "features": features(rival.vgg, rival.batch["clear"]),
            }
        for text, output in theirs.items():
            agreement.values(text, ours[text], as_keras(output), relative=text == "features")
        rival.set_epsilon(state, first=True)
        rival.settings, rival.places = twice, [torch.from_numpy(place) for place in places]
        agreement.metrics(1, metrics, rival())
        rival.set_epsilon(state, first=False)
        rival.settings, rival.places = settings, None
    for layer, rate in zip(dropouts, rates, strict=True):
        layer.rate = rate
    take = keras_step(task, state, settings, batch)
    return settings, {"Keras": take, **{f"PyTorch, {n}": r for n, r in rivals.items()}}


# --- time ---------------------------------------------------------------------------------------


def take_turns(steps, options):
    """Time blocks of steps in turns; return seconds a step, a number a round: dict name -> list."""
    times, names = {name: [] for name in steps}, list(steps)
    for done in range(options.rounds):
        # Each begins a round in its turn: a machine that warms up favours none of them.
        first = done % len(names)
        for name in names[first:] + names[:first]:
            for _ in range(options.settle):
                steps[name]()
            before = time.perf_counter()
            for _ in range(options.block):
                steps[name]()
            times[name].append((time.perf_counter() - before) / options.block)
        print(f"\rround {done + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return times


def print_times(title, settings, times, options):
    """Print the table of one step."""
    print(
        f"\n{title}: S = {settings.crop_px}, batch {settings.batch_size}, {options.threads} "
        f"thread(s); {options.rounds} rounds of {options.block} steps each, in turns"
    )
    print(f"{'':28}{'median ms':>10}{'lowest':>9}{'highest':>9}")
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        figures = (medians[name], min(found), max(found))
        print(
            f"{name:28}{1e3 * figures[0]:10.1f}" + "".join(f"{1e3 * f:9.1f}" for f in figures[1:])
        )
    best = min((name for name in times if name != "Keras"), key=medians.get)
    print(f"Keras takes {medians['Keras'] / medians[best]:.3f} of the time of {best} (medians)\n")


def main():
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, help="turns of each side [8]")
    parser.add_argument("--block", type=int, default=3, help="steps timed in a block [3]")
    parser.add_argument("--settle", type=int, default=1, help="steps before it, not timed [1]")
    parser.add_argument("--crop-px", type=int, default=128, help="side of the pictures [128]")
    parser.add_argument("--batch-size", type=int, default=0, help="pictures [the script's own]")
    parser.add_argument("--threads", type=int, default=CORES, help=f"of each side [{CORES}]")
    parser.add_argument("--only", choices=("gan", "deblurgan"), help="one of the two")
    parser.add_argument(
        "--layout",
        choices=("both", "last", "first"),
        default="both",
        help="PyTorch's memory layout: channels last, first, or the better [both]",
    )
    options = parser.parse_args()
    if torch is None:
        raise SystemExit(
            "PyTorch is not installed, so there is nothing to compare with: pip install torch"
        )
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 0.5:
        print(
            f"other work is running (load {load:.1f}): PyTorch's threads wait for each other, so "
            "they suffer from it far more than TensorFlow's; such figures are worth nothing"
        )
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # as TensorFlow does
    torch.manual_seed(0)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    both = {"gan": ("mod_GAN_poly", prepare_gan), "deblurgan": ("mod_deblurgan", prepare_deblurgan)}
    for name, (title, prepare) in both.items():
        if options.only in (None, name):
            settings, steps = prepare(options)
            print_times(title, settings, take_turns(steps, options), options)


if __name__ == "__main__":
    main()
