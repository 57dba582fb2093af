"""benchmarks/torch_step.py: what it says without PyTorch, and that the two sides agree with it."""

import importlib
import os
import subprocess
import sys

import pytest
from conftest import PROJECT
from test_floors import imports


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(PROJECT / "benchmarks" / "torch_step.py"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_without_pytorch_it_says_so_in_one_line(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('there is none')", encoding="utf-8")
    done = run("--only", "mod_defog", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "there is none" in line
    assert "--torch-python" in line


def test_an_interpreter_that_is_not_there_is_named():
    done = run("--only", "mod_defog", "--torch-python", "no/such/python")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("no/such/python: cannot be started")


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("in_torch", {"tensorflow", "keras", "util", "configure"}),
        ("torch_networks", {"tensorflow", "keras", "util", "configure"}),
        ("in_keras", {"torch"}),
        ("turns", {"tensorflow", "keras", "torch", "numpy"}),
    ],
)
def test_neither_side_imports_what_the_other_one_has(module, others):
    source = (PROJECT / "benchmarks" / f"{module}.py").read_text(encoding="utf-8")
    assert not {name.partition(".")[0] for name in imports(source)} & others


def test_a_script_whose_sides_disagree_is_named_and_the_next_one_is_timed(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    torch_step = importlib.import_module("torch_step")
    asked = []

    class Worker:
        def __init__(self, command, **environment):
            self.torch = command[-1].endswith("in_torch.py")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def ask(self, question, **how):
            asked.append(question)
            if question != "prepare":
                return "2.0" if question == "hello" else 0.5
            agreed = how["script"] == "mod_mend"
            found = {name: [["what was compared"], agreed] for name in how.get("layouts", ())}
            return found if self.torch else {"crop_px": 64, "batch_size": 2}

    monkeypatch.setattr(torch_step.turns, "Worker", Worker)
    words = ["torch_step.py", "--only", "mod_defog", "mod_mend", "--rounds", "1", "--pause", "0"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit, match=r"too far apart, not timed: mod_defog$"):
        torch_step.main()
    assert asked.count("time") == 3  # mod_mend: Keras, and PyTorch in two layouts
    assert "mod_mend: " in (said := capsys.readouterr().out)
    assert said.index("too far apart") < said.index("mod_mend: ")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["mod_mend", "mod_GAN_cloud"])
def test_the_two_sides_agree_and_are_timed(script):
    pytest.importorskip("torch")
    small = ("--crop-px", "64", "--batch-size", "2", "--rounds", "1", "--block", "1")
    done = run("--only", script, "--threads", "1", *small)
    assert done.returncode == 0, done.stderr
    assert "step 2, gradient_norm" in done.stdout
    assert "Keras takes" in done.stdout
