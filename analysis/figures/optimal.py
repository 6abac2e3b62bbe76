"""The best learning rate: loss over learning rate at a few batch sizes, and its growth with B."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.edge_summaries import Censoring
from analysis.figures import canvas, points
from analysis.fitting.bands import law_band
from analysis.optimal.curves import Bowl
from analysis.optimal.estimates import collect_bowl
from analysis.optimal.laws import as_group
from analysis.optimal.summaries import OptimalLR
from analysis.summaries import GroupFit
from analysis.words.formatting import format_exponent, format_number

_MAX_PANELS = 6
_OVERHANG_OCTAVES = 0.3
# Losses further above the lowest, as a factor, are drawn at the ceiling: the bottom is what counts.
_CEILING = 300.0
_COLOR = "#009e73"


@dataclass(frozen=True)
class BowlPanel:
    """The bowl of one batch size.

    Attributes:
        optimum: Its lowest point.
        bowl: Its trials.
        lr_max: The largest stable learning rate, NaN where it is outside the grid.
    """

    optimum: OptimalLR
    bowl: Bowl
    lr_max: float


def compute_bowls(trials: pd.DataFrame, group: GroupFit) -> tuple[BowlPanel, ...]:
    """Pick a few batch sizes and collect their trials.

    Args:
        trials: Rows of one group.
        group: What was found in them.

    Returns:
        At most six panels, from small to large batch sizes; none without an optimum.
    """
    if group.optimal is None or not group.optimal.lrs:
        return ()
    lrs = group.optimal.lrs
    spots = np.linspace(0, len(lrs) - 1, min(len(lrs), _MAX_PANELS)).round().astype(int)
    inside = {e.batch_size: e.median for e in group.edges if e.censored is Censoring.NONE}
    panels = []
    for one in (lrs[spot] for spot in spots):
        rows = trials[trials["batch_size"] == one.batch_size]
        bowl = collect_bowl(rows, group.optimal.loss_column)
        panels.append(BowlPanel(one, bowl, inside.get(one.batch_size, np.nan)))
    return tuple(panels)


def draw_bowl(panel: BowlPanel, axes: Axes, loss_range: tuple[float, float]) -> None:
    """Draw one bowl with its lowest point.

    Args:
        panel: The numbers.
        axes: Changed in place; both axes become logarithmic.
        loss_range: Ends of the vertical axis.
    """
    bowl, optimum = panel.bowl, panel.optimum
    for seed in np.unique(bowl.seed):
        mine = bowl.seed == seed
        order = np.argsort(bowl.log_lr[mine])
        loss = np.exp(np.minimum(bowl.log_loss[mine][order], 700.0))
        axes.plot(
            np.exp(bowl.log_lr[mine][order]),
            np.minimum(loss, loss_range[1]),
            color=canvas.MUTED,
            linewidth=0.8,
            alpha=0.55,
            label="one seed",
        )
    low, high = np.clip(optimum.lr_opt_ci, *_lr_range(bowl))
    axes.axvspan(low, high, color=_COLOR, alpha=0.14, linewidth=0, label="lr_opt, 95 %")
    if np.isfinite(panel.lr_max):
        axes.axvline(panel.lr_max, color=canvas.INK, linestyle="--", linewidth=1.0, label="LR_max")
    face = "white" if optimum.at_edge else _COLOR
    axes.plot(
        [optimum.lr_opt],
        [optimum.loss],
        "o",
        color=_COLOR,
        markerfacecolor=face,
        markersize=6.5,
        zorder=5,
        label="lowest (hollow: at the grid's end)",
    )
    axes.set_title(f"B = {optimum.batch_size}", fontsize=canvas.FONT_SIZE, color=canvas.INK)


def _lr_range(bowl: Bowl) -> tuple[float, float]:
    return float(np.exp(bowl.log_lr.min())) / 1.3, float(np.exp(bowl.log_lr.max())) * 1.3


def bowl_figure(panels: tuple[BowlPanel, ...], loss_column: str = "final_loss") -> Figure:
    """Draw the bowls side by side on one scale.

    Args:
        panels: What ``compute_bowls`` gave, at least one.
        loss_column: What the vertical axis is.

    Returns:
        A figure 7 inches wide.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = canvas.new_figure(7.0, 0.9 + 2.0 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    losses = np.concatenate([panel.bowl.log_loss for panel in panels])
    lowest = float(np.exp(np.min(losses)))
    finite = losses[np.isfinite(losses)]
    # The most that a trial which did not diverge ended with, all but the worst twentieth of them.
    top = min(float(np.exp(np.quantile(finite, 0.95))) * 1.6, lowest * _CEILING**2)
    rates = np.concatenate([panel.bowl.log_lr for panel in panels])
    for panel, axes in zip(panels, grid.flat, strict=False):
        draw_bowl(panel, axes, (lowest / 1.6, top))
        canvas.style_axes(axes, "", "")
        canvas.scale_log_axis(axes, lowest / 1.6, top)
        _scale_rates(axes, float(np.exp(rates.min())) / 1.3, float(np.exp(rates.max())) * 1.3)
        axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(loss_column.replace("_", " "), fontsize=canvas.FONT_SIZE, color=canvas.INK)
    for axes in grid[-1]:
        axes.set_xlabel("learning rate", fontsize=canvas.FONT_SIZE, color=canvas.INK)
    canvas.legend_below(figure, 4)
    return figure


def _scale_rates(axes: Axes, low: float, high: float) -> None:
    """Give axes a horizontal logarithmic scale with at most four numbers."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = canvas.tick_values(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // 4)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_number(x)))


def draw_growth(group: GroupFit, axes: Axes) -> None:
    """Draw the best learning rate beside the largest stable one, over batch size.

    Args:
        group: A group with an optimum.
        axes: Changed in place; both axes become logarithmic.

    Raises:
        ValueError: If the group has no optimum.
    """
    optima = as_group(group)
    if optima is None:
        raise ValueError("There is no best learning rate to draw: the table has no losses.")
    shown = [group, optima] if group.edges else [optima]
    placed = [points.place_points(one) for one in shown]
    y = [point.y for found in placed for point in found]
    y_range = (min(y) / 2.5, max(y) * 2.0)
    marks = {
        0: points.Mark(canvas.INK, "o", "LR_max, 95 %"),
        1: points.Mark(_COLOR, "s", "lr_opt, lowest loss, 95 %"),
    }
    for one, found in zip(shown, placed, strict=True):
        mark = marks[int(one is optima)]
        _draw_law(one, mark.color, "lr_opt" if one is optima else "LR_max", axes)
        inside = [point for point in found if point.censored is Censoring.NONE]
        points.draw_points(inside, {None: mark}, y_range, axes)
        _draw_outside([point for point in found if point not in inside], mark, axes)
    sizes = sorted({edge.batch_size for one in shown for edge in one.edges})
    canvas.style_axes(axes, "batch size B (examples)", "learning rate")
    canvas.scale_log_axis(axes, *y_range)
    points.scale_batch_axis(sizes, (min(sizes) / 2**0.6, max(sizes) * 2**0.6), axes)
    axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)


def _draw_outside(outside: list[points.EdgePoint], mark: points.Mark, axes: Axes) -> None:
    """Draw what lies beyond the grid as hollow triangles that point there."""
    for side, shape in ((Censoring.LEFT, "v"), (Censoring.RIGHT, "^")):
        hit = [point for point in outside if point.censored is side]
        axes.plot(
            [point.x for point in hit],
            [point.y for point in hit],
            shape,
            color=mark.color,
            markerfacecolor="white",
            markersize=7,
            zorder=4,
            label="at the grid's end, perhaps beyond" if hit else "_none",
        )


def _draw_law(group: GroupFit, color: str, symbol: str, axes: Axes) -> None:
    """Draw the law reported with its band."""
    law = group.best_law()
    if law is None:
        return
    sizes = [edge.batch_size for edge in group.edges]
    reach = 2.0**_OVERHANG_OCTAVES
    end = min(max(sizes) * reach, group.num_examples or np.inf)
    band = law_band(group, law, np.geomspace(min(sizes) / reach, end, 80))
    bounds = np.clip(np.array([band.low, band.high]), 1e-30, 1e30)
    axes.fill_between(band.batch_size, *bounds, color=color, alpha=0.12, linewidth=0)
    axes.plot(
        band.batch_size,
        band.median,
        color=color,
        linewidth=1.8,
        label=f"{symbol}: {law.name}, exponent {format_exponent(law.exponent)}",
    )


def growth_figure(group: GroupFit) -> Figure:
    """Draw how the best learning rate grows beside the largest stable one.

    Args:
        group: A group with an optimum.

    Returns:
        A figure 7 inches wide.
    """
    figure = canvas.new_figure(7.0, 4.2)
    draw_growth(group, figure.subplots())
    canvas.legend_below(figure, 2)
    return figure
