"""Two ways to move all copies of a pack by one step: ``vmap`` at once, ``loop`` one by one.

Both use the same update rules and the same batches; they differ in speed, and in what a model
may do. The loop takes any model; vmap none that branches on data or draws random numbers.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.rule import UpdateRule, move_copies
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Copies, Tensors
from scaling_sweep.training.curvature import (
    differentiate,
    due_rule,
    refresh,
    twice_differentiable,
)
from scaling_sweep.training.randomness import forked_generators

# Any number does: it makes the evaluation of a model that never stops drawing a fixed function.
_EVALUATION_NOISE = 0


class Engine(Protocol):
    """Moves copies and measures losses."""

    name: str
    refresh_every: int | None  # steps from one look at curvature to the next; None never looks

    def step(
        self,
        copies: Copies,
        inputs: Tensor,
        targets: Tensor,
        noise_seeds: list[int],
        number: int = 0,
    ) -> Tensor:
        """Move every copy once, in place, and return its loss before the move.

        Args:
            copies: The models.
            inputs: Shape ``[num_copies, batch_size, ...]``.
            targets: Shape ``[num_copies, batch_size, ...]``.
            noise_seeds: For each copy, the seed of the model's own randomness in this step;
                empty when the model has none.
            number: Steps the copies have taken before; a rule that needs curvature looks at it
                at every so many.

        Returns:
            Shape ``[num_copies]``, mean batch losses.
        """
        ...

    def losses(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each copy's loss on one shared batch, in evaluation mode."""
        ...


class VmapEngine:
    """All copies at once by ``torch.func.vmap``.

    Args:
        model: Any instance of the task's model; only its structure is used.
        task: Gives the loss.
        rule: The optimizer.
    """

    name = "vmap"

    def __init__(self, model: nn.Module, task: Task, rule: UpdateRule) -> None:
        self._model = model
        self._task = task
        self._rule = rule
        self.refresh_every = rule.refresh_every if isinstance(rule, CurvatureRule) else None
        self._objectives = vmap(self._objective)
        self._losses = vmap(self._objective, in_dims=(0, 0, None, None))

    def _objective(
        self, params: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensors]:
        # BatchNorm writes into its buffers; under vmap only a clone may be written to.
        buffers = {name: value.clone() for name, value in buffers.items()}
        outputs = functional_call(self._model, (params, buffers), (inputs,))
        return self._task.loss(outputs, targets), buffers

    def step(
        self,
        copies: Copies,
        inputs: Tensor,
        targets: Tensor,
        noise_seeds: list[int],
        number: int = 0,
    ) -> Tensor:
        """Move every copy once, in place, and return its loss before the move."""
        self._model.train()
        params = {name: value.detach().requires_grad_() for name, value in copies.params.items()}
        due = due_rule(self._rule, number)
        with twice_differentiable(due):
            losses, buffers = self._objectives(params, copies.buffers, inputs, targets)
        # Copies share nothing, so the gradient of the sum is each copy's own, NaN or not.
        grads = differentiate(losses.sum(), params, twice=due is not None)
        if due is not None:
            grads = refresh(due, params, grads, copies.state)
        with torch.no_grad():
            move_copies(self._rule, copies.params, grads, copies.state, copies.lr)
            copies.buffers.update(buffers)
        detached: Tensor = losses.detach()
        return detached

    def losses(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each copy's loss on one shared batch, in evaluation mode."""
        self._model.eval()
        with torch.no_grad():
            losses: Tensor = self._losses(copies.params, copies.buffers, inputs, targets)[0]
        return losses


class LoopEngine:
    """One copy after the other by plain autograd: slower for small models, takes any.

    Args:
        model: Any instance of the task's model; only its structure is used.
        task: Gives the loss.
        rule: The optimizer.
    """

    name = "loop"

    def __init__(self, model: nn.Module, task: Task, rule: UpdateRule) -> None:
        self._model = model
        self._task = task
        self._rule = rule
        self.refresh_every = rule.refresh_every if isinstance(rule, CurvatureRule) else None

    def step(
        self,
        copies: Copies,
        inputs: Tensor,
        targets: Tensor,
        noise_seeds: list[int],
        number: int = 0,
    ) -> Tensor:
        """Move every copy once, in place, and return its loss before the move."""
        self._model.train()
        losses = []
        with forked_generators(enabled=bool(noise_seeds)):
            for row in range(len(copies)):
                if noise_seeds:
                    torch.manual_seed(noise_seeds[row])
                # A clone: copies of a seed share one batch, and a model may write into its input.
                own = inputs[row].clone()
                losses.append(self._step_one(copies, row, own, targets[row], number))
        return torch.stack(losses)

    def _step_one(
        self, copies: Copies, row: int, inputs: Tensor, targets: Tensor, number: int
    ) -> Tensor:
        params = {name: value[row].requires_grad_() for name, value in _detached(copies.params)}
        due = due_rule(self._rule, number)
        with twice_differentiable(due):
            loss = self._loss(params, _row(copies.buffers, row), inputs, targets)
        found = differentiate(loss, params, twice=due is not None)
        grads = {name: grad.unsqueeze(0) for name, grad in found.items()}
        own = slice(row, row + 1)
        state = {
            moment: {name: value[own] for name, value in values.items()}
            for moment, values in copies.state.items()
        }
        if due is not None:
            grads = refresh(due, params, grads, state)
        with torch.no_grad():
            move_copies(
                self._rule,
                {name: value[own] for name, value in copies.params.items()},
                grads,
                state,
                copies.lr[own],
            )
        return loss.detach()

    def _loss(
        self, params: Mapping[str, Tensor], buffers: Tensors, inputs: Tensor, targets: Tensor
    ) -> Tensor:
        weights: dict[str, Any] = {**params, **buffers}
        return self._task.loss(functional_call(self._model, weights, (inputs,)), targets)

    def losses(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each copy's loss on one shared batch, in evaluation mode."""
        self._model.eval()
        losses = []
        with torch.no_grad(), forked_generators():
            for row in range(len(copies)):
                # A model that draws even now draws the same for every copy.
                torch.manual_seed(_EVALUATION_NOISE)
                params, buffers = _row(copies.params, row), _row(copies.buffers, row)
                losses.append(self._loss(params, buffers, inputs, targets))
        return torch.stack(losses)


def _row(values: Tensors, row: int) -> Tensors:
    return {name: value[row] for name, value in values.items()}


def _detached(values: Tensors) -> list[tuple[str, Tensor]]:
    return [(name, value.detach()) for name, value in values.items()]
