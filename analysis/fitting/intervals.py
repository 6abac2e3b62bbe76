"""What an interval of the exponent is, and how far the likelihood may fall inside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes half a second to import


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
        """Return the smallest interval that holds both.

        Example:
            >>> Interval(0.0, 2.0).hull(Interval(1.0, 3.0))
            Interval(low=0.0, high=3.0, on_box=False)
        """
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Interval(low, high, self.on_box or other.on_box)


def students_t(confidence: float, df: int) -> float:
    """Return the t that a Student variable exceeds in size with probability 1 - confidence.

    Args:
        confidence: In (0, 1).
        df: Degrees of freedom, at least 1.

    Returns:
        The two-sided quantile.

    Example:
        >>> round(students_t(0.95, 5), 3)
        2.571
    """
    return float(stdtrit(df, (1 + confidence) / 2))


def profile_cut(
    confidence: float, *, phi: float, num_units: int, num_places: int, num_parameters: int
) -> float:
    """Compute the largest deviance ``2 (l_hat - l)`` a value of the exponent may have.

    ``phi n log(1 + t^2/(n - k))`` with Student's t at ``n_B - k`` degrees of freedom, n units,
    n_B batch sizes and k parameters of the mean: an F cut of quasi-likelihood, which pays for
    the law being a little off at every batch size (statistics.md; coverage .945 to .98).

    Args:
        confidence: Coverage wanted, in (0, 1).
        phi: Lack-of-fit factor, at least 1.
        num_units: (Batch size, seed) units.
        num_places: Places (batch sizes) with a closed bracket.
        num_parameters: Parameters of the law's mean.

    Returns:
        The cut.

    Example:
        >>> many = {"num_units": 10_000, "num_places": 9_000, "num_parameters": 2}
        >>> round(profile_cut(0.95, phi=1, **many), 2)  # chi squared with 1 degree of freedom
        3.84
    """
    t = students_t(confidence, max(num_places - num_parameters, 1))
    df = max(num_units - num_parameters, 1)
    return float(phi * num_units * np.log1p(t**2 / df))


def hull(intervals: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the smallest interval that holds all of them.

    Args:
        intervals: Low and high end of each.

    Returns:
        Low and high end, None when there are no intervals.

    Example:
        >>> hull([(0.8, 1.1), (0.9, 1.3)])
        (0.8, 1.3)
    """
    if not intervals:
        return None
    return min(low for low, _ in intervals), max(high for _, high in intervals)
