"""Put rows of scores into words: the table, what is said below it, and the text of a CSV file.

rows : list of dict
    One a picture and method: "method", the scores, "seconds" and "memory_mb", and what else a CSV
    file is to hold.
measure : util.measure.evaluation.Evaluation
"""

import csv
import io
import math
import statistics


def table(rows, measure):
    """Return the table as aligned text: a line a method, means over the pictures."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    columns, groups = measure.columns, measure.groups(rows)
    wide = sum(column.width for column in columns.values()) + len(columns) - 1
    first = max(map(len, methods))
    titles = " | " + " ".join(column.title.rjust(column.width) for column in columns.values())
    lines = [
        " " * first + "".join(f" | {title:^{wide}}" for title in groups) + " |   s per |   MB",
        "method".ljust(first) + titles * len(groups) + " | picture | more",
    ]
    lines.append("".join("+" if c == "|" else "-" for c in lines[1]))
    for method in methods:
        mine = [row for row in rows if row["method"] == method]
        line = method.ljust(first)
        for value in groups.values():
            cells = (_cell([value(row, n) for row in mine], c) for n, c in columns.items())
            line += " | " + " ".join(cells)
        seconds = statistics.fmean(row["seconds"] for row in mine)
        # The most of any picture: later ones use again what the first has taken.
        memory = max(row["memory_mb"] for row in mine)
        lines.append(f"{line} | {seconds:7.3f} | {memory:4.0f}")
    return "\n".join(lines)


def _cell(values, column):
    """Return the mean or the median of the values that are not nan; nan where all are."""
    values = [value for value in values if not math.isnan(value)] or [math.nan]
    summary = statistics.median if column.summary == "median" else statistics.fmean
    text = f"{summary(values):.{column.digits}f}".removeprefix("0")
    return text[: column.width].rjust(column.width)


def notes(rows, measure):
    """Return the lines below the table: list of str."""
    memory = (
        "MB more: the most by which the process grew during one picture, sampled; for the network "
        "its building included."
    )
    return [*measure.notes(rows), memory]


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
