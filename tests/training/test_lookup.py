"""Datasets looked up by workers: the same batches as without, whatever the dataset draws from."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.batches import Batches, IndexStream
from scaling_sweep.training.lookup import stored_examples
from scaling_sweep.training.randomness import make_generator
from tests.training.cases import small_net

CPU = torch.device("cpu")
NUM_ITEMS = 40


class Jittered(Dataset[Batch]):
    """Items that are their own number, with jitter from three global generators."""

    def __len__(self) -> int:
        """Return the number of items."""
        return NUM_ITEMS

    def __getitem__(self, index: int) -> Batch:
        """Return the number beside three random ones, and the number."""
        drawn = [torch.rand(()).item(), np.random.random(), random.random()]  # noqa: NPY002
        return torch.tensor([index, *drawn]), torch.tensor([index])


class AtOnce(Jittered):
    """The same with torch's way to look up many items at once."""

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return the items, in that order."""
        return [self[index] for index in indices]


def make_task(dataset: Dataset[Batch], num_workers: int) -> Task:
    """Return a task on a dataset."""
    return Task(
        "own", "", small_net, nn.functional.mse_loss, dataset=dataset, num_workers=num_workers
    )


def draws(task: Task, wanted: Sequence[Sequence[int]]) -> list[Batch]:
    """Return the batches of some rounds of seeds."""
    names = [(seed, "t") for seed in (0, 1, 2)]
    batches = Batches(task, [0, 1, 2], 6, False, names, CPU)
    return [batches.draw(seeds) for seeds in wanted]


@pytest.mark.parametrize("dataset", [Jittered(), AtOnce()], ids=["one-by-one", "at-once"])
def test_workers_change_nothing(dataset: Dataset[Batch]) -> None:
    """With 0 and with 2 workers the batches are the same, jitter and all, and in seeds' order."""
    rounds = [[0, 1, 2, 0]] * 9
    alone, helped = (draws(make_task(dataset, number), rounds) for number in (0, 2))
    streams = [IndexStream(NUM_ITEMS, 6, False, make_generator(seed, "t")) for seed in (0, 1, 2)]

    torch.testing.assert_close(alone, helped, rtol=0, atol=0)
    for inputs, _ in alone:
        expected = torch.stack([stream.draw() for stream in streams])[[0, 1, 2, 0]]
        assert torch.equal(inputs[..., 0].long(), expected)


def test_a_seed_that_stops_leaves_the_others_their_batches() -> None:
    """What was looked up ahead for a seed that stopped is passed over."""
    kept = draws(make_task(Jittered(), 2), [[0, 1, 2]] * 3 + [[0, 2]] * 6 + [[2]] * 6)
    whole = draws(make_task(Jittered(), 0), [[0, 1, 2]] * 15)

    for (some, _), (every, _) in zip(kept, whole, strict=True):
        rows = {3: [0, 1, 2], 2: [0, 2], 1: [2]}[len(some)]
        assert torch.equal(some, every[rows])


def test_a_seed_cannot_come_back() -> None:
    """A seed that was left out has no next batch, and that is said."""
    with pytest.raises(ValueError, match="draw all seeds every time"):
        draws(make_task(Jittered(), 0), [[0, 1], [0], [0, 1]])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_generators_are_left_as_they_were(num_workers: int) -> None:
    """Neither the loader nor the dataset moves the generators that models draw from."""
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = (torch.rand(3).tolist(), random.random(), np.random.random())  # noqa: NPY002
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    draws(make_task(Jittered(), num_workers), [[0, 1]] * 4)

    assert (torch.rand(3).tolist(), random.random(), np.random.random()) == expected  # noqa: NPY002


@pytest.mark.parametrize("num_workers", [0, 2])
def test_examples_are_looked_up_in_portions(num_workers: int) -> None:
    """More examples than a portion holds come back in the order asked for."""
    index = torch.arange(700) % NUM_ITEMS
    inputs, targets = stored_examples(make_task(Jittered(), num_workers), index, "t")

    assert torch.equal(inputs[:, 0].long(), index)
    assert torch.equal(targets.flatten(), index)


def test_a_transform_gets_the_seeds_generator_and_none_in_evaluation() -> None:
    """Each seed's batches are transformed by a stream of its own; evaluation gets no generator."""
    seen: list[torch.Generator | None] = []

    def transform(
        inputs: torch.Tensor, targets: torch.Tensor, generator: torch.Generator | None
    ) -> Batch:
        seen.append(generator)
        if generator is None:
            return inputs, targets
        return inputs + torch.rand(len(inputs), 1, generator=generator), targets

    zeros = torch.zeros(8, 4)
    task = Task(
        "own", "", small_net, nn.functional.mse_loss, zeros, torch.zeros(8, 1), transform=transform
    )
    names = [(seed, "t") for seed in (3, 5)]
    batches = Batches(task, [3, 5], 2, True, names, CPU)
    generators = {seed: make_generator(seed, "t", "transform") for seed in (3, 5)}
    for _ in range(3):
        inputs, _ = batches.draw([5, 3, 5])
        expected = {seed: torch.rand(2, 1, generator=generators[seed]) for seed in (3, 5)}
        for row, seed in enumerate([5, 3, 5]):
            assert torch.equal(inputs[row], expected[seed].expand(2, 4))
    assert None not in seen

    assert torch.equal(task.prepare(zeros, zeros)[0], zeros)
    assert seen[-1] is None
