"""Hessian products of many mini-batches through gradients whose graphs are kept."""

import torch
from torch import Tensor
from torch.func import vmap

from scaling_sweep.curvature.derivatives import plain_attention
from scaling_sweep.curvature.objective import Objective
from scaling_sweep.curvature.workspace import Examples

# Lanes of one graph: fewer cost overhead, more drag lanes along that are done (measured on the
# digits MLP at B = 32: 13 ms for 64 lanes by 4, 11.6 by 8, 10.7 by 16, 12 in one, CPU time).
_LANES_PER_GRAPH = 8


class KeptGradients:
    """The gradients of many mini-batches, ready to be differentiated again and again.

    Forward over reverse passes through the model anew for every product. Here each product is one
    reverse pass through a gradient that was computed once: half of the work.

    Args:
        objective: The point.
        batches: Shape ``[num_lanes, batch_size, ...]``, on the objective's device.
    """

    def __init__(self, objective: Objective, batches: Examples) -> None:
        self._graphs = [self._keep(objective, some) for some in batches.split(_LANES_PER_GRAPH)]

    @staticmethod
    def _keep(objective: Objective, batches: Examples) -> tuple[Tensor, Tensor]:
        """Return the parameters of each lane and its gradient there."""
        points = objective.vector.expand(len(batches), -1).clone().requires_grad_()
        with plain_attention(), torch.enable_grad():
            losses = vmap(objective.loss)(
                points, objective.to_like(batches.inputs), objective.to_like(batches.targets)
            )
            (gradients,) = torch.autograd.grad(losses.sum(), points, create_graph=True)
        return points, gradients

    def multiply(self, vectors: Tensor) -> Tensor:
        """Multiply each lane's Hessian with its vector; lanes of zeros cost little.

        Args:
            vectors: Shape ``[num_lanes, size]``.

        Returns:
            As the vectors.
        """
        result = torch.zeros_like(vectors)
        parts = (torch.split(each, _LANES_PER_GRAPH) for each in (vectors, result))
        for (points, gradients), some, out in zip(self._graphs, *parts, strict=True):
            if gradients.requires_grad and bool(some.any()):
                (product,) = torch.autograd.grad(
                    gradients, points, some, retain_graph=True, materialize_grads=True
                )
                out.copy_(product)
        return result


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
    first = batches.select(torch.arange(1))
    try:
        KeptGradients(objective, first).multiply(torch.ones_like(objective.vector)[None])
        return KeptGradients(objective, batches)
    except RuntimeError:  # an operation with a forward rule and no second reverse one, or no memory
        return None
