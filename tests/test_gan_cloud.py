"""mod_GAN_cloud: its networks and veil, and each mistake of the published code put right."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import arrays_of, log_of, task_of

from configure import GANCloud
from util.networks.gan_cloud import pool_unet, residual_discriminator
from util.run import checkpoint
from util.run.folder import RunFolder
from util.samples.keys import Keys, keyed_rng
from util.samples.veil import layered_noise, veil
from util.train import loop, paired

TASK = task_of("mod_GAN_cloud")


def softplus(x):
    return np.log1p(np.exp(x))


# --- networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"), [("generator", 7_766_819), ("discriminator", 5_035_489)]
)
def test_the_published_number_of_weights(name, count):
    network = TASK.make_networks(GANCloud(**GANCloud.presets["source"]))[name]
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == count


def test_a_sigmoid_bounds_the_picture_only_where_it_is_the_source_s():
    picture = tf.random.stateless_uniform((1, 32, 48, 3), (1, 2))
    for output in ("add", "direct"):
        network = pool_unet(8, "none", output)
        if output == "add":  # it begins near what it is given
            assert np.abs(network(picture) - picture).mean() < 0.05
        last = network.get_layer("last").kernel
        last.assign(tf.zeros_like(last))
        made = network(picture).numpy()
        np.testing.assert_allclose(made, picture if output == "add" else 0.5, atol=1e-6)
    with pytest.raises(ValueError, match=r"output is 'half'.*add, direct"):
        pool_unet(2, output="half")


# --- what the published code had wrong ----------------------------------------------------------


def test_scores_are_logits():
    """There a sigmoid came before a loss that has one of its own."""
    network = residual_discriminator(2, (1, 1, 1, 1), "none")
    last = network.get_layer("logit")
    last.bias.assign([-30.0])
    low = float(network(tf.zeros((1, 32, 32, 3)))[0, 0])
    assert low == pytest.approx(-30.0)
    settings = TASK.settings(adversarial_weight=1.0, reconstruction_weight=0.0)
    picture = tf.zeros((1, 8, 8, 3))
    found = paired.losses(picture, picture, tf.constant([[-30.0]]), tf.constant([[3.0]]), settings)
    assert float(found["loss_generator"]) == pytest.approx(30.0)  # at most .69 of a sigmoid
    wanted = 0.5 * (softplus(-3.0) + softplus(-30.0))
    assert float(found["loss_discriminator"]) == pytest.approx(wanted)


def test_validation_judges_the_scores_of_each_sample():
    """There it judged pixels."""
    rng = np.random.default_rng(0)
    made, clear = (tf.constant(rng.random((3, 8, 8, 3), np.float32)) for _ in range(2))
    batch, settings = {"clear": clear}, TASK.settings()

    def score(networks, batch, picture, training):
        assert not training
        return tf.reduce_mean(picture, axis=(1, 2))[:, :1] * 10.0 - 5.0

    found = paired.judge({}, batch, {"restored": made}, settings, score=score)
    fake, real = (score({}, {}, x, False).numpy()[:, 0] for x in (made, clear))
    distance = np.abs(made - clear).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found["loss_generator"], softplus(-fake) + 100 * distance, rtol=1e-5)
    wanted = (softplus(-real) + softplus(fake)) / 2
    np.testing.assert_allclose(found["loss_discriminator"], wanted, rtol=1e-5)


def test_the_best_network_has_the_lowest_validation_loss(tiny_settings, tmp_path, monkeypatch):
    """There it had the greatest."""
    losses = iter([3.0, 1.0, 2.0])
    scores = loop.Validation.scores

    def scores_then(self):
        found = scores(self)
        assert {"loss_generator", "loss_discriminator"} < found.keys()
        return {**found, "loss_generator": next(losses)}

    monkeypatch.setattr(loop.Validation, "scores", scores_then)
    settings = tiny_settings(tmp_path, TASK.name, steps=6, validate_every=2)
    still = replace(TASK, train_step=lambda state, batch, settings: {"loss": tf.constant(1.0)})
    assert loop.train(still, settings, tf.distribute.get_strategy()) == 0
    run = RunFolder(TASK.name, settings)
    assert checkpoint.load_networks(run.best, TASK.make_networks(settings)) == 4
    rows = log_of(run.path)
    assert [float(row["validation_loss_generator"]) for row in rows] == [3.0, 1.0, 2.0]


def test_with_another_weight_the_best_loss_is_measured_again(tiny_settings, tmp_path, monkeypatch):
    """A loss of 14 is no worse than one of .96 of which the distance is a hundredth."""
    losses = iter([14.0, 0.95, 0.96])
    found = {"loss_generator": 0.0, "loss_discriminator": 1.0, "psnr": 20.0, "ssim": 0.5}
    monkeypatch.setattr(
        loop.Validation, "scores", lambda self: found | {"loss_generator": next(losses)}
    )
    still = replace(TASK, train_step=lambda state, batch, settings: {"loss": tf.constant(1.0)})
    for steps, weight in ((2, 100.0), (4, 1.0)):
        how = {"steps": steps, "validate_every": 2, "sheet_every": 100}
        settings = tiny_settings(tmp_path, TASK.name, reconstruction_weight=weight, **how)
        assert loop.train(still, settings, tf.distribute.get_strategy()) == 0
    run = RunFolder(TASK.name, settings)
    assert checkpoint.step_in(run.best) == 2
    assert arrays_of(checkpoint.path_of(run.checkpoints, 4))["best_score"] == 0.95


@pytest.mark.parametrize(("epochs", "steps"), [(1, 2), (4, 5)])
def test_epochs_of_few_pictures_are_told(epochs, steps, tiny_settings, tmp_path, capsys):
    """Those of the preset are meant for 27,000 tiles."""
    settings = tiny_settings(tmp_path, TASK.name, epochs=epochs, batch_size=4, validate_every=4)
    still = replace(TASK, train_step=lambda state, batch, settings: {"loss": tf.constant(1.0)})
    assert loop.train(still, settings, tf.distribute.get_strategy()) == 0
    said = capsys.readouterr().err
    assert f"finished {steps} steps" in said
    told = f"note: {epochs} epochs of these pictures are {steps} step(s)"
    assert (told in said) == ("--steps sets" in said) == (epochs == 1)


def test_every_veil_has_lattices_of_its_own():
    """There each was the same noise at another zoom."""
    maps = [layered_noise(keyed_rng(0, n, "cloud"), 64, (8.0, 8.0)).ravel() for n in range(4)]
    alike = np.corrcoef(maps) - np.eye(4)
    assert np.abs(alike).max() < 0.5


# --- veil ---------------------------------------------------------------------------------------


def test_the_layers_of_the_noise(monkeypatch):
    drawn = {}

    def fractal(rng, size_px, cells_px, weights):
        drawn.update(cells_px=cells_px, weights=weights)
        return np.linspace(-2, 2, size_px * size_px, dtype=np.float32).reshape(size_px, size_px)

    monkeypatch.setattr("util.samples.veil.fractal_noise", fractal)
    noise = layered_noise(np.random.default_rng(0), 8, (120.0, 120.0))
    np.testing.assert_allclose(drawn["cells_px"], 120.0 / np.arange(1, 13))
    np.testing.assert_allclose(drawn["weights"], 0.5 ** np.arange(1, 13))
    assert (noise.min(), noise.max()) == (0.0, 1.0)
    layered_noise(np.random.default_rng(0), 8, (5.0, 5.0))
    np.testing.assert_allclose(drawn["cells_px"], 5.0 / np.arange(1, 6))  # the rest below a pixel


@pytest.mark.parametrize("composite", ["veil", "white"])
def test_what_a_veil_does_to_ground(composite):
    clear = np.random.default_rng(0).random((64, 64, 3), np.float32)
    found = veil(Keys(0, 5), clear, composite=composite)
    assert np.array_equal(found["clear"], clear)
    opacity = found["opacity"]
    assert (opacity.shape, opacity.dtype) == ((64, 64, 1), np.float32)
    light = opacity if composite == "veil" else 1.0
    np.testing.assert_allclose(found["cloudy"], clear * (1 - opacity) + light * opacity, atol=1e-6)
    darker = (found["cloudy"] < clear - 0.05).any()
    assert darker == (composite == "veil")


# --- rates --------------------------------------------------------------------------------------


def test_the_discriminator_learns_at_a_rate_of_its_own(tiny_settings, tmp_path):
    keras.utils.set_random_seed(0)
    settings = tiny_settings(tmp_path, TASK.name, learning_rate=1e-3, warmup_steps=0, steps=100)
    state = TASK.make_state(settings)
    assert state.rates == {"generator": 1e-3, "discriminator": pytest.approx(1e-4)}
