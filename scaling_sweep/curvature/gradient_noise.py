"""The gradient noise scale ``B_simple = tr Σ / |G|²`` (McCandlish et al. 2018, arXiv:1812.06162).

``G`` is the gradient over all the data and ``Σ`` the covariance of single-example gradients, both
at one frozen point. Three ways to it: exactly from every example, from a sample of examples, and
from pairs of batches of two sizes, which needs no single-example gradients.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from scaling_sweep.curvature.estimates import Estimate, ratio_of_means
from scaling_sweep.curvature.objective import Objective
from scaling_sweep.curvature.operators import lane_derivatives, lane_gradients
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.workspace import Examples, Workspace


class NoiseMethod(StrEnum):
    """How a noise scale was found."""

    EXACT = "every example of the data"
    SAMPLE = "a random sample of examples"
    TWO_BATCH = "pairs of batches of two sizes"


@dataclass(frozen=True)
class GradientNoise:
    """How noisy gradients are at one point.

    Attributes:
        method: How it was found.
        trace: ``tr Σ``, in squared units of the gradient.
        square_norm: ``|G|²``, in the same units.
        scale: ``tr Σ / |G|²`` in examples, a ratio of averages; infinite where ``|G|²`` is not
            told from 0.
        num_examples: Single-example gradients that went in.
    """

    method: NoiseMethod
    trace: Estimate
    square_norm: Estimate
    scale: Estimate
    num_examples: int


def exact_gradient_noise(
    objective: Objective, population: Population, workspace: Workspace | None = None
) -> GradientNoise:
    """Compute the noise scale from the gradients of all examples.

    ``tr Σ = mean ‖g_i‖² − ‖G‖²``, the variance of the finite data itself.

    Args:
        objective: The point.
        population: Finite data.
        workspace: How much memory.

    Returns:
        The exact numbers; exact for the examples at hand, where those stand for a larger set.
    """
    workspace = workspace or Workspace.of(objective, population.examples)
    singles = population.singles()
    squares, mean = _moments(objective, singles, workspace)
    square_norm = float(mean.double().square().sum())
    trace = float(squares.mean()) - square_norm
    scale = trace / square_norm if square_norm > 0 else math.inf
    return GradientNoise(
        NoiseMethod.EXACT,
        Estimate.exact(trace),
        Estimate.exact(square_norm),
        Estimate.exact(scale),
        len(singles),
    )


def sample_gradient_noise(
    objective: Objective,
    batches: Examples,
    workspace: Workspace | None = None,
    variance_factor: float = 1.0,
) -> GradientNoise:
    """Estimate the noise scale from independent mini-batches, of one example each as a rule.

    With ``n`` gradients of ``s`` examples and their mean ``ḡ``, unbiased are
    ``S = n/(n − 1) (mean ‖g_i‖² − ‖ḡ‖²)`` for ``tr Σ / s`` and ``‖ḡ‖² − S/n`` for ``|G|²``.
    Standard errors are the delta method's; the slopes ``ḡᵀg_i`` that it needs come in forward mode.

    Args:
        objective: The point.
        batches: Shape ``[num_batches, batch_size, ...]``, at least 2.
        workspace: How much memory.
        variance_factor: The finite-population correction of a batch.

    Returns:
        The noise of one example.

    Raises:
        ValueError: If fewer than two mini-batches are given.
    """
    num = len(batches)
    if num < 2:
        raise ValueError(f"A spread needs at least 2 batches, got {num}.")
    workspace = workspace or Workspace.of(objective, batches.select(torch.tensor(0)))
    per_example = batches.inputs.shape[1] / variance_factor
    squares, mean = _moments(objective, batches, workspace)
    slopes = lane_derivatives(objective, objective.slope, batches, mean, workspace)
    norm = float(mean.double().square().sum())
    # Influence of each gradient on ‖g − ḡ‖² and on ‖ḡ‖²; their means are the biased estimates.
    spreads = (squares - 2 * slopes + norm) * num / (num - 1)
    norms = 2 * slopes - norm - spreads / num
    return GradientNoise(
        NoiseMethod.SAMPLE,
        Estimate.of(spreads).scaled(per_example),
        Estimate.of(norms),
        ratio_of_means(spreads, norms).scaled(per_example),
        num * batches.inputs.shape[1],
    )


def two_batch_gradient_noise(
    objective: Objective,
    population: Population,
    generator: torch.Generator,
    batch_sizes: tuple[int, int] = (1, 64),
    num_pairs: int = 64,
    workspace: Workspace | None = None,
) -> GradientNoise:
    """Estimate the noise scale from gradients of small and large batches.

    ``E|G_B|² = |G|² + tr Σ / b`` with ``b = B``, or ``b = B (N − 1)/(N − B)`` without replacement
    (finite-population correction); two sizes solve for both unknowns:
    ``|G|² = (b₂|G₂|² − b₁|G₁|²)/(b₂ − b₁)``, ``tr Σ = (|G₁|² − |G₂|²)/(1/b₁ − 1/b₂)``.

    Args:
        objective: The point.
        population: Where batches come from.
        generator: Draws them.
        batch_sizes: The small and the large size.
        num_pairs: Pairs of independent batches, at least 2.
        workspace: How much memory.

    Returns:
        Averages over pairs, and their ratio.

    Raises:
        ValueError: If the sizes do not differ, or fewer than two pairs are asked for.
    """
    small, large = batch_sizes
    if not 1 <= small < large:
        raise ValueError(f"batch_sizes must be a small and a larger size, got {batch_sizes}.")
    if num_pairs < 2:
        raise ValueError(f"A standard error needs at least 2 pairs, got {num_pairs}.")
    workspace = workspace or Workspace.of(objective, population.examples)
    norms = []
    for batch_size in batch_sizes:
        batches = population.draw(num_pairs, batch_size, generator)
        norms.append(_moments(objective, batches, workspace)[0])
    # Inverses, because the whole data without replacement are a batch of infinite size.
    inverse = [population.variance_factor(size) / size for size in batch_sizes]
    gap = inverse[0] - inverse[1]
    traces = (norms[0] - norms[1]) / gap
    squares = (norms[1] * inverse[0] - norms[0] * inverse[1]) / gap
    return GradientNoise(
        NoiseMethod.TWO_BATCH,
        Estimate.of(traces),
        Estimate.of(squares),
        ratio_of_means(traces, squares),
        num_pairs * (small + large),
    )


def _moments(
    objective: Objective, batches: Examples, workspace: Workspace
) -> tuple[Tensor, Tensor]:
    """Return each mini-batch's ``‖g‖²``, float64 on the CPU, and the mean gradient."""
    total = torch.zeros_like(objective.vector, dtype=torch.float64)
    squares = []
    for gradients in lane_gradients(objective, batches, workspace):
        squares.append(gradients.square().sum(1, dtype=torch.float64).cpu())
        total += gradients.sum(0, dtype=torch.float64)
    return torch.cat(squares), (total / len(batches)).to(objective.vector)
