"""Repainting holes: published sizes, known pixels, every form of the adversarial loss."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from conftest import state_arrays, task_of

from configure import GANPoly
from util.pictures.pixels import as_float
from util.restore.bands import restore_picture
from util.run.folder import RunFolder
from util.train import inpainting, loop
from util.use.trained import Trained

POLY = "mod_GAN_poly"


@pytest.fixture
def made(one_by_one):
    """Return `one_by_one` for mod_GAN_poly, or the script that is named."""
    return lambda script=POLY, **changes: one_by_one(script, **changes)


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


@pytest.mark.parametrize("script", ["mod_GAN_spot", POLY])
def test_the_networks_have_as_many_weights_as_published(script, made):
    changes = {"base_width": 16, "crop_px": 128, "past_size": 0, "discriminator_rate_share": 0.25}
    changes |= {"cloud_hole_share": 0.0}
    state, *_ = made(script, **{**task_of(script).settings.presets["source"], **changes})
    assert state.rates == {"generator": 1e-4, "discriminator": 0.25e-4}
    assert count(state.networks["generator"]) == 7_170_275
    assert count(state.networks["discriminator"]) == 1_526_273


@pytest.mark.parametrize("painting", ["membrane", "direct"])
def test_known_pixels_come_out_bit_for_bit(painting, made):
    state, _, batch, settings = made(painting=painting)
    given = batch()
    restored = inpainting.restore(state.networks, given, settings)["restored"].numpy()
    known = np.broadcast_to(given["hole"].numpy() == 0, restored.shape)
    assert known.any()
    assert not known.all()
    np.testing.assert_array_equal(restored[known], given["holed"].numpy()[known])
    missing = np.broadcast_to(given["hole"].numpy() == 1, restored.shape)
    assert (restored[missing] != given["clear"].numpy()[missing]).mean() > 0.9


def test_what_the_hole_hides_has_no_influence(made):
    """Pictures come with cloud where they are missing, or with what was filled there before."""
    state, _, _, settings = made()
    rng = np.random.default_rng(0)
    first, hole = rng.integers(0, 256, (80, 100, 3), np.uint8), np.zeros((80, 100), bool)
    hole[20:50, 30:70] = True
    second = np.where(hole[..., None], 255 - first, first)

    def restore(batch):
        return inpainting.restore(state.networks, batch, settings)

    # The generator looks at what it is given, hidden or not ...
    given = [{"holed": as_float(p[:64, :96])[None]} for p in (first, second)]
    missing = hole[None, :64, :96, None].astype(np.float32)
    patches = [restore({**batch, "hole": missing})["patch"].numpy() for batch in given]
    assert np.abs(patches[0] - patches[1]).max() > 1 / 255
    # ... so what is hidden must not be given to it.
    network = Trained(task_of(POLY), settings, state.networks, "none.npz", 0, restore)
    made_of = [restore_picture(network, pixels, hole)[0] for pixels in (first, second)]
    np.testing.assert_array_equal(*made_of)
    np.testing.assert_array_equal(made_of[0][~hole], first[~hole])
    assert (made_of[0][hole] != first[hole]).mean() > 0.9
    samples = [
        {"holed": as_float(p), "hole": hole[..., None].astype(np.float32)} for p in (first, second)
    ]
    completed = [network.task.kind.complete(network, s)["restored"] for s in samples]
    np.testing.assert_array_equal(*(picture[hole] for picture in completed))


def test_without_a_rise_the_adversarial_losses_are_there_from_the_first_step():
    settings = GANPoly(**GANPoly.presets["source"])
    assert [float(inpainting.rise(n, settings)) for n in (0, 1, 999)] == [1.0] * 3
    later = replace(settings, reconstruction_steps=2)
    assert [float(inpainting.rise(n, later)) for n in (0, 1, 2)] == [0.0, 0.0, 1.0]


def test_the_adversarial_losses_rise_after_the_reconstruction_steps(tiny_settings, tmp_path):
    settings = tiny_settings(tmp_path, POLY, reconstruction_steps=10, adversarial_rise_steps=4)
    found = [float(inpainting.rise(step, settings)) for step in (0, 10, 11, 14, 99)]
    assert found == pytest.approx([0, 0, 0.25, 1, 1])
    at_once = replace(settings, reconstruction_steps=0, adversarial_rise_steps=0)
    assert float(inpainting.rise(1, at_once)) == 1


def test_a_perfect_patch_leaves_nothing_but_the_adversarial_loss(made):
    """Painted is what is true: real and completed pictures are the same, cleared haze and all."""
    state, _, batch, settings = made(cleared_share=1.0, edge_px=1)
    given = batch()
    assert not np.array_equal(inpainting.real_pictures(given), given["clear"])
    truth = {**state.networks, "generator": lambda x, training: given["clear"]}
    for share in (0.0, 1.0):
        found, made_pictures, _ = inpainting.generator_losses(truth, given, settings, share)
        np.testing.assert_array_equal(made_pictures, inpainting.real_pictures(given))
        assert float(found["loss_features"]) == float(found["loss_reconstruction"]) == 0
        expected = share * settings.adversarial_weight * float(found["loss_adversarial"])
        assert float(found["loss_generator"]) == pytest.approx(expected)


def test_pixels_far_from_the_rim_count_less(made):
    state, _, batch, settings = made(cloud_hole_share=0.0, rim_px=4.0)
    given = batch()

    def loss(wrong):
        patch = {**state.networks, "generator": lambda x, training: given["clear"] + 0.5 * wrong}
        found, *_ = inpainting.generator_losses(patch, given, settings, 0.0)
        return float(found["loss_reconstruction"])

    near, hole = (given[name].numpy() for name in ("near", "hole"))
    rim, middle = hole * (near > 0.5), hole * (near < 0.5)
    assert loss(rim) / rim.mean() > loss(middle) / middle.mean() > 0


FORMS = ["gan", "dcgan", "lsgan", "wgan", "wgan-gp"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_both_networks(form, made):
    state, step, batch, _ = made(adversarial=form, reconstruction_steps=0, adversarial_rise_steps=0)
    before = state.arrays()
    for number in range(2):
        metrics, skipped = step(batch(number))
    assert int(skipped) == 0
    after = state.arrays()
    for network in ("generator", "discriminator"):
        names = [n for n in before if n.startswith(f"networks/{network}")]
        if form.startswith("wgan"):  # a constant added to all scores changes no loss of a critic
            names.remove("networks/discriminator/head2/bias") if network != "generator" else None
        assert all(not np.array_equal(before[n], after[n]) for n in names)
    assert all(np.isfinite(float(v)) for v in metrics.values())
    assert ("gradient_penalty" in metrics) == (form == "wgan-gp")
    assert ("trained_generator" in metrics) == (not form.startswith("wgan"))
    if form == "wgan":
        limits = [
            np.abs(v).max() for n, v in after.items() if n.startswith("networks/discriminator")
        ]
        assert max(limits) == pytest.approx(0.01)
    assert int(after["variables/history_fill"]) == 2


def test_a_critic_is_updated_as_often_as_it_shall(made):
    state, step, batch, _ = made(adversarial="wgan-gp", critic_steps=3)
    for number in range(2):
        step(batch(number))
    updates = {n: int(o.iterations) for n, o in state.optimizers.items()}
    assert updates == {"generator": 2, "discriminator": 6}


@pytest.mark.parametrize("form", ["dcgan", "wgan-gp"])
def test_a_step_follows_from_the_state_and_its_number_alone(form, made):
    """History, balance and every random draw of a step go on where they were."""
    changes = {"adversarial": form, "reconstruction_steps": 0, "adversarial_rise_steps": 0}
    state, step, batch, _ = made(**changes)
    step(batch(0))
    saved = state.arrays()
    pictures = "variables/history_pictures"
    # A full history: which of it is drawn and which replaced is then a matter of chance.
    rng = np.random.default_rng(0)
    saved[pictures] = rng.integers(0, 256, saved[pictures].shape, np.uint8)
    saved["variables/history_fill"] = np.int64(len(saved[pictures]))
    state.assign(saved)
    step(batch(1))
    again, step, batch, _ = made(**changes)
    again.assign(saved)
    step(batch(1))
    assert again.digest() == state.digest()
    again.assign({**saved, "step": saved["step"] + 1})  # other draws
    step(batch(1))
    first, other = state.arrays(), again.arrays()
    changed = {n for n in first if not np.array_equal(first[n], other[n], equal_nan=True)}
    assert pictures in changed
    assert any(n.startswith("networks/discriminator/") for n in changed)


@pytest.mark.parametrize(
    ("losses", "who"),
    [((9.0, 1.0), "generator"), ((1.0, 9.0), "discriminator"), ((1.0, 1.0), "both")],
)
def test_the_balance_decides_who_trains(losses, who, made):
    state, step, batch, _ = made(balance_window=2, balance_ratio=4.0)
    state.variables["balance_losses"].assign([losses] * 2)
    state.variables["balance_count"].assign(2)
    before = state.arrays()
    metrics, _ = step(batch())
    after = state.arrays()
    for network in ("generator", "discriminator"):
        trained = who in (network, "both")
        assert bool(metrics[f"trained_{network}"]) == trained
        changed = [
            not np.array_equal(before[n], after[n])
            for n in before
            if n.startswith((f"networks/{network}", f"optimizers/{network}"))
        ]
        assert any(changed) == trained
    assert not np.array_equal(before["variables/balance_losses"], after["variables/balance_losses"])


def test_the_history_holds_completed_pictures_with_their_holes(made):
    state, step, batch, settings = made(past_share=1.0, learning_rate=1e-9)
    given = batch()
    restored = inpainting.restore(state.networks, given, settings)["restored"].numpy()
    step(given)
    held = state.variables["history_pictures"].numpy()[: settings.batch_size]
    expected = np.concatenate([restored, given["hole"]], axis=-1)
    np.testing.assert_allclose(held / 255, expected, atol=0.51 / 255)


def test_by_default_the_history_remembers_more_than_500_steps_in_less_than_100_mb():
    for script in ("mod_GAN_spot", POLY):
        defaults = task_of(script).settings()
        a_step = np.ceil(defaults.past_share * defaults.batch_size)
        assert defaults.past_size / a_step >= 500  # the mean age, where any slot is replaced
        picture = 4 * defaults.crop_px**2 * defaults.past_bits / 8
        assert defaults.past_size * picture < 100e6


def test_pictures_are_restored_with_the_averages(made):
    state, step, batch, settings = made(average=0.5)
    for number in range(3):
        step(batch(number))
    mean, now = (
        inpainting.restore(networks, batch(), settings)["patch"].numpy()
        for networks in (state.restoring, state.networks)
    )
    assert np.abs(mean - now).max() > 1e-6
    assert {n for n in state.arrays() if n.startswith("averages/")} == {
        n.replace("networks/", "averages/") for n in state.arrays() if "networks/generator" in n
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"towers": "global"},
        {"towers": "local"},
        {"discriminator_head": "tensor"},
        {"spectral_norm": True},
        {"detail_gain": 1.0},
        {"past_size": 0},
        {"balance_ratio": 0.0},
        {"upsampling": "resize"},
        {"painting": "direct", "skips": False, "reconstruction_weight": 0.0},
        {"generator": "source", "feature_weight": 0.0, "average": 0.0, "past_bits": 32},
    ],
    ids=lambda c: next(iter(c)),
)
def test_every_choice_trains(changes, made):
    state, step, batch, _ = made(
        **{"reconstruction_steps": 0, "adversarial_rise_steps": 0, **changes}
    )
    before = state.arrays()
    for number in range(2):
        metrics, skipped = step(batch(number))
    assert int(skipped) == 0
    assert all(np.isfinite(float(v)) for v in metrics.values())
    for name, array in state.arrays().items():
        if name.startswith("networks/"):
            assert not np.array_equal(before[name], array), name


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_two_hundred_steps_do_not_diverge(form, tiny_settings, tmp_path, empty_pictures):
    """The adversarial loss has its full weight from the start, and no L1 to hold on to."""
    task = task_of(POLY)
    settings = tiny_settings(
        tmp_path,
        POLY,
        adversarial=form,
        base_width=4,
        reconstruction_weight=0.0,
        adversarial_weight=1.0,
        reconstruction_steps=0,
        adversarial_rise_steps=0,
        learning_rate=2e-4,
        steps=200,
        log_every=50,
        validate_every=100,
        sheet_every=200,
        save_every=200,
        validation_samples=16,
    )
    assert loop.train(task, settings, tf.distribute.get_strategy()) == 0
    run = RunFolder(task.name, settings).path
    with open(run / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    arrays = state_arrays(run / "checkpoints" / "step-0000200.npz")
    assert int(arrays["skipped"]) == 0
    for row in rows:
        assert all(np.isfinite(float(row[n])) for n in row if n.startswith(("loss", "hole_l1")))
    # Pictures of full contrast in place of the ground would be off by 0.3 or more.
    assert float(rows[-1]["validation_hole_l1"]) < 0.25
