"""Intervals for the exponent of one law: profile likelihood with an F cut, bootstrap over seeds."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.likelihood import FloatArray
from analysis.maximize import Box, Maxima, Problem, maximize

# 200 draws give the standard error to 5 %, small beside t with 5 degrees of freedom.
NUM_DRAWS = 200
# Below 3 seeds the spread between resampled seeds says nothing (t with 1 degree of freedom: 12.7).
MIN_SEEDS_FOR_BOOTSTRAP = 3
_BOOTSTRAP_SEED = 20201103  # any fixed number: the same table gives the same interval


@dataclass(frozen=True)
class Interval:
    """An interval of the exponent.

    Attributes:
        low: Lower end.
        high: Upper end.
        on_box: Whether an end is the box of the parameter and not the data's.
    """

    low: float
    high: float
    on_box: bool = False

    def hull(self, other: "Interval") -> "Interval":
        """Return the smallest interval that holds both."""
        return Interval(
            min(self.low, other.low), max(self.high, other.high), self.on_box or other.on_box
        )


def profile_cut(
    confidence: float, *, phi: float, num_units: int, num_batch_sizes: int, num_parameters: int
) -> float:
    """Compute the largest deviance ``2 (l_hat - l)`` a value of the exponent may have.

    ``phi n log(1 + t^2/(n - k))`` with Student's t at ``n_B - k`` degrees of freedom, n units,
    n_B batch sizes and k parameters of the mean: an F cut of quasi-likelihood, which pays for
    the law being a little off at every batch size (statistics.md; coverage .945 to .98).

    Args:
        confidence: Coverage wanted, in (0, 1).
        phi: Lack-of-fit factor, at least 1.
        num_units: (Batch size, seed) units.
        num_batch_sizes: Batch sizes with a closed bracket.
        num_parameters: Parameters of the law's mean.

    Returns:
        The cut.

    Example:
        >>> round(profile_cut(
        ...     0.95, phi=1, num_units=10_000, num_batch_sizes=9_000, num_parameters=2), 2)
        3.84
    """
    t = stats.t.ppf((1 + confidence) / 2, max(num_batch_sizes - num_parameters, 1))
    df = max(num_units - num_parameters, 1)
    return float(phi * num_units * np.log1p(t**2 / df))


@dataclass(frozen=True)
class Profile:
    """The deviance over values of the exponent, with the exponent itself in the middle.

    Attributes:
        exponent: Shape ``[points]``, ascending.
        deviance: Shape ``[points]``, ``2 (l_hat - l)`` with everything else refitted.
        best: Index of the maximum-likelihood exponent.
    """

    exponent: FloatArray
    deviance: FloatArray
    best: int

    def interval(self, cut: float) -> Interval:
        """Return the hull of all exponents with a deviance below the cut."""
        inside = np.flatnonzero(self.deviance <= cut)
        low, high = inside[0], inside[-1]
        last = self.exponent.size - 1
        return Interval(
            self._cross(low, low - 1, cut) if low > 0 else float(self.exponent[0]),
            self._cross(high, high + 1, cut) if high < last else float(self.exponent[-1]),
            bool(low == 0 or high == last),
        )

    def _cross(self, inside: int, outside: int, cut: float) -> float:
        """Interpolate the root of the deviance, nearly a straight line in the exponent."""
        roots = np.sqrt(np.maximum(self.deviance[[inside, outside]], 0))
        share = (np.sqrt(cut) - roots[0]) / (roots[1] - roots[0])
        ends = self.exponent[[inside, outside]]
        return float(ends[0] + share * (ends[1] - ends[0]))


def _profile_points(
    problem: Problem, best: Maxima, exponents: FloatArray, starts: FloatArray
) -> Maxima:
    """Maximise with the exponent held at each of the given values, from each start."""
    num_starts = len(starts)
    start = np.tile(starts, (exponents.size, 1))
    held = np.repeat(exponents, num_starts)
    # Keep the line through the middle of the data while its slope is changed.
    start[:, 1] += (start[:, 0] - held) * np.average(problem.log_b, weights=problem.cells.weights)
    start[:, 0] = held
    low, high = (np.tile(end, (len(start), 1)) for end in (problem.box.low, problem.box.high))
    low[:, 0] = high[:, 0] = held
    found = maximize(
        Problem(problem.mean, problem.log_b, problem.cells, Box(low, high)),
        problem.cells.weights,
        start,
    )
    first = np.arange(exponents.size) * num_starts
    choice = first + found.log_likelihood.reshape(-1, num_starts).argmax(1)
    return Maxima(found.parameters[choice], found.log_likelihood[choice], found.information[choice])


def compute_profile(
    problem: Problem, best: Maxima, starts: FloatArray, cuts: tuple[float, ...], scale: float
) -> Profile:
    """Profile the likelihood over the exponent: a coarse pass over the box, a fine one at the cuts.

    Args:
        problem: The law, the brackets and the box.
        best: The maximum, one row.
        starts: Shape ``[starts, k + 1]``, where to start each point from.
        cuts: Deviances whose crossings are wanted precisely.
        scale: Rough standard error of the exponent, the unit of the coarse pass.

    Returns:
        The profile.
    """
    center = best.parameters[0, 0]
    box = problem.box.low[0], problem.box.high[0]
    reach = scale * np.geomspace(0.5, 64, 8)
    points = np.unique(np.clip(np.concatenate([center - reach, center + reach, box]), *box))
    found = _profile_points(problem, best, points[points != center], starts)
    profile = _merge(best, center, points[points != center], found.log_likelihood)
    fine: list[float] = []
    for cut in cuts:
        inside = np.flatnonzero(profile.deviance <= cut)
        for i, j in ((inside[0], inside[0] - 1), (inside[-1], inside[-1] + 1)):
            if 0 <= j < profile.exponent.size:
                middle = profile._cross(i, j, cut)
                ends = profile.exponent[[i, j]]
                fine += [middle, (middle + ends[0]) / 2, (middle + ends[1]) / 2]
    if not fine:
        return profile
    extra = np.setdiff1d(np.array(fine), profile.exponent)
    nuisance = np.concatenate([starts[:1], found.parameters[found.log_likelihood.argsort()[-1:]]])
    more = _profile_points(problem, best, extra, nuisance)
    return _merge(
        best,
        center,
        np.concatenate([points[points != center], extra]),
        np.concatenate([found.log_likelihood, more.log_likelihood]),
    )


def _merge(
    best: Maxima, center: float, exponents: FloatArray, log_likelihood: FloatArray
) -> Profile:
    """Sort profile points around the maximum."""
    exponent = np.append(exponents, center)
    deviance = np.append(2 * (best.log_likelihood[0] - log_likelihood), 0.0)
    order = np.argsort(exponent)
    return Profile(
        exponent[order], deviance[order], int(np.flatnonzero(order == exponent.size - 1)[0])
    )


def resample_seeds(problem: Problem, best: Maxima) -> FloatArray:
    """Refit the law to seeds drawn with replacement, each with all its batch sizes.

    Args:
        problem: The law, the brackets and the box.
        best: The maximum, one row.

    Returns:
        Shape ``[draws, k]``, the law's parameters; no rows with fewer than 3 seeds.
    """
    counts = problem.cells.counts
    num_seeds = len(counts)
    if num_seeds < MIN_SEEDS_FOR_BOOTSTRAP:
        return np.empty((0, best.parameters.shape[1] - 1))
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    picks = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=NUM_DRAWS)
    start = np.repeat(best.parameters, NUM_DRAWS, axis=0)
    draws: FloatArray = maximize(problem, picks @ counts, start).parameters[:, :-1]
    return draws


def bootstrap_half_width(values: FloatArray, confidence: float, num_seeds: int) -> FloatArray:
    """Compute ``SE sqrt(G/(G - 1)) t_{G-1}`` from values over resampled seeds.

    Args:
        values: Shape ``[draws, ...]``; no draws give no width.
        confidence: Coverage wanted, in (0, 1).
        num_seeds: G, the number of seeds.

    Returns:
        Half-widths, shape ``[...]``.

    Source:
        Clustered bootstrap with the small-sample factor; coverage .955 to .98 with seeds that
        drift along B (statistics.md).
    """
    if not len(values):
        return np.zeros(values.shape[1:])
    t = stats.t.ppf((1 + confidence) / 2, num_seeds - 1)
    width: FloatArray = values.std(0, ddof=1) * np.sqrt(num_seeds / (num_seeds - 1)) * t
    return width
