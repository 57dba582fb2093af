"""The memory and the balance of adversarial training, and the order of a critic's updates."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from util.train import losses
from util.train.adversarial import (
    Balance,
    PastPictures,
    discriminator_loss,
    draw_key,
    of_this_replica,
    penalised,
    train_critic,
)
from util.train.state import TrainState

# --- history ------------------------------------------------------------------------------------

SLOTS, SIDE, REFRESH = 8, 4, 3


def pictures(step, count=4):
    """Return pictures that tell by their value which step made them, and which they are."""
    value = 10.0 * step + np.arange(1, count + 1)
    return tf.constant(
        np.broadcast_to(value[:, None, None, None], (count, SIDE, SIDE, 4)), "float32"
    )


@pytest.fixture
def memory():
    variables = PastPictures.make_variables(SLOTS, SIDE)
    return PastPictures(variables, seed=5, refresh=REFRESH), variables


def contents(variables):
    held = variables["history_pictures"].numpy()
    assert (np.ptp(held, axis=(1, 2, 3)) == 0).all()  # slots hold whole pictures
    return held[:, 0, 0, 0]


def test_empty_slots_are_filled_in_order_before_any_is_replaced(memory):
    history, variables = memory
    for step, fill in enumerate([3, 6, 8]):
        history.take_in(step, pictures(step), tf.constant(True))
        assert int(variables["history_fill"]) == fill
        if fill < SLOTS:
            assert contents(variables)[fill:].tolist() == [0] * (SLOTS - fill)
    held = contents(variables)
    assert held[6:].tolist() == [21, 22]
    early = [1, 2, 3, 11, 12, 13]  # for the third of the last three there was no empty slot left
    assert sorted(a for a, b in zip(held, early, strict=False) if a != b) == [23]


def full(history, steps):
    for step in range(steps):
        history.take_in(step, pictures(step), tf.constant(True))


def test_a_full_history_replaces_as_many_slots_as_it_shall_at_random_places(memory):
    history, variables = memory
    full(history, 3)
    places = set()
    for step in range(3, 60):
        before = contents(variables)
        history.take_in(step, pictures(step), tf.constant(True))
        changed = np.flatnonzero(contents(variables) != before)
        assert len(changed) == REFRESH
        assert sorted(contents(variables)[changed]) == [10 * step + i for i in (1, 2, 3)]
        places.add(tuple(changed))
    assert len(places) > 20
    assert {place for drawn in places for place in drawn} == set(range(SLOTS))


def test_contents_follow_from_seed_and_steps_alone():
    ends = []
    for seed in (5, 5, 6):
        variables = PastPictures.make_variables(SLOTS, SIDE)
        full(PastPictures(variables, seed=seed, refresh=REFRESH), 30)
        ends.append(contents(variables).tolist())
    assert ends[0] == ends[1] != ends[2]


def test_a_skipped_step_leaves_the_history_alone(memory):
    history, variables = memory
    full(history, 4)
    before = contents(variables)
    history.take_in(4, pictures(4) * np.nan, tf.constant(False))
    np.testing.assert_array_equal(contents(variables), before)


def test_only_filled_slots_are_drawn(memory):
    history, _ = memory
    drawn, any_past = history.draw(0, 5)
    assert not any_past
    assert (drawn.numpy() == 0).all()
    history.take_in(0, pictures(0), tf.constant(True))
    seen = set()
    for step in range(30):
        drawn, any_past = history.draw(step, 5)
        assert any_past
        assert drawn.shape == (5, SIDE, SIDE, 4)
        seen |= set(drawn.numpy()[:, 0, 0, 0].tolist())
    assert seen == {1, 2, 3}


def test_a_history_smaller_than_its_refresh_is_renewed_whole():
    variables = PastPictures.make_variables(2, SIDE)
    history = PastPictures(variables, seed=0, refresh=3)
    full(history, 2)
    assert sorted(contents(variables)) == [11, 12]


# --- balance ------------------------------------------------------------------------------------


@pytest.fixture
def balance():
    return Balance(Balance.make_variables(3), ratio=8.0)


def told(balance, *steps):
    for generator, discriminator in steps:
        balance.note(tf.constant(generator), tf.constant(discriminator), tf.constant(True))
    return tuple(bool(t) for t in balance.trains())


def test_before_the_first_step_both_train(balance):
    assert told(balance) == (True, True)


@pytest.mark.parametrize(
    ("generator", "discriminator", "trains"),
    [
        (1.0, 1.0, (True, True)),
        (7.9, 1.0, (True, True)),
        (8.1, 1.0, (True, False)),  # the discriminator is far ahead: it waits
        (1.0, 7.9, (True, True)),
        (1.0, 8.1, (False, True)),  # the generator is
    ],
)
def test_who_is_far_ahead_waits(balance, generator, discriminator, trains):
    assert told(balance, (generator, discriminator)) == trains


def test_the_mean_is_over_the_last_steps_alone(balance):
    assert told(balance, (9.0, 1.0), (9.0, 1.0), (9.0, 1.0)) == (True, False)
    assert told(balance, (1.0, 1.0)) == (True, True)  # 19 against 3
    assert told(balance, (1.0, 30.0), (1.0, 30.0)) == (False, True)  # the nines are forgotten
    assert told(balance, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)) == (True, True)


def test_without_a_ratio_both_train_always():
    assert told(Balance(Balance.make_variables(3), ratio=0.0), (1e9, 1e-9)) == (True, True)


def test_a_skipped_step_does_not_count(balance):
    told(balance, (9.0, 1.0))
    balance.note(tf.constant(np.nan), tf.constant(np.nan), tf.constant(False))
    assert told(balance) == (True, False)


def test_the_balance_comes_back_with_its_variables():
    variables = Balance.make_variables(3)
    told(Balance(variables, ratio=8.0), (9.0, 1.0), (9.0, 1.0))
    kept = {name: tf.Variable(v.numpy()) for name, v in variables.items()}
    assert told(Balance(kept, ratio=8.0)) == (True, False)
    straight, resumed = (told(Balance(v, ratio=8.0), (1.0, 90.0)) for v in (variables, kept))
    assert straight == resumed


# --- losses and updates -------------------------------------------------------------------------


def test_the_discriminator_judges_new_and_earlier_fakes_half_each():
    real, fake, past = (tf.constant([[x]]) for x in (1.5, 0.25, -0.75))
    found = discriminator_loss("lsgan", real, fake, past, tf.constant(True))
    assert float(found) == pytest.approx(0.5**2 + 0.5 * (0.25**2 + 0.75**2))
    alone = 0.5**2 + 0.25**2
    assert float(discriminator_loss("lsgan", real, fake)) == pytest.approx(alone)
    empty = discriminator_loss("lsgan", real, fake, past, tf.constant(False))
    assert float(empty) == pytest.approx(alone)


def linear_critic(weight):
    picture = keras.Input((2, 2, 3))
    score = keras.layers.Dense(1, name="score")(keras.layers.Flatten()(picture))
    critic = keras.Model(picture, score, name="critic")
    critic.layers[-1].set_weights([np.full((12, 1), weight, np.float32), np.zeros(1, np.float32)])
    return critic


def test_the_penalty_of_a_linear_critic_and_its_draws():
    critic = linear_critic(0.5)
    real, fake = tf.ones((3, 2, 2, 3)), tf.zeros((3, 2, 2, 3))
    run = tf.distribute.get_strategy().run
    found = run(lambda: penalised(critic, real, fake, draw_key(0, 0, 1)))
    assert float(found) == pytest.approx((np.sqrt(12) * 0.5 - 1) ** 2, rel=1e-5)
    places = []

    def watching(picture):
        places.append(picture.numpy()[:, 0, 0, 0])
        return critic(picture)

    for key in (draw_key(0, 0, 1), draw_key(0, 0, 1), draw_key(0, 1, 1), draw_key(0, 0, 2)):
        run(lambda key=key: penalised(watching, real, fake, key))
    np.testing.assert_array_equal(places[0], places[1])
    assert len({tuple(p) for p in places}) == 3
    assert len(set(places[0])) == 3  # one place a sample


@pytest.mark.parametrize("limit", [0.0, 0.01])
def test_a_critic_updates_several_times_with_new_keys_and_is_clipped(limit):
    critic = linear_critic(0.005)
    state = TrainState(
        networks={"critic": critic}, optimizers={"critic": keras.optimizers.SGD(0.01)}
    )
    keys = []

    def compute(batch, key):
        keys.append(key.numpy().tolist())
        with tf.GradientTape() as tape:
            loss = losses.judged_fake("wgan", critic(batch["x"]))
        return {"critic": tape.gradient(loss, critic.trainable_variables)}, {"loss": loss}

    batch = {"x": tf.ones((2, 2, 2, 3))}
    settings = SimpleNamespace(critic_steps=3, seed=1, weight_limit=limit)
    form = "wgan" if limit else "wgan-gp"
    metrics = train_critic(state, batch, compute, settings, name="critic", form=form)
    assert len({tuple(key) for key in keys}) == 3
    # Weights and bias fall by 0.01 an update; the score is the sum of 12 weights and the bias.
    weight = np.clip(0.005 - 0.03, -limit or -1, limit or 1)
    np.testing.assert_allclose(critic.get_weights()[0], weight, rtol=1e-5)
    assert float(metrics["loss"]) > float(losses.judged_fake("wgan", critic(batch["x"])))


def test_on_one_replica_the_share_is_the_whole():
    joined = tf.range(4)
    found = tf.distribute.get_strategy().run(lambda: of_this_replica(joined))
    assert found.numpy().tolist() == [0, 1, 2, 3]
