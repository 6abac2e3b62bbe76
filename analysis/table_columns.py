"""Columns of a foreign table, read one by one: outcomes, numbers and words."""

from difflib import get_close_matches

import numpy as np
import pandas as pd

from analysis.columns import LOSS_COLUMNS, Column
from analysis.criteria import Verdict
from analysis.table_errors import ResultsError, first_row, list_names, nearest_column

# Beyond it doubles skip whole numbers, and a float64 that was one is no longer to be trusted.
_LARGEST_WHOLE = 2**53
_TRUE_WORDS, _FALSE_WORDS = {"true", "yes", "1", "1.0"}, {"false", "no", "0", "0.0"}


def read_verdicts(frame: pd.DataFrame, source: str, warnings: list[str]) -> pd.Series:
    """Return verdicts from whichever outcome the table has.

    Args:
        frame: The table, its columns named as ours.
        source: Its name, for errors.
        warnings: Sentences about what had to be assumed are added here.

    Returns:
        Verdicts as strings; empty throughout when the table has losses only.

    Raises:
        ResultsError: If it has no outcome, or one that is none.
    """
    if "verdict" in frame:
        verdict, raw = _read_words(frame["verdict"], source), frame["verdict"]
    elif "diverged" in frame:
        verdict, raw = _read_flags(frame["diverged"], source), frame["diverged"]
    elif any(name in frame for name in LOSS_COLUMNS):
        return pd.Series(pd.NA, index=frame.index, dtype="string")
    else:
        near = nearest_column("verdict", frame.columns) or nearest_column("diverged", frame.columns)
        hint = f" (perhaps --map verdict={near})" if near else ""
        raise ResultsError(
            f"{source} does not say what diverged: it needs a column 'verdict' "
            "(stable, diverged, failed), 'diverged' (true, false), or 'initial_loss' and "
            f"'final_loss' with --criterion final:0.5; it has {list_names(frame.columns)}{hint}"
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
            f"{source}: verdict in {first_row(unknown)} is {word!r}, "
            f"it must be stable, diverged or failed{hint}"
        )
    return words


def _read_flags(column: pd.Series, source: str) -> pd.Series:
    """Return verdicts given as true and false."""
    words = column.astype("string").str.strip().str.lower()
    unknown = words.notna() & ~words.isin(_TRUE_WORDS | _FALSE_WORDS)
    if unknown.any():
        raise ResultsError(
            f"{source}: diverged in {first_row(unknown)} is {words[unknown].iloc[0]!r}, "
            "it must be true or false (1 or 0)"
        )
    verdict = np.where(words.isin(_TRUE_WORDS), Verdict.DIVERGED.value, Verdict.STABLE.value)
    verdict = np.where(words.isna(), Verdict.FAILED.value, verdict)
    return pd.Series(verdict, index=column.index, dtype="string")


def convert_column(frame: pd.DataFrame, source: str, column: Column) -> pd.Series:
    """Return one column with its type, filled in where the table is silent.

    Args:
        frame: The table, its columns named as ours.
        source: Its name, for errors.
        column: Which.

    Returns:
        The column, as long as the table.

    Raises:
        ResultsError: If a number is expected and something else given; it names the row.
    """
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
        where = f"{source}: {column.name} in {first_row(bad)}"
        raise ResultsError(f"{where} is {raw[bad].iloc[0]!r}, it must be a number")
    if column.dtype == "float64":
        return numbers.astype("float64")
    _check_whole(numbers, raw, source, column)
    return numbers.astype(pd.Int64Dtype() if column.dtype == "Int64" else np.dtype("int64"))


def _check_whole(numbers: pd.Series, raw: pd.Series, source: str, column: Column) -> None:
    """Raise when a number is no whole one, or too large to be trusted as one."""
    known = numbers.fillna(0)
    large = known.abs() > _LARGEST_WHOLE
    if large.any():
        where = f"{source}: {column.name} in {first_row(large)}"
        raise ResultsError(
            f"{where} is {known[large].iloc[0]:g}, it must be a whole number up to {_LARGEST_WHOLE}"
        )
    fraction = known % 1 != 0
    if fraction.any():
        where = f"{source}: {column.name} in {first_row(fraction)}"
        raise ResultsError(f"{where} is {raw[fraction].iloc[0]}, it must be a whole number")
    if column.dtype == "int64" and numbers.isna().any():
        where = f"{source}: {column.name} in {first_row(numbers.isna())}"
        raise ResultsError(f"{where} is empty, it must be a whole number")
