"""Where mini-batches come from: a finite set of examples, or a stream that never ends."""

from dataclasses import dataclass

import torch

from scaling_sweep.curvature.workspace import Examples
from scaling_sweep.tasks.task import Stream, Task
from scaling_sweep.training.lookup import stored_examples


@dataclass(frozen=True)
class Population:
    """The examples that "all the data" means, and how mini-batches are drawn from them.

    Attributes:
        examples: All of them; for a stream, a sample that stands for it.
        stream: Draws fresh mini-batches; None for finite data.
        replacement: Whether an example may occur twice in a mini-batch of finite data.

    Example:
        >>> examples = Examples(torch.arange(6.0), torch.arange(6.0))
        >>> population = Population(examples, replacement=False)
        >>> population.draw(3, 2, torch.Generator()).inputs.shape
        torch.Size([3, 2])
        >>> population.variance_factor(6)
        0.0
    """

    examples: Examples
    stream: Stream | None = None
    replacement: bool = True

    @classmethod
    def of(
        cls, task: Task, num_examples: int, replacement: bool, generator: torch.Generator
    ) -> "Population":
        """Take up to ``num_examples`` of a task's data.

        Args:
            task: What is trained.
            num_examples: Bound on what "all the data" means; of larger data a random part.
            replacement: Whether mini-batches draw with replacement.
            generator: Chooses the part, or draws the sample of a stream.

        Returns:
            The population.
        """
        if task.stream is not None:
            return cls(Examples(*task.stream(generator, num_examples)), task.stream)
        total = task.num_examples
        assert total is not None
        index = torch.arange(total)
        if total > num_examples:
            index = torch.randperm(total, generator=generator)[:num_examples]
        # As evaluation sees them: whole, and nothing about them is drawn anew.
        stored = stored_examples(task, index, "curvature", "examples")
        examples = Examples(*task.prepare(*stored))
        return cls(examples, replacement=replacement)

    def draw(self, num_batches: int, batch_size: int, generator: torch.Generator) -> Examples:
        """Draw mini-batches, shape ``[num_batches, batch_size, ...]``.

        Args:
            num_batches: How many.
            batch_size: Examples in each.
            generator: Where the draws come from.

        Returns:
            The mini-batches, independent of each other.

        Raises:
            ValueError: If more examples are wanted without replacement than there are.
        """
        if self.stream is not None:
            inputs, targets = self.stream(generator, num_batches * batch_size)
            shape = (num_batches, batch_size)
            return Examples(
                inputs.reshape(*shape, *inputs.shape[1:]),
                targets.reshape(*shape, *targets.shape[1:]),
            )
        total = len(self.examples)
        if self.replacement:
            size = (num_batches, batch_size)
            return self.examples.select(torch.randint(total, size, generator=generator))
        if batch_size > total:
            raise ValueError(
                f"A batch of {batch_size} without replacement needs as many examples, "
                f"got {total}; take a smaller batch size or draw with replacement."
            )
        rows = [torch.randperm(total, generator=generator) for _ in range(num_batches)]
        return self.examples.select(torch.stack(rows)[:, :batch_size])

    def variance_factor(self, batch_size: int) -> float:
        """Return the finite-population correction: ``(N − B)/(N − 1)`` without replacement, or 1.

        The variance of a batch's mean is this times the variance of one example over ``B``.
        """
        total = len(self.examples)
        if self.stream is not None or self.replacement or total == 1:
            return 1.0
        return (total - batch_size) / (total - 1)

    def singles(self) -> Examples:
        """Return every example as a mini-batch of one, shape ``[num_examples, 1, ...]``."""
        return Examples(self.examples.inputs[:, None], self.examples.targets[:, None])
