"""A third engine: the stacked step, forward to update, as one compiled graph for all shapes.

Compiling costs seconds to a minute of a processor; the graph is then kept for all packs that a
process trains with the same task and rule, and torch keeps the machine code on disk for others.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional

from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.rule import UpdateRule, move_copies
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Copies, Tensors
from scaling_sweep.training.engines import VmapEngine
from scaling_sweep.training.treatment import Loss, Treatment

Step = Callable[
    [Tensors, Tensors, dict[str, Tensors], Tensor, Tensor, Tensor], tuple[Tensor, Tensors]
]
_Key = tuple[int, int, Treatment]
# Graphs of one process; each new one counts as a recompilation, of which torch allows 8.
_MAX_GRAPHS = 64
# What torch's cross_entropy leaves out of the mean.
_IGNORED = -100


class CompiledEngine:
    """All copies at once, by a graph that torch has compiled.

    Args:
        stacked: Evaluates, and takes the steps of a copy that is left alone.
        model: An instance of the task's model; only its structure is used.
        task: Gives the loss.
        rule: The optimizer. The graph is kept for this very object.
        treatment: What the sweep's recipe does within a step.
    """

    name = "compile"
    refresh_every: int | None = None

    def __init__(
        self,
        stacked: VmapEngine,
        model: nn.Module,
        task: Task,
        rule: UpdateRule,
        treatment: Treatment,
    ) -> None:
        self._stacked, self._treatment = stacked, treatment
        self._kept = _keep(model, task, rule, treatment)
        self._shape: tuple[int, int] | None = None

    def step(
        self,
        copies: Copies,
        inputs: Tensor,
        targets: Tensor,
        noise_seeds: list[int],
        number: int = 0,
    ) -> Tensor:
        """Move every copy once, in place, and return its loss before the move."""
        if len(copies) == 1:  # would be a graph of its own
            return self._stacked.step(copies, inputs, targets, noise_seeds, number)
        # Copies of one seed share a batch in memory, and strides are part of a graph's shape.
        inputs, targets = inputs.contiguous(), targets.contiguous()
        shape = (len(copies), inputs.shape[1])
        with (
            torch.no_grad(),
            self._stacked.attention.as_in_stack(),
            self._treatment.computing(copies.lr.device),
            self._stacked.products.chosen(),
        ):
            if shape != self._shape:
                losses = self._kept.step_first(copies, inputs, targets)
                self._shape = shape
            else:
                losses = self._kept.step(copies, inputs, targets)
        return losses

    def losses(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each copy's loss on one shared batch, in evaluation mode."""
        return self._stacked.losses(copies, inputs, targets)


def why_not_compiled(rule: UpdateRule, treatment: Treatment) -> str | None:
    """Say in a few words what of a sweep is never compiled; None when nothing is known."""
    if isinstance(rule, CurvatureRule):
        return "the optimizer looks at curvature"
    if treatment.micro_batch is not None:
        return "batches are computed in portions"
    return "bf16" if treatment.precision == "bf16" else None


def compilable_loss(loss: Loss) -> Loss:
    """Return a loss that has one graph for all batch sizes, where it is torch's cross-entropy.

    That one looks entries up, and looking up under vmap fixes the batch size.

    Args:
        loss: Of a task; any other than ``cross_entropy`` comes back as it is.

    Returns:
        The same function of outputs and targets.

    Example:
        >>> outputs, targets = torch.tensor([[0.0, 1.0]]), torch.tensor([1])
        >>> compilable_loss(functional.cross_entropy)(outputs, targets)
        tensor(0.3133)
    """
    smoothing, given = 0.0, loss
    if isinstance(loss, partial) and set(loss.keywords) == {"label_smoothing"} and not loss.args:
        smoothing, loss = loss.keywords["label_smoothing"], loss.func
    if loss is not functional.cross_entropy:
        return given

    def written_out(outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.is_floating_point() or outputs.dim() != 2:
            return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)
        logs = outputs.log_softmax(1)
        kinds = torch.arange(outputs.shape[1], device=outputs.device)
        counts = targets != _IGNORED
        # `where` and not a product: an infinite logarithm of another class must not count.
        each = -torch.where(targets[:, None] == kinds, logs, 0.0).sum(1)
        if smoothing:
            each = (1 - smoothing) * each - smoothing * logs.mean(1)
        return torch.where(counts, each, 0.0).sum() / counts.sum()

    return written_out


class _KeptStep:
    """A compiled step and what it was compiled from."""

    def __init__(
        self, model: nn.Module, task: Task, rule: UpdateRule, treatment: Treatment
    ) -> None:
        # Its own: evaluation puts the pack's model in another mode.
        model = copy.deepcopy(model)
        treatment.set_mode(model, training=True)
        self._owners = task, rule  # so that their ids stay theirs
        self._step = _compile(
            model, compilable_loss(treatment.training_loss(task)), rule, treatment
        )

    def step_first(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take a step of a new shape: the graph is made now, or found to do."""
        for values in (copies.params, copies.buffers, *copies.state.values()):
            for value in values.values():
                _let_vary(value, 0)
        _let_vary(copies.lr, 0)
        for value in (inputs, targets):
            _let_vary(value, 0)
            _let_vary(value, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of compilers, to their own developers
            return self.step(copies, inputs, targets)

    def step(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take a step."""
        losses, buffers = self._step(
            copies.params, copies.buffers, copies.state, copies.lr, inputs, targets
        )
        copies.buffers.update(buffers)
        return losses


_KEPT: dict[_Key, _KeptStep] = {}


def _keep(model: nn.Module, task: Task, rule: UpdateRule, treatment: Treatment) -> _KeptStep:
    key = (id(task), id(rule), treatment)
    if key not in _KEPT:
        _KEPT[key] = _KeptStep(model, task, rule, treatment)
    return _KEPT[key]


def _compile(model: nn.Module, loss: Loss, rule: UpdateRule, treatment: Treatment) -> Step:
    def objective(
        params: Tensors, buffers: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensors]:
        own = {name: value.clone() for name, value in buffers.items()}
        return loss(functional_call(model, (params, own), (inputs,)), targets), own

    differentiated = vmap(grad_and_value(objective, has_aux=True))

    def step(
        params: Tensors,
        buffers: Tensors,
        state: dict[str, Tensors],
        lr: Tensor,
        inputs: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, Tensors]:
        grads, (losses, moved) = differentiated(params, buffers, inputs, targets)
        move_copies(rule, params, treatment.clip(grads), state, lr)
        return losses, moved

    # It says that there is no CUDA, to everybody without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    torch._dynamo.config.recompile_limit = _MAX_GRAPHS
    compiled: Step = torch.compile(step)
    return compiled


def _let_vary(value: Tensor, dim: int) -> None:
    """Ask for a graph that takes any size there; 1 is always a graph of its own."""
    if value.dim() > dim and value.shape[dim] > 1:
        torch._dynamo.maybe_mark_dynamic(value, dim)
