"""A damping for a batch size and a learning rate that were not measured together."""

from dataclasses import dataclass, replace

import numpy as np

from analysis.errors import AnalysisError
from analysis.fitting.bands import predict_edge
from analysis.forecasting.notes import name_setting, note_range, read_first, require_drawable
from analysis.summaries import GroupFit, GroupKey
from analysis.words.formatting import join_words


@dataclass(frozen=True)
class DampingRecommendation:
    """A damping for a batch size and a learning rate.

    Attributes:
        key: The group it holds for.
        batch_size: Examples per step.
        lr: The learning rate to train at.
        damping: The damping to use: ``damping_min / safety``, and never below the upper end of
            ``damping_min_ci``; None when refused.
        damping_min: The smallest stable damping that the reported law gives; None when refused.
        damping_min_ci: Its 95 % interval over the laws that count; None when refused.
        safety: What ``damping_min`` is divided by.
        notes: Sentences to read before using ``damping``.
        refused: Why nothing is recommended, None when something is.
    """

    key: GroupKey
    batch_size: int
    lr: float
    damping: float | None
    damping_min: float | None
    damping_min_ci: tuple[float, float] | None
    safety: float
    notes: tuple[str, ...]
    refused: str | None


def require_lr(group: GroupFit, lr: float | None) -> float:
    """Return the learning rate to train at, or say what to write.

    Args:
        group: A group that searched the damping.
        lr: What was asked for, None when nothing.

    Returns:
        The learning rate.

    Raises:
        AnalysisError: If there is none, or it is not positive.
    """
    measured = sorted({edge.lr for edge in group.edges if edge.lr is not None})
    example = measured[0] if measured else 0.1
    if lr is None:
        shown = f" (measured at {join_words([f'{rate:g}' for rate in measured])})"
        raise AnalysisError(
            "This table searched the damping at learning rates that were held"
            f"{shown if measured else ''}: say which one to train at, as in --lr {example:g}."
        )
    if not 0 < lr < np.inf:
        raise AnalysisError(f"A learning rate is positive, got {lr:g}; try --lr {example:g}.")
    return lr


def recommend_damping(
    group: GroupFit, batch_size: int, lr: float, safety: float
) -> DampingRecommendation:
    """Recommend a damping for one group that searched it.

    Args:
        group: A fitted or refused group.
        batch_size: Examples per step, at least 1.
        lr: The learning rate to train at; need not have been measured.
        safety: What the smallest stable damping is divided by, in (0, 1].

    Returns:
        The recommendation, or its refusal.

    Raises:
        AnalysisError: If the batch is larger than the data it is drawn from without replacement.
    """
    require_drawable(group, batch_size)
    empty = DampingRecommendation(group.key, batch_size, lr, None, None, None, safety, (), None)
    if group.best_law() is None:
        return replace(empty, refused=f"No damping is recommended. {group.refused}")
    edge, *ends = read_first(predict_edge(group, batch_size, lr))
    if not np.isfinite([edge, *ends]).all():
        return replace(empty, refused=f"The {group.law} law says nothing about a full batch.")
    least, (low, high) = group.axis.show(edge), group.axis.show_interval((ends[0], ends[1]))
    notes = [*note_range(group, batch_size), *_note_lr(group, lr)]
    if high > least / safety:
        notes.append(
            "The interval is wide: its upper end, not the safety factor, sets the damping."
        )
    return replace(
        empty,
        damping=max(least / safety, high),
        damping_min=least,
        damping_min_ci=(low, high),
        notes=(*notes, f"{name_setting(group)}; longer training may need more."),
    )


def _note_lr(group: GroupFit, lr: float) -> list[str]:
    """Say when a learning rate lies beyond the measured ones."""
    measured = [edge.lr for edge in group.edges if edge.lr is not None]
    if min(measured) <= lr <= max(measured):
        return []
    ends = f"{min(measured):g} to {max(measured):g}"
    return [f"lr = {lr:g} is an extrapolation: learning rates from {ends} were measured."]
