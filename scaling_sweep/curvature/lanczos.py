"""Extremal eigenvalues by Lanczos' iteration, of one matrix or of many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from scaling_sweep.curvature.budget import OutOfTime
from scaling_sweep.krylov import Krylov, Operator, build_krylov

# Fewer products cannot tell whether a value has settled.
_MIN_PRODUCTS = 3


class Convergence(StrEnum):
    """How an iteration ended."""

    REACHED = "every residual is below its tolerance"
    EXHAUSTED = "products or time ran out first; the residuals say how far the values may be off"


@dataclass(frozen=True)
class Eigenpair:
    """An approximate eigenvalue with its unit vector.

    Attributes:
        value: Rayleigh quotient ``θ = vᵀHv``.
        vector: Shape ``[size]``, of unit length.
        residual: ``‖Hv − θv‖``, to rounding; an eigenvalue lies within this distance of ``θ``, and
            usually within ``residual² / gap``.
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
        num_products: Matrix-vector products used.
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
        residuals: Shape ``[num_lanes]``, float64, ``‖Hv − θv‖``, to rounding.
        num_products: Products used, lanes counted singly.
        convergence: How the iteration ended, for the worst lane.
    """

    values: Tensor
    residuals: Tensor
    num_products: int
    convergence: Convergence


def find_extremes(
    apply: Operator,
    start: Tensor,
    rtol: float = 1e-3,
    max_products: int = 100,
    *,
    top_only: bool = False,
) -> Extremes:
    """Find the largest and the smallest eigenvalue of one symmetric matrix.

    Lanczos stops when both residuals are at most ``rtol`` of their values. The error of a value is
    then about its residual's square over the gap: ``rtol = 1e-3`` gives six digits where the next
    eigenvalue is not close. No restarts, so the basis grows to ``max_products`` vectors. Where time
    runs out first, the values are those found so far, with their residuals.

    Args:
        apply: The matrix, as an operator whose lanes all share it.
        start: Shape ``[size]``; see ``draw_starts``.
        rtol: Wanted residual against each value, or a hundredth of the other end where that is
            more, positive; float32 products do not reach below 1e-6 of the largest.
        max_products: Bound on products, at least 3.
        top_only: Whether to stop as soon as the largest eigenvalue is found, whatever the smallest.

    Returns:
        Both ends.

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
    wanted = (-1,) if top_only else (0, -1)
    state = _build(apply, start[None], max_products, rtol, wanted)
    ritz = state.ritz()
    done = bool(ritz.reached(rtol, wanted).all())
    bottom, top = (
        Eigenpair(
            float(ritz.values[0, end]),
            ritz.vectors[0, :, end].to(start) @ state.basis[0],
            float(ritz.residuals[0, end]),
        )
        for end in (0, -1)
    )
    return Extremes(top, bottom, state.basis.shape[1], _outcome(done))


def _build(
    apply: Operator, starts: Tensor, max_products: int, rtol: float, wanted: Sequence[int]
) -> Krylov:
    """Run Lanczos until the wanted pairs are within tolerance, or time runs out."""
    latest: Krylov | None = None

    def enough(state: Krylov) -> Tensor:
        nonlocal latest
        latest = state
        return state.ritz().reached(rtol, wanted)

    try:
        return build_krylov(apply, starts, max_products, enough)
    except OutOfTime:
        if latest is None:
            raise
        return latest


def find_top_values(
    apply: Operator, starts: Tensor, rtol: float = 1e-3, max_products: int = 50
) -> TopValues:
    """Find the largest eigenvalue of every lane's matrix.

    Args:
        apply: The matrices, one for each lane.
        starts: Shape ``[num_lanes, size]``; see ``draw_starts``.
        rtol: Wanted residual against each lane's value. A hundredth is not enough: a lane may then
            settle on its second eigenvalue (9 % off in 1 of 64, LOG 2026-11-20).
        max_products: Bound on products for each lane, at least 3.

    Returns:
        One value for each lane.

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
    done = torch.zeros(len(starts), dtype=torch.bool)
    values = torch.zeros(len(starts), dtype=torch.float64)
    residuals, num_steps = torch.zeros_like(values), torch.zeros_like(values)

    def enough(state: Krylov) -> Tensor:
        ritz, busy = state.ritz(), ~done
        values[busy], residuals[busy] = ritz.values[busy, -1], ritz.residuals[busy, -1]
        num_steps[busy] = state.basis.shape[1]
        done.logical_or_(ritz.reached(rtol, (-1,)))
        return done

    enough(build_krylov(apply, starts, max_products, enough))
    return TopValues(values, residuals, int(num_steps.sum()), _outcome(bool(done.all())))


def _outcome(reached: bool) -> Convergence:
    return Convergence.REACHED if reached else Convergence.EXHAUSTED


def _check(rtol: float, max_products: int) -> None:
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must be between 0 and 1, got {rtol}.")
    if max_products < _MIN_PRODUCTS:
        raise ValueError(f"max_products must be at least {_MIN_PRODUCTS}, got {max_products}.")
