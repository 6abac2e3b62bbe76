"""From what a pack leaves behind to rows of the table."""

from dataclasses import dataclass

import pandas as pd

from analysis.criteria import Verdict
from scaling_sweep.planning import Pack, Trial
from scaling_sweep.training.records import PackResult, TrialRecord


@dataclass(frozen=True)
class PackRows:
    """The rows of one pack, ready to be stored.

    Attributes:
        pack_id: Which pack.
        results: One row per trial, columns of results.parquet.
        curves: One row per trial that trained: ``trial_id``, ``step`` and ``loss`` as lists.
    """

    pack_id: str
    results: pd.DataFrame
    curves: pd.DataFrame


def rows_of_result(result: PackResult) -> PackRows:
    """Return the rows of a pack that trained."""
    pack = result.pack
    trained = [record for record in result.records if record.verdict != Verdict.FAILED]
    if not trained:
        return rows_of_failure(pack, result.records[0].reason)
    whole = {
        "num_examples": result.num_examples,
        "device": result.device,
        "engine": result.engine,
    }
    measured = [
        {**_identity(trial, pack), **_failure(record.reason)}
        if record.verdict == Verdict.FAILED
        else {**_identity(trial, pack), **_measurement(record), **whole}
        for trial, record in zip(pack.trials, result.records, strict=True)
    ]
    curves = pd.DataFrame(
        {
            "trial_id": [record.trial_id for record in trained],
            "step": [list(record.curve_steps) for record in trained],
            "loss": [list(record.curve_losses) for record in trained],
        }
    )
    return PackRows(pack.pack_id, pd.DataFrame(measured), curves)


def rows_of_failure(pack: Pack, reason: str) -> PackRows:
    """Return rows that say that the pack's trials were not measured, and why."""
    rows = [{**_identity(trial, pack), **_failure(reason)} for trial in pack.trials]
    curves = pd.DataFrame({"trial_id": [], "step": [], "loss": []})
    return PackRows(pack.pack_id, pd.DataFrame(rows), curves)


def _failure(reason: str) -> dict[str, object]:
    return {"verdict": str(Verdict.FAILED), "reason": reason}


def _identity(trial: Trial, pack: Pack) -> dict[str, object]:
    return {
        "trial_id": trial.trial_id,
        "pack_id": pack.pack_id,
        "task": trial.task,
        "method": trial.method,
        "optimizer": trial.optimizer.label,
        "batch_size": trial.batch_size,
        "lr": trial.lr,
        "damping": trial.damping,
        "seed": trial.seed,
        "start": trial.start,
        "horizon": trial.horizon,
        "num_steps": pack.num_steps,
        "sampling": trial.sampling,
        "recipe": trial.recipe,
    }


def _measurement(record: TrialRecord) -> dict[str, object]:
    return {
        "steps_run": record.steps_run,
        "verdict": record.verdict,
        "reason": record.reason,
        "initial_loss": record.initial_loss,
        "start_loss": record.start_loss,
        "final_loss": record.final_loss,
        "validation_loss": record.validation_loss,
        "validation_metric": record.validation_metric,
        "min_loss": record.min_loss,
        "peak_loss": record.peak_loss,
        "first_nonfinite_step": record.first_nonfinite_step,
        "wall_time_s": record.wall_time_s,
    }
