"""A bowl of losses over learning rates, and the polynomial that is fitted to its bottom."""

from dataclasses import dataclass

import numpy as np

from analysis.fitting.intervals import students_t
from analysis.fitting.likelihood import FloatArray

CONFIDENCE = 0.95
MIN_SEEDS = 3
"""Fewer seeds say nothing about the spread between them; residuals must do."""

_NUM_POINTS = 801  # where slopes are looked at: a window has a few octaves, so steps of .3 %


@dataclass(frozen=True)
class Bowl:
    """The trials of one batch size.

    Attributes:
        log_lr: Shape ``[n]``, natural log of the learning rate.
        log_loss: Shape ``[n]``, natural log of the loss; ``inf`` where the trial diverged.
        seed: Shape ``[n]``, the replicate.
    """

    log_lr: FloatArray
    log_loss: FloatArray
    seed: np.ndarray

    def without(self, seeds: np.ndarray) -> "Bowl":
        """Return the bowl of the other seeds."""
        kept = ~np.isin(self.seed, seeds)
        return Bowl(self.log_lr[kept], self.log_loss[kept], self.seed[kept])


@dataclass(frozen=True)
class Curve:
    """A polynomial in ``u = log lr - center``, fitted with a level for every seed.

    Attributes:
        center: Origin of u.
        ends: Smallest and largest u of the window.
        weights: Shape ``[degree]``, of ``u, u^2, u^3``.
        level: Mean level of the seeds.
        seeds: Shape ``[seeds]``.
        pulls: Shape ``[seeds, degree]``, each seed's share of the error of ``weights``.
        covariance: Shape ``[degree, degree]``, of ``weights``.
        df: Degrees of freedom of the covariance; none where the curve meets every point.
    """

    center: float
    ends: tuple[float, float]
    weights: FloatArray
    level: float
    seeds: np.ndarray
    pulls: FloatArray
    covariance: FloatArray
    df: int

    def value(self, u: float) -> float:
        """Return the typical log loss."""
        return self.level + float(self.weights @ u ** np.arange(1, self.weights.size + 1))

    def slopes(self, u: FloatArray) -> FloatArray:
        """Return what the weights contribute to the slope, shape ``[n, degree]``."""
        powers = np.arange(self.weights.size)
        slopes: FloatArray = (powers + 1) * u[:, None] ** powers
        return slopes

    def find_minimum(self) -> float | None:
        """Return u where the slope turns positive inside the window, None where it does not."""
        points = np.linspace(*self.ends, _NUM_POINTS)
        slope = self.slopes(points) @ self.weights
        turns = np.flatnonzero((slope[:-1] < 0) & (slope[1:] >= 0))
        if not turns.size:
            return None
        at = points[turns] - slope[turns] * np.diff(points)[turns] / np.diff(slope)[turns]
        return float(min(at, key=self.value))

    def deviations(self, u: float) -> FloatArray:
        """Return how far each seed pulls the minimum at u, to first order."""
        powers = np.arange(1, self.weights.size)
        bend = float(self.weights[1:] @ (powers * (powers + 1) * u ** (powers - 1)))
        pulled: FloatArray = -(self.pulls @ self.slopes(np.array([u]))[0]) / bend
        return pulled * self.seeds.size

    def bound(self, u: float) -> tuple[float, float]:
        """Return where the slope is surely negative below u and surely positive above it.

        Fieller's interval: exact for balanced, normal data, and open where the bowl is too flat
        to have a bottom, which an interval from a standard error never is.
        """
        if self.df < 1:
            return -np.inf, np.inf
        points = np.linspace(*self.ends, _NUM_POINTS)
        basis = self.slopes(points)
        error = np.sqrt(np.einsum("ni,ij,nj->n", basis, self.covariance, basis))
        sure = students_t(CONFIDENCE, self.df) * error
        slope = basis @ self.weights
        falling = points[(slope < -sure) & (points < u)]
        rising = points[(slope > sure) & (points > u)]
        return falling.max(initial=-np.inf), rising.min(initial=np.inf)


def fit_curve(bowl: Bowl, degree: int) -> Curve:
    """Fit a polynomial by least squares, with a level for every seed.

    Args:
        bowl: The trials of a window, all of them with a finite loss.
        degree: Of the polynomial, from 2 up.

    Returns:
        The curve.

    Example:
        >>> lr = np.log([1.0, 2.0, 4.0, 1.0, 2.0, 4.0])
        >>> loss, seed = np.array([1.0, 0.0, 1.0, 3.0, 2.0, 3.0]), np.array([0, 0, 0, 1, 1, 1])
        >>> curve = fit_curve(Bowl(lr, loss, seed), degree=2)
        >>> u = curve.find_minimum()
        >>> round(float(np.exp(curve.center + u)), 6), round(curve.value(u), 6)
        (2.0, 1.0)
    """
    center = float(bowl.log_lr.mean())
    u = bowl.log_lr - center
    seeds, index = np.unique(bowl.seed, return_inverse=True)
    powers = u[:, None] ** np.arange(1, degree + 1)
    counts = np.bincount(index)
    means = np.stack([np.bincount(index, column) / counts for column in powers.T], axis=1)
    levels = np.bincount(index, bowl.log_loss) / counts
    design, response = powers - means[index], bowl.log_loss - levels[index]
    inverse = np.asarray(np.linalg.pinv(design.T @ design, rcond=1e-12, hermitian=True), float)
    weights = inverse @ design.T @ response
    residual = response - design @ weights
    pulls = np.zeros((seeds.size, degree))
    np.add.at(pulls, index, residual[:, None] * design)
    pulls = pulls @ inverse
    covariance, df = _vary(pulls, inverse, residual)
    level = float(np.mean(levels - means @ weights))
    return Curve(center, (u.min(), u.max()), weights, level, seeds, pulls, covariance, df)


def _vary(pulls: FloatArray, inverse: FloatArray, residual: FloatArray) -> tuple[FloatArray, int]:
    """Return the covariance of the weights with its degrees of freedom: by seeds if there are 3."""
    num_seeds, degree = pulls.shape
    if num_seeds >= MIN_SEEDS:
        return pulls.T @ pulls * num_seeds / (num_seeds - 1), num_seeds - 1
    df = residual.size - num_seeds - degree
    return inverse * float(residual @ residual) / max(df, 1), df
