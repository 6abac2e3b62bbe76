"""How much the Hessians of single examples differ, from random probes and along directions.

Everything is reported for one example; a batch of ``s`` drawn independently has ``1/s`` of it.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from scaling_sweep.curvature.estimates import Estimate
from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.curvature.operators import BatchOperator, lane_derivatives
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.krylov import Operator, draw_starts


@dataclass(frozen=True)
class HessianNoise:
    """The spread of example Hessians in random directions.

    Attributes:
        noise: ``P σ² = mean_i ‖H_i − H‖²_F / P``, the product that the spiked Wigner law asks for.
        mean_square: ``mean_i ‖H_i‖²_F`` of batches of ``batch_size`` examples.
        batch_size: Examples in each mini-batch that was multiplied.
        num_batches: Mini-batches for each probe.
        num_probes: Probes, each with mini-batches of its own.
    """

    noise: Estimate
    mean_square: Estimate
    batch_size: int
    num_batches: int
    num_probes: int


@dataclass(frozen=True)
class DirectionNoise:
    """The curvature of single examples along one direction, ``vᵀ H_i v``.

    Attributes:
        mean: Over examples; the top eigenvalue where ``v`` is its vector.
        variance: Between examples, ``mean (vᵀ H_i v − vᵀ H v)²``.
        product_square: Over examples, ``mean ‖H_i v‖²``.
        batch_size: Examples in each mini-batch that was measured.
        num_batches: Mini-batches measured.
    """

    mean: Estimate
    variance: Estimate
    product_square: Estimate
    batch_size: int
    num_batches: int


@dataclass(frozen=True)
class Traces:
    """Two sums over all eigenvalues.

    Attributes:
        trace: ``Σ λ``.
        square: ``Σ λ² = ‖H‖²_F``.
        num_probes: Products used.
    """

    trace: Estimate
    square: Estimate
    num_probes: int


def estimate_traces(
    apply: Operator, like: Tensor, num_probes: int, generator: torch.Generator
) -> Traces:
    """Estimate trace and squared Frobenius norm (Hutchinson 1990).

    With signs ``z``, ``E[zᵀHz] = tr H`` and ``E‖Hz‖² = ‖H‖²_F``. The trace of a diagonal matrix
    comes out exactly.

    Args:
        apply: The matrix, shared by all lanes.
        like: A vector of the wanted size, precision and device.
        num_probes: Products; at least 2 for a standard error.
        generator: Draws the signs.

    Returns:
        Both sums.

    Example:
        >>> scales = torch.tensor([1.0, 2.0, 3.0])
        >>> traces = estimate_traces(lambda v: v * scales, scales, 4, torch.Generator())
        >>> traces.trace, traces.square
        (Estimate(value=6.0, stderr=0.0), Estimate(value=14.0, stderr=0.0))
    """
    traces, squares = [], []
    for _ in range(num_probes):
        signs = torch.randint(2, (1, len(like)), generator=generator)
        probe = (2 * signs - 1).to(like)
        product = apply(probe).double()
        traces.append((probe.double() * product).sum())
        squares.append(product.square().sum())
    trace, square = torch.stack(traces).cpu(), torch.stack(squares).cpu()
    return Traces(Estimate.of(trace), Estimate.of(square), num_probes)


def measure_hessian_noise(
    objective: Objective,
    population: Population,
    generator: torch.Generator,
    batch_size: int = 1,
    num_batches: int = 64,
    num_probes: int = 8,
    kind: Curvature = Curvature.HESSIAN,
    workspace: Workspace | None = None,
) -> HessianNoise:
    """Estimate the Hessian noise from products with random unit vectors.

    For ``z`` uniform on the sphere and ``h_i = H_i z``, the mean over ``n`` mini-batches of ``s``
    examples, ``n/(n − 1) (mean ‖h_i‖² − ‖mean h_i‖²)``, estimates ``P σ² / s`` without bias. Each
    probe has mini-batches of its own, so that their spread gives the standard error.

    Args:
        objective: The point.
        population: Where mini-batches come from.
        generator: Draws probes and mini-batches.
        batch_size: Examples in each mini-batch; more than 1 only where one example alone has no
            loss, as with BatchNorm by batch.
        num_batches: Mini-batches for each probe, at least 2.
        num_probes: Probes, at least 2 for a standard error.
        kind: Which matrix.
        workspace: How much memory.

    Returns:
        The noise of one example.

    Raises:
        ValueError: If fewer than two mini-batches are asked for.
    """
    if num_batches < 2:
        raise ValueError(f"A spread needs at least 2 batches, got {num_batches}.")
    workspace = workspace or Workspace.of(objective, population.examples)
    factor = population.variance_factor(batch_size)
    noises, squares = [], []
    for _ in range(num_probes):
        probe = draw_starts(1, objective.vector, generator)
        batches = population.draw(num_batches, batch_size, generator)
        lanes, mean = _multiply_batches(objective, batches, probe, kind, workspace)
        square = float(lanes.mean())
        spread = num_batches / (num_batches - 1) * (square - mean)
        noises.append(spread * batch_size / factor)
        squares.append(square * objective.size)
    return HessianNoise(
        Estimate.of(torch.tensor(noises)),
        Estimate.of(torch.tensor(squares)),
        batch_size,
        num_batches,
        num_probes,
    )


def measure_direction_noise(
    objective: Objective,
    batches: Examples,
    direction: Tensor,
    kind: Curvature = Curvature.HESSIAN,
    workspace: Workspace | None = None,
    variance_factor: float = 1.0,
) -> DirectionNoise:
    """Measure the curvature of many mini-batches along one direction.

    Args:
        objective: The point.
        batches: Shape ``[num_batches, batch_size, ...]``; ``Population.singles`` for examples.
        direction: Shape ``[size]``, of unit length: the top eigenvector, say.
        kind: Which matrix.
        workspace: How much memory.
        variance_factor: The finite-population correction of ``batches``.

    Returns:
        Mean and variance of one example.
    """
    workspace = workspace or Workspace.of(objective, batches.select(torch.tensor(0)))
    batch_size = batches.inputs.shape[1]
    bend = partial(objective.bend, kind)
    bends = lane_derivatives(objective, bend, batches, direction, workspace)
    deviations = (bends - bends.mean()).square() * batch_size / variance_factor
    squares, mean = _multiply_batches(objective, batches, direction[None], kind, workspace)
    # A batch of s has the mean's square and 1/s of the spread about it.
    products = mean + (squares - mean) * batch_size / variance_factor
    return DirectionNoise(
        Estimate.of(bends),
        Estimate.of(deviations),
        Estimate.of(products),
        batch_size,
        len(batches),
    )


def _multiply_batches(
    objective: Objective, batches: Examples, probe: Tensor, kind: Curvature, workspace: Workspace
) -> tuple[Tensor, float]:
    """Return each batch's ``‖h_i‖²``, float64 on the CPU, and ``‖mean h_i‖²`` for one probe."""
    squares = []
    total = torch.zeros_like(objective.vector, dtype=torch.float64)
    for lanes in batches.split(workspace.num_lanes(batches.inputs.shape[1], 2)):
        operator = BatchOperator(objective, lanes, kind, workspace)
        products = operator(probe.expand(len(lanes), -1)).double()
        squares.append(products.square().sum(1).cpu())
        total += products.sum(0)
    return torch.cat(squares), float((total / len(batches)).square().sum())
