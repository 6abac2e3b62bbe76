"""Hessian noise and batch spectra against exact values on small data."""

import pytest
import torch
from torch import Tensor

from scaling_sweep.curvature.batch_hessians import measure_batch_sharpness, measure_batch_spectrum
from scaling_sweep.curvature.estimates import Estimate, ratio_of_means
from scaling_sweep.curvature.noise import (
    estimate_traces,
    measure_direction_noise,
    measure_hessian_noise,
)
from scaling_sweep.curvature.objective import Curvature
from scaling_sweep.curvature.operators import DataOperator
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.krylov import draw_starts
from tests.curvature.cases import Case, generator, mlp

SMALL = (4, 6, 3)  # 51 parameters
TIGHT = Workspace(60_000, 51 * 8 * 6, 500)


@pytest.fixture(scope="module")
def case() -> Case:
    """Return a perceptron whose example Hessians fit into memory."""
    return mlp(SMALL)


@pytest.fixture(scope="module")
def hessians(case: Case) -> Tensor:
    """Return every example's Hessian."""
    return case.example_hessians()


def within(estimate: Estimate, known: float, errors: float = 4) -> bool:
    """Tell whether an estimate is within some of its own standard errors of the truth."""
    return abs(estimate.value - known) <= errors * estimate.stderr


def test_traces_agree_with_the_dense_hessian(case: Case) -> None:
    """Hutchinson's sums are within their standard errors of the dense ones."""
    dense = case.dense_hessian()
    operator = DataOperator(case.objective(), case.examples)

    traces = estimate_traces(operator, case.objective().vector, 200, generator())

    assert within(traces.trace, float(dense.trace()))
    assert within(traces.square, float(dense.square().sum()))
    assert traces.trace.stderr < 0.1 * abs(float(dense.trace()))


@pytest.mark.parametrize(("batch_size", "replacement"), [(1, True), (5, True), (10, False)])
def test_hessian_noise_is_that_of_one_example(
    case: Case, hessians: Tensor, batch_size: int, replacement: bool
) -> None:
    """Whatever the batch size and the sampling, the noise is ``mean ‖H_i − H‖²_F / P``."""
    spread = (hessians - hessians.mean(0)).square().sum((1, 2)).mean()
    known = float(spread) / hessians.shape[1]
    population = Population(case.examples, replacement=replacement)

    found = measure_hessian_noise(
        case.objective(), population, generator(), batch_size, 40, 40, workspace=TIGHT
    )

    assert within(found.noise, known)
    assert found.noise.stderr < 0.15 * known
    if batch_size == 1:
        assert within(found.mean_square, float(hessians.square().sum((1, 2)).mean()))


def test_direction_noise_is_exact_on_all_examples(case: Case, hessians: Tensor) -> None:
    """Along any direction mean and variance are those of the dense example Hessians."""
    objective = case.objective()
    direction = draw_starts(1, objective.vector, generator())[0]
    bends = torch.einsum("p,npq,q->n", direction, hessians, direction)

    found = measure_direction_noise(
        objective, Population(case.examples).singles(), direction, workspace=TIGHT
    )

    assert found.mean.value == pytest.approx(float(bends.mean()))
    assert found.variance.value == pytest.approx(float(bends.var(correction=0)))
    squares = (hessians @ direction).square().sum(1)
    assert found.product_square.value == pytest.approx(float(squares.mean()))


def test_direction_noise_of_batches_is_corrected_for_finite_data(case: Case) -> None:
    """Batches without replacement vary by (N − B)/(N − 1) less, and the variance says so."""
    objective = case.objective()
    direction = draw_starts(1, objective.vector, generator())[0]
    population = Population(case.examples, replacement=False)
    exact = measure_direction_noise(objective, population.singles(), direction).variance.value
    batches = population.draw(400, 25, generator())

    found = measure_direction_noise(
        objective, batches, direction, variance_factor=population.variance_factor(25)
    )
    uncorrected = measure_direction_noise(objective, batches, direction)

    assert within(found.variance, exact)
    assert not within(uncorrected.variance, exact)


def test_batch_spectra_agree_with_dense_ones(case: Case) -> None:
    """Mean and spread of the largest eigenvalue are those of dense mini-batch Hessians."""
    objective = case.objective()
    batches = Population(case.examples).draw(20, 6, generator())
    known = torch.stack(
        [
            torch.linalg.eigvalsh(case.dense_hessian(Examples(x, y)))[-1]
            for x, y in zip(batches.inputs, batches.targets, strict=True)
        ]
    )

    found = measure_batch_spectrum(
        objective, batches, generator(), rtol=1e-4, max_products=50, workspace=TIGHT
    )

    assert found.top.value == pytest.approx(float(known.mean()), rel=1e-6)
    assert found.spread == pytest.approx(float(known.std()), rel=1e-5)
    assert found.top.stderr == pytest.approx(found.spread / 20**0.5)
    assert found.worst_residual <= 1e-3


def test_small_batches_are_sharper(case: Case) -> None:
    """Jensen: the largest eigenvalue of a part exceeds that of the whole on average."""
    objective, population = case.objective(), Population(case.examples)
    whole = torch.linalg.eigvalsh(case.dense_ggn())[-1]

    tops = [
        measure_batch_spectrum(
            objective, population.draw(32, size, generator()), generator(), Curvature.GGN
        ).top.value
        for size in (1, 4, 16)
    ]

    assert tops[0] > tops[1] > tops[2] > float(whole)


def test_batch_sharpness_is_the_curvature_along_the_gradient(case: Case) -> None:
    """``gᵀ H_B g / ‖g‖²`` from dense Hessians and plain gradients."""
    batches = Population(case.examples).draw(9, 4, generator())
    known = []
    for inputs, targets in zip(batches.inputs, batches.targets, strict=True):
        lane = Case(case.model, case.loss, Examples(inputs, targets))
        gradient = lane.example_gradients().mean(0)
        known.append(gradient @ lane.dense_hessian() @ gradient / gradient.square().sum())

    found = measure_batch_sharpness(case.objective(), batches, TIGHT)

    expected = Estimate.of(torch.stack(known))
    assert found.sharpness.value == pytest.approx(expected.value)
    assert found.sharpness.stderr == pytest.approx(expected.stderr)


def test_one_batch_has_no_spread(case: Case) -> None:
    """Noise from a single mini-batch is refused."""
    with pytest.raises(ValueError, match="at least 2 batches"):
        measure_hessian_noise(
            case.objective(), Population(case.examples), generator(), num_batches=1
        )


def test_a_ratio_covers_the_truth_as_often_as_it_says() -> None:
    """The delta method's 95 % interval of a ratio of means holds in about 95 % of repeats."""
    source = generator()

    def covers() -> bool:
        below = 2 + torch.randn(200, generator=source)
        above = 3 * below + torch.randn(200, generator=source)
        return within(ratio_of_means(above, below), 3.0, errors=1.96)

    coverage = sum(covers() for _ in range(1000)) / 1000

    # Binomial standard error at 1,000 repeats is 0.007; allow four of them.
    assert coverage == pytest.approx(0.95, abs=0.028)
