"""Some rows at a time: the result of the whole picture, each row computed once, little kept."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from stand_ins import picture
from test_bands import OnlySlices, joined

import mod_defog
from configure import Defog
from util.restore import by_rows
from util.restore.bands import bands, restore_picture, tile_counts
from util.restore.specks import told_scale
from util.restore.streaming import Stage, stream
from util.use.trained import Trained

TINY = {"crop_px": 64, "base_width": 2, "devices": "cpu"}


@pytest.fixture(scope="module", params=["none", "batch"])
def network(request):
    """mod_defog's own network with weights that are not 0, and whose averages are not 0 and 1."""
    return defog(norm=request.param)


def defog(**changes):
    settings = Defog(**{**TINY, **changes})
    networks = mod_defog.make_networks(settings)
    rng = np.random.default_rng(0)
    # Kernels that keep the size of what they are given; other weights near what they begin as.
    weights = [
        rng.normal(0, np.prod(w.shape[:-1]) ** -0.5, w.shape)
        if w.ndim == 4
        else w + rng.uniform(0, 0.2, w.shape)
        for w in networks["unet"].get_weights()
    ]
    networks["unet"].set_weights(weights)

    @tf.function(autograph=False)
    def restore(batch):
        return mod_defog.restore(networks, batch, settings)

    parts = by_rows.parts_of(mod_defog.TASK, networks, settings)
    return Trained(mod_defog.TASK, settings, networks, "none.npz", 0, restore, by_rows=parts)


def answers(stages, pixels, at_once):
    blocks = (tf.constant(pixels[n : n + at_once]) for n in range(0, len(pixels), at_once))
    return np.concatenate(list(stream(stages, blocks, len(pixels), at_once)))


def whole_answer(network, pixels):
    """What the network makes of all that it is shown, in one piece."""
    shown = network.by_rows.network[0].function(pixels)
    return network.networks["unet"](shown[None], training=False)[0].numpy()


@pytest.fixture(scope="module")
def pixels():
    return picture(0, 480, 96).astype(np.float32) / 255


# ---- the network ----


@pytest.mark.parametrize("at_once", [32, 64, 160, 480])
def test_the_answer_is_that_of_the_whole_picture(network, pixels, at_once):
    wanted = whole_answer(network, pixels)
    got = answers(network.by_rows.network, pixels, at_once)
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_enlarged_instead_of_transposed_it_is_as_well(pixels):
    network = defog(upsampling="resize")
    got = answers(network.by_rows.network, pixels, 64)
    np.testing.assert_allclose(got, whole_answer(network, pixels), rtol=1e-4, atol=1e-5)


def test_a_stage_that_looked_less_far_would_be_noticed(network, pixels):
    stages, wanted = network.by_rows.network, whole_answer(network, pixels)
    looking = [n for n, stage in enumerate(stages) if stage.reach]
    assert len(looking) == 11  # five down, the middle, five up
    for number in looking:
        less = replace(stages[number], reach=stages[number].reach - stages[number].down)
        got = answers([*stages[:number], less, *stages[number + 1 :]], pixels, 64)
        assert not np.allclose(got, wanted, rtol=1e-4, atol=1e-5), stages[number].made


def test_a_row_is_computed_once_but_for_those_around_a_block(network, pixels):
    worked = {}

    def counted(stage):
        def call(*rows):
            worked[stage.made] = worked.get(stage.made, 0) + len(rows[0])
            return stage.function(*rows)

        return replace(stage, function=call)

    answers([counted(stage) for stage in network.by_rows.network], pixels, 96)
    heights = {"level0": 480}
    for stage in network.by_rows.network[1:]:
        height = heights[stage.given[0]]
        heights[stage.made] = height * stage.up // stage.down
        assert height <= worked[stage.made] <= height + 6 * 2 * stage.reach


def test_what_is_kept_does_not_grow_with_the_picture():
    """Blocks wait no longer than the furthest stage looks, and nothing holds them afterwards."""
    alive = []

    def blocks(count):
        for _ in range(count):
            yield np.zeros((32, 4, 1), np.float32)

    def most_held(count):
        held = []

        def mean(x, y):
            held.append(len(x) + len(y))
            return tf.constant(x[: len(x)] + y[: len(x)])

        stages = [
            Stage(("picture",), "half", lambda x: tf.constant(x)[::2], reach=2, down=2),
            Stage(("half",), "back", lambda x: tf.repeat(x, 2, axis=0), reach=1, up=2),
            Stage(
                ("picture", "back"), "mean", lambda x, y: mean(np.array(x), np.array(y)), reach=8
            ),
        ]
        alive.append(sum(len(rows) for rows in stream(stages, blocks(count), 32 * count, 32)))
        return max(held)

    assert most_held(40) == most_held(5)
    assert alive == [40 * 32, 5 * 32]


# ---- a picture ----


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_by_rows_is_the_picture_in_one_piece(network, dtype):
    came = picture(1, 701, 300, dtype)
    small = replace(network, settings=replace(network.settings, apply_tile_px=400))
    assert tile_counts(network, came.shape) == [1]
    assert by_rows.rows_at_once(network, came.shape) == 0
    at_once = by_rows.rows_at_once(small, came.shape)
    assert tile_counts(small, came.shape) == [-(-701 // at_once)]
    assert at_once < 701
    wanted, told = restore_picture(network, came), []
    got = restore_picture(small, came, progress=lambda: told.append(1))
    assert [len(told)] == tile_counts(small, came.shape)
    assert (wanted[0] != came).mean() > 0.5
    steps = 1 if dtype == np.uint8 else 8
    for one, other in zip(got, wanted, strict=True):
        assert np.abs(one.astype(int) - other).max() <= steps
    source = OnlySlices(came)
    rows, opacity = joined(bands(small, source))
    np.testing.assert_array_equal(rows, got[0])
    np.testing.assert_array_equal(opacity, got[1])
    assert source.most < 300  # of 701
    np.testing.assert_array_equal(restore_picture(small, came.copy(), in_place=True)[0], got[0])


@pytest.mark.parametrize("at_once", [64, 224])
def test_no_band_is_empty(at_once):
    """With 224 rows the first 11 come out by themselves here, of 15 that are padded."""
    network = defog()
    network = replace(network, by_rows=network.by_rows.then(lambda f, batch: f(batch), 5))
    source = OnlySlices(picture(2, 674, 64))
    made = list(by_rows.bands(network, source, at_once, white=255.0))
    ends = np.cumsum([len(found["restored"]) for _, found in made])
    assert [top for top, _ in made] == [0, *ends[:-1]]
    assert ends[-1] == 674
    assert all(np.diff([0, *ends]) > 0)


@pytest.fixture(scope="module")
def all_cloud():
    """A network to which all that is bright is thick cloud."""
    network = defog(apply_tile_px=400)
    bias = network.networks["unet"].get_layer("head2").bias
    bias.assign(tf.tensor_scatter_nd_add(bias, [[0]], [9.0]))
    return network


def in_one_piece(network, came):
    settings = replace(network.settings, apply_tile_px=2304)
    return restore_picture(replace(network, settings=settings), came)


def test_a_finish_that_looked_less_far_would_be_noticed(all_cloud):
    """Thick cloud is filled from 16 pixels around, where the network's part would end before."""
    came = np.full((700, 300, 3), 250, np.uint8)
    came[::5] = picture(2, 140, 300) // 3
    wanted, _ = in_one_piece(all_cloud, came)
    got, _ = restore_picture(all_cloud, came)
    assert np.abs(got.astype(int) - wanted).max() <= 1
    short = replace(all_cloud, by_rows=replace(all_cloud.by_rows, reach=2))
    less, _ = restore_picture(short, came)
    assert np.abs(less.astype(int) - wanted).max() > 1


def test_what_is_too_small_for_cloud_is_ground_here_too(all_cloud):
    told = told_scale(all_cloud, 8.0)  # squares of 11 pixels are looked at
    rng, came = np.random.default_rng(3), np.full((700, 300, 3), 2, np.uint8)
    for side in rng.integers(3, 25, 150):
        top, left = rng.integers(0, 660), rng.integers(0, 260)
        came[top : top + side, left : left + side] = 250
    wanted, opacity = in_one_piece(told, came)
    assert (opacity != in_one_piece(all_cloud, came)[1]).mean() > 0.01
    got, found = restore_picture(told, came)
    assert np.abs(found.astype(int) - opacity).max() <= 1
    assert np.abs(got.astype(int) - wanted).max() <= 1
    ((change, reach),) = told.by_rows.changes
    short = replace(told, by_rows=replace(told.by_rows, changes=((change, reach // 4),)))
    assert np.abs(restore_picture(short, came)[1].astype(int) - opacity).max() > 1


# ---- who goes by rows ----


@pytest.mark.parametrize(
    "changes",
    [{"norm": "group"}, {"norm": "own"}, {"sizes": 2}, {"turns": 2}, {"jit_compile": True}],
)
def test_others_go_in_tiles(changes):
    settings = Defog(**{**TINY, **changes})
    networks = mod_defog.make_networks(settings)
    assert by_rows.parts_of(mod_defog.TASK, networks, settings) is None


def test_a_task_that_does_not_say_how_far_it_looks_goes_in_tiles(network):
    silent = replace(mod_defog.TASK, reach_px=None)
    assert by_rows.parts_of(silent, network.networks, network.settings) is None


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((2304, 2304, 3), 0), ((4096, 4096, 3), 640), ((64, 200_000, 3), 0), ((9000, 40_000, 3), 64)],
)
def test_rows_together_take_the_memory_of_a_tile(shape, rows):
    settings = Defog()
    network = SimpleNamespace(settings=settings, by_rows="some")
    assert by_rows.rows_at_once(network, shape) == rows
    assert 2 * rows * shape[1] <= settings.apply_tile_px**2


def test_many_parts_are_no_alarm(caplog):
    def part():
        def call(rows):
            return rows + 1

        return by_rows._function(call, [tf.TensorSpec((None, None, 1))])

    for _ in range(8):
        assert part()(tf.zeros((2, 3, 1))).shape == (2, 3, 1)
    assert "retracing" not in caplog.text
