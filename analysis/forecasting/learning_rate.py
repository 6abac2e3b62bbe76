"""A learning rate for a batch size that was not measured, and how far to trust it.

Or, where the damping was searched, a damping for a batch size and a learning rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.axes import AxisName
from analysis.edge_summaries import Censoring, MedianEdge
from analysis.errors import AnalysisError
from analysis.fitting.bands import predict_edge
from analysis.forecasting.damping import DampingRecommendation, recommend_damping, require_lr
from analysis.forecasting.notes import name_setting, note_range, read_first, require_drawable
from analysis.optimal.laws import as_group
from analysis.summaries import Fit, GroupFit, GroupKey
from analysis.words.formatting import format_number, group_title
from analysis.words.laws import critical_batch_size

__all__ = [
    "SAFETY",
    "DampingRecommendation",
    "Recommendation",
    "RuleOfThumb",
    "recommend",
    "recommend_damping",
    "recommend_group",
    "select_group",
]

SAFETY = 0.5
"""Share of LR_max to train at. A guess: the learning-rate finders that people know suggest between
half and a tenth of the rate where the loss blows up, and half loses the least speed."""


@dataclass(frozen=True)
class RuleOfThumb:
    """What a scaling rule says from the nearest measured batch size.

    Attributes:
        name: ``linear`` or ``square root``.
        exponent: 1 or 1/2.
        lr_max: The nearest LR_max times (batch size / nearest batch size) to the exponent.
        lr: The same with the safety factor.
    """

    name: str
    exponent: float
    lr_max: float
    lr: float


@dataclass(frozen=True)
class Recommendation:
    """A learning rate for a new batch size.

    Attributes:
        key: The group it holds for.
        batch_size: Examples per step.
        lr: The learning rate to use: ``safety`` times ``lr_max``, and never above the lower end of
            ``lr_max_ci``; None when refused.
        lr_max: The largest stable learning rate that the reported law gives; None when refused.
        lr_max_ci: Its 95 % interval over the laws that count; None when refused.
        safety: Share of ``lr_max`` asked for.
        nearest_batch_size: The measured batch size that the rules start from; None if no edge was
            bracketed.
        rules: The linear and the square-root rule, for comparison.
        notes: Sentences to read before using ``lr``.
        refused: Why nothing is recommended, None when something is.
        lr_opt: The learning rate with the lowest loss: by its law, without one as measured at this
            batch size; None where neither says anything. It does not enter ``lr``.
        lr_opt_ci: Its 95 % interval.
    """

    key: GroupKey
    batch_size: int
    lr: float | None
    lr_max: float | None
    lr_max_ci: tuple[float, float] | None
    safety: float
    nearest_batch_size: int | None
    rules: tuple[RuleOfThumb, ...]
    notes: tuple[str, ...]
    refused: str | None
    lr_opt: float | None = None
    lr_opt_ci: tuple[float, float] | None = None


def recommend(
    fit: Fit,
    batch_size: int,
    optimizer: str | None = None,
    safety: float = SAFETY,
    lr: float | None = None,
) -> Recommendation | DampingRecommendation:
    """Recommend a learning rate, or a damping, from the laws that were fitted.

    Args:
        fit: Of one table of results.
        batch_size: Examples per step, at least 1; need not have been measured.
        optimizer: Which group, where the table has several.
        safety: Share of LR_max, in (0, 1]; the smallest damping is divided by it.
        lr: The learning rate to train at, where the damping was searched.

    Returns:
        The learning rate, or the damping, with its interval and what to know about it; without
        one, and with the reason, where the fit was refused.

    Raises:
        AnalysisError: If the batch size or the safety factor is out of range, the selection does
            not name exactly one group, or the learning rate is missing or too many.
    """
    if batch_size < 1:
        raise AnalysisError(f"A batch size is at least 1, got {batch_size}.")
    if not 0 < safety <= 1:
        raise AnalysisError(f"The safety factor lies in (0, 1], got {safety:g}; try {SAFETY:g}.")
    group = select_group(fit.groups, optimizer)
    if group.key.axis is AxisName.DAMPING:
        return recommend_damping(group, batch_size, require_lr(group, lr), safety)
    if lr is not None:
        raise AnalysisError(
            "A learning rate to train at is for tables that searched the damping; this one "
            "searched the learning rate: leave out --lr."
        )
    return recommend_group(group, batch_size, safety)


def select_group(groups: Sequence[GroupFit], optimizer: str | None = None) -> GroupFit:
    """Find the one group that is meant.

    Args:
        groups: All groups of a fit.
        optimizer: The optimizer's name in the table, or the group's title as the report shows it.

    Returns:
        The group.

    Raises:
        AnalysisError: If none or several fit; the message lists what exists.
    """
    keys = [group.key for group in groups]
    titles = [group_title(key, keys) for key in keys]
    found = [
        group
        for group, title in zip(groups, titles, strict=True)
        if optimizer is None or optimizer.lower() in (group.key.optimizer.lower(), title.lower())
    ]
    if len(found) == 1:
        return found[0]
    choices = "; ".join(repr(title) for title in titles) or "none"
    if not found:
        what = f"optimizer {optimizer!r}" if optimizer else "group"
        raise AnalysisError(f"The table has no {what}. Choose one with --optimizer: {choices}.")
    what = f"optimizer {optimizer!r}" if optimizer else "table"
    raise AnalysisError(
        f"This {what} has {len(found)} groups. Choose one with --optimizer: {choices}."
    )


def recommend_group(group: GroupFit, batch_size: int, safety: float = SAFETY) -> Recommendation:
    """Recommend a learning rate for one group.

    Args:
        group: A fitted or refused group.
        batch_size: Examples per step, at least 1.
        safety: Share of LR_max, in (0, 1].

    Returns:
        The recommendation, or its refusal.

    Raises:
        AnalysisError: If the batch is larger than the data it is drawn from without replacement.
    """
    require_drawable(group, batch_size)
    nearest = _find_nearest(group.edges, batch_size)
    rules = _apply_rules(nearest, batch_size, safety) if nearest else ()
    nearest_size = nearest.batch_size if nearest else None
    empty = _add_optimum(
        Recommendation(
            group.key, batch_size, None, None, None, safety, nearest_size, rules, (), None
        ),
        group,
    )
    if group.best_law() is None:
        return replace(empty, refused=f"No learning rate is recommended. {group.refused}")
    lr_max, low, high = read_first(predict_edge(group, batch_size))
    if not np.isfinite([lr_max, low, high]).all():
        return replace(empty, refused=f"The {group.law} law says nothing about a full batch.")
    return replace(
        empty,
        lr=min(safety * lr_max, low),
        lr_max=lr_max,
        lr_max_ci=(low, high),
        notes=_write_notes(group, batch_size, capped=low < safety * lr_max),
    )


def _add_optimum(advice: Recommendation, group: GroupFit) -> Recommendation:
    """Add the learning rate with the lowest loss, by its law or as it was measured."""
    optima, size = as_group(group), advice.batch_size
    if optima is None:
        return advice
    if optima.best_law() is not None:
        lr_opt, *ends = read_first(predict_edge(optima, size))
        if np.isfinite([lr_opt, *ends]).all():
            return replace(advice, lr_opt=lr_opt, lr_opt_ci=(ends[0], ends[1]))
    for one in optima.edges:
        # An optimum at the end of the grid, or one that nothing bounds, is no advice.
        bounded = one.median_ci[0] > 0 and np.isfinite(one.median_ci[1])
        if one.batch_size == size and bounded and one.censored is Censoring.NONE:
            return replace(advice, lr_opt=one.median, lr_opt_ci=one.median_ci)
    return advice


def _find_nearest(edges: Sequence[MedianEdge], batch_size: int) -> MedianEdge | None:
    """Return the nearest bracketed edge in ratio; a censored one is no ground for a rule."""
    inside = [edge for edge in edges if edge.censored is Censoring.NONE]
    return min(inside, key=lambda edge: abs(np.log(edge.batch_size / batch_size)), default=None)


def _apply_rules(nearest: MedianEdge, batch_size: int, safety: float) -> tuple[RuleOfThumb, ...]:
    rules = []
    for name, exponent in (("linear", 1.0), ("square root", 0.5)):
        lr_max = nearest.median * (batch_size / nearest.batch_size) ** exponent
        rules.append(RuleOfThumb(name, exponent, lr_max, safety * lr_max))
    return tuple(rules)


def _write_notes(group: GroupFit, batch_size: int, capped: bool) -> tuple[str, ...]:
    """Return what a careful reader would ask."""
    notes = [*note_range(group, batch_size), *_note_critical(group, batch_size)]
    neighbours = [edge for edge in _neighbours(group.edges, batch_size) if _is_open(edge)]
    notes += [
        f"At the neighbouring B = {edge.batch_size} the grid of learning rates ended before the "
        "edge did."
        for edge in neighbours
    ]
    if capped:
        notes.append(
            "The interval is wide: its lower end, not the safety factor, sets the learning rate."
        )
    notes.append(f"{name_setting(group)}; longer training may need less.")
    return tuple(notes)


def _is_open(edge: MedianEdge) -> bool:
    return edge.censored is not Censoring.NONE


def _neighbours(edges: Sequence[MedianEdge], batch_size: int) -> list[MedianEdge]:
    """Return the measured batch sizes next to this one, itself included."""
    below = [edge for edge in edges if edge.batch_size <= batch_size][-1:]
    above = [edge for edge in edges if edge.batch_size >= batch_size][:1]
    return below if below == above else below + above


def _note_critical(group: GroupFit, batch_size: int) -> list[str]:
    best = group.best_law()
    critical = critical_batch_size(best) if best else None
    if critical is None or batch_size <= critical:
        return []
    return [
        f"B = {batch_size} lies past the critical batch size of about "
        f"{format_number(critical, 2)}: there a larger batch hardly allows a larger learning rate, "
        "so the linear and the square-root rule promise too much."
    ]
