"""The sequence of batches of each seed, with or without replacement or freshly drawn."""

from collections.abc import Sequence

import torch
from torch import Tensor

from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.randomness import call_seeded, make_generator


class IndexStream:
    """Indices of the examples of one seed's batches, one batch after the other.

    Without replacement the data are shuffled anew as soon as fewer than a batch remain, so
    every batch holds different examples.

    Args:
        num_examples: Size of the training set.
        batch_size: Examples per batch.
        replacement: Whether an example may occur twice in a batch.
        generator: Where the draws come from.

    Example:
        >>> stream = IndexStream(4, 4, False, make_generator("doc"))
        >>> sorted(stream.draw().tolist())
        [0, 1, 2, 3]
    """

    def __init__(
        self, num_examples: int, batch_size: int, replacement: bool, generator: torch.Generator
    ) -> None:
        self._num_examples = num_examples
        self._batch_size = batch_size
        self._replacement = replacement
        self._generator = generator
        self._rest = torch.empty(0, dtype=torch.int64)

    def draw(self) -> Tensor:
        """Return the indices of the next batch, shape ``[batch_size]``."""
        if self._replacement:
            size = (self._batch_size,)
            return torch.randint(self._num_examples, size, generator=self._generator)
        if len(self._rest) < self._batch_size:
            self._rest = torch.randperm(self._num_examples, generator=self._generator)
        batch, self._rest = self._rest[: self._batch_size], self._rest[self._batch_size :]
        return batch


class Batches:
    """The batches of several seeds at one batch size, drawn in step.

    Args:
        task: What is trained.
        seeds: The replicates.
        batch_size: Examples per batch.
        replacement: Whether to sample with replacement; a stream always draws afresh.
        stream_names: For each seed, the name of its random stream.
        device: Where the batches are wanted.
    """

    def __init__(
        self,
        task: Task,
        seeds: Sequence[int],
        batch_size: int,
        replacement: bool,
        stream_names: Sequence[tuple[str | int, ...]],
        device: torch.device,
    ) -> None:
        self._task = task
        self._batch_size = batch_size
        self._device = device
        self._names = stream_names
        self._generators = [make_generator(*name) for name in stream_names]
        self._num_looked_up = [0] * len(seeds)
        self._place = {seed: place for place, seed in enumerate(seeds)}
        if task.num_examples is not None:
            self._indices = [
                IndexStream(task.num_examples, batch_size, replacement, generator)
                for generator in self._generators
            ]
        if task.inputs is not None and task.targets is not None:
            self._inputs = move_windows(task.inputs, device)
            self._targets = move_windows(task.targets, device)

    def draw(self, seeds: Sequence[int]) -> Batch:
        """Draw the next batch of every seed and lay them out for the copies.

        Args:
            seeds: The seed of each copy, length ``num_copies``. A seed that is left out stops:
                its later batches are not drawn.

        Returns:
            Inputs and targets, each of shape ``[num_copies, batch_size, ...]``.
        """
        wanted = sorted(set(seeds))
        place = {seed: i for i, seed in enumerate(wanted)}
        rows = torch.tensor([place[seed] for seed in seeds])
        if self._task.num_examples is None:
            return self._fresh(wanted, rows)
        indices = torch.stack([self._indices[self._place[seed]].draw() for seed in wanted])
        if self._task.dataset is not None:
            return self._collated(wanted, indices, rows)
        index = indices.to(self._device)
        return _lay_out(self._inputs[index], rows), _lay_out(self._targets[index], rows)

    def _fresh(self, wanted: Sequence[int], rows: Tensor) -> Batch:
        assert self._task.stream is not None
        drawn = [
            self._task.stream(self._generators[self._place[seed]], self._batch_size)
            for seed in wanted
        ]
        return self._spread(drawn, rows)

    def _collated(self, wanted: Sequence[int], indices: Tensor, rows: Tensor) -> Batch:
        drawn = [
            self._look_up(self._place[seed], batch)
            for seed, batch in zip(wanted, indices.tolist(), strict=True)
        ]
        return self._spread(drawn, rows)

    def _look_up(self, place: int, index: Sequence[int]) -> Batch:
        """Return one seed's examples; what a dataset draws, to augment them, is seeded too."""
        dataset = self._task.dataset
        assert dataset is not None
        self._num_looked_up[place] += 1
        inputs, targets = call_seeded(
            lambda: self._task.collate([dataset[i] for i in index]),
            *self._names[place],
            self._num_looked_up[place],
        )
        return inputs, targets

    def _spread(self, drawn: Sequence[Batch], rows: Tensor) -> Batch:
        inputs = torch.stack([batch[0] for batch in drawn]).to(self._device)
        targets = torch.stack([batch[1] for batch in drawn]).to(self._device)
        return _lay_out(inputs, rows), _lay_out(targets, rows)


def move_windows(values: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device; windows that overlap in memory still do there.

    ``Tensor.to`` would write out every window, as many times the text as a window is long.

    Args:
        values: Shape ``[num_examples, ...]``, for example made by ``Tensor.unfold``.
        device: Where to.

    Returns:
        The same values.

    Example:
        >>> windows = torch.arange(9).unfold(0, 4, 1)
        >>> move_windows(windows, torch.device("cpu")).untyped_storage().nbytes()
        72
    """
    span = 1 + sum(
        (size - 1) * step for size, step in zip(values.shape, values.stride(), strict=True)
    )
    if values.device == device or values.numel() <= span:
        return values.to(device)
    line = values.as_strided((span,), (1,)).to(device)
    return line.as_strided(values.shape, values.stride())


def _lay_out(drawn: Tensor, rows: Tensor) -> Tensor:
    """Give each copy its seed's batch; the copies of a single seed share one in memory."""
    if len(drawn) == 1:
        return drawn.expand(len(rows), *drawn.shape[1:])
    return drawn[rows.to(drawn.device)]
