"""Where stability ends: a bracket for every (batch size, seed), and LR_max(B), their median."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.cells import collect_cells
from analysis.criteria import Verdict
from analysis.medians import bound_medians, fit_medians
from analysis.slow import find_too_slow, find_unmet
from analysis.summaries import Censoring, Edge, MaxLR


def bracket_edge(lr: np.ndarray, diverged: np.ndarray) -> tuple[float, float, int]:
    """Split the learning rates of one (batch size, seed) with the fewest misplaced trials.

    A trial is misplaced when it diverged below the split or was stable above it. Where several
    splits are equally good, the bracket spans them all: the edge may be at any of them.

    Args:
        lr: Shape ``[n]``, learning rates in any order.
        diverged: Shape ``[n]``, booleans.

    Returns:
        The largest learning rate below the split (0 when none), the smallest above it (infinity
        when none), and the number of misplaced trials.

    Example:
        >>> bracket_edge(np.array([1.0, 2.0, 4.0]), np.array([False, False, True]))
        (2.0, 4.0, 0)
        >>> bracket_edge(np.array([1.0, 2.0, 4.0, 8.0]), np.array([False, True, False, True]))
        (1.0, 8.0, 1)
    """
    order = np.argsort(lr, kind="stable")
    diverged = np.asarray(diverged, dtype=bool)[order]
    diverged_below = np.concatenate([[0], np.cumsum(diverged)])
    stable_above = (~diverged).sum() - np.concatenate([[0], np.cumsum(~diverged)])
    misplaced = diverged_below + stable_above
    best = np.flatnonzero(misplaced == misplaced.min())
    ends = np.concatenate([[0.0], np.asarray(lr, dtype=float)[order], [np.inf]])
    return float(ends[best[0]]), float(ends[best[-1] + 1]), int(misplaced.min())


def find_edges(frame: pd.DataFrame) -> tuple[Edge, ...]:
    """Bracket the edge of every (batch size, seed) of one group.

    Args:
        frame: Rows of one group with columns ``batch_size``, ``lr``, ``seed`` and ``verdict``;
            failed rows are no measurement and are left out, and so are trials that were only
            too slow (:func:`analysis.slow.find_too_slow`); the losses, where known, tell them.

    Returns:
        One edge per (batch size, seed) that has a measurement, ascending. Where every learning
        rate missed the criterion and the smallest were too slow, there is none.

    Example:
        >>> find_edges(pd.DataFrame({
        ...     "batch_size": 8, "seed": 0, "lr": [0.1, 0.2], "verdict": ["stable", "diverged"]
        ... }))
        (Edge(batch_size=8, seed=0, lr_stable=0.1, lr_diverged=0.2, num_misplaced=0),)
    """
    frame = frame[frame["verdict"] != Verdict.FAILED]
    frame = frame[~find_too_slow(frame) & ~find_unmet(frame)]
    if frame.empty:
        return ()
    size = frame["batch_size"].to_numpy(np.int64)
    seed = frame["seed"].to_numpy(np.int64)
    lr = frame["lr"].to_numpy(float)
    diverged = (frame["verdict"] == Verdict.DIVERGED).to_numpy(bool)
    order = np.lexsort((lr, seed, size))
    size, seed, lr, diverged = size[order], seed[order], lr[order], diverged[order]
    starts = np.flatnonzero((np.diff(size, prepend=-1) != 0) | (np.diff(seed, prepend=-1) != 0))
    stops = np.append(starts[1:], size.size)
    return tuple(
        Edge(int(size[i]), int(seed[i]), *bracket_edge(lr[i:j], diverged[i:j]))
        for i, j in zip(starts, stops, strict=True)
    )


def find_largest_stable(frame: pd.DataFrame) -> pd.Series:
    """Find the largest stable learning rate of every batch size, as people usually do.

    Args:
        frame: Rows of one group.

    Returns:
        Learning rates indexed by batch size, ascending; batch sizes without a stable trial are
        missing.
    """
    stable = frame[frame["verdict"] == Verdict.STABLE]
    largest: pd.Series = stable.groupby("batch_size")["lr"].max().sort_index()
    return largest


def find_max_lr(edges: Sequence[Edge]) -> tuple[MaxLR, ...]:
    """Estimate LR_max(B), the median edge, with its 95 % interval.

    The median is that of the interval-censored log-normal model with one free median per batch
    size and a common spread, its interval the profile likelihood's
    (:func:`analysis.medians.bound_medians`). An end is 0 or infinity where the grid ended before
    the edge; then ``lr_max`` is the known end of the median bracket.

    Args:
        edges: Brackets of one group.

    Returns:
        One LR_max per batch size, ascending.

    Example:
        >>> [found] = find_max_lr([Edge(8, seed, 0.1, 0.2) for seed in range(3)])
        >>> round(found.lr_max, 3), found.censored.value
        (0.141, 'none')
    """
    cells = collect_cells(edges)
    if not cells.low.size:
        return ()
    medians = fit_medians(cells)
    intervals = bound_medians(cells, medians)
    told: dict[int, list[Edge]] = {}
    for edge in edges:
        if edge.lr_stable > 0 or np.isfinite(edge.lr_diverged):
            told.setdefault(edge.batch_size, []).append(edge)
    return tuple(
        _max_lr(told[int(size)], float(median), (float(low), float(high)))
        for size, median, low, high in zip(
            medians.batch_size, medians.log_median, intervals.low, intervals.high, strict=True
        )
    )


def _max_lr(edges: list[Edge], log_median: float, log_ci: tuple[float, float]) -> MaxLR:
    """Put one batch size's numbers together."""
    with np.errstate(divide="ignore"):
        stable = float(np.exp(np.median(np.log([e.lr_stable for e in edges]))))
        diverged = float(np.exp(np.median(np.log([e.lr_diverged for e in edges]))))
    # Half of the seeds or more outside the grid: the median is outside it, or known only through
    # the assumed shape of the spread.
    left, right = log_median == -np.inf or stable == 0, log_median == np.inf or diverged == np.inf
    censored = Censoring.NONE
    lr_max = float(np.exp(log_median))
    if left and not right:
        censored, lr_max = Censoring.LEFT, diverged
    elif right and not left:
        censored, lr_max = Censoring.RIGHT, stable
    with np.errstate(over="ignore"):
        low, high = float(np.exp(log_ci[0])), float(np.exp(log_ci[1]))
    # Where seeds have grids of their own, the likelihood may lie wholly beyond the known end.
    ends = (min(low, lr_max), max(high, lr_max))
    return MaxLR(edges[0].batch_size, len(edges), lr_max, ends, stable, diverged, censored)
