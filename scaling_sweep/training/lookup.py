"""A dataset's items looked up in a given order, here or in worker processes, with one result."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scaling_sweep.tasks.task import Batch, Collate, Task
from scaling_sweep.training.randomness import call_seeded

# Items looked up at once where no batch size is given: enough to keep a few workers busy (guess).
_PORTION = 256


@dataclass(frozen=True)
class Wanted:
    """A batch to look up.

    Attributes:
        place: Whose it is, given back with it.
        indices: The items.
        stream: Name of the random stream for what the dataset draws on the way.
    """

    place: int
    indices: tuple[int, ...]
    stream: tuple[str | int, ...]


@dataclass(frozen=True)
class Found:
    """A batch that was looked up.

    Attributes:
        place: Whose it is.
        inputs: Shape ``[num_items, ...]``.
        targets: Shape ``[num_items, ...]``.
    """

    place: int
    inputs: Tensor
    targets: Tensor


def look_up(task: Task, wanted: Iterable[Wanted], device: torch.device) -> Iterator[Found]:
    """Look up one batch of a task's dataset after the other.

    What a dataset draws from the global generators of torch, NumPy and Python, to augment its
    items, is seeded for each batch: it depends neither on ``task.num_workers`` nor on what was
    looked up before. Workers run ahead: ``wanted`` is read some batches early.

    Args:
        task: Its dataset, how to collate it, and the number of workers.
        wanted: The batches in order; may never end.
        device: Where they will go; memory is pinned for a GPU.

    Yields:
        The batches in the same order, in memory of the CPU.
    """
    assert task.dataset is not None
    num_workers = min(task.num_workers, os.cpu_count() or 1)  # torch warns where there are more
    loader = DataLoader(
        _SeededItems(task.dataset, task.collate),
        batch_size=None,
        sampler=wanted,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # not the global one, which belongs to the models
    )
    for place, inputs, targets in loader:
        yield Found(place, inputs, targets)


def stored_examples(task: Task, index: Tensor, *stream: str | int) -> Batch:
    """Return some examples of finite data as they are stored, before ``Task.transform``.

    Args:
        task: Its data are tensors or a dataset.
        index: Shape ``[num_examples]``.
        *stream: Name of the random stream for what a dataset draws.

    Returns:
        Inputs and targets, each of shape ``[num_examples, ...]``.

    Example:
        >>> from scaling_sweep.tasks.digits import digits_mlp
        >>> stored_examples(digits_mlp(), torch.tensor([0, 5]), "doc")[1]
        tensor([0, 5])
    """
    if task.inputs is not None and task.targets is not None:
        return task.inputs[index], task.targets[index]
    portions = (
        Wanted(0, tuple(part.tolist()), (*stream, number))
        for number, part in enumerate(torch.split(index, _PORTION))
    )
    found = list(look_up(task, portions, torch.device("cpu")))
    return torch.cat([part.inputs for part in found]), torch.cat([part.targets for part in found])


class _SeededItems(Dataset[tuple[int, Tensor, Tensor]]):
    """Whole batches as the items of a dataset, so that a worker makes and seeds each alone."""

    def __init__(self, dataset: Dataset[Any], collate: Collate) -> None:
        self._dataset = dataset
        self._collate = collate

    def __getitem__(self, wanted: Wanted) -> tuple[int, Tensor, Tensor]:
        inputs, targets = call_seeded(lambda: self._batch(wanted.indices), *wanted.stream)
        return wanted.place, inputs, targets

    def _batch(self, indices: tuple[int, ...]) -> Batch:
        at_once = getattr(self._dataset, "__getitems__", None)  # torch's own convention
        if at_once is not None:
            return self._collate(at_once(list(indices)))
        return self._collate([self._dataset[index] for index in indices])


def _as_it_is(found: Any) -> Any:  # noqa: ANN401  # a batch is not put together once more
    return found
