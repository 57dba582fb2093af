"""Data sets made ready and checked, before any training; originals stay as they are.

    python prepare_data.py noaa FOLDER --out DIR      colour infrared of cloud -> cloud layers
    python prepare_data.py layers FOLDER --out DIR    alpha, or values of a raster -> cloud layers
    python prepare_data.py cut CLOUDY --clear CLEAR --out DIR      cloud cut out of pairs
    python prepare_data.py check FOLDER               is it fit to be trained and measured on?
    python prepare_data.py split FOLDER               train.txt, val.txt: a split to be repeated
    python prepare_data.py noaa --help                every option, of each command

Cloud layers are grey PNGs whose brightness is opacity, for cloud_folder; cut-outs have the cloud's
own light, too, for cut_folder. What exists is kept, so the same command goes on where it was
stopped. docs/data.md tells more.
"""

if __name__ == "__main__":
    from util import interrupt

    interrupt.listen()  # first: Ctrl-C is heard while libraries load

import argparse
from functools import partial

from configure import Common
from util import command
from util.say import UserError, say_first

COMMANDS = {
    "noaa": """Make cloud layers of colour infrared: the colder a cloud's top, the more opaque.

NOAA's colours are grey where cloud is thin, yellow to red where it is thick; --table names those of
another enhancement: a text file, a line "red green blue" (0 to 255) a colour, from clear to opaque,
of which the nearest counts. White border lines are found by their colour and width, and replaced by
what is beside them.""",
    "layers": """Make cloud layers of what holds opacity already.

Alpha alone counts where it is soft or the picture is in colour, else brightness. With --limits it
is the first band between two values, such as temperatures or probabilities, in the file's own
numbers.""",
    "cut": """Cut real cloud out of pictures, known what is beneath it, for cut_folder.

FOLDER holds cloudy pictures, --clear the same places without cloud, of the same names and sizes
and of a near date. Cloud is what is brighter there in all channels. Look at DIR/light/ and
DIR/opacity/: what is no cloud, such as a harvested field, can be painted black in the latter.""",
    "check": """Look through clear pictures before they are trained on.

Says how many there are and how large, which are unreadable, which are there twice (the same file,
or nearly the same by a perceptual hash: another size, compression or light, but not another crop or
turn), which have no partner of their size, and which are on both sides: trained on and held back,
or in FOLDER and in the folder after --against.

Exit status: 0 fit; 1 not fit: something is unreadable, other than its list says, without a partner,
or on both sides, or nothing of a side is usable.""",
    "split": """Write train.txt, val.txt and perhaps test.txt into a folder of pictures.

A line a picture, by its path there. Training keeps to the first two where they are
(validation_by = list or auto) and never sees the third; "evaluate --data FOLDER/test.txt" measures
on it. Pictures that check calls the same, or nearly, go into one list; by scene, so do all of their
scenes. With --hashes the lines are those of sha256sum, and check compares them with the files.""",
}


def run(arguments):
    """Run the command line; return its exit status."""
    word, arguments = command.command_of(arguments, COMMANDS, None)
    parser = argparse.ArgumentParser(
        prog=f"prepare_data.py {word or ''}".rstrip(),
        description=COMMANDS.get(word, __doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if word is None:
        parser.parse_known_args(arguments)  # --help ends here
        raise UserError(f"give a command: {', '.join(COMMANDS)}; --help tells more")
    parser.add_argument("folder", metavar="FOLDER", help="pictures, with sub-folders")
    _ARGUMENTS[word](parser)
    command.add_settings(parser, Common, _SETTINGS[word])
    options, extra = parser.parse_known_intermixed_args(arguments)
    settings, _ = command.settings_from(Common, options, extra)
    with command.cut_short("prepare_data"):
        return _WORK[word](options, settings)


# --- noaa, layers and cut ------------------------------------------------------------------------


def _arguments_of_noaa(parser):
    text = "colours of another enhancement, from clear to opaque [NOAA's]"
    parser.add_argument("--table", metavar="FILE", help=text)
    text = "greatest width of the white lines; 0 = there are none [%(default)s]"
    parser.add_argument("--line-px", type=_number(0, 100), default=3, metavar="N", help=text)
    _arguments_of_output(parser)


def _arguments_of_layers(parser):
    text = "values of no cloud and of opaque cloud: 0,1, or 290,220 where cold is thick"
    parser.add_argument("--limits", type=_limits, metavar="CLEAR,OPAQUE", help=text)
    _arguments_of_output(parser)


def _arguments_of_cut(parser):
    text = "the same pictures without cloud"
    parser.add_argument("--clear", required=True, metavar="DIR", help=text)
    _arguments_of_out(parser)


def _arguments_of_out(parser):
    text = "folder for what is made"
    parser.add_argument("--out", required=True, metavar="DIR", help=text)
    text = "make anew what exists"
    parser.add_argument("--overwrite", action="store_true", help=text)


def _arguments_of_output(parser):
    _arguments_of_out(parser)
    text = "rows cut off at the bottom, such as a caption (source 20) [%(default)s]"
    parser.add_argument("--bottom-px", type=_number(0, 10_000), default=0, metavar="N", help=text)
    text = "half the size (source); then --preset source needs --cloud-window-px 128,128"
    parser.add_argument("--half", action="store_true", help=text)
    text = "side of a box to smooth with, as training does too (source 5) [none]"
    parser.add_argument("--blur-px", type=_number(0, 100), default=0, metavar="N", help=text)
    text = "from the least to the greatest opacity of each, as training does of its windows"
    parser.add_argument("--stretch", action="store_true", help=text)


def _noaa(options, settings):
    from util.prepare import noaa

    colours = noaa.read_table(options.table) if options.table else None

    def opacity_of(path):
        pixels = noaa.read_pixels(path, settings.max_pixels)
        return noaa.opacity_of(pixels, colours, options.line_px)

    return _layers_of(options, opacity_of)


def _layers(options, settings):
    from util.prepare.layers import opacity_of_layer

    how = {"limits": options.limits, "max_pixels": settings.max_pixels, "dim": []}
    status = _layers_of(options, partial(opacity_of_layer, **how))
    say_first(how["dim"])
    return status


def _layers_of(options, opacity_of):
    from util.prepare.layers import Finish, make_layers

    finish = Finish(options.bottom_px, options.half, options.blur_px, options.stretch)
    how = {"overwrite": options.overwrite}
    return make_layers(options.folder, options.out, opacity_of, finish, **how)


def _cut(options, settings):
    from util.prepare.cutouts import make_cutouts

    how = {"max_pixels": settings.max_pixels, "full_scale": settings.full_scale or None}
    folders = options.folder, options.clear, options.out
    return make_cutouts(*folders, overwrite=options.overwrite, **how)


# --- check --------------------------------------------------------------------------------------


def _arguments_of_check(parser):
    text = "the clear pictures' hazy or cloudy partners, found by name as in training"
    parser.add_argument("--hazy", metavar="DIR", help=text)
    text = "pictures that none of FOLDER may show, such as a test set"
    parser.add_argument("--against", metavar="DIR", help=text)


def _check(options, settings):
    from util.prepare.check import check

    return check(options.folder, settings, hazy=options.hazy, against=options.against)


# --- split --------------------------------------------------------------------------------------


def _arguments_of_split(parser):
    text = "share of all that is tested on, chosen like validation's, such as 0.1 [none]"
    parser.add_argument("--test-share", type=_share, default=0.0, metavar="SHARE", help=text)
    text = "write each file's SHA-256 before its name"
    parser.add_argument("--hashes", action="store_true", help=text)
    parser.add_argument("--overwrite", action="store_true", help="write lists anew that exist")


def _split(options, settings):
    from util.prepare.lists import write_lists

    how = {name: getattr(options, name) for name in ("test_share", "hashes", "overwrite")}
    return write_lists(options.folder, settings, **how)


# --- words of the command line ------------------------------------------------------------------


def _number(low, high):
    """Return a function that turns text into a whole number within limits."""

    def number(text):
        if not (text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text}: must be a number from {low} to {high}")
        return int(text)

    return number


def _share(text):
    """Turn ".1" into 0.1."""
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a share from 0 on, below 1")
    return share


def _limits(text):
    """Turn "290,220" into (290.0, 220.0)."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0
    if not 1e-30 <= abs(high - low) <= 1e30:  # layers are made in float32; NaN and infinity fail
        raise argparse.ArgumentTypeError(f"{text}: must be two numbers that differ, such as 0,1")
    return low, high


_ARGUMENTS = {
    "noaa": _arguments_of_noaa,
    "layers": _arguments_of_layers,
    "cut": _arguments_of_cut,
    "check": _arguments_of_check,
    "split": _arguments_of_split,
}
_SETTINGS = {
    "noaa": ["max_pixels"],
    "layers": ["max_pixels"],
    "cut": ["max_pixels", "full_scale"],
    "check": ["crop_px", "validation_by", "validation_share", "max_pixels", "full_scale"],
    "split": ["validation_by", "validation_share", "max_pixels", "full_scale"],
}
_WORK = {"noaa": _noaa, "layers": _layers, "cut": _cut, "check": _check, "split": _split}


if __name__ == "__main__":
    command.exit_with("prepare_data", run)
