"""What a theory says: LR_max over batch sizes, with its band and how far to trust it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from analysis.fitting.laws import effective_batch_size
from analysis.theory.inputs import BatchCurve, CurvatureSummary, FloatArray, Measured
from analysis.theory.rules import Family, Rule

# Half-width of a 95 % band in standard errors.
_Z = 1.959963984540054
# Batch sizes searched for the critical one: far below one example to far above any data. Powers of
# two, so that a curve measured at some of them is searched to its ends.
_SEARCHED = np.append(2.0 ** np.arange(-10, 41), np.inf)


class Confidence(StrEnum):
    """Where a theory's formula comes from, as a reader is told."""

    DERIVED = "derived here and checked by simulation"
    SOURCE = "from a public source"
    RECONSTRUCTION = "a reconstruction: parts are ours, from memory or by analogy"


class Bound(StrEnum):
    """How a theory's curve stands to the edge it speaks of."""

    ESTIMATE = "an estimate"
    UPPER = "an upper bound"
    LOWER = "a lower bound"


class TheoryError(ValueError):
    """A theory has nothing to say here; the message says why."""


@dataclass(frozen=True)
class Conditions:
    """What a prediction is for.

    Attributes:
        batch_size: Shape ``[n]``, examples per step.
        rule: The update rule.
        num_examples: N when batches are drawn without replacement, None with replacement.
    """

    batch_size: FloatArray
    rule: Rule = field(default_factory=lambda: Rule(Family.SGD))
    num_examples: int | None = None

    @property
    def effective(self) -> FloatArray:
        """Shape ``[n]``: the batch sizes of equal noise with replacement, ``B/(1 − B/N)``."""
        return effective_batch_size(self.batch_size, self.num_examples)

    def noise_share(self, effective: ArrayLike) -> FloatArray:
        """Return p, the variance of a batch mean over the variance between examples.

        ``p = (N − B)/(B(N − 1))`` without replacement, with the variance normalised by N as in
        Mulayoff and Michaeli (2024); ``1/B`` with replacement.

        Args:
            effective: Effective batch sizes, any shape.

        Returns:
            The share, same shape; 0 at the full batch.

        Example:
            >>> whole = Conditions(np.array([1.0, 50.0, 100.0]), num_examples=100)
            >>> whole.noise_share(whole.effective).round(6).tolist()
            [1.0, 0.010101, 0.0]
        """
        n = self.num_examples
        finite = 1.0 if n is None or n < 2 else n / (n - 1)
        share: FloatArray = finite / np.asarray(effective, dtype=float)
        return share

    def in_examples(self, effective: float) -> float:
        """Translate an effective batch size back into examples per step."""
        return (
            effective
            if self.num_examples is None
            else effective / (1 + effective / self.num_examples)
        )


@dataclass(frozen=True)
class TheoryCurve:
    """LR_max over batch sizes, as one theory predicts it.

    Attributes:
        name: What reports call the theory.
        family: The update rule's family.
        batch_size: Shape ``[n]``, examples per step.
        lr_max: Shape ``[n]``; NaN where the theory says nothing.
        low: Shape ``[n]``, lower end of the 95 % band from the inputs' standard errors alone.
        high: Shape ``[n]``, its upper end.
        exponent: Log-log slope at small batches, None when the theory gives none.
        critical_batch_size: Examples per step at which LR_max is half of its full-data limit, or
            where it peaks; None when it is nowhere below half.
        confidence: Where the formula comes from.
        bound: Whether the curve is an estimate or a bound.
        assumption: The one sentence on which it rests.
        point: Where the inputs were measured.
    """

    name: str
    family: Family
    batch_size: FloatArray
    lr_max: FloatArray
    low: FloatArray
    high: FloatArray
    exponent: float | None
    critical_batch_size: float | None
    confidence: Confidence
    bound: Bound
    assumption: str
    point: str = ""


@dataclass(frozen=True)
class About:
    """What is known of a theory before any number is put in.

    Attributes:
        name: What reports call it.
        needs: Names of the :class:`~analysis.theory.inputs.CurvatureSummary` entries it uses.
        families: Update rules it speaks of.
        exponent: Log-log slope at small batches, None when it depends on the inputs.
        confidence: Where the formula comes from.
        assumption: The one sentence on which it rests.
        bound: Whether it is an estimate or a bound.
    """

    name: str
    needs: tuple[str, ...]
    families: tuple[Family, ...]
    exponent: float | None
    confidence: Confidence
    assumption: str
    bound: Bound = Bound.ESTIMATE


Formula = Callable[[CurvatureSummary, FloatArray], FloatArray]
"""LR_max from the inputs and effective batch sizes of shape ``[n]``, which may be infinite."""


def build_curve(
    about: About,
    formula: Formula,
    summary: CurvatureSummary,
    conditions: Conditions,
    critical: float | None = None,
) -> TheoryCurve:
    """Evaluate a formula into a curve with its band and critical batch size.

    Args:
        about: What is known of the theory.
        formula: Its LR_max.
        summary: What was measured.
        conditions: What the prediction is for.
        critical: Effective critical batch size where it is known, such as the peak of a curve that
            falls again; None searches for it.

    Returns:
        The curve.

    Raises:
        TheoryError: If the theory does not speak of this rule, an input is missing, or a curvature
            is 0.
    """
    if conditions.rule.family not in about.families:
        raise TheoryError(
            f"{about.name} says nothing of {conditions.rule.family}, only of "
            f"{', '.join(about.families)}."
        )
    missing = [name for name in about.needs if getattr(summary, name) is None]
    if missing:
        raise TheoryError(f"{about.name} needs {', '.join(missing)}, not measured.")
    effective = conditions.effective
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            lr_max = formula(summary, effective)
            half = _Z * _log_stderr(about.needs, formula, summary, effective)
            if critical is None:
                critical = find_critical(lambda b: formula(summary, b))
        # A curvature that came out negative gives no edge.
        lr_max = np.where(lr_max > 0, lr_max, np.nan)
    except ZeroDivisionError:
        raise TheoryError(f"{about.name} divides by a curvature, which is 0 here.") from None
    return TheoryCurve(
        name=about.name,
        family=conditions.rule.family,
        batch_size=conditions.batch_size,
        lr_max=lr_max,
        low=lr_max * np.exp(-half),
        high=lr_max * np.exp(half),
        exponent=about.exponent,
        critical_batch_size=None if critical is None else conditions.in_examples(critical),
        confidence=about.confidence,
        bound=about.bound,
        assumption=about.assumption,
        point=summary.point,
    )


def _log_stderr(
    needs: tuple[str, ...], formula: Formula, summary: CurvatureSummary, effective: FloatArray
) -> FloatArray:
    """Propagate the inputs' standard errors into log LR_max, as if they were independent."""
    variance = np.zeros(effective.shape)
    for name in needs:
        up, down = (formula(_shift(summary, name, sign), effective) for sign in (1, -1))
        variance += (np.log(up / down) / 2) ** 2
    stderr: FloatArray = np.sqrt(variance)
    return stderr


def _shift(summary: CurvatureSummary, name: str, sign: int) -> CurvatureSummary:
    """Return the inputs with one moved by a standard error, up or down."""
    # Multiplied, so that a variance known to ± 100 % does not turn negative. A batch curve moves
    # as a whole, which is cautious: its errors are independent between batch sizes.
    entry = getattr(summary, name)
    if isinstance(entry, Measured):
        factor = np.exp(sign * entry.stderr / abs(entry.value)) if entry.value else 1.0
        return _exchange(summary, name, Measured(float(entry.value * factor)))
    if isinstance(entry, BatchCurve):
        moved = entry.mean * np.exp(sign * entry.stderr / entry.mean)
        return _exchange(summary, name, replace(entry, mean=moved))
    return summary


def _exchange(
    summary: CurvatureSummary, name: str, entry: Measured | BatchCurve
) -> CurvatureSummary:
    """Return the inputs with one exchanged."""
    changes: dict[str, Any] = {name: entry}
    return replace(summary, **changes)


def find_critical(lr_max: Callable[[FloatArray], FloatArray]) -> float | None:
    """Find the batch size at which LR_max is half of its limit.

    Args:
        lr_max: LR_max at effective batch sizes of shape ``[n]``, infinity included; NaN where
            the theory says nothing.

    Returns:
        The effective batch size, None when LR_max is nowhere below half of its limit or has none.

    Example:
        >>> round(find_critical(lambda b: 2 / (1 + 30 / b)), 6)
        30.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = lr_max(_SEARCHED)
    limit = values[-1]
    known = np.isfinite(values)
    sizes, below = _SEARCHED[known], values[known] < limit / 2
    if not (np.isfinite(limit) and limit > 0) or not below.any() or below.all():
        return None
    last = int(np.flatnonzero(below)[-1])
    high = float(sizes[last + 1])
    if np.isinf(high):  # half lies beyond what was searched or measured
        return None

    def gap(log_b: float) -> float:
        return float(lr_max(np.array([np.exp(log_b)]))[0] / limit - 0.5)

    return float(np.exp(optimize.brentq(gap, np.log(sizes[last]), np.log(high), xtol=1e-9)))
