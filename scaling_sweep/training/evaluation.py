"""The loss that verdicts rest on: over the population, all data, or a fixed part of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.engines import Engine, LoopEngine
from scaling_sweep.training.lookup import stored_examples
from scaling_sweep.training.randomness import make_generator
from scaling_sweep.training.treatment import Loss

# Standard error of a mean loss over 4,096 examples is a few per cent of its spread between
# examples: far below the factor 0.5 that verdicts ask for.
MAX_EVALUATION_EXAMPLES = 4096
# Where an example is many tokens, it counts as many; but their losses go together, so that at
# least this many examples are taken (a guess).
_MIN_EVALUATION_EXAMPLES = 256
# Examples evaluated at once, and the numbers in their inputs: guesses that keep activations small.
# The same in every pack: a sum in other portions rounds otherwise, and a trial must not know its
# mates.
_CHUNK_EXAMPLES, _CHUNK_NUMBERS = 512, 2**22


class Evaluator:
    """Evaluates copies on the same examples at every lr, seed and batch size of a sweep.

    Args:
        task: What is trained.
        sweep_seed: Chooses the evaluation set where the data have more than 4,096 examples.
        device: Where the copies are.
    """

    def __init__(self, task: Task, sweep_seed: int, device: torch.device) -> None:
        self._task = task
        if task.exact_loss is None:
            inputs, targets = evaluation_set(task, sweep_seed)
            self._inputs, self._targets = inputs.to(device), targets.to(device)
            example, _ = task.prepare(self._inputs[:1], self._targets[:1])
            most = _CHUNK_EXAMPLES // task.tokens_per_example
            self._chunk = max(1, min(most, _CHUNK_NUMBERS // max(1, example.numel())))

    def losses(self, copies: Copies, engine: Engine) -> Tensor:
        """Return the evaluation loss of each copy, shape ``[num_copies]``, float64 on the CPU."""
        if self._task.exact_loss is not None:
            weights = {**copies.buffers, **copies.params}
            return vmap(self._task.exact_loss)(weights).double().cpu()
        total = torch.zeros(len(copies), dtype=torch.float64)
        for stored in zip(
            torch.split(self._inputs, self._chunk),
            torch.split(self._targets, self._chunk),
            strict=True,
        ):
            inputs, targets = self._task.prepare(*stored)
            total += engine.losses(copies, inputs, targets).double().cpu() * len(inputs)
        return total / len(self._inputs)


@dataclass(frozen=True)
class Validation:
    """What held-out data say about some trials when they have ended, each of length ``num_copies``.

    Attributes:
        losses: Infinite where not finite; all None where the task has no such data.
        metrics: The task's own measure; None where it has none or where it is not finite.
    """

    losses: tuple[float | None, ...]
    metrics: tuple[float | None, ...]


def validate(
    task: Task, copies: Copies, live: Sequence[int], num_copies: int, engine: LoopEngine
) -> Validation:
    """Measure the trials that are still alive on the task's held-out data.

    One model at a time, so that a metric may do what cannot be stacked, in fp32 and without label
    smoothing.

    Args:
        task: What is trained.
        copies: The models that are alive.
        live: Length ``len(copies)``, their places among all.
        num_copies: How many there were.
        engine: Measures.

    Returns:
        Their losses and metrics, and the infinite losses of those that are not alive.
    """
    if task.validation is None:
        return Validation((None,) * num_copies, (None,) * num_copies)
    losses = torch.full((num_copies,), torch.inf, dtype=torch.float64)
    metrics = torch.full((num_copies,), torch.nan, dtype=torch.float64)
    if live:
        losses[live] = _mean_over(task, task.loss, copies, engine)
        if task.metric is not None:
            metrics[live] = _mean_over(task, task.metric, copies, engine)
    return Validation(
        tuple(loss if math.isfinite(loss) else math.inf for loss in losses.tolist()),
        tuple(one if math.isfinite(one) else None for one in metrics.tolist()),
    )


def _mean_over(task: Task, what: Loss, copies: Copies, engine: LoopEngine) -> Tensor:
    """Return a mean over the held-out examples of each copy, float64 on the CPU."""
    assert task.validation is not None
    stored, device = task.validation, copies.lr.device
    total = torch.zeros(len(copies), dtype=torch.float64)
    for portion in zip(*(torch.split(part, _CHUNK_EXAMPLES) for part in stored), strict=True):
        inputs, targets = task.prepare(*(part.to(device) for part in portion))
        total += engine.measure(what, copies, inputs, targets).double().cpu() * len(inputs)
    return total / len(stored[0])


def evaluation_set(task: Task, sweep_seed: int) -> Batch:
    """Return all examples of a small task, or 4,096 fixed ones of a large task or a stream.

    Where an example is many tokens, 4,096 tokens but no fewer than 256 examples. They are as the
    task stores them: ``Task.transform`` comes after.
    """
    generator = make_generator(sweep_seed, "evaluation")
    most = MAX_EVALUATION_EXAMPLES // task.tokens_per_example
    most = max(_MIN_EVALUATION_EXAMPLES, most)
    if task.stream is not None:
        return task.stream(generator, most)
    num_examples = task.num_examples
    assert num_examples is not None
    index = torch.arange(num_examples)
    if num_examples > most:
        index = torch.randperm(num_examples, generator=generator)[:most]
    return stored_examples(task, index, sweep_seed, "evaluation")
