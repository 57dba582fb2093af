"""mod_mend: the gate, the weights between the two grounds, and who learns from what."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import mod_mend
from configure import Mend
from util.samples.batches import stack


@pytest.fixture
def made(tiny_settings, tmp_path):
    """Return (state, batch, settings) of a tiny run whose gate is at `gate_loss`."""

    def make(**changes):
        settings = tiny_settings(
            tmp_path, script="mod_mend", stage1_width=2, stage2_width=2, **changes
        )
        tf.keras.utils.set_random_seed(0)
        state = mod_mend.make_state(settings)
        training, _ = mod_mend.TASK.samples(settings, progress=False)
        batch = {n: tf.constant(v) for n, v in stack(training, range(4)).items()}
        return state, batch, settings

    return make


def weights_of(state, network):
    return [v.numpy() for v in state.networks[network].trainable_variables]


def moved(before, after):
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def test_stage2_waits_while_the_gate_is_closed_and_trains_once_it_opens(made):
    state, batch, settings = made(gate_loss=0.6)
    before = {name: weights_of(state, name) for name in ("stage1", "stage2")}
    metrics = mod_mend.train_step(state, batch, settings)
    assert metrics["trained_stage2"] == 0
    assert not any(moved(before["stage2"], weights_of(state, "stage2")))
    assert all(moved(before["stage1"], weights_of(state, "stage1")))
    assert all(not np.any(v.numpy()) for v in state.optimizers["stage2"].variables[2:])
    state.variables["stage1_mean_loss"].assign(0.59)
    metrics = mod_mend.train_step(state, batch, settings)
    assert metrics["trained_stage2"] == 1
    assert all(moved(before["stage2"], weights_of(state, "stage2")))


def test_gate_follows_the_mean_of_stage1_loss_and_is_part_of_the_state(made):
    state, batch, settings = made()
    loss = float(mod_mend.train_step(state, batch, settings)["loss"])
    mean = float(state.variables["stage1_mean_loss"].numpy())
    assert mean == pytest.approx(0.98 * 10 + 0.02 * loss, rel=1e-6)
    assert "variables/stage1_mean_loss" in state.arrays()


@pytest.mark.parametrize(("loss", "opens_at"), [(0.59, 1), (0.61, None)])
def test_the_gate_goes_by_the_losses_alone_from_the_first_on(made, loss, opens_at):
    """Not by the 10 with which their mean begins."""
    state, _, settings = made(gate_loss=0.6)
    mean, found = state.variables["stage1_mean_loss"], []
    for _ in range(400):
        found.append(bool(mod_mend.gate_is_open(state, settings)))
        mean.assign(0.98 * mean + 0.02 * loss)
        state.step.assign_add(1)
    assert found == [opens_at is not None and step >= opens_at for step in range(400)]
    state.step.assign(3)
    state.skipped.assign(3)  # steps that changed nothing tell nothing
    mean.assign(10.0)
    assert not mod_mend.gate_is_open(state, settings)


def test_a_loss_that_is_not_finite_leaves_gate_and_weights_alone(made):
    state, batch, settings = made()
    digest = {n: a.copy() for n, a in state.arrays().items()}
    bad = {**batch, "cloudy": batch["cloudy"] * np.nan}
    mod_mend.train_step(state, bad, settings)
    state.end_step()
    changed = {n for n, a in state.arrays().items() if not np.array_equal(a, digest[n], True)}
    assert changed == {"step", "skipped", "skipped_in_a_row"}


def test_mended_ground_is_weighted_by_the_found_opacity(made):
    state, batch, settings = made()
    opacity, first, mended = mod_mend.find(state.networks, batch["cloudy"], settings)
    with_map = tf.concat([batch["cloudy"], opacity], axis=-1)
    second = mod_mend.ground_from(
        state.networks["stage2"](with_map), batch["cloudy"], opacity, settings.head, bounded=False
    )
    expected = first.numpy() * (1 - opacity.numpy()) + second.numpy() * opacity.numpy()
    np.testing.assert_allclose(mended.numpy(), expected, atol=1e-6)


def test_stage2_may_see_all_that_stage1_found_and_have_a_rate_of_its_own(made):
    how = {"learning_rate": 1e-3, "stage2_rate_share": 0.25}
    state, batch, settings = made(stage2_sees="ground", head="direct", **how)
    assert state.rates == {"stage1": 1e-3, "stage2": 0.25e-3}
    opacity, first, mended = mod_mend.find(state.networks, batch["cloudy"], settings)
    seen = tf.concat([first, opacity], axis=-1)
    second = 0.5 + 0.505 * np.tanh(state.networks["stage2"](seen))
    np.testing.assert_allclose(mended, first * (1 - opacity) + second * opacity, atol=1e-6)


def test_stage2_loss_does_not_reach_stage1_and_the_other_way_round(made):
    state, batch, settings = made()
    with tf.GradientTape(persistent=True) as tape:
        values = mod_mend.losses(state.networks, batch, settings)
    stage1 = state.networks["stage1"].trainable_variables
    stage2 = state.networks["stage2"].trainable_variables
    assert all(g is None for g in tape.gradient(values["loss_mended"], stage1))
    assert all(g is None for g in tape.gradient(values["loss"], stage2))
    assert all(g is not None for g in tape.gradient(values["loss_mended"], stage2))


def test_published_widths_give_the_published_kind_of_networks():
    networks = mod_mend.make_networks(Mend(**Mend.presets["source"]))
    picture = tf.zeros((1, 64, 96, 3))
    assert networks["stage1"](picture).shape == (1, 64, 96, 4)
    assert networks["stage2"](tf.zeros((1, 64, 96, 4))).shape == (1, 64, 96, 3)
    assert networks["stage1"].get_layer("down1").filters == 12
    assert networks["stage2"].get_layer("down1").filters == 14


def test_a_picture_of_half_the_light_is_found_and_returned_alike(made):
    state, batch, settings = made()
    bright = {"cloudy": batch["cloudy"] * 0.9}
    dark = {"cloudy": bright["cloudy"] / 2}
    wanted = mod_mend.restore(state.networks, bright, settings)
    found = mod_mend.restore(state.networks, dark, replace(settings, cloud_white=0.5))
    np.testing.assert_allclose(found["found_opacity"], wanted["found_opacity"], atol=1e-5)
    for name in ("first", "restored"):
        np.testing.assert_allclose(2 * found[name], wanted[name], atol=1e-5)
