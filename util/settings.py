"""Settings: their rules, from text to value, their help, and what changed between two starts.

configure.py holds the values; beside them stands one row a setting, made by `row`: what kind of
setting it is, and its rule. The standard library is enough for this file, so that importing
configure.py costs nothing.
"""

import os
import sys
from collections import namedtuple  # typing takes a quarter of this file's time to import
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from math import isfinite

from util.say import UserError

# Kinds of settings: what a change between two starts of one run means.
FIXED = "fixed"  # networks or split depend on it: it cannot change within a run
OTHER_SAMPLES = "other samples"  # from there on the samples are others
HERE = "here"  # of this machine and this start alone: a checkpoint's own value means nothing
AT_ONCE = "at once"  # counts from the next step on


def settings_class(cls):
    """Return a class as a dataclass whose methods are those of `Settings`, lists made tuples.

    To generate the methods for nine classes of up to sixty fields took most of the time in which
    configure.py is imported. A list may stand for a tuple, but is no default to a dataclass.
    """
    for name, value in list(vars(cls).items()):
        if isinstance(value, list):
            setattr(cls, name, tuple(value))
    return dataclass(cls, init=False, repr=False, eq=False)


class Settings:
    """Hold settings, each with its default, none of which can change.

    rows : dict name -> Row
    renamed : dict name -> name
        What settings were called before.
    unsaid : dict name -> value
        What a setting was, before it existed or while its default was another one, in runs and
        checkpoints of that time.
    presets : dict preset -> dict name -> value
        What one word sets; beside them is "ours", which leaves all as it is.
    instead : dict name -> name
        Options, each with the setting of a preset or of configure.py whose place it takes: that
        is nothing then, unless it is an option as well.
    """

    rows, renamed, unsaid, presets, instead = {}, {}, {}, {}, {}

    def __init__(self, **values):
        known = {field.name: field.default for field in fields(self)}
        if unknown := values.keys() - known:
            raise TypeError(f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}")
        vars(self).update(known | values)

    def __setattr__(self, name, value):
        raise FrozenInstanceError(f"{name} cannot change; use dataclasses.replace")

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in vars(self).items())})"


class Rule(namedtuple("Rule", "right remedy beside", defaults=[()])):
    """What a value must fulfil.

    right : callable
        ``right(value, settings) -> bool``
    remedy : str or callable
        What the value must be; a callable gets the settings.
    beside : tuple of str
        Settings that it is compared with; they must be right themselves before it is asked.
    """


Row = namedtuple("Row", "kind rules")  # of a setting
_NO_SETTING = Row(None, ())


def row(kind, *rules):
    """Return the row of a setting."""
    return Row(kind, rules)


def rule(right, remedy):
    """Return a rule for a value by itself: ``right(value) -> bool``, and what it must be."""
    return Rule(lambda value, settings: right(value), remedy)


def between(low, high):
    """Return the rule of a number within limits."""
    return rule(lambda v: low <= v <= high, f"must lie between {low} and {high}")


def at_least(low):
    """Return the rule of a number without an upper limit."""
    return rule(lambda v: v >= low, f"must be {low} or more")


def one_of(*names):
    """Return the rule of a choice."""
    return rule(lambda v: v in names, f"must be one of: {', '.join(map(str, names))}")


def range_within(low, high):
    """Return the rule of two numbers that make a range."""
    return rule(
        lambda v: low <= v[0] <= v[1] <= high,
        f"must be two numbers, the smaller one first, between {low} and {high}",
    )


def row_of(cls, name):
    """Return the row of a setting of a class: that of "Class.name" where it has one of its own."""
    own = (f"{c.__name__}.{name}" for c in cls.__mro__)
    return cls.rows.get(next((key for key in own if key in cls.rows), name), _NO_SETTING)


# --- mistakes -----------------------------------------------------------------------------------


def names_here(cls):
    """Return the names of a class's settings that belong to this machine and this start alone."""
    return [name for name in vars(cls()) if row_of(cls, name).kind == HERE]


def mistakes(settings):
    """Return every mistake in the settings, a line each with its remedy; an empty list if none.

    Parameters
    ----------
    settings : an object of one of configure.py's classes
    """
    found, sound = _strange(type(settings)), set()
    for beside in (False, True):  # rules that compare settings come after all others
        for field in fields(settings):
            name, value = field.name, getattr(settings, field.name)
            if not beside and not _is_a(field.type, value):
                found.append(f"{name} = {value!r}: must be of type {_type_name(field.type)}")
                continue
            for right, remedy, others in row_of(type(settings), name).rules:
                asked = bool(others) == beside and (not beside or sound >= {name, *others})
                if asked and not right(value, settings):
                    remedy = remedy(settings) if callable(remedy) else remedy
                    found.append(f"{name} = {value!r}: {remedy}")
                    break
            else:
                if not beside:  # the second round adds nobody: others are compared with the first
                    sound.add(name)
    return found


def _strange(cls):
    """Return a line for each name in a class that is no setting, and each value without a type."""
    types = {f.name: f.type for f in fields(cls)}
    bare = {
        name: value
        for part in cls.__mro__
        for name, value in vars(part).items()
        if isinstance(value, (bool, int, float, str, tuple, list))
        and not (name.startswith("_") or name in part.__annotations__)
    }
    # By its row: where a class lost its type, and none has it before, it is no field.
    known = [name for name in {**types, **bare} if row_of(cls, name) is not _NO_SETTING]
    found = [f"{n}: is no setting{_near(n, known)}" for n in {**types, **bare} if n not in known]
    return found + [
        f"{name} = {value!r}: does nothing without its type; write {name}: "
        f"{_type_name(types.get(name) or _type_of(value))} = {value!r}"
        for name, value in bare.items()
        if name in known
    ]


def _type_of(value):
    return tuple[tuple(map(type, value))] if isinstance(value, tuple) else type(value)


def _type_name(kind):
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _near(word, names):
    import difflib

    near = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _is_a(kind, value):
    """Tell whether a value is of a setting's type; an int may stand for a float, a bool may not."""
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (str, bool):
        return isinstance(value, kind)
    inner = kind.__args__
    return (
        isinstance(value, (tuple, list))
        and len(value) == len(inner)
        and all(_is_a(part, v) for part, v in zip(inner, value, strict=True))
    )


# --- from text to value, and back ---------------------------------------------------------------


def from_texts(cls, texts, unknown=(), offered=()):
    """Return the settings of a command line.

    Parameters
    ----------
    cls : one of configure.py's classes
    texts : dict name -> str
        What was set, also against a preset; folders and files are meant from where the user is,
        those of configure.py from the folder of that file.
    unknown : iterable of str
        Words that are no option.
    offered : iterable of str
        Settings that are, of which one may have been meant.

    Raises
    ------
    UserError
        With all mistakes at once, a line each with its remedy.
    """
    preset = cls.presets.get(texts.get("preset", cls.preset), {})
    types = {f.name: f.type for f in fields(cls)}
    replaced = [cls.instead[name] for name in texts if name in cls.instead]
    # Not its default either: that is what configure.py says, which the option goes before.
    values = preset | {name: types[name]() for name in replaced}
    found = [f"{word}: not understood{_meant(cls, offered, word)}" for word in unknown]
    for name, text in texts.items():
        try:
            values[name] = _parsed(types[name], text)
        except ValueError:
            found.append(f"{option_of(name)} {text}: must be {kind_name(types[name])}")
    settings = cls(**values)
    found += mistakes(settings)
    if found:
        lines = "\n  ".join(found)
        raise UserError(
            f"{len(found)} mistake(s) in the settings (configure.py or command line):\n  {lines}"
        )
    places = {}
    for field in fields(cls):
        text = getattr(settings, field.name)
        # Where nothing is the usual, it stays nothing.
        if field.name.endswith(("_folder", "_file")) and (text or field.default):
            base = os.getcwd() if field.name in texts else home_of(cls)
            places[field.name] = _place(base, text)
    return replace(settings, **places)


def _place(base, text):
    return os.path.realpath(os.path.join(base, os.path.expanduser(text)))


def is_usual(settings, name):
    """Tell whether a folder or file of the settings is that of configure.py."""
    cls = type(settings)
    return _place("", getattr(settings, name)) == _place(home_of(cls), getattr(cls, name))


def home_of(cls):
    """Return the folder of the file that a class of settings stands in: the project's."""
    return os.path.dirname(os.path.realpath(sys.modules[cls.__module__].__file__))


def option_of(name):
    """Return a setting's name as a word of the command line."""
    return f"--{name.replace('_', '-')}"


def _meant(cls, offered, word):
    if word.startswith("-") and os.path.lexists(word):
        return f"; if the file is meant: ./{word}, or -- before it"
    said = word.split("=")[0].replace("_", "-")
    for before, now in cls.renamed.items():
        if said == option_of(before) and now in offered:
            return f"; it is called {option_of(now)} now"
    return _near(said, map(option_of, offered)) or "; see --help"


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


def kind_name(kind):
    """Return what the command line calls a setting's type: "INT", "NUMBER,NUMBER"."""
    names = {int: "INT", float: "NUMBER", str: "TEXT", bool: "true|false"}
    return names.get(kind) or ",".join(names[part] for part in kind.__args__)


def as_text(value):
    """Return a value as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def comments_of(cls):
    """Return the comment beside each setting in configure.py: dict name -> text."""
    import inspect
    import io
    import tokenize

    comments = {}
    for part in reversed(cls.__mro__[:-1]):
        name = None
        source = inspect.getsource(part)
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and token.start[1] == 4:
                name = token.string
            elif token.type == tokenize.COMMENT and name and token.start[1] > 4:
                comments[name] = token.string.lstrip("# ")
            elif token.type == tokenize.NEWLINE:
                name = None
    return comments


# --- what was, and what is now ------------------------------------------------------------------


def with_new_names(cls, stored):
    """Return stored settings, dict name -> value, under the names that they have now."""
    named = {cls.renamed.get(name, name): value for name, value in stored.items()}
    return {**_as_json(cls.unsaid), **named} if named else {}


def changes(settings, before):
    """Return what changed since an earlier start: dict name -> (value before, value now).

    before : dict name -> value
        As JSON keeps them: lists for tuples.
    """
    now = {f.name: getattr(settings, f.name) for f in fields(settings)}
    return {n: (before[n], v) for n, v in _as_json(now).items() if n in before and before[n] != v}


def _as_json(values):
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
