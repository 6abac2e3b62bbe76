"""Lanczos iteration with full re-orthogonalisation, on one matrix or on many at once.

Lanes run side by side: lane ``i`` builds the Krylov space of its own matrix and start, so one
iteration serves a single Hessian, the probes of a density and the Hessians of many mini-batches.
Vectors keep their precision; the small projected problems are solved in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from scaling_sweep.curvature.operators import Operator

# A remainder this small against the matrix is rounding: the Krylov space is complete. In units of
# the vectors' machine precision (guess; re-orthogonalised twice, rounding is a few units).
_BREAKDOWN = 50.0
# Steps before the first test for convergence: the small problem is solved at every step from here.
_MIN_STEPS = 3


class Convergence(StrEnum):
    """How an iteration ended."""

    REACHED = "every residual is below its tolerance"
    EXHAUSTED = "products ran out first; the residuals say how far the values may be off"


@dataclass(frozen=True)
class Krylov:
    """An orthonormal basis of each lane's Krylov space, and its matrix seen in that basis.

    Attributes:
        basis: Shape ``[num_lanes, num_steps, size]``; rows are orthonormal, or zero once a lane's
            space is complete.
        diagonal: Shape ``[num_lanes, num_steps]``, float64 on the CPU. Where a lane is complete
            its first entry is repeated, which adds no extremal value.
        off_diagonal: Shape ``[num_lanes, num_steps]``, float64 on the CPU; the last is the norm of
            the remainder.
    """

    basis: Tensor
    diagonal: Tensor
    off_diagonal: Tensor

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues of each lane's tridiagonal matrix, ascending, and eigenvectors."""
        couplings = self.off_diagonal[:, :-1]
        small = torch.diag_embed(self.diagonal) + torch.diag_embed(couplings, offset=1)
        values, vectors = torch.linalg.eigh(small + torch.diag_embed(couplings, offset=-1))
        return values, vectors

    def residuals(self, vectors: Tensor) -> Tensor:
        """Return ``‖H u − θ u‖`` of every Ritz pair as the recurrence has it, ``β_k |s_k|``."""
        residuals: Tensor = self.off_diagonal[:, -1:] * vectors[:, -1, :].abs()
        return residuals


@dataclass(frozen=True)
class Eigenpair:
    """An approximate eigenvalue with its unit vector.

    Attributes:
        value: Rayleigh quotient ``θ = vᵀHv``.
        vector: Shape ``[size]``, of unit length.
        residual: ``‖Hv − θv‖`` from a product of its own; an eigenvalue lies within this distance
            of ``θ``, and usually within ``residual² / gap``.
    """

    value: float
    vector: Tensor
    residual: float


@dataclass(frozen=True)
class Extremes:
    """The two ends of a symmetric matrix's spectrum.

    Attributes:
        top: Largest eigenvalue, with sign.
        bottom: Smallest eigenvalue, with sign.
        num_products: Matrix-vector products used, the two that verify included.
        convergence: How the iteration ended.
    """

    top: Eigenpair
    bottom: Eigenpair
    num_products: int
    convergence: Convergence


@dataclass(frozen=True)
class TopValues:
    """The largest eigenvalues of many matrices.

    Attributes:
        values: Shape ``[num_lanes]``, float64, Rayleigh quotients.
        residuals: Shape ``[num_lanes]``, float64, ``‖Hv − θv‖`` from products of their own.
        num_products: Products used, lanes counted singly.
        convergence: How the iteration ended, for the worst lane.
    """

    values: Tensor
    residuals: Tensor
    num_products: int
    convergence: Convergence


def draw_starts(num_lanes: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw starts uniform on the sphere, shape ``[num_lanes, size]``, the same on every device."""
    starts = torch.randn(num_lanes, like.shape[-1], generator=generator)
    starts = starts.to(device=like.device, dtype=like.dtype)
    return torch.nn.functional.normalize(starts, dim=1)


def build_krylov(
    apply: Operator,
    starts: Tensor,
    max_steps: int,
    enough: Callable[[Krylov], bool] | None = None,
) -> Krylov:
    """Run Lanczos on every lane, re-orthogonalising each vector twice against all earlier ones.

    Args:
        apply: The matrices.
        starts: Shape ``[num_lanes, size]``, unit rows.
        max_steps: Products for each lane, at least 1; no more than ``size`` are made.
        enough: Told the state after each step; stops when it says so.

    Returns:
        Bases and projections of as many steps as were made.
    """
    num_lanes, size = starts.shape
    max_steps = min(max_steps, size)
    basis = torch.empty(num_lanes, max_steps, size, dtype=starts.dtype, device=starts.device)
    numbers = torch.zeros(2, num_lanes, max_steps, dtype=torch.float64)
    vectors = starts
    for step in range(max_steps):
        basis[:, step] = vectors
        vectors, diagonal, norm = _extend(apply, basis[:, : step + 1])
        if step > 0:
            complete = numbers[1, :, step - 1] == 0
            diagonal = torch.where(complete, numbers[0, :, 0], diagonal)
        numbers[0, :, step], numbers[1, :, step] = diagonal, norm
        state = Krylov(basis[:, : step + 1], numbers[0, :, : step + 1], numbers[1, :, : step + 1])
        if bool((norm == 0).all()) or (enough is not None and step >= _MIN_STEPS and enough(state)):
            break
    return state


def find_extremes(
    apply: Operator,
    start: Tensor,
    rtol: float = 1e-3,
    max_products: int = 100,
    *,
    top_only: bool = False,
) -> Extremes:
    """Find the largest and the smallest eigenvalue of one symmetric matrix.

    Lanczos stops when both residuals are at most ``rtol · max|θ|``. The error of a value is then at
    most that, and about its square over the gap: ``rtol = 1e-3`` gives six digits where the next
    eigenvalue is not close. No restarts, so the basis grows to ``max_products`` vectors.

    Args:
        apply: The matrix, as an operator whose lanes all share it.
        start: Shape ``[size]``; see ``draw_starts``.
        rtol: Wanted residual against the largest absolute Ritz value, positive; float32 products
            do not reach below 1e-6.
        max_products: Bound on products, at least 3.
        top_only: Whether to stop as soon as the largest eigenvalue is found, whatever the smallest.

    Returns:
        Both ends, with residuals from two products of their own.

    Raises:
        ValueError: If rtol or max_products is out of range.

    Example:
        >>> matrix = torch.diag(torch.arange(10.0, dtype=torch.float64))
        >>> start = torch.full((10,), 10**-0.5, dtype=torch.float64)
        >>> ends = find_extremes(lambda vectors: vectors @ matrix, start)
        >>> round(ends.bottom.value, 6) + 0.0, round(ends.top.value, 6)
        (0.0, 9.0)
    """
    _check(rtol, max_products)

    def enough(state: Krylov) -> bool:
        values, vectors = state.ritz()
        residuals = state.residuals(vectors)[0, [-1] if top_only else [0, -1]]
        return bool((residuals <= rtol * values.abs().max()).all())

    state = build_krylov(apply, start[None], max_products - 2, enough)
    _, vectors = state.ritz()
    ends = vectors[0][:, [0, -1]].T.to(start)
    pairs = ends @ state.basis[0]
    products = apply(pairs)
    bottom, top = (_pair(vector, product) for vector, product in zip(pairs, products, strict=True))
    num_products = state.basis.shape[1] + 2
    return Extremes(top, bottom, num_products, _outcome(enough(state)))


def find_top_values(
    apply: Operator, starts: Tensor, rtol: float = 1e-2, max_products: int = 30
) -> TopValues:
    """Find the largest eigenvalue of every lane's matrix.

    Args:
        apply: The matrices, one for each lane.
        starts: Shape ``[num_lanes, size]``; see ``draw_starts``.
        rtol: Wanted residual against each lane's largest absolute Ritz value. A hundredth leaves an
            error of about 1e-4, far below the spread between mini-batches.
        max_products: Bound on products for each lane, at least 3.

    Returns:
        One value for each lane, with residuals from a product of their own.

    Raises:
        ValueError: If rtol or max_products is out of range.

    Example:
        >>> scales = torch.tensor([[1.0], [3.0]])
        >>> spectrum = torch.arange(1.0, 6.0)
        >>> starts = torch.full((2, 5), 5**-0.5)
        >>> top = find_top_values(lambda vectors: scales * spectrum * vectors, starts)
        >>> [round(value, 3) for value in top.values.tolist()]
        [5.0, 15.0]
    """
    _check(rtol, max_products)

    def enough(state: Krylov) -> bool:
        values, vectors = state.ritz()
        limits = rtol * values.abs().amax(1)
        return bool((state.residuals(vectors)[:, -1] <= limits).all())

    state = build_krylov(apply, starts, max_products - 1, enough)
    tops = state.ritz()[1][:, :, -1].to(starts)
    vectors = torch.einsum("lk,lkp->lp", tops, state.basis)
    products = apply(vectors)
    values = _dot(vectors, products)
    residuals = (products - values.to(products)[:, None] * vectors).norm(dim=1).double().cpu()
    num_products = len(starts) * (state.basis.shape[1] + 1)
    return TopValues(values.cpu(), residuals, num_products, _outcome(enough(state)))


def _extend(apply: Operator, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Multiply the last vectors and take the remainders orthogonal to the basis.

    Args:
        apply: The matrices.
        basis: Shape ``[num_lanes, num_steps, size]``.

    Returns:
        The next unit vectors (zero where nothing remains), the projections on the last ones, and
        the norms of the remainders; the last two float64 on the CPU.
    """
    remainder = apply(basis[:, -1])
    scale = remainder.norm(dim=1).double()
    diagonal = torch.zeros_like(scale)
    for _ in range(2):  # "twice is enough" (Kahan; Parlett 1980, § 6.9)
        overlaps = torch.einsum("lkp,lp->lk", basis, remainder)
        remainder -= torch.einsum("lk,lkp->lp", overlaps, basis)
        diagonal += overlaps[:, -1].double()
    norm = remainder.norm(dim=1).double()
    rounding = _BREAKDOWN * torch.finfo(basis.dtype).eps * scale
    norm = torch.where(norm <= rounding, 0.0, norm)
    inverse = torch.where(norm > 0, 1 / norm, 0.0).to(remainder)
    return remainder * inverse[:, None], diagonal.cpu(), norm.cpu()


def _pair(vector: Tensor, product: Tensor) -> Eigenpair:
    value = float(vector.double() @ product.double())
    return Eigenpair(value, vector, float((product - value * vector).norm()))


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products of rows, float64."""
    return (left.double() * right.double()).sum(1)


def _outcome(reached: bool) -> Convergence:
    return Convergence.REACHED if reached else Convergence.EXHAUSTED


def _check(rtol: float, max_products: int) -> None:
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must be between 0 and 1, got {rtol}.")
    if max_products < _MIN_STEPS:
        raise ValueError(f"max_products must be at least {_MIN_STEPS}, got {max_products}.")
