"""What a person sees of a run: progress bar, log.csv, TensorBoard, picture sheets, loss plot."""

import csv
import functools
import io
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from util import files
from util.run import draw
from util.say import printable, say

_PLAIN_LINE_EVERY_S = 30
_BAR = "{desc} {percentage:3.0f}%|{bar:20}| step {n_fmt} of {total_fmt}, left {remaining}{postfix}"


def _never_stops_training(what: str) -> Callable:
    """Return a decorator: the method does nothing on quiet workers and never raises."""

    def decorate(method: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(method)
        def guarded(self: "Report", *args, **kwargs) -> None:
            if self.quiet:
                return
            try:
                method(self, *args, **kwargs)
            except Exception as error:
                # Broad on purpose, and only here: disks, fonts, closed terminals, matplotlib and
                # TensorFlow fail with classes of their own, and none is worth losing a run for.
                self._complain(what, error)

        return guarded

    return decorate


class Report:
    """Show and record a training run; everything it writes lies under `run_dir`.

    Files: log.csv, losses.png, latest.png, sheets/step-*.png, tensorboard/. A report that fails
    says so in one line for each kind of failure, and training goes on.

    Parameters
    ----------
    run_dir : folder of the run, made when the first file is written
    title : name of the run on the bar, the sheets and the plot
    start_step, total_steps : the step that was restored (0 for a new run) and the last one;
        rows of log.csv newer than `start_step` are removed, because those steps come again
    batch_size : pictures a step, over all replicas
    quiet : print nothing and write nothing (workers other than the chief)
    """

    def __init__(self, run_dir, *, title, start_step, total_steps, batch_size, quiet=False):
        self.run_dir, self.title, self.quiet = Path(run_dir), printable(title), quiet
        self._batch_size, self._total_steps = batch_size, total_steps
        self._step, self._keep_to, self._time_before_s = start_step, start_step, 0.0
        self._log = self.run_dir / "log.csv"
        self._columns, self._row = [], {}  # of log.csv; the last row, which scores() may fill up
        self._row_at = self._row_end = 0  # its place in log.csv, in bytes
        self._mark = None  # step and time when the rate was measured
        self._rate = math.nan  # pictures a second, smoothed
        self._line_at, self._began = -math.inf, time.monotonic()
        self._said, self._bar, self._writer = set(), None, None
        self._continue_log()
        self._open_bar()

    @_never_stops_training("the progress bar")
    def step(self, step: int) -> None:
        """Advance the bar to `step`; cheap, called after each step."""
        if self._mark is None:  # so that the tracing before the first step is not in the rate
            self._mark = (step, time.monotonic())
        if self._bar is not None:
            self._bar.update(step - self._step)
        self._step = step

    @_never_stops_training("logging losses")
    def losses(self, step: int, values: dict[str, float]) -> None:
        """Write a row of log.csv and TensorBoard scalars, and show the values on the bar."""
        values = {printable(name): float(value) for name, value in values.items()}
        self._write_row(step, values)
        self._write_scalars(step, values)
        self._progress(step, values)

    @_never_stops_training("logging scores")
    def scores(self, step: int, values: dict[str, float]) -> None:
        """Add validation scores, prefixed "validation_", to the row of `step`, and print them."""
        values = {printable(name): float(value) for name, value in values.items()}
        self.say(f"step {step:,}: validation  {_readable(values, digits=4)}")
        values = {f"validation_{name}": value for name, value in values.items()}
        self._write_row(step, values)
        self._write_scalars(step, values)

    @_never_stops_training("drawing a picture sheet")
    def sheet(self, step: int, columns: dict[str, np.ndarray]) -> None:
        """Write a grid of pictures to sheets/step-<step>.png and latest.png.

        columns : title -> float array (N, H, W, 3) or (N, H, W, 1), 0..1 (clipped); the same N
            in all, one row of the sheet for each of the first 8. Small pictures are enlarged by
            whole factors, without blur.
        """
        figure = draw.sheet(f"{self.title}, step {step:,}", columns)
        newest = self.run_dir / "sheets" / f"step-{step:08d}.png"
        draw.save_png(figure, newest, self.run_dir / "latest.png")

    @_never_stops_training("drawing losses.png")
    def plot(self) -> None:
        """Draw log.csv as losses.png; without a row yet, do nothing."""
        if not self._log.exists():
            return
        columns, rows = _read_log(self._log)
        if rows:
            draw.save_png(draw.plot(self.title, columns, rows), self.run_dir / "losses.png")

    @_never_stops_training("printing")
    def say(self, text: str) -> None:
        """Print a line on stderr without tearing the bar."""
        say(text)

    @_never_stops_training("closing the report")
    def close(self) -> None:
        """Leave the bar as it stands and close TensorBoard's file; a second call does nothing."""
        bar, writer, self._bar, self._writer = self._bar, self._writer, None, None
        if bar is not None:
            bar.close()
        if writer is not None:
            writer.close()

    def _complain(self, what: str, error: Exception) -> None:
        kind = (what, type(error), getattr(error, "errno", None))
        if kind in self._said:
            return
        self._said.add(kind)
        reason = f"{type(error).__name__}: {error}"
        text = f"{what} failed in {self.run_dir}: {reason[:500]}; training goes on"
        say(printable(text))

    # ---- progress -----------------------------------------------------------------------------

    @_never_stops_training("the progress bar")
    def _open_bar(self) -> None:
        self._bar = tqdm(
            desc=self.title,
            total=max(self._total_steps, self._step, 1),
            initial=self._step,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5,
            bar_format=_BAR,
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
        )

    @_never_stops_training("the progress bar")
    def _progress(self, step: int, values: dict[str, float]) -> None:
        now = time.monotonic()
        if self._mark is not None and step > self._mark[0]:
            rate = (step - self._mark[0]) * self._batch_size / max(now - self._mark[1], 1e-9)
            self._rate = rate if math.isnan(self._rate) else 0.7 * self._rate + 0.3 * rate
            self._mark = (step, now)
        speed = "" if math.isnan(self._rate) else f"{_short(self._rate)} pictures/s  "
        text = speed + _readable(
            {n: v for n, v in values.items() if n != "learning_rate" and n[:8] != "trained_"}
        )
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix_str(text, refresh=False)
        elif now - self._line_at >= _PLAIN_LINE_EVERY_S:  # a log file wants lines, and few
            self._line_at = now
            left_s = (self._total_steps - step) * self._batch_size / self._rate
            left = "" if math.isnan(left_s) else f"  left {_duration(left_s)}"
            self.say(f"step {step:,} of {self._total_steps:,}  {text}{left}")

    # ---- log.csv and TensorBoard --------------------------------------------------------------

    @_never_stops_training("reading log.csv")
    def _continue_log(self) -> None:
        if self._log.exists():
            self._rewrite_log({})
            self._time_before_s = float(self._row.get("time_s") or 0)

    @_never_stops_training("writing log.csv")
    def _write_row(self, step: int, values: dict[str, float]) -> None:
        """Write the row, or write it again where this step already has one."""
        row, at = self._row, self._row_at
        if row.get("step") != str(step):
            time_s = self._time_before_s + time.monotonic() - self._began
            row, at = {"step": str(step), "time_s": f"{time_s:.1f}"}, self._row_end
        row = row | {name: f"{value:.9g}" for name, value in values.items()}
        size = self._log.stat().st_size if self._log.exists() else None
        if not set(row) <= set(self._columns) or size != self._row_end:
            self._rewrite_log(row)  # new columns, a new file, or somebody else's hand in it
            return
        line = _csv_text(self._columns, [row])
        with self._log.open("r+b") as file:  # one write at a known place: kill -9 cannot tear it
            file.seek(at)
            file.write(line)
            file.truncate()
        self._row, self._row_at, self._row_end = row, at, at + len(line)

    def _rewrite_log(self, row: dict[str, str]) -> None:
        """Replace log.csv by its valid rows, with the columns of `row`, and `row` as the last."""
        columns, rows = _read_log(self._log) if self._log.exists() else ([], [])
        rows = [r for r in rows if int(r["step"]) <= self._keep_to and r["step"] != row.get("step")]
        if not row and rows:
            row = rows.pop()
        names = dict.fromkeys(["step", "time_s", *columns, *row])
        columns = sorted(names, key=lambda name: name.startswith("validation_"))
        before = _csv_text(columns, [dict(zip(columns, columns, strict=True)), *rows])
        line = _csv_text(columns, [row]) if row else b""
        files.write(self._log, before + line)
        self._columns, self._row = columns, row
        self._row_at, self._row_end = len(before), len(before) + len(line)
        self._keep_to = sys.maxsize  # from now on all rows are of this run

    @_never_stops_training("writing TensorBoard's file")
    def _write_scalars(self, step: int, values: dict[str, float]) -> None:
        import tensorflow as tf  # here: the rest of this file works without it

        if self._writer is None:
            folder = self.run_dir / "tensorboard"
            folder.mkdir(parents=True, exist_ok=True)  # TensorFlow would print lines of its own
            self._writer = tf.summary.create_file_writer(str(folder))
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()


# ---- files and words --------------------------------------------------------------------------


def _read_log(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a log; a half-written last line is left out."""
    text = path.read_bytes().decode("utf-8", "replace")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]), restval="")
    columns = list(reader.fieldnames or [])
    if columns and "step" not in columns:
        raise ValueError(f"{path} has no column named step; move it away to get a new log")
    return columns, [row for row in reader if row["step"].isdecimal()]


def _csv_text(columns: Iterable[str], rows: Iterable[dict[str, str]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _readable(values: dict[str, float], digits: int = 3) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.{digits}g}" for name, value in values.items()
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
