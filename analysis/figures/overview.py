"""Several groups side by side: their edges in one picture, their exponents in another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas, points
from analysis.figures.labels import spread_places
from analysis.summaries import GroupFit
from analysis.theory.inputs import FloatArray
from analysis.words.formatting import group_title

# Inches that a name needs for itself, so that two do not touch.
_NAME_HEIGHT = 0.17
# Letters of a name; more of them would leave no room for what is drawn (by eye).
_MAX_NAME = 24
# Between what is drawn and the border, as a factor on logarithmic scales.
_MARGIN = 1.3
_PREDICTED = canvas.DIVERGED_LINE
# No group looks like what is predicted for it.
_SERIES = tuple(series for series in canvas.SERIES if series[0] != _PREDICTED)


@dataclass(frozen=True)
class OverviewPlot:
    """The numbers of the overview, one row per group.

    Attributes:
        names: Of the groups.
        edges: The median edges of each.
        exponent: Shape ``[groups]``; NaN where no law was fitted.
        interval: Shape ``[groups, 2]``, ends of the 95 % interval.
        predicted: Shape ``[groups]``; NaN where no exponent is predicted.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[points.EdgePoint, ...], ...]
    exponent: FloatArray
    interval: FloatArray
    predicted: FloatArray


def compute_overview(groups: Sequence[GroupFit]) -> OverviewPlot:
    """Collect edges and exponents of several groups of one axis.

    Args:
        groups: At least one, all of the same axis.

    Returns:
        The numbers to draw.
    """
    keys = [group.key for group in groups]
    intervals = [group.exponent_ci or (np.nan, np.nan) for group in groups]
    return OverviewPlot(
        names=tuple(_shorten(group_title(key, keys)) for key in keys),
        edges=tuple(points.place_points(group) for group in groups),
        exponent=np.array([_or_nan(group.exponent) for group in groups]),
        interval=np.array(intervals),
        predicted=np.array([_or_nan(group.check.predicted) for group in groups]),
    )


def _shorten(name: str) -> str:
    """Leave out the middle of a name that would take the picture's place."""
    if len(name) <= _MAX_NAME:
        return name
    end = _MAX_NAME // 3
    return f"{name[: _MAX_NAME - end - 1]}…{name[-end:]}"


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def draw_edges_together(plot: OverviewPlot, axes: Axes, height: float) -> None:
    """Draw the edges of all groups, each named at its right end.

    Args:
        plot: The numbers.
        axes: Changed in place.
        height: Of the axes, in inches.
    """
    every = [point for edges in plot.edges for point in edges]
    heights = [point.y for point in every]
    y_range = min(heights) / _MARGIN, max(heights) * _MARGIN
    sizes = sorted({int(point.x) for point in every})
    for row, edges in enumerate(plot.edges):
        color, shape, line = _look(row)
        axes.plot(
            [point.x for point in edges],
            [point.y for point in edges],
            color=color,
            marker=shape,
            linestyle=line,
            markersize=3.5,
            linewidth=1.1,
        )
    canvas.style_axes(axes, "batch size B (examples)", "LR_max")
    canvas.scale_log_axis(axes, *y_range)
    points.scale_batch_axis(sizes, (sizes[0] / _MARGIN, sizes[-1] * _MARGIN), axes, 6)
    axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)
    _name_ends(plot, y_range, axes, height)


def _name_ends(plot: OverviewPlot, y_range: tuple[float, float], axes: Axes, height: float) -> None:
    low, high = np.log(y_range)
    ends = np.array([(np.log(edges[-1].y) - low) / (high - low) for edges in plot.edges])
    for row, place in enumerate(spread_places(ends, _NAME_HEIGHT / height)):
        color, *_ = _look(row)
        axes.annotate(
            plot.names[row],
            (1.03, place),
            xycoords="axes fraction",
            va="center",
            fontsize=canvas.FONT_SIZE - 1,
            color=color,
        )


def draw_exponents(plot: OverviewPlot, axes: Axes) -> None:
    """Draw one interval per group, and what is predicted for it.

    Args:
        plot: The numbers.
        axes: Changed in place.
    """
    rows = np.arange(len(plot.names))
    colors = [_look(row)[0] for row in range(len(rows))]
    axes.hlines(rows, plot.interval[:, 0], plot.interval[:, 1], color=colors, linewidth=2)
    axes.scatter(plot.exponent, rows, color=colors, s=24, zorder=3)
    axes.vlines(
        plot.predicted,
        rows - 0.36,
        rows + 0.36,
        color=_PREDICTED,
        linewidth=1.6,
        label="predicted",
    )
    for row in rows[np.isnan(plot.exponent)]:
        axes.annotate(
            "no law",
            (0.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=canvas.FONT_SIZE - 1,
            color=canvas.MUTED,
        )
    canvas.style_axes(axes, "exponent, 95 % interval", "")
    axes.margins(x=0.06)
    axes.set_yticks(rows, plot.names)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.grid(visible=True, axis="x", color=canvas.GRID, linewidth=0.6)


def _look(row: int) -> tuple[str, str, str]:
    """Return the colour, the mark and the line of a group."""
    color, shape = _SERIES[row % len(_SERIES)]
    return color, shape, "-" if row < len(_SERIES) else "--"


def overview_figure(groups: Sequence[GroupFit]) -> Figure:
    """Compute and draw several groups side by side.

    Args:
        groups: At least two groups whose axis is the learning rate, each with edges.

    Returns:
        A figure 7 inches wide.
    """
    plot = compute_overview(groups)
    height = max(2.6, 0.6 + 0.26 * len(plot.names))
    figure = canvas.new_figure(7.0, height)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    draw_edges_together(plot, left, height - 0.6)
    draw_exponents(plot, right)
    if np.isfinite(plot.predicted).any():
        canvas.legend_below(figure, 1)
    return figure
