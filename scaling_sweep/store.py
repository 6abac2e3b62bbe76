"""The run folder: the one place that knows its paths, and writes every file whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import COLUMN_NAMES
from analysis.criteria import Verdict
from analysis.results import write_results
from scaling_sweep.errors import UserError
from scaling_sweep.rows import PackRows

if TYPE_CHECKING:
    import pyarrow as pa

    from analysis.curvature_table import CurvatureTable

_CURVE_COLUMNS = {"step": "curve_step", "loss": "curve_loss"}
_CURVES = frozenset(_CURVE_COLUMNS.values())


@dataclass(frozen=True)
class RunFolder:
    """Where a run lives.

    Attributes:
        path: The folder, for example ``runs/digits``.
    """

    path: Path

    @property
    def sweep(self) -> Path:
        """The sweep file as it was given."""
        return self.path / "sweep.yaml"

    @property
    def environment(self) -> Path:
        """Versions and hardware of the last run."""
        return self.path / "environment.json"

    @property
    def parts(self) -> Path:
        """One parquet file per finished pack."""
        return self.path / "parts"

    @property
    def starts(self) -> Path:
        """One file per trained start, in a folder per recipe."""
        return self.path / "starts"

    @property
    def results(self) -> Path:
        """The table of all trials."""
        return self.path / "results.parquet"

    @property
    def curves(self) -> Path:
        """The thinned loss curves of all trials."""
        return self.path / "curves.parquet"

    @property
    def curvature(self) -> Path:
        """The table of measured curvature, for theory."""
        return self.path / "curvature.parquet"

    def curvature_part(self, recipe_id: str, job: str) -> Path:
        """Return where the curvature of one point and seed lies, in a folder per recipe."""
        return self.path / "curvature" / recipe_id / f"{job}.parquet"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder and hold it for this process alone.

        Yields:
            Nothing, while the folder is held.

        Raises:
            UserError: If it cannot be written, or another run holds it.
        """
        from filelock import FileLock, Timeout

        try:
            for folder in (self.path, self.parts):
                folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise UserError(
                f"{self.path} is in use by another run; wait for it, or write another --out"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def write_part(self, rows: PackRows) -> None:
        """Store the rows of one pack.

        Args:
            rows: Results and curves of the pack.

        Raises:
            UserError: If the disk is full or the folder not writable; nothing torn is left.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        renamed = rows.curves.rename(columns=_CURVE_COLUMNS)
        whole = rows.results.merge(renamed, on="trial_id", how="left")
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(whole, preserve_index=False), buffer)
        self.write_bytes(self.parts / f"{rows.pack_id}.parquet", buffer.getvalue().to_pybytes())

    def read_rows(self) -> pd.DataFrame:
        """Return the rows of all parts, each trial once, with its curve.

        A trial that failed and was trained later keeps only its measurement. A part that does
        not read, which only something else than this tool can leave, is a `UserError`.
        """
        return join_parts([read_part(part) for part in self.list_parts()])

    def list_parts(self) -> tuple[Path, ...]:
        """Return the file of every finished pack, in the order of their names."""
        return tuple(sorted(self.parts.glob("*.parquet")))

    def assemble(self, sweep_text: str, environment: Mapping[str, Any]) -> pd.DataFrame:
        """Write results.parquet and curves.parquet from the parts.

        Args:
            sweep_text: The sweep file's text, for the table's metadata.
            environment: Versions and hardware, for the table's metadata.

        Returns:
            All rows, ordered by group, batch size, seed, lr and damping.

        Raises:
            UserError: If the folder cannot be written.
        """
        rows = self.read_rows()
        order = ["task", "method", "optimizer", "batch_size", "seed", "lr", "damping"]
        columns = [name for name in COLUMN_NAMES if name in rows]
        known = [name for name in order if name in columns]
        rows = rows.sort_values(known, kind="stable").reset_index(drop=True)
        try:
            write_results(
                rows[columns], self.results, sweep_text=sweep_text, environment=environment
            )
        except OSError as error:
            raise self._unwritable(error) from error
        self._write_curves(rows)
        return rows

    def _write_curves(self, rows: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [
                ("trial_id", pa.string()),
                ("step", pa.list_(pa.int32())),
                ("loss", pa.list_(pa.float32())),
            ]
        )
        names = {own: public for public, own in _CURVE_COLUMNS.items()}
        if set(names) <= set(rows):
            measured = rows.loc[rows["curve_step"].notna(), ["trial_id", *names]]
            curves = pa.Table.from_pandas(measured.rename(columns=names), schema, False)
        else:
            curves = schema.empty_table()
        buffer = pa.BufferOutputStream()
        pq.write_table(curves, buffer)
        self.write_bytes(self.curves, buffer.getvalue().to_pybytes())

    def write_start(self, recipe_id: str, seed: int, data: bytes) -> None:
        """Store the trained start of a seed under the recipe it was trained by.

        Args:
            recipe_id: The recipe.
            seed: The replicate.
            data: The point as bytes.

        Raises:
            UserError: If the disk is full or the folder not writable.
        """
        folder = self.starts / recipe_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        self.write_bytes(folder / f"seed-{seed}.pt", data)

    def read_starts(self, recipe_id: str) -> dict[int, bytes]:
        """Return the stored starts of a recipe by seed."""
        return {
            int(path.stem.removeprefix("seed-")): path.read_bytes()
            for path in (self.starts / recipe_id).glob("seed-*.pt")
        }

    def write_curvature(self, table: "CurvatureTable", path: Path) -> None:
        """Store a table of curvature, whole or not at all.

        Args:
            table: What was measured.
            path: ``curvature``, or a ``curvature_part``.

        Raises:
            UserError: If the disk is full or the folder not writable.
        """
        from analysis.curvature_table import write_curvature

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_curvature(table, path)
        except OSError as error:
            raise self._unwritable(error) from error

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Store what the run ran on."""
        text = json.dumps(dict(environment), indent=2, sort_keys=True) + "\n"
        self.write_bytes(self.environment, text.encode())

    def write_bytes(self, path: Path, data: bytes) -> None:
        """Write a file under a temporary name and rename it, so that it is whole or not there.

        Args:
            path: Where to.
            data: What.

        Raises:
            UserError: If the disk is full or the folder not writable.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise UserError(
                f"{path.parent} is a link that leads out of the run folder; delete it, or write "
                "another --out"
            )
        try:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:  # x: fails at a link instead of following it
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            # Where nothing can be written, nothing can be removed: say the first of the two.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write to {self.path}: {error.strerror or error}; what is finished is kept: "
            "mend it and run the same command again, or write another --out"
        )


def join_parts(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put parts together, each trial once.

    Args:
        frames: The rows of each part.

    Returns:
        All rows; a trial that failed and was trained later keeps only its measurement.
    """
    if not frames:
        return pd.DataFrame(columns=[*COLUMN_NAMES, *_CURVE_COLUMNS.values()])
    # An all-empty column has no type of its own; concat would warn that it is ignored.
    filled = [frame.dropna(axis="columns", how="all") for frame in frames]
    rows = pd.concat(filled, ignore_index=True)
    rows["failed"] = rows["verdict"] == str(Verdict.FAILED)
    rows = rows.sort_values("failed", kind="stable").drop_duplicates("trial_id")
    unique: pd.DataFrame = rows.drop(columns="failed").reset_index(drop=True)
    return unique


def read_part(path: Path, curves: bool = True) -> pd.DataFrame:
    """Read the rows of one pack.

    Args:
        path: One of ``RunFolder.list_parts``.
        curves: Whether with the loss curves, which are most of a part.

    Returns:
        Its rows.

    Raises:
        UserError: If it does not read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as part:
            kept = [name for name in part.schema_arrow.names if curves or name not in _CURVES]
            table = part.read(kept)
        table.validate(full=True)
        _check_part(table)
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = str(error).strip().partition("\n")[0] or "no content"
        raise UserError(
            f"{path} cannot be read ({what}); delete it and run the same "
            "command again to train its trials anew"
        ) from error
    return frame


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
