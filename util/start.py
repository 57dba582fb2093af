"""Prepare the process before TensorFlow, Keras and matplotlib are imported."""

import contextlib
import os
import sys

# TensorFlow's C++ side greets, warns and reports failed optimisations of its own on every start;
# what matters reaches Python as an exception.
_QUIET = "3"

# What TensorFlow writes while it is imported, before it looks at its log level: information and
# warnings, in absl's form and in the older one, and an error that is none, where two of its
# libraries register the same parts of CUDA.
_START_LINES = (
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} \d\d:\d\d:\d\d"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
    rb"|To enable the following instructions: "
    rb"|(E\d{4}|\d{4}-\d\d-\d\d) .*Unable to register cu\w+ factory"
)

# A process of its own: what TensorFlow says before it aborts gets through as well.
_FILTER = """
import re, sys
for line in sys.stdin.buffer:
    if not re.match({!r}, line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


def prepare():
    """Set what TensorFlow and matplotlib read on import, and keep TensorFlow's start lines away."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _QUIET)
    # TensorFlow uses oneDNN by itself only where the chip has AVX-512; with AVX2 alone a step of
    # mod_defog.py takes half the time with it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Pictures are drawn into files only, and the backend that a notebook hands to its child
    # processes, module://matplotlib_inline..., ends them where it is not installed.
    os.environ["MPLBACKEND"] = "agg"
    # Whoever asks for another level wants to see the lines.
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] == _QUIET and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietTensorFlow())


class _QuietTensorFlow:
    """Import TensorFlow, whoever asks for it first, without its start lines."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def quietly(module):
                with without_start_lines():
                    load(module)

            spec.loader.exec_module = quietly
        return spec


@contextlib.contextmanager
def without_start_lines():
    """Keep TensorFlow's start lines from stderr; everything else gets there, line by line.

    C++ writes to the file descriptor, so that is what is led through a filter.
    """
    try:
        own = os.dup(2)
    except OSError:  # stderr is closed: there is nothing to keep lines from
        yield
        return
    import subprocess

    try:
        passing_on = subprocess.Popen(  # noqa: S603 - Python itself, on the text above
            [sys.executable, "-I", "-S", "-c", _FILTER.format(_START_LINES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it: it ends when its input does
        )
    except (OSError, TypeError):  # no such program, or no more processes: then with all lines
        os.close(own)
        yield
        return
    try:
        os.dup2(passing_on.stdin.fileno(), 2)
        passing_on.stdin.close()
        yield
    finally:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream that is gone
            sys.stderr.flush()
        os.dup2(own, 2)
        os.close(own)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a child of the import holds it open
            passing_on.wait(10)
