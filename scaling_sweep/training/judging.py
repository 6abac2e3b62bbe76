"""From what a pack measured to one judged record per trial."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scaling_sweep.planning import Pack
from scaling_sweep.spec import SweepSpec
from scaling_sweep.stability import criterion_of, judge
from scaling_sweep.training.curves import Curve
from scaling_sweep.training.evaluation import Validation
from scaling_sweep.training.records import TrialRecord


@dataclass(frozen=True)
class Measured:
    """What was measured of a pack's trials, each of length ``num_copies``.

    Attributes:
        initial: Evaluation loss of the untrained model.
        start: Evaluation loss where training began.
        final: Evaluation loss after the last step; infinite when not finite.
        curves: What is kept of the training loss.
        steps_run: Steps taken before the end, or before the trial was known to have diverged.
        validation: What held-out data say.
    """

    initial: Sequence[float]
    start: Sequence[float]
    final: Sequence[float]
    curves: Sequence[Curve]
    steps_run: Sequence[int]
    validation: Validation


def judge_trials(
    pack: Pack, spec: SweepSpec, measured: Measured, wall_time_s: float
) -> tuple[TrialRecord, ...]:
    """Judge every trial of a pack by the sweep's criterion.

    Args:
        pack: The trials.
        spec: The sweep, for its criterion.
        measured: What was measured.
        wall_time_s: Time the pack took, shared out by steps taken.

    Returns:
        One record per trial, in the pack's order.
    """
    criterion = criterion_of(spec.stability)
    total_steps = sum(measured.steps_run)
    records = []
    for row, trial in enumerate(pack.trials):
        curve, final = measured.curves[row], measured.final[row]
        first_nonfinite = curve.first_nonfinite_step
        if first_nonfinite is None and not math.isfinite(final):
            first_nonfinite = pack.num_steps
        judgement = judge(
            criterion,
            initial_loss=measured.initial[row],
            start_loss=measured.start[row],
            final_loss=final,
            peak_loss=curve.peak_loss,
            first_nonfinite_step=first_nonfinite,
        )
        records.append(
            TrialRecord(
                trial_id=trial.trial_id,
                verdict=str(judgement.verdict),
                reason=judgement.reason,
                steps_run=measured.steps_run[row],
                initial_loss=measured.initial[row],
                start_loss=measured.start[row],
                final_loss=final,
                min_loss=curve.min_loss,
                peak_loss=curve.peak_loss,
                first_nonfinite_step=first_nonfinite,
                wall_time_s=wall_time_s * measured.steps_run[row] / total_steps,
                curve_steps=curve.steps,
                curve_losses=curve.losses,
                validation_loss=measured.validation.losses[row],
                validation_metric=measured.validation.metrics[row],
            )
        )
    return tuple(records)
