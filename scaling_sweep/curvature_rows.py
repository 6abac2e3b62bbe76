"""From a measurement of curvature to the rows that theory is drawn from, every unit spelled out."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.curvature_table import (
    CurvatureFacts,
    CurvatureTable,
    DensityRow,
    Matrix,
    Quantity,
    ValueRow,
)
from analysis.words.formatting import join_words
from scaling_sweep.spec import OptimizerSpec

if TYPE_CHECKING:
    from scaling_sweep.curvature.density import SpectralDensity
    from scaling_sweep.curvature.estimates import Estimate
    from scaling_sweep.curvature.measurement import CurvatureMeasurement, MatrixMeasurement
    from scaling_sweep.curvature.preconditioned import AdaptiveOptimizer

# Nodes of a density lighter than this cannot be seen and are left out (guess).
_LEAST_WEIGHT = 1e-9


@dataclass(frozen=True)
class Place:
    """What a measurement does not know of itself.

    Attributes:
        task: Label of the task, as in the table of trials.
        point: Where, in words: ``init``, or how far trained.
        without_replacement: Whether batches were drawn without replacement from finite data.
    """

    task: str
    point: str
    without_replacement: bool = False


def table_of(
    measured: "CurvatureMeasurement", place: Place, max_seconds: float | None = None
) -> CurvatureTable:
    """Write a measurement as a table of numbers, each normalised to one example.

    A mean over batches of ``B`` out of ``N`` drawn without replacement stands at the batch size
    with replacement that is as noisy, ``B/(1 − B/N)``. A number that is not finite is left out,
    for it could not be told.

    Args:
        measured: What was measured at one point under one seed.
        place: What it does not know of itself.
        max_seconds: The budget of wall-clock time it had, None for none.

    Returns:
        The table of this one point and seed.
    """
    writer = _Writer(measured, place)
    facts = CurvatureFacts(
        task=place.task,
        policy=measured.policy,
        num_examples=measured.num_examples,
        num_products=measured.num_products,
        wall_time_s=measured.wall_time_s,
        notes=(*measured.notes, *_describe_left_out(measured, max_seconds)),
        cut_at_s=max_seconds if measured.left_out else None,
    )
    numbers = tuple(row for row in writer.numbers() if math.isfinite(row.value))
    return CurvatureTable(numbers, tuple(writer.densities()), facts)


def _describe_left_out(
    measured: "CurvatureMeasurement", max_seconds: float | None
) -> Iterator[str]:
    """Say what there was no time for."""
    if measured.left_out:
        what = ", ".join(measured.left_out)
        yield f"left out after {max_seconds:g} s: {what}"


def join_tables(tables: Sequence[CurvatureTable]) -> CurvatureTable:
    """Put the tables of several points and seeds of one task together.

    Args:
        tables: At least one.

    Returns:
        Their rows in order; products and seconds are summed.
    """
    first = tables[0].facts
    facts = CurvatureFacts(
        task=first.task,
        policy=first.policy,
        num_examples=first.num_examples,
        num_products=sum(table.facts.num_products for table in tables),
        wall_time_s=sum(table.facts.wall_time_s for table in tables),
        notes=tuple(_join_notes(tables)),
        cut_at_s=min((t.facts.cut_at_s for t in tables if t.facts.cut_at_s), default=None),
    )
    return CurvatureTable(
        tuple(row for table in tables for row in table.numbers),
        tuple(row for table in tables for row in table.spectra),
        facts,
    )


def _join_notes(tables: Sequence[CurvatureTable]) -> Iterator[str]:
    """Yield every note once, with the points and seeds it holds for where it is not all."""
    places: dict[str, list[str]] = {}
    for table in tables:
        seeds = join_words([str(seed) for seed in table.seeds])
        where = f"{join_words(table.points)} under seed {seeds}"
        for note in table.facts.notes:
            places.setdefault(note, []).append(where)
    for note, where_it_holds in places.items():
        everywhere = len(where_it_holds) == len(tables)
        yield note if everywhere else f"{note} (at {'; '.join(where_it_holds)})"


class _Writer:
    """Writes the rows of one measurement."""

    def __init__(self, measured: "CurvatureMeasurement", place: Place) -> None:
        self._measured, self._place = measured, place

    def numbers(self) -> Iterator[ValueRow]:
        """Yield every number."""
        measured = self._measured
        yield self._row(Quantity.NUM_PARAMETERS, measured.num_parameters)
        yield self._row(Quantity.LOSS, measured.loss)
        yield self._row(Quantity.GRADIENT_NORM_SQ, measured.gradient_norm**2)
        yield self._row(Quantity.GRADIENT_SHARPNESS, measured.gradient_sharpness)
        if (noise := measured.gradient_noise) is not None:
            yield self._row(Quantity.GRADIENT_VARIANCE, noise.trace)
            yield self._row(Quantity.NOISE_SCALE, noise.scale)
        if (pairs := measured.two_batch_noise) is not None:
            yield self._row(Quantity.TWO_BATCH_NOISE_SCALE, pairs.scale)
        for matrix in measured.matrices:
            yield from self._matrix(matrix)
        for found in measured.sharpness:
            yield from self._mean(Quantity.BATCH_SHARPNESS, found.sharpness, found.batch_size)
        yield from self._preconditioned()

    def _matrix(self, found: "MatrixMeasurement") -> Iterator[ValueRow]:
        matrix = Matrix(found.kind.value)
        for quantity, value in _single_numbers(found):
            yield self._row(quantity, value, matrix)
        if (square := self._sample_square(found)) is not None:
            yield self._row(Quantity.SAMPLE_FROBENIUS_SQ, square, matrix)
        sharpest = found.sharpest
        if sharpest is not None and sharpest.batch_size == 1:
            # The maximum of a sample has no standard error.
            largest = sharpest.largest
            yield self._row(Quantity.MAX_SAMPLE_TOP, largest, matrix, stderr=math.nan)
        for batches in found.batch_spectra:
            yield from self._mean(Quantity.BATCH_TOP, batches.top, batches.batch_size, matrix)

    def _sample_square(self, found: "MatrixMeasurement") -> "Estimate | None":
        """Return ``mean ‖H_i‖²_F`` of one example."""
        noise, traces = found.noise, found.traces
        if noise is not None and noise.batch_size == 1:
            return noise.mean_square
        if noise is None or traces is None:
            return None
        # The square of the mean, and the spread of one example about it.
        square, spread = traces.square, noise.noise.scaled(self._measured.num_parameters)
        total = math.hypot(square.stderr, spread.stderr)
        return type(square)(square.value + spread.value, total)

    def _preconditioned(self) -> Iterator[ValueRow]:
        for found in self._measured.preconditioned:
            if found.batch_size is None:  # the training's own state, which belongs to no one size
                continue
            who, size = _label(found.optimizer), found.batch_size
            yield from self._mean(Quantity.PRECONDITIONED_TOP, found.top.value, size, optimizer=who)
            if found.batches is not None:
                batch_top = found.batches.top
                yield from self._mean(
                    Quantity.BATCH_PRECONDITIONED_TOP, batch_top, size, optimizer=who
                )

    def densities(self) -> Iterator[DensityRow]:
        """Yield every density."""
        for found in self._measured.matrices:
            matrix = Matrix(found.kind.value)
            if found.density is not None:
                yield self._density(matrix, found.density, None)
            for batches in found.batch_densities:
                size = self._effective(batches.batch_size)
                if math.isfinite(size):
                    yield self._density(matrix, batches.density, size)

    def _density(
        self, matrix: Matrix, density: "SpectralDensity", size: float | None
    ) -> DensityRow:
        kept = density.weights > _LEAST_WEIGHT
        nodes, weights = density.nodes[kept], density.weights[kept]
        place = self._place.point, self._measured.step, self._measured.seed
        shares = weights / weights.sum()
        return DensityRow(*place, matrix, tuple(nodes.tolist()), tuple(shares.tolist()), size)

    def _row(
        self,
        quantity: Quantity,
        value: "float | Estimate",
        matrix: Matrix = Matrix.NEITHER,
        *,
        stderr: float = 0.0,
        optimizer: str = "",
        batch_size: float | None = None,
    ) -> ValueRow:
        """Return a number; its error is its own where it has one."""
        if isinstance(value, float | int):
            number, error = float(value), stderr
        else:
            number, error = value.value, value.stderr
        place = self._place.point, self._measured.step, self._measured.seed
        return ValueRow(*place, quantity, number, error, matrix, optimizer, batch_size)

    def _mean(
        self,
        quantity: Quantity,
        value: "float | Estimate",
        batch_size: int,
        matrix: Matrix = Matrix.NEITHER,
        *,
        optimizer: str = "",
    ) -> Iterator[ValueRow]:
        """Yield a mean over batches at its effective size; nothing where batches are all data."""
        size = self._effective(batch_size)
        if math.isfinite(size):
            yield self._row(quantity, value, matrix, optimizer=optimizer, batch_size=size)

    def _effective(self, batch_size: int) -> float:
        """Return the batch size with replacement that is as noisy."""
        if not self._place.without_replacement:
            return float(batch_size)
        rest = 1 - batch_size / self._measured.num_examples
        return batch_size / rest if rest > 0 else math.inf


def _single_numbers(
    found: "MatrixMeasurement",
) -> "Iterator[tuple[Quantity, float | Estimate]]":
    """Yield what is one number of a matrix."""
    if (ends := found.ends) is not None:
        yield Quantity.TOP, ends.top.value
        yield Quantity.BOTTOM, ends.bottom.value
    if (traces := found.traces) is not None:
        yield Quantity.TRACE, traces.trace
        yield Quantity.FROBENIUS_SQ, traces.square
    if (noise := found.noise) is not None:
        yield Quantity.NOISE, noise.noise
    if (along := found.direction_noise) is not None:
        yield Quantity.TOP_VARIANCE, along.variance
        yield Quantity.TOP_PRODUCT_SQ, along.product_square


def _label(optimizer: "AdaptiveOptimizer") -> str:
    """Return an optimizer's label in the table of trials."""
    return OptimizerSpec.model_validate({"name": optimizer.name, **optimizer.hyperparameters}).label
