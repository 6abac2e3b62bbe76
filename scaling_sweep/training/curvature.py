"""Curvature for the update rules that ask for it: products with the mini-batches' Hessians.

Reverse over reverse, through the graph of the step's own gradient: one graph serves all products
of a refresh, all copies of a pack, and the very loss that is trained, dropout masks and batch
statistics included. Forward over reverse makes the graph anew for each product, and was slower in
every case tried (CPU time, 1 and 24 copies of the digits models, batches of 1 to 512).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.rule import Parameters, State, UpdateRule


def due_rule(rule: UpdateRule, number: int) -> CurvatureRule | None:
    """Return the rule if it looks at curvature before step ``number``; None if it need not."""
    if isinstance(rule, CurvatureRule) and number % rule.refresh_every == 0:
        return rule
    return None


def twice_differentiable(due: CurvatureRule | None) -> AbstractContextManager[None]:
    """Return a context for the loss: without fused attention, which has no second derivative."""
    return nullcontext() if due is None else sdpa_kernel(SDPBackend.MATH)


def differentiate(loss: Tensor, params: Parameters, *, twice: bool) -> dict[str, Tensor]:
    """Return the gradient by name, with a graph of its own when it is differentiated again."""
    found = torch.autograd.grad(
        loss, list(params.values()), materialize_grads=True, create_graph=twice
    )
    return dict(zip(params, found, strict=True))


def refresh(
    rule: CurvatureRule, params: Parameters, grads: Parameters, state: State
) -> dict[str, Tensor]:
    """Let a rule look at curvature, and give back the gradients without their graph.

    Args:
        rule: Writes into the state.
        params: What the gradients were taken by; shape ``[num_copies, ...]`` each, or of one copy
            without that dimension.
        grads: Shape ``[num_copies, ...]`` each, from ``differentiate(..., twice=True)``.
        state: Shape ``[num_copies, ...]`` each, changed in place.

    Returns:
        The same gradients, detached.
    """
    detached = {name: grad.detach() for name, grad in grads.items()}
    products = _Products(list(params.values()), list(grads.values()))
    with torch.no_grad():
        rule.refresh(products, detached, state)
    return detached


class _Products:
    """Multiplies flat vectors, shape ``[num_copies, size]``, with the Hessians of the copies.

    Args:
        params: What the gradients were taken by.
        grads: With their graph; shape ``[num_copies, ...]`` each.
    """

    def __init__(self, params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        self._params, self._grads = params, grads
        self._sizes = [grad[0].numel() for grad in grads]

    def __call__(self, vectors: Tensor) -> Tensor:
        """Multiply: the derivative of ``gradient · vector``, copies being independent."""
        parts = torch.split(vectors, self._sizes, dim=1)
        pairs = [
            (grad, part.reshape(grad.shape))
            for grad, part in zip(self._grads, parts, strict=True)
            if grad.requires_grad  # a loss that is linear in a weight has a constant gradient
        ]
        if not pairs:
            return torch.zeros_like(vectors)
        found = torch.autograd.grad(
            [grad for grad, _ in pairs],
            self._params,
            [part for _, part in pairs],
            retain_graph=True,
            materialize_grads=True,
        )
        return torch.cat([value.reshape(len(vectors), -1) for value in found], dim=1)
