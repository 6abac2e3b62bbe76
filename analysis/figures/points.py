"""The measured LR_max over batch sizes, drawn the same in every figure that holds it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.figures import canvas
from analysis.summaries import Censoring, MaxLR

_OUTSIDE = (
    (Censoring.RIGHT, "^", "edge above the grid"),
    (Censoring.LEFT, "v", "edge below the grid"),
)


def draw_max_lr(edges: Sequence[MaxLR], lr_range: tuple[float, float], axes: Axes) -> None:
    """Draw LR_max with its interval, and a hollow triangle where it lies outside the grid.

    Args:
        edges: One per batch size.
        lr_range: Ends of the vertical axis, at which intervals are cut.
        axes: Changed in place.
    """
    inside = [edge for edge in edges if edge.censored is Censoring.NONE]
    if inside:
        centre = np.array([edge.lr_max for edge in inside])
        ends = np.array([edge.lr_max_ci for edge in inside]).T
        low, high = np.clip(ends, *lr_range)
        axes.errorbar(
            [edge.batch_size for edge in inside],
            centre,
            yerr=[np.maximum(centre - low, 0), np.maximum(high - centre, 0)],
            fmt="o",
            color=canvas.INK,
            markersize=4.5,
            linewidth=1.8,
            capsize=0,
            zorder=4,
            label="LR_max, median over seeds, 95 %",
        )
    for side, marker, label in _OUTSIDE:
        hit = [edge for edge in edges if edge.censored is side]
        if hit:
            axes.plot(
                [edge.batch_size for edge in hit],
                [edge.lr_max for edge in hit],
                marker,
                color=canvas.INK,
                markerfacecolor="white",
                markersize=7.5,
                zorder=4,
                label=label,
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
