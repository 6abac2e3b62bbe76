"""Whether a disturbed run left what an undisturbed one leaves."""

import pandas as pd

from benchmarks.drill.outcome import BrokenError, check
from benchmarks.drill.study import Study

# What no two runs share: times, and how trials that were still missing were put together.
UNSHARED = ("pack_id", "wall_time_s")


def check_equal(study: Study, undisturbed: Study, without: tuple[int, ...] = ()) -> int:
    """Demand that a run left the rows that an undisturbed one left, curves included.

    Args:
        study: The disturbed run.
        undisturbed: The other.
        without: Batch sizes that are left out.

    Returns:
        How many rows were compared.

    Raises:
        BrokenError: If a row is missing, doubled or different in any column but times.
    """
    left, right = (_rows(run.table(), without) for run in (study, undisturbed))
    if list(left.index) != list(right.index):
        raise BrokenError(f"{len(left)} rows instead of {len(right)}, or other trials")
    check(set(left.columns) == set(right.columns), "other columns")
    differing = [str(name) for name in right if not _same(left[name], right[name])]
    check(not differing, f"different values in {', '.join(differing)}")
    return len(right)


def _rows(table: pd.DataFrame, without: tuple[int, ...]) -> pd.DataFrame:
    kept = table[~table["batch_size"].isin(without)].set_index("trial_id").sort_index()
    return kept.drop(columns=list(UNSHARED))


def _same(left: pd.Series, right: pd.Series) -> bool:
    # repr is exact for floats, and tells nan from a number and 1 from 1.0.
    return [repr(_plain(value)) for value in left] == [repr(_plain(value)) for value in right]


def _plain(value: object) -> object:
    return value.tolist() if hasattr(value, "tolist") else value


def check_whole(study: Study) -> int:
    """Demand that every file of a run folder reads, and nothing half-written lies about.

    Args:
        study: The run.

    Returns:
        How many parts there are.

    Raises:
        BrokenError: If one does not read, or a temporary file is left.
    """
    left = [path.name for path in study.out.rglob("*.tmp")]
    check(not left, f"left behind: {', '.join(left)}")
    for path in study.out.rglob("*.parquet"):
        try:
            pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise BrokenError(f"{path.name} is torn: {error}") from error
    return len(study.parts())
