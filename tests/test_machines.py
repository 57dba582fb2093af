"""Who saves, who takes part, and what TF_CONFIG says wrongly, without a second machine."""

import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

from util.run import machines
from util.say import UserError

CHIEF, WORKERS = ["a:1"], ["b:1", "c:1"]


def told(monkeypatch, cluster, kind, index):
    """Set TF_CONFIG as a cloud does; return a strategy with TensorFlow's own reading of it."""
    task = {"type": kind, "index": index}
    text = json.dumps({"cluster": cluster, "task": task, "environment": "cloud"})
    monkeypatch.setenv("TF_CONFIG", text)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return SimpleNamespace(cluster_resolver=resolver)


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "first", "count"),
    [
        ({"chief": CHIEF, "worker": WORKERS}, "chief", 0, True, 3),
        ({"chief": CHIEF, "worker": WORKERS}, "worker", 0, False, 3),
        ({"chief": CHIEF, "worker": WORKERS}, "worker", 1, False, 3),
        ({"worker": WORKERS}, "worker", 0, True, 2),
        ({"worker": WORKERS}, "worker", 1, False, 2),
        ({"chief": CHIEF, "worker": WORKERS, "ps": ["d:1"]}, "chief", 0, True, 3),
    ],
)
def test_one_process_saves(monkeypatch, cluster, kind, index, first, count):
    strategy = told(monkeypatch, cluster, kind, index)
    assert machines.is_chief(strategy) == first
    assert machines.workers(strategy) == count


def test_alone_this_process_saves():
    assert machines.is_chief(tf.distribute.get_strategy())
    assert machines.workers(tf.distribute.get_strategy()) == 1


@pytest.mark.parametrize(
    "cluster", [{"chief": CHIEF}, {"worker": CHIEF}, {"worker": [], "chief": CHIEF}]
)
def test_a_cluster_of_one_is_this_machine_alone(monkeypatch, cluster):
    told(monkeypatch, cluster, next(kind for kind in cluster if cluster[kind]), 0)
    assert machines.choose_strategy("cpu") is tf.distribute.get_strategy()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON"),
        ('{"cluster": {"worker": ["a:1"]}}', "task"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "range"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}', "chief"),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "takes no part"),
        ('{"cluster": {"chief": ["a:1"]}, "task": {"type": "evaluator"}}', "takes no part"),
    ],
)
def test_what_cannot_be_meant_is_one_line(monkeypatch, text, reason):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=reason) as caught:
        machines.choose_strategy("cpu")
    assert "TF_CONFIG" in str(caught.value)
    assert "\n" not in str(caught.value)
