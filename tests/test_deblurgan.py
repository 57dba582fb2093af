"""Taking haze off with a DeblurGAN: published sizes, every form of loss, pictures of any size."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

import mod_deblurgan
from configure import Deblur
from util import command
from util.networks.vgg16 import BUNDLED_WEIGHTS
from util.pictures.pixels import as_float
from util.pictures.read import read_picture
from util.pictures.write import write_picture
from util.say import UserError
from util.use import apply, evaluate, export
from util.use.trained import Trained

FORMS = ["wgan-gp", "wgan", "source"]


@pytest.fixture
def made(one_by_one):
    """Return `one_by_one` for mod_deblurgan."""
    return partial(one_by_one, "mod_deblurgan")


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def changed(before, after, network):
    """Return which variables of a network differ, and which do not."""
    names = [n for n in before if n.startswith(f"networks/{network}/")]
    differ = {n for n in names if not np.array_equal(before[n], after[n])}
    return differ, set(names) - differ


# --- networks -----------------------------------------------------------------------------------


def test_the_published_networks_are_a_matter_of_settings():
    settings = Deblur(**Deblur.presets["source"])
    networks = mod_deblurgan.make_networks(settings)
    assert list(networks) == ["generator"]  # the critic is no part of what restores
    assert count(networks["generator"]) == 11_388_675
    critic = mod_deblurgan.make_critic(settings)
    assert count(critic) == 3_096_450
    assert critic.output_shape == (None, 1)


@pytest.mark.parametrize("critic", ["patch", "source"])
@pytest.mark.parametrize("form", FORMS)
def test_only_the_form_of_the_source_bounds_the_scores(critic, form, made):
    state, _, batch, _ = made(critic=critic, adversarial=form)
    network = state.networks["critic"]
    network.set_weights([100 * w for w in network.get_weights()])
    scores = network(batch()["clear"]).numpy()
    bounded = scores.min() >= 0 and scores.max() <= 1
    assert bounded == (form == "source")
    assert scores.shape == ((4, 8, 8, 1) if critic == "patch" else (4, 1))


def test_vgg16_is_in_no_checkpoint(made):
    state, *_ = made()
    assert state.frozen["features"].trainable_variables == []
    of_vgg = {tuple(v.shape) for v in state.frozen["features"].variables if len(v.shape) == 4}
    assert of_vgg == {(3, 3, 3, 64), (3, 3, 64, 64)}
    assert not of_vgg & {array.shape for array in state.arrays().values()}


# --- steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "critic"), [*((form, "patch") for form in FORMS), ("source", "source")]
)
def test_every_form_trains_both_networks(form, critic, made):
    state, step, batch, _ = made(
        adversarial=form, critic=critic, critic_norm="batch" if form == "source" else "none"
    )
    before = state.arrays()
    for number in range(2):
        metrics, skipped = step(batch(number))
    assert int(skipped) == 0
    after = state.arrays()
    assert not changed(before, after, "generator")[1]
    differ, same = changed(before, after, "critic")
    assert differ
    if form == "source":  # a bias before a norm has no effect, nor a gradient but for rounding
        same = {n for n in same if not n.endswith("bias")}
    else:  # a constant added to all scores changes no loss of a critic
        same -= {"networks/critic/scores/bias", "networks/critic/score/bias"}
    assert not same
    assert all(np.isfinite(float(v)) for v in metrics.values())
    assert ("gradient_penalty" in metrics) == (form == "wgan-gp")
    if form == "wgan":
        weights = [a for n, a in after.items() if n.startswith("networks/critic")]
        assert max(np.abs(w).max() for w in weights) == pytest.approx(0.01)
    if form == "source":
        assert -1 <= float(metrics["loss_adversarial"]) <= 0


@pytest.mark.parametrize("updates", [1, 3])
def test_the_critic_is_updated_as_often_as_it_shall(updates, made):
    state, step, batch, _ = made(critic_steps=updates)
    for number in range(2):
        step(batch(number))
    found = {n: int(o.iterations) for n, o in state.optimizers.items()}
    assert found == {"generator": 2, "critic": 2 * updates}


def test_without_an_adversarial_weight_the_critic_costs_nothing(made):
    state, step, batch, _ = made(adversarial_weight=0.0)
    before = state.arrays()
    metrics, _ = step(batch())
    assert not changed(before, state.arrays(), "critic")[0]
    assert not changed(before, state.arrays(), "generator")[1]
    assert "loss_critic" not in metrics


def test_the_loss_is_the_weighted_sum_of_its_parts(made):
    weights = {"perceptual_weight": 3.0, "adversarial_weight": 5.0, "reconstruction_weight": 7.0}
    state, step, batch, _ = made(**weights, dropout=0.0, learning_rate=1e-9)
    given = batch()
    metrics, _ = step(given)
    parts = {n: float(metrics[f"loss_{n.removesuffix('_weight')}"]) for n in weights}
    total = sum(weights[n] * parts[n] for n in weights)
    assert float(metrics["loss_generator"]) == pytest.approx(total, rel=1e-5)

    # The parts, from the pictures themselves; the step of 1e-9 has changed none of them.
    hazy, clear = given["hazy"], given["clear"].numpy()
    restored = state.networks["generator"]([hazy, tf.zeros(2, tf.int32)]).numpy()
    seen, wanted = (
        state.frozen["features"](restored).numpy(),
        state.frozen["features"](clear).numpy(),
    )
    perceptual = ((seen - wanted) ** 2).mean() / 127.5**2
    assert parts["perceptual_weight"] == pytest.approx(perceptual, rel=1e-4)
    l1 = np.abs(restored - clear).mean()
    assert parts["reconstruction_weight"] == pytest.approx(l1, rel=1e-4)
    score = state.networks["critic"](restored).numpy().mean()
    assert parts["adversarial_weight"] == pytest.approx(-score, rel=1e-3, abs=1e-6)


def test_the_perceptual_loss_alone_falls(made):
    _, step, batch, _ = made(
        reconstruction_weight=0.0, adversarial_weight=0.0, dropout=0.0, learning_rate=5e-3
    )
    given = batch()
    first = float(step(given)[0]["loss_perceptual"])
    for _ in range(15):
        metrics, _ = step(given)
    assert float(metrics["loss_perceptual"]) < 0.8 * first


def test_dropout_follows_from_the_step(made):
    state, step, batch, _ = made(learning_rate=1e-9, blocks=3)
    given = batch()
    losses = []
    for number in (0, 1, 0):
        state.step.assign(number)
        losses.append(float(step(given)[0]["loss_reconstruction"]))
    assert losses[0] == pytest.approx(losses[2], rel=1e-6)
    assert losses[0] != pytest.approx(losses[1], rel=1e-6)


def test_the_critic_may_learn_first_what_is_clear_and_then_what_is_made(made):
    how = {"adversarial": "source", "critic_steps": 2, "learning_rate": 1e-9}
    state, step, batch, _ = made(critic_turn="before", **how)
    order, given = [], batch()
    for name, optimizer in state.optimizers.items():

        def moved(*grads, name=name, apply=optimizer.apply):
            order.append(name)
            return apply(*grads)

        optimizer.apply = moved
    critic = state.networks["critic"]
    made_of = mod_deblurgan.made_by(state.networks["generator"], given["hazy"])  # no dropout
    expected = tf.reduce_mean(critic(made_of)) - tf.reduce_mean(critic(given["clear"]))
    metrics, skipped = step(given)
    assert order == ["critic"] * 4 + ["generator"]
    assert int(skipped) == 0
    assert float(metrics["loss_critic"]) == pytest.approx(float(expected), rel=1e-3, abs=1e-7)
    without_dropout = -float(tf.reduce_mean(critic(made_of)))
    assert float(metrics["loss_adversarial"]) != pytest.approx(without_dropout, abs=1e-7)


def test_raw_features_are_weighed_as_they_are_and_the_critic_has_a_rate_of_its_own(made):
    how = {"dropout": 0.0, "learning_rate": 1e-9, "discriminator_rate_share": 0.25}
    state, step, batch, _ = made(perceptual_input="raw", **how)
    assert state.rates == {"generator": 1e-9, "critic": 0.25e-9}
    given = batch()
    see = state.frozen["features"]
    made_of = mod_deblurgan.made_by(state.networks["generator"], given["hazy"])
    expected = ((see(made_of).numpy() - see(given["clear"]).numpy()) ** 2).mean()
    assert float(step(given)[0]["loss_perceptual"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"output": "half"}, {"output": "add"}, {"critic_norm": "instance"}, {"norm": "batch"}],
    ids=lambda c: "-".join(next(iter(c.items()))),
)
def test_every_choice_trains(changes, made):
    state, step, batch, _ = made(**changes)
    before = state.arrays()
    metrics, skipped = step(batch())
    assert int(skipped) == 0
    assert all(np.isfinite(float(v)) for v in metrics.values())
    for network in ("generator", "critic"):
        differ, _ = changed(before, state.arrays(), network)
        assert differ


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vgg_weights_file": "nowhere.npz"}, r"nowhere\.npz: no such file"),
        ({"perceptual_layer": "block9_conv1"}, "block9_conv1.*choose one of"),
    ],
)
def test_vgg16_that_cannot_be_had_is_named(changes, message, made):
    with pytest.raises(UserError, match=message):
        made(**changes)


# --- settings -----------------------------------------------------------------------------------


@pytest.fixture
def settings_of(monkeypatch):
    """Return a function: words of a command line -> settings."""
    caught = []
    monkeypatch.setattr(command, "_train", lambda task, settings, *_: caught.append(settings))
    monkeypatch.setattr(command.interrupt, "listen", lambda: None)

    def run(*words):
        with pytest.raises(SystemExit):
            command.main(mod_deblurgan.TASK, "text", list(words))
        return caught.pop() if caught else None

    return run


def test_places_are_meant_from_where_they_were_written(settings_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = settings_of()
    assert (usual.hazy_folder, usual.depth_folder, usual.vgg_weights_file) == ("", "", "")
    found = settings_of("--hazy-folder", "hazy", "--vgg-weights-file", "mine/vgg.npz")
    assert found.hazy_folder == str(tmp_path.resolve() / "hazy")
    assert found.vgg_weights_file == str(tmp_path.resolve() / "mine" / "vgg.npz")


def test_steps_that_are_given_take_the_place_of_the_presets_epochs(settings_of, tmp_path):
    words = ("--preset=source", f"--runs-folder={tmp_path}")
    assert settings_of(*words).epochs == 50
    found = settings_of(*words, "--steps=30")
    assert (found.steps, found.epochs) == (30, 0)
    assert settings_of(*words, "--steps=30", "--epochs=2").epochs == 2


def test_a_wrong_form_is_told_with_those_of_this_script(settings_of, capsys):
    assert settings_of("--adversarial", "dcgan") is None
    assert "adversarial = 'dcgan': must be one of: wgan-gp, wgan, source" in capsys.readouterr().err
    assert settings_of("--critic-norm", "batch") is None
    assert "critic_norm = 'batch': must be another one" in capsys.readouterr().err
    assert settings_of("--critic-norm", "batch", "--adversarial", "wgan").critic_norm == "batch"


# --- use ----------------------------------------------------------------------------------------


@pytest.fixture
def trained(made):
    """A network as it is before training, ready for use, and its folder."""
    state, _, _, settings = made(apply_margin_px=32, apply_tile_px=256)
    networks = state.networks

    def restore(batch):
        return mod_deblurgan.restore(networks, batch, settings)

    return Trained(mod_deblurgan.TASK, settings, networks, "none.npz", 0, restore)


@pytest.mark.parametrize("size", [(64, 96), (61, 83), (65, 64), (7, 5)])
def test_any_picture_comes_out_in_its_size(size, trained):
    hazy = np.random.default_rng(0).random((2, *size, 3), np.float32)
    found = trained.restore({"hazy": hazy})
    assert found.keys() == mod_deblurgan.TASK.kind.found.keys()
    restored = found["restored"].numpy()
    assert restored.shape == hazy.shape
    assert restored.min() >= 0
    assert restored.max() <= 1


@pytest.mark.parametrize("size", [(64, 96), (71, 93)])
def test_apply_writes_a_picture_in_its_size(size, trained, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    write_picture(tmp_path / "in.png", pixels)
    assert apply.apply(trained, [str(tmp_path / "in.png")], str(tmp_path / "out")) == 0
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == "in.png"
    written = read_picture(file)
    assert written.shape == pixels.shape
    assert written.dtype == np.uint8
    if size == (64, 96):  # filled up to no other size, which would move what lies at the edges
        restored = trained.restore({"hazy": as_float(pixels)[None]})["restored"][0]
        np.testing.assert_allclose(written / 255, restored, atol=0.51 / 255)


def test_evaluate_sets_it_beside_doing_nothing_and_the_dark_channel_prior(
    trained, tmp_path, capsys
):
    file = tmp_path / "table.csv"
    assert evaluate.evaluate(trained, count=2, csv_file=str(file)) == 0
    shown = capsys.readouterr().out
    for method in ("nothing", "dark channel prior", "network"):
        assert shown.count(f"\n{method} ") == 1
    assert len(file.read_text().splitlines()) == 1 + 2 * 3


def test_the_exported_network_is_the_network(trained, tmp_path, capsys):
    assert export.export(trained, "keras", tmp_path / "net.keras") == 0
    assert "restored: " in capsys.readouterr().out


def test_the_bundled_weights_are_there():
    assert BUNDLED_WEIGHTS.is_file()
