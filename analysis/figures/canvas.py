"""Paper and ink: the size, the colours and the files that all figures share."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.files.whole_files import write_whole
from analysis.words.formatting import format_number

# Blue and orange are told apart by every common kind of colour blindness; the blue is also darker,
# so that a grey print keeps the difference. Variations on Okabe & Ito 2008, chosen by eye.
STABLE = "#1f5fa8"
MIXED = "#f3e7c9"
DIVERGED = "#f0954a"
DIVERGED_LINE = "#d55e00"
FAILED = "#8b9099"
SLOW = "#dfe3ea"
INK = "#1f2328"
MUTED = "#6b7280"
GRID = "#e5e7eb"
LAW_COLORS = {"power": "#cc79a7", "saturating": "#1f5fa8", "surge": "#009e73", "wigner": "#b8860b"}
# Several series in one picture, told apart by colour and by shape; Okabe & Ito 2008. Triangles are
# left to edges outside the grid.
SERIES = (
    ("#1f2328", "o"),
    ("#d55e00", "s"),
    ("#009e73", "D"),
    ("#1f5fa8", "p"),
    ("#cc79a7", "h"),
    ("#b8860b", "P"),
    ("#56b4e9", "X"),
)

FONT_SIZE = 9.0
FORMATS = ("png", "svg", "pdf")
# For the screens of today; a figure of 7 inches is then 1,260 pixels wide.
PNG_DPI = 180
# Matplotlib lays text out with its own wide font; a page shows the reader's system font instead,
# which is narrower, so nothing that fitted is cut.
_PAGE_FONTS = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure whose parts arrange themselves.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        A figure that belongs to no window and no global state.
    """
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def style_axes(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Label axes and remove what carries no information.

    Args:
        axes: Changed in place.
        xlabel: With its unit.
        ylabel: With its unit.
    """
    axes.set_xlabel(xlabel, fontsize=FONT_SIZE, color=INK)
    axes.set_ylabel(ylabel, fontsize=FONT_SIZE, color=INK)
    axes.tick_params(labelsize=FONT_SIZE - 1, color=MUTED, labelcolor=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.set_axisbelow(True)


def tick_values(low: float, high: float) -> list[float]:
    """Choose round numbers between two positive numbers for a logarithmic axis.

    Args:
        low: Lower end of the axis, positive.
        high: Upper end, above ``low``.

    Returns:
        Powers of ten where at least three fit, else the 1-2-5 series; ascending.

    Example:
        >>> tick_values(0.002, 3.0)
        [0.01, 0.1, 1.0]
        >>> tick_values(0.03, 0.3)
        [0.05, 0.1, 0.2]
    """
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    series: tuple[tuple[int, ...], ...] = ((1,), (1, 2, 5), tuple(range(1, 10)))
    for mantissas in series:
        ticks = [float(f"{m}e{e}") for e in exponents for m in mantissas]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks
    return [low, high]


def scale_log_axis(axes: Axes, low: float, high: float, powers: bool = False) -> None:
    """Give axes a vertical logarithmic scale with numbers that can be read.

    Args:
        axes: Changed in place.
        low: Lower end, positive.
        high: Upper end.
        powers: Whether the axis holds log10 of the values instead of the values.
    """
    ticks = tick_values(low, high)
    if powers:
        axes.set_ylim(np.log10(low), np.log10(high))
        axes.yaxis.set_major_locator(FixedLocator([float(np.log10(tick)) for tick in ticks]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_number(10**y)))
        return
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_number(y)))


def legend_below(figure: Figure, columns: int, patches: Sequence[Patch] = ()) -> None:
    """Put one legend for all axes of a figure below them, where it cannot hide data.

    Args:
        figure: Changed in place; its axes' labelled artists are listed once each.
        columns: Entries side by side.
        patches: Labelled entries that stand in no axes, shown first.
    """
    handles: dict[str, Artist] = {str(patch.get_label()): patch for patch in patches}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=FONT_SIZE - 1,
        labelcolor=INK,
    )


def render_svg(figure: Figure) -> str:
    """Draw a figure as SVG, with its text as text.

    Args:
        figure: What to draw.

    Returns:
        An SVG document that asks for no file and no font from outside, the same each time.
    """
    buffer = BytesIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "scaling-sweep"}
    with mpl.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode("utf-8").replace("'DejaVu Sans', sans-serif", _PAGE_FONTS)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file of the kind its name ends with.

    Args:
        figure: What to draw.
        path: Ends with one of ``FORMATS``.

    Raises:
        ValueError: If the ending is none that we write.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"Figures are written as {', '.join(FORMATS)}, got {kind or 'no ending'}.")
    if kind == "svg":
        write_whole(path, render_svg(figure).encode())
        return
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=PNG_DPI)
    write_whole(path, buffer.getvalue())
