"""Settings: cheap to import, every mistake found at once, every name and comment in place."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import SCRIPTS, take_up, task_of

import configure
from util import command, settings
from util.run.folder import RunFolder
from util.say import UserError
from util.settings import mistakes, row_of
from util.task import Task
from util.use.trained import as_trained

PROJECT = Path(configure.__file__).resolve().parent

CLASSES = [
    c
    for c in vars(configure).values()
    if isinstance(c, type) and issubclass(c, configure.Common) and c.__module__ == "configure"
]
FIELDS = {f.name: (c, f) for c in CLASSES for f in dataclasses.fields(c)}

# For each rule, values that it must refuse.
WRONG = {
    "preset": ["none", "Source", ""],
    "crop_px": [0, 32, 100],
    "validation_by": ["place"],
    "validation_share": [0.0, 1.0],
    "validation_samples": [0],
    "max_pixels": [100],
    "full_scale": [-1.0],
    "optimizer": ["sgd", ""],
    "batch_size": [0, -4],
    "learning_rate": [0.0, 1.5],
    "beta_1": [-0.1, 1.0],
    "beta_2": [-0.1, 1.0],
    "epsilon": [0.0, 1.5],
    "clip_norm": [-1.0],
    "tanh_slope": [-0.1, 1.1],
    "epochs": [-1],
    "steps": [0],
    "warmup_steps": [-1],
    "final_rate_share": [-0.1, 1.1],
    "rate_drop_every": [-1],
    "log_every": [0],
    "validate_every": [0],
    "sheet_every": [0],
    "save_every": [0],
    "keep_checkpoints": [0],
    "sample_processes": [-1],
    "precision": ["float16", ""],
    "seed": [-1, 2**31],
    "noise_share": [-0.1, 1.1],
    "cloud_window_px": [(4, 64), (128, 64)],
    "noise_cell_px": [(1.0, 10.0), (50.0, 20.0)],
    "noise_octaves": [0, 21],
    "noise_persistence": [-0.1, 1.1],
    "noise_lacunarity": [1.0, 11.0],
    "ground_gain": [-0.1, 0.6],
    "ground_offset": [-0.1, 0.6],
    "ground_zoom": [(0.0, 1.0), (2.0, 1.0)],
    "ground_curve": [-0.1, 1.0],
    "ground_tint": [-0.1, 0.6],
    "ground_saturation": [-0.1, 1.1],
    "ground_pasted": [-0.1, 1.1],
    "clear_share": [-0.1, 1.1],
    "veil_share": [-0.1, 1.1],
    "cumulus_share": [-0.1, 1.1, 0.9],  # with clear_share and veil_share more than all samples
    "greatest_opacity": [(-0.1, 1.0), (0.5, 2.1), (1.0, 0.5)],
    "layer_own_share": [-0.1, 1.1],
    "cumulus_cover": [(0.0, 0.5), (0.5, 1.1)],
    "cumulus_cell_px": [(1.0, 50.0)],
    "cumulus_edge": [(0.0, 1.0), (1.0, 11.0)],
    "cumulus_octaves": [0, 21],
    "cumulus_persistence": [-0.1, 1.1],
    "haze_share": [-0.1, 1.1],
    "haze_opacity": [(-0.1, 0.3), (0.5, 1.1)],
    "opacity_offset": [(-2.0, 0.0), (0.2, 0.1)],
    "cloud_brightness": [(-0.1, 1.0), (0.9, 2.1)],
    "cloud_colour": [(-0.1, 1.0), (0.9, 1.1)],
    "cloud_shading": [-0.1, 1.1],
    "cut_share": [-0.1, 1.1],
    "heap_share": [-0.1, 1.1],
    "cloud_relief": [-0.1, 1.1],
    "wavelength_exponent": [(-0.5, 1.0), (0.0, 4.5)],
    "shadow_share": [-0.1, 1.1],
    "shadow_depth": [(-0.1, 0.5), (0.5, 1.1)],
    "channel_shift_px": [-1.0, 21.0],
    "blur_beneath_px": [-1.0, 21.0],
    "picked_share": [-0.1, 1.1],
    "picked_px": [-1.0, 21.0],
    "jpeg_share": [-0.1, 1.1],
    "jpeg_quality": [(0.0, 75.0), (75.0, 101.0)],
    "sensor_noise": [-0.01, 0.6],
    "hidden_weight": [-1.0],
    "distance": ["l3"],
    "faint_weight": [-0.1, 2.0],
    "sizes": [0, 3],
    "pixel_m": [-1.0],
    "turns": [0, 3, 4],
    "opacity_weight": [-1.0],
    "seen_weight": [-1.0],
    "base_width": [0, 257],
    "stage1_width": [0, 257],
    "stage2_width": [0, 257],
    "head": ["sigmoid"],
    "norm": ["layer"],
    "upsampling": ["bilinear"],
    "stage2_sees": ["both"],
    "stage2_rate_share": [-0.1, 11.0],
    "gate_loss": [-1.0],
    "apply_tile_px": [16_385],
    "apply_margin_px": [-1, 1025],
    "clear_below": [-0.1, 0.6],
    "cloud_white": [0.0, 1.1],
    "dimmed": [-0.1, 0.6],
    "generator": ["unet"],
    "painting": ["smooth"],
    "towers": ["two", "none"],
    "discriminator_head": ["mean"],
    "detail_gain": [0.5, 101.0],
    "adversarial": ["wgan_gp", "none"],
    "adversarial_weight": [-0.1],
    "feature_weight": [-0.1],
    "finding_weight": [-0.1],
    "painting_weight": [-0.1],
    "reconstruction_weight": [-0.1],
    "rim_px": [-1.0, 1001.0],
    "reconstruction_steps": [-1],
    "adversarial_rise_steps": [-1],
    "balance_ratio": [-2.0, 0.5, 1.0],
    "balance_window": [0],
    "discriminator_rate_share": [-0.1, 11.0],
    "critic_steps": [0, 21],
    "gradient_penalty_weight": [-1.0],
    "weight_limit": [0.0, 1.5],
    "past_size": [-1],
    "past_share": [-0.1, 1.1],
    "past_bits": [0, 16],
    "average": [-0.1, 1.0],
    "hole_colour": ["grey", "", "255,0", "0,0,256", "-1,0,0", "1,2,3,4", "1,2,x"],
    "hole_margin_px": [-1, 1001],
    "hole_opacity_from": [0.0, 1.1],
    "spot_share": [0.05, 0.95],
    "spot_width_share": [0.05, 0.95],
    "spot_place": [(-0.1, 0.5), (0.5, 1.1)],
    "polygon_vertices": [2, 101],
    "edge_px": [0, 65],
    "cloud_hole_share": [-0.1, 1.1],
    "cleared_share": [-0.1, 1.1],
    "airlight": [(-0.1, 1.0), (1.0, 0.7)],
    "haze_beta": [(-0.1, 1.0), (1.5, 0.5)],
    "haze_colour": [(-0.1, 1.0), (1.0, 0.9)],
    "uneven_share": [-0.1, 1.1],
    "generator_width": [0, 257],
    "blocks": [0, 101],
    "dropout": [-0.1, 0.95],
    "output": ["tanh"],
    "critic": ["global"],
    "field_px": [71],
    "critic_width": [0, 257],
    "critic_norm": ["layer"],
    "perceptual_weight": [-1.0],
    "perceptual_input": ["grey"],
    "critic_turn": ["never"],
    "composite": ["grey"],
    "discriminator_width": [0, 257],
    "discriminator_blocks": [(3, 4, 6, 0)],
    "direction": ["ab"],
    "drop_cover": [(-0.1, 0.3), (0.3, 1.1)],
    "ground_turn": [-1.0, 181.0],
    "attention_at": [1, 3],
    "drop_radius_px": [(0.5, 4.0), (4.0, 3.0)],
    "levels": [4, 9],
}


def made(**values):
    """Return settings of the first class that has these fields."""
    for cls in CLASSES:
        if values.keys() <= {f.name for f in dataclasses.fields(cls)}:
            return cls(**values)
    raise AssertionError(f"no class has {', '.join(values)}")


# --- the file -----------------------------------------------------------------------------------


def test_importing_it_loads_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import configure; "
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(found.stdout.split())
    assert {"configure", "util"} <= loaded
    assert loaded - {"configure", "util"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("cls", CLASSES)
def test_settings_are_frozen_and_right_as_they_come(cls):
    assert mistakes(cls()) == []
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().seed = 1


@pytest.mark.parametrize("cls", CLASSES)
def test_every_setting_has_a_comment(cls):
    comments = settings.comments_of(cls)
    bare = [f.name for f in dataclasses.fields(cls) if len(comments.get(f.name, "")) < 10]
    assert not bare, f"without a comment beside them in configure.py: {bare}"


def test_comments_stand_beside_their_own_setting():
    comments = settings.comments_of(configure.Defog)
    assert comments["seed"].startswith("everything random")
    assert "largest cells" in comments["noise_cell_px"]  # its value stands on four lines
    assert "level" in comments["base_width"]


def test_every_setting_has_a_row_and_every_row_a_setting():
    rows = configure.Common.rows
    names = {key.rpartition(".")[2] for key in rows}
    assert names == set(FIELDS)
    assert {row.kind for row in rows.values()} == {"fixed", "other samples", "here", "at once"}
    own = [key for key in rows if "." in key]
    assert own
    for key in own:
        cls, name = key.split(".")
        assert name in getattr(configure, cls).__dataclass_fields__
        assert row_of(getattr(configure, cls), name) is rows[key]


def test_old_names_lead_to_settings_and_are_none_themselves():
    assert set(configure.Common.renamed.values()) <= set(FIELDS)
    assert not set(configure.Common.renamed) & set(FIELDS)
    for cls in CLASSES:
        assert set(cls.unsaid) <= set(FIELDS)
    assert {*configure.Common.instead, *configure.Common.instead.values()} <= set(FIELDS)


def test_a_run_from_before_a_setting_is_told_what_changes_now():
    """The haze of mod_deblurgan's earlier runs was even, white and without a file."""
    before = settings.with_new_names(configure.Deblur, {"seed": 0, "output": "add"})
    changed = settings.changes(configure.Deblur(), before)
    assert changed["output"] == ("add", "light")
    assert changed["uneven_share"] == (0.0, 0.5)
    assert changed["wavelength_exponent"] == ([0.0, 0.0], [0.0, 1.5])
    as_it_was = configure.Deblur(**configure.Deblur.presets["source"])
    same = set(configure.Deblur.unsaid) & set(configure.Deblur.presets["source"]) - {"output"}
    assert same
    assert not same & set(settings.changes(as_it_was, before))


# --- presets ------------------------------------------------------------------------------------

WITH_SOURCE = [c for c in CLASSES if "source" in c.presets]


def says(comment, kind, value, ours):
    """Tell whether a comment says that the source has this value: "b (source)" or "(source 2)"."""
    if kind is str:
        return re.search(rf"\b{value} \(" + "source\\b" * (value != "source"), comment)
    text = re.search(r"\(source ([^):;]+)", comment)
    if text and text[1].startswith("the same"):
        return value == ours
    parts = len(getattr(kind, "__args__", [0]))
    texts = [part.strip(" +") for part in text[1].split(",")[:parts]] if text else []
    return bool(text) and settings._parsed(kind, ",".join(texts)) == value


@pytest.mark.parametrize("cls", WITH_SOURCE)
def test_a_preset_holds_what_differs_and_the_comments_say_the_same(cls):
    """The tables count; a comment that says something else, or nothing, is found here."""
    ours, comments = cls(), settings.comments_of(cls)
    source, kinds = cls.presets["source"], {f.name: f.type for f in dataclasses.fields(cls)}
    assert mistakes(dataclasses.replace(ours, **source)) == []
    assert not [name for name, value in source.items() if getattr(ours, name) == value]

    def is_said(name, value):
        return says(comments[name], kinds[name], value, getattr(ours, name))

    silent = [name for name, value in source.items() if not is_said(name, value)]
    assert not silent, f"configure.py: comments that do not say the preset's value: {silent}"
    said = {name for name, comment in comments.items() if "(source" in comment} & kinds.keys()
    wrong = [name for name in said - source.keys() if not is_said(name, getattr(ours, name))]
    assert not wrong, f"configure.py: comments whose value no preset has: {wrong}"


def test_comments_say_what_cloudremovals_later_state_had():
    """Those of the command line that docs/systems.md gives for it."""
    page = (PROJECT / "docs" / "systems.md").read_text(encoding="utf-8")
    words = re.search(r"state of 2019[^`]*`([^`]+)`", page)[1].split()
    comments, options = settings.comments_of(configure.Clouds), words[::2]
    assert "--opacity-offset" in options
    for option, text in zip(options, words[1::2], strict=True):
        name = option.removeprefix("--").replace("-", "_")
        said = re.search(r"; 2019 ([^)]+)\)", comments[name])
        assert said, name
        kind = FIELDS[name][1].type
        assert settings._parsed(kind, said[1]) == settings._parsed(kind, text), name


def test_every_script_has_its_source():
    assert {task_of(script).settings for script in SCRIPTS} == set(WITH_SOURCE)


# --- mistakes -----------------------------------------------------------------------------------


def test_every_rule_has_wrong_values_here():
    ruled = {key.rpartition(".")[2] for key, row in configure.Common.rows.items() if row.rules}
    assert sorted(WRONG) == sorted(ruled), "put wrong values for new rules into WRONG"


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in WRONG.items() for v in vs])
def test_a_wrong_value_is_one_mistake_with_its_remedy(name, value):
    found = mistakes(made(**{name: value}))
    assert len(found) == 1
    assert found[0].startswith(f"{name} = {value!r}: must ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop_px", "128"),
        ("crop_px", 128.0),
        ("batch_size", True),
        ("batch_size", None),
        ("learning_rate", False),
        ("learning_rate", "1e-3"),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("jit_compile", 1),
        ("jit_compile", "yes"),
        ("precision", 32),
        ("clear_folder", Path("data")),
        ("cloud_window_px", 64),
        ("cloud_window_px", (64,)),
        ("cloud_window_px", (64, 128, 256)),
        ("cloud_window_px", (64.0, 128.0)),
        ("cloud_window_px", "64,128"),
        ("cloud_colour", (0.9, "1")),
        ("cloud_colour", (0.9, float("nan"))),
        ("cloud_colour", (False, True)),
    ],
)
def test_a_wrong_type_is_one_mistake(name, value):
    found = mistakes(made(**{name: value}))
    assert len(found) == 1
    assert found[0].startswith(f"{name} = {value!r}: must be of type ")
    kind = FIELDS[name][1].type
    assert getattr(kind, "__name__", "?") in found[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 1), ("cloud_colour", [0, 1]), ("full_scale", 10_000), ("seed", 2**31 - 1)],
)
def test_an_integer_may_stand_for_a_number_and_a_list_for_a_tuple(name, value):
    assert mistakes(made(**{name: value})) == []


def test_a_list_in_configure_stands_for_a_tuple():
    @settings.settings_class
    class Mine(configure.Deblur):
        airlight: tuple[float, float] = [0.7, 1.0]
        steps: int = [5]

    assert Mine().airlight == (0.7, 1.0)
    assert mistakes(Mine()) == ["steps = (5,): must be of type int"]


def test_a_name_that_is_no_setting_and_a_value_without_its_type_are_told():
    @settings.settings_class
    class Mine(configure.Defog):
        stepz: int = 12
        steps = 12
        ground_zom = (1.0, 2.0)
        ground_zoom = (1.0, 2.0)
        batch_size: int = 0
        _helper = 3

    assert mistakes(Mine()) == [
        "stepz: is no setting; did you mean steps?",
        "ground_zom: is no setting; did you mean ground_zoom?",
        "steps = 12: does nothing without its type; write steps: int = 12",
        "ground_zoom = (1.0, 2.0): does nothing without its type; write "
        "ground_zoom: tuple[float, float] = (1.0, 2.0)",
        "batch_size = 0: must be 1 or more",
    ]
    assert "preset" not in settings.names_here(Mine)


def test_a_setting_that_has_its_type_nowhere_is_told_so():
    @settings.settings_class
    class Bare(settings.Settings):
        rows = configure.Common.rows
        seed: int = 0
        steps = 100
        ground_zoom = (0.5, 2.0)
        step = 5

    assert mistakes(Bare()) == [
        "step: is no setting; did you mean steps?",
        "steps = 100: does nothing without its type; write steps: int = 100",
        "ground_zoom = (0.5, 2.0): does nothing without its type; write "
        "ground_zoom: tuple[float, float] = (0.5, 2.0)",
    ]


def test_all_mistakes_come_together():
    wrong = {
        "crop_px": 100,
        "batch_size": True,
        "learning_rate": "fast",
        "cloud_window_px": (300, 200),
        "validate_every": 75,
        "noise_share": 2,
    }
    found = mistakes(configure.Defog(**wrong))
    assert sorted(line.split(" = ")[0] for line in found) == sorted(wrong)


def test_scores_and_losses_share_rows():
    assert mistakes(configure.Common(log_every=40, validate_every=80)) == []
    (found,) = mistakes(configure.Common(log_every=40, validate_every=100))
    assert found.startswith("validate_every = 100: must be a multiple of log_every (40)")


def test_heaps_leave_room_for_cut_outs_where_there_are_some():
    shares = {"heap_share": 0.9, "cut_share": 0.2}
    (line,) = mistakes(configure.Defog(**shares, cut_folder="cut"))
    assert line.startswith("cut_share = 0.2: must leave room for heap_share = 0.9")
    assert mistakes(configure.Defog(**shares)) == []
    assert mistakes(configure.Defog(**shares | {"heap_share": 0.8}, cut_folder="cut")) == []


def test_tiles_are_wider_than_their_margins():
    assert mistakes(made(apply_tile_px=296, apply_margin_px=100)) == []
    (found,) = mistakes(made(apply_tile_px=295, apply_margin_px=100))
    assert found.startswith("apply_tile_px = 295: must be 296 or more with apply_margin_px = 100")


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def settings_of(monkeypatch, capsys):
    """Return a function: words of a command line -> settings, or the text of its error."""
    caught = []

    def catch(task, settings, *rest):
        caught.append(settings)
        return 0

    monkeypatch.setattr(command, "_train", catch)
    monkeypatch.setattr(command.interrupt, "listen", lambda: None)
    classes = configure.Defog, configure.GANPoly, configure.Deblur, configure.Pix2pix
    tasks = {c: Task("mod_defog", c, *[None] * 8) for c in classes}

    def run(*words, cls=configure.Defog, task=None):
        with pytest.raises(SystemExit) as ended:
            command.main(task or tasks[cls], "text", list(words))
        if ended.value.code == 0:
            return caught.pop() if caught else None
        assert ended.value.code == 2
        assert not caught
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--batch-size", "8"], "batch_size", 8),
        (["--max-pixels=1_000_000"], "max_pixels", 1_000_000),
        (["--learning-rate", "2.5e-4"], "learning_rate", 2.5e-4),
        (["--full-scale", "10000"], "full_scale", 10_000.0),
        (["--cloud-window-px", "32,96"], "cloud_window_px", (32, 96)),
        (["--cloud-window-px", "(32, 96)"], "cloud_window_px", (32, 96)),
        (["--opacity-offset", "-0.05,0.25"], "opacity_offset", (-0.05, 0.25)),
        (["--opacity-offset=-0.05,0.25"], "opacity_offset", (-0.05, 0.25)),
        (["--norm", "batch"], "norm", "batch"),
        (["--jit-compile", "true"], "jit_compile", True),
        (["--jit-compile", "No"], "jit_compile", False),
    ],
)
def test_a_setting_for_one_start(settings_of, words, name, value):
    found = settings_of(*words)
    assert getattr(found, name) == value
    assert type(getattr(found, name)) is type(value)
    usual = settings_of()
    assert dataclasses.replace(found, **{name: getattr(usual, name)}) == usual


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--batch-size", "8.5"], "--batch-size 8.5: must be INT"),
        (["--batch-size", "many"], "--batch-size many: must be INT"),
        (["--batch-size", "-3"], "batch_size = -3: must be 1 or more"),
        (["--learning-rate", "fast"], "--learning-rate fast: must be NUMBER"),
        (["--learning-rate", "nan"], "learning_rate = nan: must be of type float"),
        (["--jit-compile", "perhaps"], "--jit-compile perhaps: must be true|false"),
        (["--cloud-window-px", "32"], "--cloud-window-px 32: must be INT,INT"),
        (["--cloud-window-px", "32,x"], "--cloud-window-px 32,x: must be INT,INT"),
        (["--batchsize", "8"], "--batchsize: not understood; did you mean --batch-size?"),
        (["--batch_size=8"], "--batch_size=8: not understood; did you mean --batch-size?"),
        (["--batch", "8"], "--batch: not understood"),
        (["--qqq"], "--qqq: not understood; see --help"),
        (["--history-size=8"], "--history-size=8: not understood; it is called --past-size now"),
    ],
)
def test_a_wrong_command_line_says_what_is_meant(settings_of, words, text):
    cls = configure.GANPoly if "history" in text else configure.Defog
    assert text in settings_of(*words, cls=cls)


@pytest.fixture
def used(monkeypatch, tmp_path):
    """Return a function: words of a command line -> the options of apply or evaluate.

    It runs in a folder that holds the files --steps.png and -west.png.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("--steps.png", "-west.png"):
        (tmp_path / name).write_bytes(b"")
    caught = []

    def catch(task, settings, command, options, given):
        caught.append(options)
        return 0

    monkeypatch.setattr(command, "_use", catch)
    monkeypatch.setattr(command.interrupt, "listen", lambda: None)
    task = task_of("mod_GAN_poly")

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            command.main(task, "text", list(words))
        return caught.pop() if ended.value.code == 0 else None

    return run


SOUTH = "-33.86_151.20.png"


@pytest.mark.parametrize(
    ("words", "sources"),
    [
        ([SOUTH, "-12.05_-77.04.png", "a.png"], [f"./{SOUTH}", "./-12.05_-77.04.png", "a.png"]),
        (["a.png", SOUTH, "--overwrite"], ["a.png", f"./{SOUTH}"]),
        (["--overwrite", SOUTH], [f"./{SOUTH}"]),
        (["--overwrite", "-33"], ["./-33"]),
        (["-west.png"], ["./-west.png"]),
        (["a.png", "--steps", "5", "b.png"], ["a.png", "b.png"]),
        (
            ["a.png", "--", SOUTH, "--steps.png", "-h"],
            ["a.png", f"./{SOUTH}", "./--steps.png", "./-h"],
        ),
        (["--", "apply"], ["apply"]),
    ],
)
def test_a_file_is_no_option(used, words, sources):
    for out in ("out", "-90.0_out", "-90"):
        options = used("apply", "--out", out, *words)
        assert options.sources == sources
        assert Path(options.out) == Path(out)


def test_folders_that_begin_with_a_minus(used):
    options = used("evaluate", "--pairs", "-1", "-2_clear", "--count", "-3", "--holes", "-4_x")
    assert [Path(name) for name in options.pairs] == [Path("-1"), Path("-2_clear")]
    assert options.count == -3
    assert Path(options.holes) == Path("-4_x")


def test_a_word_that_is_a_file_too_names_the_way_out(used, capsys):
    assert used("apply", "--out", "out", "a.png", "--steps.png") is None
    assert "--steps.png: not understood; if the file is meant: ./--steps.png, or -- before it" in (
        capsys.readouterr().err
    )


def test_a_preset_is_one_word_and_single_settings_go_before_it(settings_of, tmp_path):
    there = ("--runs-folder", str(tmp_path))
    found = settings_of("--preset", "source", "--norm", "batch", "--noise-share=.25", *there)
    source = configure.Defog.presets["source"]
    assert found.preset == "source"
    assert (found.norm, found.noise_share) == ("batch", 0.25)
    for name in source.keys() - {"norm", "noise_share"}:
        assert getattr(found, name) == source[name]
    usual = settings_of(*there)
    assert usual.preset == "ours"
    assert [n for n in vars(usual) if getattr(usual, n) != getattr(found, n)] == [
        n for n in vars(usual) if n in {"preset", *source}
    ]
    assert "preset = 'sauce': must be one of: ours, source" in settings_of("--preset", "sauce")


def test_steps_that_are_given_take_the_place_of_the_epochs_of_configure(
    settings_of, tmp_path, capsys
):
    @settings.settings_class
    class Mine(configure.Deblur):
        epochs: int = 5

    task = Task("mod_defog", Mine, *[None] * 8)
    there = f"--runs-folder={tmp_path}"

    def start(*words):
        return settings_of(there, *words, task=task)

    assert start().epochs == 5
    for words in (["--steps=100"], ["--steps=100", "--preset=source"]):
        found = start(*words)
        assert (found.steps, found.epochs) == (100, 0)
    assert start("--steps=100", "--epochs=0").epochs == 0
    assert "does nothing" not in capsys.readouterr().err
    assert start("--steps=100", "--epochs=2").epochs == 2
    said = "mod_defog: --steps does nothing beside --epochs; give one of the two\n"
    assert capsys.readouterr().err == said


def test_a_run_keeps_its_preset(settings_of, tmp_path, capsys):
    there = ("--runs-folder", str(tmp_path))
    run = RunFolder("mod_defog", settings_of("--preset", "source", *there))
    assert run.kept == {}
    take_up(run)
    assert json.loads((run.path / "settings.json").read_text())["preset"] == "source"
    capsys.readouterr()
    again = settings_of("--beta-1", "0.25", *there)
    assert "mod_defog: preset = source, which this run was begun with" in capsys.readouterr().err
    assert (again.preset, again.beta_1, again.beta_2) == ("source", 0.25, 0.9)
    assert settings_of("--fresh", *there).preset == "ours"
    other = settings_of("--preset", "ours", *there)
    with pytest.raises(UserError, match="begun with preset = source, which stays") as refused:
        take_up(RunFolder("mod_defog", other))
    assert "\n" not in str(refused.value)


def test_a_run_from_before_presets_is_ours(settings_of, tmp_path):
    there = ("--runs-folder", str(tmp_path))
    run = RunFolder("mod_defog", settings_of(*there))
    take_up(run)
    file = run.path / "settings.json"
    stored = json.loads(file.read_text())
    del stored["preset"]
    file.write_text(json.dumps(stored))
    assert run.kept["preset"] == "ours"
    with pytest.raises(UserError, match="begun with preset = ours, which stays"):
        take_up(RunFolder("mod_defog", settings_of("--preset", "source", *there)))


def test_a_run_keeps_the_networks_that_were_the_default(settings_of, tmp_path, capsys):
    start = partial(settings_of, "--runs-folder", str(tmp_path), cls=configure.Pix2pix)
    run = RunFolder("mod_defog", start("--upsampling", "transposed"))
    take_up(run)
    file = run.path / "settings.json"
    stored = json.loads(file.read_text())
    younger = {n: v for n, v in stored.items() if n != "upsampling"}
    capsys.readouterr()
    for before in (younger, stored):
        file.write_text(json.dumps(before))
        again = start()
        said = "mod_defog: upsampling = transposed, which this run was begun with\n"
        assert capsys.readouterr().err == said
        take_up(RunFolder("mod_defog", again))
        assert json.loads(file.read_text())["upsampling"] == "transposed"
    with pytest.raises(UserError, match="upsampling: 'transposed' before, 'resize' now"):
        take_up(RunFolder("mod_defog", start("--upsampling", "resize")))
    assert start("--fresh").upsampling == "resize"


def test_a_run_keeps_how_it_was_split(settings_of, tmp_path):
    """Begun with the preset before that said by what: by scene, where there are enough."""
    start = partial(settings_of, "--runs-folder", str(tmp_path), cls=configure.Deblur)
    source = start("--preset", "source")
    assert source.validation_by == "tile"
    take_up(RunFolder("mod_defog", dataclasses.replace(source, validation_by="auto")))
    again = start()
    assert (again.preset, again.validation_by) == ("source", "auto")
    assert start("--validation-by", "scene").validation_by == "scene"
    assert start("--fresh", "--preset", "source") == source


WERE = {  # what cannot change within a run, and was the default once
    configure.Defog: {"base_width": 8, "head": "unmix"},
    configure.GANPoly: {"painting": "fill", "upsampling": "transposed", "past_size": 64},
    configure.Deblur: {"output": "add", "field_px": 142},
    configure.Pix2pix: {"norm": "batch", "output": "add", "upsampling": "transposed"},
}


@pytest.mark.parametrize("cls", WERE)
def test_a_run_with_the_defaults_of_its_time_goes_on_with_them(cls, settings_of, tmp_path):
    start = partial(settings_of, "--runs-folder", str(tmp_path), cls=cls)
    before = dataclasses.replace(start(), **WERE[cls])
    take_up(RunFolder("mod_defog", before))
    again = start()
    assert again == before
    take_up(RunFolder("mod_defog", again))


def test_what_is_used_has_the_preset_that_it_was_trained_with(settings_of):
    ours, source = settings_of(), settings_of("--preset", "source")
    stored = dataclasses.asdict(source)
    found = as_trained(ours, stored)
    assert (found.preset, found.norm, found.clear_below) == ("source", "own", 0.0)
    assert as_trained(ours, stored, ["clear_below"]).clear_below == ours.clear_below
    assert as_trained(source, stored, ["preset"]) == source
    for now, then, said in ((ours, stored, "source"), (source, vars(ours), "ours")):
        with pytest.raises(UserError, match=f"with preset = {said}, which stays; leave --preset"):
            as_trained(now, then, ["preset"])
    with pytest.raises(UserError, match="trained with preset = ours"):  # from before presets
        as_trained(source, {"base_width": 8}, ["preset"])


def test_all_mistakes_of_a_command_line_come_together(settings_of):
    found = settings_of("--sped", "--crop-px", "100", "--steps", "x", "--noise-share", "2")
    assert "4 mistake(s)" in found
    for start in ("--sped: ", "crop_px = 100: ", "--steps x: ", "noise_share = 2.0: "):
        assert f"\n  {start}" in found


def test_folders_are_meant_from_where_they_were_written(settings_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = settings_of("--runs-folder", "here/runs", "--cloud-folder", str(tmp_path / "clouds"))
    assert found.runs_folder == str(tmp_path.resolve() / "here" / "runs")
    assert found.cloud_folder == str(tmp_path.resolve() / "clouds")
    assert found.clear_folder == str(PROJECT / configure.Defog().clear_folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert settings_of("--cache-folder", "~/c").cache_folder == str(tmp_path.resolve() / "c")


def test_help_shows_every_setting_with_its_comment_and_value(settings_of, capsys):
    settings_of("--help")
    shown = " ".join(capsys.readouterr().out.split())
    comments = settings.comments_of(configure.Defog)
    for field in dataclasses.fields(configure.Defog):
        assert f"--{field.name.replace('_', '-')} " in shown
        assert " ".join(comments[field.name].split())[:30] in shown
