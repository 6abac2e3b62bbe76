"""The likelihood of a log edge that is known only to lie inside a bracket."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

FloatArray = NDArray[np.float64]

_LOG_ROOT_TWO_PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class BracketLikelihood:
    """Log-likelihood of brackets and its derivatives in the mean ``m`` and ``s = log sigma``.

    All arrays have the broadcast shape of the inputs.

    Attributes:
        value: ``log(Phi(b) - Phi(a))``, at most 0.
        d_mean: First derivative in ``m``.
        d_scale: First derivative in ``s``.
        dd_mean: Second derivative in ``m``, never positive.
        dd_cross: Mixed second derivative.
        dd_scale: Second derivative in ``s``.
    """

    value: FloatArray
    d_mean: FloatArray
    d_scale: FloatArray
    dd_mean: FloatArray
    dd_cross: FloatArray
    dd_scale: FloatArray


def log_normal_mass(a: FloatArray, b: FloatArray) -> FloatArray:
    """Compute ``log(Phi(b) - Phi(a))`` without cancellation in either tail.

    Args:
        a: Lower ends in standard deviations, may be ``-inf``.
        b: Upper ends, larger than ``a``, may be ``inf``.

    Returns:
        The log of the standard normal mass between the ends.

    Example:
        >>> round(float(np.exp(log_normal_mass(np.array(-1.96), np.array(1.96)))), 3)
        0.95
        >>> bool(np.isfinite(log_normal_mass(np.array(50.0), np.array(51.0))))
        True
    """
    # Phi loses all digits above 8 standard deviations; its mirror image does not.
    mirrored = a > 0
    low, high = np.where(mirrored, -b, a), np.where(mirrored, -a, b)
    log_high = log_ndtr(high)
    with np.errstate(divide="ignore"):
        mass: FloatArray = log_high + np.log(-np.expm1(log_ndtr(low) - log_high))
    return mass


def bracket_likelihood(
    low: FloatArray, high: FloatArray, mean: FloatArray, log_sigma: FloatArray
) -> BracketLikelihood:
    """Evaluate ``log P(low < x <= high)`` for ``x ~ N(mean, sigma^2)``, with derivatives.

    With ``a = (low - mean)/sigma``, ``b = (high - mean)/sigma``, ``P = Phi(b) - Phi(a)`` and
    ``q_j = (b^j phi(b) - a^j phi(a))/P`` the derivatives are
    ``-q_0/sigma``, ``-q_1``, ``-(q_1 + q_0^2)/sigma^2``, ``(q_0 - q_2 - q_0 q_1)/sigma`` and
    ``q_1 - q_3 - q_1^2``.

    Args:
        low: Natural log of the largest stable learning rate, ``-inf`` when there is none.
        high: Natural log of the smallest diverged learning rate, ``inf`` when there is none.
        mean: Mean of the log edge, broadcast against ``low``.
        log_sigma: Log of its standard deviation, broadcast against ``low``.

    Returns:
        Value and derivatives, elementwise.

    Example:
        >>> open_both_ends = np.array([-np.inf]), np.array([np.inf])
        >>> float(bracket_likelihood(*open_both_ends, np.zeros(1), np.zeros(1)).value[0])
        0.0
    """
    sigma = np.exp(log_sigma)
    a, b = (low - mean) / sigma, (high - mean) / sigma
    value = log_normal_mass(a, b)
    density_a = np.exp(-0.5 * a * a - _LOG_ROOT_TWO_PI - value)
    density_b = np.exp(-0.5 * b * b - _LOG_ROOT_TWO_PI - value)
    # At an open end the density is 0 and so is every power of the end times it.
    a, b = np.where(np.isinf(a), 0.0, a), np.where(np.isinf(b), 0.0, b)
    q0 = density_b - density_a
    density_a, density_b = a * density_a, b * density_b
    q1 = density_b - density_a
    density_a, density_b = a * density_a, b * density_b
    q2 = density_b - density_a
    q3 = b * density_b - a * density_a
    return BracketLikelihood(
        value=value,
        d_mean=-q0 / sigma,
        d_scale=-q1,
        dd_mean=-(q1 + q0 * q0) / sigma**2,
        dd_cross=(q0 - q2 - q0 * q1) / sigma,
        dd_scale=q1 - q3 - q1 * q1,
    )
