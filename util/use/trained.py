"""Find a run's best network and build it as it was trained."""

import hashlib
import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import tensorflow as tf

from util.restore.by_rows import parts_of
from util.restore.sizes import over_sizes
from util.restore.specks import told_scale
from util.restore.turns import over_turns
from util.run import checkpoint, machines
from util.run.folder import RunFolder, weights_file
from util.samples.split import Split
from util.say import UserError, say
from util.settings import FIXED, HERE, mistakes, row_of, with_new_names


@dataclass(frozen=True)
class Trained:
    """A network that is ready for work.

    task : util.task.Task
    settings : the script's settings, as the checkpoint was trained with them
    networks : dict[str, keras.Model]
    path : Path of the checkpoint
    step : int
    restore : callable
        dict of float32 (B, H, W, C) -> dict of tensors; traced once, whatever H and W are.
    split : util.samples.split.Split
        Which pictures it was trained on, and which were held back.
    meta : dict
        What else the checkpoint holds: see `util.train.loop.describe`.
    by_rows : util.restore.by_rows.ByRows, optional
        How large pictures go through it some rows at a time [in tiles].
    gone : dict name -> str
        Folders that it was trained with where none is usual, that are not there now, and in whose
        place this start names none.
    """

    task: object
    settings: object
    networks: dict
    path: Path
    step: int
    restore: object
    split: object = None
    meta: dict = field(default_factory=dict)
    by_rows: object = None
    gone: dict = field(default_factory=dict)

    def __str__(self):
        whose = ", which comes with the project" if self.path == weights_file(self.task) else ""
        return f"{self.path} (step {self.step:,}{whose})"

    @property
    def origin(self):
        """What tells later which network this was, wherever its file has gone."""
        with open(self.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{self.task.name}, step {self.step}, sha256 {digest}"


def load(task, settings, path=None, given=()):
    """Build the networks of a checkpoint.

    Parameters
    ----------
    task : util.task.Task
    settings : the script's settings
        Only what belongs to this machine is taken from here, and what `given` names; the rest
        is in the checkpoint.
    path : Path, optional
        Default: best.npz of the run, or its newest checkpoint that can be read; where there is no
        run, the weights that come with the project.
    given : iterable of str
        Settings that the user set for this start.

    Raises
    ------
    UserError
        There is no checkpoint, or it is damaged or another script's.
    """
    places = [Path(path)] if path else found(task, settings)
    for place in places:
        try:
            return _load(task, settings, place, set(given))
        except FileNotFoundError:
            raise UserError(f"{place}: no such file; --checkpoint wants a .npz of a run") from None
        except checkpoint.DamagedError as error:
            reason = f"{place}: damaged or no checkpoint ({error})"
            if place == places[-1]:
                raise UserError(f"{reason}; name another one with --checkpoint") from None
            say(f"{reason}; trying an older one")
    run = RunFolder(task.name, settings)
    raise UserError(f"{run.path} holds no trained network yet; train one first: {run.command}")


def found(task, settings):
    """Return the files, list of Path, one of which `load` takes: empty if nothing was trained."""
    run = RunFolder(task.name, settings)
    newest = [path for _, path in checkpoint.found(run.checkpoints)]
    best = [run.best] if run.best.is_file() else []
    return best + newest or [path for path in [weights_file(task)] if path.is_file()]


def choose_device(settings):
    """Return the strategy of one device: the first that the settings name."""
    # Training is spread over devices and machines, a picture is not.
    os.environ.pop("TF_CONFIG", None)
    first = settings.devices.split(",")[0]
    if first.strip().lower() == "all":
        first = "gpu:0" if tf.config.list_physical_devices("GPU") else "cpu"
    strategy = machines.choose_strategy(first)
    machines.set_precision(settings.precision)
    return strategy


def _load(task, settings, path, given):
    meta = checkpoint.read_meta(path)
    if not isinstance(meta.get("settings"), dict) or meta.get("script") != task.name:
        raise UserError(
            f"{path}: belongs to {meta.get('script', 'no script')!s:.40}, not to {task.name}"
        )
    settings = as_trained(settings, meta["settings"], given)
    try:
        split = Split(settings, meta, closed=True)
    except ValueError as error:
        raise checkpoint.DamagedError(error) from error
    networks = task.make_networks(settings)
    step = checkpoint.load_networks(path, networks)
    signature = {n: tf.TensorSpec((None, None, None, c)) for n, c in task.kind.given.items()}

    @tf.function(input_signature=[signature], jit_compile=settings.jit_compile, autograph=False)
    def restore(batch):
        return task.restore(networks, batch, settings)

    many = partial(over_sizes, restore) if getattr(settings, "sizes", 1) > 1 else restore
    turns = getattr(settings, "turns", 1)
    many = partial(over_turns, many, turns) if turns > 1 else many
    by_rows = parts_of(task, networks, settings)
    had = with_new_names(type(settings), meta["settings"]).items()
    had = {n: v for n, v in had if n.endswith("_folder") and v and n not in given}
    gone = {name: value for name, value in had.items() if not getattr(settings, name, value)}
    whole = Trained(task, settings, networks, path, step, many, split, meta, by_rows, gone)
    return told_scale(whole, getattr(settings, "pixel_m", 0))


def as_trained(settings, stored, given=()):
    """Return this start's settings with those of a checkpoint in them.

    What belongs to this machine and start (`HERE`) stays, unless the checkpoint's preset sets it,
    and so does what the user set (`given`), unless it is `FIXED`.

    Raises
    ------
    UserError
        The stored settings are not sound, or the user has set another preset.
    """
    cls, taken = type(settings), {}
    stored = with_new_names(cls, stored)
    if "preset" in given and stored.get("preset", settings.preset) != settings.preset:
        raise UserError(
            f"preset = {settings.preset}: the checkpoint was trained with preset = "
            f"{stored['preset']!s:.40}, which stays; leave --preset out, or train one with it"
        )
    preset = cls.presets.get(stored.get("preset"), {})
    for name in vars(settings):
        kind = row_of(cls, name).kind
        known = preset if kind == HERE else stored
        if name not in known or (name in given and kind != FIXED):
            continue
        value = known[name]
        value = tuple(value) if isinstance(value, list) else value
        # A folder of another machine, or one that has moved: this start's own is meant. A list or
        # a single picture may stand in its place.
        if not name.endswith("_folder") or os.path.exists(value):
            taken[name] = value
    settings = replace(settings, **taken)
    found = mistakes(settings)
    if found:
        raise UserError("the checkpoint's settings are not sound:\n  " + "\n  ".join(found))
    return settings
