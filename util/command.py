"""The command line that every script shares: train, apply, evaluate, export, and overrides."""

import argparse
import contextlib
import os
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

from util import interrupt
from util.say import UserError, lossy_streams, say
from util.settings import as_text, comments_of, from_texts, kind_name, option_of


def main(task, description, arguments=None):
    """Run a script's command line and exit with its status; see `exit_with`."""
    exit_with(task.name, lambda words: _run(task, description, words), arguments)


def exit_with(name, run, arguments=None):
    """Run ``run(arguments) -> status``, say what is wrong if anything is, and exit.

    0: done, or stopped by Ctrl-C. 1: it went wrong on the way. 2: a setting, file or argument is
    wrong. 143: stopped by SIGTERM. 130: Ctrl-C has cut apply, evaluate or export short, so that a
    script which needs their outputs does not go on without them.
    """
    interrupt.listen()
    with lossy_streams():
        try:
            status = run(_told_apart(sys.argv[1:] if arguments is None else arguments))
        except UserError as error:
            say(*f"{name}: {error}".split("\n"))
            status = 2
    raise SystemExit(status)


def _run(task, description, arguments):
    command, arguments = command_of(arguments, COMMANDS, "train")
    parser = _parser(task, description, command)
    options, extra = parser.parse_known_intermixed_args(arguments)
    misplaced = [word for word in extra if word in COMMANDS]
    if misplaced:
        raise UserError(f"the command comes first: python {task.name}.py {misplaced[0]} ...")
    settings, given = settings_from(task.settings, options, extra)
    if command == "train":
        if not options.fresh:
            settings = _as_begun(task, settings, options, given)
        for name, other in task.settings.instead.items():
            if name in given and other in given and getattr(settings, other):
                one, stays = option_of(name), option_of(other)
                say(f"{task.name}: {one} does nothing beside {stays}; give one of the two")
        with cut_short(task.name, "no step was taken yet; the same command goes on", status=0):
            return _train(task, settings, options.fresh, options.begin_with)
    with cut_short(task.name):
        return _use(task, settings, command, options, given)


def _as_begun(task, settings, options, given):
    """Return the settings with what the run that goes on keeps of those that it was begun with."""
    from util.run.folder import RunFolder

    kept = RunFolder(task.name, settings).kept
    preset = {"preset": kept.pop("preset", settings.preset)}
    for values in (preset, kept):  # what else is kept depends on the preset
        changed = {n: v for n, v in values.items() if v != getattr(settings, n) and n not in given}
        for name, value in changed.items():
            say(f"{task.name}: {name} = {value}, which this run was begun with")
            setattr(options, f"setting_{name}", str(value))
        settings = settings_from(task.settings, options, [])[0] if changed else settings
    return settings


@contextlib.contextmanager
def cut_short(name, what="files that were finished are whole", status=130):
    """Say so where a signal has ended what is done here; `status` is that of Ctrl-C."""
    try:
        yield
    except SystemExit:
        if interrupt.requested():
            say("", f"{name}: stopped; {what}")
            raise SystemExit(interrupt.exit_status() or status) from None
        raise


def command_of(arguments, commands, default):
    """Return the command, or the default if none is named, and the arguments without it."""
    for i, word in enumerate(arguments):
        if word in commands:
            return word, arguments[:i] + arguments[i + 1 :]
        if not (word.startswith("--") and "=" in word):
            break
    return default, arguments


def _told_apart(arguments):
    """Return the arguments in words of which argparse takes no number and no file for an option.

    ``--name -0.1,0.2`` becomes one word; -33.86_151.20.png, any file that is there, and all that
    begins with a minus after ``--``, become ./-33.86_151.20.png.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    told = []
    for word in arguments[:end]:
        if re.fullmatch(r"-[\d.][\d.,e+-]*", word) and told and _wants_a_value(told[-1]):
            told[-1] += f"={word}"
        elif re.match(r"-[\d.]", word) or (re.match("-(?!-|h$)", word) and os.path.lexists(word)):
            told.append(f"./{word}")
        else:
            told.append(word)
    return told + [f"./{word}" if word.startswith("-") else word for word in arguments[end + 1 :]]


def _wants_a_value(word):
    """Tell whether a word is an option that one value must follow."""
    others = ("--fresh", "--help", "--overwrite", "--pairs", "--preview")
    return word.startswith("--") and "=" not in word and word not in others


COMMANDS = {
    "train": "learn, or go on learning (also without a command)",
    "apply": "restore pictures with the trained network",
    "evaluate": "measure the trained network against rivals",
    "export": "write the trained network for other programs",
}


def _parser(task, description, command):
    lines = [f"  {name:10}{text}" for name, text in COMMANDS.items()]
    more = f"\n\ncommands (python {task.name}.py COMMAND --help):\n" + "\n".join(lines)
    parser = argparse.ArgumentParser(
        prog=f"{task.name}.py" if command == "train" else f"{task.name}.py {command}",
        description=description.rstrip() + more if command == "train" else _help(task, command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _ARGUMENTS[command](parser, task)
    if command != "train":
        parser.add_argument(
            "--checkpoint", metavar="FILE", help="a .npz of a run [best.npz of the run]"
        )
    add_settings(parser, task.settings, [field.name for field in fields(task.settings)])
    return parser


def add_settings(parser, cls, names):
    """Add settings of a class of configure.py to a parser, each as an option."""
    group = parser.add_argument_group("settings of configure.py, for this start only")
    comments = comments_of(cls)
    for setting in fields(cls):
        if setting.name in names:
            default = as_text(setting.default)
            group.add_argument(
                option_of(setting.name),
                dest=f"setting_{setting.name}",
                metavar=kind_name(setting.type),
                help=f"{comments.get(setting.name, '')} [{default}]".replace("%", "%%"),
            )


def settings_from(cls, options, extra):
    """Return the settings that the options of `add_settings` make, and the texts of those given.

    extra : list of str
        Words that are no option. They and all mistakes are a UserError.
    """
    options = vars(options)
    offered = [f.name for f in fields(cls) if f"setting_{f.name}" in options]
    texts = {name: options[f"setting_{name}"] for name in offered}
    given = {name: text for name, text in texts.items() if text is not None}
    return from_texts(cls, given, extra, offered), given


_STATUS = """
Exit status: 0 done, 1 nothing could be done, 2 wrong arguments, 130 stopped by Ctrl-C.
"""

_APPLY_CLOUDS = """Restore pictures of any size with the trained network.

For a.png the folder --out gets a.png and a_opacity.png (8-bit grey, white is opaque), of the same
size; a folder's sub-folders are kept. PNG, TIFF and BMP keep their format, others become PNG; types
stay, and what a file carries goes along: georeference, EXIF, further bands. Pixels whose found
opacity is below clear_below, or that are no ground (nodata, alpha 0), come out bit for bit."""

_APPLY_HOLES = """Fill the holes of pictures of any size with the trained network.

Where a picture is missing is told by a mask (--holes) of the same name, or a_mask.png, or
a_opacity.png as mod_defog.py writes it; without --holes by its transparent pixels; without these by
a colour: what is exactly hole_colour. Where masks leave a rim
of cloud, hole_margin_px lets holes grow. Of a huge picture only the parts around its holes are
worked on; one without anything missing goes out as it came.

For a.png the folder --out gets a.png, of the same size, opaque where it was filled; a folder's
sub-folders are kept. PNG, TIFF and BMP keep their format, others become PNG; types stay, and what a
file carries goes along. Pixels outside the holes come out bit for bit as they went in."""

_APPLY_WHOLE = """Restore pictures of any size with the trained network.

For a.png the folder --out gets a.png, of the same size; a folder's sub-folders are kept. PNG, TIFF
and BMP keep their format, others become PNG; types stay, and what a file carries goes along:
georeference, EXIF, further bands, pixels that are no ground (nodata, alpha 0)."""

_EVALUATE = """

On samples made of the held-out pictures of the run, the same every time, or of those of --data;
or on pictures with a clear one each, --pairs.
"""


def _help(task, command):
    """Return what a command does for a script, as text."""
    if command == "apply":
        clouds = _APPLY_CLOUDS if task.kind.finds_opacity else _APPLY_WHOLE
        return (_APPLY_HOLES if task.kind.takes_hole else clouds) + _STATUS
    if command == "evaluate":
        return task.measure.help + _EVALUATE
    inputs = ", ".join(f'"{n}" (.., {channels})' for n, channels in task.kind.given.items())
    outputs = ", ".join(f'"{n}" (.., {channels})' for n, channels in task.kind.found.items())
    holes = '\nHoles are 1 where the picture is missing, and there "holed" is 0.'
    note = holes * task.kind.takes_hole
    return f"""Write the trained network as one file (or folder) for other programs.

Pictures are float32 (batch, height, width, channels), 0..1, sides multiples of 32 and 64 or more.
In: {inputs}. Out: {outputs}.{note}
Of the formats qgis is ONNX for QGIS's plug-in Deepness: planes come first, in tiles of one size.
Before it says done, the file is read back and compared with the network on a real picture.
"""


def _arguments_of_train(parser, task):
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew; the old run moves to the history folder"
    )
    parser.add_argument(
        "--from",
        dest="begin_with",
        metavar="FILE",
        help="a new run begins with the networks of this .npz; weights: those of the project",
    )


def _arguments_of_apply(parser, task):
    parser.add_argument("sources", nargs="+", metavar="FILE-or-FOLDER", help="what to restore")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    _holes(parser, task)
    parser.add_argument("--overwrite", action="store_true", help="write existing outputs anew")


def _arguments_of_evaluate(parser, task):
    parser.set_defaults(conditions=False, masks=None)
    parser.add_argument("--data", metavar="DIR", help="clear pictures to make samples of")
    if task.measure.conditions:
        text = f"samples under each condition: {', '.join(task.measure.conditions)}"
        parser.add_argument("--conditions", action="store_true", help=text)
    damaged = next(iter(task.kind.given)).upper()
    parser.add_argument(
        "--pairs", nargs=2, metavar=(damaged, "CLEAR"), help="two folders, partners by name"
    )
    text = "fit a gain and an offset a channel to the clear picture first: dates differ in sun"
    parser.add_argument("--fit", action="store_true", help=text)
    _holes(parser, task)
    if task.kind.finds_opacity:
        text = "cloudy pictures, and masks: 0 clear, 1 thick, 2 thin, 3 shadow; or 0 and 255"
        parser.add_argument("--masks", nargs=2, metavar=("PICTURES", "MASKS"), help=text)
    text = "how many samples [validation_samples], under each condition; or pairs or masks [all]"
    parser.add_argument("--count", type=int, metavar="N", help=text)
    parser.add_argument("--csv", metavar="FILE", help="a row a picture [evaluation.csv of the run]")


def _holes(parser, task):
    parser.set_defaults(holes=None)
    if task.kind.takes_hole:
        text = "masks with the pictures' names, perhaps beside them, or one; white is missing"
        parser.add_argument("--holes", metavar="FOLDER-or-FILE", help=text)


def _arguments_of_export(parser, task):
    formats = ["keras", "savedmodel", "onnx", "qgis", "litert", "weights"]
    parser.add_argument("--format", required=True, choices=formats)
    parser.add_argument("--out", required=True, metavar="PATH", help="file or folder to write")


_ARGUMENTS = {
    "train": _arguments_of_train,
    "apply": _arguments_of_apply,
    "evaluate": _arguments_of_evaluate,
    "export": _arguments_of_export,
}


# What a command does with a network; what does not fit is refused before one is loaded.


def _apply(options):
    from util.use.apply import apply

    return lambda network: apply(
        network, options.sources, options.out, overwrite=options.overwrite, holes=options.holes
    )


def _evaluate(options):
    from util.use.evaluate import evaluate

    ways = [f"--{n}" for n in ("data", "conditions", "pairs", "masks") if getattr(options, n)]
    if len(ways) > 1 and ways != ["--data", "--conditions"]:
        raise UserError(f"{' and '.join(ways)} exclude each other: give one of them")
    if options.fit and not options.pairs:
        raise UserError("--fit belongs to --pairs; samples have the light of their own ground")
    if options.holes and not options.pairs:
        raise UserError("--holes belongs to --pairs; samples have holes of their own")
    check_count(options.count)
    names = ("data", "conditions", "pairs", "fit", "holes", "masks", "count")
    how = {name: getattr(options, name) for name in names}
    return lambda network: evaluate(network, csv_file=options.csv, **how)


def check_count(count):
    """Raise UserError unless the count of samples, if any, is 1 or more."""
    if count is not None and count < 1:
        raise UserError(f"--count {count}: must be 1 or more")


def _export(options):
    from util.use.export import export

    return lambda network: export(network, options.format, Path(options.out))


_USE = {"apply": _apply, "evaluate": _evaluate, "export": _export}


def _use(task, settings, command, options, given):
    from util.use import trained

    work = _USE[command](options)
    if command == "export":  # the same numbers wherever the file goes
        settings = replace(settings, precision="float32")
    with trained.choose_device(settings).scope():
        return work(trained.load(task, settings, options.checkpoint, given))


def _train(task, settings, fresh, begin_with):
    from util.run import machines
    from util.run.folder import RunFolder, weights_file
    from util.train import loop

    if begin_with == "weights":
        begin_with = weights_file(task)
    strategy = machines.choose_strategy(settings.devices)
    machines.set_precision(settings.precision)
    if not machines.is_chief(strategy):
        return loop.train(task, settings, strategy, begin_with, fresh)
    run = RunFolder(task.name, settings)
    with run.held():
        if not fresh:
            run.compare()
        return loop.train(task, settings, strategy, begin_with, fresh)
