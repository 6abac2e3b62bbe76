"""The loss that verdicts rest on: over the population, all data, or a fixed part of them."""

import torch
from torch import Tensor
from torch.func import vmap

from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.engines import Engine
from scaling_sweep.training.lookup import stored_examples
from scaling_sweep.training.randomness import make_generator

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
            return vmap(self._task.exact_loss)(copies.params).double().cpu()
        total = torch.zeros(len(copies), dtype=torch.float64)
        for stored in zip(
            torch.split(self._inputs, self._chunk),
            torch.split(self._targets, self._chunk),
            strict=True,
        ):
            inputs, targets = self._task.prepare(*stored)
            total += engine.losses(copies, inputs, targets).double().cpu() * len(inputs)
        return total / len(self._inputs)


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
