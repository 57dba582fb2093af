"""The weights that come with the project: of the defaults' networks, and they do what is said."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, task_of

from util.pictures.read import read_picture
from util.restore.bands import restore_picture
from util.run import checkpoint
from util.run.folder import weights_file
from util.use import trained

GOLDEN = Path(__file__).with_name("golden")
SCRIPTS = [path.stem for path in sorted((PROJECT / "weights").glob("*.npz"))]


@pytest.fixture(scope="module", params=SCRIPTS)
def network(request):
    task = task_of(request.param)
    return trained.load(task, task.settings(), weights_file(task))


def test_there_are_some():
    assert "mod_defog" in SCRIPTS


def test_they_fit_the_defaults(network):
    """So that `--from weights` begins a run with them as the settings stand."""
    defaults = type(network.settings)()
    networks = network.task.make_networks(defaults)
    assert checkpoint.load_networks(weights_file(network.task), networks) == network.step


def test_they_restore_a_real_picture_as_they_did(network):
    """A step of 8 bits is allowed: other chips add up in another order."""
    came, hole = read_picture(GOLDEN / "cloudy.png"), None
    if network.task.kind.takes_hole:
        hole = np.hypot(*(np.indices(came.shape[:2]) - 60)) < 30
    restored, opacity = restore_picture(network, came, hole)
    for what, found in (("restored", restored), ("opacity", opacity)):
        if found is not None:
            expected = read_picture(GOLDEN / f"{network.task.name}_{what}.png")
            expected = expected if found.ndim == 3 else expected[..., 0]
            assert np.abs(found.astype(int) - expected).max() <= 1
            assert found.std() > 5
    assert (restored != came).any()


def test_their_figures_are_those_of_this_very_file(network):
    path = weights_file(network.task)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    named = [t.read_text("utf-8") for t in (PROJECT / "docs" / "results").glob("*.csv")]
    named = [text for text in named if f"weights/{path.name}" in text]
    assert named
    for text in (*named, (PROJECT / "weights" / "README.md").read_text("utf-8")):
        assert f"SHA-256 {digest}" in text
        assert f"{network.step:,} steps" in text


def test_they_are_small_and_plain(network):
    path = weights_file(network.task)
    assert path.stat().st_size < 12_000_000
    meta = checkpoint.read_meta(path)
    assert meta["stored"] == "float16"
    assert meta["split"]["clear_folder"]  # the pictures that it was trained on, and held back
