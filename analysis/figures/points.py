"""Median edges over batch size, or over lr/B, drawn the same in every figure that holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.edge_summaries import Censoring
from analysis.figures import canvas
from analysis.summaries import GroupFit
from analysis.words.formatting import format_number

_OUTSIDE = (
    (Censoring.RIGHT, "^", "edge above the grid"),
    (Censoring.LEFT, "v", "edge below the grid"),
)


@dataclass(frozen=True)
class EdgePoint:
    """One median edge in the units of a figure.

    Attributes:
        x: Batch size, or lr/B.
        y: The edge: LR_max, or the smallest stable damping.
        low: Lower end of its 95 % interval.
        high: Upper end.
        censored: Beside which end of the grid the edge lies.
        lr: The learning rate that was held, None where it is the axis.
    """

    x: float
    y: float
    low: float
    high: float
    censored: Censoring
    lr: float | None


@dataclass(frozen=True)
class Mark:
    """How the edges at one learning rate look.

    Attributes:
        color: Of the mark and its interval.
        shape: Matplotlib's sign for it.
        label: What the legend says.
    """

    color: str
    shape: str
    label: str


def place_points(group: GroupFit) -> tuple[EdgePoint, ...]:
    """Bring the median edges of a group to the units of a figure.

    Args:
        group: A group with edges.

    Returns:
        One point per edge, in the order of the edges.
    """
    axis = group.axis
    return tuple(
        EdgePoint(
            float(axis.chart(edge.batch_size, edge.lr or 1.0, group.num_examples)),
            axis.show(edge.median),
            *axis.show_interval(edge.median_ci),
            edge.censored.seen_on(axis),
            edge.lr,
        )
        for edge in group.edges
    )


def choose_marks(group: GroupFit) -> dict[float | None, Mark]:
    """Give every learning rate that was held a mark of its own.

    Args:
        group: A group with edges.

    Returns:
        Marks by learning rate; one for None where it is the axis.
    """
    rates = sorted({edge.lr for edge in group.edges if edge.lr is not None})
    if not rates:
        return {None: Mark(canvas.INK, "o", f"{group.axis.symbol}, median over seeds, 95 %")}
    looks = [canvas.SERIES[place % len(canvas.SERIES)] for place in range(len(rates))]
    return {
        lr: Mark(color, shape, f"lr {format_number(lr)}, median over seeds, 95 %")
        for lr, (color, shape) in zip(rates, looks, strict=True)
    }


def draw_points(
    points: Sequence[EdgePoint],
    marks: Mapping[float | None, Mark],
    y_range: tuple[float, float],
    axes: Axes,
) -> None:
    """Draw edges with their intervals, and a hollow triangle where one lies outside the grid.

    Args:
        points: The edges.
        marks: What each learning rate looks like.
        y_range: Ends of the vertical axis, at which intervals are cut.
        axes: Changed in place.
    """
    for lr, mark in marks.items():
        here = [point for point in points if point.lr == lr]
        _draw_inside(
            [point for point in here if point.censored is Censoring.NONE], mark, y_range, axes
        )
        for side, shape, label in _OUTSIDE:
            hit = [point for point in here if point.censored is side]
            if hit:
                axes.plot(
                    [point.x for point in hit],
                    [point.y for point in hit],
                    shape,
                    color=mark.color,
                    markerfacecolor="white",
                    markersize=7.5,
                    zorder=4,
                    label=label,
                )


def _draw_inside(
    inside: Sequence[EdgePoint], mark: Mark, y_range: tuple[float, float], axes: Axes
) -> None:
    if not inside:
        return
    centre = np.array([point.y for point in inside])
    low, high = np.clip(np.array([(point.low, point.high) for point in inside]).T, *y_range)
    axes.errorbar(
        [point.x for point in inside],
        centre,
        yerr=[np.maximum(centre - low, 0), np.maximum(high - centre, 0)],
        fmt=mark.shape,
        color=mark.color,
        markersize=4.5,
        linewidth=1.8,
        capsize=0,
        zorder=4,
        label=mark.label,
    )


def scale_batch_axis(
    batch_sizes: Sequence[int], ends: tuple[float, float], axes: Axes, num_labels: int = 14
) -> None:
    """Give axes a horizontal scale in doublings, labelled at the batch sizes themselves.

    Args:
        batch_sizes: Measured ones, ascending.
        ends: Of the axis.
        axes: Changed in place.
        num_labels: More than these run into each other (by eye; 14 across seven inches).
    """
    axes.set_xscale("log", base=2)
    axes.set_xlim(*ends)
    shown = list(batch_sizes)[:: int(np.ceil(len(batch_sizes) / num_labels))]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.10g}"))


def scale_ratio_axis(ends: tuple[float, float], axes: Axes) -> None:
    """Give axes a horizontal logarithmic scale with round numbers.

    Args:
        ends: Of the axis.
        axes: Changed in place.
    """
    axes.set_xscale("log")
    axes.set_xlim(*ends)
    axes.xaxis.set_major_locator(FixedLocator(canvas.tick_values(*ends)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_number(x)))
