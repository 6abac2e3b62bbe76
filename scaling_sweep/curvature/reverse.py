"""Derivatives reverse over reverse, one lane at a time, for models that refuse the fast way.

Some cannot be vmapped or have no forward rules: ``.item()`` in ``forward``, random draws, recurrent
layers. Here nothing is asked but that the loss can be differentiated twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from scaling_sweep.curvature.derivatives import Curvature, Loss, Outputs, plain_attention


class ReverseDerivatives:
    """Reverse over reverse by plain autograd, one lane at a time; slow, for any model.

    The product ``J d`` is the derivative of ``Jᵀ u`` by ``u``, which is linear in it.

    Args:
        vector: Shape ``[size]``, the point.
        outputs: The model.
        loss: The loss.
    """

    def __init__(self, vector: Tensor, outputs: Outputs, loss: Loss) -> None:
        self._vector, self._outputs, self._loss = vector, outputs, loss

    def over(
        self, function: Callable[..., Tensor], in_dims: tuple[int | None, ...]
    ) -> Callable[..., Tensor]:
        """Map with a loop."""

        def looped(*arguments: Tensor) -> Tensor:
            pairs = list(zip(arguments, in_dims, strict=True))
            num_lanes = next(len(argument) for argument, dim in pairs if dim is not None)
            return torch.stack(
                [
                    function(*(arg if dim is None else arg[lane] for arg, dim in pairs))
                    for lane in range(num_lanes)
                ]
            )

        return looped

    def gradient(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``∇L``."""
        with _twice_differentiable():
            point = self._leaf()
            return _derive(self._loss(self._outputs(point, inputs), targets), point)

    def product(self, kind: Curvature, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``H v`` or ``G v``."""
        with _twice_differentiable():
            point = self._leaf()
            values = self._outputs(point, inputs)
            if kind is Curvature.HESSIAN:
                gradient = _derive(self._loss(values, targets), point, keep=True)
                return _derive(gradient, point, vector)
            curved = self._curve(values, _push_back(values, point, vector), targets)
            return _derive(values, point, curved)

    def slope(self, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``gᵀd``."""
        return self.gradient(inputs, targets) @ direction

    def bend(self, kind: Curvature, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``dᵀHd`` or ``dᵀGd``."""
        return self.product(kind, direction, inputs, targets) @ direction

    def _curve(self, values: Tensor, direction: Tensor, targets: Tensor) -> Tensor:
        """Multiply the loss's second derivative by the outputs with a direction of theirs."""
        here = values.detach().requires_grad_()
        return _derive(_derive(self._loss(here, targets), here, keep=True), here, direction)

    def _leaf(self) -> Tensor:
        return self._vector.detach().requires_grad_()


def _derive(
    values: Tensor, by: Tensor, along: Tensor | None = None, *, keep: bool = False
) -> Tensor:
    """Return ``(∂values/∂by)ᵀ along``; zeros where values do not depend on it.

    Args:
        values: A scalar where ``along`` is None.
        by: A tensor that requires gradients.
        along: As the values.
        keep: Whether the result may be differentiated again, and the graph is kept.

    Returns:
        As ``by``.
    """
    if not values.requires_grad:  # a loss linear in what it is derived by, for one
        return torch.zeros_like(by)
    (derived,) = torch.autograd.grad(
        values, by, along, create_graph=keep, retain_graph=True, materialize_grads=True
    )
    return derived


def _push_back(values: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    """Return ``J d`` by two reverse passes."""
    dual = torch.zeros_like(values, requires_grad=True)
    return _derive(_derive(values, point, dual, keep=True), dual, direction)


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Use kernels that have second derivatives, and record what is computed."""
    # cuDNN's recurrent layers have none, nor any first ones outside of training.
    with plain_attention(), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield
