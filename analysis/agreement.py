"""Measured LR_max held against theory's curves: how far off each is, and where.

Nothing is fitted here: a theory that is off by 2 × is shown as off by 2 ×.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.edge_summaries import Censoring, MedianEdge
from analysis.theory.curves import TheoryCurve
from analysis.theory.inputs import FloatArray
from analysis.words.agreement import describe, describe_exponents
from analysis.words.formatting import join_words

__all__ = ["Agreement", "LogRatio", "compare", "describe", "describe_exponents", "rank"]


@dataclass(frozen=True)
class LogRatio:
    """Measured against predicted at one batch size.

    Attributes:
        batch_size: Examples per step.
        measured: LR_max.
        predicted: What the theory says.
        log_ratio: ln(measured / predicted): positive where the theory is too low.
        low: ln of the lower end of the measured 95 % interval over the prediction.
        high: The same of the upper end.
        overlaps: Whether the measured interval and the theory's band overlap.
    """

    batch_size: int
    measured: float
    predicted: float
    log_ratio: float
    low: float
    high: float
    overlaps: bool


@dataclass(frozen=True)
class Agreement:
    """How one theory stands to one group's measurement.

    Attributes:
        curve: The theory.
        ratios: One entry per batch size that is measured and predicted, ascending.
        left_out: One sentence per kind of batch size left out: censored, or not predicted.
        log_error: Root-mean-square of the log ratios, natural log; None without any.
        log_error_range: The same with every measured value at the near or the far end of its
            interval; infinite where an interval is open.
        mean_log_ratio: Their mean: the theory's level; positive when it is too low.
        shape_error: Root-mean-square of the log ratios about their mean: what would remain if the
            theory were multiplied by the best constant, which it is not.
        measured_exponent: As given to :func:`compare`, None when not known.
        exponent: The theory's small-batch exponent.
        slope: The theory's least-squares log-log slope over the batch sizes compared.
        measured_slope: The measured one over the same batch sizes.
        sentence: All of this in words.
    """

    curve: TheoryCurve
    ratios: tuple[LogRatio, ...]
    left_out: tuple[str, ...]
    log_error: float | None
    log_error_range: tuple[float, float] | None
    mean_log_ratio: float | None
    shape_error: float | None
    measured_exponent: float | None
    exponent: float | None
    slope: float | None
    measured_slope: float | None
    sentence: str


def compare(
    edges: Sequence[MedianEdge], curve: TheoryCurve, measured_exponent: float | None = None
) -> Agreement:
    """Hold a measured edge against one theory.

    Batch sizes between those of the curve are interpolated in log-log space; those outside, those
    the theory says nothing of, and censored edges are left out and named.

    Args:
        edges: LR_max per batch size.
        curve: The theory, for the same update rule and way of drawing batches.
        measured_exponent: The reported law's small-batch exponent, None when refused.

    Returns:
        The comparison; its errors are None when no batch size is left.

    Example:
        >>> from analysis.theory import Conditions, CurvatureSummary, Measured
        >>> from analysis.theory import edge_of_stability_curve
        >>> known = CurvatureSummary(hessian_top=Measured(2.0))
        >>> curve = edge_of_stability_curve(known, Conditions(np.array([1.0, 64.0])))
        >>> edges = [
        ...     MedianEdge(b, 4, lr, (lr / 1.1, lr * 1.1), lr, lr, Censoring.NONE)
        ...     for b, lr in ((1, 0.5), (64, 0.95))]
        >>> compare(edges, curve).sentence
        'edge of stability: within 5.3 % at B = 64; 2× too high at B = 1.'
    """
    closed = [edge for edge in edges if edge.censored is Censoring.NONE]
    sizes = np.array([edge.batch_size for edge in closed], dtype=float)
    sides = (curve.lr_max, curve.low, curve.high)
    center, low, high = (_interpolate(curve, side, sizes) for side in sides)
    known = np.isfinite(center)
    ratios = tuple(
        _make_ratio(edge, *ends)
        for edge, *ends, keep in zip(closed, center, low, high, known, strict=True)
        if keep
    )
    left_out = _list_left_out(edges, [e for e, keep in zip(closed, known, strict=True) if not keep])
    logs = np.array([ratio.log_ratio for ratio in ratios])
    return Agreement(
        curve=curve,
        ratios=ratios,
        left_out=left_out,
        log_error=_root_mean_square(logs),
        log_error_range=_error_range(ratios),
        mean_log_ratio=float(logs.mean()) if logs.size else None,
        shape_error=_root_mean_square(logs - logs.mean()) if logs.size else None,
        measured_exponent=measured_exponent,
        exponent=curve.exponent,
        slope=_find_slope(ratios, [ratio.predicted for ratio in ratios]),
        measured_slope=_find_slope(ratios, [ratio.measured for ratio in ratios]),
        sentence=describe(curve, ratios, left_out),
    )


def rank(agreements: Sequence[Agreement]) -> tuple[Agreement, ...]:
    """Order comparisons, the smallest log error first.

    A theory that speaks at fewer than half of the batch sizes that another one does comes after
    those that do: silence where it would be wrong is no merit.

    Args:
        agreements: Theories against the same measurement.

    Returns:
        The same, in order; ties keep theirs.
    """
    widest = max((len(agreement.ratios) for agreement in agreements), default=0)

    def key(agreement: Agreement) -> tuple[bool, float]:
        error = np.inf if agreement.log_error is None else agreement.log_error
        return 2 * len(agreement.ratios) < widest, error

    return tuple(sorted(agreements, key=key))


def _interpolate(curve: TheoryCurve, values: FloatArray, sizes: FloatArray) -> FloatArray:
    """Read values off a curve, straight in log-log space; NaN outside what it speaks of."""
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        return np.full(sizes.shape, np.nan)
    order = np.argsort(curve.batch_size[known])
    x, y = np.log(curve.batch_size[known][order]), np.log(values[known][order])
    read: FloatArray = np.exp(np.interp(np.log(sizes), x, y, left=np.nan, right=np.nan))
    return read


def _make_ratio(edge: MedianEdge, predicted: float, low: float, high: float) -> LogRatio:
    """Compare one measured interval with one predicted."""
    with np.errstate(divide="ignore"):
        ends = np.log(np.array(edge.median_ci) / predicted)
    return LogRatio(
        batch_size=edge.batch_size,
        measured=edge.median,
        predicted=float(predicted),
        log_ratio=float(np.log(edge.median / predicted)),
        low=float(ends[0]),
        high=float(ends[1]),
        overlaps=bool(edge.median_ci[0] <= high and low <= edge.median_ci[1]),
    )


def _list_left_out(
    edges: Sequence[MedianEdge], unpredicted: Sequence[MedianEdge]
) -> tuple[str, ...]:
    """Say which batch sizes were not compared, and why."""
    kinds = (
        ([e for e in edges if e.censored is Censoring.LEFT], "edge below the grid"),
        ([e for e in edges if e.censored is Censoring.RIGHT], "edge above the grid"),
        (unpredicted, "not predicted"),
    )
    return tuple(
        f"B = {join_words([str(edge.batch_size) for edge in hit])} left out: {why}"
        for hit, why in kinds
        if hit
    )


def _root_mean_square(values: FloatArray) -> float | None:
    """Return the root of the mean square, None of nothing."""
    return float(np.sqrt(np.mean(values**2))) if values.size else None


def _error_range(ratios: Sequence[LogRatio]) -> tuple[float, float] | None:
    """Return the log error with measurements at the near and at the far ends of their intervals."""
    if not ratios:
        return None
    ends = np.array([[ratio.low, -ratio.high] for ratio in ratios])
    near, far = np.maximum(ends.max(axis=1), 0.0), np.abs(ends).max(axis=1)
    return float(np.sqrt(np.mean(near**2))), float(np.sqrt(np.mean(far**2)))


def _find_slope(ratios: Sequence[LogRatio], values: Sequence[float]) -> float | None:
    """Return a least-squares log-log slope, None of fewer than two batch sizes."""
    if len(ratios) < 2:
        return None
    return float(np.polyfit(np.log([ratio.batch_size for ratio in ratios]), np.log(values), 1)[0])
