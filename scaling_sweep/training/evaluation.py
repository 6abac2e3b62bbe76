"""The loss that verdicts rest on: over the population, all data, or a fixed part of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import vmap

from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.engines import Engine, LoopEngine
from scaling_sweep.training.lookup import stored_examples
from scaling_sweep.training.randomness import make_generator
from scaling_sweep.training.treatment import PLAIN_TREATMENT, Loss, Treatment, batch_norms

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
            self._stored = inputs.to(device), targets.to(device)

    def losses(self, copies: Copies, engine: Engine) -> Tensor:
        """Return the evaluation loss of each copy, shape ``[num_copies]``, float64 on the CPU."""
        if self._task.exact_loss is not None:
            weights = {**copies.buffers, **copies.params}
            return vmap(self._task.exact_loss)(weights).double().cpu()
        total = torch.zeros(len(copies), dtype=torch.float64)
        for stored in _portions(self._task, self._stored):
            inputs, targets = self._task.prepare(*stored)
            total += engine.losses(copies, inputs, targets).double().cpu() * len(inputs)
        return total / len(self._stored[0])


def untrained_engine(
    engine: Engine,
    model: nn.Module,
    task: Task,
    rule: UpdateRule,
    treatment: Treatment = PLAIN_TREATMENT,
) -> Engine:
    """Return what measures the loss of untrained models.

    BatchNorm's running statistics say nothing yet: with them a deep network may lie orders of
    magnitude above the loss that training begins with. So its layers take those of up to 512
    examples, unless the recipe freezes them. Other models are measured as they are later.

    Args:
        engine: The pack's own.
        model: An instance of the task's model.
        task: Gives the loss.
        rule: The optimizer.
        treatment: The sweep's recipe.

    Returns:
        The same engine, or another where the model has BatchNorm.
    """
    if treatment.batch_norm != "running" or not batch_norms(model):
        return engine
    return LoopEngine(model, task, rule, replace(treatment, batch_norm="batch"))


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
        measures = [task.loss] if task.metric is None else [task.loss, task.metric]
        found = _means_over(task, measures, copies, engine)
        losses[live] = found[0]
        if task.metric is not None:
            metrics[live] = found[1]
    return Validation(
        tuple(loss if math.isfinite(loss) else math.inf for loss in losses.tolist()),
        tuple(one if math.isfinite(one) else None for one in metrics.tolist()),
    )


def _means_over(
    task: Task, measures: Sequence[Loss], copies: Copies, engine: LoopEngine
) -> list[Tensor]:
    """Return means over the held-out examples of each copy, float64 on the CPU."""
    stored, device = validation_set(task), copies.lr.device
    totals = [torch.zeros(len(copies), dtype=torch.float64) for _ in measures]
    for held, wanted in _portions(task, stored):
        inputs, targets = task.prepare(held.to(device), wanted.to(device))
        for total, what in zip(totals, measures, strict=True):
            total += engine.measure(what, copies, inputs, targets).double().cpu() * len(inputs)
    return [total / len(stored[0]) for total in totals]


def validation_set(task: Task) -> Batch:
    """Return all held-out examples, or 4,096 fixed ones of more, the same in every sweep.

    As many as ``evaluation_set`` takes, and as the task stores them.

    Args:
        task: It has validation data.

    Returns:
        Inputs and targets.
    """
    held = task.validation
    assert held is not None
    inputs, targets, dataset = (*held, None) if isinstance(held, tuple) else (None, None, held)
    own = replace(task, inputs=inputs, targets=targets, dataset=dataset, stream=None)
    num_held = own.num_examples
    assert num_held is not None
    index = _part(num_held, num_evaluated(task), make_generator("validation"))
    return stored_examples(own, index, "validation")


def _portions(task: Task, stored: Batch) -> Iterator[Batch]:
    """Yield stored examples in portions that keep activations small, none of a single example."""
    example, _ = task.prepare(stored[0][:1], stored[1][:1])
    size, num = portion_size(task, example.numel()), len(stored[0])
    sizes = [size] * (num // size) + [num % size] * bool(num % size)
    if len(sizes) > 1 and sizes[-1] == 1:  # BatchNorm has no statistics of one
        sizes[-2:] = [size + 1]
    return zip(torch.split(stored[0], sizes), torch.split(stored[1], sizes), strict=True)


def portion_size(task: Task, num_numbers: int) -> int:
    """Return how many examples are evaluated at once.

    Args:
        task: What is trained.
        num_numbers: Numbers in the inputs of one example.

    Returns:
        At least 2.
    """
    most = _CHUNK_EXAMPLES // task.tokens_per_example
    return max(2, min(most, _CHUNK_NUMBERS // max(1, num_numbers)))


def evaluation_set(task: Task, sweep_seed: int) -> Batch:
    """Return all examples of a small task, or 4,096 fixed ones of a large task or a stream.

    Where an example is many tokens, 4,096 tokens but no fewer than 256 examples. They are as the
    task stores them: ``Task.transform`` comes after.
    """
    generator, most = make_generator(sweep_seed, "evaluation"), num_evaluated(task)
    if task.stream is not None:
        return task.stream(generator, most)
    num_examples = task.num_examples
    assert num_examples is not None
    return stored_examples(task, _part(num_examples, most, generator), sweep_seed, "evaluation")


def num_evaluated(task: Task) -> int:
    """Return how many examples a loss is evaluated over, where the data have so many."""
    return max(_MIN_EVALUATION_EXAMPLES, MAX_EVALUATION_EXAMPLES // task.tokens_per_example)


def _part(num_examples: int, most: int, generator: torch.Generator) -> Tensor:
    """Return the indices of all examples, or of a random part of too many."""
    if num_examples <= most:
        return torch.arange(num_examples)
    return torch.randperm(num_examples, generator=generator)[:most]
