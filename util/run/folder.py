"""The folder of a script's live run: what lies where in it, who holds it, how it was begun."""

import contextlib
import errno
import json
import os
import shlex
import socket
from dataclasses import asdict
from pathlib import Path

from util import files
from util.run.history import move_to_history
from util.say import UserError, say
from util.settings import FIXED, OTHER_SAMPLES, changes, home_of, is_usual, row_of, with_new_names


class RunFolder:
    """Know the places of a run.

    Parameters
    ----------
    name : str
        The script's.
    settings : the script's settings

    Attributes
    ----------
    path : Path
        The folder, whether or not it is there yet.
    checkpoints : Path
        The folder of the newest checkpoints.
    best : Path
        The checkpoint with the best validation score.
    """

    def __init__(self, name, settings):
        self._name, self._settings = name, settings
        self.path = Path(settings.runs_folder) / name
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best.npz"

    @property
    def command(self):
        """What begins the run, or goes on with it, on the command line."""
        if is_usual(self._settings, "runs_folder"):
            return f"python {self._name}.py"
        return f"python {self._name}.py --runs-folder {shlex.quote(str(self.path.parent))}"

    @contextlib.contextmanager
    def held(self):
        """Hold the run; it is free again when the process ends, however it ends.

        Raises
        ------
        UserError
            Another process holds it; the message says which.
        """
        # Beside the folder, so that the folder can move to the history.
        place = self.path.with_name(f".{self._name}.lock")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # Not buffered: nothing is left that could fail when it is closed.
            file = open(place, "a+b", buffering=0)  # noqa: SIM115 - closed by the with below
        except OSError as error:
            raise UserError(
                f"{place.parent}: cannot be written ({error.strerror}); set runs_folder to a "
                "folder that can"
            ) from None
        with file:
            try:
                _lock(file)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                    file.seek(0)
                    holder = file.read().decode(errors="replace").strip() or "another process"
                    raise UserError(
                        f"{self._name} is being trained by {holder}. Stop that one first, or set "
                        "another runs_folder"
                    ) from None
                say(
                    f"note: {place.parent} cannot be locked ({error.strerror}), as on some network "
                    f"disks; do not start {self._name} there twice at a time"
                )
            with contextlib.suppress(OSError):  # a full disk: then the holder has no name
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield

    def move_to_history(self):
        """Move the run, if there is one, to the history folder, and say where it is."""
        try:
            moved = move_to_history(self.path, Path(self._settings.history_folder))
        except OSError as error:
            raise UserError(f"the old run could not be moved to the history: {error}") from None
        if moved:
            say(f"the old run is now in {moved}")

    @property
    def kept(self):
        """What the run keeps unless the user says otherwise, dict name -> value.

        {} without a run that has a checkpoint.

        Its preset, and how it was split; and of what cannot change within a run that which was the
        default once: whoever set nothing goes on with the networks and the pictures of the run.
        """
        cls, known = type(self._settings), vars(self._settings)
        before = {n: v for n, v in self._settings_before().items() if n in known}
        once = [n for n, v in cls.unsaid.items() if n in before and before[n] == v]
        once = [n for n in once if row_of(cls, n).kind == FIXED]
        return {n: v for n, v in before.items() if n in ("preset", "validation_by", *once)}

    def compare(self):
        """Say what has changed in the settings since the run's last start.

        Raises
        ------
        UserError
            A setting has changed that cannot change within a run.
        """
        settings, cls = self._settings, type(self._settings)
        changed = changes(settings, self._settings_before())
        if "preset" in changed:
            before, now = changed["preset"]
            raise UserError(
                f"preset = {now}: the run in {self.path} was begun with preset = {before}, which "
                "stays; leave --preset out, or begin anew with --fresh"
            )
        refused = [n for n in changed if row_of(cls, n).kind == FIXED]
        if refused:
            lines = "\n".join(
                f"  {n}: {changed[n][0]!r} before, {changed[n][1]!r} now" for n in refused
            )
            raise UserError(
                f"these settings cannot change within the run in {self.path}:\n{lines}\n"
                "Put them back, or begin anew with --fresh (the old run moves to "
                f"{settings.history_folder})"
            )
        for name, (before, now) in changed.items():
            kind = row_of(cls, name).kind
            other = ", so other samples from here on" if kind == OTHER_SAMPLES else ""
            say(f"{name}: {before!r} before, {now!r} now{other}")

    def keep(self):
        """Keep the settings of this start as those of the run: once nothing else can be refused.

        Raises
        ------
        UserError
            They cannot be written.
        """
        try:
            files.write(self._settings_file, json.dumps(asdict(self._settings), indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"{self._settings_file}: cannot be written ({error.strerror}). Make room on the "
                "disk, or set runs_folder to a place that can be written"
            ) from None

    def sweep(self):
        """Remove what writers that were killed have left; call it holding the run."""
        for folder in (self.path, self.checkpoints, self.path / "sheets"):
            files.sweep(folder)

    @property
    def _settings_file(self):
        return self.path / "settings.json"

    def _settings_before(self):
        """Return the settings of the last start by their names of today: dict name -> value.

        {} if there is no checkpoint, sound or damaged: a start that came to nothing binds nobody.
        {} as well if the file is damaged. That is no reason to stop: the checkpoint's own
        fingerprint guards the networks.
        """
        if not any(self.checkpoints.glob("*step-*.npz")):
            return {}
        try:
            found = json.loads(self._settings_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return as_of_now(found, self._settings)


def as_of_now(stored, settings):
    """Return the settings of an earlier start, dict name -> value; {} if they are none.

    They have their names of today, and where the project was moved or copied with its runs, its
    folder of today: what lies in it is the same as before.
    """
    if not isinstance(stored, dict):
        return {}
    cls = type(settings)
    before = with_new_names(cls, stored)
    runs, usual = str(before.get("runs_folder")), os.sep + cls.runs_folder
    home = runs.removesuffix(usual) + os.sep
    if home in (runs + os.sep, os.sep) or not is_usual(settings, "runs_folder"):
        return before
    return {
        name: os.path.join(home_of(cls), value.removeprefix(home))
        if name.endswith(("_folder", "_file")) and str(value).startswith(home)
        else value
        for name, value in before.items()
    }


def weights_file(task):
    """Return the file of the weights that come with the project for a script, there or not."""
    return Path(home_of(task.settings), "weights", f"{task.name}.npz")


def _lock(file):
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
