"""curvature.parquet: what goes in comes out, averages are right, and torn files are named."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.curvature_columns import CURVATURE_COLUMNS, WORDS
from analysis.curvature_table import (
    CurvatureTable,
    DensityRow,
    Matrix,
    Quantity,
    ValueRow,
    read_curvature,
    write_curvature,
)
from analysis.errors import AnalysisError
from analysis.results import write_results
from analysis.theory import BatchCurve, CurvatureSummary, Measured
from tests.analysis.curvature_cases import TOP, make_table
from tests.analysis.report_cases import simulate_trials

TABLE = make_table()


def top(value: float, seed: int = 0, stderr: float = 0.0, **more: object) -> ValueRow:
    """Return one largest eigenvalue."""
    return ValueRow("init", 0, seed, Quantity.TOP, value, stderr, Matrix.HESSIAN, **more)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Every number, density and fact survives the file, an unknown error too."""
    unknown = ValueRow("init", 0, 0, Quantity.LOSS, 2.3, math.nan)
    write_curvature(replace(TABLE, numbers=(*TABLE.numbers, unknown)), tmp_path / "c.parquet")

    back = read_curvature(tmp_path / "c.parquet")

    assert back.numbers[:-1] == TABLE.numbers
    assert back.numbers[-1].value == 2.3
    assert math.isnan(back.numbers[-1].stderr)
    assert back.spectra == TABLE.spectra
    assert back.facts == TABLE.facts
    assert list(tmp_path.iterdir()) == [tmp_path / "c.parquet"]


def test_anybody_can_read_the_file(tmp_path: Path) -> None:
    """Pandas alone sees one row per number in words, with its unit."""
    write_curvature(TABLE, tmp_path / "c.parquet")

    frame = pd.read_parquet(tmp_path / "c.parquet")

    assert list(frame) == [column.name for column in CURVATURE_COLUMNS]
    assert len(frame) == len(TABLE.numbers) + len(TABLE.spectra)
    [first] = frame.query(
        "quantity == 'largest eigenvalue' and matrix == 'Hessian' and point == 'init' and seed == 0"
    ).itertuples()
    assert (first.value, first.unit) == (pytest.approx(0.9), "loss/parameter²")
    densities = frame[frame["quantity"] == "density of eigenvalues"]
    assert densities["weights"].map(sum).to_numpy() == pytest.approx(1.0)


def test_seeds_are_averaged_with_the_larger_error() -> None:
    """The spread between seeds counts, but never less than the measurement's own error."""
    values = [2.0, 3.0, 7.0]
    spread = np.std(values, ddof=1) / np.sqrt(3)

    apart = CurvatureTable(tuple(top(v, s, 0.1) for s, v in enumerate(values)))
    alike = CurvatureTable(tuple(top(4.0, s, 0.3) for s in range(9)))

    assert apart.summaries()[0].hessian_top == Measured(4.0, pytest.approx(spread))
    assert alike.summaries()[0].hessian_top == Measured(4.0, pytest.approx(0.1))
    assert CurvatureTable((top(4.0, 0, 0.3),)).summaries()[0].hessian_top == Measured(4.0, 0.3)


def test_errors_have_the_size_of_the_scatter_they_claim() -> None:
    """Over many repeats, means over seeds scatter about as widely as their standard errors say."""
    rng = np.random.default_rng(0)

    def repeat() -> Measured:
        seeds = 5.0 + rng.normal(0, 1.0, 6)
        rows = tuple(top(v + rng.normal(0, 0.5), s, 0.5) for s, v in enumerate(seeds))
        found = CurvatureTable(rows).summaries()[0].hessian_top
        assert found is not None
        return found

    repeats = [repeat() for _ in range(400)]
    scatter = np.std([found.value for found in repeats])

    # √((1² + 0.5²)/6) = 0.456; the mean of 400 standard errors of 6 is known to 2 %, biased by 5 %.
    assert scatter == pytest.approx(0.456, rel=0.12)
    assert np.mean([found.stderr for found in repeats]) == pytest.approx(0.456, rel=0.1)


def test_points_come_in_the_order_of_training() -> None:
    """Rows may lie in any order, and steps are numbers, not words."""
    mixed = replace(TABLE, numbers=TABLE.numbers[::-1])

    assert mixed.points == ("init", "100 steps", "1000 steps")
    assert [found.point for found in mixed.summaries()] == list(mixed.points)
    assert [found.hessian_top.value for found in mixed.summaries()] == pytest.approx(
        [*TOP.values()]
    )


def test_the_gauss_newton_matrix_can_stand_for_the_hessian() -> None:
    """It replaces the Hessian throughout, and the summary says so."""
    plain, other = TABLE.summaries()[0], TABLE.summaries(matrix=Matrix.GGN)[0]

    assert (plain.hessian_top.value, other.hessian_top.value) == pytest.approx((1.0, 2.0))
    assert other.top_direction_variance.value == pytest.approx(
        4 * plain.top_direction_variance.value
    )
    assert plain.ggn_top == other.ggn_top == other.hessian_top
    assert plain.gradient_noise_scale == other.gradient_noise_scale
    assert other.point == "init, Gauss–Newton"
    assert other.batch_hessian_top is None


def test_an_optimizer_sees_its_own_numbers_only() -> None:
    """Adam's preconditioned curvature, from the least noisy state, is nobody else's."""
    adam, sgd = TABLE.summaries("adam")[0], TABLE.summaries("sgd")[0]

    assert adam.preconditioned_sharpness.value == pytest.approx(100.0)
    assert adam.state_batch_size == 64.0
    assert sgd.preconditioned_sharpness is sgd.state_batch_size is None
    assert adam.hessian_top == sgd.hessian_top
    assert TABLE.optimizers == ("adam",)


def test_an_optimizers_own_number_comes_before_everybodys() -> None:
    """Along its own path curvature differs: there the common number does not count as a seed."""
    table = CurvatureTable((top(1.0), top(5.0, optimizer="adam")))

    assert table.summaries("adam")[0].hessian_top == Measured(5.0)
    assert table.summaries("sgd")[0].hessian_top == Measured(1.0)


def test_points_of_one_optimizer_do_not_exist_for_others() -> None:
    """A point that only Adam's training passed gives SGD no summary."""
    own = replace(top(5.0, optimizer="adam"), point="Adam, 100 steps", step=100)

    table = CurvatureTable((top(1.0), own))

    assert [found.point for found in table.summaries("sgd")] == ["init"]
    assert [found.point for found in table.summaries("adam")] == ["init", "Adam, 100 steps"]


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_number_that_is_not_finite_is_not_measured(bad: float) -> None:
    """A noise scale not told from infinite under one seed is left out, not averaged."""
    rows = (top(1.0), top(bad, 1))

    assert CurvatureTable(rows).summaries()[0].hessian_top is None


def test_batch_curves_keep_positive_means_only() -> None:
    """Negative curvature sets no edge, so its batch size is silent."""
    rows = [
        ValueRow("init", 0, s, Quantity.BATCH_SHARPNESS, v, 0.0, Matrix.HESSIAN, batch_size=b)
        for b, values in ((1.0, (4.0, 6.0)), (8.0, (-1.0, 0.5)), (64.0, (2.0, 2.0)))
        for s, v in enumerate(values)
    ]

    curve = CurvatureTable(tuple(rows)).summaries()[0].batch_sharpness

    assert isinstance(curve, BatchCurve)
    assert curve.batch_size.tolist() == [1.0, 64.0]
    assert curve.mean.tolist() == [5.0, 2.0]
    assert curve.stderr.tolist() == pytest.approx([1.0, 0.0])


def test_densities_are_averaged_over_seeds() -> None:
    """Pooled densities keep their mean eigenvalue, and all the data come after batches."""
    found = TABLE.densities()

    assert [d.batch_size for d in found[:3]] == [1.0, 16.0, None]
    assert [d.point for d in found[::3]] == ["init", "100 steps", "1000 steps"]
    for density in found:
        alike = [
            row
            for row in TABLE.spectra
            if (row.point, row.batch_size) == (density.point, density.batch_size)
        ]
        means = [np.dot(row.nodes, row.weights) for row in alike]
        assert density.nodes @ density.weights == pytest.approx(np.mean(means))
        assert density.weights.sum() == pytest.approx(1.0)
        assert np.all(np.diff(density.nodes) >= 0)


def test_weights_must_be_a_density() -> None:
    """Weights of another number or sum are refused where they enter."""
    with pytest.raises(ValueError, match="as many weights as nodes, got 1 and 2"):
        DensityRow("init", 0, 0, Matrix.HESSIAN, (0.0, 1.0), (1.0,))
    with pytest.raises(ValueError, match=r"sum to 1, got 1\.5"):
        DensityRow("init", 0, 0, Matrix.HESSIAN, (0.0, 1.0), (0.5, 1.0))


def test_a_torn_file_is_named_in_one_line(tmp_path: Path) -> None:
    """A file cut short, or none at all, says so with what to do."""
    path = tmp_path / "curvature.parquet"
    write_curvature(TABLE, path)
    path.write_bytes(path.read_bytes()[:-100])

    for broken in (path, tmp_path / "missing.parquet"):
        with pytest.raises(AnalysisError, match=r"cannot be read as parquet.*measure again") as hit:
            read_curvature(broken)
        assert "\n" not in str(hit.value)


def test_a_foreign_file_is_named_in_one_line(tmp_path: Path) -> None:
    """A table of trials, or of a later version, is not taken for curvature."""
    trials, later = tmp_path / "results.parquet", tmp_path / "later.parquet"
    write_results(simulate_trials().head(), trials)
    write_curvature(TABLE, later)
    rewrite(later, version=b"99")

    with pytest.raises(AnalysisError, match="is not a table of curvature"):
        read_curvature(trials)
    with pytest.raises(AnalysisError, match="is of version 99, this program reads version 1"):
        read_curvature(later)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("quantity", "spookiness", "'spookiness' is not a valid Quantity"),
        ("matrix", "Fisher", "'Fisher' is not a valid Matrix"),
        ("value", None, "has no value"),
        ("point", None, "rows without point"),
    ],
)
def test_impossible_rows_are_named(
    tmp_path: Path, column: str, value: object, message: str
) -> None:
    """A row that this program could not have written is refused with its reason."""
    path = tmp_path / "curvature.parquet"
    write_curvature(CurvatureTable((top(1.0),)), path)
    rewrite(path, {column: value})

    with pytest.raises(AnalysisError, match=message):
        read_curvature(path)


def test_a_repeated_number_is_refused(tmp_path: Path) -> None:
    """The same number twice would count as two seeds."""
    path = tmp_path / "curvature.parquet"
    write_curvature(CurvatureTable((top(1.0), top(2.0))), path)

    with pytest.raises(AnalysisError, match="the largest eigenvalue at init, seed 0 twice"):
        read_curvature(path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """A file without one of the columns says which."""
    path = tmp_path / "curvature.parquet"
    write_curvature(TABLE, path)
    pq.write_table(pq.read_table(path).drop_columns(["stderr"]), path)

    with pytest.raises(AnalysisError, match="lacks the column 'stderr'"):
        read_curvature(path)


def test_every_input_of_theory_has_words() -> None:
    """Whatever a theory may miss can be named to a reader."""
    fields = set(CurvatureSummary.__dataclass_fields__) - {"point"}

    assert fields == set(WORDS)


def rewrite(path: Path, change: dict[str, object] | None = None, version: bytes = b"1") -> None:
    """Change the first row or the version of a file."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0] |= change or {}
    metadata = {**table.schema.metadata, b"scaling_sweep.curvature_version": version}
    pq.write_table(pa.Table.from_pylist(rows, table.schema.with_metadata(metadata)), path)
