"""From measurement to table: every number normalised to one example and said to be whose."""

import dataclasses
from pathlib import Path

import pytest

from analysis.curvature_table import (
    CurvatureTable,
    Matrix,
    Quantity,
    read_curvature,
    write_curvature,
)
from analysis.words.theory import describe_measurement
from scaling_sweep.curvature.measure import measure_curvature
from scaling_sweep.curvature.measurement import CurvatureMeasurement, MatrixMeasurement
from scaling_sweep.curvature.objective import Curvature, Policy
from scaling_sweep.curvature.options import CurvatureOptions
from scaling_sweep.curvature.preconditioned import AdaptiveOptimizer
from scaling_sweep.curvature_rows import Place, join_tables, table_of
from scaling_sweep.training.copies import Point
from tests.curvature.cases import mlp

OPTIONS = CurvatureOptions(
    batch_sizes=(2, 10, 50),
    num_batches=4,
    density_batch_sizes=(10, 50),
    num_noise_batches=50,
    num_probes=8,
    num_density_steps=8,
    noise_sizes=(2, 16),
    optimizers=(AdaptiveOptimizer("adam", {"beta1": 0.5}),),
    num_moment_steps=5,
)
PLACE = Place("case(a=1)", "100 steps")


@pytest.fixture(scope="module")
def measured() -> CurvatureMeasurement:
    """Return a measurement on 50 examples."""
    case = mlp((4, 6, 3))
    return measure_curvature(case.task(), Point.of(case.model), OPTIONS, seed=1, step=100)


def values(table: CurvatureTable, quantity: Quantity, matrix: Matrix = Matrix.NEITHER) -> list:
    """Return the rows of one quantity."""
    return [row for row in table.numbers if (row.quantity, row.matrix) == (quantity, matrix)]


def test_the_table_says_what_was_measured(measured: CurvatureMeasurement) -> None:
    """Numbers, errors, place, seed and facts come through unchanged."""
    table = table_of(measured, PLACE)

    [top] = values(table, Quantity.TOP, Matrix.GGN)
    assert top.value == measured.matrix(Curvature.GGN).ends.top.value
    assert (top.point, top.step, top.seed) == ("100 steps", 100, 1)
    [trace] = values(table, Quantity.TRACE, Matrix.HESSIAN)
    assert trace.stderr == measured.matrix(Curvature.HESSIAN).traces.trace.stderr
    [sharpest] = values(table, Quantity.MAX_SAMPLE_TOP, Matrix.HESSIAN)
    assert sharpest.value >= measured.matrix(Curvature.HESSIAN).batch_spectra[0].top.value
    assert (table.facts.task, table.facts.num_examples) == ("case(a=1)", 50)


def test_theory_finds_every_input(measured: CurvatureMeasurement) -> None:
    """No entry of the summary is missing for an adaptive optimizer of the sweep."""
    [summary] = table_of(measured, PLACE).summaries("adam(beta1=0.5)")

    missing = [
        field.name for field in dataclasses.fields(summary) if getattr(summary, field.name) is None
    ]
    assert missing == []
    assert summary.state_batch_size == 50


def test_batches_without_replacement_stand_at_their_noise(measured: CurvatureMeasurement) -> None:
    """B of N without replacement stands at B/(1 − B/N), all of the data nowhere."""
    table = table_of(measured, dataclasses.replace(PLACE, without_replacement=True))

    sizes = [row.batch_size for row in values(table, Quantity.BATCH_SHARPNESS)]
    assert sizes == pytest.approx([2 / (1 - 2 / 50), 10 / (1 - 10 / 50)])
    densities = {row.batch_size for row in table.spectra}
    assert densities == {None, 12.5}


def test_noise_of_batches_becomes_that_of_one_example() -> None:
    """Measured on batches of 5, mean ‖H_i‖² of one example is found within its error."""
    case = mlp((4, 6, 3))
    options = dataclasses.replace(
        OPTIONS, noise_batch_size=5, num_noise_batches=400, num_probes=16, policy=Policy.BATCH
    )
    known = float(case.example_hessians().square().sum((1, 2)).mean())

    found = measure_curvature(case.task(), Point.of(case.model), options)
    table = table_of(found, PLACE)

    [square] = values(table, Quantity.SAMPLE_FROBENIUS_SQ, Matrix.HESSIAN)
    assert abs(square.value - known) < 4 * square.stderr
    assert square.stderr < 0.2 * known
    assert values(table, Quantity.MAX_SAMPLE_TOP, Matrix.HESSIAN) == []


def test_tables_of_several_places_are_joined(measured: CurvatureMeasurement) -> None:
    """Rows follow each other, costs are summed."""
    one, two = table_of(measured, PLACE), table_of(measured, Place("case(a=1)", "init"))

    both = join_tables([one, two])

    assert both.numbers == (*one.numbers, *two.numbers)
    assert both.facts.num_products == 2 * measured.num_products
    assert both.facts.task == "case(a=1)"


def test_notes_of_some_places_say_which(measured: CurvatureMeasurement, tmp_path: Path) -> None:
    """What holds everywhere is said once, the rest with its point and seed, in the file too."""
    noted = dataclasses.replace(measured, notes=("slowly",), left_out=("density", "traces"))
    one = table_of(noted, PLACE, max_seconds=60)
    two = table_of(dataclasses.replace(noted, left_out=()), Place("case(a=1)", "init"), 60)

    both = join_tables([one, two])
    write_curvature(both, tmp_path / "curvature.parquet")

    notes = (
        "slowly",
        "left out after 60 s: density, traces (at 100 steps under seed 1)",
    )
    assert both.facts.notes == notes
    assert (one.facts.cut_at_s, two.facts.cut_at_s, both.facts.cut_at_s) == (60, None, 60)
    assert read_curvature(tmp_path / "curvature.parquet").facts == both.facts
    assert "Slowly. Left out after 60 s: density, traces" in describe_measurement(both)


def test_what_was_left_out_has_no_rows(measured: CurvatureMeasurement) -> None:
    """Numbers and densities that there was no time for are absent; the others stay."""
    bare = dataclasses.replace(
        measured,
        matrices=tuple(MatrixMeasurement(kind) for kind in Curvature),
        gradient_norm=float("nan"),
        gradient_noise=None,
        two_batch_noise=None,
        sharpness=(),
        preconditioned=(),
    )

    table = table_of(bare, PLACE, 1.0)

    assert {row.quantity for row in table.numbers} == {
        Quantity.NUM_PARAMETERS,
        Quantity.LOSS,
        Quantity.GRADIENT_SHARPNESS,
    }
    assert table.spectra == ()
