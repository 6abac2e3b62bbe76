"""The gradient noise scale by three ways that must agree."""

import math

import pytest
import torch
from torch import Tensor

from scaling_sweep.curvature.gradient_noise import (
    NoiseMethod,
    exact_gradient_noise,
    sample_gradient_noise,
    two_batch_gradient_noise,
)
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.workspace import Examples, Workspace
from tests.curvature.cases import Case, generator, mlp

TIGHT = Workspace(20_000, 51 * 8 * 6, 500)


@pytest.fixture(scope="module")
def case() -> Case:
    """Return a perceptron with a noise scale of a few examples."""
    return mlp((4, 6, 3))


@pytest.fixture(scope="module")
def gradients(case: Case) -> Tensor:
    """Return every example's gradient by plain autograd."""
    return case.example_gradients()


def test_the_exact_scale_is_that_of_all_gradients(case: Case, gradients: Tensor) -> None:
    """Trace and norm are those of the covariance and the mean of all gradients."""
    trace = float(torch.cov(gradients.T, correction=0).trace())
    square = float(gradients.mean(0).square().sum())

    found = exact_gradient_noise(case.objective(), Population(case.examples), TIGHT)

    assert found.method is NoiseMethod.EXACT
    assert found.trace.value == pytest.approx(trace)
    assert found.square_norm.value == pytest.approx(square)
    assert found.scale.value == pytest.approx(trace / square)
    assert found.scale.stderr == 0


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_sample_estimator_is_unbiased(case: Case, batch_size: int) -> None:
    """Averaged over repeats, the estimates from a few examples are the exact values."""
    objective, population = case.objective(), Population(case.examples)
    exact = exact_gradient_noise(objective, population)
    source = generator()

    found = [
        sample_gradient_noise(objective, population.draw(10, batch_size, source))
        for _ in range(150)
    ]

    for name in ("trace", "square_norm"):
        values = torch.tensor([getattr(one, name).value for one in found])
        stderr = float(values.std()) / math.sqrt(len(values))
        assert abs(float(values.mean()) - getattr(exact, name).value) <= 4 * stderr
        # The errors that each run states are those that repeats show.
        stated = torch.tensor([getattr(one, name).stderr for one in found]).mean()
        assert float(stated) == pytest.approx(float(values.std()), rel=0.35)


@pytest.mark.parametrize("replacement", [True, False])
def test_two_batches_come_within_five_per_cent(case: Case, replacement: bool) -> None:
    """At a frozen point the two-batch scale is the exact one to 5 %, with either sampling."""
    objective = case.objective()
    population = Population(case.examples, replacement=replacement)
    exact = exact_gradient_noise(objective, population)

    found = two_batch_gradient_noise(objective, population, generator(), (2, 40), 3000)

    assert found.scale.value == pytest.approx(exact.scale.value, rel=0.05)
    assert abs(found.scale.value - exact.scale.value) <= 4 * found.scale.stderr
    assert found.scale.stderr < 0.03 * exact.scale.value


def test_without_the_correction_the_two_batch_scale_is_wrong(case: Case) -> None:
    """Counting batches without replacement as independent draws misjudges the noise."""
    objective = case.objective()
    population = Population(case.examples, replacement=False)
    exact = exact_gradient_noise(objective, population)
    norms = []
    for size in (2, 40):
        batches = population.draw(3000, size, generator())
        grads = torch.stack([b.mean(0) for b in _gradients(case, batches)])
        norms.append(float(grads.square().sum(1).mean()))

    naive_trace = (norms[0] - norms[1]) / (1 / 2 - 1 / 40)
    naive_square = (40 * norms[1] - 2 * norms[0]) / 38

    assert naive_trace / naive_square > 1.15 * exact.scale.value


def _gradients(case: Case, batches: Examples) -> Tensor:
    """Look the gradients of batches up by their examples, shape ``[num, batch_size, size]``."""
    known = case.example_gradients()
    where = (batches.inputs[:, :, None] == case.examples.inputs).all(-1).int().argmax(-1)
    return known[where]


def test_all_the_data_without_replacement_have_no_noise(case: Case) -> None:
    """A large batch of the whole data is the exact gradient; the correction then is infinite."""
    objective = case.objective()
    population = Population(case.examples, replacement=False)

    found = two_batch_gradient_noise(objective, population, generator(), (1, 50), 2000)

    exact = exact_gradient_noise(objective, population)
    assert found.square_norm.value == pytest.approx(exact.square_norm.value)
    assert found.square_norm.stderr == pytest.approx(0, abs=1e-12)


def test_a_gradient_lost_in_noise_gives_an_infinite_scale() -> None:
    """At a minimum, where |G|² is not told from 0, the scale says so instead of a large number."""
    case = mlp((4, 6, 3))
    objective = case.objective()
    first = case.examples.select(torch.zeros(2, 1, dtype=torch.int64))
    flipped = Examples(first.inputs, first.targets.clone())
    flipped.targets[1] = (flipped.targets[1] + 1) % 3

    found = sample_gradient_noise(objective, flipped)

    assert found.scale.value == math.inf or found.square_norm.value > 0


def test_impossible_requests_are_refused(case: Case) -> None:
    """Sizes that do not differ, single draws and batches beyond the data are named."""
    objective = case.objective()
    population = Population(case.examples, replacement=False)
    with pytest.raises(ValueError, match="a small and a larger size"):
        two_batch_gradient_noise(objective, population, generator(), (8, 8))
    with pytest.raises(ValueError, match="at least 2 pairs"):
        two_batch_gradient_noise(objective, population, generator(), num_pairs=1)
    with pytest.raises(ValueError, match="at least 2 batches"):
        sample_gradient_noise(objective, population.draw(1, 1, generator()))
    with pytest.raises(ValueError, match="needs as many examples"):
        population.draw(1, 51, generator())
