"""The split: whole scenes or tiles, kept by what has a side, the same after a round of JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT

from configure import Defog
from util.pictures.find import find_pictures
from util.samples.split import HELD, TRAINED, Split, join_by_scene, join_by_tile, strip
from util.say import UserError


def tree(*counts):
    """Return sorted names: so many pictures in each of so many folders."""
    return [f"{f:02}/{i:03}.png" for f, n in enumerate(counts) for i in range(n)]


def held(sides):
    return sorted(name for name, side in sides.items() if side == HELD)


def scenes(names):
    return sorted({name.split("/")[0] for name in names})


# --- by tile ------------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [join_by_scene, join_by_tile])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("counts", [(5, 5), (1, 9, 2), (30, 1, 1), (1, 1, 1), (2,) * 9])
def test_both_sides_have_pictures(join, counts, share):
    sides = join(tree(*counts), {}, share)
    assert list(sides) == tree(*counts)
    assert set(sides.values()) == {TRAINED, HELD}


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_by_tile_the_share_of_each_folder_is_held_back(share):
    kept = held(join_by_tile(tree(10, 2, 20, 1), {}, share))
    counts = [sum(name.startswith(f"{f:02}") for name in kept) for f in range(4)]
    assert counts == [round(10 * share), 1, round(20 * share), 0]


def test_by_tile_what_is_held_back_is_spread():
    places = [int(Path(name).stem) for name in held(join_by_tile(tree(20), {}, 0.25))]
    assert places == [2, 6, 10, 14, 18]  # as in runs from before splits were kept


# --- by scene -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(2, 0.2, [1]), (4, 0.2, [3]), (5, 0.2, [1, 4]), (10, 0.3, [2, 5, 9]), (3, 0.99, [0, 2])],
)
def test_whole_scenes_are_held_back_evenly_spread(count, share, expected):
    sides = join_by_scene(tree(*[3] * count), {}, share)
    kept = held(sides)
    assert scenes(kept) == [f"{f:02}" for f in expected]
    assert not set(scenes(kept)) & set(scenes(sides.keys() - set(kept)))


def test_of_the_bundled_pictures_two_resolutions_are_held_back(capsys):
    folder = PROJECT / "data" / "clear"
    _, validation = Split(Defog()).sides("clear_folder", folder, find_pictures(folder))
    assert {p.parent.name for p in validation.paths} == {"l8_itaipu", "s2_virginia"}
    said = "clear_folder: held back for validation: l8_itaipu, s2_virginia\n"
    assert capsys.readouterr().err == said


# --- what comes later ---------------------------------------------------------------------------


@pytest.mark.parametrize("join", [join_by_scene, join_by_tile])
def test_pictures_that_come_one_by_one_move_none_and_keep_the_share(join):
    names = tree(*[10] * 10)
    np.random.default_rng(0).shuffle(names)
    known = join(sorted(names[:30]), {}, 0.2)
    for count in range(31, 101):
        new = join(sorted(names[:count]), known, 0.2)
        assert list(new) == [names[count - 1]]
        known |= new
    assert len(held(known)) == pytest.approx(20, abs=6)


def test_a_new_picture_of_a_known_scene_takes_its_side_even_if_the_others_are_gone():
    known = {"a/1": "t", "b/1": "h", "c/1": "H", "d/1": "T"}
    names = ["a/1", "b/1", "b/2", "c/2", "d/2"]
    assert join_by_scene(names, known, 0.2) == {"b/2": HELD, "c/2": HELD, "d/2": TRAINED}


def test_a_new_scene_is_trained_on_until_too_few_are_held_back():
    known = join_by_scene(tree(*[1] * 5), {}, 0.2)
    assert scenes(held(known)) == ["01", "04"]
    for count in range(6, 14):  # two are a fifth until there are thirteen, and three then
        known |= join_by_scene(tree(*[1] * count), known, 0.2)
        expected = ["01", "04", "12"] if count == 13 else ["01", "04"]
        assert scenes(held(known)) == expected


# --- kept in a run ------------------------------------------------------------------------------


def again(split, settings=None, **how):
    """Return the split as the next start reads it."""
    meta = json.loads(json.dumps({"split": split.stored()}))
    return Split(settings or Defog(), meta, **how)


def sides(split, *names, by="tile"):
    """Return the names on both sides."""
    found = split.sides("x", "f", [Path("f", name) for name in names], by=by)
    return [[path.relative_to("f").as_posix() for path in side.paths] for side in found]


def test_what_has_a_side_keeps_it_and_one_line_says_what_came_and_went(capsys):
    split = Split(Defog())
    first = sides(split, *"abcdefghij")
    assert first == [[*"abdefgij"], [*"ch"]]
    assert not split.moved
    assert capsys.readouterr().err == ""

    split = again(split)
    assert sides(split, *"abcdefghij") == first
    assert not split.moved
    assert capsys.readouterr().err == ""

    split = again(split)
    found = sides(split, *"012356789abcdefgh")
    assert [[n for n in side if n.isalpha()] for side in found] == [[*"abdefg"], [*"ch"]]
    assert len(found[1]) == 3  # of seventeen
    assert split.moved
    said = "x: of its pictures 9 came (8 to train on, 1 held back), 2 went\n"
    assert capsys.readouterr().err == said

    split = again(split)
    assert sides(split, *"012356789abdefghij")[1] == [n for n in found[1] if n != "c"]
    assert split.moved
    said = "x: of its pictures 2 came (2 to train on, 0 held back), 1 went\n"
    assert capsys.readouterr().err == said  # i and j are back, c has gone


def test_what_is_held_back_has_moved_only_if_that_side_has_changed():
    split = Split(Defog())
    sides(split, *"abcdefghij")
    for names, moved in (("0abcdefghij", False), ("bcdefghij", False), ("abdefghij", True)):
        now = again(split)
        sides(now, *names)
        assert now.moved == moved


def test_a_rule_stays_when_folders_come():
    split = Split(Defog())
    sides(split, "a/1", "a/2", "a/3", by="auto")
    found = sides(again(split), *[f"{s}/{n}" for s in "abcdef" for n in range(4)], by="auto")
    assert scenes(found[0]) == scenes(found[1]) == [*"abcdef"]


def test_scenes_can_be_asked_for_below_four_folders_and_need_two():
    names = ["a/1", "a/2", "b/1", "b/2"]
    assert sides(Split(Defog()), *names, by="scene") == [names[:2], names[2:]]
    assert scenes(sides(Split(Defog()), *names, by="auto")[1]) == ["a", "b"]
    with pytest.raises(UserError, match=r"x: its pictures lie in one folder.*tile"):
        sides(Split(Defog()), "a/1", "a/2", by="scene")
    assert sides(Split(Defog(validation_by="scene")), *names, by=None) == [names[:2], names[2:]]


def test_a_closed_split_leaves_out_what_came_unless_all_did(capsys):
    split = Split(Defog())
    first = sides(split, *"abcdefghij")
    closed = again(split, closed=True)
    assert sides(closed, *"0123abcdefghij") == first
    said = "x: of its pictures 4 that came since the checkpoint are left out\n"
    assert capsys.readouterr().err == said
    assert sides(again(split, closed=True), *"01234") == [[*"0134"], ["2"]]
    with pytest.raises(UserError, match=r"x = f: nothing is left .* held back; .*--data"):
        sides(again(split, closed=True), *"ab0123")


def test_a_side_of_which_all_is_gone_is_an_error():
    split = Split(Defog())
    sides(split, *"abcde")
    with pytest.raises(UserError, match=r"x = f: nothing is left .* held back; .*--fresh"):
        sides(again(split), *"abd")
    with pytest.raises(UserError, match=r"x = f: nothing is left .* trained on"):
        sides(again(split), "c")


def test_twenty_thousand_names_take_less_than_two_hundred_kilobytes():
    split = Split(Defog())
    names = [f"scene_{n // 500:03}/tile_{n * 7919 % 104729:06}.png" for n in range(20_000)]
    split.sides("x", "f", [Path("f", name) for name in sorted(names)])
    assert len(json.dumps(split.stored())) < 2e5


def test_names_of_any_kind_come_back():
    names = ["\udcff.png", "a\nb.png", "ä ö/ü.png"]
    split = Split(Defog())
    first = sides(split, *names)
    assert sides(again(split), *names) == first


@pytest.mark.parametrize(
    "stored",
    [
        {"x": ["tile", "!"]}, {"x": ["tile", "AAAA"]}, {"x": ["other", ""]}, {"x": 3}, {"x": []},
        [], {"x": ["tile", None]}, {"x": ["tile", "eJwrZmAAAAEAAHM="]},
    ],
)  # fmt: skip
def test_a_split_that_makes_no_sense_is_an_error(stored):
    with pytest.raises(ValueError, match="split cannot be read"):
        Split(Defog(), {"split": stored})


# --- runs from before ---------------------------------------------------------------------------


def test_a_run_from_before_goes_on_by_tile_and_is_kept_from_then_on():
    names = [f"{s}/{n}" for s in "abcdef" for n in range(5)]
    split = Split(Defog(), {"settings": {}})
    first = sides(split, *names, by="auto")
    assert first[1] == [f"{s}/2" for s in "abcdef"]
    assert sides(again(split), *names, by="auto") == first


@pytest.mark.parametrize("before", [True, False])
def test_another_rule_than_the_runs_is_refused(before):
    names = [f"{s}/{n}" for s in "abcdef" for n in range(5)]
    split = Split(Defog(), {} if before else None)
    sides(split, *names, by="auto")
    own, other = ("tile", "scene") if before else ("scene", "tile")
    sides(again(split), *names, by=own)
    sides(again(split, closed=True), *names, by=other)  # to evaluate, the checkpoint's counts
    with pytest.raises(UserError, match=f"validation_by = {other}: .* by {own}.*--fresh"):
        sides(again(split), *names, by=other)


def test_a_single_picture_of_a_run_from_before_stays_whole_on_both_sides():
    split = Split(Defog(), {"settings": {}})
    for _ in range(2):
        for side in split.sides("x", "f", [Path("f/a")]):
            assert (side.paths, side.parts) == ([Path("f/a")], {})
        split = again(split)
    assert sides(split, "a", "b", "c") == [["a", "b", "c"], ["a"]]


# --- a single picture ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "share", "crop_px", "cut"),
    [
        (100, 500, 0.2, 32, 400),  # the last fifth
        (500, 100, 0.2, 32, 400),
        (100, 100, 0.2, 32, 68),  # a crop at least
        (64, 64, 0.2, 32, 32),
        (100, 500, 0.99, 32, 32),  # and a crop for training
    ],
)
def test_a_strip_of_the_longer_side_is_held_back(height, width, share, crop_px, cut):
    how = {"share": share, "crop_px": crop_px}
    marks = np.zeros((height, width), int)
    marks[strip(height, width, training=True, **how)] += 1
    marks[strip(height, width, training=False, **how)] += 2
    expected = np.full((height, width), 1)
    (expected if height >= width else expected.T)[cut:] = 2
    np.testing.assert_array_equal(marks, expected)


def test_a_picture_too_small_for_two_crops_is_on_both_sides():
    for training in (False, True):
        whole = strip(60, 63, share=0.2, crop_px=32, training=training)
        assert whole == (slice(0, 60), slice(0, 63))


def test_a_single_picture_goes_on_serving_both_sides_when_others_come():
    split = Split(Defog())
    assert sides(split, "a") == [["a"], ["a"]]
    split = again(split)
    found = split.sides("x", "f", [Path("f", name) for name in "abc"])
    assert [[p.name for p in side.paths] for side in found] == [[*"abc"], ["a"]]
    assert [[p.name for p in side.parts] for side in found] == [["a"], ["a"]]
