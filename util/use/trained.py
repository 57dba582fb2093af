"""Find a run's best network and build it as it was trained."""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

import tensorflow as tf

import configure
from util.run import checkpoint, machines
from util.say import UserError, say
from util.train import loop

# What belongs to this machine and this start, not to the run that made the checkpoint.
_LOCAL = {"runs_folder", "history_folder", "cache_folder", "devices", "precision", "jit_compile"}
_LOCAL |= {"max_pixels", "apply_tile_px", "apply_margin_px", "clear_below"}
_LOCAL |= {"hole_colour", "hole_margin_px"}
_LOCAL |= {"perceptual_layer", "vgg_weights_file"}  # of the training alone


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
    """

    task: object
    settings: object
    networks: dict
    path: Path
    step: int
    restore: object

    def __str__(self):
        return f"{self.path} (step {self.step:,})"


def load(task, settings, path=None, given=()):
    """Build the networks of a checkpoint.

    Parameters
    ----------
    task : util.task.Task
    settings : the script's settings
        Only what belongs to this machine is taken from here, and what `given` names; the rest
        is in the checkpoint.
    path : Path, optional
        Default: best.npz of the run, or its newest checkpoint that can be read.
    given : iterable of str
        Settings that the user set for this start.

    Raises
    ------
    UserError
        There is no checkpoint, or it is damaged or another script's.
    """
    places = [Path(path)] if path else _of_run(task, settings)
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
    run = loop.run_folder(task, settings)
    raise UserError(f"{run} holds no trained network yet; train one first: python {task.name}.py")


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


def _of_run(task, settings):
    run = loop.run_folder(task, settings)
    newest = [path for _, path in checkpoint.found(loop.checkpoints_folder(run))]
    best = run / loop.BEST
    return ([best] if best.is_file() else []) + newest


def _load(task, settings, path, given):
    meta = checkpoint.read_meta(path)
    if not isinstance(meta.get("settings"), dict) or meta.get("script") != task.name:
        raise UserError(
            f"{path}: belongs to {meta.get('script', 'no script')!s:.40}, not to {task.name}"
        )
    settings = _as_trained(settings, meta["settings"], given)
    state = task.make_state(settings)
    checkpoint.load(path, state, only="networks/")
    checkpoint.load(path, state, only="step")
    networks = state.networks
    signature = {n: tf.TensorSpec((None, None, None, c)) for n, c in task.inputs.items()}

    @tf.function(input_signature=[signature], jit_compile=settings.jit_compile)
    def restore(batch):
        return task.restore(networks, batch, settings)

    return Trained(task, settings, networks, path, int(state.step.numpy()), restore)


def _as_trained(settings, stored, given):
    """Return the settings with those of the checkpoint in them."""
    taken = {}
    for field in fields(settings):
        name = field.name
        mine = name in given and name not in configure.SHAPE_SETTINGS
        if name not in stored or name in _LOCAL or mine:
            continue
        value = stored[name]
        value = tuple(value) if isinstance(value, list) else value
        # A folder of another machine, or one that has moved: this start's own is meant.
        if not name.endswith("_folder") or Path(value).is_dir():
            taken[name] = value
    settings = replace(settings, **taken)
    found = configure.mistakes(settings)
    if found:
        raise UserError("the checkpoint's settings are not sound:\n  " + "\n  ".join(found))
    return settings
