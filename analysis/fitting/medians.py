"""One free median edge per place with a common spread: the model every law is a case of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.edge_summaries import Place
from analysis.fitting.cells import Cells
from analysis.fitting.intervals import students_t
from analysis.fitting.likelihood import FloatArray, bracket_likelihood
from analysis.fitting.maximize import Box, Problem, maximize

# sigma below a twelfth of the grid's log ratio cannot be told from no spread at all: statistics.md.
SIGMA_FLOOR = 1 / 12
_LARGEST_SIGMA = 20.0  # nobody's seeds differ by a factor of e^20; only a bound for the search
_SMALLEST_SIGMA = 1e-4  # the floor where a grid has no closed bracket to take it from
_NUM_SIGMAS = 64  # steps of the profile over sigma: each changes the deviance by less than .05
_NUM_BISECTIONS = 40


@dataclass(frozen=True)
class Medians:
    """The fitted medians.

    Attributes:
        places: What was held, ``b`` of them, ascending.
        log_median: Shape ``[b]``; infinite where the brackets are open on the same side.
        sigma: Standard deviation of the log edge, NaN when no median is finite.
        log_likelihood: At the maximum.
    """

    places: tuple[Place, ...]
    log_median: FloatArray
    sigma: float
    log_likelihood: float


@dataclass(frozen=True)
class _FreeMedians:
    """The mean function: ``log_b`` holds the position of the place's median in theta."""

    num_medians: int

    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return each cell's median."""
        return theta[:, log_b.astype(int)]

    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return ones where a median is used."""
        one_hot = np.eye(self.num_medians)[log_b.astype(int)]
        return np.broadcast_to(one_hot, (len(theta), *one_hot.shape))


def anchors(cells: Cells) -> FloatArray:
    """Return a log value in the middle, or at the known end, of every cell."""
    low = np.where(np.isfinite(cells.low), cells.low, cells.high)
    high = np.where(np.isfinite(cells.high), cells.high, cells.low)
    middle: FloatArray = (low + high) / 2
    return middle


def sigma_bounds(cells: Cells) -> tuple[float, float]:
    """Return the bounds of log sigma: the floor of the grid, and a spread beyond belief."""
    floor = max(SIGMA_FLOOR * cells.log_ratio, _SMALLEST_SIGMA)
    return float(np.log(floor)), float(np.log(_LARGEST_SIGMA))


@dataclass(frozen=True)
class _Layout:
    """Which cells belong to which place, and which medians can be fitted.

    Attributes:
        index: Shape ``[cells]``, position of each cell's place.
        center: Shape ``[b]``, mean anchor.
        limit: Shape ``[b]``, 0 where the median is finite, else the infinity it lies at.
    """

    index: np.ndarray
    center: FloatArray
    limit: FloatArray

    @property
    def num_places(self) -> int:
        """Number of places, ``b``."""
        return self.limit.size

    @property
    def known(self) -> np.ndarray:
        """Where the median is finite, shape ``[b]``."""
        return np.isfinite(self.limit)


def _lay_out(cells: Cells) -> _Layout:
    """Return the layout of a group's cells."""
    index, num = cells.place, len(cells.places)
    below = np.bincount(index, np.isfinite(cells.low), num)
    above = np.bincount(index, np.isfinite(cells.high), num)
    total = np.bincount(index, cells.weights, num)
    center = np.bincount(index, cells.weights * anchors(cells), num) / total
    limit = np.where(above == 0, np.inf, np.where(below == 0, -np.inf, 0.0))
    return _Layout(index, center, limit)


def _maximize_medians(
    cells: Cells, layout: _Layout, log_sigmas: FloatArray, *, free: bool
) -> FloatArray:
    """Return the best medians, and last log sigma, from or at each given spread."""
    known = layout.known
    rows = known[layout.index]
    ends = cells.low[rows], cells.high[rows]
    used = Cells(cells.place[rows], *ends, cells.counts[:, rows], cells.places)
    floor, ceiling = (np.full(log_sigmas.size, end) for end in sigma_bounds(cells))
    wide = np.full((log_sigmas.size, int(known.sum())), np.inf)
    low = np.column_stack([-wide, floor if free else log_sigmas])
    high = np.column_stack([wide, ceiling if free else log_sigmas])
    position = (np.cumsum(known) - 1)[layout.index[rows]].astype(float)
    problem = Problem(_FreeMedians(int(known.sum())), position, used, Box(low, high))
    start = np.column_stack([np.tile(layout.center[known], (log_sigmas.size, 1)), log_sigmas])
    return maximize(problem, used.weights, start).parameters


def _log_likelihoods(
    cells: Cells, layout: _Layout, medians: FloatArray, log_sigmas: FloatArray
) -> FloatArray:
    """Return each place's log-likelihood, shape ``[sigmas, b]``; medians broadcast to it."""
    mean = np.broadcast_to(medians, (log_sigmas.size, layout.num_places))[:, layout.index]
    # A median at infinity is certain to lie in its open bracket.
    certain = np.isinf(mean)
    mean = np.where(certain, 0.0, mean)
    parts = bracket_likelihood(cells.low, cells.high, mean, log_sigmas[:, None])
    value = np.where(certain, 0.0, parts.value) * cells.weights
    totals: FloatArray = value @ np.eye(layout.num_places)[layout.index]
    return totals


def fit_medians(cells: Cells) -> Medians:
    """Fit one median per place and a common spread by maximum likelihood.

    A place whose brackets are all open on the same side has its median at infinity and
    likelihood 1, which is where its maximum lies. Interval-censored log-normal regression as in
    Nelson 1982.

    Args:
        cells: Brackets of one group.

    Returns:
        The fitted medians.
    """
    layout = _lay_out(cells)
    log_median = layout.limit.copy()
    if not layout.known.any():
        return Medians(cells.places, log_median, float("nan"), 0.0)
    start = np.log(max(0.5 * cells.log_ratio, 0.05))
    best = _maximize_medians(cells, layout, np.array([start]), free=True)[0]
    log_median[layout.known] = best[:-1]
    total = float(_log_likelihoods(cells, layout, log_median, best[-1:]).sum())
    return Medians(cells.places, log_median, float(np.exp(best[-1])), total)


@dataclass(frozen=True)
class MedianIntervals:
    """95 % intervals of the medians.

    Attributes:
        low: Shape ``[b]``, log boldness; ``-inf`` where nothing bounds the median below.
        high: Shape ``[b]``; ``inf`` where nothing bounds it above.
    """

    low: FloatArray
    high: FloatArray


def bound_medians(cells: Cells, medians: Medians, confidence: float = 0.95) -> MedianIntervals:
    """Find the interval of each median by profile likelihood, the spread and the others refitted.

    Kept is every median with a deviance of at most ``n log(1 + t^2/(n - b))``, t at ``n - b``
    degrees of freedom: Student's interval with pooled spread when all edges are known exactly.
    With one seed per place there is no spread to learn, and the interval is the bracket.

    Args:
        cells: Brackets of one group.
        medians: The medians fitted to them.
        confidence: Coverage wanted, in (0, 1).

    Returns:
        The intervals.
    """
    layout = _lay_out(cells)
    df = cells.num_units - layout.num_places
    if df < 1 or np.isnan(medians.sigma):
        return _span_brackets(cells, layout)
    cut = cells.num_units * np.log1p(students_t(confidence, df) ** 2 / df)
    deviance = _profile_deviance(cells, layout, medians)
    reach = np.ptp(anchors(cells)) + 20 * max(medians.sigma, cells.log_ratio)
    away = layout.center + np.nan_to_num(np.sign(layout.limit)) * reach
    center = np.where(layout.known, medians.log_median, away)
    low, high = (_cross(deviance, center, center + side * 2 * reach, cut) for side in (-1, 1))
    low[layout.limit == -np.inf], high[layout.limit == np.inf] = -np.inf, np.inf
    return MedianIntervals(low, high)


def _span_brackets(cells: Cells, layout: _Layout) -> MedianIntervals:
    """Return the hull of each place's brackets."""
    low, high = np.full(layout.num_places, np.inf), np.full(layout.num_places, -np.inf)
    np.minimum.at(low, layout.index, cells.low)
    np.maximum.at(high, layout.index, cells.high)
    return MedianIntervals(low, high)


def _profile_deviance(
    cells: Cells, layout: _Layout, medians: Medians
) -> Callable[[FloatArray], FloatArray]:
    """Return the deviance of moving each median, with the spread and the other medians refitted.

    Given the spread the places are independent, so a table over spreads does the refitting.
    """
    floor, _ = sigma_bounds(cells)
    top = np.log(10 * max(medians.sigma, cells.log_ratio))
    log_sigmas = np.append(np.linspace(floor, top, _NUM_SIGMAS), np.log(medians.sigma))
    fitted = np.tile(layout.limit, (log_sigmas.size, 1))
    fitted[:, layout.known] = _maximize_medians(cells, layout, log_sigmas, free=False)[:, :-1]
    best = _log_likelihoods(cells, layout, fitted, log_sigmas)
    others = best.sum(1, keepdims=True) - best

    def deviance(median: FloatArray) -> FloatArray:
        profile = (_log_likelihoods(cells, layout, median, log_sigmas) + others).max(0)
        above: FloatArray = 2 * (medians.log_likelihood - profile)
        return above

    return deviance


def _cross(
    deviance: Callable[[FloatArray], FloatArray],
    inside: FloatArray,
    outside: FloatArray,
    cut: float,
) -> FloatArray:
    """Bisect, for all places at once, for where the deviance reaches the cut."""
    for _ in range(_NUM_BISECTIONS):
        middle = (inside + outside) / 2
        kept = deviance(middle) <= cut
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    return inside
