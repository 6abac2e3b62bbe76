"""The run folder: the one place that knows its paths, and writes every file whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.columns import COLUMN_NAMES
from analysis.files.places import as_remote
from analysis.files.whole_files import list_files, write_whole
from analysis.results import write_results
from scaling_sweep.errors import UserError
from scaling_sweep.holding import Hold, held
from scaling_sweep.parts import CURVE_COLUMNS, join_parts, read_parts
from scaling_sweep.rows import PackRows

if TYPE_CHECKING:
    from analysis.curvature_table import CurvatureTable


@dataclass(frozen=True)
class RunFolder:
    """Where a run lives.

    Attributes:
        path: The folder, for example ``runs/digits``, or what `find_place` made of a URL.
    """

    path: Path
    _holds: list[Hold] = field(default_factory=list, init=False, repr=False, compare=False)

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
        with ExitStack() as stack:
            try:
                for folder in (self.path, self.parts):
                    folder.mkdir(parents=True, exist_ok=True)
                hold = stack.enter_context(held(self.path))
            except OSError as error:
                raise self._unwritable(error) from error
            self._holds.append(hold)
            stack.callback(self._holds.remove, hold)
            yield

    def write_part(self, rows: PackRows) -> None:
        """Store the rows of one pack.

        Args:
            rows: Results and curves of the pack.

        Raises:
            UserError: If the disk is full or the folder not writable; nothing torn is left.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        renamed = rows.curves.rename(columns=CURVE_COLUMNS)
        whole = rows.results.merge(renamed, on="trial_id", how="left")
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(whole, preserve_index=False), buffer)
        self.write_bytes(self.parts / f"{rows.pack_id}.parquet", buffer.getvalue().to_pybytes())

    def read_rows(self) -> pd.DataFrame:
        """Return the rows of all parts, each trial once, with its curve.

        A trial that failed and was trained later keeps only its measurement. A part that does
        not read, which only something else than this tool can leave, is a `UserError`.
        """
        return join_parts(read_parts([part for part, _ in self.list_parts()]))

    def list_parts(self) -> list[tuple[Path, float]]:
        """Return the file of every finished pack, by name, and when it was written."""
        return list_files(self.parts, ".parquet")

    def assemble(
        self, sweep_text: str, environment: Mapping[str, Any], rows: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Write results.parquet and curves.parquet.

        Args:
            sweep_text: The sweep file's text, for the table's metadata.
            environment: Versions and hardware, for the table's metadata.
            rows: From ``read_rows``, perhaps of another folder; None reads the parts.

        Returns:
            All rows, ordered by group, batch size, seed, lr and damping.

        Raises:
            UserError: If the folder cannot be written.
        """
        self._check_hold()
        rows = self.read_rows() if rows is None else rows
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
        names = {own: public for public, own in CURVE_COLUMNS.items()}
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
            for path, _ in list_files(self.starts / recipe_id, ".pt")
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
        """Write a file of this folder, so that it is whole or not there.

        Args:
            path: Where to.
            data: What.

        Raises:
            UserError: If the disk is full, the folder not writable or no longer ours.
        """
        self._check_hold()
        if as_remote(path) is None and not path.parent.resolve().is_relative_to(
            self.path.resolve()
        ):
            raise UserError(
                f"{path.parent} is a link that leads out of the run folder; delete it, or write "
                "another --out"
            )
        try:
            write_whole(path, data)
        except OSError as error:
            raise self._unwritable(error) from error

    def _check_hold(self) -> None:
        for hold in self._holds:
            hold.check()

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write to {self.path}: {error.strerror or error}; what is finished is kept: "
            "mend it and run the same command again, or write another --out"
        )
