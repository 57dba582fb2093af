"""Write docs/results.md from the tables in docs/results/.

    python docs/results.py            write docs/results.md anew
    python docs/results.py --check    exit with 1 if it is not what would be written

A table is one CSV file, and its place is that of its name among the others. Before its first row
stand lines "# key: value"; a line that goes on begins with "#" and three spaces or more:

    # section: Thin cloud               a heading; the same one is written once
    # title: mod_defog.py and a rival
    # commit: 053f4e1                   the code that was measured; several with ", " between
    # date: 2026-11-21                  or, where only that is known, "2026-11-21 to 2026-11-26"
    # command: python mod_defog.py      one line a command
    # text: What was measured, and in which units.
    # picture: ![hazy, dehazed, clear](mod_deblurgan.png)
    # note: What a reader must know to trust it; as many lines as there are notes.

`text`, `picture` and `note` may be left out, `command` and `note` may come again. Cells are written
as they stand, so they may hold Markdown.
"""

import csv
import re
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PAGE, TABLES = HERE / "results.md", HERE / "results"

NEEDED = ("section", "title", "commit", "date", "command")
REPEATED = ("command", "note")
KEYS = (*NEEDED, "text", "picture", "note")
RIGHT = {
    "commit": re.compile(r"[0-9a-f]{7,40}(, [0-9a-f]{7,40})*"),
    "date": re.compile(r"\d{4}-\d\d-\d\d( to \d{4}-\d\d-\d\d)?"),
}

TOP = """\
<!-- Written by docs/results.py from the files in docs/results/: change those, not this. -->

# Results

Every figure that this project claims, each with the commit whose code was measured, the date and
the command. A figure keeps its commit until it is measured again; where the code has changed since,
a note says so. Unless a table says otherwise the machine had two CPU cores and no GPU, and the
settings were those of `configure.py`. PSNR is in dB.

To add or mend a table, edit its CSV file and run `python docs/results.py`, which explains the
format at its top.
"""


class Table(NamedTuple):
    """One CSV file: its head (key -> text, or list of texts for REPEATED) and its rows of cells."""

    head: dict
    rows: list


def read(path):
    """Return the Table of a CSV file; ValueError, which names file and mistake, if it has one."""
    head, body, key = {}, [], None
    for line in path.read_text(encoding="utf-8").splitlines():
        if body or not line.startswith("#"):
            body.append(line)
        elif line.startswith("#   "):
            if key is None:
                raise ValueError(f"{path.name}: {line!r} goes on from nothing")
            head[key][-1] += " " + line[1:].strip()
        else:
            key, colon, value = (part.strip() for part in line[1:].partition(":"))
            if not colon or key not in KEYS:
                raise ValueError(f"{path.name}: {line!r} is not '# key: value'; keys: {KEYS}")
            if key in head and key not in REPEATED:
                raise ValueError(f"{path.name}: {key} stands there twice")
            head.setdefault(key, []).append(value)
    missing = [key for key in NEEDED if not all(head.get(key, [""]))]
    if missing:
        raise ValueError(f"{path.name}: its head lacks {', '.join(missing)}")
    for key, right in RIGHT.items():
        if not right.fullmatch(head[key][0]):
            raise ValueError(f"{path.name}: {key} = {head[key][0]!r} is not of the right form")
    rows = list(csv.reader(body))
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        raise ValueError(f"{path.name}: needs a header and rows, all of as many cells")
    return Table({k: v if k in REPEATED else v[0] for k, v in head.items()}, rows)


def markdown(table):
    """Return a table with its head as Markdown."""
    head = table.head
    commits = ", ".join(f"`{commit}`" for commit in head["commit"].split(", "))
    parts = [f"### {head['title']}"]
    parts += [head[key] for key in ("text", "picture") if key in head]
    parts.append(f"Measured at {commits}, {head['date']}, by")
    parts.append("\n".join(f"    {command}" for command in head["command"]))
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    parts.append("\n".join(lines))
    if "note" in head:
        parts.append("\n".join(f"- {note}" for note in head["note"]))
    return "\n\n".join(parts) + "\n"


def page(folder=TABLES):
    """Return the whole text of docs/results.md."""
    parts, section = [TOP], None
    for path in sorted(folder.glob("*.csv")):
        table = read(path)
        if table.head["section"] != section:
            section = table.head["section"]
            parts.append(f"## {section}\n")
        parts.append(markdown(table))
    return "\n".join(parts)


def main(arguments):
    """Write or check the page; return the exit status."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        text = page()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments:
        PAGE.write_text(text, encoding="utf-8", newline="\n")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is not what {TABLES.name}/ says: run python docs/results.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
