"""What counts as stable: a verdict from a trial's summary alone, so that it can be judged again."""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

import numpy as np
import pandas as pd


class Verdict(StrEnum):
    """What became of a trial."""

    STABLE = "stable"
    DIVERGED = "diverged"  # a measurement, as good as stable
    FAILED = "failed"  # no measurement: out of memory, killed, lost


class Kind(StrEnum):
    """What a criterion looks at."""

    FINAL = "final"  # the loss after the last update
    PEAK = "peak"  # the highest windowed training loss after a short start
    FINITE = "finite"  # only whether everything stayed finite


class Reference(StrEnum):
    """What a criterion's ratio is taken of."""

    INITIAL = "initial"  # the loss of the untrained model
    START = "start"  # the loss where the trial began


@dataclass(frozen=True)
class Criterion:
    """When a trial is stable: all finite, and the loss at most ``ratio`` times the reference.

    Attributes:
        kind: Which loss is judged.
        ratio: Its largest allowed multiple of the reference loss, positive.
        reference: Which loss it is compared with.

    Example:
        >>> str(Criterion())
        'final:0.5'
        >>> parse_criterion("final:2:start")
        Criterion(kind=<Kind.FINAL: 'final'>, ratio=2.0, reference=<Reference.START: 'start'>)
    """

    kind: Kind = Kind.FINAL
    ratio: float = 0.5  # method.md, "Stable"
    reference: Reference = Reference.INITIAL

    def __post_init__(self) -> None:
        if not (isfinite(self.ratio) and self.ratio > 0):
            raise ValueError(f"A criterion's ratio must be positive and finite, got {self.ratio}.")

    def __str__(self) -> str:
        if self.kind is Kind.FINITE:
            return "finite"
        tail = "" if self.reference is Reference.INITIAL else f":{self.reference}"
        return f"{self.kind}:{self.ratio!r}".removesuffix(".0") + tail


@dataclass(frozen=True)
class Judgement:
    """A verdict and why.

    Attributes:
        verdict: Stable, diverged, or failed when there is nothing to compare with.
        reason: One clause with the numbers.
    """

    verdict: Verdict
    reason: str


def parse_criterion(text: str) -> Criterion:
    """Read a criterion as people write it.

    Args:
        text: ``final:RATIO``, ``peak:RATIO``, either with ``:start``, or ``finite``.

    Returns:
        The criterion; ``parse_criterion(str(criterion)) == criterion``.

    Raises:
        ValueError: If the text says something else.

    Example:
        >>> parse_criterion("peak:2").ratio
        2.0
    """
    help_ = (
        f"cannot read the criterion {text!r}: write final:0.5, peak:2 or finite; "
        "add :start to compare with the loss where the trial began, as in final:2:start"
    )
    kind, *rest = text.strip().split(":")
    if kind not in list(Kind) or len(rest) > 2:
        raise ValueError(help_)
    if kind == Kind.FINITE:
        if rest:
            raise ValueError(help_)
        return Criterion(Kind.FINITE)
    try:
        reference = Reference(rest[1]) if len(rest) == 2 else Reference.INITIAL
        return Criterion(Kind(kind), float(rest[0]), reference)
    except (ValueError, IndexError) as error:
        raise ValueError(help_) from error


def judge_one(
    criterion: Criterion,
    *,
    initial_loss: float,
    start_loss: float,
    final_loss: float,
    peak_loss: float,
    first_nonfinite_step: int | None,
) -> Judgement:
    """Judge one trial.

    Args:
        criterion: When a trial is stable.
        initial_loss: Loss of the untrained model.
        start_loss: Loss where the trial began.
        final_loss: Loss after the last update.
        peak_loss: Highest windowed training loss.
        first_nonfinite_step: First step with a loss that is not finite, None when all were.

    Returns:
        The verdict with its reason.

    Example:
        >>> judge_one(Criterion(), initial_loss=2.0, start_loss=2.0, final_loss=0.5, peak_loss=3.0,
        ...           first_nonfinite_step=None).reason
        'final loss 0.5 <= 0.5 x initial loss 2'
    """
    if first_nonfinite_step is not None:
        return Judgement(Verdict.DIVERGED, f"loss not finite at step {first_nonfinite_step}")
    loss = peak_loss if criterion.kind is Kind.PEAK else final_loss
    name = Kind.PEAK if criterion.kind is Kind.PEAK else Kind.FINAL
    if criterion.kind is Kind.FINITE:
        if not isfinite(loss):
            return Judgement(Verdict.DIVERGED, f"final loss is {loss}")
        return Judgement(Verdict.STABLE, "every loss was finite")
    against = initial_loss if criterion.reference is Reference.INITIAL else start_loss
    if not isfinite(against):
        return Judgement(
            Verdict.FAILED, f"{criterion.reference} loss is {against}: nothing to compare with"
        )
    if not isfinite(loss):
        return Judgement(Verdict.DIVERGED, f"{name} loss is {loss}")
    stable = loss <= criterion.ratio * against
    sign = "<=" if stable else ">"
    return Judgement(
        Verdict.STABLE if stable else Verdict.DIVERGED,
        f"{name} loss {loss:.4g} {sign} {criterion.ratio:g} x {criterion.reference} loss "
        f"{against:.4g}",
    )


def needed_columns(criterion: Criterion) -> tuple[str, ...]:
    """Return the loss columns a table must have to be judged by a criterion."""
    if criterion.kind is Kind.FINITE:
        return ("final_loss",)
    return (f"{criterion.kind}_loss", f"{criterion.reference}_loss")


def judge(criterion: Criterion, frame: pd.DataFrame) -> pd.Series:
    """Judge all trials of a table, as :func:`judge_one` would; failed trials stay failed.

    Args:
        criterion: When a trial is stable.
        frame: Table with the columns of results.parquet.

    Returns:
        Verdicts as strings, with the frame's index.

    Example:
        >>> table = pd.DataFrame({"verdict": "stable", "initial_loss": 2.0, "start_loss": 2.0,
        ...     "final_loss": [0.5, 1.5], "peak_loss": 3.0, "first_nonfinite_step": None})
        >>> judge(Criterion(), table).tolist()
        ['stable', 'diverged']
    """
    blown = frame["first_nonfinite_step"].notna().to_numpy(bool)
    loss_column = "peak_loss" if criterion.kind is Kind.PEAK else "final_loss"
    loss = frame[loss_column].to_numpy(float, na_value=np.nan)
    if criterion.kind is Kind.FINITE:
        stable, unknown = ~blown & np.isfinite(loss), np.zeros(len(frame), dtype=bool)
    else:
        against = frame[f"{criterion.reference}_loss"].to_numpy(float, na_value=np.nan)
        unknown = ~blown & ~np.isfinite(against)
        with np.errstate(invalid="ignore"):
            stable = ~blown & np.isfinite(loss) & (loss <= criterion.ratio * against)
    verdict = np.where(stable, Verdict.STABLE.value, Verdict.DIVERGED.value)
    lost = unknown | (frame["verdict"] == Verdict.FAILED).to_numpy(bool, na_value=False)
    return pd.Series(np.where(lost, Verdict.FAILED.value, verdict), index=frame.index, dtype=object)
