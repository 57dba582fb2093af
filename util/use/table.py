"""Put rows of scores into words: tables, what is said below one, and the text of a CSV file.

rows : list of dict
    One a picture and method: "method", the scores, "seconds" and "memory_mb", and what else a CSV
    file is to hold.
measure : util.measure.evaluation.Evaluation
"""

import csv
import io
import math
import statistics

from util.measure.evaluation import KEPT, NETWORK, NOTHING, Column

_SUMMARIES = {"mean": statistics.fmean, "median": statistics.median, "most": max}


def grid(label, groups, rows):
    """Return an aligned table as lines: two of titles, a rule, and one a row.

    Parameters
    ----------
    label : str
        Title of the rows' names.
    groups : dict title -> list of Column
    rows : dict name -> list of list of float
        The values of each cell, which its column sums up, in the order of the columns.
    """
    first = max(map(len, (label, *rows)))
    titles = {t: " ".join(c.title.rjust(c.width) for c in cs) for t, cs in groups.items()}
    wide = {title: max(len(title), len(below)) for title, below in titles.items()}
    heads = [" " * first, *(f"{title:^{wide[title]}}" for title in groups)]
    below = [label.ljust(first), *(text.rjust(wide[title]) for title, text in titles.items())]
    lines = [" | ".join(heads), " | ".join(below)]
    lines.append("".join("+" if c == "|" else "-" for c in lines[1]))
    for name, cells in rows.items():
        cells, parts = iter(cells), [name.ljust(first)]
        for title, columns in groups.items():
            texts = [cell(next(cells), c)[: c.width].rjust(c.width) for c in columns]
            parts.append(" ".join(texts).rjust(wide[title]))
        lines.append(" | ".join(parts))
    return lines


def cell(values, column):
    """Return the mean, or what else sums up the column, of the values that are not nan, as text."""
    text = f"{summed_up(values, column):.{column.digits}f}"
    return text.removeprefix("0") or text


def summed_up(values, column):
    """Return what a column says of its values, as a float; nan where all are."""
    values = [value for value in values if not math.isnan(value)] or [math.nan]
    return _SUMMARIES[column.summary](values)


def table(rows, measure):
    """Return the table of an evaluation as lines: one a method, means over the pictures."""
    found, columns = measure.groups(rows), measure.columns
    groups = {title: list(columns.values()) for title in found}
    groups["s per"] = [Column("picture", 3, 7)]
    # The most of any picture: later ones use again what the first has taken.
    groups["MB"] = [Column("more", 0, 5, "most")]
    lines = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        scores = [[value(row, n) for row in mine] for value in found.values() for n in columns]
        lines[method] = [*scores, *([row[n] for row in mine] for n in ("seconds", "memory_mb"))]
    return grid("method", groups, lines)


def notes(rows, measure):
    """Return the lines below the table: list of str."""
    memory = (
        "MB more: the most by which the process grew during one picture, sampled; for the network "
        "its building included."
    )
    return [*measure.notes(rows), memory, *_better(rows)]


def _better(rows):
    """Return a line that counts the pictures that come out better than untouched, if any can."""
    found = {(row["method"], row["picture"]): row for row in rows}
    methods = {row["method"] for row in rows}
    if NOTHING not in methods or "psnr_whole" not in rows[0]:
        return []
    mine = KEPT if KEPT in methods else NETWORK
    pairs = [(row, found[NOTHING, row["picture"]]) for row in rows if row["method"] == mine]
    ssim, psnr = (sum(a[n] > b[n] for a, b in pairs) for n in ("ssim_whole", "psnr_whole"))
    return [f"{mine}: better than untouched in SSIM {ssim}, in PSNR {psnr} of {len(pairs)}."]


def csv_text(rows):
    """Return the rows as a CSV file, the names of the first one as its head; nan is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _field(value):
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
