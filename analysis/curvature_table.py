"""The table of measured curvature that lies beside the results: ``curvature.parquet``."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.curvature_columns import CURVATURE_COLUMNS, CURVATURE_VERSION, Matrix, Quantity
from analysis.curvature_summaries import (
    DensityRow,
    PointDensity,
    ValueRow,
    pool_densities,
    summarize,
)
from analysis.errors import AnalysisError, StoreError
from analysis.files.places import find_place
from analysis.files.whole_files import write_whole
from analysis.theory.inputs import CurvatureSummary

__all__ = [
    "CurvatureFacts",
    "CurvatureTable",
    "DensityRow",
    "Matrix",
    "PointDensity",
    "Quantity",
    "ValueRow",
    "read_curvature",
    "write_curvature",
]

_VERSION_KEY = b"scaling_sweep.curvature_version"
_FACTS_KEY = b"scaling_sweep.curvature"
_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "list of float64": pa.list_(pa.float64()),
}
_SCHEMA = pa.schema([pa.field(c.name, _TYPES[c.dtype]) for c in CURVATURE_COLUMNS])
_NEVER_EMPTY = ("point", "step", "seed", "optimizer", "matrix", "quantity")


@dataclass(frozen=True)
class CurvatureFacts:
    """What holds for a whole measurement.

    Attributes:
        task: What was measured, as in the table of trials; empty when not known.
        policy: What was done about BatchNorm and dropout, in words.
        num_examples: Examples that "all the data" means; None when not known.
        num_products: Products with the matrix of all the data.
        wall_time_s: Seconds it took, summed over points and seeds.
        notes: What to know of the numbers, one phrase each: derivatives that were taken the slow
            way, eigenvalues that did not settle, what there was no time for.
        cut_at_s: The budget of wall-clock time that was too short, None when everything was
            measured.
    """

    task: str = ""
    policy: str = ""
    num_examples: int | None = None
    num_products: int = 0
    wall_time_s: float = 0.0
    notes: tuple[str, ...] = ()
    cut_at_s: float | None = None


@dataclass(frozen=True)
class CurvatureTable:
    """Everything measured about the curvature of one task.

    Attributes:
        numbers: One entry per number, in the order of the file.
        spectra: One entry per density, in the order of the file.
        facts: What holds for all of them.
        source: Where it came from, for people.

    Example:
        >>> top = ValueRow("init", 0, 0, Quantity.TOP, 2.0, 0.1, Matrix.HESSIAN)
        >>> table = CurvatureTable((top,))
        >>> table.points, table.summaries()[0].hessian_top
        (('init',), Measured(value=2.0, stderr=0.1))
    """

    numbers: tuple[ValueRow, ...]
    spectra: tuple[DensityRow, ...] = ()
    facts: CurvatureFacts = CurvatureFacts()
    source: str = ""

    @property
    def points(self) -> tuple[str, ...]:
        """Where it was measured, in the order of training."""
        places = {(row.step, row.point) for row in self.numbers}
        places |= {(row.step, row.point) for row in self.spectra}
        return tuple(dict.fromkeys(point for _, point in sorted(places)))

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Optimizers that have numbers of their own, alphabetically."""
        return tuple(sorted({row.optimizer for row in self.numbers} - {""}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Replicates, ascending."""
        return tuple(
            sorted({row.seed for row in self.numbers} | {row.seed for row in self.spectra})
        )

    def summaries(
        self, optimizer: str = "", matrix: Matrix = Matrix.HESSIAN
    ) -> tuple[CurvatureSummary, ...]:
        """Collect what theory needs, one entry per point, averaged over seeds.

        A standard error holds the spread between seeds and the measurement's own error: the
        larger of the two estimates of it, because the spread contains both but few seeds may
        happen to agree.

        Args:
            optimizer: Its label in the table of trials: its own numbers come before those that
                concern all, others' do not count.
            matrix: What stands for the Hessian throughout. Where that has negative eigenvalues,
                mean-square theories want the Gauss-Newton matrix.

        Returns:
            In the order of training; entries are None where not measured, or where the number is
            not finite under some seed.
        """
        rows = [row for row in self.numbers if row.optimizer in ("", optimizer)]
        at = {point: [row for row in rows if row.point == point] for point in self.points}
        return tuple(summarize(some, matrix) for some in at.values() if some)

    def densities(self) -> tuple[PointDensity, ...]:
        """Pool spectral densities over seeds.

        Returns:
            One per point, matrix and batch size, in the order of training, all the data last.
        """
        return pool_densities(self.spectra, self.points)


def write_curvature(table: CurvatureTable, path: Path | str) -> None:
    """Write a table as parquet: to a temporary name first, then renamed, so never half a file.

    Args:
        table: What was measured; ``source`` is not written.
        path: Where to write; replaced when it exists.
    """
    path = find_place(path)
    rows = [*(_value_record(row) for row in table.numbers), *map(_density_record, table.spectra)]
    facts = json.dumps(asdict(table.facts), sort_keys=True)
    metadata = {_VERSION_KEY: str(CURVATURE_VERSION), _FACTS_KEY: facts}
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA.with_metadata(metadata)), buffer)
    write_whole(path, buffer.getvalue().to_pybytes())


def _value_record(row: ValueRow) -> dict[str, object]:
    """Return a number as the file has it."""
    stderr = None if np.isnan(row.stderr) else row.stderr
    return {**asdict(row), "stderr": stderr, "unit": row.quantity.unit}


def _density_record(row: DensityRow) -> dict[str, object]:
    """Return a density as the file has it."""
    quantity = Quantity.DENSITY
    return {**asdict(row), "optimizer": "", "quantity": quantity, "unit": quantity.unit}


def read_curvature(path: Path | str) -> CurvatureTable:
    """Read a table of measured curvature.

    Args:
        path: A file that :func:`write_curvature` made.

    Returns:
        The checked table.

    Raises:
        AnalysisError: If it is torn, foreign, of another version or says something impossible;
            one line that names what is wrong and what to do.
    """
    path = find_place(path)
    table = _read_file(path)
    try:
        records = table.select(_SCHEMA.names).to_pylist()
        values = tuple(_to_value(r) for r in records if r["quantity"] != Quantity.DENSITY)
        spectra = tuple(_to_density(r) for r in records if r["quantity"] == Quantity.DENSITY)
        stored = json.loads(table.schema.metadata[_FACTS_KEY])
        facts = CurvatureFacts(**{**stored, "notes": tuple(stored.get("notes", ()))})
    except (ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as error:
        raise AnalysisError(f"{path} is no table of curvature ({error}): measure again") from error
    _refuse_repeats(path, values)
    return CurvatureTable(values, spectra, facts, str(path))


def _read_file(path: Path) -> pa.Table:
    """Return the raw table, of our making and version."""
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        table.validate(full=True)
    except StoreError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        what = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else "empty"
        raise AnalysisError(
            f"{path} cannot be read as parquet ({what}): it may be torn; measure again"
        ) from error
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"").decode(errors="replace")
    if version != str(CURVATURE_VERSION):
        found = f"of version {version}" if version else "not a table of curvature"
        raise AnalysisError(
            f"{path} is {found}, this program reads version {CURVATURE_VERSION}: measure again"
        )
    wrong = [field.name for field in _SCHEMA if field not in list(table.schema)]
    if wrong:
        raise AnalysisError(f"{path} lacks the column {wrong[0]!r} of curvature: measure again")
    empty = [name for name in _NEVER_EMPTY if table[name].null_count]
    if empty:
        raise AnalysisError(f"{path} has rows without {empty[0]}: measure again")
    return table


def _to_value(record: dict[str, object]) -> ValueRow:
    """Return one row of the file as a number."""
    kept = {name: record[name] for name in ("point", "step", "seed", "optimizer", "batch_size")}
    value, stderr = record["value"], record["stderr"]
    if not isinstance(value, float):
        raise ValueError(f"{record['quantity']} at {record['point']} has no value")
    return ValueRow(
        quantity=Quantity(str(record["quantity"])),
        matrix=Matrix(str(record["matrix"])),
        value=value,
        stderr=stderr if isinstance(stderr, float) else np.nan,
        **kept,  # type: ignore[arg-type]  # the file's schema was compared with ours
    )


def _to_density(record: dict[str, object]) -> DensityRow:
    """Return one row of the file as a density."""
    kept = {name: record[name] for name in ("point", "step", "seed", "batch_size")}
    nodes, weights = record["nodes"], record["weights"]
    if not isinstance(nodes, list) or not isinstance(weights, list):
        raise ValueError(f"the density at {record['point']} has no nodes")
    return DensityRow(
        matrix=Matrix(str(record["matrix"])),
        nodes=tuple(nodes),
        weights=tuple(weights),
        **kept,  # type: ignore[arg-type]  # the file's schema was compared with ours
    )


def _refuse_repeats(path: Path, values: Iterable[ValueRow]) -> None:
    """Refuse a number that is there twice: it would count as another seed."""
    seen = set()
    for row in values:
        key = (row.point, row.seed, row.optimizer, row.matrix, row.quantity, row.batch_size)
        if key in seen:
            raise AnalysisError(
                f"{path} has the {row.quantity} at {row.point}, seed {row.seed} twice: measure "
                "again"
            )
        seen.add(key)
