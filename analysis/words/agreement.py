"""A comparison of theory with measurement in words: where it holds, where it fails, by how much."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.theory.curves import Bound, TheoryCurve
from analysis.words.formatting import format_exponent, format_number, join_words

if TYPE_CHECKING:
    from analysis.agreement import Agreement, LogRatio

# Within this factor a theory is said to hold at a batch size (a choice; grids are often this wide).
HOLDS: Final = 1.25
# Below this a deviation is not worth its digits in a sentence.
_EXACT = 0.005
# More batch sizes than these are not named one by one (by eye).
_MAX_NAMED = 3


def describe(curve: TheoryCurve, ratios: Sequence["LogRatio"], left_out: Sequence[str] = ()) -> str:
    """Say in one sentence where a theory holds and by how much it fails elsewhere.

    It holds where it is within a factor of 1.25. Of the batch sizes where it does not, the worst
    on each side is named.

    Args:
        curve: The theory.
        ratios: Its comparison, ascending in batch size.
        left_out: What was not compared.

    Returns:
        The sentence, theory's name first.
    """
    if not ratios:
        return f"{curve.name}: nothing to compare. {' '.join(f'{s}.' for s in left_out)}".strip()
    holds = _describe_run(_longest_run(ratios), ratios)
    parts = [holds] if holds else ["nowhere within 25 %"]
    outside = [ratio for ratio in ratios if not _holds(ratio)]
    high = min(outside, key=lambda ratio: ratio.log_ratio, default=None)
    low = max(outside, key=lambda ratio: ratio.log_ratio, default=None)
    if high is not None and high.log_ratio < 0:
        parts.append(f"{_factor(high)}× too high at B = {high.batch_size}")
    if low is not None and low.log_ratio > 0:
        parts.append(f"{_factor(low)}× too low at B = {low.batch_size}")
    contradicted = _describe_bound(curve, ratios)
    return f"{curve.name}: {'; '.join([*parts, *contradicted, *left_out])}."


def _holds(ratio: "LogRatio") -> bool:
    return bool(abs(ratio.log_ratio) <= np.log(HOLDS))


def _factor(ratio: "LogRatio") -> str:
    return format_number(float(np.exp(abs(ratio.log_ratio))), 2)


def _longest_run(ratios: Sequence["LogRatio"]) -> tuple[int, int]:
    """Return the longest run of batch sizes where the theory holds, as a half-open range."""
    best, start = (0, 0), 0
    for i, ratio in enumerate(ratios):
        if not _holds(ratio):
            start = i + 1
        elif i + 1 - start > best[1] - best[0]:
            best = (start, i + 1)
    return best


def _describe_run(run: tuple[int, int], ratios: Sequence["LogRatio"]) -> str:
    """Say where and how well the theory holds; empty when nowhere."""
    start, stop = run
    if start == stop:
        return ""
    worst = max(np.expm1(abs(ratio.log_ratio)) for ratio in ratios[start:stop])
    first, last = ratios[start].batch_size, ratios[stop - 1].batch_size
    if stop - start == len(ratios):
        where = "at every B"
    elif first == last:
        where = f"at B = {first}"
    elif stop == len(ratios):
        where = f"at B ≥ {first}"
    elif start == 0:
        where = f"at B ≤ {last}"
    else:
        where = f"at B = {first} to {last}"
    size = "within 0.5 %" if worst < _EXACT else f"within {format_number(100 * worst, 2)} %"
    return f"{size} {where}"


def _describe_bound(curve: TheoryCurve, ratios: Sequence["LogRatio"]) -> list[str]:
    """Name the batch sizes whose whole measured interval lies on the wrong side of a bound."""
    if curve.bound is Bound.UPPER:
        broken = [ratio for ratio in ratios if ratio.low > 0 and not ratio.overlaps]
    elif curve.bound is Bound.LOWER:
        broken = [ratio for ratio in ratios if ratio.high < 0 and not ratio.overlaps]
    else:
        return []
    if not broken:
        return []
    sizes = [str(ratio.batch_size) for ratio in broken]
    many = f"{len(sizes)} batch sizes, B = {sizes[0]} to {sizes[-1]}"
    where = f"B = {join_words(sizes)}" if len(sizes) <= _MAX_NAMED else many
    side = "above" if curve.bound is Bound.UPPER else "below"
    return [f"measured {side} what it calls {curve.bound} at {where}"]


def describe_exponents(agreement: "Agreement") -> str:
    """Put the theory's exponent beside the measured one.

    Args:
        agreement: A comparison.

    Returns:
        A sentence; empty when neither is known.

    Example:
        >>> from analysis.agreement import compare
        >>> from analysis.theory import Conditions, CurvatureSummary, Measured
        >>> from analysis.theory import edge_of_stability_curve
        >>> known = CurvatureSummary(hessian_top=Measured(2.0))
        >>> curve = edge_of_stability_curve(known, Conditions(np.array([1.0, 64.0])))
        >>> describe_exponents(compare([], curve, measured_exponent=0.86))
        'Exponent at small batches: 0.00 predicted, 0.86 measured.'
    """
    known = (("predicted", agreement.exponent), ("measured", agreement.measured_exponent))
    parts = [f"{format_exponent(value)} {word}" for word, value in known if value is not None]
    return f"Exponent at small batches: {', '.join(parts)}." if parts else ""
