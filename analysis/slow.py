"""Trials that miss the criterion because they learn too slowly, not because they are unstable."""

import numpy as np
import pandas as pd

from analysis.axes import LR_AXIS, Axis
from analysis.criteria import Verdict


def find_too_slow(frame: pd.DataFrame, axis: Axis = LR_AXIS) -> pd.Series:
    """Tell which diverged trials only learned too little within the horizon.

    A criterion such as ``final:0.5`` is missed at both ends: above the edge by instability, far
    below it by slowness. Stability does not end at values milder than a stable one, so a
    diverged trial with a learning rate below the smallest stable one of its (batch size, seed),
    or a damping above the largest, was too slow. Where none is stable, so were the mildest ones
    as long as they lowered the loss.

    Args:
        frame: Rows of one group with ``batch_size``, ``seed``, ``lr``, ``verdict`` and the column
            of the axis, and with ``start_loss`` and ``final_loss`` where they are known.
        axis: What was searched.

    Returns:
        Booleans with the frame's index.

    Example:
        >>> find_too_slow(pd.DataFrame({"batch_size": 8, "seed": 0, "lr": [0.1, 0.2, 0.4],
        ...     "verdict": ["diverged", "stable", "diverged"]})).tolist()
        [True, False, False]
    """
    diverged = frame["verdict"] == Verdict.DIVERGED
    bold = pd.Series(axis.bold(frame[axis.name]), index=frame.index)
    cells = _cells(frame, axis)
    mildest_stable = bold.where(frame["verdict"] == Verdict.STABLE).groupby(cells).transform("min")
    below = diverged & (bold < mildest_stable)
    # Growing bolder, learning ends at the first trial that did not lower its loss.
    stuck = bold.where(diverged & ~_lowered_loss(frame))
    first_stuck = stuck.groupby(cells).transform("min").fillna(np.inf)
    learning = diverged & mildest_stable.isna() & (bold < first_stuck)
    return (below | learning).astype(bool)


def _cells(frame: pd.DataFrame, axis: Axis) -> list[pd.Series]:
    """Return what tells the units apart that have an edge each."""
    return [frame[name] for name in (*axis.held, "seed")]


def find_unmet(frame: pd.DataFrame, axis: Axis = LR_AXIS) -> pd.Series:
    """Tell which trials belong to a (place, seed) where no value met the criterion.

    There the mildest values were too slow and all others diverged, so nothing is known of where
    stability ends.

    Args:
        frame: Rows of one group, as for :func:`find_too_slow`.
        axis: What was searched.

    Returns:
        Booleans with the frame's index.
    """
    cells = _cells(frame, axis)
    any_stable = (frame["verdict"] == Verdict.STABLE).groupby(cells).transform("any")
    any_slow = find_too_slow(frame, axis).groupby(cells).transform("any")
    return (any_slow & ~any_stable).astype(bool)


def warn_unmet(frame: pd.DataFrame, axis: Axis = LR_AXIS) -> tuple[str, ...]:
    """Say where no value met the criterion, and what to do about it.

    Args:
        frame: Rows of one group, as for :func:`find_too_slow`.
        axis: What was searched.

    Returns:
        At most one sentence.
    """
    unmet = frame.loc[find_unmet(frame, axis), [*axis.held, "seed"]].drop_duplicates()
    if unmet.empty:
        return ()
    sizes = ", ".join(str(size) for size in sorted(unmet["batch_size"].unique()))
    return (
        f"At batch size {sizes} no {axis.word} met the criterion for {len(unmet)} "
        f"({axis.held_words}, seed) units: {axis.mild[0]} ones were too slow, {axis.daring[0]} "
        "ones diverged, so they have no edge. Train for a longer horizon, or judge less "
        "strictly.",
    )


def _lowered_loss(frame: pd.DataFrame) -> pd.Series:
    """Return where the loss ended below where it began; nowhere when losses are unknown."""
    if not {"start_loss", "final_loss"} <= set(frame.columns):
        return pd.Series(data=False, index=frame.index)
    start = frame["start_loss"].astype(float)
    if "initial_loss" in frame:
        start = start.fillna(frame["initial_loss"].astype(float))
    return frame["final_loss"].astype(float) < start
