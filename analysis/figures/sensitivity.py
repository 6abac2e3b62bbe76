"""How much the exponent depends on what is called stable."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas
from analysis.summaries import GroupFit


@dataclass(frozen=True)
class SensitivityPlot:
    """The numbers of the sensitivity figure, one row per criterion.

    Attributes:
        labels: The criteria, the one of the headline first.
        exponent: Shape ``[rows]``; NaN where the fit was refused.
        low: Shape ``[rows]``, lower end of the 95 % interval.
        high: Shape ``[rows]``, upper end.
        predicted: The predicted exponent, NaN when there is none.
    """

    labels: tuple[str, ...]
    exponent: np.ndarray
    low: np.ndarray
    high: np.ndarray
    predicted: float


def compute_sensitivity(group: GroupFit) -> SensitivityPlot:
    """Collect the exponents of one group under several criteria.

    Args:
        group: With at least one entry in ``sensitivity``.

    Returns:
        The numbers to draw.
    """
    nothing = (np.nan, np.nan)
    labels = ["as reported", *(entry.criterion for entry in group.sensitivity)]
    exponents = [group.exponent, *(entry.exponent for entry in group.sensitivity)]
    intervals = [group.exponent_ci, *(entry.exponent_ci for entry in group.sensitivity)]
    ends = np.array([interval or nothing for interval in intervals])
    predicted = group.check.predicted
    return SensitivityPlot(
        labels=tuple(labels),
        exponent=np.array([np.nan if value is None else value for value in exponents]),
        low=ends[:, 0],
        high=ends[:, 1],
        predicted=np.nan if predicted is None else predicted,
    )


def draw_sensitivity(plot: SensitivityPlot, axes: Axes) -> None:
    """Draw one interval per criterion.

    Args:
        plot: The numbers.
        axes: Changed in place.
    """
    rows = np.arange(len(plot.labels))
    colors = [canvas.INK] + [canvas.STABLE] * (rows.size - 1)
    axes.hlines(rows, plot.low, plot.high, color=colors, linewidth=2)
    axes.scatter(plot.exponent, rows, color=colors, s=28, zorder=3)
    for row in rows[np.isnan(plot.exponent)]:
        axes.annotate(
            "refused",
            (0.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=canvas.FONT_SIZE - 1,
            color=canvas.MUTED,
        )
    if np.isfinite(plot.predicted):
        axes.axvline(
            plot.predicted,
            color=canvas.DIVERGED_LINE,
            linewidth=1.2,
            linestyle="--",
            label="predicted",
        )
    canvas.style_axes(axes, "exponent with its 95 % interval", "")
    axes.margins(x=0.06)
    axes.set_yticks(rows, plot.labels)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.grid(visible=True, axis="x", color=canvas.GRID, linewidth=0.6)


def sensitivity_figure(group: GroupFit) -> Figure:
    """Compute and draw the sensitivity of one group's exponent to the criterion.

    Args:
        group: With at least one entry in ``sensitivity``.

    Returns:
        A figure 7 inches wide.
    """
    plot = compute_sensitivity(group)
    figure = canvas.new_figure(7.0, 1.1 + 0.3 * len(plot.labels))
    draw_sensitivity(plot, figure.subplots())
    if np.isfinite(plot.predicted):
        canvas.legend_below(figure, 1)
    return figure
