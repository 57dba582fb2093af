"""TensorFlow's start lines stay away and nothing else does; a package of that name stands in."""

import os
import subprocess
import sys

import pytest
from conftest import PROJECT

NOISE = b"""\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795665122.844838    3865 cudart_stub.cc:31] Could not find cuda drivers
W0000 00:00:1795665122.844838    3865 computation_placer.cc:177] already registered
2025-09-17 14:44:05.157831: I external/local_xla/xla/tsl/cuda/cudart_stub.cc:32] no drivers
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow
2025-09-17 14:44:05.176998: E cuda_fft.cc:467] Unable to register cuFFT factory: one is there
E0000 00:00:1758131045.203198 3722035 cuda_dnn.cc:8579] Unable to register cuDNN factory: again
"""
NEWS = b"""\
E0000 00:00:1758131045.203198 3722035 gpu.cc:1] out of memory
F0000 00:00:1758131045.203198 3722035 cpu.cc:1] compiled to use AVX instructions
2025-09-17 14:44:05.176998: E gpu.cc:1] \xff
no line end"""
WRITE = f"import os; os.write(2, {NOISE + NEWS!r}); "


@pytest.fixture
def imported(tmp_path):
    """Return a function: what TensorFlow does on import -> the ended process that imports it."""

    def run(does, **options):
        (tmp_path / "tensorflow").mkdir()
        (tmp_path / "tensorflow" / "__init__.py").write_text(does)
        env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"}
        env = {n: v for n, v in env.items() if n != "TF_CPP_MIN_LOG_LEVEL"}
        env |= options.pop("env", {})
        code = (
            f"import os, sys; sys.executable = {options.pop('executable', sys.executable)!r}; "
            "import util, tensorflow; print(os.environ['MPLBACKEND'], flush=True); "
            "os.write(2, b'after')"
        )
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, **options)

    return run


def test_only_the_start_lines_are_kept_away(imported):
    assert imported(WRITE).stderr == NEWS + b"after"


def test_who_asks_for_another_level_sees_all(imported):
    assert imported(WRITE, env={"TF_CPP_MIN_LOG_LEVEL": "2"}).stderr == NOISE + NEWS + b"after"


def test_an_import_that_fails_loses_nothing(imported):
    ended = imported(f"{WRITE}\nraise ImportError('no AVX')")
    assert ended.returncode == 1
    assert ended.stderr.startswith(NEWS + b"Traceback")
    assert ended.stderr.rstrip().endswith(b"ImportError: no AVX")


def test_what_is_said_before_an_abort_gets_through(imported):
    ended = imported(f"{WRITE}\nos.abort()")
    assert ended.returncode != 0
    assert ended.stderr.startswith(NEWS)


def test_without_a_program_for_the_filter_all_is_shown(imported):
    assert imported(WRITE, executable="/none").stderr == NOISE + NEWS + b"after"


@pytest.mark.skipif(os.name != "posix", reason="closes the descriptor between fork and exec")
def test_a_closed_stderr_does_not_matter(imported):
    assert imported("", preexec_fn=lambda: os.close(2)).stdout == b"agg\n"


def test_the_backend_of_a_notebook_is_not_taken_over(imported):
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    assert imported("", env=backend).stdout.strip() == b"agg"


def test_tensorflow_itself_starts_without_a_word():
    code = "import util, tensorflow as tf; print(tf.constant(1).numpy())"
    env = {n: v for n, v in os.environ.items() if n != "TF_CPP_MIN_LOG_LEVEL"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=PROJECT, capture_output=True, check=False
    )
    assert (ended.stdout.strip(), ended.stderr) == (b"1", b"")
