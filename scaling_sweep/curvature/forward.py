"""Derivatives forward over reverse, ``jvp(grad(loss))``, vmapped over probes and mini-batches."""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from scaling_sweep.curvature.derivatives import Curvature, Loss, Outputs, plain_attention


class ForwardDerivatives:
    """Forward over reverse; pure in all tensors, so that everything may be vmapped.

    Args:
        vector: Shape ``[size]``, the point.
        outputs: The model.
        loss: The loss.
    """

    def __init__(self, vector: Tensor, outputs: Outputs, loss: Loss) -> None:
        _load_forward_rules()
        self._vector, self._outputs, self._loss = vector, outputs, loss

    def over(
        self, function: Callable[..., Tensor], in_dims: tuple[int | None, ...]
    ) -> Callable[..., Tensor]:
        """Map with vmap."""
        mapped: Callable[..., Tensor] = vmap(function, in_dims)
        return mapped

    def gradient(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``∇L``."""
        with plain_attention():
            gradient: Tensor = grad(self._loss_at)(self._vector, inputs, targets)
        return gradient

    def product(self, kind: Curvature, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``H v = d/dt ∇L(θ + t v)``, or ``G v = Jᵀ (∇²ℓ) J v`` (Schraudolph 2002)."""
        with plain_attention():
            if kind is Curvature.HESSIAN:
                return self._hessian_product(vector, inputs, targets)
            return self._ggn_product(vector, inputs, targets)

    def slope(self, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``gᵀd`` in forward mode.

        As in ``bend``, nothing of the size of the parameters is made, so that a thousand batches
        vmapped cost little more than one batch of all their examples.
        """
        with plain_attention():
            return self._slope(self._vector, direction, inputs, targets)

    def bend(self, kind: Curvature, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``dᵀHd`` or ``dᵀGd`` in forward mode alone."""

        def slope(point: Tensor) -> Tensor:
            return self._slope(point, direction, inputs, targets)

        with plain_attention():
            if kind is Curvature.HESSIAN:
                bend: Tensor = jvp(slope, (self._vector,), (direction,))[1]
                return bend
            values, pushed = self._push(direction, inputs)
            return self._loss_bend(values, pushed, targets)

    def _loss_at(self, point: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(self._outputs(point, inputs), targets)

    def _hessian_product(self, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        def gradient(point: Tensor, targets: Tensor) -> Tensor:
            value: Tensor = grad(self._loss_at)(point, inputs, targets)
            return value

        return _push_through(gradient, self._vector, vector, targets)

    def _ggn_product(self, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        def outputs(point: Tensor) -> Tensor:
            return self._outputs(point, inputs)

        values, pushed = self._push(vector, inputs)
        curved = _push_through(grad(self._loss), values, pushed, targets)
        product: Tensor = vjp(outputs, self._vector)[1](curved)[0]
        return product

    def _push(self, direction: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs at the point and ``J d``, their derivative along a direction."""

        def outputs(point: Tensor) -> Tensor:
            return self._outputs(point, inputs)

        pair = jvp(outputs, (self._vector,), (direction,))
        return pair[0], pair[1]

    def _loss_bend(self, values: Tensor, direction: Tensor, targets: Tensor) -> Tensor:
        """Return the second derivative of the loss by the outputs, along a direction of theirs."""

        def slope(here: Tensor) -> Tensor:
            value: Tensor = jvp(lambda at: self._loss(at, targets), (here,), (direction,))[1]
            return value

        bend: Tensor = jvp(slope, (values,), (direction,))[1]
        return bend

    def _slope(self, point: Tensor, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        def loss(here: Tensor) -> Tensor:
            return self._loss_at(here, inputs, targets)

        first: Tensor = jvp(loss, (point,), (direction,))[1]
        return first


def _push_through(
    function: Callable[[Tensor, Tensor], Tensor], point: Tensor, direction: Tensor, targets: Tensor
) -> Tensor:
    """Return the derivative of ``function(point, targets)`` as the point moves along a direction.

    Targets that are floating-point get a tangent of zeros: without one, some of torch's rules
    write into an immutable zero and fail (``mse_loss``, torch 2.15).
    """
    pushed: Tensor
    if targets.is_floating_point():
        still = torch.zeros_like(targets)
        pushed = jvp(function, (point, targets), (direction, still))[1]
    else:
        pushed = jvp(lambda here: function(here, targets), (point,), (direction,))[1]
    return pushed


@functools.cache
def _load_forward_rules() -> None:
    """Let torch build its forward rules, without its own deprecation warnings (torch 2.15)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))
