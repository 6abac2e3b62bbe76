"""The rows of a run folder's parts: read one by one, and put together."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis.columns import COLUMN_NAMES
from analysis.criteria import Verdict
from analysis.errors import StoreError
from analysis.files.whole_files import read_files
from scaling_sweep.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

CURVE_COLUMNS = {"step": "curve_step", "loss": "curve_loss"}
"""What the columns of a loss curve are called in a part."""

_CURVES = frozenset(CURVE_COLUMNS.values())
# What status and a search reckon with; a part may lack them.
_NUMBERS = ("damping", "initial_loss", "start_loss", "final_loss")


def join_parts(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put parts together, each trial once.

    Args:
        frames: The rows of each part.

    Returns:
        All rows; a trial that failed and was trained later keeps only its measurement.
    """
    if not frames:
        return pd.DataFrame(columns=[*COLUMN_NAMES, *CURVE_COLUMNS.values()])
    # An all-empty column has no type of its own; concat would warn that it is ignored.
    filled = [frame.dropna(axis="columns", how="all") for frame in frames]
    rows = pd.concat(filled, ignore_index=True)
    rows["failed"] = rows["verdict"] == str(Verdict.FAILED)
    rows = rows.sort_values("failed", kind="stable").drop_duplicates("trial_id")
    unique: pd.DataFrame = rows.drop(columns="failed").reset_index(drop=True)
    return unique


def read_parts(paths: Sequence[Path], curves: bool = True) -> tuple[pd.DataFrame, ...]:
    """Read the rows of packs.

    Args:
        paths: Out of ``RunFolder.list_parts``.
        curves: Whether with the loss curves, which are most of a part.

    Returns:
        The rows of each.

    Raises:
        UserError: If one does not read.
        StoreError: If the store does not answer.
    """
    frames: list[pd.DataFrame] = []
    try:
        frames += (
            _parse(path, data, curves) for path, data in zip(paths, read_files(paths), strict=True)
        )
    except StoreError:
        raise
    except OSError as error:
        raise UserError(_unreadable(paths[min(len(frames), len(paths) - 1)], error)) from error
    return tuple(frames)


def _parse(path: Path, data: bytes, curves: bool) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as part:
            kept = [name for name in part.schema_arrow.names if curves or name not in _CURVES]
            table = part.read(kept)
        table.validate(full=True)
        _check_part(table)
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(_unreadable(path, error)) from error
    return frame


def _unreadable(path: Path, error: Exception) -> str:
    what = str(error).strip().partition("\n")[0] or "no content"
    return (
        f"{path} cannot be read ({what}); delete it and run the same "
        "command again to train its trials anew"
    )


def _check_part(table: "pa.Table") -> None:
    """Raise a ValueError where a part lacks what every part of this program has."""
    from pyarrow import types

    for names, kinds in (
        (("trial_id", "verdict", "optimizer"), (types.is_string, types.is_large_string)),
        (("batch_size", "seed"), (types.is_integer,)),
        (("lr",), (types.is_floating,)),
    ):
        for name in names:
            place = table.schema.get_field_index(name)
            if place < 0 or not any(is_kind(table.schema.field(place).type) for is_kind in kinds):
                raise ValueError(f"it has no column {name} as this program writes it")
            if table.column(place).null_count:
                raise ValueError(f"it has rows without {name}")
    numeric = (types.is_floating, types.is_integer, types.is_null)
    for name in _NUMBERS:
        place = table.schema.get_field_index(name)
        if place >= 0 and not any(is_kind(table.schema.field(place).type) for is_kind in numeric):
            raise ValueError(f"its column {name} holds no numbers")
    words = set(table.column("verdict").unique().to_pylist()) - set(map(str, Verdict))
    if words:
        raise ValueError(f"its verdict {min(words)!r} is none of {', '.join(Verdict)}")
