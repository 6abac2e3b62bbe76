"""The loss as a function of one flat vector of parameters, with its first and second derivatives.

Second derivatives are taken forward over reverse, ``jvp(grad(loss))``, which vmaps over probes and
over mini-batches. Attention is computed by torch's plain kernel: the fused ones have no forward
derivative.
"""

import copy
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


class Policy(StrEnum):
    """What BatchNorm normalises by while curvature is measured; dropout is always off.

    A loss with dropout, or with statistics that move between two products, has no Hessian.
    """

    RUNNING = "running statistics"
    BATCH = "statistics of each batch, running ones left alone"
    FROZEN = "statistics of the measured data, computed once"


class Curvature(StrEnum):
    """Which matrix is multiplied."""

    HESSIAN = "Hessian"
    GGN = "generalised Gauss-Newton"


class Objective:
    """The mean loss of a batch, ``L(θ; x, y)``, at one point ``θ``.

    Args:
        model: Any instance of the model, copied; only its structure is used.
        loss: ``loss(outputs, targets)``, the mean loss of a batch.
        params: Trainable tensors by name: the point.
        buffers: The model's other tensors by name.
        policy: What BatchNorm normalises by. ``FROZEN`` takes hold through ``freeze_statistics``.
        dtype: Precision of everything; float64 for tests against dense matrices.
        device: Where to compute.

    Attributes:
        vector: Shape ``[size]``, the flat parameters.
        policy: As given.

    Example:
        >>> x = torch.eye(3)
        >>> line, loss = nn.Linear(3, 1, bias=False), nn.functional.mse_loss
        >>> objective = Objective(line, loss, {"weight": torch.zeros(1, 3)}, {})
        >>> objective.gradient(x, x.sum(1, keepdim=True))
        tensor([-0.6667, -0.6667, -0.6667])
        >>> objective.product(Curvature.HESSIAN, torch.ones(3), x, x.sum(1, keepdim=True))
        tensor([0.6667, 0.6667, 0.6667])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        policy: Policy = Policy.RUNNING,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        _load_forward_rules()
        self.policy = policy
        self._loss = loss
        self._shapes = {name: value.shape for name, value in params.items()}
        self._sizes = [value.numel() for value in params.values()]
        flat = torch.cat([value.detach().flatten() for value in params.values()])
        self.vector = flat.to(device=device, dtype=dtype)
        self._model = _still_model(model, buffers, policy).to(device=device, dtype=dtype)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.vector)

    @property
    def policy_word(self) -> str:
        """The policy in words, for reports: what was done, or that nothing had to be."""
        kinds = (_BatchNorm, _DropoutNd)
        found = {kind for kind in kinds if any(isinstance(m, kind) for m in self._model.modules())}
        words = [self.policy.value] if _BatchNorm in found else []
        words += ["dropout off"] if _DropoutNd in found else []
        return ", ".join(words) or "neither BatchNorm nor dropout"

    def to_like(self, values: Tensor) -> Tensor:
        """Move data to the objective's device, and its floating-point numbers to its precision."""
        dtype = self.vector.dtype if values.is_floating_point() else values.dtype
        return values.to(device=self.vector.device, dtype=dtype)

    def flatten(self, values: Mapping[str, Tensor]) -> Tensor:
        """Lay tensors named like the parameters out as one vector, shape ``[size]``."""
        return self.to_like(torch.cat([values[name].flatten() for name in self._shapes]))

    def outputs(self, vector: Tensor, inputs: Tensor) -> Tensor:
        """Return the model's outputs with ``vector`` for parameters."""
        parts = torch.split(vector, self._sizes)
        params = {
            name: part.view(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        outputs: Tensor = functional_call(self._model, params, (inputs,))
        return outputs

    def loss(self, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch with ``vector`` for parameters."""
        return self._loss(self.outputs(vector, inputs), targets)

    def gradient(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``∇L`` of a batch at the point, shape ``[size]``."""
        with plain_attention():
            gradient: Tensor = grad(self.loss)(self.vector, inputs, targets)
        return gradient

    def product(self, kind: Curvature, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Multiply the Hessian or the GGN of a batch at the point by a vector.

        ``H v = d/dt ∇L(θ + t v)``; ``G v = Jᵀ (∇²ℓ) J v`` with the Jacobian ``J`` of the outputs
        and the Hessian ``∇²ℓ`` of the loss by the outputs (Schraudolph 2002).

        Args:
            kind: Which matrix.
            vector: Shape ``[size]``.
            inputs: Shape ``[batch_size, ...]``.
            targets: Shape ``[batch_size, ...]``.

        Returns:
            Shape ``[size]``. Pure in all its tensors, so it may be vmapped over any of them.
        """
        with plain_attention():
            if kind is Curvature.HESSIAN:
                return self._hessian_product(vector, inputs, targets)
            return self._ggn_product(vector, inputs, targets)

    def _hessian_product(self, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        def gradient(point: Tensor, targets: Tensor) -> Tensor:
            value: Tensor = grad(self.loss)(point, inputs, targets)
            return value

        return _push_through(gradient, self.vector, vector, targets)

    def _ggn_product(self, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        def outputs(point: Tensor) -> Tensor:
            return self.outputs(point, inputs)

        values, pushed = self._push(vector, inputs)
        curved = _push_through(grad(self._loss), values, pushed, targets)
        product: Tensor = vjp(outputs, self.vector)[1](curved)[0]
        return product

    def _push(self, direction: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs at the point and ``J d``, their derivative along a direction."""

        def outputs(point: Tensor) -> Tensor:
            return self.outputs(point, inputs)

        pair = jvp(outputs, (self.vector,), (direction,))
        return pair[0], pair[1]

    def slope(self, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``gᵀd``, the derivative of a batch's loss along a direction of shape ``[size]``.

        Forward mode, as in ``bend``: nothing of the size of the parameters is made, so that a
        thousand batches vmapped cost little more than one batch of all their examples.
        """
        with plain_attention():
            return self._slope(self.vector, direction, inputs, targets)

    def bend(self, kind: Curvature, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``dᵀHd`` or ``dᵀGd`` of a batch for a direction of shape ``[size]``."""

        def slope(point: Tensor) -> Tensor:
            return self._slope(point, direction, inputs, targets)

        with plain_attention():
            if kind is Curvature.HESSIAN:
                bend: Tensor = jvp(slope, (self.vector,), (direction,))[1]
                return bend
            values, pushed = self._push(direction, inputs)
            return self._loss_bend(values, pushed, targets)

    def _loss_bend(self, values: Tensor, direction: Tensor, targets: Tensor) -> Tensor:
        """Return the second derivative of the loss by the outputs, along a direction of theirs."""

        def slope(here: Tensor) -> Tensor:
            value: Tensor = jvp(lambda at: self._loss(at, targets), (here,), (direction,))[1]
            return value

        bend: Tensor = jvp(slope, (values,), (direction,))[1]
        return bend

    def _slope(self, point: Tensor, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        def loss(here: Tensor) -> Tensor:
            return self.loss(here, inputs, targets)

        first: Tensor = jvp(loss, (point,), (direction,))[1]
        return first

    def freeze_statistics(self, micro_batches: Iterator[Tensor]) -> None:
        """Set BatchNorm's running statistics to averages over the given inputs, once.

        Args:
            micro_batches: Inputs, each of shape ``[num_examples, ...]``.
        """
        norms = [module for module in self._model.modules() if isinstance(module, _BatchNorm)]
        if not norms:
            return
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch then averages over all batches alike
            norm.train()
        with torch.no_grad():
            for inputs in micro_batches:
                self.outputs(self.vector, inputs)
        self._model.eval()


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


@contextmanager
def plain_attention() -> Iterator[None]:
    """Use the one attention kernel that has forward derivatives."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


@functools.cache
def _load_forward_rules() -> None:
    """Let torch build its forward rules, without its own deprecation warnings (torch 2.15)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))


def _still_model(model: nn.Module, buffers: Mapping[str, Tensor], policy: Policy) -> nn.Module:
    """Return a model whose outputs depend on parameters and inputs alone."""
    model = copy.deepcopy(model).requires_grad_(False).eval()
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
    if policy is Policy.BATCH:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.track_running_stats = False
                module.train()
    return model
