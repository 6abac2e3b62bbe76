"""The table of trials: read it from anywhere, check it, write it whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.columns import COLUMN_NAMES, COLUMNS, SCHEMA_VERSION, Column
from analysis.criteria import Criterion, judge, needed_columns
from analysis.errors import StoreError
from analysis.files.places import find_place
from analysis.files.whole_files import write_whole
from analysis.tables import ResultsError, normalize_table

__all__ = [
    "COLUMNS",
    "COLUMN_NAMES",
    "SCHEMA_VERSION",
    "Column",
    "Results",
    "ResultsError",
    "read_results",
    "write_results",
]

_SCHEMA_KEY = b"scaling_sweep.schema_version"
_SWEEP_KEY = b"scaling_sweep.sweep"
_ENVIRONMENT_KEY = b"scaling_sweep.environment"


@dataclass(frozen=True)
class Results:
    """A table of trials, checked.

    Attributes:
        frame: One row per trial, all columns of :data:`COLUMNS` in order. ``verdict`` is empty
            throughout when the table has losses only and a criterion must judge them.
        source: Where it came from, for people.
        sweep_text: The sweep file's text, None when the table was made elsewhere.
        environment: What it ran on, None when unknown.
        warnings: Sentences about what had to be assumed.
    """

    frame: pd.DataFrame
    source: str
    sweep_text: str | None = None
    environment: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def has_verdicts(self) -> bool:
        """Whether the table says itself what was stable."""
        return bool(self.frame["verdict"].notna().all())

    def judged_by(self, criterion: Criterion | None) -> Self:
        """Return the table with the verdicts that count; this one is left as it is.

        Args:
            criterion: Judges the trials by their losses; None keeps the table's own verdicts.

        Returns:
            The table itself, or one whose ``verdict`` differs.

        Raises:
            ResultsError: If there are no verdicts and no criterion either, or it needs losses that
                the table lacks.
        """
        if criterion is None:
            if not self.has_verdicts:
                raise ResultsError(
                    f"{self.source} has losses but no verdicts: say what counts as stable, "
                    "as in --criterion final:0.5"
                )
            return self
        for name in needed_columns(criterion):
            if self.frame[name].isna().all():
                raise ResultsError(
                    f"{self.source} has no {name}, which --criterion {criterion} looks at: name "
                    f"the column with --map {name}=COLUMN, or choose another criterion"
                )
        verdict = judge(criterion, self.frame).astype("string")
        return replace(self, frame=self.frame.assign(verdict=verdict))


def write_results(
    frame: pd.DataFrame,
    path: Path | str,
    *,
    sweep_text: str | None = None,
    environment: Mapping[str, Any] | None = None,
) -> None:
    """Write a table as parquet: to a temporary name first, then renamed, so never half a file.

    Args:
        frame: One row per trial. Columns may be missing (they are written empty) but not unknown.
        path: Where to write; replaced when it exists.
        sweep_text: The sweep file's text, kept in the file's metadata.
        environment: What the trials ran on, JSON-able, kept in the metadata too.

    Raises:
        ValueError: If the frame has a column that the table does not know.
    """
    unknown = [name for name in frame.columns if name not in COLUMN_NAMES]
    if unknown:
        raise ValueError(f"results.parquet has no column {', '.join(map(repr, unknown))}.")
    path = find_place(path)
    table = pa.table({column.name: _to_arrow(frame, column) for column in COLUMNS})
    metadata = {_SCHEMA_KEY: str(SCHEMA_VERSION).encode()}
    if sweep_text is not None:
        metadata[_SWEEP_KEY] = sweep_text.encode()
    if environment is not None:
        metadata[_ENVIRONMENT_KEY] = json.dumps(dict(environment), sort_keys=True).encode()
    buffer = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), buffer)
    write_whole(path, buffer.getvalue().to_pybytes())


def _to_arrow(frame: pd.DataFrame, column: Column) -> pa.Array:
    """Return one column with its arrow type, empty when the frame lacks it."""
    kind = {"string": pa.string(), "float64": pa.float64()}.get(column.dtype, pa.int64())
    if column.name not in frame:
        return pa.nulls(len(frame), kind)
    values = frame[column.name].astype(pd.api.types.pandas_dtype(column.dtype))
    return pa.array(values, type=kind, from_pandas=True)


def read_results(path: Path | str, rename: Mapping[str, str] | None = None) -> Results:
    """Read a table of trials, made by this tool or not.

    Needed are ``batch_size``, ``lr`` and an outcome: ``verdict``, or a true/false ``diverged``,
    or losses that a criterion can judge. Without a ``seed`` column, repeats at the same batch
    size and learning rate are numbered as seeds.

    Args:
        path: A ``.parquet`` or ``.csv`` file, also by its URL.
        rename: Our column names to the file's, as ``--map lr=learning_rate`` gives them.

    Returns:
        The checked table.

    Raises:
        ResultsError: If it cannot be read, or says something impossible; one line that names
            what is wrong and what to do.
    """
    path = find_place(path)
    frame, metadata = _read_file(path)
    _check_schema(path, metadata)
    table = normalize_table(frame, str(path), dict(rename or {}), own=_SCHEMA_KEY in metadata)
    return Results(
        frame=table.frame,
        source=str(path),
        sweep_text=_read_text(path, metadata.get(_SWEEP_KEY)),
        environment=_read_environment(path, metadata.get(_ENVIRONMENT_KEY)),
        warnings=table.warnings,
    )


def _read_text(path: Path, stored: bytes | None) -> str | None:
    """Return a text from the metadata."""
    try:
        return None if stored is None else stored.decode()
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path} has a sweep file that is no text: write it again") from error


def _read_environment(path: Path, stored: bytes | None) -> dict[str, Any] | None:
    """Return what the trials ran on from the metadata."""
    if stored is None:
        return None
    try:
        environment = json.loads(stored)
    except (ValueError, RecursionError):
        environment = None
    if not isinstance(environment, dict):
        raise ResultsError(f"{path} has an environment that is no JSON object: write it again")
    return environment


def _read_file(path: Path) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    """Return the raw table and the file's metadata."""
    if path.is_dir():
        raise ResultsError(
            f"{path} is a folder, not a table: name the file, as in {path / 'results.parquet'}"
        )
    if not path.exists():
        raise ResultsError(f"{path} does not exist: name a .parquet or .csv file")
    if path.suffix not in {".parquet", ".csv"}:
        raise ResultsError(f"{path} is neither .parquet nor .csv: export the table as one of them")
    try:
        if path.suffix == ".csv":
            return pd.read_csv(BytesIO(path.read_bytes())), {}
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        table.validate(full=True)
        # What pandas noted beside the columns may be anything; the columns say enough.
        return table.to_pandas(ignore_metadata=True), dict(table.schema.metadata or {})
    except StoreError:
        raise
    except (pa.ArrowException, ValueError, OSError) as error:
        # pandas' parser and decoding errors are ValueErrors.
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no content"
        raise ResultsError(
            f"{path} cannot be read as {path.suffix[1:]} ({first_line.rstrip('.')}): "
            "it may be truncated or of another format; write it again"
        ) from error


def _check_schema(path: Path, metadata: Mapping[bytes, bytes]) -> None:
    """Refuse a table of ours that was written under another schema."""
    if _SCHEMA_KEY not in metadata:
        return
    version = metadata[_SCHEMA_KEY].decode(errors="replace")
    if version == str(SCHEMA_VERSION):
        return
    newer = version.isdecimal() and len(version) < 9 and int(version) > SCHEMA_VERSION
    shown = version[:20] or "no version"
    remedy = (
        "update scaling-sweep to read it"
        if newer
        else "run the sweep again with this version, or export the table as .csv"
    )
    raise ResultsError(
        f"{path} has schema {shown}, this version reads schema {SCHEMA_VERSION}: {remedy}"
    )
