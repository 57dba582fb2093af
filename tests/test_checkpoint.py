"""Checkpoints: whole or not at all, and never trusted."""

import errno
import io
import os
import zipfile

import keras
import numpy as np
import pytest
from conftest import arrays_of, digest_of, meta_of, npy, rewrite

from util.run import checkpoint
from util.run.checkpoint import DamagedError
from util.say import UserError
from util.train.state import TrainState


def make_state(*names, width=5, seed=1):
    """Return a state whose network has a layer of the same shape for each name, in that order."""
    keras.utils.set_random_seed(seed)
    picture = x = keras.Input((4, 4, width))
    for name in names or ("first", "second"):
        x = keras.layers.Conv2D(width, 1, name=name)(x)
    return TrainState(
        networks={"net": keras.Model(picture, x, name="net")},
        optimizers={"net": keras.optimizers.Adam(0.01)},
    )


def set_to(state, value):
    for variable in state.named_variables().values():
        variable.assign(np.full(variable.shape, value, variable.dtype.as_numpy_dtype))


def in_order(path):
    return [step for step, _ in checkpoint.found(path)]


@pytest.fixture
def saved(tmp_path):
    """A checkpoint file, and the digest of the state in it."""
    state = make_state()
    state.best_score, state.interval_steps, state.interval_sums = 1.5, 2, {"loss": 3.0}
    path = checkpoint.path_of(tmp_path / "checkpoints", 7)
    checkpoint.save(path, state, {"note": "ours"})
    return path, state.digest()


def check_refused(path, state=None):
    """Check that a file is called damaged and that not one variable was touched by trying."""
    state = state or make_state(seed=9)
    before = state.digest()
    with pytest.raises(DamagedError):
        checkpoint.load(path, state)
    assert state.digest() == before


# --- there and back -----------------------------------------------------------------------------


def test_what_was_saved_comes_back_bit_for_bit(saved):
    path, digest = saved
    state = make_state(seed=2)
    assert state.digest() != digest
    checkpoint.load(path, state)
    assert state.digest() == digest
    assert (state.best_score, state.interval_steps) == (1.5, 2)
    assert state.interval_sums == {"loss": 3.0}
    assert meta_of(path)["note"] == checkpoint.read_meta(path)["note"] == "ours"
    # Read with plain NumPy, the file holds the same values under the same names.
    again = path.with_name("again.npz")
    checkpoint.save(again, state, {})
    assert digest_of(again) == digest_of(path)


def test_networks_can_be_loaded_alone(saved):
    path, _ = saved
    state = make_state(seed=2)
    before, stored = state.arrays(), arrays_of(path)
    assert checkpoint.load_networks(path, state.networks) == int(stored["step"])
    for name, array in state.arrays().items():
        expected = stored if name.startswith("networks/") else before
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    kernel = "networks/net/first/kernel"
    assert not np.array_equal(stored[kernel], before[kernel])
    with pytest.raises(UserError, match="other networks"):
        checkpoint.load_networks(path, make_state(width=6).networks)


def test_averages_of_the_weights_are_what_is_loaded(tmp_path):
    """So a network is what pictures were scored with, and some of several can be loaded alone."""
    state = make_state(seed=1)
    state.networks["more"] = make_state(seed=3).networks["net"]
    state.averages = {"net": make_state(seed=2).networks["net"]}
    path = tmp_path / "step-0000001.npz"
    checkpoint.save(path, state, {})
    assert checkpoint.networks_in(path) == {"net", "more"}
    loaded = make_state(seed=4).networks
    checkpoint.load_networks(path, loaded)
    means = [v.numpy() for v in state.averages["net"].variables]
    for variable, mean in zip(loaded["net"].variables, means, strict=True):
        np.testing.assert_array_equal(variable.numpy(), mean)


def test_a_learning_rate_is_never_stored(saved):
    path, _ = saved
    assert not [name for name in arrays_of(path) if "learning_rate" in name]
    state = make_state()
    state.optimizers["net"].learning_rate.assign(0.123)
    checkpoint.load(path, state)
    assert float(state.optimizers["net"].learning_rate) == pytest.approx(0.123)


def test_a_save_leaves_only_its_file(saved):
    path, _ = saved
    assert [p.name for p in path.parent.iterdir()] == ["step-0000007.npz"]


# --- other networks -----------------------------------------------------------------------------


def test_other_shapes_are_refused_with_the_differences(saved):
    path, _ = saved
    state = make_state(width=6)
    before = state.digest()
    with pytest.raises(UserError) as refusal:
        checkpoint.load(path, state)
    text = str(refusal.value)
    assert "networks/net/first/kernel (1, 1, 5, 5)" in text
    assert "networks/net/first/kernel (1, 1, 6, 6)" in text
    assert "--fresh" in text
    assert state.digest() == before


def test_two_exchanged_layers_of_the_same_shape_are_noticed(saved):
    path, _ = saved
    state = make_state("second", "first")
    before = state.digest()
    with pytest.raises(UserError, match="order"):
        checkpoint.load(path, state)
    assert state.digest() == before


def test_another_number_of_layers_is_refused(saved):
    path, _ = saved
    with pytest.raises(UserError, match="third/kernel"):
        checkpoint.load(path, make_state("first", "second", "third"))


def test_a_checkpoint_of_other_networks_is_not_set_aside(saved):
    path, _ = saved
    with pytest.raises(UserError):
        checkpoint.restore_newest(path.parent, make_state(width=6))
    assert path.exists()


# --- damage -------------------------------------------------------------------------------------


def test_a_cut_file_is_refused_at_every_length(saved):
    (path, _), state = saved, make_state(seed=9)
    whole = path.read_bytes()
    lengths = {0, 1, 3, 4, 30, len(whole) - 1, len(whole) - 22, *range(64, len(whole), 701)}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        check_refused(path, state)


def test_a_flipped_byte_in_any_array_is_found_by_its_sum(saved):
    (path, _), state = saved, make_state(seed=9)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = [(m.filename, m.header_offset, m.file_size) for m in archive.infolist()]
    assert len(members) > 15
    for name, offset, size in members:
        names = int.from_bytes(whole[offset + 26 : offset + 28], "little")
        extra = int.from_bytes(whole[offset + 28 : offset + 30], "little")
        start = offset + 30 + names + extra
        broken = bytearray(whole)
        broken[start + size - 1] ^= 1  # one bit of the last byte of the data
        assert bytes(broken) != whole, name
        path.write_bytes(broken)
        check_refused(path, state)


def test_random_damage_is_refused_or_harmless(saved):
    """Whatever is flipped, loading ends in DamagedError or in the very same values."""
    path, digest = saved
    whole = path.read_bytes()
    rng, refused = np.random.default_rng(11), 0
    state = make_state(seed=9)
    before = state.digest()
    for _ in range(60):
        broken = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(len(whole), size=int(rng.integers(1, 30)))
        broken[places] ^= rng.integers(1, 256, places.size, dtype=np.uint8)
        path.write_bytes(broken.tobytes())
        try:
            checkpoint.load(path, state)
        except DamagedError:
            refused += 1
            assert state.digest() == before
        else:
            assert state.digest() == digest
            state = make_state(seed=9)
    assert refused > 40


@pytest.mark.parametrize("content", [b"", b"<html>no</html>", b"\0" * 5000, b"PK\3\4" * 50])
def test_what_is_no_checkpoint_is_refused(saved, content):
    path, _ = saved
    path.write_bytes(content)
    check_refused(path)


KERNEL = "networks/net/first/kernel.npy"


def header_of(text):
    """Return a .npy file whose header is `text` and whose data are 100 bytes."""
    text = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(100)


@pytest.mark.parametrize(
    "content",
    [
        npy(np.array([{"an": "object"}], dtype=object)),
        npy(np.zeros((1, 1, 5, 5), np.float64)),
        npy(np.zeros((1, 1, 25, 1), np.float32)),
        npy(np.zeros((1, 1, 5, 5), ">f4")),
        npy(np.zeros((1, 1, 5, 5), np.float32)) + b"more",
        header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (900000000000,), }"),
        header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, -5), }"),
        header_of("{'descr': '|O', 'fortran_order': False, 'shape': (5,), }"),
        header_of("{'descr': ("),
        header_of("__import__('os').abort()"),
        header_of("(" * 110),
        b"\x93NUMPY\x01\x00" + b"\xff\xff" + b"{" * 65535,
        b"\x93NUMPY\x09\x00" + bytes(200),
        b"no array at all" * 10,
        b"",
    ],
    ids=range(15),
)
@pytest.mark.parametrize("member", [KERNEL, "meta.npy", "interval/sum/loss.npy"])
def test_an_array_that_is_not_what_it_should_be_is_refused(saved, member, content):
    path, _ = saved
    rewrite(path, lambda name, old: content if name == member else old)
    check_refused(path)


@pytest.mark.parametrize("meta", [b"[]", b"{}", b"7", b"{", b'{"fingerprint": 1, "layout": [1]}'])
def test_a_strange_description_is_refused(saved, meta):
    path, _ = saved
    array = npy(np.frombuffer(meta, np.uint8))
    rewrite(path, lambda name, old: array if name == "meta.npy" else old)
    check_refused(path)


def test_a_compressed_member_is_refused(saved):
    """A few bytes could unpack to any size."""
    path, _ = saved
    np.savez_compressed(path, **arrays_of(path))
    check_refused(path)


def test_a_missing_array_is_refused(saved):
    path, _ = saved
    arrays = arrays_of(path)
    del arrays[KERNEL.removesuffix(".npy")]
    np.savez(path, **arrays)
    check_refused(path)


def test_an_array_that_claims_more_than_the_file_holds_is_refused(saved):
    """The directory's sizes are written by whoever made the file: no memory is taken for them."""
    path, _ = saved
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        count = len(archive.namelist())
    place, huge = 0, (2**31).to_bytes(4, "little")
    for _ in range(count):
        place = content.index(b"PK\1\2", place) + 4
        content[place + 16 : place + 24] = huge + huge  # compressed and uncompressed size
    path.write_bytes(content)
    check_refused(path)


# --- falling back -------------------------------------------------------------------------------


def three_checkpoints(folder):
    state = make_state()
    for step in (1, 2, 3):
        set_to(state, step)
        checkpoint.save(checkpoint.path_of(folder, step), state, {})
    return state


def test_the_newest_is_taken_and_damaged_ones_are_set_aside(tmp_path, capsys):
    state = three_checkpoints(tmp_path)
    bad = {s: checkpoint.path_of(tmp_path, s) for s in (2, 3)}
    bad[3].write_bytes(bad[3].read_bytes()[:-100])
    bad[2].write_bytes(b"")
    kept = bad[3].read_bytes()
    set_to(state, 0)
    assert checkpoint.restore_newest(tmp_path, state).name == "step-0000001.npz"
    assert int(state.step) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(str(path) in line for path, line in zip((bad[3], bad[2]), said, strict=True))
    assert (tmp_path / "damaged-step-0000003.npz").read_bytes() == kept
    assert in_order(tmp_path) == [1]


def test_a_second_damaged_file_does_not_replace_the_first(tmp_path):
    for content in (b"one", b"two"):
        state = three_checkpoints(tmp_path)
        checkpoint.path_of(tmp_path, 3).write_bytes(content)
        checkpoint.restore_newest(tmp_path, state)
    assert {p.read_bytes() for p in tmp_path.glob("damaged-*")} == {b"one", b"two"}


def test_all_damaged_is_an_error_and_stays_one(tmp_path):
    """A silent start at step 0 would overwrite a run that could still be saved."""
    state = three_checkpoints(tmp_path)
    for _, path in checkpoint.found(tmp_path):
        path.write_bytes(b"x")
    before = state.digest()
    for _ in range(2):
        with pytest.raises(UserError, match=r"none of the 3 .*--fresh"):
            checkpoint.restore_newest(tmp_path, state)
    assert state.digest() == before
    assert len(list(tmp_path.glob("damaged-*"))) == 3


def test_no_checkpoint_is_a_new_run(tmp_path):
    assert checkpoint.restore_newest(tmp_path / "none", make_state()) is None
    assert checkpoint.restore_newest(tmp_path, make_state()) is None


def test_a_file_that_another_worker_set_aside_is_passed_over(tmp_path, monkeypatch):
    state = three_checkpoints(tmp_path)
    listed = checkpoint.found(tmp_path)
    checkpoint.path_of(tmp_path, 3).rename(tmp_path / "damaged-step-0000003.npz")
    monkeypatch.setattr(checkpoint, "found", lambda folder: listed)
    assert checkpoint.restore_newest(tmp_path, state).name == "step-0000002.npz"


def test_steps_are_put_in_order_as_numbers(tmp_path):
    for name in ("step-0000009.npz", "step-12345678.npz", "step-0000010.npz", "step-x.npz"):
        (tmp_path / name).touch()
    assert in_order(tmp_path) == [12345678, 10, 9]


# --- tidying ------------------------------------------------------------------------------------


def test_thinning_keeps_the_newest(tmp_path):
    three_checkpoints(tmp_path)
    (tmp_path / "damaged-step-0000000.npz").touch()
    checkpoint.thin_out(tmp_path, 2)
    assert in_order(tmp_path) == [3, 2]
    assert (tmp_path / "damaged-step-0000000.npz").exists()


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(saved, monkeypatch, fails):
    path, digest = saved

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, make_state(seed=4), {})
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(checkpoint.path_of(path.parent, 8), make_state(seed=4), {})
    monkeypatch.undo()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    state = make_state(seed=2)
    checkpoint.load(path, state)
    assert state.digest() == digest


def test_the_helper_for_headers_writes_readable_ones():
    """Else the refusals above would prove nothing."""
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (25,), }"
    assert np.load(io.BytesIO(header_of(text))).shape == (25,)
