"""Foreign tables made ours: columns renamed, filled in, typed and checked."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.columns import COLUMN_NAMES, COLUMNS, GROUP_COLUMNS
from analysis.table_columns import convert_column, read_verdicts
from analysis.table_errors import ResultsError, first_row, list_names, nearest_column

__all__ = ["CheckedTable", "ResultsError", "normalize_table"]


@dataclass(frozen=True)
class CheckedTable:
    """A table with all of our columns.

    Attributes:
        frame: One row per trial.
        warnings: What had to be assumed.
    """

    frame: pd.DataFrame
    warnings: tuple[str, ...]


def normalize_table(
    frame: pd.DataFrame, source: str, rename: dict[str, str], *, own: bool = False
) -> CheckedTable:
    """Rename, fill in, convert and check the columns of a table.

    Args:
        frame: The table as read.
        source: Its name, for errors.
        rename: Our column names to the table's.
        own: Whether this tool wrote it; then a trial given twice is an error.

    Returns:
        The table with exactly our columns, in order.

    Raises:
        ResultsError: If a column is missing or holds something impossible.

    Example:
        >>> raw = pd.DataFrame({"B": [8, 8], "lr": [0.1, 0.2], "diverged": [False, True]})
        >>> table = normalize_table(raw, "mine.csv", {"batch_size": "B"}).frame
        >>> table[["batch_size", "verdict", "optimizer"]].values.tolist()
        [[8, 'stable', 'unknown'], [8, 'diverged', 'unknown']]
    """
    frame = _rename(frame, source, rename)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ResultsError(f"{source} has two columns {twice!r}: keep one")
    if frame.empty:
        raise ResultsError(f"{source} has no rows: there is nothing to fit")
    for name in ("batch_size", "lr"):
        _require(frame, source, name)
    warnings: list[str] = []
    verdict = read_verdicts(frame, source, warnings)
    seeded = "seed" in frame
    if "horizon" not in frame and "num_steps" in frame:
        frame = frame.assign(horizon=[f"{steps} steps" for steps in frame["num_steps"]])
    columns = {column.name: convert_column(frame, source, column) for column in COLUMNS}
    table = pd.DataFrame(columns | {"verdict": verdict})[list(COLUMN_NAMES)]
    _check_values(table, source)
    if not own:
        table = _leave_out_fixed_damping(table, warnings)
    table = _settle_repeats(table, source, warnings, seeded=seeded or own)
    return CheckedTable(table, tuple(warnings))


def _rename(frame: pd.DataFrame, source: str, rename: dict[str, str]) -> pd.DataFrame:
    """Give the table our column names."""
    frame = frame.rename(columns=str)
    for ours, theirs in rename.items():
        if ours not in (*COLUMN_NAMES, "diverged"):
            near = nearest_column(ours, COLUMN_NAMES)
            hint = f"; did you mean {near}={theirs}?" if near else ""
            raise ResultsError(
                f"--map {ours}={theirs}: {ours!r} is no column of ours (write OURS=THEIRS, "
                f"as in lr=learning_rate){hint}"
            )
        if theirs not in frame:
            near = nearest_column(theirs, frame.columns)
            hint = f"did you mean {near!r}?" if near else f"it has {list_names(frame.columns)}"
            raise ResultsError(f"--map {ours}={theirs}: {source} has no column {theirs!r}; {hint}")
    taken = [name for name in rename if name in frame and name not in rename.values()]
    return frame.drop(columns=taken).rename(columns={b: a for a, b in rename.items()})


def _require(frame: pd.DataFrame, source: str, name: str) -> None:
    """Raise when a column without default is missing, naming the one that may be meant."""
    if name in frame:
        return
    near = nearest_column(name, frame.columns)
    remedy = (
        f"if it is called {near!r} there, add --map {name}={near}"
        if near
        else f"it has {list_names(frame.columns)}; add --map {name}=COLUMN"
    )
    raise ResultsError(f"{source} has no column {name!r}: {remedy}")


def _check_values(table: pd.DataFrame, source: str) -> None:
    """Raise when a number is impossible."""
    for name, least in (("batch_size", 1.0), ("lr", 0.0), ("damping", 0.0)):
        values = table[name].to_numpy(float)
        bad = ~np.isfinite(values) | (values < least) | (values <= 0)
        bad &= ~((name == "damping") & np.isnan(values))
        if bad.any():
            given = "empty" if np.isnan(values[bad][0]) else f"{values[bad][0]:g}"
            wanted = "at least 1" if name == "batch_size" else "positive and finite"
            raise ResultsError(
                f"{source}: {name} in {first_row(bad)} is {given}, it must be {wanted}"
            )
    bad = ~table["sampling"].isin(["replacement", "epoch"]).to_numpy(bool)
    if bad.any():
        raise ResultsError(
            f"{source}: sampling in {first_row(bad)} is {table['sampling'][bad].iloc[0]!r}, "
            "it must be replacement or epoch"
        )


def _leave_out_fixed_damping(table: pd.DataFrame, warnings: list[str]) -> pd.DataFrame:
    """Empty a damping that never varies while all else is held: a setting, not what is searched."""
    given = table[table["damping"].notna()]
    if (
        given.empty
        or given.groupby([*GROUP_COLUMNS, "batch_size", "lr"])["damping"].nunique().max() > 1
    ):
        return table
    warnings.append(
        "The damping does not vary at any batch size and learning rate: taken as a setting, the "
        "learning rate as what was searched."
    )
    return table.assign(damping=np.nan)


def _settle_repeats(
    table: pd.DataFrame, source: str, warnings: list[str], *, seeded: bool
) -> pd.DataFrame:
    """Raise on trials given twice; without seeds, number repeats of a trial as seeds."""
    key = [*GROUP_COLUMNS, "batch_size", "lr", "damping"]
    if seeded:
        repeated = table.duplicated([*key, "seed"])
        if repeated.any():
            row = table[repeated].iloc[0]
            damping = "" if np.isnan(row["damping"]) else f"damping {row['damping']:g}, "
            raise ResultsError(
                f"{source}: {first_row(repeated)} repeats an earlier trial (optimizer "
                f"{row['optimizer']}, batch size {row['batch_size']}, lr {row['lr']:g}, {damping}"
                f"seed {row['seed']}): remove one, or name the column that tells them apart, "
                "as in --map seed=COLUMN"
            )
        return table
    repeats = table.groupby(key, sort=False, dropna=False).cumcount()
    if repeats.max() > 0:
        also = "" if table["damping"].isna().all() else ", damping"
        warnings.append(
            f"The table has no seeds: the up to {repeats.max() + 1} rows at one batch size{also} "
            "and learning rate are taken as as many seeds, in the order of the rows."
        )
    return table.assign(seed=repeats.astype("int64"))
