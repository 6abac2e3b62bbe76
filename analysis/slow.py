"""Trials that miss the criterion because they learn too slowly, not because they are unstable."""

import numpy as np
import pandas as pd

from analysis.criteria import Verdict

_CELL = ["batch_size", "seed"]


def find_too_slow(frame: pd.DataFrame) -> pd.Series:
    """Tell which diverged trials only learned too little within the horizon.

    A criterion such as ``final:0.5`` is missed at both ends: above the edge by instability, far
    below it by slowness. Stability does not end below a learning rate that is stable, so a
    diverged trial below the smallest stable learning rate of its (batch size, seed) was too
    slow. Where none is stable, so were the smallest ones as long as they lowered the loss.

    Args:
        frame: Rows of one group with ``batch_size``, ``seed``, ``lr`` and ``verdict``, and with
            ``start_loss`` and ``final_loss`` where they are known.

    Returns:
        Booleans with the frame's index.

    Example:
        >>> find_too_slow(pd.DataFrame({"batch_size": 8, "seed": 0, "lr": [0.1, 0.2, 0.4],
        ...     "verdict": ["diverged", "stable", "diverged"]})).tolist()
        [True, False, False]
    """
    diverged = frame["verdict"] == Verdict.DIVERGED
    stable_lr = frame["lr"].where(frame["verdict"] == Verdict.STABLE)
    cells = [frame[name] for name in _CELL]
    smallest_stable = stable_lr.groupby(cells).transform("min")
    below = diverged & (frame["lr"] < smallest_stable)
    # Going up in lr, learning ends at the first trial that did not lower its loss.
    stuck_lr = frame["lr"].where(diverged & ~_lowered_loss(frame))
    first_stuck = stuck_lr.groupby(cells).transform("min").fillna(np.inf)
    learning = diverged & smallest_stable.isna() & (frame["lr"] < first_stuck)
    return (below | learning).astype(bool)


def find_unmet(frame: pd.DataFrame) -> pd.Series:
    """Tell which trials belong to a (batch size, seed) where no learning rate met the criterion.

    There the smallest learning rates were too slow and all others diverged, so nothing is known
    of where stability ends.

    Args:
        frame: Rows of one group, as for :func:`find_too_slow`.

    Returns:
        Booleans with the frame's index.
    """
    cells = [frame[name] for name in _CELL]
    any_stable = (frame["verdict"] == Verdict.STABLE).groupby(cells).transform("any")
    any_slow = find_too_slow(frame).groupby(cells).transform("any")
    return (any_slow & ~any_stable).astype(bool)


def warn_unmet(frame: pd.DataFrame) -> tuple[str, ...]:
    """Say where no learning rate met the criterion, and what to do about it.

    Args:
        frame: Rows of one group, as for :func:`find_too_slow`.

    Returns:
        At most one sentence.
    """
    unmet = frame.loc[find_unmet(frame), _CELL].drop_duplicates()
    if unmet.empty:
        return ()
    sizes = ", ".join(str(size) for size in sorted(unmet["batch_size"].unique()))
    return (
        f"At batch size {sizes} no learning rate met the criterion for {len(unmet)} (batch size, "
        "seed) units: small ones were too slow, large ones diverged, so they have no edge. Train "
        "for a longer horizon, or judge less strictly.",
    )


def _lowered_loss(frame: pd.DataFrame) -> pd.Series:
    """Return where the loss ended below where it began; nowhere when losses are unknown."""
    if not {"start_loss", "final_loss"} <= set(frame.columns):
        return pd.Series(data=False, index=frame.index)
    start = frame["start_loss"].astype(float)
    if "initial_loss" in frame:
        start = start.fillna(frame["initial_loss"].astype(float))
    return frame["final_loss"].astype(float) < start
