"""Workers in processes of their own that take turns: what torch_step.py and its two sides share.

It imports nothing but Python's own, as each side may run in another environment.
"""

import contextlib
import json
import os
import subprocess
import sys
import time


class WorkerError(Exception):
    """A worker could not be started, refused a question, or ended before it had answered."""


class Worker:
    """A process that answers questions, one at a time, until it is closed.

    Parameters
    ----------
    command : list of str
        It ends in `answer`.
    environment : dict
        Variables that it has besides.
    """

    def __init__(self, command, **environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        pipes["env"] = {**os.environ, **environment}
        try:
            self._process = subprocess.Popen(command, **pipes)
        except OSError as error:
            raise WorkerError(f"{command[0]}: cannot be started ({error.strerror})") from None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(BrokenPipeError):  # what a worker that has ended was not told
            self._process.stdin.close()
        if error[0]:
            self._process.terminate()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, question, **arguments):
        """Return what the worker answers; WorkerError if it refuses or has ended."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which shows below
            print(json.dumps([question, arguments]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"a worker ended with status {self._process.wait()}; see above")
        answer = json.loads(line)
        if "refused" in answer:
            raise WorkerError(answer["refused"])
        return answer["answer"]


def answer(answers):
    """Answer the questions of a `Worker`: dict question -> callable, until it closes the pipe.

    A WorkerError that a callable raises is sent back as a refusal.
    """
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        question, arguments = json.loads(line)
        try:
            found = {"answer": answers[question](**arguments)}
        except WorkerError as error:
            found = {"refused": str(error)}
        print(json.dumps(found), file=pipe, flush=True)


def seconds_a_step(step, settle, block):
    """Return the mean duration of `block` steps, after `settle` others."""
    for _ in range(settle):
        step()
    before = time.perf_counter()
    for _ in range(block):
        step()
    return (time.perf_counter() - before) / block
