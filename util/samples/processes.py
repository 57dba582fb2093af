"""Draw samples in processes of their own: for a GPU, which two threads cannot keep busy.

Python's threads take turns, so that two of them draw hardly more than one. A process is handed the
samples once; numbers come in at its standard input, pixels go out at its standard output. So it
needs no shared memory, of which containers have little; it never loads TensorFlow; and it ends
when its input does, however the training ended.
"""

import contextlib
import io
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from util.say import say

NOT_HANDED_OVER = (pickle.PicklingError, AttributeError, TypeError)  # what `pickle` raises

NICENESS = 10  # of whoever draws samples; not the greatest, 19: beside other work they would starve
_PIPE_BYTES = 1 << 20  # of a pipe, where it can be said: a sample of 128 x 128 has half of it
_NUMBER = struct.Struct("<q")
_CHILD = "from util.samples.processes import serve; serve()"


# --- here ---------------------------------------------------------------------------------------


def fill_here(batch, sample, numbers, places):
    """Fill these places of a batch, dict of float32 (B, ...), in this thread."""
    for place in places:
        for name, array in sample(int(numbers[place])).items():
            batch[name][place] = array


class Processes:
    """Fill batches by processes. What one that has ended should have drawn is drawn here.

    Parameters
    ----------
    sample : callable
        ``sample(number) -> dict[str, float32 array]``, pure.
    count : int
        Processes, 1 or more; they start with the first batch.

    Raises
    ------
    pickle.PicklingError, AttributeError, TypeError
        `sample` cannot be handed over: it holds a function within a function, or something open.
    """

    def __init__(self, sample, count):
        self._sample, self._count = sample, count
        self._said, self._lock = set(), threading.Lock()
        handed = pickle.dumps(sample)
        self._all = [_Process(handed) for _ in range(count)]
        self._free = queue.SimpleQueue()
        for process in self._all:
            self._free.put(process)
        # A thread hands numbers to a process, and waits for pixels without Python's lock.
        self._threads = ThreadPoolExecutor(count, "samples")

    def fill(self, batch, numbers):
        """Fill a batch, dict of float32 (B, ...), with the samples of B numbers; thread-safe.

        What a sample raises is raised.
        """
        shares = [range(len(numbers))[nth :: self._count] for nth in range(self._count)]
        try:
            parts = [self._threads.submit(self._draw, batch, numbers, s) for s in shares if s]
        except RuntimeError:  # closed, or the interpreter is ending: a pipeline's last batches
            fill_here(batch, self._sample, numbers, range(len(numbers)))
        else:
            for part in parts:
                part.result()

    def close(self):
        """End the processes; batches can still be filled, here."""
        for process in self._all:
            process.end()
        self._threads.shutdown()

    def _draw(self, batch, numbers, places):
        process = self._free.get()
        try:
            self._say(process.draw(batch, numbers, places))
        except _EndedError as ended:
            self._say(ended.args)
            fill_here(batch, self._sample, numbers, places)
        finally:
            self._free.put(process)

    def _say(self, lines):
        """Say what no process has said before: each finds out by itself that a file was lost."""
        with self._lock:
            new = [line for line in lines if line not in self._said]
            self._said.update(new)
        if new:
            say(*new)


class _EndedError(Exception):
    """There is no process any more; the arguments are the lines that say why."""


class _Process:
    """One process, from the side that hands it numbers. One thread at a time uses it."""

    def __init__(self, handed):
        self._handed, self._child = handed, None
        self._lost, self._lock = False, threading.Lock()

    def draw(self, batch, numbers, places):
        """Fill these places of a batch; return the lines that there are to be said.

        Raises what a sample raises, and _EndedError.
        """
        with self._lock:
            if self._lost:
                raise _EndedError
            try:
                return self._draw(batch, numbers, places)
            except BaseException:
                self._lost = True  # what it still has in its pipe fits nothing any more
                self._reap()
                raise

    def end(self):
        """End it, whatever it does; nothing is said of that."""
        self._lost, child = True, self._child
        if child:
            child.kill()  # it has nothing to save; who waits for it now lets go of the lock
        with self._lock:
            self._reap()

    def _draw(self, batch, numbers, places):
        said = []
        try:
            if self._child is None:
                self._start()
            wanted = b"".join(_NUMBER.pack(int(numbers[place])) for place in places)
            self._child.stdin.write(wanted)
            self._child.stdin.flush()
            for place in places:
                lines, error, shapes = pickle.load(self._child.stdout)
                said += lines
                for name, shape in shapes.items():
                    here = batch[name][place]
                    if here.shape != shape:
                        error = ValueError(f"{name} of sample {numbers[place]} has shape {shape}")
                    elif self._child.stdout.readinto(here) < here.nbytes:
                        raise EOFError
                if error is not None:
                    break
        except (OSError, EOFError, pickle.UnpicklingError) as gone:
            raise _EndedError(*([] if self._lost else [self._why(gone)])) from None
        if error is not None:
            raise error
        return said

    def _start(self):
        folders = os.pathsep.join(folder for folder in sys.path if folder)
        self._child = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": folders},
            start_new_session=True,  # Ctrl-C is for the one who trains
            pipesize=_PIPE_BYTES,
        )
        self._child.stdin.write(self._handed)
        self._child.stdin.flush()
        if reason := pickle.load(self._child.stdout):
            raise _EndedError(f"samples cannot be handed to processes ({reason}); drawn here")

    def _why(self, error):
        if self._child is None:
            return f"a process to draw samples could not be started ({error}); they are drawn here"
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._child.wait(10)
            return f"a process that drew samples ended (status {status}); they are drawn here"
        return "a process that drew samples is heard no more; they are drawn here"

    def _reap(self):
        if self._child:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                with contextlib.suppress(OSError):
                    stream.close()
            self._child = None


# --- there --------------------------------------------------------------------------------------


def serve():
    """Draw the samples of the numbers at standard input; ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # What is printed must not come among the pixels, and what is said goes with them.
    pixels = os.fdopen(os.dup(1), "wb", _PIPE_BYTES)
    os.dup2(2, 1)
    cv2.setNumThreads(1)
    sys.stderr = io.StringIO()
    with contextlib.suppress(BrokenPipeError):
        try:
            sample, reason = pickle.load(sys.stdin.buffer), None
        except Exception as error:  # such as a function of the script, which is not loaded here
            reason = f"{type(error).__name__}: {error}"
        pickle.dump(reason, pixels)
        pixels.flush()
        while not reason and len(number := sys.stdin.buffer.read(_NUMBER.size)) == _NUMBER.size:
            _answer(pixels, sample, *_NUMBER.unpack(number))


def _answer(pixels, sample, number):
    error, arrays = None, {}
    try:
        made = sample(number)
        arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in made.items()}
    except Exception as raised:
        error = _as_handed(raised)
    lines = sys.stderr.getvalue().splitlines()
    sys.stderr.seek(0)
    sys.stderr.truncate()
    pickle.dump((lines, error, {name: array.shape for name, array in arrays.items()}), pixels)
    for array in arrays.values():
        pixels.write(array)
    pixels.flush()


def _as_handed(error):
    """Return an exception that can be handed over: itself, or another one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class makes of it
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
