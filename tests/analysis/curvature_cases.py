"""A made-up curvature measurement with known answers, for the tests of table, figures and page."""

import numpy as np

from analysis.curvature_table import (
    CurvatureFacts,
    CurvatureTable,
    DensityRow,
    Matrix,
    Quantity,
    ValueRow,
)

POINTS = {"init": 0, "100 steps": 100, "1000 steps": 1000}
TOP = {"init": 1.0, "100 steps": 8.0, "1000 steps": 4.0}


def make_table(
    seeds: int = 2, bottom: float = -0.5, task: str = "digits_mlp", points: tuple[str, ...] = ()
) -> CurvatureTable:
    """Write down a measurement whose numbers differ by ± 10 % between the first two seeds."""
    names = points or tuple(POINTS)
    values = [row for point in names for seed in range(seeds) for row in _at(point, seed, bottom)]
    spectra = [row for point in names for seed in range(seeds) for row in _spectra(point, seed)]
    facts = CurvatureFacts(task, "dropout off", 1797, 420, 12.5)
    return CurvatureTable(tuple(values), tuple(spectra), facts)


def _at(point: str, seed: int, bottom: float) -> list[ValueRow]:
    step, top = POINTS[point], TOP[point] * (0.9, 1.1, 1.0)[seed % 3]
    hessian, ggn = Matrix.HESSIAN, Matrix.GGN

    def row(quantity: Quantity, value: float, matrix: Matrix = Matrix.NEITHER, **more) -> ValueRow:  # noqa: ANN003
        return ValueRow(point, step, seed, quantity, value, 0.05 * abs(value), matrix, **more)

    rows = [
        ValueRow(point, step, seed, Quantity.NUM_PARAMETERS, 1000.0),
        row(Quantity.TOP, top, hessian),
        row(Quantity.BOTTOM, bottom * top, hessian),
        row(Quantity.TOP, 2 * top, ggn),
        row(Quantity.TRACE, 9 * top, ggn),
        row(Quantity.NOISE, 4 * top**2, hessian),
        row(Quantity.TOP_VARIANCE, 30 * top**2, hessian),
        row(Quantity.TOP_VARIANCE, 120 * top**2, ggn),
        row(Quantity.NOISE_SCALE, 30.0),
        row(Quantity.PRECONDITIONED_TOP, 100 * top, hessian, optimizer="adam", batch_size=64.0),
        row(Quantity.PRECONDITIONED_TOP, 10 * top, hessian, optimizer="adam", batch_size=8.0),
    ]
    for size in (1.0, 16.0, 256.0):
        rows.append(row(Quantity.BATCH_TOP, top * (1 + 30 / size), hessian, batch_size=size))
        rows.append(row(Quantity.BATCH_SHARPNESS, top * (1 + 9 / size), hessian, batch_size=size))
    return rows


def _spectra(point: str, seed: int) -> list[DensityRow]:
    step, top = POINTS[point], TOP[point]
    nodes = (-0.1 * top, 0.0, 0.2 * top, top)
    return [
        DensityRow(
            point,
            step,
            seed,
            Matrix.HESSIAN,
            tuple(float(node) * (1 if size is None else 1 + 4 / size) for node in nodes),
            tuple(float(w) for w in np.array([0.1, 0.8, 0.0999, 0.0001])),
            size,
        )
        for size in (1.0, 16.0, None)
    ]
