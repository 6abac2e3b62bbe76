"""The loss that verdicts rest on: over the population, all data, or a fixed part of them."""

import torch
from torch import Tensor
from torch.func import vmap

from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.engines import Engine
from scaling_sweep.training.randomness import call_seeded, make_generator

# Standard error of a mean loss over 4,096 examples is a few per cent of its spread between
# examples: far below the factor 0.5 that verdicts ask for.
MAX_EVALUATION_EXAMPLES = 4096
# Where an example is many tokens, it counts as many; but their losses go together, so that at
# least this many examples are taken (a guess).
_MIN_EVALUATION_EXAMPLES = 256
# Examples evaluated at once; a guess that keeps activations small. The same in every pack: a sum
# in other portions rounds otherwise, and a trial must not know its mates.
_CHUNK_EXAMPLES = 512


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

    def losses(self, copies: Copies, engine: Engine) -> Tensor:
        """Return the evaluation loss of each copy, shape ``[num_copies]``, float64 on the CPU."""
        if self._task.exact_loss is not None:
            return vmap(self._task.exact_loss)(copies.params).double().cpu()
        total = torch.zeros(len(copies), dtype=torch.float64)
        chunk = max(1, _CHUNK_EXAMPLES // self._task.tokens_per_example)
        for inputs, targets in zip(
            torch.split(self._inputs, chunk), torch.split(self._targets, chunk), strict=True
        ):
            total += engine.losses(copies, inputs, targets).double().cpu() * len(inputs)
        return total / len(self._inputs)


def evaluation_set(task: Task, sweep_seed: int) -> Batch:
    """Return all examples of a small task, or 4,096 fixed ones of a large task or a stream.

    Where an example is many tokens, 4,096 tokens but no fewer than 256 examples.
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
    if task.inputs is not None and task.targets is not None:
        return task.inputs[index], task.targets[index]
    dataset = task.dataset
    assert dataset is not None
    # Seeded, because a dataset may augment what it is asked for.
    inputs, targets = call_seeded(
        lambda: task.collate([dataset[i] for i in index.tolist()]), sweep_seed, "evaluation"
    )
    return inputs, targets
