"""PatchGAN: each score sees a square of the side that was asked for, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf
from keras import Input, layers

from util.networks.patchgan import FIELDS_PX, patch_maps, patch_widths, patchgan


def footprint(network, side_px, channels):
    """Return the height and width of what one score in the middle depends on."""
    picture = tf.random.stateless_uniform((1, side_px, side_px, channels), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(picture)
        scores = network(picture)
        score = scores[0, scores.shape[1] // 2, scores.shape[2] // 2, 0]
    seen = np.abs(tape.gradient(score, picture).numpy()).max(axis=(0, 3)) > 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


@pytest.mark.parametrize("field_px", [1, 16, 34, 70, 142, 286])
def test_a_score_sees_a_square_of_its_field(field_px):
    network = patchgan(field_px, width=2, channels=6, norm="none")
    side_px = max(32, 64 * (field_px // 24))  # twice the field, so that no edge cuts it
    assert footprint(network, side_px, 6) == (field_px, field_px)


def test_the_published_number_of_weights():
    assert patchgan(70, 64, 6).count_params() - 2 * (128 + 256 + 512) == 2_769_601
    assert patch_widths(574, 64) == [64, 128, 256, 512, 512, 512, 512]


def test_a_field_that_none_has_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=f"field is 64.*{', '.join(map(str, FIELDS_PX))}"):
        patch_widths(64, 8)


def test_layers_may_be_wrapped_and_followed_by_others():
    """As discriminators with bounded kernels and attention are built."""
    seen = []

    def halved(x):
        seen.append(x.shape[-1])
        return 0.5 * x

    picture = Input((32, 32, 3))
    how = {"wrapped": layers.SpectralNormalization, "after": {2: halved}}
    maps = patch_maps(picture, [2, 4, 8], **how)
    assert [m.shape[1:] for m in maps] == [(16, 16, 2), (8, 8, 4), (8, 8, 8), (8, 8, 1)]
    assert seen == [4]
