"""The command line that every script shares: train, apply, evaluate, export, and overrides."""

import argparse
import inspect
import io
import json
import re
import sys
import tokenize
from dataclasses import asdict, fields, replace
from pathlib import Path

import configure
from util import files, interrupt
from util.say import UserError, say

PROJECT = Path(configure.__file__).resolve().parent


def main(task, description, arguments=None):
    """Run a script's command line and exit with its status.

    0: done, or stopped by Ctrl-C. 1: it went wrong on the way. 2: a setting, file or argument is
    wrong. 143: stopped by SIGTERM. 130: Ctrl-C has cut apply, evaluate or export short, so that a
    script which needs their outputs does not go on without them.
    """
    interrupt.listen()
    try:
        status = _run(task, description, sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        say(*f"{task.name}: {error}".split("\n"))
        status = 2
    raise SystemExit(status)


def _run(task, description, arguments):
    command, arguments = _command_of(_joined(arguments))
    parser = _parser(task, description, command)
    options, extra = parser.parse_known_args(arguments)
    misplaced = [word for word in extra if word in COMMANDS]
    if misplaced:
        raise UserError(f"the command comes first: python {task.name}.py {misplaced[0]} ...")
    settings = _settings(task, options, extra)
    if command == "train":
        return _train(task, settings, options.fresh)
    names = [f.name for f in fields(task.settings)]
    given = [name for name in names if getattr(options, f"setting_{name}") is not None]
    try:
        return _WORK[command](task, settings, options, given)
    except SystemExit:
        if interrupt.requested():
            say("", f"{task.name}: stopped; files that were finished are whole")
            raise SystemExit(interrupt.exit_status() or 130) from None
        raise


def _command_of(arguments):
    """Return the command, "train" if none is named, and the arguments without it."""
    for i, word in enumerate(arguments):
        if word in COMMANDS:
            return word, arguments[:i] + arguments[i + 1 :]
        if not (word.startswith("--") and "=" in word):
            break
    return "train", arguments


def _joined(arguments):
    """Return the arguments with ``--name -0.1,0.2`` as one word: argparse would see two options."""
    joined = []
    for word in arguments:
        negative = re.match(r"-[\d.]", word)
        if negative and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


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
    group = parser.add_argument_group("settings of configure.py, for this start only")
    comments = comments_of(task.settings)
    for setting in fields(task.settings):
        default = _as_text(setting.default)
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            dest=f"setting_{setting.name}",
            metavar=_kind_name(setting.type),
            help=f"{comments.get(setting.name, '')} [{default}]".replace("%", "%%"),
        )
    return parser


_STATUS = """
Exit status: 0 done, 1 nothing could be done, 2 wrong arguments, 130 stopped by Ctrl-C.
"""

_APPLY_CLOUDS = """Restore pictures of any size with the trained network.

For a.png the folder --out gets a.png and a_opacity.png (8-bit grey, white is opaque), of the same
size; a folder's sub-folders are kept. PNG, TIFF and BMP keep their format, 16 bits stay 16; others
become PNG. Pixels whose found opacity is below clear_below come out bit for bit as they went in."""

_APPLY_HOLES = """Fill the holes of pictures of any size with the trained network.

Where a picture is missing is told by a mask of the same name (--holes); without --holes by its
transparent pixels; without these by a colour: what is exactly hole_colour. Where masks leave a rim
of cloud, hole_margin_px lets holes grow. Of a huge picture only the parts around its holes are
worked on; one without anything missing goes out as it came.

For a.png the folder --out gets a.png, of the same size, without transparency; a folder's
sub-folders are kept. PNG, TIFF and BMP keep their format, 16 bits stay 16; others become PNG.
Pixels outside the holes come out bit for bit as they went in."""

_APPLY_WHOLE = """Restore pictures of any size with the trained network.

For a.png the folder --out gets a.png, of the same size; a folder's sub-folders are kept. PNG, TIFF
and BMP keep their format, 16 bits stay 16; others become PNG."""

_EVALUATE = """

Without --data and --pairs on the held-out pictures of the run, the same samples every time.
"""


def _help(task, command):
    """Return what a command does for a script, as text."""
    if command == "apply":
        clouds = _APPLY_CLOUDS if task.finds_opacity else _APPLY_WHOLE
        return (_APPLY_HOLES if task.takes_hole else clouds) + _STATUS
    if command == "evaluate":
        return task.evaluation.help + _EVALUATE
    inputs = ", ".join(f'"{n}" (.., {channels})' for n, channels in task.inputs.items())
    outputs = ", ".join(f'"{n}" (.., {channels})' for n, channels in task.outputs.items())
    note = '\nHoles are 1 where the picture is missing, and there "holed" is 0.' * task.takes_hole
    return f"""Write the trained network as one file (or folder) for other programs.

Pictures are float32 (batch, height, width, channels), 0..1, sides multiples of 32 and 64 or more.
In: {inputs}. Out: {outputs}.{note}
Before it says done, the file is read back and compared with the network on a real picture.
"""


def _arguments_of_train(parser, task):
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew; the old run moves to the history folder"
    )


def _arguments_of_apply(parser, task):
    parser.add_argument("sources", nargs="+", metavar="FILE-or-FOLDER", help="what to restore")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    _holes(parser, task)
    parser.add_argument("--overwrite", action="store_true", help="write existing outputs anew")


def _arguments_of_evaluate(parser, task):
    parser.add_argument("--data", metavar="DIR", help="clear pictures to make samples of")
    damaged = next(iter(task.inputs)).upper()
    parser.add_argument(
        "--pairs", nargs=2, metavar=(damaged, "CLEAR"), help="two folders with equal names"
    )
    _holes(parser, task)
    parser.add_argument(
        "--count", type=int, metavar="N", help="how many samples [validation_samples]; or pairs"
    )
    parser.add_argument("--csv", metavar="FILE", help="a row a picture [evaluation.csv of the run]")


def _holes(parser, task):
    if task.takes_hole:
        parser.add_argument(
            "--holes",
            metavar="FOLDER-or-FILE",
            help="masks with the pictures' names, or one for all; white is missing",
        )


def _arguments_of_export(parser, task):
    parser.add_argument(
        "--format", required=True, choices=["keras", "savedmodel", "onnx", "litert"]
    )
    parser.add_argument("--out", required=True, metavar="PATH", help="file or folder to write")


_ARGUMENTS = {
    "train": _arguments_of_train,
    "apply": _arguments_of_apply,
    "evaluate": _arguments_of_evaluate,
    "export": _arguments_of_export,
}


def _apply(task, settings, options, given):
    from util.use import apply, trained

    with trained.choose_device(settings).scope():
        network = trained.load(task, settings, options.checkpoint, given)
        return apply.apply(
            network,
            options.sources,
            options.out,
            overwrite=options.overwrite,
            holes=getattr(options, "holes", None),
        )


def _evaluate(task, settings, options, given):
    from util.use import evaluate, trained

    if options.data and options.pairs:
        raise UserError("--data and --pairs exclude each other: give one of them")
    holes = getattr(options, "holes", None)
    if holes and not options.pairs:
        raise UserError("--holes belongs to --pairs; samples have holes of their own")
    if options.count is not None and options.count < 1:
        raise UserError(f"--count {options.count}: must be 1 or more")
    with trained.choose_device(settings).scope():
        network = trained.load(task, settings, options.checkpoint, given)
        return evaluate.evaluate(
            network,
            data=options.data,
            pairs=options.pairs,
            holes=holes,
            count=options.count,
            csv_file=options.csv,
        )


def _export(task, settings, options, given):
    from util.use import export, trained

    with trained.choose_device(settings).scope():
        network = trained.load(task, settings, options.checkpoint, given)
        return export.export(network, options.format, Path(options.out), PROJECT)


_WORK = {"apply": _apply, "evaluate": _evaluate, "export": _export}


def comments_of(settings_class):
    """Return the comment beside each setting in configure.py: dict name -> text."""
    comments = {}
    for cls in reversed(settings_class.__mro__[:-1]):
        name = None
        source = inspect.getsource(cls)
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and token.start[1] == 4:
                name = token.string
            elif token.type == tokenize.COMMENT and name and token.start[1] > 4:
                comments[name] = token.string.lstrip("# ")
            elif token.type == tokenize.NEWLINE:
                name = None
    return comments


def _settings(task, options, extra):
    """Return the settings with the overrides of the command line, or raise with all mistakes."""
    values, found = {}, []
    if extra:
        known = [f"--{f.name.replace('_', '-')}" for f in fields(task.settings)]
        for word in extra:
            found.append(f"{word}: not understood{_meant(word, known)}")
    for setting in fields(task.settings):
        text = getattr(options, f"setting_{setting.name}")
        if text is None:
            continue
        try:
            values[setting.name] = _parsed(setting.type, text)
        except ValueError:
            option = f"--{setting.name.replace('_', '-')}"
            found.append(f"{option} {text}: must be {_kind_name(setting.type)}")
    settings = task.settings(**values)
    found += configure.mistakes(settings)
    if found:
        lines = "\n  ".join(found)
        raise UserError(
            f"{len(found)} mistake(s) in the settings (configure.py or command line):\n  {lines}"
        )
    # Where nothing is the usual, it stays nothing.
    places = {
        f.name
        for f in fields(task.settings)
        if f.name.endswith(("_folder", "_file")) and (getattr(settings, f.name) or f.default)
    }
    return replace(
        settings,
        **{
            name: str(_place(getattr(settings, name), Path.cwd() if name in values else PROJECT))
            for name in places
        },
    )


def _meant(word, known):
    import difflib

    near = difflib.get_close_matches(word.split("=")[0].replace("_", "-"), known, 1)
    return f"; did you mean {near[0]}?" if near else "; see --help"


def _place(text, base):
    return (base / Path(text).expanduser()).resolve()


def _parsed(kind, text):
    """Turn a word of the command line into a setting's type, or raise ValueError."""
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]
    if kind in (int, float, str):
        return kind(text.replace("_", "")) if kind is int else kind(text)
    parts = text.strip("()").split(",")
    if len(parts) != len(kind.__args__):
        raise ValueError(text)
    return tuple(_parsed(inner, part) for inner, part in zip(kind.__args__, parts, strict=True))


def _kind_name(kind):
    names = {int: "INT", float: "NUMBER", str: "TEXT", bool: "true|false"}
    return names.get(kind) or ",".join(names[part] for part in kind.__args__)


def _as_text(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


# --- train --------------------------------------------------------------------------------------


def _train(task, settings, fresh):
    from util.run import machines
    from util.train import loop

    strategy = machines.choose_strategy(settings.devices)
    machines.set_precision(settings.precision)

    def prepare(run_dir):
        if fresh:
            _to_history(run_dir, settings)
        _compare_settings(run_dir, settings)

    return loop.train(task, settings, strategy, prepare)


def _to_history(run_dir, settings):
    from util.run.history import move_to_history

    try:
        moved = move_to_history(run_dir, Path(settings.history_folder))
    except OSError as error:
        raise UserError(f"the old run could not be moved to the history: {error}") from None
    if moved:
        say(f"the old run is now in {moved}")


def _compare_settings(run_dir, settings):
    """Compare the settings with the run's; say what changed, refuse what cannot change.

    Raises
    ------
    UserError
        A setting that the networks' shapes depend on has changed.
    """
    file = run_dir / "settings.json"
    now = json.loads(json.dumps(asdict(settings)))
    before = _read_settings(file)
    changed = [n for n in now if n in before and before[n] != now[n]]
    refused = [n for n in changed if n in configure.SHAPE_SETTINGS]
    if refused:
        lines = "\n".join(f"  {n}: {before[n]!r} before, {now[n]!r} now" for n in refused)
        raise UserError(
            f"these settings cannot change within the run in {run_dir}:\n{lines}\n"
            "Put them back, or begin anew with --fresh (the old run moves to "
            f"{settings.history_folder})"
        )
    for name in changed:
        other = ", so other samples from here on" if name in configure.DATA_SETTINGS else ""
        say(f"{name}: {before[name]!r} before, {now[name]!r} now{other}")
    try:
        files.write(file, json.dumps(now, indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"{file}: cannot be written ({error.strerror}). Make room on the disk, or set "
            "runs_folder to a place that can be written"
        ) from None


def _read_settings(file):
    """Return the settings of the run, {} if it has none or the file is damaged.

    A damaged file is no reason to stop: the checkpoint's own fingerprint guards the networks.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
