"""What is known of a trial when the next ones are chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaling_sweep.planning.trials import Trial

if TYPE_CHECKING:
    import pandas as pd

    from analysis.criteria import Verdict

_NUMBERS = ("lr", "damping", "initial_loss", "start_loss", "final_loss")


@dataclass(frozen=True)
class Measurement:
    """What a finished trial tells a search: its place, its verdict, whether it learned at all.

    Attributes:
        trial_id: Which trial.
        optimizer: Label.
        batch_size: Examples per step.
        lr: Learning rate.
        seed: The replicate.
        damping: Damping; None where it is not searched.
        verdict: Stable, diverged, or failed when nothing was measured.
        start_loss: Loss where it began; not a number when unknown.
        final_loss: Loss after the last step; not a number when unknown.
    """

    trial_id: str
    optimizer: str
    batch_size: int
    lr: float
    seed: int
    damping: float | None
    verdict: "Verdict"
    start_loss: float = math.nan
    final_loss: float = math.nan

    @property
    def lowered_loss(self) -> bool:
        """Whether the loss is known to have ended below where it began."""
        return self.final_loss < self.start_loss


def measurement_of(
    trial: Trial, verdict: "Verdict", start_loss: float = math.nan, final_loss: float = math.nan
) -> Measurement:
    """Return what is known of a trial of which only these are known.

    Args:
        trial: The trial.
        verdict: What became of it.
        start_loss: Loss where it began.
        final_loss: Loss after the last step.

    Returns:
        The measurement.
    """
    return Measurement(
        trial_id=trial.trial_id,
        optimizer=trial.optimizer.label,
        batch_size=trial.batch_size,
        lr=trial.lr,
        seed=trial.seed,
        damping=trial.damping,
        verdict=verdict,
        start_loss=start_loss,
        final_loss=final_loss,
    )


def read_measurements(rows: "pd.DataFrame") -> tuple[Measurement, ...]:
    """Return what the rows of a run folder or of one pack tell a search.

    Args:
        rows: Columns of results.parquet; those of a failed pack have no losses.

    Returns:
        One measurement per row, in their order.
    """
    from analysis.criteria import Verdict  # slow to import, as pandas is

    numbers = rows.reindex(columns=list(_NUMBERS)).astype("float64")
    begun = numbers["start_loss"].fillna(numbers["initial_loss"])
    columns = (
        rows["trial_id"].astype(str),
        rows["optimizer"].astype(str),
        rows["batch_size"].astype(int),
        numbers["lr"],
        rows["seed"].astype(int),
        numbers["damping"],
        rows["verdict"].astype(str),
        begun,
        numbers["final_loss"],
    )
    return tuple(
        Measurement(
            trial_id, optimizer, size, lr, seed, _given(damping), Verdict(verdict), start, final
        )
        for trial_id, optimizer, size, lr, seed, damping, verdict, start, final in zip(
            *(column.tolist() for column in columns), strict=True
        )
    )


def _given(number: float) -> float | None:
    """Return a number, None where the table has none."""
    return None if math.isnan(number) else number


def tabulate(measured: Sequence[Measurement]) -> "pd.DataFrame":
    """Return measurements as a table that `fit` reads.

    Args:
        measured: Any.

    Returns:
        One row per measurement, in their order.
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "optimizer": [item.optimizer for item in measured],
            "batch_size": [item.batch_size for item in measured],
            "lr": [item.lr for item in measured],
            "damping": pd.Series([item.damping for item in measured], dtype="float64"),
            "seed": [item.seed for item in measured],
            "verdict": [str(item.verdict) for item in measured],
            "start_loss": [item.start_loss for item in measured],
            "final_loss": [item.final_loss for item in measured],
        }
    )
