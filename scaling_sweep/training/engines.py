"""Two ways to move all copies of a pack by one step: ``vmap`` at once, ``loop`` one by one.

Both use the same update rules and the same batches; they differ in speed, and in what a model
may do. The loop takes any model; vmap none that branches on data or draws random numbers.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.rule import UpdateRule, move_copies
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.attention import StackedAttention
from scaling_sweep.training.copies import Copies, Tensors, lie_turned
from scaling_sweep.training.curvature import (
    differentiate,
    due_rule,
    refresh,
    twice_differentiable,
)
from scaling_sweep.training.portions import WholeBatch
from scaling_sweep.training.products import StackedProducts
from scaling_sweep.training.randomness import forked_generators
from scaling_sweep.training.recording import Playback
from scaling_sweep.training.treatment import PLAIN_TREATMENT, Loss, Treatment

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
        """Return each copy's loss on one shared batch, in evaluation mode and fp32."""
        ...


class VmapEngine:
    """All copies at once by ``torch.func.vmap``.

    Args:
        model: Any instance of the task's model; only its structure is used.
        task: Gives the loss.
        rule: The optimizer.
        treatment: What the sweep's recipe does within a step.

    Raises:
        ValueError: If the treatment asks for label smoothing and the task's loss knows none.
    """

    name = "vmap"

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        rule: UpdateRule,
        treatment: Treatment = PLAIN_TREATMENT,
    ) -> None:
        self._model = model
        self._task = task
        self._rule = rule
        self._treatment = treatment
        self._training_loss = treatment.training_loss(task)
        self.refresh_every = rule.refresh_every if isinstance(rule, CurvatureRule) else None
        self.attention, self.products = StackedAttention(), StackedProducts()
        self.turned: frozenset[str] | None = None  # not known before the first step
        self.playback = Playback(self._step)
        self._objectives = vmap(self._objective)
        self._losses = vmap(self._evaluation, in_dims=(0, 0, None, None))

    def _objective(
        self, params: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensors]:
        # BatchNorm writes into its buffers; under vmap only a clone may be written to.
        buffers = {name: value.clone() for name, value in buffers.items()}
        outputs = self._treatment.outputs(
            lambda: functional_call(self._model, (params, buffers), (inputs,)), inputs.device
        )
        return self._training_loss(outputs, targets), buffers

    def _evaluation(
        self, params: Tensors, buffers: Tensors, inputs: Tensor, targets: Tensor
    ) -> Tensor:
        buffers = {name: value.clone() for name, value in buffers.items()}
        outputs = functional_call(self._model, (params, buffers), (inputs,))
        return self._task.loss(outputs, targets)

    def step(
        self,
        copies: Copies,
        inputs: Tensor,
        targets: Tensor,
        noise_seeds: list[int],
        number: int = 0,
    ) -> Tensor:
        """Move every copy once, in place, and return its loss before the move."""
        copies.turn(self.turned or frozenset())
        due, device = due_rule(self._rule, number), copies.lr.device
        with self._treatment.computing(device):
            if due is not None:
                return self._step(copies, inputs, targets, due)
            with self.products.of_stack(len(copies), device):
                return self.playback.take(copies, inputs, targets)

    def _step(
        self, copies: Copies, inputs: Tensor, targets: Tensor, due: CurvatureRule | None = None
    ) -> Tensor:
        self._treatment.set_mode(self._model, training=True)
        params = {name: value.detach().requires_grad_() for name, value in copies.params.items()}
        whole = WholeBatch()
        for some, labels, share in self._treatment.portions(inputs, targets, dim=1):
            with twice_differentiable(due):
                losses, buffers = self.attention.compute(
                    partial(self._objectives, params, copies.buffers, some, labels)
                )
            # Copies share nothing, so the gradient of the sum is each copy's own, NaN or not.
            grads = differentiate(losses.sum(), params, twice=due is not None)
            copies.buffers.update(buffers)
            whole.add(losses, grads, share)
        if due is not None:
            whole.grads = refresh(due, params, whole.grads, copies.state)
        if self.turned is None:  # on a CPU, where it was measured
            on_cpu = copies.lr.device.type == "cpu"
            self.turned = lie_turned(whole.grads) if on_cpu else frozenset()
        with torch.no_grad():
            clipped = self._treatment.clip(whole.grads)
            move_copies(self._rule, copies.params, clipped, copies.state, copies.lr)
        return whole.losses

    def losses(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each copy's loss on one shared batch, in evaluation mode."""
        self._treatment.set_mode(self._model, training=False)
        with torch.no_grad():
            return self.attention.compute(
                lambda: self._losses(copies.params, copies.buffers, inputs, targets)
            )


class LoopEngine:
    """One copy after the other by plain autograd: slower for small models, takes any.

    Args:
        model: Any instance of the task's model; only its structure is used.
        task: Gives the loss.
        rule: The optimizer.
        treatment: What the sweep's recipe does within a step.
        attention: That of a stack this engine might stand in for, to round as it does.

    Raises:
        ValueError: If the treatment asks for label smoothing and the task's loss knows none.
    """

    name = "loop"

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        rule: UpdateRule,
        treatment: Treatment = PLAIN_TREATMENT,
        attention: StackedAttention | None = None,
    ) -> None:
        self._attention = attention or StackedAttention()
        self._model = model
        self._task = task
        self._rule = rule
        self._treatment = treatment
        self._training_loss = treatment.training_loss(task)
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
        self._treatment.set_mode(self._model, training=True)
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
        own = slice(row, row + 1)
        state = {
            moment: {name: value[own] for name, value in values.items()}
            for moment, values in copies.state.items()
        }
        whole = WholeBatch()
        with self._treatment.computing(inputs.device):
            for some, labels, share in self._treatment.portions(inputs, targets, dim=0):
                with self._attention.as_in_stack(), twice_differentiable(due):
                    loss = self._objective(params, _row(copies.buffers, row), some, labels)
                found = differentiate(loss, params, twice=due is not None)
                whole.add(loss, {name: grad.unsqueeze(0) for name, grad in found.items()}, share)
            if due is not None:
                whole.grads = refresh(due, params, whole.grads, state)
        with torch.no_grad():
            move_copies(
                self._rule,
                {name: value[own] for name, value in copies.params.items()},
                self._treatment.clip(whole.grads),
                state,
                copies.lr[own],
            )
        return whole.losses

    def _objective(
        self, params: Mapping[str, Tensor], buffers: Tensors, inputs: Tensor, targets: Tensor
    ) -> Tensor:
        weights: dict[str, Any] = {**params, **buffers}
        outputs = self._treatment.outputs(
            lambda: functional_call(self._model, weights, (inputs,)), inputs.device
        )
        return self._training_loss(outputs, targets)

    def losses(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each copy's loss on one shared batch, in evaluation mode."""
        return self.measure(self._task.loss, copies, inputs, targets)

    def measure(self, what: Loss, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return any mean over a batch of each copy, in evaluation mode.

        Args:
            what: ``what(outputs, targets)``, a scalar.
            copies: The models.
            inputs: Shape ``[batch_size, ...]``, shared.
            targets: Shape ``[batch_size, ...]``, shared.

        Returns:
            Shape ``[num_copies]``.
        """
        self._treatment.set_mode(self._model, training=False)
        # Where BatchNorm takes the batch's statistics even now, it would write them down.
        keeps = self._treatment.batch_norm != "batch"
        found = []
        with torch.no_grad(), forked_generators(), self._attention.as_in_stack():
            for row in range(len(copies)):
                # A model that draws even now draws the same for every copy.
                torch.manual_seed(_EVALUATION_NOISE)
                buffers = _row(copies.buffers, row)
                buffers = buffers if keeps else {n: value.clone() for n, value in buffers.items()}
                weights: dict[str, Any] = {**_row(copies.params, row), **buffers}
                found.append(what(functional_call(self._model, weights, (inputs,)), targets))
        return torch.stack(found)


def _row(values: Tensors, row: int) -> Tensors:
    return {name: value[row] for name, value in values.items()}


def _detached(values: Tensors) -> list[tuple[str, Tensor]]:
    return [(name, value.detach()) for name, value in values.items()]
