"""Where stability ends: a bracket for every place and seed, and their median over seeds.

All in boldness (:mod:`analysis.axes`): the learning rate itself, or the inverse of a damping.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.axes import LR_AXIS, Axis
from analysis.criteria import Verdict
from analysis.edge_summaries import Censoring, Edge, MedianEdge, Place
from analysis.fitting.cells import collect_cells
from analysis.fitting.likelihood import FloatArray
from analysis.fitting.medians import bound_medians, fit_medians
from analysis.slow import find_too_slow, find_unmet


def bracket_edge(boldness: np.ndarray, diverged: np.ndarray) -> tuple[float, float, int]:
    """Split the values tried at one place, under one seed, with the fewest misplaced trials.

    A trial is misplaced when it diverged below the split or was stable above it. Where several
    splits are equally good, the bracket spans them all: the edge may be at any of them.

    Args:
        boldness: Shape ``[n]``, learning rates or inverse dampings in any order.
        diverged: Shape ``[n]``, booleans.

    Returns:
        The largest value below the split (0 when none), the smallest above it (infinity when
        none), and the number of misplaced trials.

    Example:
        >>> bracket_edge(np.array([1.0, 2.0, 4.0]), np.array([False, False, True]))
        (2.0, 4.0, 0)
        >>> bracket_edge(np.array([1.0, 2.0, 4.0, 8.0]), np.array([False, True, False, True]))
        (1.0, 8.0, 1)
    """
    order = np.argsort(boldness, kind="stable")
    diverged = np.asarray(diverged, dtype=bool)[order]
    diverged_below = np.concatenate([[0], np.cumsum(diverged)])
    stable_above = (~diverged).sum() - np.concatenate([[0], np.cumsum(~diverged)])
    misplaced = diverged_below + stable_above
    best = np.flatnonzero(misplaced == misplaced.min())
    ends = np.concatenate([[0.0], np.asarray(boldness, dtype=float)[order], [np.inf]])
    return float(ends[best[0]]), float(ends[best[-1] + 1]), int(misplaced.min())


def find_edges(frame: pd.DataFrame, axis: Axis = LR_AXIS) -> tuple[Edge, ...]:
    """Bracket the edge of every place and seed of one group.

    Args:
        frame: Rows of one group with columns ``batch_size``, ``lr``, ``seed``, ``verdict`` and
            that of the axis; failed rows are no measurement and are left out, and so are trials
            that were only too slow (:func:`analysis.slow.find_too_slow`); the losses, where
            known, tell them.
        axis: What was searched.

    Returns:
        One edge per (place, seed) that has a measurement, ascending. Where every value missed
        the criterion and the mildest were too slow, there is none.

    Example:
        >>> find_edges(pd.DataFrame({
        ...     "batch_size": 8, "seed": 0, "lr": [0.1, 0.2], "verdict": ["stable", "diverged"]
        ... }))
        (Edge(batch_size=8, seed=0, stable=0.1, diverged=0.2, num_misplaced=0, lr=None),)
    """
    frame = frame[frame["verdict"] != Verdict.FAILED]
    frame = frame[~find_too_slow(frame, axis) & ~find_unmet(frame, axis)]
    if frame.empty:
        return ()
    units = frame.assign(bold=axis.bold(frame[axis.name])).sort_values(
        [*axis.held, "seed", "bold"], kind="stable"
    )
    bold, diverged = units["bold"].to_numpy(float), units["verdict"] == Verdict.DIVERGED
    changed = (units[[*axis.held, "seed"]].diff().fillna(1) != 0).any(axis=1).to_numpy(bool)
    starts = np.flatnonzero(changed)
    brackets = _bracket_units(bold, diverged.to_numpy(bool), starts)
    first = units.iloc[starts]
    rates = first["lr"].tolist() if axis.inverse else [None] * starts.size
    return tuple(
        Edge(size, seed, low, high, misplaced, lr=lr)
        for size, seed, low, high, misplaced, lr in zip(
            first["batch_size"].to_numpy(np.int64).tolist(),
            first["seed"].to_numpy(np.int64).tolist(),
            brackets.stable.tolist(),
            brackets.diverged.tolist(),
            brackets.num_misplaced.tolist(),
            rates,
            strict=True,
        )
    )


@dataclass(frozen=True)
class _Brackets:
    """What :func:`bracket_edge` says of many units, each array of shape ``[units]``."""

    stable: FloatArray
    diverged: FloatArray
    num_misplaced: np.ndarray


def _bracket_units(bold: FloatArray, diverged: np.ndarray, starts: np.ndarray) -> _Brackets:
    """Bracket the edge of every unit at once: a call for each of a million rows takes seconds.

    Args:
        bold: Shape ``[n]``, boldness, units one after the other and ascending in each.
        diverged: Shape ``[n]``, booleans.
        starts: Shape ``[units]``, where each unit begins.

    Returns:
        The brackets.
    """
    stops = np.append(starts[1:], bold.size)
    unit = np.repeat(np.arange(starts.size), stops - starts)
    # Misplaced trials of the split just below each trial, and of the one above all of a unit.
    num_diverged = np.add.reduceat(diverged.astype(np.int64), starts)
    num_stable = stops - starts - num_diverged
    diverged_below = np.concatenate([[0], np.cumsum(diverged)[:-1]])
    stable_below = np.arange(bold.size) - diverged_below
    below = (diverged_below - diverged_below[starts][unit]) + (
        num_stable[unit] - (stable_below - stable_below[starts][unit])
    )
    least = np.minimum(np.minimum.reduceat(below, starts), num_diverged)
    best, place = below == least[unit], np.arange(bold.size)
    at_top = num_diverged == least
    lowest = np.minimum.reduceat(np.where(best, place, bold.size), starts)
    highest = np.maximum.reduceat(np.where(best, place, -1), starts)
    lowest = np.minimum(lowest, stops)
    return _Brackets(
        stable=np.where(lowest > starts, bold[lowest - 1], 0.0),
        diverged=np.where(at_top, np.inf, bold[highest]),
        num_misplaced=least,
    )


def find_boldest_stable(frame: pd.DataFrame, axis: Axis = LR_AXIS) -> pd.Series:
    """Find the boldest stable value of every place, as people usually do.

    Args:
        frame: Rows of one group.
        axis: What was searched.

    Returns:
        Boldness indexed by what was held, ascending; places without a stable trial are missing.
    """
    stable = frame[frame["verdict"] == Verdict.STABLE]
    stable = stable.assign(bold=axis.bold(stable[axis.name]))
    boldest: pd.Series = stable.groupby(list(axis.held))["bold"].max().sort_index()
    return boldest


def find_median_edges(edges: Sequence[Edge]) -> tuple[MedianEdge, ...]:
    """Estimate the median edge of every place, LR_max(B), with its 95 % interval.

    The median is that of the interval-censored log-normal model with one free median per place
    and a common spread, its interval the profile likelihood's
    (:func:`analysis.fitting.medians.bound_medians`). An end is 0 or infinity where the grid ended
    before the edge; then ``median`` is the known end of the median bracket.

    Args:
        edges: Brackets of one group.

    Returns:
        One median edge per place, ascending.

    Example:
        >>> [found] = find_median_edges([Edge(8, seed, 0.1, 0.2) for seed in range(3)])
        >>> round(found.median, 3), found.censored.value
        (0.141, 'none')
    """
    cells = collect_cells(edges)
    if not cells.low.size:
        return ()
    medians = fit_medians(cells)
    intervals = bound_medians(cells, medians)
    told: dict[Place, list[Edge]] = {}
    for edge in edges:
        if edge.stable > 0 or np.isfinite(edge.diverged):
            told.setdefault(edge.place, []).append(edge)
    return tuple(
        _median_edge(told[place], float(median), (float(low), float(high)))
        for place, median, low, high in zip(
            medians.places, medians.log_median, intervals.low, intervals.high, strict=True
        )
    )


def _median_edge(edges: list[Edge], log_median: float, log_ci: tuple[float, float]) -> MedianEdge:
    """Put one place's numbers together."""
    with np.errstate(divide="ignore"):
        stable = float(np.exp(np.median(np.log([e.stable for e in edges]))))
        diverged = float(np.exp(np.median(np.log([e.diverged for e in edges]))))
    # Half of the seeds or more outside the grid: the median is outside it, or known only through
    # the assumed shape of the spread.
    left, right = log_median == -np.inf or stable == 0, log_median == np.inf or diverged == np.inf
    censored, median = Censoring.NONE, float(np.exp(log_median))
    if left and not right:
        censored, median = Censoring.LEFT, diverged
    elif right and not left:
        censored, median = Censoring.RIGHT, stable
    with np.errstate(over="ignore"):
        low, high = float(np.exp(log_ci[0])), float(np.exp(log_ci[1]))
    # Where seeds have grids of their own, the likelihood may lie wholly beyond the known end.
    ends = (min(low, median), max(high, median))
    first, num = edges[0], len(edges)
    return MedianEdge(first.batch_size, num, median, ends, stable, diverged, censored, first.lr)
