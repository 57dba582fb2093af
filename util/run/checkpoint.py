"""Save a run's state, find it again, and never trust a file.

A checkpoint is one uncompressed ``.npz`` of plain arrays, ``step-0001200.npz``, written to a
temporary file, synced and renamed: whatever happens, a file of that name is whole. It is read
array by array, and only if name, shape and type are those of the network that was built.
"""

import contextlib
import hashlib
import json
import os
import re
import tokenize
import zipfile
import zlib

import numpy as np

from util import files
from util.say import UserError, say

_NAME = re.compile(r"step-(\d{7,})\.npz")
_DAMAGED = "damaged-"
_META = "meta"
NETWORKS = "networks/"  # what the names of their weights begin with
AVERAGES = "averages/"  # and those of their means over many steps
_HEADER_BYTES = 4096  # more than any header that NumPy writes for a plain array


class DamagedError(Exception):
    """Say why a file cannot be read as a checkpoint."""


def fingerprint(layout):
    """Return the SHA-256 of a state's layout, as hexadecimal text."""
    return hashlib.sha256("\n".join(layout).encode()).hexdigest()


def save(path, state, meta):
    """Write a state to `path`, whole or not at all.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    state : TrainState
    meta : dict
        What else to keep, as JSON: the settings, the versions.

    Raises
    ------
    OSError
        The disk is full or cannot be written; nothing is left behind.
    """
    layout = state.layout()
    meta = {**meta, "fingerprint": fingerprint(layout), "layout": layout}
    arrays = {**state.arrays(), _META: np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(path) as file:
        np.savez(file, **arrays)


def save_networks(path, networks, step, meta):
    """Write networks alone to `path`, in half precision: what is needed to apply them.

    Parameters
    ----------
    path : Path
        Written as it is named: whoever calls makes sure that it comes to be whole.
    networks : dict[str, keras.Model]
    step : int
        That they were trained to.
    meta : dict
        As for `save`.
    """
    named = named_weights(networks)
    layout = layout_of(named)
    meta = {**meta, "fingerprint": fingerprint(layout), "layout": layout, "stored": "float16"}
    arrays = {name: _half(variable.numpy()) for name, variable in named.items()}
    arrays |= {"step": np.int64(step), _META: np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _half(array):
    return array.astype(np.float16) if array.dtype == np.float32 else array


def path_of(folder, step):
    """Return the file of the checkpoint at `step`."""
    return folder / f"step-{step:07d}.npz"


def found(folder):
    """Return the checkpoints in `folder`, newest first: list of (step, Path)."""
    if not folder.is_dir():
        return []
    matches = [(_NAME.fullmatch(p.name), p) for p in folder.iterdir()]
    return sorted(((int(m[1]), p) for m, p in matches if m), reverse=True)


def thin_out(folder, keep):
    """Remove all but the newest `keep` checkpoints."""
    for _, path in found(folder)[keep:]:
        with contextlib.suppress(OSError):
            path.unlink()


def read_meta(path):
    """Return the JSON part of a checkpoint.

    Raises
    ------
    DamagedError
        The file is no checkpoint, or a damaged one.
    """
    with _opened(path) as archive:
        return _meta(archive)


def newest_meta(folder):
    """Return the JSON part of the newest checkpoint that has one; None if there is none."""
    for _, path in found(folder):
        with contextlib.suppress(FileNotFoundError, DamagedError):
            return read_meta(path)
    return None


def load(path, state):
    """Set `state` from the checkpoint at `path`: everything, or nothing if anything is wrong.

    Parameters
    ----------
    path : Path
    state : TrainState

    Raises
    ------
    DamagedError
        The file cannot be read to its end.
    UserError
        It is whole but belongs to other networks; the message lists the differences.
    """
    with _opened(path) as archive:
        _check_fits(path, _meta(archive), state.layout())
        arrays = _arrays(archive, state.named_variables())
        arrays["best_score"] = _array(archive, "best_score", (), np.float64)
        arrays["interval/steps"] = _array(archive, "interval/steps", (), np.int64)
        for member in archive.namelist():
            if member.startswith("interval/sum/"):
                name = member.removesuffix(".npy")
                arrays[name] = _array(archive, name, (), np.float64)
    state.assign(arrays)


def load_networks(path, networks):
    """Set networks from the checkpoint at `path`, all or none; return the step it was saved at.

    Where it has averages of a network's weights, they are taken.

    Parameters
    ----------
    path : Path
    networks : dict[str, keras.Model]
        All that are in it, or some.

    Errors as in `load`.
    """
    named = named_weights(networks)
    with _opened(path) as archive:
        meta = _meta(archive)
        mine = tuple(f"{NETWORKS}{network}/" for network in networks)
        _check_fits(path, meta, layout_of(named), only=mine)
        held = set(archive.namelist())
        means = {name: AVERAGES + name.removeprefix(NETWORKS) for name in named}
        places = {name: mean if f"{mean}.npy" in held else name for name, mean in means.items()}
        wanted = {places[name]: variable for name, variable in named.items()}
        arrays = _arrays(archive, wanted, float32=meta.get("stored", "float32"))
        step = _array(archive, "step", (), np.int64)
    for name, variable in named.items():
        variable.assign(arrays[places[name]])
    return int(step)


def networks_in(path):
    """Return the names of the networks that the checkpoint at `path` holds. Errors as in `load`."""
    lines = [line for line in read_meta(path)["layout"] if line.startswith(NETWORKS)]
    return {line.split("/")[1] for line in lines}


def step_in(path):
    """Return the step that the checkpoint at `path` was saved at. Errors as in `load`."""
    with _opened(path) as archive:
        return int(_array(archive, "step", (), np.int64))


def named_weights(networks, kind=NETWORKS):
    """Return every variable of networks under the name that a checkpoint gives it."""
    return {
        f"{kind}{network}/{variable.path}": variable.value
        for network, model in networks.items()
        for variable in model.variables
    }


def layout_of(named):
    """Return the ordered list of (name, shape, dtype) of variables, as text lines.

    Hashed, it is the fingerprint that tells whether a checkpoint fits these networks: two
    layers of the same shape that changed places have other names, so they are noticed.
    """
    return [f"{name} {tuple(v.shape)} {v.dtype.name}" for name, v in named.items()]


def restore_newest(folder, state):
    """Set `state` from the newest checkpoint that can be read; set damaged ones aside.

    A line on stderr names each damaged file.

    Parameters
    ----------
    folder : Path
    state : TrainState

    Returns
    -------
    Path or None
        The file used; None if the folder holds no checkpoint.

    Raises
    ------
    UserError
        There are checkpoints, but none can be used. Nothing has been changed but names.
    """
    for _, path in found(folder):
        try:
            load(path, state)
        except FileNotFoundError:
            continue  # another worker has just set it aside
        except DamagedError as error:
            aside = _set_aside(path)
            say(f"{path}: damaged ({error}); set aside as {aside.name}, trying an older one")
        else:
            return path
    damaged = sorted(folder.glob(f"{_DAMAGED}*"))
    if damaged:
        raise UserError(
            f"{folder}: none of the {len(damaged)} checkpoint(s) can be read (kept as "
            f"{_DAMAGED}*). Put a copy back, or begin anew with --fresh, which moves this run "
            "to the history"
        )
    return None


def _set_aside(path):
    """Rename a damaged file; one that was set aside before keeps its name."""
    aside = files.free_name(path.parent, f"{_DAMAGED}{path.name}")
    with contextlib.suppress(FileNotFoundError):  # another worker was quicker
        os.replace(path, aside)
    return aside


@contextlib.contextmanager
def _opened(path):
    """Open a checkpoint; turn every way in which a broken file fails into DamagedError."""
    try:
        with zipfile.ZipFile(path) as archive:
            # Nothing is compressed, so no header may promise more than there is.
            promised = sum(member.file_size for member in archive.infolist())
            if promised > os.path.getsize(path):
                raise ValueError(f"its parts claim {promised} bytes, more than the file has")
            yield archive
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its owner") from None
    except (
        *(zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError),
        *(NotImplementedError, RuntimeError, TypeError, AttributeError, MemoryError),
        tokenize.TokenError,
    ) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error


def _arrays(archive, named, float32="float32"):
    """Return the array of each variable: dict name -> array.

    float32 : {"float32", "float16"}
        How the file has what is float32 in the networks.
    """
    if float32 not in ("float32", "float16"):
        raise ValueError(f"its weights are stored as {float32!s:.20}")
    stored = {"float32": np.dtype(float32)}
    return {
        name: _array(archive, name, tuple(v.shape), stored.get(v.dtype.name, v.dtype.name))
        for name, v in named.items()
    }


def _array(archive, name, shape, dtype):
    """Read one array, its size checked before and its CRC while it is read."""
    member = archive.getinfo(f"{name}.npy")
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if member.compress_type != zipfile.ZIP_STORED or not (
        size <= member.file_size <= size + _HEADER_BYTES
    ):
        raise ValueError(f"{name} has {member.file_size} bytes where {size} belong")
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        # zipfile compares the CRC when the end is reached, which read_array need not do.
        if file.read(1):
            raise ValueError(f"{name} is longer than its header says")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype}{array.shape} where {dtype}{shape} belongs")
    return array


def _meta(archive):
    member = archive.getinfo(f"{_META}.npy")
    return json.loads(_array(archive, _META, (_length(archive, member),), np.uint8).tobytes())


def _length(archive, member):
    with archive.open(member) as file:
        np.lib.format.read_magic(file)
        (length,), _, _ = np.lib.format.read_array_header_1_0(file)
    return length


def _check_fits(path, meta, layout, only=""):
    if not only and meta["fingerprint"] == fingerprint(layout):
        return
    stored = [line for line in meta["layout"] if line.startswith(only)]
    built = [line for line in layout if line.startswith(only)]
    if stored == built and (only or meta["fingerprint"] == fingerprint(meta["layout"])):
        return
    differences = [("  in the file: ", line) for line in stored if line not in built]
    differences += [("  built now:   ", line) for line in built if line not in stored]
    # Stable: what belongs to one name stands together, in the order in which names appear.
    names = {name: i for i, name in enumerate(dict.fromkeys(d[1].split()[0] for d in differences))}
    differences.sort(key=lambda difference: names[difference[1].split()[0]])
    differences = [where + line for where, line in differences]
    more = [f"  and {len(differences) - 8} more"] if len(differences) > 8 else []
    raise UserError(
        "\n".join(
            [
                f"{path}: this checkpoint belongs to other networks",
                *(differences[:8] or ["  the same variables in another order"]),
                *more,
                "Put the settings back as they were, or begin anew with --fresh",
            ]
        )
    )
