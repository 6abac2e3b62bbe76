"""Sequences of examples: epochs that visit all, draws with replacement that are uniform."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.batches import Batches, IndexStream
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.randomness import make_generator
from tests.training.cases import (
    by_trial,
    features,
    make_spec,
    mixed_packs,
    net_task,
    only_pack,
    small_net,
    train_only,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(("num_examples", "batch_size"), [(12, 3), (12, 12), (12, 1), (64, 16)])
def test_an_epoch_visits_every_example_once(num_examples: int, batch_size: int) -> None:
    """Where batches divide the data, each epoch is a permutation, and no two are alike."""
    stream = IndexStream(num_examples, batch_size, False, make_generator("t"))
    batches = num_examples // batch_size
    epochs = [torch.cat([stream.draw() for _ in range(batches)]).tolist() for _ in range(5)]

    assert [sorted(epoch) for epoch in epochs] == [list(range(num_examples))] * 5
    assert len({tuple(epoch) for epoch in epochs}) == 5


@pytest.mark.parametrize(("num_examples", "batch_size"), [(10, 3), (10, 7), (97, 64), (5, 4)])
def test_no_batch_of_an_epoch_repeats_an_example(num_examples: int, batch_size: int) -> None:
    """Where batches do not divide the data, the rest of an epoch is left out, not mixed in."""
    stream = IndexStream(num_examples, batch_size, False, make_generator("t"))
    batches = num_examples // batch_size
    seen: set[int] = set()
    for _ in range(50):
        epoch = torch.cat([stream.draw() for _ in range(batches)]).tolist()
        assert len(set(epoch)) == batches * batch_size
        seen |= set(epoch)

    # None is left out for good: the chance to miss one 50 times is at most 0.35^50 × 97.
    assert seen == set(range(num_examples))


def test_draws_with_replacement_are_uniform_and_independent() -> None:
    """Counts of examples and of pairs of neighbours follow chi-square with their degrees."""
    num_examples, num_draws = 10, 200_000
    stream = IndexStream(num_examples, 50, True, make_generator("t"))
    drawn = torch.cat([stream.draw() for _ in range(num_draws // 50)])

    for values, num_cells in (
        (drawn, num_examples),
        (drawn[::2] * num_examples + drawn[1::2], num_examples**2),
    ):
        counts = torch.bincount(values, minlength=num_cells).double()
        expected = len(values) / num_cells
        chi_square = ((counts - expected).square() / expected).sum().item()
        degrees = num_cells - 1
        # Its mean is the degrees, its variance twice that; allow 4 standard deviations.
        assert chi_square == pytest.approx(degrees, abs=4 * (2 * degrees) ** 0.5)


def test_copies_of_one_seed_get_one_batch() -> None:
    """Rows are laid out in the order of the copies, whatever that order is."""
    names = [(seed, "t") for seed in (0, 1, 2)]
    batches = Batches(net_task(), [0, 1, 2], 8, True, names, CPU)
    inputs, targets = batches.draw([2, 0, 2, 1])

    assert inputs.shape == (4, 8, 4)
    assert targets.shape == (4, 8, 1)
    assert torch.equal(inputs[0], inputs[2])
    assert not torch.equal(inputs[0], inputs[1])
    for row, seed in enumerate([2, 0, 2, 1]):
        index = IndexStream(96, 8, True, make_generator(seed, "t")).draw()
        assert torch.equal(inputs[row], features()[0][index])


@pytest.mark.parametrize("replacement", [True, False])
def test_a_dataset_gives_the_batches_that_its_tensors_would(replacement: bool) -> None:
    """Tensors and a dataset of the same pairs lead to the same batches."""
    data, names = features(), [(seed, "t") for seed in (0, 1)]
    tensors = net_task()
    dataset = Task("own", "", small_net, tensors.loss, dataset=TensorDataset(*data))
    first, second = (
        Batches(task, [0, 1], 8, replacement, names, CPU) for task in (tensors, dataset)
    )
    for _ in range(20):
        torch.testing.assert_close(first.draw([0, 1]), second.draw([0, 1]), rtol=0, atol=0)


def test_a_stream_draws_from_its_seeds_generator() -> None:
    """A stream gets the generator of its seed, the batch size, and keeps what it drew."""

    def draw(generator: torch.Generator, batch_size: int) -> Batch:
        inputs = torch.randn(batch_size, 4, generator=generator)
        return inputs, inputs.sum(1, keepdim=True)

    task = Task("own", "", small_net, nn.functional.mse_loss, stream=draw)
    batches = Batches(task, [3, 5], 6, True, [(3, "t"), (5, "t")], CPU)
    generators = {seed: make_generator(seed, "t") for seed in (3, 5)}
    for _ in range(4):
        inputs, targets = batches.draw([5, 3, 5])
        expected = {seed: draw(generators[seed], 6) for seed in (3, 5)}
        for row, seed in enumerate([5, 3, 5]):
            assert torch.equal(inputs[row], expected[seed][0])
            assert torch.equal(targets[row], expected[seed][1])


class Augmented(Dataset[Batch]):
    """A dataset that jitters its inputs with torch's global generator, as torchvision does."""

    def __len__(self) -> int:
        """Return the number of examples."""
        return 96

    def __getitem__(self, index: int) -> Batch:
        """Return a pair with jitter."""
        inputs, targets = features()
        return inputs[index] + torch.randn(4), targets[index]


@pytest.mark.parametrize("engine", ["vmap", "loop"])
def test_augmentation_is_part_of_a_trials_data(engine: str) -> None:
    """Random transforms of a dataset are the same in any pack, new at every step, and real."""
    task = Task("own", "", small_net, nn.functional.mse_loss, dataset=Augmented())
    spec = make_spec(lrs=(0.01, 0.05, 0.2), steps=6, engine=engine)
    pack = only_pack(spec, task)
    torch.manual_seed(1)
    expected = by_trial(train_only(spec, task))
    torch.manual_seed(2)
    state = torch.get_rng_state()

    for mixed in mixed_packs(pack):
        for trial_id, record in by_trial(train_pack(mixed, spec, task)).items():
            assert record == expected[trial_id]
    assert torch.equal(torch.get_rng_state(), state)
    batches = Batches(task, [0], 96, False, [(0, "t")], CPU)
    first, second = (batches.draw([0])[0][0].sort(0).values for _ in range(2))
    assert not torch.equal(first, second)
