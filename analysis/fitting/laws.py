"""The laws: the edge as a function of batch size, in parameters that an optimiser likes.

Written for LR_max, the edge that everybody knows. Where the damping is searched they describe
``1/damping_min`` as a function of ``b/lr`` (:mod:`analysis.axes`).

All three are one straight line in log-log space that may bend once. With ``x = log b`` and
``x* = log B*`` the log edge is ``log c + p x - log(1 + exp(r (x - x*)))``, where the bend ``r`` is
0 (power), ``p`` (saturating) or ``p + q`` (surge). ``c`` is the small-batch coefficient: it stays
finite when the bend lies beyond the data, where plateau and peak would run away together.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from analysis.fitting.likelihood import FloatArray

# The widest exponents worth believing; theory speaks of 1/2 and 1. An interval that reaches the
# box is refused, not reported.
_EXPONENT_BOX = (0.01, 4.0)
_POWER_EXPONENT_BOX = (-2.0, 4.0)
_DECAY_BOX = (0.0, 4.0)
# How far outside the measured batch sizes B* may lie. Beyond 1000 times the largest the bend
# changes no prediction by more than a thousandth (p = 1).
_BEND_BELOW, _BEND_ABOVE = np.log(4.0), np.log(1000.0)


def effective_batch_size(batch_size: ArrayLike, num_examples: int | None) -> FloatArray:
    """Translate a batch size into the one with the same noise when sampling with replacement.

    Without replacement from ``N`` examples the mean of a batch is less noisy, as if the batch
    were ``b = B/(1 - B/N)`` (finite population); at ``B = N`` there is no noise and ``b`` is
    infinite.

    Args:
        batch_size: Examples per step, any shape.
        num_examples: ``N`` when sampling without replacement, None with replacement.

    Returns:
        The effective batch size, same shape.

    Raises:
        ValueError: If a batch size exceeds ``num_examples``.

    Example:
        >>> effective_batch_size([1, 50, 100], 100)[1:].tolist()
        [100.0, inf]
        >>> effective_batch_size([1, 50], None).tolist()
        [1.0, 50.0]
    """
    size = np.asarray(batch_size, dtype=float)
    if num_examples is None:
        return size
    if np.any(size > num_examples):
        raise ValueError(
            f"Without replacement a batch holds at most the {num_examples} examples there are, "
            f"got batch size {size.max():g}."
        )
    with np.errstate(divide="ignore"):
        effective: FloatArray = size / (1 - size / num_examples)
    return effective


class Law(ABC):
    """LR_max(b) with parameters ``theta``; ``theta[0]`` is always the small-batch exponent ``p``.

    Attributes:
        name: What reports call it.
        num_parameters: Length ``k`` of ``theta``.
        min_batch_sizes: Batch sizes with a closed bracket that a fit needs at least.
    """

    name: str
    num_parameters: int
    min_batch_sizes: int = 4  # statistics.md, "Refuse to fit"

    @abstractmethod
    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the log of LR_max.

        Args:
            theta: Shape ``[fits, k]``.
            log_b: Shape ``[n]``, log of the effective batch size.

        Returns:
            Shape ``[fits, n]``.
        """

    @abstractmethod
    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the gradient of :meth:`predict` in ``theta``, shape ``[fits, n, k]``."""

    @abstractmethod
    def bounds(self, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper bounds of ``theta``, each of shape ``[k]``."""

    @abstractmethod
    def shapes(self, log_b: FloatArray) -> FloatArray:
        """Return starting values, shape ``[starts, k]``; ``log c`` is filled in by the fit."""

    @abstractmethod
    def parameters(self, theta: FloatArray) -> dict[str, float]:
        """Return one ``theta`` of shape ``[k]`` in natural units, by name."""

    def edge(self, theta: FloatArray, batch_size: ArrayLike) -> FloatArray:
        """Return the edge itself at effective batch sizes of shape ``[n]``, for one ``theta``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            log_b = np.log(np.atleast_1d(np.asarray(batch_size, dtype=float)))
            lr: FloatArray = np.exp(self.predict(theta[None], log_b)[0])
        return lr


class Power(Law):
    """``LR_max = c b^p``: the plain claim.

    ``theta = (p, log c)``; parameters ``p`` (dimensionless) and ``c`` (learning rate at b = 1).

    Example:
        >>> Power().edge(np.array([0.5, np.log(0.1)]), [1, 4, 16]).round(6).tolist()
        [0.1, 0.2, 0.4]
    """

    name = "power"
    num_parameters = 2

    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return ``log c + p x``."""
        return theta[:, 1:2] + theta[:, 0:1] * log_b

    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the gradient ``(x, 1)``."""
        gradient = np.empty((len(theta), log_b.size, 2))
        gradient[:, :, 0], gradient[:, :, 1] = log_b, 1.0
        return gradient

    def bounds(self, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the bounds; a power law may fall, so that a flat one can be told."""
        low, high = _POWER_EXPONENT_BOX
        return np.array([low, -np.inf]), np.array([high, np.inf])

    def shapes(self, log_b: FloatArray) -> FloatArray:
        """Return one start: the likelihood of a straight line has one maximum."""
        return np.array([[0.5, 0.0]])

    def parameters(self, theta: FloatArray) -> dict[str, float]:
        """Return ``c`` and ``p``."""
        return {"c": float(np.exp(theta[1])), "p": float(theta[0])}


class Saturating(Law):
    """``LR_max = eta_inf / (1 + (B*/b)^p)``: mean-square stability at p = 1.

    ``theta = (p, log c, log B*)``; parameters ``eta_inf`` (learning rate), ``b_star`` (examples)
    and ``p``. Ma, Bassily, Belkin 2018 and McCandlish et al. 2018 give p = 1.

    Example:
        >>> law, theta = Saturating(), np.array([1.0, np.log(2 / 65), np.log(65)])
        >>> law.edge(theta, [65.0, np.inf]).round(6).tolist()
        [1.0, 2.0]
        >>> {name: round(value, 6) for name, value in law.parameters(theta).items()}
        {'eta_inf': 2.0, 'b_star': 65.0, 'p': 1.0}
    """

    name = "saturating"
    num_parameters = 3

    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return ``log c - log(exp(-p x) + exp(-p x*))``, which is right at infinite b as well."""
        p, log_c, bend = theta[:, 0:1], theta[:, 1:2], theta[:, 2:3]
        log_lr: FloatArray = log_c - np.logaddexp(-p * log_b, -p * bend)
        return log_lr

    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the gradient, with ``w`` the share of the bend: ``(x - w (x - x*), 1, w p)``."""
        p, bend = theta[:, 0:1], theta[:, 2:3]
        past = log_b - bend
        share = expit(p * past)
        return np.stack([log_b - share * past, np.ones_like(past), share * p], axis=2)

    def bounds(self, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the bounds; B* may lie outside the data, but not arbitrarily far."""
        low, high = _EXPONENT_BOX
        bend_low, bend_high = log_b.min() - _BEND_BELOW, log_b.max() + _BEND_ABOVE
        return np.array([low, -np.inf, bend_low]), np.array([high, np.inf, bend_high])

    def shapes(self, log_b: FloatArray) -> FloatArray:
        """Return starts with the bend all over the data and beyond."""
        bends = np.linspace(log_b.min(), log_b.max() + np.log(4.0), 5)
        p, bend = np.meshgrid([0.5, 1.0], bends)
        return np.stack([p.ravel(), np.zeros(p.size), bend.ravel()], axis=1)

    def parameters(self, theta: FloatArray) -> dict[str, float]:
        """Return ``eta_inf``, ``b_star`` and ``p``."""
        p, log_c, bend = (float(value) for value in theta)
        return {"eta_inf": np.exp(log_c + p * bend).item(), "b_star": np.exp(bend).item(), "p": p}


class Surge(Law):
    """``LR_max = 2 eta_peak / ((B*/b)^p + (b/B*)^q)``: rises, peaks near B*, falls.

    ``theta = (p, log c, log B*, q)``; parameters ``eta_peak`` (learning rate at B*), ``b_star``
    (examples), ``p`` and ``q``. Li et al. 2024 (arXiv:2405.14578) give p = q = 1/2 for sign-like
    optimisers.

    Example:
        >>> law, theta = Surge(), np.array([0.5, np.log(0.2), np.log(100.0), 0.5])
        >>> law.edge(theta, [25.0, 100.0, 400.0]).round(6).tolist()
        [0.8, 1.0, 0.8]
    """

    name = "surge"
    num_parameters = 4
    min_batch_sizes = 5  # statistics.md, "Refuse to fit"

    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return ``log c - log(exp(-p x) + exp(q x - (p + q) x*))``."""
        p, log_c, bend, q = (theta[:, i : i + 1] for i in range(4))
        log_lr: FloatArray = log_c - np.logaddexp(-p * log_b, q * log_b - (p + q) * bend)
        return log_lr

    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the gradient ``(x - w (x - x*), 1, w (p + q), -w (x - x*))``."""
        p, bend, q = theta[:, 0:1], theta[:, 2:3], theta[:, 3:4]
        past = log_b - bend
        share = expit((p + q) * past)
        lost = share * past
        return np.stack([log_b - lost, np.ones_like(past), share * (p + q), -lost], axis=2)

    def bounds(self, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the bounds; at q = 0 the surge is a saturating law."""
        low, high = Saturating().bounds(log_b)
        return np.append(low, _DECAY_BOX[0]), np.append(high, _DECAY_BOX[1])

    def shapes(self, log_b: FloatArray) -> FloatArray:
        """Return the saturating starts with a slow and a fast fall."""
        shapes = Saturating().shapes(log_b)
        return np.concatenate(
            [np.column_stack([shapes, np.full(len(shapes), q)]) for q in (0.05, 0.5)]
        )

    def parameters(self, theta: FloatArray) -> dict[str, float]:
        """Return ``eta_peak``, ``b_star``, ``p`` and ``q``."""
        p, log_c, bend, q = (float(value) for value in theta)
        return {
            "eta_peak": np.exp(log_c + p * bend).item() / 2,
            "b_star": np.exp(bend).item(),
            "p": p,
            "q": q,
        }


LAWS: tuple[Law, ...] = (Power(), Saturating(), Surge())


def find_law(name: str) -> Law:
    """Look a law up by its name.

    Args:
        name: ``power``, ``saturating`` or ``surge``.

    Returns:
        The law.

    Raises:
        ValueError: If there is no such law.

    Example:
        >>> find_law("surge").num_parameters
        4
    """
    for law in LAWS:
        if law.name == name:
            return law
    raise ValueError(f"No law is called {name!r}; there are {', '.join(law.name for law in LAWS)}.")
