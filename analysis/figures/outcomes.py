"""The grid of outcomes: which values of the axis were stable at which batch size, and the edge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.axes import Axis
from analysis.edge_summaries import Censoring, Place
from analysis.figures import canvas
from analysis.slow import find_too_slow
from analysis.summaries import GroupFit
from analysis.words.formatting import format_number

# A column of more cells than this cannot be told apart at the figure's height (by eye).
_MAX_ROWS = 60
# Side by side in seven inches (by eye).
_MAX_COLUMNS = 3
_COLORS = LinearSegmentedColormap.from_list(
    "outcome", [canvas.DIVERGED, canvas.MIXED, canvas.STABLE]
)


@dataclass(frozen=True)
class OutcomeGrid:
    """The numbers of one grid of outcomes: a column per batch size, a row per value of the axis.

    Attributes:
        axis: What was searched.
        batch_size: Shape ``[columns]``, examples per step, ascending.
        value: Shape ``[rows]``, learning rates or dampings (or the middle of a bin), ascending.
        stable_share: Shape ``[rows, columns]``, share of the trials that were stable, those that
            were too slow left out; NaN where none is left.
        num_slow: Shape ``[rows, columns]``, trials that were too slow to meet the criterion.
        num_failed: Shape ``[rows, columns]``, trials without a measurement.
        edge: Shape ``[columns]``, the median edge; NaN for a batch size without one.
        censored: One per column: beside which end of the grid the edge lies.
        lr: The learning rate that was held, None where it is the axis.
    """

    axis: Axis
    batch_size: np.ndarray
    value: np.ndarray
    stable_share: np.ndarray
    num_slow: np.ndarray
    num_failed: np.ndarray
    edge: np.ndarray
    censored: tuple[Censoring, ...]
    lr: float | None = None


def compute_outcomes(trials: pd.DataFrame, group: GroupFit, lr: float | None = None) -> OutcomeGrid:
    """Count outcomes per cell.

    Args:
        trials: One row per trial of this group, with ``batch_size``, ``lr``, ``verdict`` and the
            column of the group's axis.
        group: Where the edges come from.
        lr: Which learning rate, where it was held; None where it is the axis.

    Returns:
        The numbers to draw.

    Raises:
        ValueError: If there is no trial.
    """
    axis = group.axis
    trials = trials if lr is None else trials[trials["lr"] == lr]
    if trials.empty:
        raise ValueError("A grid of outcomes needs at least one trial, got none.")
    values = _bin_values(trials[axis.name].to_numpy(dtype=float))
    value, row = np.unique(values, return_inverse=True)
    batch_size, column = np.unique(
        trials["batch_size"].to_numpy(dtype=np.int64), return_inverse=True
    )

    def count(chosen: pd.Series) -> np.ndarray:
        counts = np.zeros((value.size, batch_size.size), dtype=int)
        np.add.at(counts, (row, column), chosen.to_numpy(dtype=bool, na_value=False))
        return counts

    verdict, slow = trials["verdict"], find_too_slow(trials, axis)
    stable, diverged = count(verdict == "stable"), count((verdict == "diverged") & ~slow)
    with np.errstate(invalid="ignore"):
        share = stable / (stable + diverged)
    edges = {edge.place: edge for edge in group.edges}
    found = [edges.get(Place(int(size), lr)) for size in batch_size]
    return OutcomeGrid(
        axis=axis,
        batch_size=batch_size,
        value=value,
        stable_share=share,
        num_slow=count(slow),
        num_failed=count(verdict == "failed"),
        edge=np.array([axis.show(edge.median) if edge else np.nan for edge in found]),
        censored=tuple(edge.censored.seen_on(axis) if edge else Censoring.NONE for edge in found),
        lr=lr,
    )


def _bin_values(values: np.ndarray) -> np.ndarray:
    """Return the row of each value: itself on a lattice, else the middle of a bin."""
    # Nine decimals of the logarithm join what differs by rounding only.
    logs = np.round(np.log(values), 9)
    if np.unique(logs).size > _MAX_ROWS:
        bounds = np.linspace(logs.min(), logs.max(), _MAX_ROWS + 1)
        middles = (bounds[:-1] + bounds[1:]) / 2
        logs = middles[np.clip(np.searchsorted(bounds, logs, "right") - 1, 0, _MAX_ROWS - 1)]
    binned: np.ndarray = np.exp(logs)
    return binned


def draw_outcomes(grid: OutcomeGrid, axes: Axes, room: int = 70) -> None:
    """Draw the cells and the edge over them.

    Args:
        grid: The numbers.
        room: How many letters of batch sizes fit side by side (by eye; 70 across seven inches).
        axes: Changed in place; its vertical axis holds log10 of the searched value.
    """
    rows = _cell_bounds(np.log10(grid.value))
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
    canvas.style_axes(axes, "batch size B (examples)", grid.axis.word)
    canvas.scale_log_axis(axes, 10 ** rows[0], 10 ** rows[-1], powers=True)
    axes.set_xlim(columns[0], columns[-1])
    sizes = [f"{size:g}" for size in grid.batch_size]
    crowded = sum(len(size) + 1 for size in sizes) > room
    axes.set_xticks(range(len(sizes)), sizes, rotation=60 if crowded else 0)
    if grid.lr is not None:
        title = f"lr = {format_number(grid.lr)}"
        axes.set_title(title, fontsize=canvas.FONT_SIZE, color=canvas.INK)


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
            np.log10(grid.value)[row],
            "x",
            color=canvas.INK,
            markersize=4.5,
            markeredgewidth=1.2,
            label="some seeds failed",
        )


def _draw_edge(axes: Axes, grid: OutcomeGrid, rows: np.ndarray) -> None:
    columns = np.arange(grid.edge.size)
    heights = np.log10(grid.edge)
    inside = np.array([side is Censoring.NONE for side in grid.censored])
    line = np.where(inside, heights, np.nan)
    if inside.any():
        axes.plot(columns, line, color="white", linewidth=4, solid_capstyle="round")
        axes.plot(
            columns,
            line,
            "o-",
            color=canvas.INK,
            linewidth=1.6,
            markersize=4.5,
            label=grid.axis.symbol,
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


def _list_patches(grids: Sequence[OutcomeGrid]) -> list[Patch]:
    """Return what explains the colours that the grids show, and no others."""
    patches = {str(patch.get_label()): patch for grid in grids for patch in _patches_of(grid)}
    return list(patches.values())


def _patches_of(grid: OutcomeGrid) -> list[Patch]:
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
    """Compute and draw the grid of outcomes of one group, one for each learning rate held.

    Args:
        trials: One row per trial of this group, with ``batch_size``, ``lr`` and ``verdict``.
        group: Where the edges come from.

    Returns:
        A figure 7 inches wide.
    """
    rates: list[float | None] = [None]
    if group.axis.inverse:
        rates = [*sorted({float(lr) for lr in trials["lr"]})]
    grids = [compute_outcomes(trials, group, lr) for lr in rates]
    num_columns = min(len(grids), _MAX_COLUMNS)
    num_rows = -(-len(grids) // num_columns)
    figure = canvas.new_figure(7.0, 4.6 if num_rows == 1 else 3.4 * num_rows)
    panels = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True).ravel().tolist()
    for grid, axes in zip(grids, panels[: len(grids)], strict=True):
        draw_outcomes(grid, axes, 70 // num_columns)
        axes.label_outer()
    for axes in panels[len(grids) :]:
        axes.set_visible(False)
    _share_rows(grids, panels[: len(grids)])
    canvas.legend_below(figure, 4, _list_patches(grids))
    return figure


def _share_rows(grids: Sequence[OutcomeGrid], panels: Sequence[Axes]) -> None:
    """Give all panels the same vertical axis."""
    bounds = [_cell_bounds(np.log10(grid.value)) for grid in grids]
    low, high = min(rows[0] for rows in bounds), max(rows[-1] for rows in bounds)
    for axes in panels:
        canvas.scale_log_axis(axes, 10**low, 10**high, powers=True)
