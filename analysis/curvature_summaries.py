"""From single measured numbers to what theory needs: averages over seeds, with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.curvature_columns import (
    CURVE_FIELDS,
    GGN_FIELDS,
    MATRIX_FIELDS,
    PLAIN_FIELDS,
    Matrix,
    Quantity,
)
from analysis.theory.inputs import BatchCurve, CurvatureSummary, FloatArray, Measured


@dataclass(frozen=True)
class ValueRow:
    """One measured number.

    Attributes:
        point: Where: ``init``, or how far trained.
        step: Training steps before the point; orders the points.
        seed: Replicate.
        quantity: What the number says.
        value: The number, in ``quantity.unit``.
        stderr: Its standard error: 0 when exact, NaN when not known.
        matrix: Whose.
        optimizer: Whom it concerns, by its label in the table of trials; empty: all.
        batch_size: Of batch means and optimizer states, as if drawn with replacement, else None.
    """

    point: str
    step: int
    seed: int
    quantity: Quantity
    value: float
    stderr: float = 0.0
    matrix: Matrix = Matrix.NEITHER
    optimizer: str = ""
    batch_size: float | None = None


@dataclass(frozen=True)
class DensityRow:
    """One measured density of eigenvalues, as weighted points.

    Attributes:
        point: Where: ``init``, or how far trained.
        step: Training steps before the point.
        seed: Replicate.
        matrix: Whose.
        nodes: Eigenvalues.
        weights: Share of each, not negative, with sum 1.
        batch_size: Examples per batch, as if drawn with replacement; None for all the data.
    """

    point: str
    step: int
    seed: int
    matrix: Matrix
    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    batch_size: float | None = None

    def __post_init__(self) -> None:
        if not self.nodes or len(self.nodes) != len(self.weights):
            raise ValueError(
                f"A density needs as many weights as nodes, got {len(self.weights)} and "
                f"{len(self.nodes)}."
            )
        if min(self.weights) < 0 or not np.isclose(sum(self.weights), 1.0, atol=1e-6):
            raise ValueError(f"A density's weights must sum to 1, got {sum(self.weights):.6g}.")


@dataclass(frozen=True)
class PointDensity:
    """A density of eigenvalues, averaged over seeds.

    Attributes:
        point: Where it was measured.
        matrix: Whose.
        batch_size: Examples per batch; None for all the data.
        nodes: Shape ``[n]``, ascending, loss per squared parameter.
        weights: Shape ``[n]``, with sum 1.
    """

    point: str
    matrix: Matrix
    batch_size: float | None
    nodes: FloatArray
    weights: FloatArray


def average_seeds(rows: Sequence[ValueRow]) -> Measured | None:
    """Average one number over seeds.

    The standard error is the larger of the spread between seeds, ``s/√n``, and the measurement's
    own, ``√(Σ eᵢ²)/n``.

    Args:
        rows: The same quantity under several seeds.

    Returns:
        None without rows, or where a number is not finite: an infinite noise scale, say, is one
        that could not be told from infinite.

    Example:
        >>> two = [ValueRow("init", 0, s, Quantity.TOP, v, 0.1) for s, v in ((0, 1.0), (1, 3.0))]
        >>> average_seeds(two)
        Measured(value=2.0, stderr=1.0)
    """
    values = np.array([row.value for row in rows])
    if not values.size or not np.isfinite(values).all():
        return None
    own = float(np.sqrt(np.sum([row.stderr**2 for row in rows])) / values.size)
    if values.size == 1:
        return Measured(float(values[0]), own)
    between = float(values.std(ddof=1) / np.sqrt(values.size))
    return Measured(float(values.mean()), float(np.fmax(between, own)))


def average_curve(rows: Sequence[ValueRow]) -> BatchCurve | None:
    """Average a mean over batches over seeds, batch size by batch size.

    Args:
        rows: One quantity under several seeds and batch sizes.

    Returns:
        The batch sizes with a positive finite mean, for an edge needs positive curvature, and a
        known error, which a single batch does not have; None without any.
    """
    sizes = sorted({row.batch_size for row in rows if row.batch_size is not None})
    averages = [(b, average_seeds([row for row in rows if row.batch_size == b])) for b in sizes]
    kept = [
        (b, mean)
        for b, mean in averages
        if mean is not None and mean.value > 0 and np.isfinite(mean.stderr)
    ]
    if not kept:
        return None
    return BatchCurve(
        batch_size=np.array([b for b, _ in kept]),
        mean=np.array([mean.value for _, mean in kept]),
        stderr=np.array([mean.stderr for _, mean in kept]),
    )


def summarize(rows: Sequence[ValueRow], matrix: Matrix) -> CurvatureSummary:
    """Collect what theory needs at one point.

    Args:
        rows: The numbers of one point, at least one, of all optimizers and of at most one by name.
        matrix: What stands for the Hessian throughout.

    Returns:
        The inputs of theory; its ``point`` names the matrix where that is not the Hessian.
    """

    def pick(quantity: Quantity, whose: Matrix | None = None) -> list[ValueRow]:
        hits = [r for r in rows if r.quantity is quantity and whose in (None, r.matrix)]
        return [row for row in hits if row.optimizer] or hits

    found: dict[str, Any] = {
        **{name: average_seeds(pick(q, matrix)) for name, q in MATRIX_FIELDS.items()},
        **{name: average_seeds(pick(q, Matrix.GGN)) for name, q in GGN_FIELDS.items()},
        **{name: average_seeds(pick(q)) for name, q in PLAIN_FIELDS.items()},
        **{name: average_curve(pick(q)) for name, q in CURVE_FIELDS.items()},
        "batch_hessian_top": average_curve(pick(Quantity.BATCH_TOP, matrix)),
    }
    size = average_seeds(pick(Quantity.NUM_PARAMETERS))
    preconditioned = _largest_batch(pick(Quantity.PRECONDITIONED_TOP))
    return CurvatureSummary(
        point=rows[0].point + (", Gauss–Newton" if matrix is Matrix.GGN else ""),
        num_parameters=None if size is None else round(size.value),
        preconditioned_sharpness=average_seeds(preconditioned),
        state_batch_size=preconditioned[0].batch_size if preconditioned else None,
        **found,
    )


def _largest_batch(rows: Sequence[ValueRow]) -> list[ValueRow]:
    """Return the rows whose optimizer state saw the least noise.

    The noiseless edge wants a preconditioner without noise; the other theories translate it to
    smaller batches themselves.
    """
    sizes = [row.batch_size for row in rows if row.batch_size is not None]
    return [row for row in rows if not sizes or row.batch_size == max(sizes)]


def pool_densities(rows: Sequence[DensityRow], points: Sequence[str]) -> tuple[PointDensity, ...]:
    """Average densities over seeds.

    Args:
        rows: Single densities.
        points: Order of the points.

    Returns:
        One per point, matrix and batch size; batch sizes ascend, all the data come last.
    """
    groups: dict[tuple[int, Matrix, float], list[DensityRow]] = {}
    for row in rows:
        size = np.inf if row.batch_size is None else row.batch_size
        groups.setdefault((points.index(row.point), row.matrix, size), []).append(row)
    return tuple(_pool(groups[key]) for key in sorted(groups))


def _pool(rows: Sequence[DensityRow]) -> PointDensity:
    """Average the densities of one point, matrix and batch size."""
    nodes = np.concatenate([row.nodes for row in rows])
    weights = np.concatenate([row.weights for row in rows]) / len(rows)
    order = np.argsort(nodes, kind="stable")
    first = rows[0]
    return PointDensity(first.point, first.matrix, first.batch_size, nodes[order], weights[order])
