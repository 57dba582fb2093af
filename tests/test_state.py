"""The state of a run: everything in it moves together or not at all."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import task_of

from configure import Defog
from util.train.adam import Adam
from util.train.loop import make_step, with_steps
from util.train.muon import Muon
from util.train.schedule import learning_rate, sheet_due
from util.train.state import TrainState


def small_state(norm=True, clip_norm=0.0):
    """Return a state of one small network, with batch norm's averages if wanted."""
    picture = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(5, 3, name="first")(picture)
    if norm:
        x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Conv2D(5, 1, name="second")(x)
    x = keras.layers.Conv2D(5, 1, name="third")(x)
    return TrainState(
        networks={"net": keras.Model(picture, x, name="net")},
        optimizers={"net": keras.optimizers.Adam(0.01)},
        variables={"gate": tf.Variable(0.5, trainable=False, name="gate")},
        clip_norm=clip_norm,
    )


def take_step(state, pictures, spoil=0.0):
    """Train the network a step towards zero; `spoil` is added to one gradient, NaN to break it."""

    @tf.function
    def step(batch, spoil):
        def compute(batch):
            model = state.networks["net"]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(batch["x"], training=True)))
            gradients = tape.gradient(loss, model.trainable_variables)
            gradients[-1] += spoil
            return {"net": gradients}, {"loss": loss}

        metrics = state.update(compute, batch).metrics
        state.end_step()
        return metrics

    return step({"x": tf.constant(pictures)}, tf.constant(spoil, tf.float32))


def take_updates(state, pictures, spoils):
    """Update the network several times within one step, each gradient spoilt as it says."""

    @tf.function
    def step(batch, spoils):
        found = []
        for place in range(spoils.shape[0]):

            def compute(batch, place=place):
                model = state.networks["net"]
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(tf.square(model(batch["x"], training=True)))
                gradients = tape.gradient(loss, model.trainable_variables)
                gradients[-1] += spoils[place]
                return {"net": gradients}, {"loss": loss}

            found.append(state.update(compute, batch).metrics["gradient_norm"])
        state.end_step()
        return found

    return step({"x": tf.constant(pictures)}, tf.constant(spoils, tf.float32))


@pytest.fixture
def pictures():
    return np.random.default_rng(5).random((4, 4, 4, 3)).astype(np.float32)


def changed(before, after):
    """Return the names of the arrays that differ."""
    return {n for n in before if not np.array_equal(before[n], after[n], equal_nan=True)}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing_but_the_counters(pictures, bad):
    state = small_state()
    take_step(state, pictures)  # so that moments and averages are not at their zeros
    before = state.arrays()
    take_step(state, pictures, spoil=bad)
    after = state.arrays()
    assert changed(before, after) == {"step", "skipped", "skipped_in_a_row"}
    assert int(after["skipped"]) == int(after["skipped_in_a_row"]) == 1
    take_step(state, pictures, spoil=bad)
    assert int(state.skipped_in_a_row) == 2

    take_step(state, pictures)
    healed = state.arrays()
    assert int(healed["skipped_in_a_row"]) == 0
    assert int(healed["skipped"]) == 2
    moved = changed(after, healed)
    for part in ("moving_mean", "moving_variance", "momentum", "velocity", "first/kernel"):
        assert any(part in name for name in moved), f"{part} should move in a sound step"


def test_averages_follow_the_weights_step_by_step(pictures):
    state, twin = small_state(), small_state().networks["net"]
    state.averages, state.average = {"net": twin}, 0.3

    def values(model):
        return {v.path: v.numpy() for v in model.variables}

    for step in range(6):
        before = values(twin)
        take_step(state, pictures, spoil=np.nan if step == 3 else 0.0)
        now = values(state.networks["net"])
        kept = 1 if step == 3 else min(0.3, (1 + step) / (10 + step))
        for name, mean in values(twin).items():
            expected = kept * before[name] + (1 - kept) * now[name]
            np.testing.assert_allclose(mean, expected, atol=1e-6, err_msg=name)
    assert sum(name.startswith("averages/net/") for name in state.arrays()) == len(twin.variables)
    assert state.restoring["net"] is twin


@pytest.mark.parametrize("spoils", [[np.nan, 0, 0], [0, np.nan, 0], [0, 0, np.nan]])
def test_one_bad_update_of_several_counts_as_a_skipped_step(pictures, spoils):
    state = small_state()
    norms = take_updates(state, pictures, spoils)
    assert [bool(np.isfinite(n)) for n in norms] == [s == 0 for s in spoils]
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (1, 1, 1)
    assert int(state.optimizers["net"].iterations) == 2  # the sound ones stand
    assert all(np.isfinite(array).all() for n, array in state.arrays().items() if "/" in n)

    take_updates(state, pictures, [np.nan, np.nan])  # one step, not two
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (2, 2, 2)
    take_updates(state, pictures, [0, 0, 0])
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (3, 2, 0)


def test_steps_are_counted_apart_where_they_are_not_compiled(pictures):
    state = small_state()
    batch = {"x": tf.constant(pictures)}
    for spoil, skipped in ((np.nan, 1), (0.0, 1), (np.inf, 2), (0.0, 2)):

        def compute(batch, spoil=spoil):
            weights = state.networks["net"].trainable_variables
            return {"net": [w.value * 0 + spoil for w in weights]}, {}

        state.update(compute, batch)
        state.end_step()
        assert int(state.skipped) == skipped
    assert int(state.step) == 4


def test_a_skipped_step_leaves_kernels_under_a_spectral_norm_alone(pictures):
    """The layer divides its kernel in the forward pass, which is long before any gradient."""
    picture = keras.Input((4, 4, 3))
    bounded = keras.layers.SpectralNormalization(keras.layers.Conv2D(5, 3, name="first"))
    x = keras.layers.Conv2D(5, 1, name="second")(bounded(picture))
    state = TrainState(
        networks={"net": keras.Model(picture, x)}, optimizers={"net": keras.optimizers.Adam(0.01)}
    )
    before = state.arrays()
    take_step(state, pictures, spoil=np.nan)
    assert changed(before, state.arrays()) == {"step", "skipped", "skipped_in_a_row"}
    take_step(state, pictures)
    moved = changed(before, state.arrays())
    assert any("first/kernel" in name for name in moved)
    assert any("vector_u" in name for name in moved)


def test_pictures_come_back_whole_beside_the_metrics(pictures):
    state = small_state()

    def compute(batch):
        weights = state.networks["net"].trainable_variables
        mean = tf.reduce_mean(batch["x"])
        return {"net": [0 * w.value for w in weights]}, {"mean": mean}, {"made": 2 * batch["x"]}

    metrics, made = state.update(compute, {"x": tf.constant(pictures)})
    np.testing.assert_array_equal(made["made"], 2 * pictures)
    assert metrics.keys() == {"mean", "gradient_norm"}
    assert float(metrics["mean"]) == pytest.approx(pictures.mean())


@pytest.mark.parametrize(
    ("optimizer", "kind", "names"),
    [
        ("adam", Adam, ("beta_1", "beta_2")),
        ("muon", Muon, ("adam_beta_1", "adam_beta_2")),
    ],
)
def test_each_network_has_an_optimiser_and_a_rate_of_its_own(
    tiny_settings, tmp_path, optimizer, kind, names
):
    chosen = {"optimizer": optimizer, "beta_1": 0.25, "beta_2": 0.75}
    settings = tiny_settings(tmp_path, learning_rate=0.5, warmup_steps=0, **chosen)
    pictures = keras.Input((4, 4, 3))
    networks = {n: keras.Model(pictures, keras.layers.Conv2D(1, 1)(pictures)) for n in "ab"}
    state = TrainState.of(networks, settings, rates={"b": 0.125})
    found = state.optimizers.values()
    assert [type(o) for o in found] == [kind] * 2
    assert [tuple(getattr(o, n) for n in names) for o in found] == [(0.25, 0.75)] * 2
    assert len({id(optimizer) for optimizer in state.optimizers.values()}) == 2

    def train_step(state, batch, settings):
        def compute(batch):
            gradients = {n: [w.value * 0 for w in net.weights] for n, net in networks.items()}
            return gradients, {"loss": tf.constant(0.0)}

        return state.update(compute, batch).metrics

    step = make_step(replace(task_of("mod_defog"), train_step=train_step), state, settings)
    metrics, _ = step({"x": tf.zeros((1, 4, 4, 3))})
    rates = {n: float(o.learning_rate) for n, o in state.optimizers.items()}
    assert rates == {"a": 0.5, "b": 0.125}  # the first step: the schedule has not begun to fall
    assert float(metrics["learning_rate"]) == 0.5


def test_clipping_keeps_the_direction_and_limits_the_length(pictures):
    """The first step of plain SGD is the gradient itself, so its length can be measured."""

    def moved(clip_norm):
        keras.utils.set_random_seed(3)
        state = small_state(norm=False, clip_norm=clip_norm)
        state.optimizers["net"] = keras.optimizers.SGD(1.0)
        state.optimizers["net"].build(state.networks["net"].trainable_variables)
        weights = state.networks["net"].trainable_variables
        before = np.concatenate([v.numpy().ravel() for v in weights])
        norm = float(take_step(state, pictures)["gradient_norm"])
        return before - np.concatenate([v.numpy().ravel() for v in weights]), norm

    free, norm = moved(0.0)
    assert np.linalg.norm(free) == pytest.approx(norm, rel=1e-4)
    clipped, reported = moved(norm / 3)
    assert reported == pytest.approx(norm, rel=1e-5)  # what is shown is the length before
    np.testing.assert_allclose(clipped, free / 3, rtol=1e-3, atol=1e-6)
    untouched, _ = moved(norm * 3)
    np.testing.assert_array_equal(untouched, free)


def test_arrays_and_assign_are_inverse(pictures):
    first, second = small_state(), small_state()
    take_step(first, pictures)
    first.best_score, first.interval_steps, first.interval_sums = 21.5, 3, {"loss": 1.25}
    first.variables["gate"].assign(0.75)
    assert first.digest() != second.digest()
    second.interval_sums = {"of another run": 9.0}
    second.assign(first.arrays())
    assert second.digest() == first.digest()
    assert second.best_score == 21.5
    assert second.interval_steps == 3
    assert second.interval_sums == {"loss": 1.25}
    assert float(second.variables["gate"]) == 0.75


def test_the_digest_sees_every_variable():
    state = small_state()
    seen = {state.digest()}
    for variable in state.named_variables().values():
        value = variable.numpy()
        variable.assign(value + 1)
        seen.add(state.digest())
        variable.assign(value)
    assert len(seen) == 1 + len(state.named_variables())


def test_the_state_holds_every_variable_but_the_learning_rate():
    state = small_state()
    held = {id(v) for v in state.named_variables().values()}
    for variable in state.networks["net"].variables:
        assert id(variable.value) in held, variable.path
    optimizer = state.optimizers["net"]
    left_out = [v for v in optimizer.variables if id(v.value) not in held]
    assert left_out == [optimizer.learning_rate]


# --- learning rate: closed forms ----------------------------------------------------------------


def rate(step, **changes):
    settings = {"highest": 0.02, "warmup_steps": 10, "total_steps": 1000, "final_share": 0.1}
    return float(learning_rate(tf.constant(step, tf.int64), **{**settings, **changes}))


def test_the_rate_rises_linearly_from_its_first_step():
    flat = [rate(step, final_share=1.0) for step in range(12)]
    expected = [0.02 * min(1, (step + 1) / 10) for step in range(12)]
    np.testing.assert_allclose(flat, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (500, 0.1 + 0.9 * 0.5),  # cos(pi / 2) = 0
        (250, 0.1 + 0.9 * 0.5 * (1 + math.sqrt(0.5))),
        (1000, 0.1),
        (10**12, 0.1),  # raised far beyond the end, the rate stays
    ],
)
def test_the_rate_falls_as_half_a_cosine(step, share):
    assert rate(step) == pytest.approx(0.02 * share, rel=1e-5)


@pytest.mark.parametrize(("epochs", "steps"), [(0, 7), (1, 2), (3, 5), (50, 75)])
def test_epochs_are_steps_over_all_pictures(epochs, steps):
    settings = Defog(steps=7, epochs=epochs, batch_size=4)
    assert with_steps(settings, range(6)).steps == steps


@pytest.mark.parametrize(("step", "share"), [(99, 1.0), (100, 0.1), (199, 0.1), (250, 0.01)])
def test_the_rate_falls_in_steps_to_a_tenth(step, share):
    assert rate(step, drop_every=100) == pytest.approx(0.02 * share, rel=1e-5)


def test_no_warm_up_begins_at_the_highest_rate():
    assert rate(0, warmup_steps=0) == pytest.approx(0.02, rel=1e-6)


# --- sheets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "total", "steps"),
    [
        (250, 600, [10, 50, 100, 250, 500, 600]),
        (250, 40, [10, 40]),
        (60, 130, [10, 50, 60, 120, 130]),
        (6, 20, [6, 12, 18, 20]),  # often enough as it is
    ],
)
def test_sheets_come_soon_then_regularly_and_at_the_end(every, total, steps):
    how = {"sheet_every": every, "total_steps": total}
    assert [step for step in range(1, total + 1) if sheet_due(step, **how)] == steps
