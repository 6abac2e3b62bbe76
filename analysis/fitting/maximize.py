"""Many small maximum-likelihood fits at once: damped Newton steps inside a box."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analysis.fitting.cells import Cells
from analysis.fitting.likelihood import BracketLikelihood, FloatArray, bracket_likelihood

# Fits that gain less log-likelihood than this in a step are done: cuts of the profile are of
# order 1, so ends of intervals move by less than a thousandth of their width.
_SMALL_GAIN = 1e-7
_MAX_STEPS = 200
_FIRST_DAMPING = 1e-2
_LARGEST_DAMPING = 1e8
# In log units: a nearly flat direction would be left by 1e5 and more, where nothing is left of the
# likelihood of a narrow bracket but rounding. No two learning rates differ by e^20.
_LARGEST_STEP = 20.0


class MeanFunction(Protocol):
    """What the maximiser needs of a law: the mean log edge and its gradient."""

    def predict(self, theta: FloatArray, log_b: FloatArray, /) -> FloatArray:
        """Return the log edge, shape ``[fits, cells]``, for ``theta`` of shape ``[fits, k]``."""

    def gradient(self, theta: FloatArray, log_b: FloatArray, /) -> FloatArray:
        """Return its gradient in ``theta``, shape ``[fits, cells, k]``."""


@dataclass(frozen=True)
class Box:
    """Bounds of the parameters ``(theta, log sigma)``; equal bounds hold a parameter fixed.

    Attributes:
        low: Shape ``[k + 1]`` or ``[fits, k + 1]``.
        high: The same shape.
    """

    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Problem:
    """What is to be fitted to what.

    Attributes:
        mean: The law.
        log_b: Shape ``[cells]``, what the law is a function of: log effective batch size.
        cells: The brackets.
        box: Bounds of the parameters ``(theta, log sigma)``.
    """

    mean: MeanFunction
    log_b: FloatArray
    cells: Cells
    box: Box


@dataclass(frozen=True)
class Maxima:
    """The best point of each fit.

    Attributes:
        parameters: Shape ``[fits, k + 1]``, the law's ``theta`` and last ``log sigma``.
        log_likelihood: Shape ``[fits]``.
        information: Shape ``[fits, k + 1, k + 1]``, minus the Hessian (the law's own curvature
            left out, as Gauss and Newton do).
    """

    parameters: FloatArray
    log_likelihood: FloatArray
    information: FloatArray

    def take(self, rows: np.ndarray) -> "Maxima":
        """Return the fits with the given indices."""
        return Maxima(self.parameters[rows], self.log_likelihood[rows], self.information[rows])


@dataclass(frozen=True)
class _Point:
    parameters: FloatArray
    value: FloatArray
    slope: FloatArray
    information: FloatArray


def _evaluate(problem: Problem, weights: FloatArray, parameters: FloatArray) -> _Point:
    """Return log-likelihood, gradient and information at ``parameters``."""
    theta, log_sigma = parameters[:, :-1], parameters[:, -1:]
    jacobian = problem.mean.gradient(theta, problem.log_b)
    mean = problem.mean.predict(theta, problem.log_b)
    parts = bracket_likelihood(problem.cells.low, problem.cells.high, mean, log_sigma)
    slope = np.empty_like(parameters)
    slope[:, :-1] = np.matmul((weights * parts.d_mean)[:, None, :], jacobian)[:, 0]
    slope[:, -1] = (weights * parts.d_scale).sum(1)
    return _Point(
        parameters,
        (weights * parts.value).sum(1),
        slope,
        _information(parts, weights, jacobian),
    )


def _information(parts: BracketLikelihood, weights: FloatArray, jacobian: FloatArray) -> FloatArray:
    """Return minus the Hessian, without the second derivatives of the mean."""
    fits, _, k = jacobian.shape
    information = np.empty((fits, k + 1, k + 1))
    transposed = jacobian.transpose(0, 2, 1)
    information[:, :k, :k] = -np.matmul(transposed * (weights * parts.dd_mean)[:, None], jacobian)
    cross = -np.matmul(transposed, (weights * parts.dd_cross)[:, :, None])[:, :, 0]
    information[:, :k, k] = information[:, k, :k] = cross
    information[:, k, k] = -(weights * parts.dd_scale).sum(1)
    return information


def _step(point: _Point, low: FloatArray, high: FloatArray, damping: FloatArray) -> FloatArray:
    """Propose new parameters: a damped Newton step of the free ones, clipped to the box."""
    x, slope = point.parameters, point.slope
    held = ((x <= low) & (slope <= 0)) | ((x >= high) & (slope >= 0))
    system = np.where(held[:, :, None] | held[:, None, :], 0.0, point.information)
    diagonal = np.einsum("rii->ri", system)  # a view: writing to it damps the system
    diagonal += damping[:, None] * np.maximum(diagonal, 1e-3) + 1e-9
    np.copyto(diagonal, 1.0, where=held)
    step = np.linalg.solve(system, np.where(held, 0.0, slope)[:, :, None])[:, :, 0]
    step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    clipped: FloatArray = np.clip(x + step, low, high)
    return clipped


def _take(point: _Point, rows: np.ndarray) -> _Point:
    """Return the chosen rows."""
    return _Point(
        point.parameters[rows], point.value[rows], point.slope[rows], point.information[rows]
    )


def _put(target: _Point, rows: np.ndarray, source: _Point) -> None:
    """Write ``source`` into the chosen rows of ``target``."""
    target.parameters[rows] = source.parameters
    target.value[rows] = source.value
    target.slope[rows] = source.slope
    target.information[rows] = source.information


def maximize(problem: Problem, weights: FloatArray, start: FloatArray) -> Maxima:
    """Maximise the bracket likelihood of many fits at once.

    Levenberg and Marquardt's method on all fits together: every fit has its own damping, and
    leaves the batch when it has converged.

    Args:
        problem: The law, the brackets and the box.
        weights: Shape ``[cells]`` or ``[fits, cells]``, how often each bracket counts.
        start: Shape ``[fits, k + 1]``, the law's ``theta`` and last ``log sigma``.

    Returns:
        The best point found from each start.
    """
    weights = np.broadcast_to(weights, (len(start), problem.cells.low.size))
    low, high = (np.broadcast_to(end, start.shape) for end in (problem.box.low, problem.box.high))
    best = _evaluate(problem, weights, np.clip(start, low, high))
    damping = np.full(len(start), _FIRST_DAMPING)
    rows = np.arange(len(start))
    for _ in range(_MAX_STEPS):
        if not rows.size:
            break
        here = _take(best, rows)
        proposed = _step(here, low[rows], high[rows], damping[rows])
        there = _evaluate(problem, weights[rows], proposed)
        gain = there.value - here.value
        better = gain > 0  # False for NaN as well
        _put(best, rows[better], _take(there, np.flatnonzero(better)))
        damping[rows] *= np.where(better, 0.2, 8.0)
        converged = (better & (gain < _SMALL_GAIN)) | (damping[rows] > _LARGEST_DAMPING)
        converged |= np.abs(proposed - here.parameters).max(1) < 1e-9
        rows = rows[~converged]
    return Maxima(best.parameters, best.value, best.information)
