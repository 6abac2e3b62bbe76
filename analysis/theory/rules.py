"""How an update rule turns curvature into the largest stable learning rate.

Along one eigendirection a batch has curvature ``h``, with mean ``λ`` and variance ``V/b``. Write
``excess = V/(bλ)`` for what the noise adds. Then the second moment of the parameter stays bounded
up to ``η = 1/(λ/sharp + excess/noise)``, with two constants per rule: ``sharp`` is where a
noiseless step overshoots, ``noise`` where noise alone does [derived; exact for SGD, heavy ball
and Adam with a frozen preconditioner; Nesterov is solved numerically].
"""

import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.checks import base_name
from analysis.theory.inputs import FloatArray


class Family(StrEnum):
    """Rules whose stability on a quadratic differs."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    NESTEROV = "nesterov"
    ADAM = "adam"


@dataclass(frozen=True)
class Rule:
    """An update rule, as far as its stability on a quadratic goes.

    Attributes:
        family: Which recursion. ``momentum`` and ``nesterov`` sum gradients as torch does,
            ``v ← βv + g``; ``adam`` averages them, ``m ← βm + (1 − β)g``, and divides by √v,
            which is taken as frozen (RMSprop is ``adam`` with β = 0).
        momentum: β, or β₁ for Adam, in [0, 1).
    """

    family: Family
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"Momentum must lie in [0, 1), got {self.momentum}.")
        if self.family is Family.SGD and self.momentum:
            raise ValueError("Plain SGD has no momentum: use the family 'momentum'.")

    @property
    def sharp_limit(self) -> float:
        """The noiseless edge times the curvature, dimensionless.

        2 (gradient descent), 2(1 + β) (heavy ball), 2(1 + β)/(1 + 2β) (Nesterov), and
        2(1 + β)/(1 − β) (Adam; 38 at β₁ = 0.9), by Jury's criterion [derived].

        Example:
            >>> [round(Rule(family, 0.9).sharp_limit, 3) for family in ("momentum", "nesterov")]
            [3.8, 1.357]
            >>> round(Rule(Family.ADAM, 0.9).sharp_limit, 9)
            38.0
        """
        beta = self.momentum
        limits = {
            Family.SGD: 2.0,
            Family.MOMENTUM: 2 * (1 + beta),
            Family.NESTEROV: 2 * (1 + beta) / (1 + 2 * beta),
            Family.ADAM: 2 * (1 + beta) / (1 - beta),
        }
        return limits[self.family]

    @property
    def noise_limit(self) -> float:
        """The edge times the excess curvature where noise dominates, dimensionless.

        Summed momentum multiplies the learning rate by 1/(1 − β) in the long run, so the edge is
        2(1 − β); averaged momentum does not, so it is 2 [derived].
        """
        summed = self.family in (Family.MOMENTUM, Family.NESTEROV)
        return 2 * (1 - self.momentum) if summed else 2.0

    def edge(self, full: FloatArray, excess: FloatArray) -> FloatArray:
        """Return the mean-square edge along one direction.

        Args:
            full: Mean curvature λ, positive, any shape.
            excess: ``V/(bλ)``, not negative, same shape: what noise adds to the curvature.

        Returns:
            The largest learning rate whose second moment stays bounded, same shape.

        Example:
            >>> Rule(Family.MOMENTUM, 0.5).edge(np.array([2.0, 2.0]), np.array([0.0, 1.0])).round(3)
            array([1.5, 0.6])
        """
        full, excess = np.broadcast_arrays(np.asarray(full, float), np.asarray(excess, float))
        if self.family is Family.NESTEROV:
            return _nesterov_edge(full, excess, self.momentum)
        edge: FloatArray = 1 / (full / self.sharp_limit + excess / self.noise_limit)
        return edge


def _nesterov_edge(full: FloatArray, excess: FloatArray, beta: float) -> FloatArray:
    """Return where variance gain × noise = 1, by bisection."""
    # With x = ηλ and q = 1 − x the parameter is an ARMA(2, 1) process driven by the noise; its gain
    # is the textbook variance of that process [derived]. 60 halvings: to the last bit.
    ratio = excess / full
    low, high = np.zeros_like(full), np.full_like(full, 2 * (1 + beta) / (1 + 2 * beta))
    for _ in range(60):
        x = (low + high) / 2
        q = 1 - x
        driven = ((1 + beta) ** 2 + beta**2) * (1 + beta * q) - 2 * beta * (1 + beta) ** 2 * q
        damped = (1 - beta * q) * x * (1 + (1 + 2 * beta) * q)
        stable = ratio * x**2 * driven < damped
        low, high = np.where(stable, x, low), np.where(stable, high, x)
    edge: FloatArray = np.where(np.isnan(ratio), np.nan, low) / full
    return edge


# Families and default momenta of torch.optim, the ones our own update rules take.
_KNOWN = {
    "sgd": Rule(Family.SGD),
    "momentum": Rule(Family.MOMENTUM, 0.9),
    "nesterov": Rule(Family.NESTEROV, 0.9),
    "adam": Rule(Family.ADAM, 0.9),
    "adamw": Rule(Family.ADAM, 0.9),
    "rmsprop": Rule(Family.ADAM, 0.0),
}


def find_rule(optimizer: str) -> Rule | None:
    """Look up the update rule behind an optimizer's label.

    Args:
        optimizer: The label in the table, such as ``adam(beta1=0.95)``.

    Returns:
        The rule, None when theory says nothing of this optimizer.

    Example:
        >>> find_rule("momentum(momentum=0.5)")
        Rule(family=<Family.MOMENTUM: 'momentum'>, momentum=0.5)
        >>> find_rule("lion") is None
        True
    """
    rule = _KNOWN.get(base_name(optimizer))
    given = re.search(r"\b(?:momentum|beta1)\s*=\s*([0-9.eE+-]+)", optimizer)
    if rule is None or given is None or rule.family is Family.SGD:
        return rule
    return Rule(rule.family, float(given[1]))
