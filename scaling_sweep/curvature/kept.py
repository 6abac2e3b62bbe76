"""Hessian products of many mini-batches through gradients whose graphs are kept."""

import torch
from torch import Tensor
from torch.func import vmap

from scaling_sweep.curvature.derivatives import plain_attention
from scaling_sweep.curvature.objective import Objective
from scaling_sweep.curvature.workspace import Examples

# Lanes of one graph: fewer cost overhead, more drag lanes along that are done (a first look, CPU
# time on a busy machine: 4 cost a sixth more than 8, 16 a tenth less).
_LANES_PER_GRAPH = 8


class KeptGradients:
    """The gradients of many mini-batches, ready to be differentiated again and again.

    Forward over reverse passes through the model anew for every product. Here each product is one
    reverse pass through a gradient that was computed once: half of the work. Lanes that are done
    are dropped once they are half of those kept, for which the others are computed again.

    Args:
        objective: The point.
        batches: Shape ``[num_lanes, batch_size, ...]``.
    """

    def __init__(self, objective: Objective, batches: Examples) -> None:
        self._objective, self._batches = objective, batches
        self._keep(torch.arange(len(batches), device=objective.vector.device))

    def _keep(self, lanes: Tensor) -> None:
        """Compute the gradients of some lanes, an index, and forget all others."""
        self._lanes = lanes
        self._graphs: list[tuple[Tensor, Tensor]] = []  # first free what was kept
        batches = self._batches.select(lanes.to(self._batches.inputs.device))
        self._graphs += [self._differentiate(some) for some in batches.split(_LANES_PER_GRAPH)]

    def _differentiate(self, batches: Examples) -> tuple[Tensor, Tensor]:
        """Return the parameters of each lane and its gradient there."""
        objective = self._objective
        points = objective.vector.expand(len(batches), -1).clone().requires_grad_()
        with plain_attention(), torch.enable_grad():
            losses = vmap(objective.loss)(
                points, objective.to_like(batches.inputs), objective.to_like(batches.targets)
            )
            (gradients,) = torch.autograd.grad(losses.sum(), points, create_graph=True)
        return points, gradients

    def multiply(self, vectors: Tensor, busy: Tensor) -> Tensor:
        """Multiply each lane's Hessian with its vector.

        Args:
            vectors: Shape ``[num_lanes, size]``.
            busy: Index of the lanes whose vectors are not zero.

        Returns:
            As the vectors.
        """
        if not len(busy):
            return torch.zeros_like(vectors)
        if 2 * len(busy) <= len(self._lanes) or not bool(torch.isin(busy, self._lanes).all()):
            self._keep(busy)
        whole = len(self._lanes) == len(vectors)
        parts = torch.split(vectors if whole else vectors[self._lanes], _LANES_PER_GRAPH)
        products = [
            self._pull(points, gradients, some)
            for (points, gradients), some in zip(self._graphs, parts, strict=True)
        ]
        if whole:
            return torch.cat(products)
        result = torch.zeros_like(vectors)
        result[self._lanes] = torch.cat(products)
        return result

    @staticmethod
    def _pull(points: Tensor, gradients: Tensor, vectors: Tensor) -> Tensor:
        """Return the products of the lanes of one graph."""
        if not gradients.requires_grad or not bool(vectors.any()):
            return torch.zeros_like(vectors)
        (product,) = torch.autograd.grad(
            gradients, points, vectors, retain_graph=True, materialize_grads=True
        )
        return product


def keep_gradients(objective: Objective, batches: Examples) -> KeptGradients | None:
    """Keep the gradients of mini-batches where the model allows it.

    Args:
        objective: The point.
        batches: Shape ``[num_lanes, batch_size, ...]``.

    Returns:
        The gradients; None where they cannot be differentiated by reverse mode.
    """
    if not objective.maps_at_once:
        return None
    first, lane = batches.select(torch.arange(1)), torch.zeros(1, dtype=torch.int64)
    vector = torch.ones_like(objective.vector)[None]
    try:
        KeptGradients(objective, first).multiply(vector, lane.to(vector.device))
        return KeptGradients(objective, batches)
    except RuntimeError:  # an operation with a forward rule and no second reverse one, or no memory
        return None
