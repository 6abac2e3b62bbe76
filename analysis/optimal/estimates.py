"""The learning rate with the lowest loss, for every batch size of a table of trials."""

import numpy as np
import pandas as pd

from analysis.criteria import Verdict
from analysis.optimal.bowls import Bottom, find_bottom, is_bowl
from analysis.optimal.curves import Bowl
from analysis.optimal.summaries import OptimalLR

LOSS_COLUMN = "final_loss"
"""What is to be low, where nothing else is asked for."""

_SMALLEST_LOSS = float(np.finfo(float).tiny)  # a loss of exactly 0 has no log


def collect_bowl(rows: pd.DataFrame, loss_column: str = LOSS_COLUMN) -> Bowl:
    """Turn the trials of one batch size into a bowl.

    Failed trials are no measurement. A diverged trial whose loss is not a number is as good as
    one whose loss is infinite; a loss that is merely missing says nothing.

    Args:
        rows: Rows of one batch size with ``lr``, ``seed``, ``verdict`` and the loss.
        loss_column: Which loss.

    Returns:
        The bowl, perhaps of no trials.

    Example:
        >>> rows = pd.DataFrame({"lr": [0.1, 0.2, 9.0], "seed": 0, "final_loss": [2.0, 1.0, None],
        ...                      "verdict": ["stable", "stable", "diverged"]})
        >>> collect_bowl(rows).log_loss.round(3).tolist()
        [0.693, 0.0, inf]
    """
    rows = rows[rows["verdict"] != Verdict.FAILED]
    loss = rows[loss_column].to_numpy(dtype=float, na_value=np.nan)
    diverged = (rows["verdict"] == Verdict.DIVERGED).to_numpy(bool)
    loss = np.where(np.isnan(loss) & diverged, np.inf, loss)
    told = ~np.isnan(loss)
    return Bowl(
        log_lr=np.log(rows["lr"].to_numpy(float)[told]),
        log_loss=np.log(np.maximum(loss[told], _SMALLEST_LOSS)),
        seed=rows["seed"].to_numpy(np.int64)[told],
    )


def find_optimal_lrs(frame: pd.DataFrame, loss_column: str = LOSS_COLUMN) -> tuple[OptimalLR, ...]:
    """Find the learning rate with the lowest typical loss of every batch size.

    Typical is the mean of log loss over seeds; see
    :func:`analysis.optimal.bowls.find_bottom` for the interpolation, and what becomes of trials
    that diverged.

    Args:
        frame: Rows of one group.
        loss_column: The loss, positive; ``final_loss``, or one of held-out data.

    Returns:
        One optimum per batch size, ascending. Batch sizes with fewer than three learning rates,
        or none at which half of the seeds end with a loss, are missing.

    Example:
        >>> from analysis.simulate_bowls import BowlDesign, simulate_bowls
        >>> design = BowlDesign(batch_sizes=(8, 64), num_seeds=4)
        >>> table = simulate_bowls(lambda b: 0.01 * b, design, np.random.default_rng(0))
        >>> [(one.batch_size, round(one.lr_opt, 2)) for one in find_optimal_lrs(table)]
        [(8, 0.08), (64, 0.63)]
    """
    found = []
    for size in np.unique(frame["batch_size"].to_numpy(np.int64)):
        bowl = collect_bowl(frame[frame["batch_size"] == size], loss_column)
        if is_bowl(bowl):
            found.append(_summarize(int(size), find_bottom(bowl)))
    return tuple(found)


def _summarize(batch_size: int, bottom: Bottom) -> OptimalLR:
    """Leave the logs behind."""
    return OptimalLR(
        batch_size=batch_size,
        lr_opt=float(np.exp(bottom.log_lr)),
        lr_opt_ci=(float(np.exp(bottom.low)), float(np.exp(bottom.high))),
        loss=float(np.exp(bottom.log_loss)),
        where=bottom.where,
        seeds=tuple(int(seed) for seed in bottom.seeds),
        seed_lrs=tuple(float(lr) for lr in np.exp(bottom.log_lr + bottom.deviations)),
    )
