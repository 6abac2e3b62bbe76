"""Lanczos iteration with full re-orthogonalisation, on one matrix or on many at once.

Lanes run side by side: lane ``i`` builds the Krylov space of its own matrix and start, so one
iteration serves a single Hessian, the probes of a density and the Hessians of many mini-batches.
Vectors keep their precision; the small projected problems are solved in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

# Maps vectors of shape ``[num_lanes, size]`` to the same, each lane by its own matrix.
Operator: TypeAlias = Callable[[Tensor], Tensor]

# A remainder this small against the matrix is rounding: the Krylov space is complete. In units of
# the vectors' machine precision (guess; re-orthogonalised twice, rounding is a few units).
_BREAKDOWN = 50.0
# An end of the spectrum this small against the other one is as good as zero (guess).
_FLOOR = 0.01
# Steps before the first test for convergence: the small problem is solved at every step from here.
_MIN_STEPS = 3


@dataclass(frozen=True)
class Krylov:
    """An orthonormal basis ``Q`` of each lane's Krylov space, and its matrix seen in that basis.

    ``H Q = Q M + r e_kᵀ`` holds to rounding, since ``M`` keeps every overlap that was taken out,
    not only the three of Lanczos' recurrence. So residuals need no product of their own, and a
    matrix that is not symmetric after all shows in them.

    Attributes:
        basis: Shape ``[num_lanes, num_steps, size]``; rows are orthonormal, or zero once a lane's
            space is complete.
        projected: ``M``, shape ``[num_lanes, num_steps, num_steps]``, float64 on the CPU. Where a
            lane is complete its first diagonal entry is repeated, which adds no extremal value.
        remainder: ``‖r‖``, shape ``[num_lanes]``, float64 on the CPU.
    """

    basis: Tensor
    projected: Tensor
    remainder: Tensor

    def ritz(self) -> "Ritz":
        """Solve each lane's small problem."""
        symmetric = (self.projected + self.projected.transpose(1, 2)) / 2
        values, vectors = torch.linalg.eigh(symmetric)
        inside = self.projected @ vectors - vectors * values[:, None, :]
        outside = self.remainder[:, None] * vectors[:, -1, :]
        return Ritz(values, vectors, (inside.square().sum(1) + outside.square()).sqrt())


@dataclass(frozen=True)
class Ritz:
    """Approximate eigenpairs from a Krylov space; float64 on the CPU.

    Attributes:
        values: Shape ``[num_lanes, num_steps]``, ascending.
        vectors: Shape ``[num_lanes, num_steps, num_steps]``, in columns, coordinates in the basis.
        residuals: Shape ``[num_lanes, num_steps]``, ``‖Hu − θu‖``.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor

    def reached(self, rtol: float, ends: Sequence[int]) -> Tensor:
        """Tell of each lane whether its pairs at those places are within tolerance.

        Args:
            rtol: Relative to each value, but for values near zero: those are compared with a share
                of the largest.
            ends: Places among ``values``.

        Returns:
            Shape ``[num_lanes]``, of booleans.
        """
        sizes = self.values.abs()
        limits = rtol * sizes.maximum(_FLOOR * sizes.amax(1, keepdim=True))
        places = list(ends)
        return (self.residuals[:, places] <= limits[:, places]).all(1)


def draw_starts(num_lanes: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw starts uniform on the sphere, shape ``[num_lanes, size]``, the same on every device."""
    starts = torch.randn(num_lanes, like.shape[-1], generator=generator)
    starts = starts.to(device=like.device, dtype=like.dtype)
    return torch.nn.functional.normalize(starts, dim=1)


def build_krylov(
    apply: Operator,
    starts: Tensor,
    max_steps: int,
    enough: Callable[[Krylov], Tensor] | None = None,
) -> Krylov:
    """Run Lanczos on every lane, re-orthogonalising each vector twice against all earlier ones.

    Args:
        apply: The matrices.
        starts: Shape ``[num_lanes, size]``, unit rows.
        max_steps: Products for each lane, at least 1; no more than ``size`` are made.
        enough: Told the state after each step, says which lanes are done. Those rest, with vectors
            of zeros, which operators skip; their Ritz values stay as they are.

    Returns:
        Bases and projections of as many steps as were made.
    """
    num_lanes, size = starts.shape
    max_steps = min(max_steps, size)
    basis = torch.empty(num_lanes, max_steps, size, dtype=starts.dtype, device=starts.device)
    projected = torch.zeros(num_lanes, max_steps, max_steps, dtype=torch.float64)
    norm, vectors = torch.ones(num_lanes, dtype=torch.float64), starts
    for step in range(max_steps):
        basis[:, step] = vectors
        complete = norm == 0
        vectors, overlaps, norm = _extend(apply, basis[:, : step + 1])
        projected[:, : step + 1, step] = overlaps
        projected[complete, step, step] = projected[complete, 0, 0]
        seen = slice(None, step + 1)
        state = Krylov(basis[:, seen], projected[:, seen, seen], norm)
        if enough is not None and step >= _MIN_STEPS:
            done = enough(state)
            norm = norm.masked_fill(done, 0.0)
            vectors[done.to(vectors.device)] = 0
        if bool((norm == 0).all()):
            break
        if step + 1 < max_steps:
            projected[:, step + 1, step] = norm
    return state


def _extend(apply: Operator, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Multiply the last vectors and take the remainders orthogonal to the basis.

    Args:
        apply: The matrices.
        basis: Shape ``[num_lanes, num_steps, size]``.

    Returns:
        The next unit vectors (zero where nothing remains), the overlaps of the products with the
        basis, shape ``[num_lanes, num_steps]``, and the norms of the remainders; the last two
        float64 on the CPU.
    """
    remainder = apply(basis[:, -1])
    scale = remainder.norm(dim=1).double()
    busy = scale.nonzero()[:, 0].tolist()
    total = basis.new_zeros(basis.shape[:2], dtype=torch.float64)
    # Twice is enough (Kahan; Parlett 1980, § 6.9). In exact arithmetic only the last two vectors
    # overlap, so the first time they do, and reading the whole basis, which costs most, is spared.
    for part in (slice(-2, None), slice(None)):
        total[:, part] += _take_out(basis[:, part], remainder, busy)
    norm = remainder.norm(dim=1).double()
    rounding = _BREAKDOWN * torch.finfo(basis.dtype).eps * scale
    norm = torch.where(norm <= rounding, 0.0, norm)
    inverse = torch.where(norm > 0, 1 / norm, 0.0).to(remainder)
    return remainder * inverse[:, None], total.cpu(), norm.cpu()


def _take_out(basis: Tensor, vectors: Tensor, busy: Sequence[int]) -> Tensor:
    """Make each lane's vector orthogonal to its basis, in place, and return the overlaps.

    Lane by lane: torch's batched product with single vectors is 4 times slower on a CPU (measured,
    64 lanes of 26,122 parameters), and a lane's basis may still be in cache when it is read again.

    Args:
        basis: Shape ``[num_lanes, num_steps, size]``.
        vectors: Shape ``[num_lanes, size]``.
        busy: The lanes whose vectors are not zero; the others overlap with nothing.

    Returns:
        Shape ``[num_lanes, num_steps]``.
    """
    overlaps = basis.new_zeros(basis.shape[:2])
    for lane in busy:
        some, vector = basis[lane], vectors[lane]
        overlaps[lane] = torch.mv(some, vector)
        vector.addmv_(some.T, overlaps[lane], alpha=-1)
    return overlaps
