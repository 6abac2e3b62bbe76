"""Words for a fitted law: up to where it grows, and its parameters."""

from collections.abc import Sequence

import numpy as np

from analysis.axes import LR_AXIS, Axis
from analysis.fitting.joint_laws import natural_parameters
from analysis.summaries import LawFit
from analysis.words.formatting import format_number


def describe_shape(law: LawFit, batch_sizes: Sequence[int]) -> str:
    """Say up to where a law's growth goes, and what comes then.

    Args:
        law: A fitted law.
        batch_sizes: Those measured.

    Returns:
        Words that go on from how fast it grew.

    Example:
        >>> law = LawFit("power", {"c": 0.1, "p": 0.5}, 0.5, (0.4, 0.6), (0.4, 0.6), 0.0, 0.0, 0.1,
        ...              0.5, True)
        >>> describe_shape(law, [1, 8, 64])
        'over all batch sizes measured (1 to 64)'
    """
    smallest, largest = min(batch_sizes), max(batch_sizes)
    critical = critical_batch_size(law)
    if critical is None or critical > largest:
        return f"over all batch sizes measured ({smallest} to {largest})"
    turning = turning_batch_size(law)
    then = "turned down" if turning is not None and turning < largest else "levelled off"
    if critical < smallest:
        return (
            f"only below the batch sizes measured: it had already {then} at B = {smallest}, "
            "so this slope is extrapolated"
        )
    return f"up to about B = {format_number(critical, 2)} and then {then}"


def critical_batch_size(law: LawFit) -> float | None:
    """Return the batch size B* where a law's growth ends.

    Args:
        law: A fitted law.

    Returns:
        B* in examples, None for a law without one (the power law).
    """
    critical = law.parameters.get("b_star")
    return None if critical is None else _undo_finite_population(critical, law.num_examples)


def _undo_finite_population(effective: float, num_examples: int | None) -> float:
    """Return B for ``b = B/(1 - B/N)``, the effective batch size that laws are written in."""
    return effective if num_examples is None else 1 / (1 / effective + 1 / num_examples)


def turning_batch_size(law: LawFit) -> float | None:
    """Return the batch size where a law is highest: ``B* (p/q)^(1/(p + q))`` for a surge.

    Args:
        law: A fitted law.

    Returns:
        In examples, infinite for a surge that does not fall; None for a law without a peak.

    Example:
        >>> surge = {"eta_peak": 1.0, "b_star": 30.0, "p": 0.8, "q": 0.2}
        >>> law = LawFit("surge", surge, 0.8, (0.7, 0.9), (0.7, 0.9), 0.0, 0.0, 0.1, 0.5, True)
        >>> turning_batch_size(law)
        120.0
    """
    p, q = law.parameters.get("p", np.nan), law.parameters.get("q")
    if q is None:
        return None
    if q == 0:
        return np.inf
    peak = float(law.parameters["b_star"] * (p / q) ** (1 / (p + q)))
    return _undo_finite_population(peak, law.num_examples)


def describe_parameters(law: LawFit, axis: Axis = LR_AXIS) -> str:
    """Write a law's parameters, with the signs of the formulas.

    Args:
        law: A fitted law.
        axis: What was searched.

    Returns:
        One line; the exponent p is left out, it is always shown on its own.

    Example:
        >>> law = LawFit("power", {"c": 0.0123, "p": 0.5}, 0.5, (0.4, 0.6), (0.4, 0.6),
        ...              0.0, 0.0, 0.1, 0.5, True)
        >>> describe_parameters(law)
        'c = 0.0123'
    """
    signs = {
        "eta_inf": "η∞",
        "eta_peak": "η_peak",
        "b_star": "B*",
        "damping_inf": "damping∞",
        "damping_least": "damping_least",
        "ratio_star": "(lr/B)*",
    }
    values = {name: value for name, value in natural_parameters(law, axis).items() if name != "p"}
    critical = critical_batch_size(law)
    if critical is not None and "b_star" in values:
        values["b_star"] = critical
    return ", ".join(f"{signs.get(name, name)} = {format_number(values[name])}" for name in values)
