"""The likelihood of one exponent: everything else refitted at each value of it."""

from dataclasses import dataclass

import numpy as np

from analysis.fitting.intervals import Interval
from analysis.fitting.likelihood import FloatArray
from analysis.fitting.maximize import Box, Maxima, Problem, maximize


@dataclass(frozen=True)
class Profile:
    """The deviance over values of the exponent, from one end of its box to the other.

    Attributes:
        exponent: Shape ``[points]``, ascending.
        deviance: Shape ``[points]``, ``2 (l_hat - l)`` with everything else refitted.
    """

    exponent: FloatArray
    deviance: FloatArray

    def interval(self, cut: float) -> Interval:
        """Find the hull of all exponents with a deviance below the cut.

        Args:
            cut: Largest deviance to keep, positive.

        Returns:
            The interval; it ends on the box where the deviance never reaches the cut.

        Example:
            >>> exponent = np.linspace(-3, 3, 7)
            >>> Profile(exponent, exponent**2).interval(2.25)
            Interval(low=-1.5, high=1.5, on_box=False)
        """
        inside = np.flatnonzero(self.deviance <= cut)
        first, last = inside[0], inside[-1]
        open_low, open_high = first == 0, last == self.exponent.size - 1
        low = self.exponent[0] if open_low else self.cross(first, first - 1, cut)
        high = self.exponent[-1] if open_high else self.cross(last, last + 1, cut)
        return Interval(float(low), float(high), bool(open_low or open_high))

    def cross(self, inside: int, outside: int, cut: float) -> float:
        """Interpolate where the deviance reaches the cut between two points.

        The root of the deviance is nearly a straight line in the exponent.

        Args:
            inside: Index of a point below the cut.
            outside: Index of its neighbour above.
            cut: The deviance wanted.

        Returns:
            The exponent there.
        """
        roots = np.sqrt(np.maximum(self.deviance[[inside, outside]], 0.0))
        share = (np.sqrt(cut) - roots[0]) / (roots[1] - roots[0])
        ends = self.exponent[[inside, outside]]
        return float(ends[0] + share * (ends[1] - ends[0]))


def maximize_at(problem: Problem, exponents: FloatArray, starts: FloatArray) -> Maxima:
    """Maximise the likelihood with the exponent held at each of some values.

    Args:
        problem: The law, the brackets and the box.
        exponents: Shape ``[points]``.
        starts: Shape ``[starts, k + 1]``, tried at each of them.

    Returns:
        The best of the starts at each value.
    """
    num_starts = len(starts)
    start = np.tile(starts, (exponents.size, 1))
    held = np.repeat(exponents, num_starts)
    # Keep the line through the middle of the data while its slope is changed.
    middle = np.average(problem.log_b, weights=problem.cells.weights)
    start[:, 1] += (start[:, 0] - held) * middle
    start[:, 0] = held
    low, high = (np.tile(end, (len(start), 1)) for end in (problem.box.low, problem.box.high))
    low[:, 0] = high[:, 0] = held
    constrained = Problem(problem.mean, problem.log_b, problem.cells, Box(low, high))
    found = maximize(constrained, problem.cells.weights, start)
    best = found.log_likelihood.reshape(-1, num_starts).argmax(1)
    return found.take(np.arange(exponents.size) * num_starts + best)


def compute_profile(
    problem: Problem, best: Maxima, starts: FloatArray, cuts: tuple[float, ...], scale: float
) -> Profile:
    """Profile the exponent: a coarse pass over the box, then a fine one where it meets the cuts.

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
    ends = np.array([problem.box.low[0], problem.box.high[0]])
    reach = scale * np.geomspace(0.5, 64, 8)  # 0.5 to 64 standard errors, doubling
    points = np.concatenate([center - reach, center + reach, ends])
    points = np.setdiff1d(np.clip(points, *ends), [center])
    coarse = maximize_at(problem, points, starts)
    profile = _around(best, points, coarse.log_likelihood)
    fine = np.setdiff1d(_near_crossings(profile, cuts), profile.exponent)
    if not fine.size:
        return profile
    close = coarse.parameters[coarse.log_likelihood.argmax()]
    finer = maximize_at(problem, fine, np.stack([starts[0], close]))
    log_likelihood = np.concatenate([coarse.log_likelihood, finer.log_likelihood])
    return _around(best, np.concatenate([points, fine]), log_likelihood)


def _around(best: Maxima, exponents: FloatArray, log_likelihood: FloatArray) -> Profile:
    """Return the profile through the maximum and the other points."""
    exponent = np.append(exponents, best.parameters[0, 0])
    deviance = np.append(2 * (best.log_likelihood[0] - log_likelihood), 0.0)
    order = np.argsort(exponent)
    return Profile(exponent[order], deviance[order])


def _near_crossings(profile: Profile, cuts: tuple[float, ...]) -> FloatArray:
    """Return three exponents at each place where the profile meets a cut."""
    near: list[float] = []
    for cut in cuts:
        inside = np.flatnonzero(profile.deviance <= cut)
        for i, j in ((inside[0], inside[0] - 1), (inside[-1], inside[-1] + 1)):
            if 0 <= j < profile.exponent.size:
                middle = profile.cross(i, j, cut)
                near += [middle, *((middle + profile.exponent[[i, j]]) / 2)]
    return np.array(near)
