"""Which trials of a table make one group: laws never mix what lies in different ones."""

from collections.abc import Iterator

import pandas as pd

from analysis.axes import AxisName, name_axes
from analysis.columns import GROUP_COLUMNS
from analysis.summaries import GroupKey


def split_groups(frame: pd.DataFrame) -> Iterator[tuple[GroupKey, pd.DataFrame]]:
    """Split a table into groups, which laws never mix.

    Args:
        frame: A table of trials with our columns.

    Yields:
        What the trials of a group share, and its rows; in the order of the keys.
    """
    # Rows of a run begun before there were recipes have none, beside later ones that have.
    recipes = frame["recipe"].fillna("plain") if "recipe" in frame else "plain"
    frame = frame.assign(recipe=recipes)
    for values, rows in frame.groupby(list(GROUP_COLUMNS), sort=True):
        task, method, optimizer, start, horizon, recipe = (str(value) for value in values)
        axes = name_axes(rows)
        for axis in AxisName:
            chosen = rows[axes == axis]
            if not chosen.empty:
                yield GroupKey(task, method, optimizer, start, horizon, axis, recipe), chosen


def select_trials(frame: pd.DataFrame, key: GroupKey) -> pd.DataFrame:
    """Return the rows of one group.

    Args:
        frame: The table of results.
        key: What the group's trials share; a column the table lacks selects nothing out.

    Returns:
        The rows whose columns equal the key's.
    """
    chosen = name_axes(frame) == key.axis
    for field in GROUP_COLUMNS:
        if field in frame:
            chosen &= frame[field].astype(str) == getattr(key, field)
    return frame[chosen]
