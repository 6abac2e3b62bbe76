"""The theory figure: measured LR_max with every theory's curve, and what the closest miss."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas, points
from analysis.figures.theory_plot import TheoryLine, TheoryPlot, compute_theory
from analysis.summaries import GroupFit
from analysis.theory.beside import PointComparison
from analysis.words.agreement import HOLDS

# The bold theories, the closest first, are told from each other by colour and by dashes.
_STYLES = ((canvas.STABLE, "-"), (canvas.DIVERGED_LINE, "--"), ("#009e73", "-."))
# The names leave less room below than other figures have (by eye).
_NUM_LABELS = 10


def draw_theory(plot: TheoryPlot, axes: Axes) -> None:
    """Draw the measurement and the curves, each with its name.

    Args:
        plot: The numbers.
        axes: Changed in place; both axes become logarithmic.
    """
    for line in reversed(plot.lines):
        _draw_line(line, axes)
        _draw_name(line, axes)
        if not line.bold:
            _draw_number(line, axes)
    measured, marks = points.place_points(plot.group), points.choose_marks(plot.group)
    points.draw_points(measured, marks, plot.lr_range, axes)
    canvas.style_axes(axes, "", "largest stable learning rate, LR_max")
    canvas.scale_log_axis(axes, *plot.lr_range)
    sizes = [edge.batch_size for edge in plot.group.edges]
    points.scale_batch_axis(sizes, plot.batch_range, axes, _NUM_LABELS)
    axes.set_title(
        f"theories from curvature at {plot.point}",
        loc="left",
        parse_math=False,  # a point may be called anything
        fontsize=canvas.FONT_SIZE,
        color=canvas.MUTED,
    )
    axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)


def _draw_line(line: TheoryLine, axes: Axes) -> None:
    curve = line.curve
    color, dashes = _STYLES[line.rank] if line.bold else (canvas.MUTED, "-")
    bounds = np.clip(np.array([curve.low, curve.high]), 1e-30, 1e30)
    axes.fill_between(
        curve.batch_size, *bounds, color=color, alpha=0.16 if line.bold else 0.05, linewidth=0
    )
    axes.plot(
        curve.batch_size,
        curve.lr_max,
        color=color,
        linestyle=dashes,
        linewidth=2.2 if line.bold else 0.8,
        alpha=1.0 if line.bold else 0.75,
    )


def _draw_name(line: TheoryLine, axes: Axes) -> None:
    """Write a theory's name beyond the right border, with a thread to where its curve ends."""
    color = _STYLES[line.rank][0] if line.bold else canvas.MUTED
    axes.annotate(
        line.label,
        line.anchor,
        xytext=(1.04, line.place),
        textcoords="axes fraction",
        va="center",
        annotation_clip=False,
        fontsize=canvas.FONT_SIZE - (1 if line.bold else 1.5),
        fontweight="bold" if line.bold else "normal",
        color=color,
        arrowprops={
            "arrowstyle": "-",
            "color": color,
            "linewidth": 0.6,
            "alpha": 0.6,
            "shrinkA": 1,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        },
    )


def _draw_number(line: TheoryLine, axes: Axes) -> None:
    """Write a thin curve's rank at its start: where many end together, this tells them apart."""
    axes.annotate(
        str(line.rank + 1),
        (line.start[0], line.start_place),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=canvas.FONT_SIZE - 2,
        color=canvas.MUTED,
    )


def draw_ratios(plot: TheoryPlot, axes: Axes) -> None:
    """Draw measured over predicted for the closest theories.

    Args:
        plot: The numbers.
        axes: Changed in place; both axes become logarithmic.
    """
    axes.axhspan(1 / HOLDS, HOLDS, color=canvas.GRID, alpha=0.7, linewidth=0)
    axes.axhline(1.0, color=canvas.MUTED, linewidth=0.9)
    for line in reversed([line for line in plot.lines if line.bold]):
        color, dashes = _STYLES[line.rank]
        sizes = [ratio.batch_size for ratio in line.agreement.ratios]
        logs = np.array([(r.log_ratio, r.low, r.high) for r in line.agreement.ratios])
        if not sizes:
            continue
        ratio, *ends = np.clip(np.exp(logs.T), *plot.ratio_range)
        axes.plot(sizes, ratio, color=color, linestyle=dashes, marker="o", ms=3.5, lw=1.4)
        axes.vlines(sizes, *ends, color=color, linewidth=1.2, alpha=0.7)
    canvas.style_axes(axes, "batch size B (examples)", "measured / theory")
    canvas.scale_log_axis(axes, *plot.ratio_range)
    measured = [edge.batch_size for edge in plot.group.edges]
    points.scale_batch_axis(measured, plot.batch_range, axes, _NUM_LABELS)


def theory_figure(group: GroupFit, comparison: PointComparison) -> Figure:
    """Compute and draw the theories of one group from one point.

    Args:
        group: A group with at least one edge inside the grid.
        comparison: Its theories from one point, with at least one.

    Returns:
        A figure 7 inches wide.
    """
    plot = compute_theory(group, comparison)
    figure = canvas.new_figure(7.0, 5.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    draw_theory(plot, above)
    draw_ratios(plot, below)
    canvas.legend_below(figure, 2)
    return figure
