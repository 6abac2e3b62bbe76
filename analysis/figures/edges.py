"""The main figure: the edge against the batch size, or against lr/B, with the laws."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import canvas, points
from analysis.figures.edge_plot import EdgePlot, LawCurve, compute_edges
from analysis.fitting.joint_laws import IN_BATCH
from analysis.summaries import GroupFit
from analysis.words.formatting import format_exponent

__all__ = ["compute_edges", "draw_edges", "edge_figure"]

# How far the open side of a bracket is drawn: the arrow says that it goes on.
_OPEN_STUB = 1.4


def draw_edges(plot: EdgePlot, axes: Axes) -> None:
    """Draw the main figure.

    Args:
        plot: The numbers.
        axes: Changed in place; both axes become logarithmic.
    """
    axis, marks = plot.group.axis, points.choose_marks(plot.group)
    _draw_guides(plot, axes)
    labels: set[str] = set()
    for curve in plot.curves:
        held = curve.reported and curve.lr is not None
        _draw_law(curve, axes, marks[curve.lr].color if held else None, labels)
    _draw_brackets(plot, axes)
    points.draw_points(plot.points, marks, plot.y_range, axes)
    canvas.style_axes(axes, _name_x(plot.group), f"{axis.edge}, {axis.symbol}")
    canvas.scale_log_axis(axes, *plot.y_range)
    if axis.inverse:
        points.scale_ratio_axis(plot.x_range, axes)
    else:
        sizes = [edge.batch_size for edge in plot.group.edges]
        points.scale_batch_axis(sizes, plot.x_range, axes)
    axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)


def _name_x(group: GroupFit) -> str:
    if not group.axis.inverse:
        return "batch size B (examples)"
    if group.num_examples is None:
        return "learning rate / batch size, lr/B"
    return "learning rate / effective batch size, lr/b with b = B/(1 − B/N)"


def _draw_guides(plot: EdgePlot, axes: Axes) -> None:
    side = -1 if plot.group.axis.inverse else 1
    limit = plot.y_range[0] * 1.001 if side < 0 else plot.y_range[1] * 0.999
    for guide in plot.guides:
        axes.plot(guide.x, guide.y, ":", color=canvas.MUTED, linewidth=1.1)
        # A line that ends at the border is named left of it, one that ends at the side beside it.
        at_border = (guide.y[1] - limit) * side >= 0
        away = "left" if side > 0 else "right"
        axes.annotate(
            guide.label,
            (guide.x[1], guide.y[1]),
            xytext=(-10, -side) if at_border else (4 * side, 0),
            textcoords="offset points",
            ha="right" if at_border else away,
            va=("top" if side > 0 else "bottom") if at_border else "center",
            fontsize=canvas.FONT_SIZE - 1,
            color=canvas.MUTED,
        )


def _draw_law(curve: LawCurve, axes: Axes, own: str | None, labels: set[str]) -> None:
    """Draw a law in its colour, or in that of its learning rate; name it once."""
    law = curve.law
    color = own or canvas.LAW_COLORS.get(law.name.removesuffix(IN_BATCH), canvas.MUTED)
    bounds = np.clip(np.array([curve.low, curve.high]), 1e-30, 1e30)
    axes.fill_between(
        curve.x, *bounds, color=color, alpha=0.16 if curve.reported else 0.08, linewidth=0
    )
    what = f"{law.name}, exponent {format_exponent(law.exponent)}"
    label = f"{what} (reported)" if curve.reported else what
    axes.plot(
        curve.x,
        curve.y,
        color=color,
        linewidth=2.4 if curve.reported else 1.0,
        label="_again" if label in labels else label,
    )
    labels.add(label)


def _draw_brackets(plot: EdgePlot, axes: Axes) -> None:
    ends = [(edge.stable, edge.diverged) for edge in plot.brackets]
    low, high = np.sort(plot.group.axis.bold(ends), axis=1).T
    axes.vlines(
        plot.positions,
        np.where(low > 0, low, np.minimum(high, plot.y_range[1]) / _OPEN_STUB),
        np.where(np.isfinite(high), high, np.maximum(low, plot.y_range[0]) * _OPEN_STUB),
        color=canvas.MUTED,
        linewidth=1.4,
        alpha=0.65,
        label="bracket of one seed",
    )


def edge_figure(group: GroupFit) -> Figure:
    """Compute and draw the main figure of one group.

    Args:
        group: A fitted or refused group with at least one edge.

    Returns:
        A figure 7 inches wide.
    """
    figure = canvas.new_figure(7.0, 4.8)
    draw_edges(compute_edges(group), figure.subplots())
    canvas.legend_below(figure, 2)
    return figure
