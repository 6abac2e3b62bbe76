"""What the Hessians of mini-batches look like, as against that of all the data."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_sweep.curvature.density import SpectralDensity, estimate_density, join_densities
from scaling_sweep.curvature.estimates import Estimate
from scaling_sweep.curvature.lanczos import find_top_values
from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.curvature.operators import BatchOperator, lane_gradients, precondition
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.krylov import draw_starts


@dataclass(frozen=True)
class BatchSpectrum:
    """The largest eigenvalue of mini-batch Hessians or GGNs, ``E[λ₁(H_B)]``.

    Attributes:
        kind: Which matrix.
        batch_size: Examples in each mini-batch.
        num_batches: Mini-batches measured.
        top: Mean of the largest eigenvalues.
        spread: Standard deviation of the largest eigenvalues between mini-batches.
        largest: The largest of them all.
        worst_residual: Largest ``‖Hv − θv‖ / |θ|`` among the mini-batches.
        num_products: Products with a mini-batch's matrix.
    """

    kind: Curvature
    batch_size: int
    num_batches: int
    top: Estimate
    spread: float
    largest: float
    worst_residual: float
    num_products: int


@dataclass(frozen=True)
class BatchSharpness:
    """Curvature along a mini-batch's own gradient, ``E[gᵀ H_B g / ‖g‖²]`` (arXiv:2412.20553).

    Attributes:
        batch_size: Examples in each mini-batch.
        num_batches: Mini-batches measured.
        sharpness: The mean; mini-batches without a gradient count as 0.
    """

    batch_size: int
    num_batches: int
    sharpness: Estimate


def measure_batch_spectrum(
    objective: Objective,
    batches: Examples,
    generator: torch.Generator,
    kind: Curvature = Curvature.HESSIAN,
    rtol: float = 1e-3,
    max_products: int = 50,
    workspace: Workspace | None = None,
    diagonal: Tensor | None = None,
) -> BatchSpectrum:
    """Find the largest eigenvalue of every mini-batch's matrix, many at once.

    Args:
        objective: The point.
        batches: Shape ``[num_batches, batch_size, ...]``; see ``Population.draw``.
        generator: Draws the starts.
        kind: Which matrix.
        rtol: Wanted residual against each eigenvalue.
        max_products: Bound on products for each mini-batch.
        workspace: How much memory, the Krylov bases included.
        diagonal: Shape ``[size]``, positive: a preconditioner, see ``precondition``; none when
            None.

    Returns:
        Mean, spread and accuracy.
    """
    workspace = workspace or Workspace.of(objective, batches.select(torch.tensor(0)))
    values, residuals, num_products = [], [], 0
    for lanes in _groups(batches, workspace, max_products):
        starts = draw_starts(len(lanes), objective.vector, generator)
        plain = BatchOperator(objective, lanes, kind, workspace)
        operator = plain if diagonal is None else precondition(plain, diagonal)
        top = find_top_values(operator, starts, rtol, max_products)
        values.append(top.values)
        residuals.append(top.residuals)
        num_products += top.num_products
    tops = torch.cat(values)
    relative = torch.cat(residuals) / tops.abs().clamp_min(torch.finfo(tops.dtype).tiny)
    return BatchSpectrum(
        kind=kind,
        batch_size=batches.inputs.shape[1],
        num_batches=len(batches),
        top=Estimate.of(tops),
        spread=float(tops.std()) if len(tops) > 1 else 0.0,
        largest=float(tops.max()),
        worst_residual=float(relative.max()),
        num_products=num_products,
    )


def measure_batch_density(
    objective: Objective,
    batches: Examples,
    generator: torch.Generator,
    kind: Curvature = Curvature.HESSIAN,
    num_steps: int = 60,
    workspace: Workspace | None = None,
) -> SpectralDensity:
    """Estimate the mean spectral density of mini-batch matrices, one probe for each.

    Args:
        objective: The point.
        batches: Shape ``[num_batches, batch_size, ...]``.
        generator: Draws the probes.
        kind: Which matrix.
        num_steps: Lanczos steps of each.
        workspace: How much memory, the Krylov bases included.

    Returns:
        The density.
    """
    workspace = workspace or Workspace.of(objective, batches.select(torch.tensor(0)))
    densities = []
    for lanes in _groups(batches, workspace, num_steps):
        starts = draw_starts(len(lanes), objective.vector, generator)
        operator = BatchOperator(objective, lanes, kind, workspace)
        densities.append(estimate_density(operator, starts, num_steps))
    return join_densities(densities)


def measure_batch_sharpness(
    objective: Objective, batches: Examples, workspace: Workspace | None = None
) -> BatchSharpness:
    """Measure ``E[gᵀ H_B g / ‖g‖²]``, gradient and Hessian of the same mini-batch.

    Args:
        objective: The point.
        batches: Shape ``[num_batches, batch_size, ...]``.
        workspace: How much memory.

    Returns:
        The mean over mini-batches.
    """
    workspace = workspace or Workspace.of(objective, batches.select(torch.tensor(0)))
    values: list[Tensor] = []
    for lanes in _groups(batches, workspace, 1):
        gradients = torch.cat(list(lane_gradients(objective, lanes, workspace)))
        squares = gradients.double().square().sum(1)
        products = BatchOperator(objective, lanes, workspace=workspace)(gradients)
        bends = (gradients.double() * products.double()).sum(1)
        values.append(torch.where(squares > 0, bends / squares, 0.0).cpu())
    return BatchSharpness(batches.inputs.shape[1], len(batches), Estimate.of(torch.cat(values)))


def _groups(batches: Examples, workspace: Workspace, num_kept: int) -> Iterator[Examples]:
    """Yield as many mini-batches at once as fit with ``num_kept`` vectors for each."""
    num_examples = workspace.micro_batch(batches.inputs.shape[1])
    return batches.split(workspace.num_lanes(num_examples, num_kept))
