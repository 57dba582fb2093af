"""Everything that changes during a run, in one place."""

import hashlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from util.run.checkpoint import AVERAGES, layout_of, named_weights
from util.train.adam import Adam
from util.train.muon import Muon

OPTIMIZERS = {"adam": Adam, "muon": Muon}


class Update(NamedTuple):
    """What an update of the weights brought: scalars, and pictures that were made for it."""

    metrics: dict
    pictures: dict


class TrainState:
    """Hold the networks, the optimisers, the counters and the best score of a run.

    Create it within the scope of the strategy, with networks and optimisers built: a variable
    that is made later would be missing from the checkpoint.

    Parameters
    ----------
    networks : dict[str, keras.Model]
    optimizers : dict[str, keras.Optimizer]
        Under the name of the network that each one trains.
    variables : dict[str, tf.Variable]
        Whatever else the steps change (gates, balances, earlier pictures).
    rates : dict[str, float]
        Highest learning rate of each optimiser; the schedule scales it.
    frozen : dict[str, keras.Model]
        Networks that losses look through and no step changes; no checkpoint holds them.
    averages : dict[str, keras.Model]
        Twins of some networks, under the same names, whose weights follow as means over the last
        steps: with them pictures are restored.
    average : float, 0..1
        What an average keeps of itself in a step; less in the first ones, which count for little.
    clip_norm : float
        Each network's gradient is shortened to this norm; 0 leaves it as it is.
    jit_compile : bool
        Compile losses and gradients with XLA.
    """

    def __init__(
        self,
        *,
        networks,
        optimizers,
        variables=None,
        rates=None,
        frozen=None,
        averages=None,
        average=0.0,
        clip_norm=0.0,
        jit_compile=False,
    ):
        for name, optimizer in optimizers.items():
            optimizer.build(networks[name].trainable_variables)
        self.strategy = tf.distribute.get_strategy()
        self.networks = networks
        self.optimizers = optimizers
        self.rates = rates or {}
        self.frozen = frozen or {}
        self.averages, self.average = averages or {}, average
        self.clip_norm = clip_norm
        self.jit_compile = jit_compile
        self.step = variable(tf.constant(0, tf.int64), "step")
        self.skipped = variable(tf.constant(0, tf.int64), "skipped")
        self.skipped_in_a_row = variable(tf.constant(0, tf.int64), "skipped_in_a_row")
        self.variables = variables or {}
        self._sound = []  # one tensor an update of the step that is being traced
        # What only the loop changes, between steps: sums of losses since the last row of the log.
        self.best_score = float("nan")
        self.interval_steps = 0
        self.interval_sums = {}

    @classmethod
    def of(cls, networks, settings, *, rates=None, **more):
        """Build the state of networks, each of which has an optimiser of its own.

        Parameters
        ----------
        networks : dict[str, keras.Model]
        settings : the script's settings
        rates : dict[str, float]
            Highest learning rates of those networks that do not have the settings'.
        more : variables, frozen, averages, average
            See the class.
        """
        rates = dict.fromkeys(networks, settings.learning_rate) | (rates or {})
        how = {name: getattr(settings, name) for name in ("beta_1", "beta_2", "epsilon")}
        return cls(
            networks=networks,
            optimizers={n: OPTIMIZERS[settings.optimizer](rates[n], **how) for n in networks},
            rates=rates,
            clip_norm=settings.clip_norm,
            jit_compile=settings.jit_compile,
            **more,
        )

    @property
    def restoring(self):
        """The networks that pictures are restored with: averages where there are some."""
        return self.networks | self.averages

    def named_variables(self):
        """Return every variable that a checkpoint must hold: dict name -> tf.Variable, ordered."""
        named = {
            "step": self.step,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }
        for name, variable in self.variables.items():
            named[f"variables/{name}"] = variable
        named |= named_weights(self.networks) | named_weights(self.averages, AVERAGES)
        for network, optimizer in self.optimizers.items():
            for variable in optimizer.variables:
                # The rate follows from the step; a stored one would override an edited setting.
                if variable is not optimizer.learning_rate:
                    # Without Keras' own name, which counts the optimisers made so far: adam_2.
                    path = variable.path.removeprefix(f"{optimizer.name}/")
                    named[f"optimizers/{network}/{path}"] = variable.value
        return named

    def arrays(self):
        """Return the whole state as dict name -> array."""
        arrays = {name: np.asarray(v.numpy()) for name, v in self._local_variables().items()}
        arrays["best_score"] = np.float64(self.best_score)
        arrays["interval/steps"] = np.int64(self.interval_steps)
        for name, total in self.interval_sums.items():
            arrays[f"interval/sum/{name}"] = np.float64(total)
        return arrays

    def assign(self, arrays):
        """Set the whole state from what `arrays` returned."""
        for name, variable in self.named_variables().items():
            variable.assign(arrays[name])
        self.best_score = float(arrays["best_score"])
        self.interval_steps = int(arrays["interval/steps"])
        sums = {n: v for n, v in arrays.items() if n.startswith("interval/sum/")}
        self.interval_sums = {n.removeprefix("interval/sum/"): float(v) for n, v in sums.items()}

    def layout(self):
        """Return what tells whether a checkpoint fits; see `util.run.checkpoint.layout_of`."""
        return layout_of(self.named_variables())

    def digest(self):
        """Return the SHA-256 over the values of all variables, as hexadecimal text."""
        digest = hashlib.sha256()
        for name, variable in self._local_variables().items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        return digest.hexdigest()

    def update(self, compute, batch, trains=None):
        """Take one step of the optimisers: all or nothing.

        If a gradient of any replica is not finite, nothing changes (not even the averages of
        batch norm) and `end_step` will count the step as skipped. A step may update several
        times, such as a critic between two updates of its generator.

        Parameters
        ----------
        compute : callable
            ``compute(batch) -> (gradients, metrics)`` or ``(gradients, metrics, pictures)`` on
            one replica: gradients is dict network -> list as from ``tape.gradient`` of the mean
            loss over the replica's batch; metrics is a dict of scalars, means over the replica's
            batch; pictures is a dict of tensors whose first axis is the batch.
        batch : distributed or plain dict of tensors
        trains : dict[str, bool tensor], optional
            Whether a network that is named here is trained in this step; the others are.

        Returns
        -------
        Update
            Metrics as means over all replicas, with ``gradient_norm``: the length before clipping
            (where nothing is clipped, the mean of the replicas' own), which is not finite if and
            only if nothing changed. Pictures joined over all replicas.
        """
        strategy = self.strategy
        replicas = strategy.num_replicas_in_sync
        if self.jit_compile:
            compute = tf.function(compute, jit_compile=True, autograph=False)

        def on_replica(batch):
            gradients, metrics, *pictures = compute(batch)
            norms = {}
            for name, grads in gradients.items():
                gradients[name], norms[name] = self._prepared(grads, replicas)
            norm = tf.linalg.global_norm(list(norms.values()))
            bad = 1.0 - tf.cast(tf.math.is_finite(norm), tf.float32)
            return gradients, {**metrics, "gradient_norm": norm}, dict(*pictures), bad

        guarded = [v.value for model in self.networks.values() for v in _rewritten(model)]
        before = [tf.identity(v) for v in guarded]
        gradients, metrics, pictures, bad = strategy.run(on_replica, (batch,))
        sound = strategy.reduce("SUM", bad, axis=None) < 0.5

        def apply(name):
            def on_replica(grads):
                self.optimizers[name].apply(grads, self.networks[name].trainable_variables)

            def all_replicas():
                strategy.run(on_replica, (gradients[name],))
                return tf.constant(True)

            return all_replicas

        def keep():
            for name in gradients:
                if trains and name in trains:
                    tf.cond(trains[name], apply(name), lambda: tf.constant(False))
                else:
                    apply(name)()
            return tf.constant(True)

        def undo():
            for variable, value in zip(guarded, before, strict=True):
                variable.assign(value)
            return tf.constant(False)

        tf.cond(sound, keep, undo)
        self._sound.append(sound)
        if replicas > 1:
            metrics = {n: strategy.reduce("MEAN", v, axis=None) for n, v in metrics.items()}
            pictures = {n: strategy.gather(v, axis=0) for n, v in pictures.items()}
        return Update(metrics, pictures)

    def end_step(self):
        """Count the step, and whether one of its updates changed nothing."""
        skipped = tf.cast(~tf.reduce_all(self._sound), tf.int64)
        self._sound = []
        self._average(1 - skipped)
        self.skipped.assign_add(skipped)
        self.skipped_in_a_row.assign((self.skipped_in_a_row + 1) * skipped)
        self.step.assign_add(1)

    def _average(self, sound):
        """Let the averages follow the networks by a step, if `sound`."""
        done = tf.cast(self.step, tf.float32)
        kept = tf.minimum(self.average, (1.0 + done) / (10.0 + done))
        share = (1.0 - kept) * tf.cast(sound, tf.float32)
        for name, twin in self.averages.items():
            for mean, now in zip(twin.variables, self.networks[name].variables, strict=True):
                mean.assign(mean.value + tf.cast(share, mean.dtype) * (now.value - mean.value))

    def _prepared(self, grads, replicas):
        """Return one network's gradients, ready for its optimiser, and their norm before clipping.

        The optimiser adds up what the replicas bring, so each brings its share of the mean. To
        clip, the mean must be known first: clipping each replica's own would depend on their
        number.
        """
        if replicas > 1 and self.clip_norm:
            grads = tf.distribute.get_replica_context().all_reduce("MEAN", list(grads))
        norm = tf.linalg.global_norm(grads)
        scale = 1.0 / replicas
        if self.clip_norm:
            scale *= tf.minimum(1.0, self.clip_norm / tf.maximum(norm, 1e-12))
        return [g * scale for g in grads], norm

    def _local_variables(self):
        """Return dict name -> the copy of each variable that this process holds first."""
        return {
            name: v.values[0] if isinstance(v, tf.distribute.DistributedValues) else v
            for name, v in self.named_variables().items()
        }


def _rewritten(model):
    """Return the variables that a pass in training mode writes itself, before any optimiser."""
    averages = [v for v in model.non_trainable_variables if v.dtype.startswith(("float", "bfloat"))]
    bounded = [x for x in model.layers if isinstance(x, keras.layers.SpectralNormalization)]
    return averages + [layer.kernel for layer in bounded]


def variable(value, name):
    """Return a variable of a state: the same on all replicas, and no optimiser moves it.

    Within a step it is assigned outside of `TrainState.update`'s replicas.
    """
    first = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(value, trainable=False, name=name, aggregation=first)
