"""The only training loop: step, watch, stop, save, go on."""

import contextlib
import platform
from dataclasses import asdict
from datetime import datetime

import keras
import numpy as np
import tensorflow as tf

from util import interrupt
from util.measure.scores import mean_scores
from util.run import checkpoint, machines
from util.run.folder import RunFolder
from util.run.report import Report
from util.samples.batches import batches, drawing, stack
from util.say import UserError, say
from util.train import begin, end
from util.train.schedule import learning_rate, sheet_due, with_steps

SKIPS_BEFORE_STOPPING = 20
# What a step takes its memory for, whichever of them a script has.
_TAKE_MEMORY = (
    *("batch_size", "crop_px", "base_width"),
    *("stage1_width", "stage2_width", "generator_width", "critic_width"),
)


def describe(task, settings, split):
    """Return what a checkpoint keeps besides the state: script, settings, split, versions, threads.

    split: what `util.samples.split.Split.stored` returned.
    """
    return {
        "script": task.name,
        "settings": asdict(settings),
        "split": split,
        "saved": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        # Other thread counts, precisions or XLA give other last bits: kept to explain them.
        "threads": [
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ],
    }


def make_step(task, state, settings):
    """Return the compiled training step: batch -> (dict of scalars, skipped steps in a row).

    It is traced as it stands: what depends on a tensor is decided by ``tf.cond`` or ``tf.where``.
    """

    @tf.function(autograph=False)  # to translate Python's own if and for would take half the time
    def step(batch):
        def rate_now(highest):
            return learning_rate(
                state.step,
                highest=highest,
                warmup_steps=settings.warmup_steps,
                total_steps=settings.steps,
                final_share=settings.final_rate_share,
                drop_every=settings.rate_drop_every,
            )

        rate = rate_now(settings.learning_rate)
        for name, optimizer in state.optimizers.items():
            own = state.rates.get(name, settings.learning_rate)
            same = own == settings.learning_rate
            optimizer.learning_rate.assign(rate if same else rate_now(own))
        metrics = task.train_step(state, batch, settings)
        state.end_step()
        return {**metrics, "learning_rate": rate}, tf.identity(state.skipped_in_a_row)

    return step


class Validation:
    """Measure a network on samples that never change, and show some of them."""

    def __init__(self, task, networks, settings, sample):
        self._task, self._settings = task, settings
        self._batch = stack(sample, range(settings.validation_samples))

        def restore(batch):
            found = task.restore(networks, batch, settings)
            return found | (task.judge(networks, batch, found, settings) if task.judge else {})

        self._restore = tf.function(restore, autograph=False)

    def outputs(self, count=None):
        """Return inputs and network outputs of the first `count` samples as one dictionary."""
        count = count or self._settings.validation_samples
        size = min(self._settings.batch_size, self._settings.validation_samples)
        parts = []
        for start in range(0, count, size):
            # Always whole batches: another size would be traced again.
            rows = np.arange(start, start + size) % self._settings.validation_samples
            restored = self._restore({n: tf.constant(v[rows]) for n, v in self._batch.items()})
            parts.append({n: v.numpy() for n, v in restored.items()})
        found = {n: np.concatenate([p[n] for p in parts])[:count] for n in parts[0]}
        return {**{n: v[:count] for n, v in self._batch.items()}, **found}

    def scores(self):
        """Return the mean scores over all validation samples."""
        outputs = self.outputs()
        rows = [
            self._task.measure.validation({n: v[i] for n, v in outputs.items()})
            for i in range(self._settings.validation_samples)
        ]
        return mean_scores(rows)

    def sheet(self):
        """Return the columns of a sheet: dict title -> pictures."""
        return self._task.sheet(self.outputs(min(6, self._settings.validation_samples)))


def train(task, settings, strategy, begin_with=None, fresh=False):
    """Train or go on training until the last step, a signal, or too many skipped steps.

    The caller holds the run (`util.run.folder.RunFolder.held`) if this is the process that
    writes it.

    Parameters
    ----------
    task : util.task.Task
    settings : the script's settings
    strategy : tf.distribute.Strategy
    begin_with : Path, optional
        A checkpoint, or weights, whose networks a new run begins with.
    fresh : bool
        Begin a new run; the old one moves to the history once the new one is sure to begin.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    UserError
        Settings, pictures or `begin_with` do not do, or there is too little memory.
    """
    try:
        return _train(task, settings, strategy, begin_with, fresh)
    except (tf.errors.ResourceExhaustedError, MemoryError):
        taken = [f"{n} = {getattr(settings, n)}" for n in _TAKE_MEMORY if hasattr(settings, n)]
        raise UserError(
            f"too little memory for a step with {', '.join(taken)}: lower one of them, batch_size "
            "first. What was saved is whole"
        ) from None


def _train(task, settings, strategy, begin_with, fresh):
    chief, run = machines.is_chief(strategy), RunFolder(task.name, settings)
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise UserError(
            f"batch_size = {settings.batch_size}: must be a multiple of the number of devices, "
            f"{strategy.num_replicas_in_sync}"
        )
    machines.fix_order_of_sums(strategy)
    meta = None if fresh else checkpoint.newest_meta(run.checkpoints)
    if begin_with and not meta:
        begin.check_there(begin_with, task)  # before all that takes time
    split = begin.split_of(settings, run, meta)
    train_sample, validation_sample = task.samples(settings, progress=chief, split=split)
    settings = with_steps(settings, train_sample)
    keras.utils.set_random_seed(settings.seed)  # the first weights
    with strategy.scope():
        state = task.make_state(settings)
    if chief:
        run.sweep()
    found = None if fresh else checkpoint.restore_newest(run.checkpoints, state)
    if begin_with and not found:
        begin.begin_with(begin_with, task, state)
    agreement = machines.Agreement(strategy)
    start = int(state.step.numpy())
    if not agreement.same(start):
        raise UserError(
            f"the workers found different checkpoints in {run.path}: the run's folder must be one "
            "that all machines share"
        )
    if chief:
        if fresh:
            run.move_to_history()
        run.keep()
        begin.greet(task, settings, run, found, start, strategy)
    if start >= settings.steps:
        say(end.of_goal(settings))
        return 0
    validation = None
    if chief:
        validation = Validation(task, state.restoring, settings, validation_sample)
        if not run.best.is_file():
            state.best_score = float("nan")  # whatever was best is gone
        elif meta and (split.moved or begin.scores_changed(task, settings, meta)):
            state.best_score = _best_score(task, state, settings, run.best, validation_sample)
    going = _Start(task, settings, state, run, validation, split.stored())
    processes = settings.sample_processes or machines.sample_processes(strategy)
    with contextlib.closing(going.report), drawing(train_sample, processes) as fill:
        if chief and begin_with and not found:
            going.validate(start)  # what it begins with is its best network until it is bettered
        how = {"batch_size": settings.batch_size, "first_step": start, "fill": fill}
        return going.steps(iter(batches(train_sample, strategy=strategy, **how)), agreement)


def _best_score(task, state, settings, path, sample):
    """Return the score of the best network so far, measured as it is now.

    It is measured in the networks of the state, which have their own weights again afterwards:
    built anew, layers without names of their own would have others.
    """
    networks = state.restoring
    weights = [weight for network in networks.values() for weight in network.weights]
    own = [weight.numpy() for weight in weights]
    try:
        checkpoint.load_networks(path, networks)
        return Validation(task, networks, settings, sample).scores()[task.measure.best[0]]
    except (FileNotFoundError, checkpoint.DamagedError):
        return float("nan")
    finally:
        for weight, value in zip(weights, own, strict=True):
            weight.assign(value)


class _Start:
    """One start of a run, from its first step to its last."""

    def __init__(self, task, settings, state, run, validation, split):
        self.task, self.settings, self.state, self.run = task, settings, state, run
        self.split = split
        self.validation, self.chief = validation, validation is not None
        self.pending, self.first = [], int(state.step.numpy())
        self.learned = self.first - int(state.skipped_in_a_row.numpy())  # the step of its weights
        state.skipped_in_a_row.assign(0)
        self.report = Report(
            run.path,
            title=task.name,
            start_step=self.first,
            total_steps=settings.steps,
            batch_size=settings.batch_size,
            quiet=not self.chief,
        )

    def steps(self, ready, agreement):
        settings, state = self.settings, self.state
        step = make_step(self.task, state, settings)
        interrupt.guard()
        skipped = 0
        for done in range(self.first + 1, settings.steps + 1):
            skipped_before = skipped
            metrics, skipped = step(next(ready))
            self.pending.append(metrics)
            # The step before this one: waiting for the one just started would idle a GPU.
            if int(skipped_before) >= SKIPS_BEFORE_STOPPING:
                return self._stop_skipping(done)
            self.report.step(done)
            self._look(done)
            stop = agreement.any(interrupt.requested())
            last = stop or done == settings.steps
            if last or done % settings.save_every == 0:
                saved = self._save(done)
            if last:
                break
        return self._end(done, saved)

    def _stop_skipping(self, done):
        """Save what was learned since the newest checkpoint, if anything, and say what to do."""
        last = done - int(self.state.skipped_in_a_row.numpy())
        last = last if last > self.first else self.learned
        if last > max([self.first, *(n for n, _ in checkpoint.found(self.run.checkpoints))]):
            self._save(done)
        self.report.say(end.of_skipping(self.run, last, SKIPS_BEFORE_STOPPING))
        return 1

    def _look(self, done):
        """Log, validate and show, each when its time has come."""
        settings = self.settings
        if done % settings.log_every == 0:
            self._fold_pending()
            means = {n: t / self.state.interval_steps for n, t in self.state.interval_sums.items()}
            self.state.interval_steps, self.state.interval_sums = 0, {}
            self.report.losses(done, means)
        if not self.chief:
            return
        if done % settings.validate_every == 0 or done == settings.steps:
            self.validate(done)
        if sheet_due(done, sheet_every=settings.sheet_every, total_steps=settings.steps):
            self.report.sheet(done, self.validation.sheet())
            self.report.plot()

    def _fold_pending(self):
        """Add the losses of the steps since the last fold to the sums that the state keeps."""
        if not self.pending:
            return
        for name in self.pending[0]:
            total = float(np.sum([float(metrics[name]) for metrics in self.pending]))
            self.state.interval_sums[name] = self.state.interval_sums.get(name, 0.0) + total
        self.state.interval_steps += len(self.pending)
        self.pending = []

    def validate(self, done):
        """Score the network, and keep it if it is the best so far."""
        scores = self.validation.scores()
        self.report.scores(done, scores)
        name, sign = self.task.measure.best
        better = sign * scores[name] > sign * self.state.best_score
        if better or (np.isnan(self.state.best_score) and np.isfinite(scores[name])):
            before, self.state.best_score = self.state.best_score, scores[name]
            if not self._write(self.run.best):
                self.state.best_score = before  # the file is still that of the score before

    def _save(self, done):
        self._fold_pending()
        if not self.chief:
            return True
        saved = self._write(checkpoint.path_of(self.run.checkpoints, done))
        # Where steps are skipped the weights may have blown up: the sound ones are older then.
        if saved and not int(self.state.skipped_in_a_row.numpy()):
            checkpoint.thin_out(self.run.checkpoints, self.settings.keep_checkpoints)
        return saved

    def _write(self, path):
        try:
            checkpoint.save(path, self.state, describe(self.task, self.settings, self.split))
        except OSError as error:
            self.report.say(
                f"{path}: could not be saved ({error.strerror or error}); training goes on, the "
                "checkpoint before it is whole. Make room on the disk"
            )
            return False
        return True

    def _end(self, done, saved):
        if not self.chief:
            return interrupt.exit_status()
        if not saved:
            self.report.say(f"stopped at step {done:,}, but the last save failed; see above")
            return 1
        self.report.say(end.of_steps(self.run, done, self.settings))
        return interrupt.exit_status()
