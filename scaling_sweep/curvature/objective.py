"""The loss as a function of one flat vector of parameters, with its derivatives."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from scaling_sweep.curvature.derivatives import Curvature, Derivatives, find_obstacle
from scaling_sweep.curvature.forward import ForwardDerivatives
from scaling_sweep.curvature.reverse import ReverseDerivatives
from scaling_sweep.errors import UserError

__all__ = ["Curvature", "Objective", "Policy"]

_SLOWLY = "products one by one, by two reverse passes"


class Policy(StrEnum):
    """What BatchNorm normalises by while curvature is measured; dropout is always off.

    A loss with dropout, or with statistics that move between two products, has no Hessian.
    """

    RUNNING = "running statistics"
    BATCH = "statistics of each batch, running ones left alone"
    FROZEN = "statistics of the measured data, computed once"


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
        notes: What a reader should know of how derivatives are taken; empty when as usual.

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
        self.policy = policy
        self.notes: tuple[str, ...] = ()
        self._draws_again = False
        self._loss = loss
        self._shapes = {name: value.shape for name, value in params.items()}
        self._sizes = [value.numel() for value in params.values()]
        flat = torch.cat([value.detach().flatten() for value in params.values()])
        self.vector = flat.to(device=device, dtype=dtype)
        self._model = _still_model(model, buffers, policy).to(device=device, dtype=dtype)
        self._derivatives: Derivatives = ForwardDerivatives(self.vector, self.outputs, loss)

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
        with self._same_draws():
            outputs: Tensor = functional_call(self._model, params, (inputs,))
        return outputs

    @contextmanager
    def _same_draws(self) -> Iterator[None]:
        """Let a model that draws random numbers draw the same ones every time."""
        if not self._draws_again:
            yield
            return
        with torch.random.fork_rng(self._devices):
            torch.manual_seed(0)
            yield

    def loss(self, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch with ``vector`` for parameters."""
        return self._loss(self.outputs(vector, inputs), targets)

    def gradient(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``∇L`` of a batch at the point, shape ``[size]``."""
        return self._derivatives.gradient(inputs, targets)

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
            Shape ``[size]``.
        """
        return self._derivatives.product(kind, vector, inputs, targets)

    def slope(self, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``gᵀd``, the derivative of a batch's loss along a direction, shape ``[size]``."""
        return self._derivatives.slope(direction, inputs, targets)

    def bend(self, kind: Curvature, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``dᵀHd`` or ``dᵀGd`` of a batch for a direction of shape ``[size]``."""
        return self._derivatives.bend(kind, direction, inputs, targets)

    def over(
        self, function: Callable[..., Tensor], in_dims: tuple[int | None, ...]
    ) -> Callable[..., Tensor]:
        """Return a function of derivatives that maps over the first dimension of its arguments.

        Args:
            function: One of the derivatives above, or made of them.
            in_dims: 0 for each argument that is mapped over, None for those that are shared.

        Returns:
            The function: vmapped, or looped where the model does not let itself be vmapped.
        """
        return self._derivatives.over(function, in_dims)

    @property
    def maps_at_once(self) -> bool:
        """Whether ``over`` is vmap, not a loop."""
        return isinstance(self._derivatives, ForwardDerivatives)

    def settle(self, inputs: Tensor, targets: Tensor) -> None:
        """Choose how derivatives are taken, by trying: the fast way, else the slow one.

        Args:
            inputs: Of an example or more, shape ``[num_examples, ...]``.
            targets: As the inputs.

        Raises:
            UserError: If the model has no second derivatives either way.
        """
        # Two mini-batches of two, so that nothing is of size 1, as BatchNorm needs it.
        places = torch.arange(4).reshape(2, 2) % len(inputs)
        batches = self.to_like(inputs[places]), self.to_like(targets[places])
        vectors = self.vector.expand(2, -1)
        obstacle = find_obstacle(self._derivatives, vectors, *batches)
        if not obstacle:
            return
        self._derivatives = ReverseDerivatives(self.vector, self.outputs, self._loss)
        if problem := find_obstacle(self._derivatives, vectors, *batches):
            raise UserError(f"curvature: the model cannot be differentiated twice ({problem})")
        self._draws_again = self._draws_numbers(batches[0][0])
        self.notes += (f"{_SLOWLY}: the fast way fails ({obstacle})",)
        if self._draws_again:
            self.notes += ("the model draws random numbers: the same at every evaluation",)

    def _draws_numbers(self, inputs: Tensor) -> bool:
        """Return whether the model draws from torch's global generators."""
        with torch.random.fork_rng(self._devices), torch.no_grad():
            torch.manual_seed(0)
            first = self.outputs(self.vector, inputs)
            return not torch.equal(first, self.outputs(self.vector, inputs))

    @property
    def _devices(self) -> list[torch.device]:
        """The devices beside the CPU whose generators a model may draw from."""
        return [self.vector.device] if self.vector.is_cuda else []

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
