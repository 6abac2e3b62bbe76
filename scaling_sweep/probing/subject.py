"""The task under examination, and the few things every look at it needs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.spec import LoadedSweep, OptimizerSpec, SweepSpec
from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.batches import Batches
from scaling_sweep.training.copies import Copies, Point, stack_points
from scaling_sweep.training.engines import Engine
from scaling_sweep.training.pack import initial_model, make_batches
from scaling_sweep.training.randomness import forked_generators
from scaling_sweep.training.treatment import Treatment

# Large enough to say something about a mean, small enough for any machine (a guess).
_BATCH_SIZE = 32
# Nothing is learned with it, but every number of an update is computed.
_TINY_LR = 1e-6


@dataclass(frozen=True)
class Subject:
    """A task and the sweep it would be trained in.

    Attributes:
        sweep: Its sweep file, or the small one that stands in for it.
        task: The task.
        device: Where it is tried.
        optimizer: Of the sweep's; None for the last, in our files the one with the largest state.
    """

    sweep: LoadedSweep
    task: Task
    device: torch.device
    optimizer: OptimizerSpec | None = None

    @property
    def spec(self) -> SweepSpec:
        """What is asked."""
        return self.sweep.spec

    @property
    def batch_size(self) -> int:
        """Examples in the batches that are tried."""
        return min(_BATCH_SIZE, self.task.num_examples or _BATCH_SIZE)

    def model(self, seed: int = 0) -> nn.Module:
        """Build the untrained model of a seed."""
        return initial_model(self.task, self.spec, seed).to(self.device)

    def batches(self, seeds: list[int], batch_size: int | None = None) -> Batches:
        """Return the batches of some seeds, from the first on."""
        size = batch_size or self.batch_size
        return make_batches(self.task, self.spec, seeds, size, self.device)

    def batch(self) -> Batch:
        """Return the first batch of seed 0, shape ``[batch_size, ...]``."""
        inputs, targets = self.batches([0]).draw([0])
        return inputs[0], targets[0]

    def rule(self) -> UpdateRule:
        """Return the optimizer, with the recipe's weight decay where it has one."""
        return self.treatment.rule(self.optimizer or self.spec.optimizers[-1])

    @property
    def treatment(self) -> Treatment:
        """What the sweep's recipe does within a step."""
        return Treatment.of(self.spec.recipe)

    def copies(self, num_copies: int) -> Copies:
        """Stack untrained copies, of seeds 0 and 1 in turn."""
        points = [Point.of(self.model(seed)) for seed in range(min(2, num_copies))]
        return stack_points(
            [points[row % len(points)] for row in range(num_copies)],
            [_TINY_LR] * num_copies,
            self.rule(),
            self.device,
        )

    def evaluate(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
        """Return the loss in evaluation mode."""
        model.eval()
        with torch.no_grad(), forked_generators():
            return float(self.task.loss(model(inputs), targets))


def take_step(engine: Engine, copies: Copies, batch: Batch) -> Tensor:
    """Take one step with the same noise for every copy, and return its losses."""
    inputs, targets = batch
    return engine.step(copies, inputs, targets, [0] * len(copies))


def one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
