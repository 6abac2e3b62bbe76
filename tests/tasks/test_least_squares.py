"""Least squares: its risk, its samples, and the factor by which one step shrinks the weights."""

import pytest
import torch

from scaling_sweep.tasks.least_squares import least_squares


def test_the_risk_is_the_expected_loss() -> None:
    """Half the squared norm of the weights is the mean loss over many fresh samples."""
    task = least_squares(dim=5)
    weight = torch.randn(1, 5, generator=torch.Generator().manual_seed(1))
    inputs, targets = task.stream(torch.Generator().manual_seed(2), 400_000)
    sampled = task.loss(inputs @ weight.T, targets)

    # The loss of one sample is risk × χ²₁, of relative standard deviation √2; allow 4 errors.
    tolerance = 4 * (2 / 400_000) ** 0.5
    assert task.exact_loss({"weight": weight}).item() == pytest.approx(
        sampled.item(), rel=tolerance
    )


def test_samples_are_standard_normal_with_target_zero() -> None:
    """A stream draws as many independent inputs as it is asked for, and zeros to fit."""
    inputs, targets = least_squares(dim=4).stream(torch.Generator().manual_seed(0), 100_000)

    assert targets.shape == (100_000, 1)
    assert not targets.any()
    # Entries of a sample covariance have standard error √2/√n on the diagonal; allow 4.
    tolerance = 4 * (2 / 100_000) ** 0.5
    torch.testing.assert_close(inputs.T @ inputs / 100_000, torch.eye(4), rtol=0, atol=tolerance)
    assert inputs.mean(0).abs().max() < tolerance


@pytest.mark.parametrize(("batch_size", "lr"), [(1, 0.05), (4, 0.2), (16, 1.0)])
def test_one_step_contracts_as_the_formula_says(batch_size: int, lr: float) -> None:
    """The mean of ‖w‖² after a step of SGD is 1 − 2η + η²(B + d + 1)/B times that before."""
    dim, num_repeats = 8, 50_000
    task = least_squares(dim)
    inputs, _ = task.stream(torch.Generator().manual_seed(batch_size), num_repeats * batch_size)
    inputs = inputs.view(num_repeats, batch_size, dim).double()
    weight = torch.zeros(dim, dtype=torch.float64)
    weight[0] = 1.0

    outputs = inputs @ weight
    gradient = torch.einsum("rb,rbd->rd", outputs, inputs) / batch_size
    factors = (weight - lr * gradient).square().sum(1)

    expected = 1 - 2 * lr + lr**2 * (batch_size + dim + 1) / batch_size
    standard_error = factors.std().item() / num_repeats**0.5
    assert standard_error < 0.01 * expected
    assert factors.mean().item() == pytest.approx(expected, abs=4 * standard_error)


def test_the_gradient_of_the_loss_is_the_one_of_the_formula() -> None:
    """Autograd on the task's own loss gives xᵀ(xw)/B: the half is in the loss."""
    task = least_squares(dim=3)
    model = task.make_model()
    inputs, targets = task.stream(torch.Generator().manual_seed(0), 7)
    task.loss(model(inputs), targets).backward()

    expected = (inputs @ model.weight.T).T @ inputs / 7
    torch.testing.assert_close(model.weight.grad, expected.detach())


@pytest.mark.parametrize("dim", [0, -1, 2.0, True, "64"])
def test_an_impossible_dimension_is_refused(dim: object) -> None:
    """A dimension that is no number of weights says what was given."""
    with pytest.raises(ValueError, match=f"dim must be a whole number.*{dim!r}"):
        least_squares(dim)
