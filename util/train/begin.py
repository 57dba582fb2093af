"""How a start begins: with which split, which networks, and which words."""

import os

from util.run import checkpoint
from util.run.folder import as_of_now, weights_file
from util.samples.split import Split
from util.say import UserError, say
from util.settings import OTHER_SAMPLES, changes, row_of


def split_of(settings, run, meta):
    """Return the split that the run goes on with, a new one where it has no checkpoint yet.

    meta : dict or None
        The JSON part of its newest checkpoint.
    """
    try:
        return Split(settings, meta)
    except ValueError as error:
        raise UserError(
            f"{run.checkpoints}: the newest checkpoint is damaged ({error}). Move it away, or "
            "begin anew with --fresh"
        ) from None


def scores_changed(task, settings, meta):
    """Tell whether scores are others than the newest checkpoint's, for the same network.

    They are where settings have changed that samples follow from, or those of `Task.scored_with`.
    """
    changed = changes(settings, as_of_now(meta.get("settings"), settings))
    other = {n for n in changed if row_of(type(settings), n).kind == OTHER_SAMPLES}
    return bool(other or changed.keys() & set(task.scored_with))


def check_there(path, task):
    """Raise UserError where the file that a new run shall begin with is missing."""
    if not os.path.exists(path):
        raise _missing(path, task)


def _missing(path, task):
    if path == weights_file(task):
        return UserError(
            f"--from weights: no weights come with the project for {task.name}; name a .npz of a "
            "run, or train from the beginning without --from"
        )
    return UserError(f"--from {path}: no such file; a .npz of a run is meant")


def begin_with(path, task, state):
    """Set the networks of a new run from a checkpoint, those it has; all else begins as ever.

    It may be another script's, as long as its networks are of the same make. Averages of their
    weights begin with them: pictures are restored with those, from the first validation on.
    """
    try:
        held = checkpoint.networks_in(path)
        mine = {n: network for n, network in state.networks.items() if n in held}
        step = checkpoint.load_networks(path, mine or state.networks)
    except FileNotFoundError:
        raise _missing(path, task) from None
    except checkpoint.DamagedError as error:
        raise UserError(f"--from {path}: damaged or no checkpoint ({error})") from None
    except UserError:
        script = checkpoint.read_meta(path).get("script", task.name)
        if script == task.name:
            raise
        raise UserError(f"--from {path}: belongs to {script!s:.40}, not to {task.name}") from None
    for name in mine.keys() & state.averages.keys():
        twins = state.averages[name].variables, state.networks[name].variables
        for mean, now in zip(*twins, strict=True):
            mean.assign(now.numpy())
    say(f"the networks begin as those of {path} (step {step:,})")


def greet(task, settings, run, found, start, strategy):
    """Say which run it is, and what it goes on from."""
    devices = f"{strategy.num_replicas_in_sync} device(s)"
    if found:
        say(f"{task.name}: going on at step {start:,} from {found}, on {devices}")
    else:
        say(f"{task.name}: a new run in {run.path}, on {devices}; Ctrl-C stops and saves")
    if settings.epochs and settings.steps < settings.validate_every:
        say(
            f"note: {settings.epochs} epochs of these pictures are {settings.steps} step(s), fewer "
            f"than validate_every = {settings.validate_every}: too few to learn from; --steps sets "
            "another number"
        )
