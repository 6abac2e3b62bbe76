"""Foreign tables made ours: columns renamed, filled in, typed and checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd

from analysis.columns import COLUMN_NAMES, COLUMNS, GROUP_COLUMNS, LOSS_COLUMNS, Column
from analysis.criteria import Verdict
from analysis.errors import AnalysisError

# What people call our columns elsewhere, for the hint in an error. A guess from public tables.
_ALIASES = {
    "batch_size": ("batch", "bs", "batchsize", "B", "train_batch_size", "global_batch_size"),
    "lr": ("learning_rate", "learningrate", "eta", "step_size", "max_lr", "base_lr"),
    "damping": ("eps", "epsilon", "lambda", "tikhonov", "ridge"),
    "verdict": ("status", "outcome", "state", "result"),
}
# Beyond it doubles skip whole numbers, and a float64 that was one is no longer to be trusted.
_LARGEST_WHOLE = 2**53
_TRUE_WORDS, _FALSE_WORDS = {"true", "yes", "1", "1.0"}, {"false", "no", "0", "0.0"}


class ResultsError(AnalysisError):
    """A table that cannot be used, in one line that says what to do about it."""


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
    verdict = _read_verdicts(frame, source, warnings)
    seeded = "seed" in frame
    if "horizon" not in frame and "num_steps" in frame:
        frame = frame.assign(horizon=[f"{steps} steps" for steps in frame["num_steps"]])
    columns = {column.name: _convert(frame, source, column) for column in COLUMNS}
    table = pd.DataFrame(columns | {"verdict": verdict})[list(COLUMN_NAMES)]
    _check_values(table, source)
    if not own:
        table = _leave_out_fixed_damping(table, warnings)
    table = _settle_repeats(table, source, warnings, seeded=seeded or own)
    return CheckedTable(table, tuple(warnings))


def _nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that most likely means the same."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    for alias in _ALIASES.get(name, ()):
        if alias.lower() in by_lower:
            return by_lower[alias.lower()]
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def _listing(names: Iterable[object]) -> str:
    """Return the first dozen names, for an error."""
    words = [str(name) for name in names]
    return ", ".join(words[:12]) + (", …" if len(words) > 12 else "")


def _rename(frame: pd.DataFrame, source: str, rename: dict[str, str]) -> pd.DataFrame:
    """Give the table our column names."""
    frame = frame.rename(columns=str)
    for ours, theirs in rename.items():
        if ours not in (*COLUMN_NAMES, "diverged"):
            near = _nearest(ours, COLUMN_NAMES)
            hint = f"; did you mean {near}={theirs}?" if near else ""
            raise ResultsError(
                f"--map {ours}={theirs}: {ours!r} is no column of ours (write OURS=THEIRS, "
                f"as in lr=learning_rate){hint}"
            )
        if theirs not in frame:
            near = _nearest(theirs, frame.columns)
            hint = f"did you mean {near!r}?" if near else f"it has {_listing(frame.columns)}"
            raise ResultsError(f"--map {ours}={theirs}: {source} has no column {theirs!r}; {hint}")
    taken = [name for name in rename if name in frame and name not in rename.values()]
    return frame.drop(columns=taken).rename(columns={b: a for a, b in rename.items()})


def _require(frame: pd.DataFrame, source: str, name: str) -> None:
    """Raise when a column without default is missing, naming the one that may be meant."""
    if name in frame:
        return
    near = _nearest(name, frame.columns)
    remedy = (
        f"if it is called {near!r} there, add --map {name}={near}"
        if near
        else f"it has {_listing(frame.columns)}; add --map {name}=COLUMN"
    )
    raise ResultsError(f"{source} has no column {name!r}: {remedy}")


def _row(bad: pd.Series | np.ndarray) -> str:
    """Name the first bad row as people count."""
    return f"row {int(np.flatnonzero(np.asarray(bad, dtype=bool))[0]) + 1}"


def _read_verdicts(frame: pd.DataFrame, source: str, warnings: list[str]) -> pd.Series:
    """Return verdicts from whichever outcome the table has; empty when it has losses only."""
    if "verdict" in frame:
        verdict, raw = _read_words(frame["verdict"], source), frame["verdict"]
    elif "diverged" in frame:
        verdict, raw = _read_flags(frame["diverged"], source), frame["diverged"]
    elif any(name in frame for name in LOSS_COLUMNS):
        return pd.Series(pd.NA, index=frame.index, dtype="string")
    else:
        near = _nearest("verdict", frame.columns) or _nearest("diverged", frame.columns)
        hint = f" (perhaps --map verdict={near})" if near else ""
        raise ResultsError(
            f"{source} does not say what diverged: it needs a column 'verdict' "
            "(stable, diverged, failed), 'diverged' (true, false), or 'initial_loss' and "
            f"'final_loss' with --criterion final:0.5; it has {_listing(frame.columns)}{hint}"
        )
    if missing := int(raw.isna().sum()):
        warnings.append(
            f"{missing} row{'s have' if missing > 1 else ' has'} no outcome and "
            f"count{'' if missing > 1 else 's'} as failed."
        )
    return verdict


def _read_words(column: pd.Series, source: str) -> pd.Series:
    """Return verdicts given as words."""
    words = column.astype("string").str.strip().str.lower().fillna(Verdict.FAILED.value)
    unknown = ~words.isin(list(Verdict))
    if unknown.any():
        word = str(words[unknown].iloc[0])
        near = get_close_matches(word, [verdict.value for verdict in Verdict], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ResultsError(
            f"{source}: verdict in {_row(unknown)} is {word!r}, "
            f"it must be stable, diverged or failed{hint}"
        )
    return words


def _read_flags(column: pd.Series, source: str) -> pd.Series:
    """Return verdicts given as true and false."""
    words = column.astype("string").str.strip().str.lower()
    unknown = words.notna() & ~words.isin(_TRUE_WORDS | _FALSE_WORDS)
    if unknown.any():
        raise ResultsError(
            f"{source}: diverged in {_row(unknown)} is {words[unknown].iloc[0]!r}, "
            "it must be true or false (1 or 0)"
        )
    verdict = np.where(words.isin(_TRUE_WORDS), Verdict.DIVERGED.value, Verdict.STABLE.value)
    verdict = np.where(words.isna(), Verdict.FAILED.value, verdict)
    return pd.Series(verdict, index=column.index, dtype="string")


def _convert(frame: pd.DataFrame, source: str, column: Column) -> pd.Series:
    """Return one column with its type, filled in where the table is silent."""
    if column.name not in frame:
        empty = np.nan if column.dtype == "float64" else pd.NA
        value = empty if column.default is None else column.default
        return pd.Series([value] * len(frame), index=frame.index, dtype=column.dtype)
    raw = frame[column.name]
    if column.is_text:
        text = raw.astype("string")
        return text if column.default is None else text.fillna(str(column.default))
    if column.name == "seed" and not pd.api.types.is_numeric_dtype(raw):
        # As text: lists and other objects cannot be sorted, or not even compared.
        codes, _ = pd.factorize(raw.astype("string"), sort=True)
        return pd.Series(codes, index=frame.index, dtype="int64")
    return _to_numbers(raw, source, column)


def _to_numbers(raw: pd.Series, source: str, column: Column) -> pd.Series:
    """Return numbers, or say which row is none."""
    # As text first: lists and other objects then are no numbers instead of an exception.
    plain = raw if pd.api.types.is_numeric_dtype(raw) else raw.astype("string")
    numbers = pd.to_numeric(plain, errors="coerce").astype("Float64")
    bad = numbers.isna() & raw.notna()
    if bad.any():  # a million numbers written out as text take seconds
        bad &= raw.astype("string").str.strip().str.lower() != "nan"
    if bad.any():
        raise ResultsError(
            f"{source}: {column.name} in {_row(bad)} is {raw[bad].iloc[0]!r}, it must be a number"
        )
    if column.dtype == "float64":
        return numbers.astype("float64")
    large = numbers.abs() > _LARGEST_WHOLE
    if large.any():
        raise ResultsError(
            f"{source}: {column.name} in {_row(large.fillna(False))} is "
            f"{numbers[large].iloc[0]:g}, it must be a whole number up to {_LARGEST_WHOLE}"
        )
    fraction = (numbers.fillna(0) % 1 != 0) | np.isinf(numbers.fillna(0))
    if fraction.any():
        raise ResultsError(
            f"{source}: {column.name} in {_row(fraction)} is {raw[fraction].iloc[0]}, "
            "it must be a whole number"
        )
    if column.dtype == "int64" and numbers.isna().any():
        raise ResultsError(
            f"{source}: {column.name} in {_row(numbers.isna())} is empty, it must be a whole number"
        )
    return numbers.astype(pd.Int64Dtype() if column.dtype == "Int64" else np.dtype("int64"))


def _check_values(table: pd.DataFrame, source: str) -> None:
    """Raise when a number is impossible."""
    for name, least in (("batch_size", 1.0), ("lr", 0.0), ("damping", 0.0)):
        values = table[name].to_numpy(float)
        bad = ~np.isfinite(values) | (values < least) | (values <= 0)
        bad &= ~((name == "damping") & np.isnan(values))
        if bad.any():
            given = "empty" if np.isnan(values[bad][0]) else f"{values[bad][0]:g}"
            wanted = "at least 1" if name == "batch_size" else "positive and finite"
            raise ResultsError(f"{source}: {name} in {_row(bad)} is {given}, it must be {wanted}")
    bad = ~table["sampling"].isin(["replacement", "epoch"]).to_numpy(bool)
    if bad.any():
        raise ResultsError(
            f"{source}: sampling in {_row(bad)} is {table['sampling'][bad].iloc[0]!r}, "
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
                f"{source}: {_row(repeated)} repeats an earlier trial (optimizer "
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
