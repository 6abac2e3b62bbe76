"""A measurement that runs out of time: what it keeps, what it says, and in which order."""

import dataclasses
import itertools

import pytest
import torch

from scaling_sweep.curvature import site
from scaling_sweep.curvature.budget import Budget, OutOfTime
from scaling_sweep.curvature.lanczos import Convergence, find_extremes
from scaling_sweep.curvature.measure import measure_curvature
from scaling_sweep.curvature.measurement import CurvatureMeasurement
from scaling_sweep.curvature.objective import Curvature
from scaling_sweep.training.copies import Point
from tests.curvature.cases import generator, mlp
from tests.curvature.test_measure import SMALL, plain


def measure(num_checks: int, monkeypatch: pytest.MonkeyPatch) -> CurvatureMeasurement:
    """Measure a small case with a clock that ticks once at every look at it."""

    def budget(max_seconds: float | None) -> Budget:
        ticks = itertools.count()
        return Budget(max_seconds, lambda: float(next(ticks)))

    monkeypatch.setattr(site, "Budget", budget)
    case = mlp((4, 6, 3))
    options = dataclasses.replace(SMALL, max_seconds=float(num_checks))
    return measure_curvature(case.task(), Point.of(case.model), options)


def test_time_is_counted_from_the_beginning() -> None:
    """A budget passes while its clock is short of it, and never afterwards."""
    seconds = iter((10.0, 11.0, 11.9, 12.0))
    budget = Budget(2.0, lambda: next(seconds))

    budget.check()
    budget.check()
    with pytest.raises(OutOfTime):
        budget.check()
    Budget().check()


def test_without_time_only_the_loss_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """No product is made, everything is named as left out, and nothing fails."""
    found = measure(0, monkeypatch)

    assert found.loss > 0
    assert found.matrix(Curvature.HESSIAN).ends is None
    assert found.gradient_noise is None
    assert "gradient" in found.left_out
    assert "ends of the spectrum of the Hessian" in found.left_out
    assert f"densities of batches of the {Curvature.GGN}" in found.left_out


def test_what_is_kept_is_what_an_unbounded_measurement_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numbers do not depend on the budget; a longer one leaves out less, the coarse parts first."""
    whole = measure(10**9, monkeypatch)
    short, longer = measure(60, monkeypatch), measure(200, monkeypatch)

    assert whole.left_out == ()
    assert 0 < len(longer.left_out) < len(short.left_out)
    ends = [found.matrix(Curvature.HESSIAN).ends for found in (short, whole)]
    assert plain(ends[0]) == plain(ends[1])
    assert plain(longer.gradient_noise) == plain(whole.gradient_noise)
    assert short.matrix(Curvature.HESSIAN).batch_densities == ()
    known = {spectrum.batch_size for spectrum in longer.matrix(Curvature.HESSIAN).batch_spectra}
    missing = {
        int(what.split("B = ")[1])
        for what in longer.left_out
        if "of batches of the H" in what and "B =" in what
    }
    assert not known & missing


def test_an_eigenvalue_cut_off_is_kept_with_its_residual() -> None:
    """Lanczos that runs out of time returns what it has: below the top, off by its residual."""
    matrix = torch.randn(60, 60, generator=generator(1), dtype=torch.float64)
    matrix = matrix + matrix.T
    exact = torch.linalg.eigvalsh(matrix)
    ticks = itertools.count()
    budget = Budget(9.0, lambda: float(next(ticks)))

    def apply(vectors: torch.Tensor) -> torch.Tensor:
        budget.check()
        return vectors @ matrix

    start = torch.ones(60, dtype=torch.float64) / 60**0.5
    ends = find_extremes(apply, start, 1e-6)

    assert ends.convergence is Convergence.EXHAUSTED
    assert ends.num_products == 8
    assert float((exact - ends.top.value).abs().min()) <= ends.top.residual
    assert ends.top.value < float(exact[-1])


def test_an_eigenvalue_that_did_not_settle_is_noted() -> None:
    """Too few products leave a residual, and the notes say whose and how large."""
    case = mlp((4, 6, 3))
    options = dataclasses.replace(SMALL, max_products=3, optimizers=())

    found = measure_curvature(case.task(), Point.of(case.model), options)

    assert any(
        note.startswith("largest eigenvalue of the Hessian: not settled, residual")
        for note in found.notes
    )
