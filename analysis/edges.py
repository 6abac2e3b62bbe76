"""Where stability ends: a bracket for every (batch size, seed), and LR_max(B), their median."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.cells import Cells, collect_cells
from analysis.criteria import Verdict
from analysis.likelihood import FloatArray, bracket_likelihood
from analysis.maximize import Box, Problem, maximize
from analysis.summaries import Censoring, Edge, MaxLR

# sigma below a twelfth of the grid's log ratio cannot be told from no spread at all: statistics.md.
SIGMA_FLOOR = 1 / 12


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
            failed rows are no measurement and are left out.

    Returns:
        One edge per (batch size, seed) that has a measurement, ascending.

    Example:
        >>> find_edges(pd.DataFrame({
        ...     "batch_size": 8, "seed": 0, "lr": [0.1, 0.2], "verdict": ["stable", "diverged"]
        ... }))
        (Edge(batch_size=8, seed=0, lr_stable=0.1, lr_diverged=0.2, num_misplaced=0),)
    """
    frame = frame[frame["verdict"] != Verdict.FAILED]
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


@dataclass(frozen=True)
class Medians:
    """One free median per batch size with a common spread: the model every law is a case of.

    Attributes:
        batch_size: Shape ``[b]``, ascending.
        log_median: Shape ``[b]``; infinite where no bracket is closed.
        sigma: Standard deviation of the log edge, NaN when no bracket is closed.
        log_likelihood: At the maximum.
    """

    batch_size: FloatArray
    log_median: FloatArray
    sigma: float
    log_likelihood: float


@dataclass(frozen=True)
class _FreeMedians:
    """The mean function of :class:`Medians`: ``log_b`` holds the index of the batch size."""

    num_batch_sizes: int

    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Pick the batch size's median."""
        return theta[:, log_b.astype(int)]

    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return ones where a median is used."""
        one_hot = np.eye(self.num_batch_sizes)[log_b.astype(int)]
        return np.broadcast_to(one_hot, (len(theta), *one_hot.shape))


def _anchors(cells: Cells) -> FloatArray:
    """Return a log learning rate inside or at the known end of every cell."""
    low = np.where(np.isfinite(cells.low), cells.low, cells.high)
    high = np.where(np.isfinite(cells.high), cells.high, cells.low)
    anchors: FloatArray = (low + high) / 2
    return anchors


def sigma_bounds(cells: Cells) -> tuple[float, float]:
    """Return the bounds of log sigma: the floor of the grid, and a spread beyond belief."""
    floor = max(SIGMA_FLOOR * cells.log_ratio, 1e-4)
    return float(np.log(floor)), float(np.log(20.0))


def fit_medians(cells: Cells) -> Medians:
    """Fit one median per batch size and a common spread by maximum likelihood.

    A batch size whose brackets are all open at the same side has its median at infinity and
    likelihood 1, which is where its maximum lies.

    Args:
        cells: Brackets of one group.

    Returns:
        The fitted medians.

    Source:
        Interval-censored log-normal regression, Nelson 1982.
    """
    sizes, index = np.unique(cells.batch_size, return_inverse=True)
    weights, anchors = cells.weights, _anchors(cells)
    below = np.bincount(index, weights * np.isfinite(cells.low), sizes.size)
    above = np.bincount(index, weights * np.isfinite(cells.high), sizes.size)
    start = np.bincount(index, weights * anchors, sizes.size) / np.bincount(index, weights)
    log_median = np.where(above == 0, np.inf, np.where(below == 0, -np.inf, start))
    known = np.isfinite(log_median)
    if not known.any():
        return Medians(sizes, log_median, float("nan"), 0.0)
    rows = known[index]
    used = Cells(cells.batch_size[rows], cells.low[rows], cells.high[rows], cells.counts[:, rows])
    floor, ceiling = sigma_bounds(cells)
    wide = np.full(int(known.sum()), np.inf)
    box = Box(np.append(-wide, floor), np.append(wide, ceiling))
    position = (np.cumsum(known) - 1)[index[rows]].astype(float)
    problem = Problem(_FreeMedians(int(known.sum())), position, used, box)
    spread = max(np.exp(floor), 0.5 * cells.log_ratio, 0.05)
    best = maximize(problem, used.weights, np.append(log_median[known], np.log(spread))[None])
    log_median[known] = best.parameters[0, :-1]
    sigma = float(np.exp(best.parameters[0, -1]))
    return Medians(sizes, log_median, sigma, float(best.log_likelihood[0]))


def find_max_lr(edges: Sequence[Edge]) -> tuple[MaxLR, ...]:
    """Estimate LR_max(B), the median edge, with its 95 % interval.

    The interval keeps every median ``m`` with ``2 (l(m_hat) - l(m)) <= t^2 n/(n - b)`` at the
    fitted common spread: Student's t interval when all edges are known exactly. ``n`` counts the
    units, ``b`` the batch sizes. An end is 0 or infinity where the grid ended before the edge.
    With one seed per batch size there is no spread to learn, and the interval is the bracket.

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
    lows, highs = _median_intervals(cells, medians)
    return tuple(
        _max_lr([e for e in edges if e.batch_size == size], float(m), (float(low), float(high)))
        for size, m, low, high in zip(
            medians.batch_size, medians.log_median, lows, highs, strict=True
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
    ends = (float(np.exp(log_ci[0])), float(np.exp(log_ci[1])))
    return MaxLR(edges[0].batch_size, len(edges), lr_max, ends, stable, diverged, censored)


def _median_intervals(cells: Cells, medians: Medians) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the medians' intervals in log learning rate."""
    index = np.searchsorted(medians.batch_size, cells.batch_size)
    outer_low = np.full(medians.batch_size.size, np.inf)
    outer_high = -outer_low
    np.minimum.at(outer_low, index, cells.low)
    np.maximum.at(outer_high, index, cells.high)
    df = cells.num_units - medians.batch_size.size
    if df < 1 or not np.isfinite(medians.sigma):
        return outer_low, outer_high
    cut = stats.t.ppf(0.975, df) ** 2 * cells.num_units / df
    return (
        _solve_end(cells, medians, index, cut, -1.0),
        _solve_end(cells, medians, index, cut, 1.0),
    )


def _solve_end(
    cells: Cells, medians: Medians, index: np.ndarray, cut: float, side: float
) -> FloatArray:
    """Bisect for the median where the deviance reaches the cut, on one side of the maximum."""
    log_sigma = np.log(np.full(1, medians.sigma))
    anchor = np.bincount(index, cells.weights * _anchors(cells)) / np.bincount(index, cells.weights)
    center = np.where(np.isfinite(medians.log_median), medians.log_median, anchor)

    def value(median: FloatArray) -> FloatArray:
        parts = bracket_likelihood(cells.low, cells.high, median[index], log_sigma)
        total: FloatArray = np.bincount(index, cells.weights * parts.value).astype(float)
        return total

    peak = np.where(np.isfinite(medians.log_median), value(center), 0.0)
    # An all-open batch size peaks at infinity: start its search where it is surely inside.
    reach = 20 * medians.sigma + np.ptp(_anchors(cells)) + 5 * cells.log_ratio
    inside = np.where(medians.log_median == -side * np.inf, center - side * reach, center)
    outside = center + side * reach
    for _ in range(40):
        middle = (inside + outside) / 2
        kept = 2 * (peak - value(middle)) <= cut
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    ends: FloatArray = np.where(medians.log_median == side * np.inf, side * np.inf, inside)
    return ends
