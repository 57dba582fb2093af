"""Losses: each against its closed form, and what the choice of one means for a gradient."""

import math

import numpy as np
import pytest
import tensorflow as tf

from util.train.losses import (
    ADVERSARIAL,
    DISTANCES,
    WASSERSTEIN,
    covered_distance,
    faint_weights,
    feature_matching,
    fooled,
    gradient_penalty,
    hidden_distance,
    hole_l1,
    judged_fake,
    judged_real,
    not_fooled,
    seen_distance,
)

JUDGING = ("gan", "dcgan", "lsgan")
LOSSES = (judged_real, judged_fake, fooled)
HUGE = 1e4


def value(loss, form, *scores):
    return float(loss(form, tf.constant(scores, tf.float32)))


def slope(loss, form, score):
    """Return the derivative of a loss at a single score."""
    scores = tf.constant([[score]], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = loss(form, scores)
    return float(tape.gradient(found, scores)[0, 0])


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


# --- adversarial --------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [-3.0, -0.4, 0.0, 1.0, 2.5])
def test_losses_are_their_formulas(score):
    expected = {
        "gan": (-math.log(sigmoid(score)), -math.log(1 - sigmoid(score))),
        "lsgan": ((score - 1) ** 2, score**2),
        **dict.fromkeys(WASSERSTEIN, (-score, score)),
    }
    expected["dcgan"] = expected["gan"]
    assert set(expected) == set(ADVERSARIAL)
    for form, (real, fake) in expected.items():
        generator = math.log(1 - sigmoid(score)) if form == "gan" else real
        found = [value(loss, form, score) for loss in LOSSES]
        assert found == pytest.approx([real, fake, generator], abs=1e-5), form


def test_losses_of_an_undecided_discriminator():
    for form in ("gan", "dcgan"):
        assert value(judged_real, form, 0.0) == pytest.approx(math.log(2))
        assert value(judged_fake, form, 0.0) == pytest.approx(math.log(2))
        assert value(not_fooled, form, 0.0) == pytest.approx(math.log(2))
    assert value(fooled, "dcgan", 0.0) == pytest.approx(math.log(2))
    assert value(fooled, "gan", 0.0) == pytest.approx(-math.log(2))


def test_least_squares_are_zero_where_they_want_to_be():
    assert value(judged_real, "lsgan", 1.0, 1.0) == 0
    assert value(judged_fake, "lsgan", 0.0, 0.0) == 0
    assert value(fooled, "lsgan", 1.0, 1.0) == 0


@pytest.mark.parametrize("form", ADVERSARIAL)
def test_losses_are_means_of_any_shape_of_scores(form):
    scores = np.random.default_rng(0).normal(size=(3, 4, 5, 1)).astype(np.float32)
    for loss in LOSSES:
        single = [value(loss, form, score) for score in scores.ravel()]
        found = loss(form, tf.constant(scores))
        assert found.shape == ()
        assert float(found) == pytest.approx(np.mean(single), abs=1e-5)
        assert float(loss(form, tf.reshape(scores, (-1, 1)))) == pytest.approx(
            float(found), abs=1e-6
        )


@pytest.mark.parametrize("form", ADVERSARIAL)
@pytest.mark.parametrize("loss", LOSSES)
def test_huge_scores_stay_finite_with_their_slopes(loss, form):
    for score in (-HUGE, HUGE):
        assert math.isfinite(value(loss, form, score))
        assert math.isfinite(slope(loss, form, score))


def test_a_huge_wrong_score_is_not_flat():
    for form in ("gan", "dcgan"):
        assert slope(judged_real, form, -HUGE) == pytest.approx(-1)
        assert slope(judged_fake, form, HUGE) == pytest.approx(1)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_scores_are_worked_out_in_float32(loss):
    scores = tf.constant([[0.3], [-7.0]], tf.bfloat16)
    found = loss("dcgan", scores)
    assert found.dtype == tf.float32
    assert float(found) == pytest.approx(float(loss("dcgan", tf.cast(scores, tf.float32))))


@pytest.mark.parametrize("form", ADVERSARIAL)
def test_the_generator_pulls_where_the_discriminator_pushes(form):
    for score in (-2.0, -0.5, 0.5):
        assert slope(judged_real, form, score) < 0
        assert slope(fooled, form, score) < 0
        if form != "lsgan" or score > 0:  # which pulls fakes to 0 from both sides
            assert slope(judged_fake, form, score) > 0


def test_minimax_is_flat_where_the_discriminator_wins_and_the_other_is_not():
    # Both derivatives are sigmoids: -sigmoid(score) and -sigmoid(-score).
    for score in (-6.0, 0.0, 6.0):
        assert slope(fooled, "gan", score) == pytest.approx(-sigmoid(score), rel=1e-4)
        assert slope(fooled, "dcgan", score) == pytest.approx(-sigmoid(-score), rel=1e-4)
    assert abs(slope(fooled, "gan", -20.0)) < 1e-8
    assert slope(fooled, "dcgan", -20.0) == pytest.approx(-1)


@pytest.mark.parametrize("form", JUDGING)
def test_not_fooled_is_positive_and_falls_as_the_generator_wins(form):
    found = [value(not_fooled, form, score) for score in (-3.0, -1.0, 0.0, 0.5, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[-1] >= 0
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("loss", [*LOSSES, not_fooled])
def test_an_unknown_form_is_named_with_the_choices(loss):
    with pytest.raises(ValueError, match="'began'") as raised:
        value(loss, "began", 0.0)
    for form in JUDGING if loss is not_fooled else ADVERSARIAL:
        assert form in str(raised.value)


@pytest.mark.parametrize("form", WASSERSTEIN)
def test_critics_have_no_balance(form):
    with pytest.raises(ValueError, match=form):
        value(not_fooled, form, 0.0)


# --- gradient penalty ---------------------------------------------------------------------------


def pictures(seed, shape=(3, 4, 5, 3)):
    return tf.constant(np.random.default_rng(seed).random(shape, dtype=np.float32))


def epsilons(count=3, seed=9):
    return tf.constant(np.random.default_rng(seed).random((count, 1, 1, 1), dtype=np.float32))


def weights(seed=5, scale=0.3):
    return tf.Variable((scale * np.random.default_rng(seed).normal(size=(4, 5, 3))).astype("f4"))


def linear(w):
    return lambda x: tf.reduce_sum(x * w, axis=[1, 2, 3])[:, None]


@pytest.mark.parametrize("graph", [False, True])
def test_penalty_of_a_linear_critic_and_its_gradient(graph):
    w = weights()

    def differentiate(real, fake, epsilon):
        with tf.GradientTape() as tape:
            penalty = gradient_penalty(linear(w), real, fake, epsilon)
        return penalty, tape.gradient(penalty, w)

    found = tf.function(differentiate) if graph else differentiate
    penalty, gradient = found(pictures(0), pictures(1), epsilons())
    norm = np.linalg.norm(w.numpy())
    assert abs(norm - 1) > 0.1
    assert float(penalty) == pytest.approx((norm - 1) ** 2, rel=1e-5)
    np.testing.assert_allclose(gradient, 2 * (norm - 1) * w.numpy() / norm, rtol=1e-4, atol=1e-6)


def test_a_critic_of_slope_1_costs_nothing():
    w = weights()
    w.assign(w / tf.norm(w))
    assert float(gradient_penalty(linear(w), pictures(0), pictures(1), epsilons())) < 1e-10


def test_the_penalty_is_measured_between_fake_0_and_real_1():
    # |gradient of |x|^2 / 2| is |x|: each sample's place shows in its penalty.
    real, fake, epsilon = pictures(2), pictures(3), epsilons()
    found = gradient_penalty(
        lambda x: 0.5 * tf.reduce_sum(x * x, axis=[1, 2, 3])[:, None], real, fake, epsilon
    )
    place = epsilon * real + (1 - epsilon) * fake
    norms = np.linalg.norm(place.numpy().reshape(3, -1), axis=1)
    assert np.ptp(norms) > 0.1
    assert float(found) == pytest.approx(np.mean((norms - 1) ** 2), rel=1e-5)


def test_a_map_of_scores_counts_as_its_mean():
    kernel = weights()[:2, :2, :, None]

    def patches(x):
        return tf.nn.conv2d(x, kernel, 1, "VALID")  # (B, 3, 4, 1)

    real, fake, epsilon = pictures(0), pictures(1), epsilons()
    found = gradient_penalty(patches, real, fake, epsilon)
    mean = gradient_penalty(
        lambda x: tf.reduce_mean(patches(x), axis=[1, 2, 3])[:, None], real, fake, epsilon
    )
    assert float(found) == pytest.approx(float(mean), rel=1e-5)
    # The slope of the mean: each weight falls on 3 x 4 shifted places, each a twelfth.
    slope_ = np.zeros((4, 5, 3))
    for top in range(3):
        for left in range(4):
            slope_[top : top + 2, left : left + 2] += kernel.numpy()[..., 0] / 12
    assert float(found) == pytest.approx((np.linalg.norm(slope_) - 1) ** 2, rel=1e-5)


@pytest.mark.parametrize("compiled", [None, False, True])
def test_an_even_critic_costs_1_and_has_a_finite_gradient(compiled):
    # XLA and the other kernels differ in what 0 * infinity is within the slope of a root.
    w = weights(scale=0.0)

    def differentiate():
        with tf.GradientTape() as tape:
            penalty = gradient_penalty(linear(w), pictures(0), pictures(1), epsilons())
        return penalty, tape.gradient(penalty, w)

    if compiled is not None:
        differentiate = tf.function(differentiate, jit_compile=compiled)
    penalty, gradient = differentiate()
    assert float(penalty) == 1
    np.testing.assert_array_equal(gradient, np.zeros((4, 5, 3)))


def test_a_critic_that_does_not_look_costs_1():
    blind = gradient_penalty(lambda x: tf.ones((3, 1)), pictures(0), pictures(1), epsilons())
    assert float(blind) == 1


def test_the_penalty_reaches_all_layers_of_a_nonlinear_critic():
    a, b = weights(6, 1.0), tf.Variable([[0.7]])

    def critic(x):
        return tf.matmul(tf.nn.softplus(linear(a)(x)), b)

    real, fake, epsilon = pictures(0), pictures(1), epsilons()

    def penalty():
        return gradient_penalty(critic, real, fake, epsilon)

    with tf.GradientTape() as tape:
        found = penalty()
    slope_a, slope_b = tape.gradient(found, [a, b])
    step = 1e-2
    for variable, gradient in ((a, slope_a), (b, slope_b)):
        direction = gradient / tf.norm(gradient)
        variable.assign_add(step * direction)
        above = penalty()
        variable.assign_sub(2 * step * direction)
        below = penalty()
        variable.assign_add(step * direction)
        assert float(above - below) / (2 * step) == pytest.approx(
            float(tf.norm(gradient)), rel=2e-2
        )


# --- inside the hole ----------------------------------------------------------------------------


def test_hole_l1_is_the_mean_over_the_missing_pixels_of_each_picture():
    restored, clear = pictures(7), pictures(8)
    hole = np.zeros((3, 4, 5, 1), np.float32)
    hole[0, 1:3, 2:4] = 1
    hole[2, 0] = 1
    difference = np.abs(restored.numpy() - clear.numpy())
    means = [difference[0, 1:3, 2:4].mean(), 0.0, difference[2, 0].mean()]  # one has no hole
    assert float(hole_l1(restored, clear, hole)) == pytest.approx(np.mean(means), rel=1e-5)


def test_hole_l1_weighs_soft_edges_as_much_as_they_are_missing():
    clear = tf.zeros((1, 1, 2, 3))
    restored = tf.constant([[[[0.6] * 3, [0.2] * 3]]])
    hole = tf.constant([[[[1.0], [0.5]]]])
    assert float(hole_l1(restored, clear, hole)) == pytest.approx((0.6 + 0.1) / 1.5)


def test_hole_l1_without_a_hole_is_0():
    assert float(hole_l1(pictures(0), pictures(1), tf.zeros((3, 4, 5, 1)))) == 0


def test_what_is_known_has_no_gradient():
    restored, hole = pictures(0), np.zeros((3, 4, 5, 1), np.float32)
    hole[:, 1] = 1
    with tf.GradientTape() as tape:
        tape.watch(restored)
        found = hole_l1(restored, pictures(1), hole)
    gradient = tape.gradient(found, restored).numpy()
    assert (gradient[:, [0, 2, 3]] == 0).all()
    np.testing.assert_allclose(np.abs(gradient[:, 1]), 1 / (3 * 5 * 3), rtol=1e-5)


# --- of two grounds -----------------------------------------------------------------------------


def mean_power(power):
    return lambda apart: np.mean(apart**power, axis=(1, 2, 3))


FORMULAS = {
    "l1": mean_power(1),
    "l2": mean_power(2),
    "l1_rms": lambda apart: (mean_power(1)(apart) + np.sqrt(mean_power(2)(apart))) / 2,
}


@pytest.mark.parametrize("name", DISTANCES)
def test_two_grounds_are_compared_beneath_the_cloud_and_where_it_is_thin(name):
    distance, formula = DISTANCES[name], FORMULAS[name]
    restored, clear = pictures(9), pictures(10)
    opacity = np.random.default_rng(0).random((3, 4, 5, 1), np.float32)
    apart, thin = np.abs(restored.numpy() - clear.numpy()), opacity < 0.75
    for found, expected in (
        (distance(restored, clear), apart),
        (covered_distance(restored, clear, opacity, distance), apart * (1 - opacity)),
        (seen_distance(restored, clear, opacity, distance), apart * thin),
        (hidden_distance(restored, clear, opacity, distance), apart * ~thin),
    ):
        np.testing.assert_allclose(found, formula(expected), rtol=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_pictures_have_no_distance_and_a_gradient_of_numbers(name):
    same = pictures(9)
    with tf.GradientTape() as tape:
        tape.watch(same)
        found = DISTANCES[name](same, same.numpy())
    assert (found.numpy() < 2e-4).all()
    assert np.isfinite(tape.gradient(found, same)).all()


def test_faint_cloud_counts_more_than_thick_and_clear_ground_most():
    clear = np.full((4, 2, 2, 3), 0.2, np.float32)
    cloudy = clear + np.float32([0.0, 0.06, 0.13, 0.7])[:, None, None, None]
    np.testing.assert_allclose(faint_weights(cloudy, clear, 0.0), 1.0)
    found = faint_weights(cloudy, clear, 0.5)
    np.testing.assert_allclose(found, [math.sqrt(7), 1.0, math.sqrt(0.5), math.sqrt(7 / 71)], 1e-5)
    np.testing.assert_allclose(faint_weights(cloudy, clear, 1.0), [6.0, 1.0, 0.5, 0.3], 1e-5)


# --- features -----------------------------------------------------------------------------------


def test_feature_matching_is_the_mean_of_the_layers_means():
    rng = np.random.default_rng(0)
    shapes = ((2, 8, 8, 3), (2, 4, 4, 6), (2, 1, 1, 1))
    real, fake = ([tf.constant(rng.normal(size=s), tf.float32) for s in shapes] for _ in range(2))
    wanted = np.mean(
        [np.abs(a.numpy() - b.numpy()).mean() for a, b in zip(real, fake, strict=True)]
    )
    assert float(feature_matching(real, fake)) == pytest.approx(wanted, rel=1e-5)
    assert float(feature_matching(real, real)) == 0
    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        found = feature_matching(real, fake)
    of_real, of_fake = tape.gradient(found, [real, fake])
    assert of_real == [None] * 3
    np.testing.assert_allclose(np.abs(of_fake[1]), 1 / (3 * 2 * 4 * 4 * 6), rtol=1e-5)
