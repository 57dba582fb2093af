"""The side of torch_step.py that trains in PyTorch: it runs in a process of its own.

The interpreter may be another one, that has PyTorch and NumPy: nothing of this project is imported,
nor TensorFlow or Keras. What a network is made of comes from the folder that in_keras.py has
written; what its passes (torch_networks.py), losses and steps are is written once more, for the
settings that are the default in configure.py.

It is eager, without `torch.compile`, and has what makes it fast: activations in place, the fused
Adam, gradients of those weights only that a loss is for.
"""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import turns

try:
    import numpy as np
    import torch
    from torch.nn import functional as F
    from torch_networks import (
        Network,
        as_matrix,
        colours,
        dehaze,
        features,
        judge,
        lab_from_rgb,
        leaky_tanh,
        paint,
        patches,
        pool_unet,
        residual,
        scales,
        squash,
        translate,
        unet,
        unmixed,
        without_light,
    )
except ImportError as error:
    missing = error
else:
    missing = None

# Relative, of outputs, losses and norms of gradients. A slope of a thousandth that one side's tanh
# lacks makes 1e-3 of a norm.
LARGEST_DIFFERENCE = 1e-4
# After an update: the first step of Adam moves a weight as far for a gradient that is nothing but
# rounding. In mod_GAN_poly the gradients of single weights are some 1e-8 apart, of norms near 1,
# which makes 5e-5 of the next loss and 5e-4 of its gradient.
LARGEST_AFTERWARDS = 1e-3
# Rounding may do more: batch norm multiplies it. How much it does is what PyTorch's own steps in
# float32 are off those in float64; so many times that is allowed besides, as norms may be close by
# chance: in mod_GAN_cloud the gradients of layers are .03 (PyTorch) and .04 (Keras) off those in
# float64, their norms .0001 and .0006.
ROUNDINGS = 20.0


# --- optimisers ---------------------------------------------------------------------------------


class Optimizer:
    """Move a network by Adam, and some of its kernels by Muon, as `util.train` does.

    facts: dict, see `in_keras.optimizer_of`.
    """

    def __init__(self, network, facts):
        self._facts = SimpleNamespace(**facts)
        self._kernels = [network.weights[name] for name in facts["by_muon"]]
        self._momenta = [torch.zeros_like(kernel) for kernel in self._kernels]
        numbers = {id(kernel) for kernel in self._kernels}
        by_adam = [p for p in network.parameters if id(p) not in numbers]
        how = {"lr": facts["learning_rate"], "betas": facts["betas"], "fused": True}
        self._adam, self._count = torch.optim.Adam(by_adam, **how), 0

    def step(self):
        self._count += 1
        # Keras adds epsilon before the bias is taken out, PyTorch after it.
        bias = 1.0 - self._facts.betas[1] ** self._count
        self._adam.param_groups[0]["eps"] = self._facts.epsilon / math.sqrt(bias)
        self._adam.step()
        with torch.no_grad():
            for kernel, momentum in zip(self._kernels, self._momenta, strict=True):
                self._move(kernel, momentum)

    def _move(self, kernel, momentum):
        facts = self._facts
        momentum.mul_(facts.momentum).add_(kernel.grad)
        ahead = torch.add(kernel.grad, momentum, alpha=facts.momentum)
        matrix = as_matrix(kernel)
        length = facts.learning_rate * facts.rms_rate * math.sqrt(max(matrix.shape))
        matrix.sub_(self._evened(as_matrix(ahead)), alpha=length)

    def _evened(self, matrix):
        """Return the matrix, its singular values about one, see `util.train.muon.Muon`."""
        facts = self._facts
        matrix = matrix / (torch.linalg.matrix_norm(matrix) + 1e-7)
        tall = matrix.shape[0] > matrix.shape[1]
        wide = matrix.T if tall else matrix
        gram, factor, product = wide @ wide.T, None, None
        one = torch.eye(len(gram))
        for _ in range(facts.ns_steps):
            gram = gram if factor is None else factor @ gram @ factor
            inner = facts.muon_b * one + facts.muon_c * gram
            factor = torch.addmm(one, gram, inner, beta=facts.muon_a)
            product = factor if product is None else product @ factor
        wide = product @ wide
        return wide.T if tall else wide


# --- steps --------------------------------------------------------------------------------------


def l1(a, b):
    return (a - b).abs().mean()


def l1_within(a, b, counts):
    """Return the L1 of the pixels that count, over each picture's and then over the pictures."""
    apart = ((a - b).abs() * counts).sum((1, 2, 3))
    return (apart / (3.0 * counts.sum((1, 2, 3))).clamp_min(1e-6)).mean()


def taken_for(real, scores):
    """Return the binary cross-entropy of logits with real or made."""
    return F.softplus(-scores if real else scores).mean()


def group_of(arrays, start):
    """Return the arrays whose names begin so, without that beginning."""
    return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}


class Step:
    """What the steps of all scripts share: networks, optimisers, the batch, the update.

    A step is called to be taken, and returns losses; `outputs` returns what the networks give.

    Parameters
    ----------
    facts, arrays : dict
        What in_keras.py has written.
    layout : torch.memory_format
    """

    def __init__(self, facts, arrays, layout):
        self.networks = {}
        for name, layers in facts["layers"].items():
            weights = group_of(arrays, f"weights/{name}/")
            self.networks[name] = Network(weights, layers, facts["trained"][name], layout)
        self.optimizers = {
            name: Optimizer(self.networks[name], numbers)
            for name, numbers in facts["optimizers"].items()
        }
        batch = group_of(arrays, "batch/")
        self.batch = {name: as_torch(array, layout) for name, array in batch.items()}
        self.constants = group_of(arrays, "constants/")
        self.settings = SimpleNamespace(**facts["settings"])
        self.slope, self.taken, self.first = self.settings.tanh_slope, 0, facts["step"]

    def update(self, losses, trains=None):
        """Train networks on their losses, all or none; return the norm of all gradients.

        trains: dict network -> whether it does, of those that may not.
        """
        norms = []
        for name, loss in losses.items():
            parameters = self.networks[name].parameters
            for parameter in parameters:
                parameter.grad = None
            loss.backward(inputs=parameters, retain_graph=len(norms) + 1 < len(losses))
            limit = self.settings.clip_norm or float("inf")
            norms.append(torch.nn.utils.clip_grad_norm_(parameters, limit))
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if torch.isfinite(norm):
            for name in losses:
                if (trains or {}).get(name, True):
                    self.optimizers[name].step()
        return norm


def named(norm, **losses):
    """Return what a step returns, under the names that the scripts give it."""
    return {"gradient_norm": norm, **{f"loss_{name}": loss for name, loss in losses.items()}}


class Defog(Step):
    """The step of mod_defog."""

    def find(self):
        cloudy = self.batch["cloudy"]
        return without_light(unet(self.networks["unet"], cloudy), cloudy, self.slope)

    def outputs(self):
        return dict(zip(("opacity", "ground"), self.find(), strict=True))

    def __call__(self):
        s, (opacity, ground) = self.settings, self.find()
        true, clear = self.batch["opacity"], self.batch["clear"]
        of_opacity, of_ground, of_seen = cloud_losses(opacity, ground, true, clear)
        of_hidden = l1(ground, clear) - of_seen
        loss = s.opacity_weight * of_opacity + of_ground
        loss = loss + s.seen_weight * of_seen + s.hidden_weight * of_hidden
        norm = self.update({"unet": loss})
        parts = {"opacity": of_opacity, "ground": of_ground, "seen": of_seen, "hidden": of_hidden}
        return {"loss": loss, **named(norm, **parts)}


def cloud_losses(opacity, ground, true, clear):
    """Return how far off opacity, covered ground and the ground that is seen are, scalars."""

    def cover(x):
        return x * (1.0 - true) + true

    seen = (true < 0.75).to(clear.dtype)
    return l1(opacity, true), l1(cover(ground), cover(clear)), l1(ground * seen, clear * seen)


class Mend(Step):
    """The step of mod_mend; both networks train."""

    mean_loss = 10.0

    def find(self):
        cloudy = self.batch["cloudy"]
        found = unet(self.networks["stage1"], cloudy)
        opacity = squash(found[:, :1], self.slope)
        first = unmixed(cloudy, opacity) + leaky_tanh(found[:, 1:], self.slope)
        seen, ground = opacity.detach(), first.detach()
        second = unet(self.networks["stage2"], torch.cat([cloudy, seen], 1))
        second = unmixed(cloudy, seen) + second
        return opacity, first, ground * (1.0 - seen) + second * seen

    def outputs(self):
        return dict(zip(("opacity", "first", "mended"), self.find(), strict=True))

    def __call__(self):
        s, (opacity, first, mended) = self.settings, self.find()
        true, clear = self.batch["opacity"], self.batch["clear"]
        of_opacity, of_ground, of_seen = cloud_losses(opacity, first, true, clear)
        loss = s.opacity_weight * of_opacity + of_ground + s.seen_weight * of_seen
        of_mended = l1(mended, clear)
        # Each network sees only its own loss, so two passes backwards cost as much as one.
        trains = {"stage2": self.mean_loss <= s.gate_loss}
        norm = self.update({"stage1": loss, "stage2": of_mended}, trains)
        self.mean_loss = 0.98 * self.mean_loss + 0.02 * float(loss.detach())
        parts = {"opacity": of_opacity, "ground": of_ground, "seen": of_seen, "mended": of_mended}
        return {"loss": loss, **named(norm, **parts)}


class Poly(Step):
    """The step of mod_GAN_poly: history, balance, averages of the generator's weights."""

    def __init__(self, facts, arrays, layout):
        super().__init__(facts, arrays, layout)
        s = self.settings
        self.noise = as_torch(self.constants["noise"], layout)
        self.past = torch.zeros(s.past_size, 4, s.crop_px, s.crop_px, dtype=torch.uint8)
        self.past = self.past.contiguous(memory_format=layout)
        self.filled = 0
        self.losses = torch.zeros(s.balance_window, 2)
        self.means = [p.detach().clone() for p in self.networks["generator"].parameters]

    def real(self):
        return self.batch["holed"] + self.batch["clear"] * self.batch["hole"]

    def paint(self):
        how = (self.batch["holed"], self.batch["hole"], self.noise)
        return paint(self.networks["generator"], *how)

    def outputs(self):
        scores, _ = judge(self.networks["discriminator"], self.real(), self.batch["hole"])
        return {"patch": self.paint(), "scores": scores}

    def __call__(self):
        s, discriminator = self.settings, self.networks["discriminator"]
        holed, hole, real = self.batch["holed"], self.batch["hole"], self.real()
        of_generator, of_discriminator = self.losses.sum(0).tolist()
        trains = {
            "generator": s.balance_ratio * of_generator >= of_discriminator,
            "discriminator": s.balance_ratio * of_discriminator >= of_generator,
        }
        past = self.past[torch.randint(max(self.filled, 1), (len(real),))] / 255.0

        made = holed + self.paint() * hole
        fake, found = judge(discriminator, made, hole)
        with torch.no_grad():
            _, wanted = judge(discriminator, real, hole)
        matching = torch.stack([l1(a, b) for a, b in zip(wanted, found, strict=True)]).mean()
        adversarial = taken_for(True, fake)
        counts = hole * self.batch["near"]
        reconstruction = l1_within(made, real, counts)
        judged = s.adversarial_weight * adversarial + s.feature_weight * matching
        of_generator = judged + s.reconstruction_weight * reconstruction

        both = torch.cat([real, past[:, :3]]), torch.cat([hole, past[:, 3:]])
        of_real, of_past = judge(discriminator, *both)[0].chunk(2)
        of_fake = taken_for(False, fake)
        of_past = taken_for(False, of_past) if self.filled else of_fake
        of_discriminator = taken_for(True, of_real) + 0.5 * (of_fake + of_past)

        losses = {"generator": of_generator, "discriminator": of_discriminator}
        norm = self.update(losses, trains)
        with torch.no_grad():
            self._remember(torch.cat([made, hole], 1), norm)
            both = torch.stack([adversarial, of_discriminator])
            self.losses[self.taken % s.balance_window] = both
            done = self.first + self.taken
            kept = min(s.average, (1.0 + done) / (10.0 + done))
            for mean, now in zip(self.means, self.networks["generator"].parameters, strict=True):
                mean.lerp_(now, 1.0 - kept)
        self.taken += 1
        parts = {"reconstruction": reconstruction, "adversarial": adversarial}
        return named(norm, **losses, **parts, features=matching)

    def _remember(self, pictures, norm):
        s = self.settings
        count = min(s.past_size, math.ceil(s.past_share * s.batch_size))
        slots = torch.randperm(s.past_size)[:count]
        if self.filled < s.past_size:
            slots = torch.arange(self.filled, min(self.filled + count, s.past_size))
        if torch.isfinite(norm):
            kept = (255.0 * pictures[: len(slots)].clamp(0.0, 1.0)).round()
            self.past[slots] = kept.to(torch.uint8)
            self.filled = min(self.filled + count, s.past_size)


class Paired(Step):
    """The step of mod_GAN_cloud and mod_pix2pix: `util.train.paired.train_step`."""

    def __call__(self):
        s, clear = self.settings, self.batch["clear"]
        made, further = self.make(training=True)
        of_made, of_clear = (self.score(x, training=True) for x in (made, clear))
        parts = {"adversarial": taken_for(True, of_made), "reconstruction": l1(made, clear)}
        parts |= further
        of_generator = sum(getattr(s, f"{name}_weight") * loss for name, loss in parts.items())
        of_discriminator = 0.5 * (taken_for(True, of_clear) + taken_for(False, of_made))
        losses = {"generator": of_generator, "discriminator": of_discriminator}
        return named(self.update(losses), **losses, **parts)

    def outputs(self):
        return {"made": self.make()[0], "scores": self.score(self.batch["clear"])}


class Cloud(Paired):
    def make(self, training=False):
        made = pool_unet(self.networks["generator"], self.batch["cloudy"], self.slope, training)
        return made, {}

    def score(self, picture, training=False):
        return residual(self.networks["discriminator"], picture, training)


class Pix2pix(Paired):
    def make(self, training=False):
        damaged, clear = self.batch["damaged"], self.batch["clear"]
        made, painted, logit = translate(self.networks["generator"], damaged, self.slope)
        wrong = (
            (damaged - clear).abs().mean(1, keepdim=True) > float(self.constants["damaged_from"])
        ).float()
        finding = F.binary_cross_entropy_with_logits(logit, wrong)
        return made, {"finding": finding, "painting": l1_within(painted, clear, wrong)}

    def score(self, picture, training=False):
        pair = torch.cat([self.batch["damaged"], picture], 1)
        return patches(self.networks["discriminator"], pair)


class Deblurgan(Step):
    """The step of mod_deblurgan with WGAN-GP."""

    def __init__(self, facts, arrays, layout):
        super().__init__(facts, arrays, layout)
        self.mean = torch.from_numpy(self.constants["vgg_mean"])[:, None, None]
        self.places = iter(torch.from_numpy(self.constants["places"]).flatten(0, 1))

    def features(self, picture):
        return features(self.networks["features"], picture, self.mean)

    def make(self):
        return dehaze(self.networks["generator"], self.batch["hazy"], self.slope)

    def outputs(self):
        clear = self.batch["clear"]
        scores = patches(self.networks["critic"], clear)
        return {"made": self.make(), "scores": scores, "features": self.features(clear)}

    def __call__(self):
        s, clear = self.settings, self.batch["clear"]
        with torch.no_grad():
            wanted = self.features(clear)
        made = self.make()
        adversarial = -patches(self.networks["critic"], made).mean()
        perceptual = F.mse_loss(self.features(made), wanted) / float(
            self.constants["feature_scale"]
        )
        reconstruction = F.l1_loss(made, clear)
        loss = s.perceptual_weight * perceptual + s.adversarial_weight * adversarial
        loss = loss + s.reconstruction_weight * reconstruction
        norm = self.update({"generator": loss})
        made = made.detach()
        found = [self._update_critic(clear, made) for _ in range(s.critic_steps)]
        of_critic, penalty = (sum(x) / s.critic_steps for x in zip(*found, strict=True))
        parts = {"reconstruction": reconstruction, "adversarial": adversarial}
        parts |= {"perceptual": perceptual, "critic": of_critic}
        return {"gradient_penalty": penalty, **named(norm, generator=loss, **parts)}

    def _update_critic(self, real, fake):
        critic = self.networks["critic"]
        loss = patches(critic, fake).mean() - patches(critic, real).mean()
        place = next(self.places, None)  # those of Keras first, then others
        place = torch.rand(len(real), 1, 1, 1) if place is None else place
        between = (place * real + (1.0 - place) * fake).requires_grad_()
        score = patches(critic, between).mean((1, 2, 3)).sum()
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        norm = torch.linalg.vector_norm(gradient, dim=(1, 2, 3))
        penalty = (norm - 1.0).square().mean()
        self.update({"critic": loss + self.settings.gradient_penalty_weight * penalty})
        return loss.detach(), penalty.detach()


class Colorize(Step):
    """The step of mod_colorize, without VGG16."""

    def __init__(self, facts, arrays, layout):
        super().__init__(facts, arrays, layout)
        self.to_xyz = torch.from_numpy(self.constants["to_xyz"])

    def look(self):
        """Return lightness (B, 1, H, W) and colour (B, 2, H, W) as the networks see them."""
        grey, clear = (
            lab_from_rgb(self.batch[n], self.to_xyz, self.constants["lab"].tolist())
            for n in ("grey", "clear")
        )
        return grey[:, :1] / 100.0, clear[:, 1:] / 128.0

    def outputs(self):
        lightness, colour = self.look()
        made = self.make(lightness)
        found = scales(self.networks["discriminator"], torch.cat([lightness, colour], 1))
        scores = {f"scores of scale {n}": maps[-1] for n, maps in enumerate(found, start=1)}
        return {"lightness": lightness, "colour": colour, "made": made, **scores}

    def make(self, lightness):
        return colours(self.networks["generator"], lightness, self.settings.attention_at)

    def __call__(self):
        s, discriminator = self.settings, self.networks["discriminator"]
        lightness, colour = self.look()
        self.networks["generator"].bound()
        made = self.make(lightness)
        discriminator.bound()
        real = scales(discriminator, torch.cat([lightness, colour], 1))
        fake = scales(discriminator, torch.cat([lightness, made], 1))
        pairs = list(zip(real, fake, strict=True))
        matching = sum(
            sum(l1(x.detach(), y) for x, y in zip(a[:-1], b[:-1], strict=True)) / (len(a) - 1)
            for a, b in pairs
        )
        adversarial = sum((b[-1] - 1.0).square().mean() for _, b in pairs)
        reconstruction = l1(made, colour)
        of_generator = s.reconstruction_weight * reconstruction + s.feature_weight * matching
        of_generator = of_generator + s.adversarial_weight * adversarial
        of_discriminator = sum(
            (a[-1] - 1.0).square().mean() + b[-1].square().mean() for a, b in pairs
        )
        losses = {"generator": of_generator, "discriminator": of_discriminator}
        parts = {"reconstruction": reconstruction, "adversarial": adversarial}
        return named(self.update(losses), **losses, **parts, features=matching)


STEPS = {
    "mod_defog": Defog,
    "mod_mend": Mend,
    "mod_GAN_poly": Poly,
    "mod_GAN_cloud": Cloud,
    "mod_pix2pix": Pix2pix,
    "mod_deblurgan": Deblurgan,
    "mod_colorize": Colorize,
}


# --- do they agree? -----------------------------------------------------------------------------


def as_torch(array, layout):
    """Return pictures (B, H, W, C) as PyTorch has them, (B, C, H, W)."""
    return torch.from_numpy(array.copy()).permute(0, 3, 1, 2).contiguous(memory_format=layout)


def as_keras(tensor):
    """Return a tensor (B, C, H, W) or (B, C) of PyTorch's as an array as Keras has it."""
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).numpy()


def first_steps(step, facts):
    """Take the steps that are compared; return their metrics, a dict of float each."""
    usual = dict(vars(step.settings))
    vars(step.settings).update(facts["compared"])
    found = [{n: float(v.detach()) for n, v in step().items()} for _ in facts["metrics"]]
    vars(step.settings).update(usual)
    return found


def in_float64(script, facts, arrays):
    """Return the metrics of the first steps in float64."""
    torch.set_default_dtype(torch.float64)
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    found = first_steps(STEPS[script](facts, arrays, torch.contiguous_format), facts)
    torch.set_default_dtype(torch.float32)
    return found


def apart(ours, theirs):
    """Return the largest difference of two arrays, relative to the largest of ours."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        return math.inf
    # A loss may be as good as 0, such as that under thick cloud where there is none.
    return float(np.abs(ours - theirs).max() / max(np.abs(ours).max(), 1e-3))


def agreement(step, facts, arrays, exact):
    """Compare a step that has not been taken with Keras; return what to print, and if they agree.

    A list of lines and a bool; WorkerError where they are not the same networks. exact: what
    `in_float64` returned.
    """
    said, within = [], []

    def compare(text, difference, allowed=LARGEST_DIFFERENCE):
        said.append(f"  {text}: {difference:.1e} apart, of {allowed:.1e} allowed")
        within.append(difference <= allowed)

    for name, ours in facts["counts"].items():
        theirs = sum(weight.numel() for weight in step.networks[name].weights.values())
        said.append(f"  {name}: {ours:,} weights; PyTorch {theirs:,}")
        if ours != theirs:
            raise turns.WorkerError("\n".join([*said, "not the same network; nothing is timed"]))
    with torch.no_grad():
        for name, output in step.outputs().items():
            compare(name, apart(arrays[f"outputs/{name}"], as_keras(output)))
    steps = zip(facts["metrics"], first_steps(step, facts), exact, strict=True)
    for number, (ours, theirs, right) in enumerate(steps, start=1):
        usual = LARGEST_DIFFERENCE if number == 1 else LARGEST_AFTERWARDS
        rounding = max(apart(right[name], theirs[name]) for name in theirs)
        for name, value in theirs.items():
            text = f"step {number}, {name} = {ours[name]:.5g}"
            compare(text, apart(ours[name], value), usual + ROUNDINGS * rounding)
    return said, all(within)


class Side:
    """What answers the questions of torch_step.py."""

    def hello(self):
        """Return the version of PyTorch."""
        if missing:
            raise turns.WorkerError(
                f"{sys.executable} cannot import PyTorch ({missing}), so there is nothing to "
                "compare with: pip install torch, or name another interpreter with --torch-python"
            )
        return torch.__version__

    def prepare(self, script, folder, layouts, threads):
        """Build a script's step in each layout; return what `agreement` does, of each."""
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)  # as TensorFlow does
        torch.manual_seed(0)
        facts = json.loads((Path(folder) / "reference.json").read_text(encoding="utf-8"))
        with np.load(Path(folder) / "reference.npz", allow_pickle=False) as archive:
            arrays = {name: archive[name].astype(np.float32) for name in archive.files}
        exact, self._steps, said = in_float64(script, facts, arrays), {}, {}
        for name, kind in layouts.items():
            step = STEPS[script](facts, arrays, getattr(torch, kind))
            said[name] = agreement(step, facts, arrays, exact)
            self._steps[name] = step
            for network in step.networks.values():
                network.drops = True
        return said

    def time(self, side, settle, block):
        """Return the seconds of a step in the layout that is called so."""
        return turns.seconds_a_step(self._steps[side], settle, block)


if __name__ == "__main__":
    side = Side()
    turns.answer({"hello": side.hello, "prepare": side.prepare, "time": side.time})
