"""The chain: cleared where cloud lets through, painted where it does not, and never an edge."""

from dataclasses import replace

import numpy as np
import pytest
from stand_ins import clearer, filler, picture
from test_bands import OnlySlices

from util.restore import chain as of_chain
from util.restore import cover as of_cover
from util.restore.bands import bands
from util.restore.chain import Chain, restore_picture, rows
from util.restore.fringes import without_fringes
from util.use.classical import dark_channel, painter

SMALL = {"apply_tile_px": 192, "apply_margin_px": 16}


def told(batch):
    """Find the opacity that the red band tells, and return ground of one half of green and blue."""
    red, rest = batch["cloudy"][..., :1], batch["cloudy"][..., 1:]
    return {
        "restored": np.concatenate([red * 0 + 0.25, rest / 2], axis=-1),
        "found_opacity": np.array(red),
    }


def chain_of(paint="harmonic", tile_px=None, **how):
    """Return a chain that is told the opacity, and a list that grows as the painter is called."""
    network, _ = clearer(**SMALL)
    network, calls = replace(network, restore=told), []
    second = filler(**SMALL)[0]
    if paint != "network":
        second = painter(paint, second.task, second.settings)
    if tile_px:
        second = replace(second, settings=replace(second.settings, apply_tile_px=tile_px))
    inner = second.restore
    second = replace(second, restore=lambda batch: (calls.append(1), inner(batch))[1])
    return Chain(network, second, **how), calls


def first_step(chain, came, white=None):
    """Return the ground that the first step cleared, and its opacity."""
    white = white or np.iinfo(came.dtype).max
    parts = without_fringes(bands(chain.clear, came, white=white), white)
    return [np.concatenate(found) for found in list(zip(*parts, strict=True))[1:]]


def cloudy(opacity, dtype=np.uint8, seed=0):
    """Return pixels whose red band is the opacity, (H, W), 0..1."""
    pixels = picture(seed, *opacity.shape, dtype)
    pixels[..., 0] = np.rint(opacity * np.iinfo(dtype).max)
    return pixels


def blob(height, width, low=0.0):
    """Return opacity with one opaque disc on `low`, its edge 8 px wide."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - height / 2, x - width / 2)
    return np.clip((min(height, width) / 3 - radius) / 8, low, 1)


# ---- what comes out ----


def test_what_is_marked_casts_no_shadows(monkeypatch):
    given = []

    def none_found(_, opacity, white):
        given.append(opacity.copy())
        return np.zeros_like(opacity)

    monkeypatch.setattr(of_chain, "relight", none_found)
    marked = np.zeros((90, 100), bool)
    marked[20:50, 30:70] = True
    chain = replace(chain_of()[0], shadows=True)
    _, opacity, _ = restore_picture(chain, cloudy(np.zeros((90, 100))), hidden=marked)
    assert not given[0].any()
    assert (opacity[marked] == 255).all()


def test_what_is_marked_is_repainted_though_no_cloud_is_found():
    chain, _ = chain_of()
    came = cloudy(np.zeros((90, 100)))
    marked = np.zeros((90, 100), bool)
    marked[20:50, 30:70] = True
    made, opacity, confidence = restore_picture(chain, came, hidden=marked)
    np.testing.assert_array_equal(made[~marked], came[~marked])
    assert (made[marked] != came[marked]).any(axis=-1).mean() > 0.9
    np.testing.assert_array_equal(opacity, np.where(marked, 255, 0))
    np.testing.assert_array_equal(confidence, np.where(marked, 0, 255))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("paint", ["harmonic", "telea", "ns", "biharmonic", "network"])
def test_clear_is_kept_thin_is_cleared_and_hidden_is_painted(paint, dtype):
    chain, calls = chain_of(paint)
    came = cloudy(blob(90, 100), dtype)
    before = came.copy()
    made, opacity, confidence = restore_picture(chain, came)
    np.testing.assert_array_equal(came, before)
    assert (made.dtype, opacity.dtype, confidence.dtype) == (dtype, np.uint8, np.uint8)
    wanted, found = first_step(chain, came)
    more = opacity != found  # cloud that was left
    assert (opacity >= found).all()
    assert more.mean() < 0.02
    assert not confidence[more].any()
    seen = found < 0.3 * 255
    painted = seen & (made != wanted).any(axis=-1)  # what is brighter in all channels
    assert painted.mean() < 0.02
    assert (made[painted] <= wanted[painted]).all()
    assert not painted[~of_chain.dilated(found > 0.75 * 255, 6 + 15)].any()
    rim = ~seen & (found <= 0.75 * 255)
    assert rim.sum() > 300
    assert not confidence[rim].any()
    clear = (found < 5) & ~painted
    np.testing.assert_array_equal(made[clear], came[clear])
    assert (confidence[clear] == 255).all()
    assert not confidence[(found < 5) & painted].any()
    hidden = found > 0.85 * 255 + 1
    assert hidden.sum() > 1000
    assert not confidence[hidden].any()
    assert (made[hidden] != wanted[hidden]).any(axis=-1).mean() > 0.9
    assert len(calls) == 1


def test_what_is_hidden_has_no_say_in_what_is_painted():
    chain, _ = chain_of()
    opacity = blob(90, 100)
    came, other = cloudy(opacity), cloudy(opacity)
    hidden = opacity > 0.86
    other[hidden, 1:] = 255 - other[hidden, 1:]
    np.testing.assert_array_equal(restore_picture(chain, came)[0], restore_picture(chain, other)[0])


def test_confidence_falls_with_opacity_and_255_means_untouched():
    chain, _ = chain_of()
    ramp = np.tile(np.linspace(0, 1, 511, dtype=np.float32), (64, 1))
    came = cloudy(ramp, np.uint16)
    made, _, confidence = restore_picture(chain, came)
    _, opacity = first_step(chain, came)
    assert (np.diff(chain.confidence.astype(int)) <= 0).all()
    hidden = np.argmax(opacity[0] > 0.75 * 255)
    painted = np.arange(511) >= hidden - 8  # the cloud and its rim
    wanted = np.where(painted, 0, chain.confidence[opacity])
    near = slice(hidden - 16, hidden - 8)  # the fringe: where cloud was left it is painted, too
    np.testing.assert_array_equal(np.delete(confidence, near, 1), np.delete(wanted, near, 1))
    assert 0.05 < (confidence[:, near] == 0).mean() < 0.5
    assert (confidence[:, near] == wanted[:, near])[confidence[:, near] > 0].all()
    own = confidence == 255
    assert own[ramp < 0.017].all()
    np.testing.assert_array_equal(made[own], came[own])
    assert (made[~own & (ramp > 0.03)] != came[~own & (ramp > 0.03)]).any()


@pytest.mark.parametrize("repaint_from", [0.01, 0.03])
def test_255_means_untouched_though_painting_begins_below_what_is_kept(repaint_from, monkeypatch):
    chain = chain_of(repaint_from=repaint_from, shadows=True)[0]
    came = cloudy(np.tile(np.linspace(0, 0.06, 100, dtype=np.float32), (90, 1)), np.uint16)

    def lit(ground, opacity, white):
        shade = np.zeros_like(opacity)
        shade[:30, :40] = 2
        ground[shade > 0] += 100
        return shade

    monkeypatch.setattr(of_chain, "relight", lit)
    made, _, confidence = restore_picture(chain, came)
    untouched = confidence == 255
    assert untouched.any()
    np.testing.assert_array_equal(made[untouched], came[untouched])
    assert (confidence[:30, :5] > 200).all()


def test_no_edge_where_painting_begins():
    """From one step of opacity to the next little more is painted."""
    chain, _ = chain_of()
    share = chain.share
    assert (share[: int(0.75 * 255) + 1] == 0).all()
    assert share[-1] == 1
    assert np.diff(share).max() < 0.05
    for repaint_from in (0.5, 0.97, 1.0):
        share = Chain(None, None, repaint_from).share
        assert share[: int(repaint_from * 255) + 1].max() == 0
        assert share[-1] == pytest.approx(float(repaint_from < 1))


@pytest.mark.parametrize("low", [0.0, 0.9])
def test_without_hidden_ground_or_without_any_other_nothing_is_painted(low):
    chain, calls = chain_of()
    came = cloudy(np.full((70, 80), low, np.float32))
    made, _, confidence = restore_picture(chain, came)
    np.testing.assert_array_equal(made, first_step(chain, came)[0])
    assert not calls
    assert (confidence == (255 if low == 0 else 0)).all()


# ---- rows, sources and memory ----


@pytest.mark.parametrize("paint", ["harmonic", "network"])
def test_any_source_gives_the_same_rows_in_order(paint, tmp_path):
    chain, _ = chain_of(paint, reach_px=16)
    came = cloudy(np.tile(blob(150, 100), (4, 1)))
    wanted = restore_picture(chain, came)
    mapped = np.memmap(tmp_path / "ground", np.uint8, "w+", shape=came.shape)
    source = OnlySlices(came)
    made = [[part.copy() for part in found] for _, *found in rows(chain, source, ground=mapped)]
    for parts, whole in zip(zip(*made, strict=True), wanted, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert source.most < 300
    for in_place in (came.copy(), np.asfortranarray(came)):
        assert restore_picture(chain, in_place, in_place=True)[0] is in_place
        np.testing.assert_array_equal(in_place, wanted[0])


def test_progress_ends_where_it_was_said_to():
    chain, _ = chain_of("network", reach_px=16)
    came, ticks, total = cloudy(blob(300, 200)), [], []
    restore_picture(chain, came, progress=lambda: ticks.append(1), more=total.append)
    own = of_chain.tile_counts(chain.clear, came.shape)
    assert len(total) > 1  # ring by ring
    assert len(ticks) == sum(own) + sum(total)


def test_full_scale_stays_the_files():
    chain, _ = chain_of()
    opacity = blob(90, 100)
    came = np.rint(cloudy(opacity, np.uint16) / 6.5535).astype(np.uint16)
    made, _, _ = restore_picture(chain, came, white=10_000.0)
    wanted, _, _ = restore_picture(chain, cloudy(opacity, np.uint16))
    # Found opacity may be a step of 8 bits apart, and colours are pulled by it.
    np.testing.assert_allclose(made, wanted / 6.5535, atol=60)
    assert made.max() <= 10_000


def test_full_scale_of_8_bits_stays_the_files():
    chain, _ = chain_of()
    came = cloudy(blob(90, 100)) // 2
    made, _, _ = restore_picture(chain, came, white=127.0)
    # Of the levels that half as many bits leave: the darker picture has no others.
    wanted, _, _ = restore_picture(chain, np.rint(came * (255 / 127)).astype(np.uint8))
    np.testing.assert_allclose(made, wanted * (127 / 255), atol=2)
    assert made.max() <= 127


# ---- large holes ----


@pytest.mark.parametrize(("side", "passes"), [(30, 1), (34, 1), (36, 2), (220, 4)])
def test_small_holes_take_one_pass_and_deep_ones_ring_by_ring(side, passes):
    chain, calls = chain_of("network", reach_px=32, tile_px=512)
    opacity = np.zeros((300, 300))
    opacity[20 : 20 + side, 30 : 30 + side] = 1
    restore_picture(chain, cloudy(opacity))
    assert len(calls) == passes


@pytest.mark.parametrize("calls_wanted", [0, 1])
def test_narrow_holes_are_filled_smoothly_and_only_wide_ones_cost_a_painter(calls_wanted):
    chain, calls = chain_of("network", narrow_px=12)
    opacity = np.zeros((400, 300))
    narrow = [(30, 30, 5, 5), (30, 43, 12, 12), (0, 200, 20, 9), (120, 20, 150, 6)]  # y, x, h, w
    for y, x, height, width in narrow:
        opacity[y : y + height, x : x + width] = 1
    hole = opacity > 0
    if calls_wanted:
        opacity[280:340, 150:210] = 1
        opacity[300:305, 210:270] = 1  # a wide one's narrow arm: half of it is near the wide part
    came = cloudy(opacity)
    y, x = np.mgrid[:400, :300]
    came[..., 1], came[..., 2] = x / 300 * 255, y / 400 * 255
    came[hole, 1:] = 9
    made = restore_picture(chain, came)[0]
    assert len(calls) == calls_wanted
    ramp = np.stack([x / 300 * 255, y / 400 * 255], axis=-1)
    hole[:30, 195:215] = False  # at the border the membrane ends level
    np.testing.assert_allclose(made[hole, 1:], ramp[hole], atol=2)
    by_painter = restore_picture(chain_of("network")[0], came)[0]
    rest = opacity == 0
    np.testing.assert_array_equal(made[rest], by_painter[rest])
    if calls_wanted:
        np.testing.assert_array_equal(made[280:340, 150:220], by_painter[280:340, 150:220])
        arm = slice(300, 305), slice(241, 270)
        np.testing.assert_allclose(made[arm][..., 1:], ramp[arm], atol=2)


def test_a_hole_larger_than_a_tile_shows_no_seam_and_no_grey():
    """A painter that sees nothing known paints grey, but never has to: a ramp goes on inside."""
    chain, _ = chain_of(reach_px=32, tile_px=256)
    hidden = blob(700, 640) > 0.5
    assert hidden.sum() > 100_000
    y, x = np.mgrid[:700, :640]
    came = cloudy(hidden.astype(float))
    came[..., 1], came[..., 2] = x / 640 * 255, y / 700 * 255
    made = restore_picture(chain, came)[0].astype(int)
    assert np.abs(made - came)[hidden, 1:].max() <= 3
    assert not made[hidden, 0].any()
    for axis in (0, 1):
        steps = np.abs(np.diff(made, axis=axis)).max(axis=-1)
        assert steps[hidden[1:] if axis == 0 else hidden[:, 1:]].max() <= 1


def test_beyond_the_last_ring_the_filling_is_smooth(monkeypatch):
    monkeypatch.setattr(of_chain, "_MOST_RINGS", 2)
    chain, _ = chain_of("network", reach_px=16)

    def stripes(batch):
        wave = np.indices(batch["hole"].shape)[2] % 2
        return {"restored": batch["holed"] + np.float32(wave) * batch["hole"]}

    chain = replace(chain, paint=replace(chain.paint, restore=stripes))
    opacity = np.zeros((200, 200))
    opacity[40:160, 40:160] = 1
    made, _, confidence = restore_picture(chain, cloudy(opacity))
    steps = np.abs(np.diff(made.astype(int), axis=1)).min(axis=-1)
    begin = 40 - 15  # of what is missing, with what is not believed around wide cloud
    for depth in (17, 20, 24, 30):
        assert steps[begin + depth, 60:140].min() == 255
    assert steps[begin + 33, 80:120].max() <= 2
    assert not confidence[100, 41:159].any()


def test_what_is_cleared_badly_beside_the_hidden_is_nothing_to_go_by():
    """On flat ground, whose cloud has a rim that the first step leaves white."""
    chain, _ = chain_of()
    opacity = np.zeros((90, 90))
    opacity[33:57, 33:57] = 0.5
    opacity[39:51, 39:51] = 1
    came = cloudy(opacity)
    came[..., 1:] = np.where(opacity == 0.5, 255, 100)[..., None]
    made = restore_picture(chain, came)[0]
    assert (made[39:51, 39:51, 1:] == 100).all()  # not 127: half of white
    assert (made[34, 34:56, 1:] == 100).all()  # nor does it stay: 128, half of white


def test_of_narrow_cloud_only_what_is_hidden_is_painted_where_the_rest_was_cleared():
    chain, _ = chain_of()
    came = cloudy(np.pad(blob(30, 30), 30))
    came[..., 1:] = 200 - came[..., :1] // 8  # nothing is brighter than the ground around
    made, opacity, confidence = restore_picture(chain, came)
    wanted, _ = first_step(chain, came)
    seen = opacity <= 0.75 * 255
    assert (seen & (opacity > 0.3 * 255)).sum() > 30  # what would be painted of a wide one
    assert (~seen).sum() > 30
    np.testing.assert_array_equal(made[seen], wanted[seen])
    np.testing.assert_array_equal(confidence, chain.confidence[opacity])


def squares(*frames):
    """Return (120, 120) with squares in each other, from the outermost: (side, value), .."""
    picture = np.zeros((120, 120))
    for side, value in frames:
        at = slice(60 - side // 2, 60 + side // 2)
        picture[at, at] = value
    return picture


def test_of_wide_cloud_the_rim_is_painted_and_of_its_fringe_what_is_brighter_than_the_ground():
    """White of 255 is found opaque, of 245 as half; of 240, as of all else, nothing is found."""

    def found(batch):
        steps = np.rint(batch["cloudy"][..., :1] * 255)
        opacity = np.where(steps == 255, 1, np.where(steps == 245, 0.5, 0))
        return {"restored": batch["cloudy"], "found_opacity": opacity.astype(np.float32)}

    chain, _ = chain_of()
    chain = replace(chain, clear=replace(chain.clear, restore=found))
    cloud = squares((52, 240), (36, 245), (24, 255))
    came = np.full((120, 120, 3), 100, np.uint8)
    came[cloud > 0] = cloud[cloud > 0][:, None]
    came[:, 20:24] = 240  # as bright, and no cloud is near
    came[34:36, 50:70] = 0, 255, 90  # in the fringe, but no brighter in red
    came[84:86, 50:70] = 20
    kept = np.ones((120, 120), bool)
    kept[34:86, 34:86] = False
    kept[34:36, 50:70] = kept[84:86, 50:70] = True
    made, opacity, confidence = restore_picture(chain, came)
    assert (made[~kept] == 100).all()
    assert not confidence[~kept].any()
    np.testing.assert_array_equal(made[kept], came[kept])
    assert (confidence[kept] == 255).all()
    # As it was found; of the fringe as white cloud over the ground, (240 - 100) / (255 - 100).
    wanted = squares((52, 230), (36, 128), (24, 255))
    np.testing.assert_array_equal(opacity, np.where(kept, 0, wanted))


@pytest.mark.parametrize("cloud_white", [1.0, 0.5])
@pytest.mark.parametrize("white", [255, 10_000])
def test_what_is_all_white_and_touches_cloud_is_cloud(white, cloud_white, monkeypatch):
    """White is found as cloud in the left half of the picture alone."""
    monkeypatch.setattr(of_cover, "_CLOUD_SHARE", 2)  # not by what is near

    def found(batch):
        opacity = np.asarray(batch["cloudy"])[..., :1] > 0.99 * cloud_white
        opacity = opacity.astype(np.float32)
        opacity[:, :, 60:] = 0
        return {"restored": batch["cloudy"], "found_opacity": opacity}

    chain, _ = chain_of()
    settings = replace(chain.clear.settings, cloud_white=cloud_white)
    chain = replace(chain, clear=replace(chain.clear, restore=found, settings=settings))
    came = np.full((120, 160, 3), 0.4)
    came[50:54, 40:72] = 1  # found as far as column 60
    came[50:54, 74:90] = 0.98  # over a gap of two pixels
    came[50:54, 100:106] = 1  # too far from it
    came[54:58, 76:78] = 0.98, 0.98, 0.9  # not quite white, but near
    came = np.rint(came * cloud_white * white).astype(np.uint8 if white == 255 else np.uint16)
    made, opacity, _ = restore_picture(chain, came, white=white)
    cloud = np.zeros((120, 160), bool)
    cloud[50:54, 40:72] = cloud[50:54, 74:90] = True
    near = np.zeros((120, 160), bool)
    near[54:58, 76:78] = True
    assert (opacity[cloud] >= 0.96 * 255).all()
    np.testing.assert_allclose(opacity[near], (0.9 - 0.4) / 0.6 * 255, atol=1)
    np.testing.assert_allclose(made[cloud | near] / white, 0.4 * cloud_white, atol=0.002)
    assert not opacity[~(cloud | near)].any()
    np.testing.assert_array_equal(made[~(cloud | near)], came[~(cloud | near)])


def test_white_is_followed_for_63_pixels(monkeypatch):
    monkeypatch.setattr(of_cover, "_CLOUD_SHARE", 2)  # not by what is near
    opacity, white = np.zeros((20, 120), np.uint8), np.zeros((20, 120), bool)
    opacity[10, 10:20], opacity[10, 20:30] = 255, 100
    white[10, 15:] = True
    missed = of_cover.add_white(opacity, opacity > 191, white)
    wanted = np.zeros((20, 120), np.uint8)
    wanted[10, 10 : 20 + 63] = 255
    np.testing.assert_array_equal(opacity, wanted)
    np.testing.assert_array_equal(np.flatnonzero(missed[10]), np.arange(30, 83))
    assert missed.sum() == 53


@pytest.mark.parametrize(
    ("of_cloud", "others", "found"),
    [(34, 192, True), (34, 193, False), (32, 9, True), (31, 9, False)],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_missed_clumps_are_cloud_where_three_of_twenty_white_things_near_by_are(
    of_cloud, others, found, rows
):
    opacity, white = np.zeros((800, 800), np.uint8), np.zeros((800, 800), bool)
    for number in range(of_cloud):
        at = 200 + 7 * (number // 10), 190 + 12 * (number % 10)
        opacity[at] = 255
        # Touches it, and is followed; counts once of any size.
        white[at[0] : at[0] + rows, at[1] : at[1] + 2] = True
    touching, clumps = white & (opacity == 0), np.zeros_like(white)
    for number in range(others):
        top, left = 320 + 6 * (number // 16), 150 + 10 * (number % 16)
        clumps[top : top + 2, left : left + 4] = True
    white |= clumps
    white[700:720, 700:720] = True  # far away
    missed = of_cover.add_white(opacity, opacity > 191, white)
    assert (opacity[touching] == 255).all()
    assert (opacity[clumps] == 255 * found).all()
    assert (opacity[700:720, 700:720] == 0).all()
    np.testing.assert_array_equal(missed, touching | (clumps & found))


@pytest.mark.parametrize("white", [255, 10_000])
def test_how_much_brighter_is_cloud_that_was_left(white):
    chain, _ = chain_of()
    dtype = np.uint8 if white == 255 else np.uint16
    more = np.array([-0.2, 0.01, 0.03, 0.04, 0.08, 0.1, 0.12, 0.3])
    painted = np.full((2, 8, 3), round(0.4 * white), dtype)
    came = np.rint(painted + white * more[:, None]).astype(dtype)
    found = np.array([[0] * 8, [50] * 8], np.uint8)  # as it came; cleared
    here = np.ones((2, 8), bool)
    here[:, -1] = False
    opacity, cover = found.copy(), found.copy()
    made = of_chain._join(chain, white, came, opacity, cover, slice(0, 2), painted, here)
    shares = np.array([[0, 0, 0, 0, 0, 0.5, 1, 0], [0, 0.25, 0.75, 1, 1, 1, 1, 0]])
    wanted = came + shares[..., None] * (painted.astype(float) - came)
    np.testing.assert_allclose(made, wanted, atol=1 if white == 255 else 0.5)
    np.testing.assert_array_equal(cover, np.where(shares >= 0.5, 255, found))
    # White cloud that makes .4 of white .4 + `more`, and what was found above it.
    wanted = 255 - (255 - found) * (1 - (shares >= 0.5) * np.clip(more / 0.6, 0, 1))
    np.testing.assert_allclose(opacity, wanted, atol=1)


def test_the_prior_in_a_networks_place_goes_by_white_whatever_the_network_is_told():
    network, _ = clearer(**SMALL, cloud_white=0.5)
    chain = replace(chain_of()[0], clear=network)
    assert chain.cloud_white == 0.5
    assert replace(chain, clear=dark_channel(network.task, network.settings)).cloud_white == 1
