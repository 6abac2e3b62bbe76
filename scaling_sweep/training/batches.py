"""The sequence of batches of each seed, with or without replacement or freshly drawn."""

import itertools
import weakref
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.lookup import Found, Wanted, look_up
from scaling_sweep.training.randomness import make_generator


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
        # Their own, so that what is augmented how does not move which examples come.
        self._transform_generators = [make_generator(*name, "transform") for name in stream_names]
        self._place = {seed: place for place, seed in enumerate(seeds)}
        self._serving: tuple[int, ...] | None = None
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
        row_of = {seed: row for row, seed in enumerate(wanted)}
        rows = torch.tensor([row_of[seed] for seed in seeds])
        places = tuple(self._place[seed] for seed in wanted)
        inputs, targets = self._next_batches(places)
        return _lay_out(inputs, rows), _lay_out(targets, rows)

    def _next_batches(self, places: tuple[int, ...]) -> Batch:
        """Return the next batch of each place, shape ``[num_places, batch_size, ...]``."""
        if self._task.inputs is not None and self._task.transform is None:
            index = torch.stack([self._indices[place].draw() for place in places])
            return self._gather(index)
        if self._task.dataset is not None:
            self._serve(places)
        stored = (self._next_stored(place) for place in places)
        ready = [
            self._task.prepare(
                inputs.to(self._device, non_blocking=True),
                targets.to(self._device, non_blocking=True),
                self._transform_generators[place],
            )
            for place, (inputs, targets) in zip(places, stored, strict=True)
        ]
        return _stack([inputs for inputs, _ in ready]), _stack([targets for _, targets in ready])

    def _next_stored(self, place: int) -> Batch:
        """Return the next batch of one place as the task stores it."""
        if self._task.inputs is not None:
            return self._gather(self._indices[place].draw())
        if self._task.stream is not None:
            return self._task.stream(self._generators[place], self._batch_size)
        found = next(self._found)
        while found.place != place:  # looked up ahead for a seed that has stopped since
            found = next(self._found)
        return found.inputs, found.targets

    def _gather(self, index: Tensor) -> Batch:
        index = index.to(self._device)
        return self._inputs[index], self._targets[index]

    def _serve(self, places: tuple[int, ...]) -> None:
        """Tell the workers whose batches to look up; who has stopped stays so."""
        if self._serving is None:
            # Through a proxy: in a cycle of references the loader would end only when it is
            # collected, its queues before it, and wait 5 s for each of its workers (torch 2.15).
            order = Batches._order(weakref.proxy(self))
            self._found: Iterator[Found] = look_up(self._task, order, self._device)
        elif not set(places) <= set(self._serving):
            raise ValueError("A seed that was left out has stopped; draw all seeds every time.")
        self._serving = places

    def _order(self) -> Iterator[Wanted]:
        """Yield the batches to come, step after step and in each the seeds then served."""
        for step in itertools.count(1):
            assert self._serving is not None
            for place in self._serving:
                indices = tuple(self._indices[place].draw().tolist())
                yield Wanted(place, indices, (*self._names[place], step))


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


def _stack(values: Sequence[Tensor]) -> Tensor:
    return values[0].unsqueeze(0) if len(values) == 1 else torch.stack(list(values))


def _lay_out(drawn: Tensor, rows: Tensor) -> Tensor:
    """Give each copy its seed's batch; the copies of a single seed share one in memory."""
    if len(drawn) == 1:
        return drawn.expand(len(rows), *drawn.shape[1:])
    return drawn[rows.to(drawn.device)]
