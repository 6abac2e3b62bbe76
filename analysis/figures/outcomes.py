"""The grid of outcomes: which learning rates were stable at which batch size, and the edge."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.figures import canvas
from analysis.slow import find_too_slow
from analysis.summaries import Censoring, GroupFit

# A column of more cells than this cannot be told apart at the figure's height (by eye).
_MAX_ROWS = 60
_COLORS = LinearSegmentedColormap.from_list(
    "outcome", [canvas.DIVERGED, canvas.MIXED, canvas.STABLE]
)


@dataclass(frozen=True)
class OutcomeGrid:
    """The numbers of the outcome figure: one column per batch size, one row per learning rate.

    Attributes:
        batch_size: Shape ``[columns]``, examples per step, ascending.
        lr: Shape ``[rows]``, learning rates (or the middle of a bin of them), ascending.
        stable_share: Shape ``[rows, columns]``, share of the trials that were stable, those that
            were too slow left out; NaN where none is left.
        num_slow: Shape ``[rows, columns]``, trials that were too slow to meet the criterion.
        num_failed: Shape ``[rows, columns]``, trials without a measurement.
        lr_max: Shape ``[columns]``, the edge; NaN for a batch size without one.
        censored: One per column: whether the edge lies outside the grid.
    """

    batch_size: np.ndarray
    lr: np.ndarray
    stable_share: np.ndarray
    num_slow: np.ndarray
    num_failed: np.ndarray
    lr_max: np.ndarray
    censored: tuple[Censoring, ...]


def compute_outcomes(trials: pd.DataFrame, group: GroupFit) -> OutcomeGrid:
    """Count outcomes per cell.

    Args:
        trials: One row per trial of this group, with ``batch_size``, ``lr`` and ``verdict``.
        group: Where the edges come from.

    Returns:
        The numbers to draw.

    Raises:
        ValueError: If there is no trial.
    """
    if trials.empty:
        raise ValueError("A grid of outcomes needs at least one trial, got none.")
    lr, row = np.unique(_bin_rates(trials["lr"].to_numpy(dtype=float)), return_inverse=True)
    batch_size, column = np.unique(
        trials["batch_size"].to_numpy(dtype=np.int64), return_inverse=True
    )

    def count(chosen: pd.Series) -> np.ndarray:
        counts = np.zeros((lr.size, batch_size.size), dtype=int)
        np.add.at(counts, (row, column), chosen.to_numpy(dtype=bool, na_value=False))
        return counts

    verdict, slow = trials["verdict"], find_too_slow(trials)
    stable, diverged = count(verdict == "stable"), count((verdict == "diverged") & ~slow)
    with np.errstate(invalid="ignore"):
        share = stable / (stable + diverged)
    edges = {edge.batch_size: edge for edge in group.edges}
    found = [edges.get(int(size)) for size in batch_size]
    return OutcomeGrid(
        batch_size=batch_size,
        lr=lr,
        stable_share=share,
        num_slow=count(slow),
        num_failed=count(verdict == "failed"),
        lr_max=np.array([edge.lr_max if edge else np.nan for edge in found]),
        censored=tuple(edge.censored if edge else Censoring.NONE for edge in found),
    )


def _bin_rates(lr: np.ndarray) -> np.ndarray:
    """Return the row of each learning rate: itself on a lattice, else the middle of a bin."""
    # Nine decimals of the logarithm join what differs by rounding only.
    logs = np.round(np.log(lr), 9)
    if np.unique(logs).size > _MAX_ROWS:
        bounds = np.linspace(logs.min(), logs.max(), _MAX_ROWS + 1)
        middles = (bounds[:-1] + bounds[1:]) / 2
        logs = middles[np.clip(np.searchsorted(bounds, logs, "right") - 1, 0, _MAX_ROWS - 1)]
    rates: np.ndarray = np.exp(logs)
    return rates


def draw_outcomes(grid: OutcomeGrid, axes: Axes) -> None:
    """Draw the cells and the edge over them.

    Args:
        grid: The numbers.
        axes: Changed in place; its vertical axis holds log10 of the learning rate.
    """
    rows = _cell_bounds(np.log10(grid.lr))
    columns = np.arange(grid.batch_size.size + 1) - 0.5
    share = np.ma.masked_invalid(grid.stable_share)
    axes.pcolormesh(
        columns, rows, share, cmap=_COLORS, vmin=0, vmax=1, edgecolors="white", linewidth=0.8
    )
    only_slow = np.ma.masked_where(~_only_slow(grid), np.zeros(share.shape))
    axes.pcolormesh(
        columns, rows, only_slow, cmap=ListedColormap([canvas.SLOW]), edgecolors="white", lw=0.8
    )
    only_failed = np.isnan(grid.stable_share) & (grid.num_failed > 0) & ~_only_slow(grid)
    some_failed = ~np.isnan(grid.stable_share) & (grid.num_failed > 0)
    _draw_failed(axes, grid, rows, only_failed, some_failed)
    _draw_edge(axes, grid, rows)
    canvas.style_axes(axes, "batch size B (examples)", "learning rate")
    canvas.scale_log_axis(axes, 10 ** rows[0], 10 ** rows[-1], powers=True)
    axes.set_xlim(columns[0], columns[-1])
    sizes = [f"{size:g}" for size in grid.batch_size]
    crowded = sum(len(size) + 1 for size in sizes) > 70
    axes.set_xticks(range(len(sizes)), sizes, rotation=60 if crowded else 0)


def _only_slow(grid: OutcomeGrid) -> np.ndarray:
    """Return the cells where nothing but slowness was seen."""
    only: np.ndarray = np.isnan(grid.stable_share) & (grid.num_slow > 0)
    return only


def _cell_bounds(centres: np.ndarray) -> np.ndarray:
    if centres.size == 1:
        return np.array([centres[0] - 0.15, centres[0] + 0.15])
    middles = (centres[:-1] + centres[1:]) / 2
    first, last = 2 * centres[0] - middles[0], 2 * centres[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])


def _draw_failed(
    axes: Axes, grid: OutcomeGrid, rows: np.ndarray, every: np.ndarray, some: np.ndarray
) -> None:
    for row, column in np.argwhere(every):
        axes.bar(
            column,
            rows[row + 1] - rows[row],
            width=1,
            bottom=rows[row],
            color=canvas.FAILED,
            edgecolor="white",
            hatch="xxxx",
            linewidth=0.8,
        )
    if some.any():
        row, column = np.nonzero(some)
        axes.plot(
            column,
            np.log10(grid.lr)[row],
            "x",
            color=canvas.INK,
            markersize=4.5,
            markeredgewidth=1.2,
            label="some seeds failed",
        )


def _draw_edge(axes: Axes, grid: OutcomeGrid, rows: np.ndarray) -> None:
    columns = np.arange(grid.lr_max.size)
    heights = np.log10(grid.lr_max)
    inside = np.array([side is Censoring.NONE for side in grid.censored])
    line = np.where(inside, heights, np.nan)
    if inside.any():
        axes.plot(columns, line, color="white", linewidth=4, solid_capstyle="round")
        axes.plot(
            columns, line, "o-", color=canvas.INK, linewidth=1.6, markersize=4.5, label="LR_max"
        )
    # Triangles stand just inside the border, clear of the numbers outside.
    room = 0.02 * (rows[-1] - rows[0])
    ends = ((Censoring.RIGHT, "^", rows[-1] - room), (Censoring.LEFT, "v", rows[0] + room))
    for side, marker, end in ends:
        hit = [column for column in columns if grid.censored[column] is side]
        if hit:
            axes.plot(
                hit,
                [end] * len(hit),
                marker,
                color=canvas.INK,
                markeredgecolor="white",
                markersize=8,
            )


def _list_patches(grid: OutcomeGrid) -> list[Patch]:
    """Return what explains the colours that the grid shows, and no others."""
    share, failed = grid.stable_share, grid.num_failed
    entries = [
        (share == 1, Patch(facecolor=canvas.STABLE, label="all seeds stable")),
        ((share > 0) & (share < 1), Patch(facecolor=canvas.MIXED, label="some stable, some not")),
        (share == 0, Patch(facecolor=canvas.DIVERGED, label="all diverged")),
        (_only_slow(grid), Patch(facecolor=canvas.SLOW, label="too slow for the horizon")),
        (
            np.isnan(share) & (failed > 0) & ~_only_slow(grid),
            Patch(
                facecolor=canvas.FAILED,
                edgecolor="white",
                hatch="xxxx",
                label="failed",
            ),
        ),
        (
            np.isnan(share) & (failed == 0) & ~_only_slow(grid),
            Patch(facecolor="white", edgecolor=canvas.MUTED, linewidth=0.6, label="not run"),
        ),
    ]
    return [patch for present, patch in entries if present.any()]


def outcome_figure(trials: pd.DataFrame, group: GroupFit) -> Figure:
    """Compute and draw the grid of outcomes of one group.

    Args:
        trials: One row per trial of this group, with ``batch_size``, ``lr`` and ``verdict``.
        group: Where the edges come from.

    Returns:
        A figure 7 inches wide.
    """
    figure = canvas.new_figure(7.0, 4.6)
    grid = compute_outcomes(trials, group)
    draw_outcomes(grid, figure.subplots())
    canvas.legend_below(figure, 4, _list_patches(grid))
    return figure
