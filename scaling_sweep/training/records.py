"""What training a pack leaves behind: one record per trial, ready for the table."""

import math
from dataclasses import dataclass

from analysis.criteria import Verdict
from scaling_sweep.planning import Pack


@dataclass(frozen=True)
class TrialRecord:
    """The measurement of one trial.

    Attributes:
        trial_id: Which trial.
        verdict: ``stable`` or ``diverged``; ``failed`` where not even one copy fits into memory.
        reason: Why, in words.
        steps_run: Steps taken before the trial ended or was known to have diverged.
        initial_loss: Evaluation loss of the untrained model.
        start_loss: Evaluation loss where the trial began.
        final_loss: Evaluation loss after the last step; infinite when not finite.
        min_loss: Smallest windowed training loss.
        peak_loss: Largest windowed training loss; infinite when it was not finite.
        first_nonfinite_step: First step whose loss was not finite; ``num_steps`` when only the
            final evaluation was not; None when all were finite.
        wall_time_s: The trial's share of its pack's time, by steps taken.
        curve_steps: Steps taken by the end of each kept window of the loss curve.
        curve_losses: Mean training loss of each kept window.
        validation_loss: Loss on held-out data after the last step, infinite when not finite; None
            where the task has no such data.
        validation_metric: The task's own measure there; None where it has none, or where the
            trial diverged to numbers that have none.
    """

    trial_id: str
    verdict: str
    reason: str
    steps_run: int
    initial_loss: float
    start_loss: float
    final_loss: float
    min_loss: float
    peak_loss: float
    first_nonfinite_step: int | None
    wall_time_s: float
    curve_steps: tuple[int, ...]
    curve_losses: tuple[float, ...]
    validation_loss: float | None = None
    validation_metric: float | None = None

    @classmethod
    def of_failure(cls, trial_id: str, reason: str) -> "TrialRecord":
        """Return the record of a trial that could not be measured."""
        nothing = math.nan
        return cls(
            trial_id=trial_id,
            verdict=str(Verdict.FAILED),
            reason=reason,
            steps_run=0,
            initial_loss=nothing,
            start_loss=nothing,
            final_loss=nothing,
            min_loss=nothing,
            peak_loss=nothing,
            first_nonfinite_step=None,
            wall_time_s=0.0,
            curve_steps=(),
            curve_losses=(),
        )


@dataclass(frozen=True)
class PackResult:
    """What one trained pack leaves behind.

    Attributes:
        pack: What was asked.
        records: One per trial, in the pack's order.
        num_examples: Size of the training set; None for a stream.
        device: Where it ran, for people.
        engine: ``vmap`` or ``loop``.
        wall_time_s: Time the pack took, its probe included.
    """

    pack: Pack
    records: tuple[TrialRecord, ...]
    num_examples: int | None
    device: str
    engine: str
    wall_time_s: float
