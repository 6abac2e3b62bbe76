"""Rules that need curvature beside a gradient: they say so in their type, and training gives it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scaling_sweep.krylov import Krylov, Operator, build_krylov
from scaling_sweep.optimizers.rule import Parameters, State, UpdateRule

# 64 bytes of float32: the widest registers that sums are taken in.
_ALIGNED_NUMBERS = 16


@dataclass(frozen=True, kw_only=True)
class CurvatureRule(UpdateRule):
    """An update rule that now and then looks at the Hessian of the mini-batch it moves by.

    ``update`` stays a pure function of gradient and state for one model; what was learnt about
    curvature is in the state. ``refresh`` puts it there. It works on stacked copies, because
    Lanczos decides on the host, so all copies are refreshed at the same steps of their trials.

    Attributes:
        refresh: ``refresh(multiply, grads, state)`` writes into the state of stacked copies, in
            place. ``multiply`` maps flat vectors, shape ``[num_copies, size]``, to the products
            with each copy's own ``H_B``, the Hessian of the loss on the mini-batch that ``grads``
            come from; parameters lie in the order of ``grads``.
        refresh_every: Steps of the trial from one refresh to the next, at least 1; the first is
            before the first step.
        num_kept: Vectors of a model's size that ``refresh`` holds for each copy, for planning.

    Example:
        >>> def refresh(multiply, grads, state):
        ...     bend = multiply(flatten_copies(grads)).sum(1)
        ...     state["step"]["rate"].copy_(1 / bend)
        >>> rule = CurvatureRule(
        ...     init=lambda params: {"step": {"rate": torch.zeros(())}},
        ...     update=lambda grads, state, params: (
        ...         {name: -state["step"]["rate"] * grad for name, grad in grads.items()}, state),
        ...     refresh=refresh, refresh_every=10, num_kept=1)
        >>> state = {"step": {"rate": torch.zeros(2)}}
        >>> rule.refresh(lambda vectors: 4 * vectors, {"w": torch.ones(2, 1)}, state)
        >>> state["step"]["rate"]
        tensor([0.2500, 0.2500])
    """

    refresh: Callable[[Operator, Parameters, State], None]
    refresh_every: int
    num_kept: int


def flatten_copies(values: Parameters) -> Tensor:
    """Lay stacked tensors, shape ``[num_copies, ...]`` each, out as ``[num_copies, size]``."""
    return torch.cat([value.flatten(1) for value in values.values()], dim=1)


def split_copies(vectors: Tensor, like: Parameters) -> dict[str, Tensor]:
    """Cut vectors of shape ``[num_copies, size]`` into tensors shaped as ``like``, undoing."""
    sizes = [value[0].numel() for value in like.values()]
    parts = torch.split(vectors, sizes, dim=1)
    return {
        name: part.reshape(value.shape)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }


def build_copies_krylov(
    multiply: Operator, starts: Tensor, num_steps: int
) -> tuple[Krylov, Tensor]:
    """Run Lanczos on every copy so that no copy's numbers depend on its mates.

    Rows are filled with zeros up to a multiple of 64 bytes: sums in another alignment round
    otherwise, and where a copy's row begins depends on its place in the pack (seen as differences
    of 1e-8 in 7 of 20 trials of a model of 31 parameters). Lanes that overflow are made zero,
    because the small dense solvers refuse NaN.

    Args:
        multiply: The Hessians.
        starts: Shape ``[num_copies, size]``, unit rows.
        num_steps: Products for each copy, at least 1; no more than ``size`` are made.

    Returns:
        The Krylov spaces, their basis of shape ``[num_copies, num_steps, size + filling]``; and
        shape ``[num_copies]``, true where all is finite.
    """
    size = starts.shape[1]
    filling = -size % _ALIGNED_NUMBERS

    def padded(vectors: Tensor) -> Tensor:
        return torch.nn.functional.pad(multiply(vectors[:, :size].contiguous()), (0, filling))

    first = torch.nn.functional.pad(starts, (0, filling))
    krylov = build_krylov(padded, first, min(num_steps, size))
    finite = krylov.projected.isfinite().all(2).all(1) & krylov.remainder.isfinite()
    projected = torch.where(finite[:, None, None], krylov.projected, 0.0)
    remainder = torch.where(finite, krylov.remainder, 0.0)
    return replace(krylov, projected=projected, remainder=remainder), finite


def combine(coordinates: Tensor, krylov: Krylov, size: int) -> Tensor:
    """Return each copy's combination of its basis vectors, shape ``[num_copies, size]``."""
    basis = krylov.basis
    whole = torch.einsum(
        "ls,lsi->li", coordinates.to(device=basis.device, dtype=basis.dtype), basis
    )
    return whole[:, :size]
