"""How a start ends: in which words."""

from util.run import checkpoint
from util.say import UserError


def of_goal(settings):
    """Return what to say where a run has nothing left to do."""
    return f"this run has reached its {settings.steps:,} steps; raise {_goal(settings)} to go on"


def of_steps(run, done, settings):
    """Return what to say where a start was stopped, or has done its last step, and has saved it."""
    if done < settings.steps:
        return f"stopped at step {done:,}, saved in {run.checkpoints}. To go on: {run.command}"
    best = f"; the best network is {run.best}" if run.best.is_file() else ""
    saved = f"finished {done:,} steps, saved in {run.checkpoints}"
    return f"{saved}. To go on, raise {_goal(settings)}{best}"


def _goal(settings):
    return "epochs" if settings.epochs else "steps"


def of_skipping(run, last, skips):
    """Return what to say where too many steps in a row were skipped.

    Parameters
    ----------
    run : util.run.folder.RunFolder
    last : int
        The step whose weights they were skipped from. Finite itself, it may have blown them up;
        then nothing that was saved from there on is of use, whatever the learning rate.
    skips : int
    """
    found = checkpoint.found(run.checkpoints)
    useless = [path.name for step, path in found if step >= last]
    sound = [path.name for step, path in found if step < last]
    if useless and sound:
        these = useless[-1] + " and all newer ones" * (len(useless) > 1)
        way = f"remove {these} from {run.checkpoints} and go on from {sound[0]} with "
    elif useless:
        best = f" --from {run.best}" if _best_is_older(run, last) else ""
        way = f"begin anew with --fresh{best} and "
    else:
        way = "start again with "
    return (
        f"stopped: {skips} steps in a row had losses or gradients that were not finite, with the "
        f"weights of step {last:,}. If those have blown up, {way}a lower learning_rate; if not, "
        "look for broken pictures and start again"
    )


def _best_is_older(run, last):
    try:
        return checkpoint.step_in(run.best) < last
    except (FileNotFoundError, checkpoint.DamagedError, UserError):
        return False
