"""Draw what a person sees of a run: sheets of pictures, and the plot of its losses."""

import io
import math
from pathlib import Path

import numpy as np

from util import files
from util.say import printable

_DPI = 100
_CELL_PX = 128  # the least side of a picture on a sheet
_ROWS = 8
# Of the plot; to the right of its panels stand their legends.
_PLOT_PX, _LEFT_PX, _RIGHT_PX, _ABOVE_PX, _BETWEEN_PX, _BELOW_PX = 1000, 95, 185, 50, 44, 50


def _figure(width_px: int, height_px: int):
    """Return a white matplotlib figure that needs no screen and that pyplot does not keep."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: slow to import
    from matplotlib.figure import Figure

    size = (width_px + 0.5) / _DPI, (height_px + 0.5) / _DPI  # matplotlib rounds down
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def sheet(title: str, columns: dict[str, np.ndarray]):
    """Return the figure of a sheet, each array pixel by pixel under its name."""
    pictures = {printable(name): _enlarged(name, array) for name, array in columns.items()}
    counts = {len(array) for array in pictures.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"a sheet needs as many pictures in each column, got {sorted(counts)}")
    gap, title_px, names_px = 4, 26, 20
    cell_px = max(array.shape[1] for array in pictures.values()) + gap
    grid_px = sum(array.shape[2] + gap for array in pictures.values()) + gap
    width_px, height_px = max(grid_px, 10 * len(title)), counts.pop() * cell_px
    grid = np.full((height_px, width_px, 3), 255, np.uint8)
    figure = _figure(width_px, height_px + title_px + names_px)

    def text(x_px: float, y_px: float, words: str, **style) -> None:
        x, y = x_px / width_px, (height_px + y_px) / (height_px + title_px + names_px)
        figure.text(x, y, words, va="center", parse_math=False, **style)

    text(gap, names_px + title_px / 2, title, size=10, weight="bold")
    left = gap
    for name, array in pictures.items():
        for row, picture in enumerate(array):
            top = row * cell_px
            grid[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        width = array.shape[2]
        size = min(9.0, 1.1 * width / max(len(name), 1))
        text(left + width / 2, names_px / 2, name, size=size, ha="center")
        left += width + gap
    figure.figimage(grid, origin="upper")
    return figure


def _enlarged(name: str, array: np.ndarray) -> np.ndarray:
    """Return uint8 (N, H, W, 3), N at most 8, enlarged until the short side is 128 pixels."""
    array = np.asarray(array)[:_ROWS]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise ValueError(f'column "{name}": (N, H, W, 3) or (N, H, W, 1) wanted, got {array.shape}')
    whole = np.nan_to_num(array.astype(np.float32), nan=0.0).clip(0, 1) * 255
    factor = math.ceil(_CELL_PX / min(array.shape[1:3]))
    whole = np.rint(whole).astype(np.uint8).repeat(factor, axis=1).repeat(factor, axis=2)
    return np.broadcast_to(whole, (*whole.shape[:3], 3))


def _panel_of(name: str) -> str:
    """Return the title of the panel for a column of the log: like is drawn with like."""
    first, *others = name.split("_")
    if first == "validation":
        kinds = [word for word in others if word in ("psnr", "ssim", "l1", "sharpness")]
        return f"validation {(kinds or others)[0]}"
    if first == "trained":
        return first
    return "losses" if first == "loss" else name.replace("_", " ")


def plot(title: str, columns: list[str], rows: list[dict[str, str]]):
    """Return the figure of a log: losses, who trained, other figures, scores by kind."""
    panels: dict[str, list[str]] = {"losses": [], "trained": []}
    for name in columns:
        if name not in ("step", "time_s"):
            panels.setdefault(_panel_of(name), []).append(name)
    panels = {label: names for label, names in panels.items() if names}
    if not panels:
        raise ValueError("log.csv holds no column to draw")
    heights = [260 if label == "losses" else 138 for label in panels]
    height_px = _ABOVE_PX + sum(heights) + _BETWEEN_PX * (len(panels) - 1) + _BELOW_PX
    figure = _figure(_PLOT_PX, height_px)
    # Placed by hand: a layout that measures what it lays out takes as long as all the drawing.
    figure.text(0.5, 1 - 16 / height_px, title, size=11, ha="center", va="center")
    top, drawn = _ABOVE_PX, []
    for height, (label, names) in zip(heights, panels.items(), strict=True):
        place = _LEFT_PX, height_px - top - height, _PLOT_PX - _LEFT_PX - _RIGHT_PX, height
        sides = (_PLOT_PX, height_px) * 2
        axes = figure.add_axes(
            [at / side for at, side in zip(place, sides, strict=True)],
            sharex=drawn[0] if drawn else None,
        )
        drawn.append(axes)
        top += height + _BETWEEN_PX
        lowest = math.inf
        for number, name in enumerate(names):
            cells = [(int(row["step"]), _number(row[name])) for row in rows if row.get(name)]
            steps, values = np.array(cells, dtype=float).reshape(-1, 2).T
            values[~np.isfinite(values)] = np.nan  # a gap in the line
            lowest = min(lowest, np.nanmin(values, initial=math.inf))
            if label == "trained":  # a lane for each: how high it is filled is the share
                axes.fill_between(
                    steps, number, number + 0.9 * values, lw=0, color=f"C{number % 10}"
                )
            else:
                _draw_line(axes, steps, values, f"C{number % 10}", _shortened(name))
                if label in ("losses", "validation loss"):
                    _mark_ends(axes, steps, values, f"C{number % 10}")
        if label == "trained":
            axes.set(yticks=[n + 0.45 for n in range(len(names))], ylim=(-0.1, len(names)))
            axes.set_yticklabels([_shortened(name) for name in names])
        else:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
        if label == "losses" and 0 < lowest < math.inf:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in "25" else "")
        axes.set_title(label, fontsize=9, loc="left")
        axes.tick_params(which="both", labelsize=8, labelbottom=len(drawn) == len(panels))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("step", fontsize=9)
    return figure


def _draw_line(axes, steps: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    """Draw a faint raw line and its running mean; short series as they are, with their points."""
    half = len(values) // 60
    if half == 0:
        axes.plot(steps, values, ".-", color=colour, lw=1.4, ms=4, label=label)
        return
    box, measured = np.ones(2 * half + 1), np.isfinite(values)
    sums = np.convolve(np.where(measured, values, 0), box, "same")
    counts = np.convolve(measured, box, "same")
    mean = np.where(counts > 0.5, sums / np.maximum(counts, 1), np.nan)
    axes.plot(steps, values, color=colour, alpha=0.25, lw=0.8)
    axes.plot(steps, mean, color=colour, lw=1.6, label=label)


def _mark_ends(axes, steps: np.ndarray, values: np.ndarray, colour: str) -> None:
    """Mark the least and the greatest value of a line, and write them beside the marks."""
    if not np.isfinite(values).any():
        return
    for place, mark, above in ((np.nanargmin(values), "v", -1), (np.nanargmax(values), "^", 1)):
        at = steps[place], values[place]
        axes.scatter(*at, marker=mark, s=30, color=colour, edgecolor="white", lw=0.6, zorder=3)
        axes.annotate(
            f"{at[1]:.3g}", at, (4, 7 * above), textcoords="offset points", size=7, color=colour
        )


def save_png(figure, *paths: Path) -> None:
    png = io.BytesIO()
    figure.canvas.print_png(png)
    for path in paths:
        files.write(path, png.getvalue())


def _shortened(name: str) -> str:
    """Return a column's name for a panel whose title says the prefix already."""
    return name.removeprefix("validation_").removeprefix("trained_").replace("_", " ")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
