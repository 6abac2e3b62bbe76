"""Least squares on fresh Gaussian inputs: the task whose edge is known exactly."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scaling_sweep.tasks.task import Batch, Task


def least_squares(dim: int = 64) -> Task:
    """Build ``y = 0`` regression on ``x ~ N(0, I_dim)``, judged by its exact population risk.

    The loss is ``½ mean (wᵀx)²``, the risk ``½ ‖w‖²``. Under SGD on fresh samples
    ``E‖w‖²`` is multiplied by ``1 − 2η + η² (B + dim + 1) / B`` at each step, so the
    mean-square edge is ``η = 2 B / (B + dim + 1)``: a saturating law with exponent 1,
    ``η∞ = 2`` and ``B* = dim + 1``. A single run follows the almost-sure limit instead, which
    is close to it only in many dimensions: keep ``dim ≥ 32``.

    Args:
        dim: Number of weights, at least 1.

    Returns:
        The task, with a stream for its data.

    Raises:
        ValueError: If dim is not a positive whole number.

    Example:
        >>> least_squares(dim=64).exact_loss({"weight": torch.ones(1, 64)})
        tensor(32.)
    """
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
        raise ValueError(f"dim must be a whole number, at least 1; got {dim!r}.")

    def draw(generator: torch.Generator, batch_size: int) -> Batch:
        inputs = torch.randn(batch_size, dim, generator=generator)
        return inputs, torch.zeros(batch_size, 1)

    return Task(
        name="least_squares",
        description="Linear regression on fresh Gaussian inputs; edge known: 2B/(B + dim + 1).",
        make_model=lambda: nn.Linear(dim, 1, bias=False),
        loss=_half_mean_square,
        stream=draw,
        exact_loss=_population_risk,
    )


def _half_mean_square(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().mean()


def _population_risk(parameters: Mapping[str, Tensor]) -> Tensor:
    return 0.5 * parameters["weight"].square().sum()
