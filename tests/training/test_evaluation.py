"""The loss that verdicts rest on: all data, a fixed part of many, or the exact one."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from scaling_sweep.optimizers.sgd import sgd
from scaling_sweep.tasks.least_squares import least_squares
from scaling_sweep.tasks.task import Batch, Task
from scaling_sweep.training.copies import Point, stack_points
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from scaling_sweep.training.evaluation import Evaluator, evaluation_set, validation_set
from scaling_sweep.training.pack import initial_model
from tests.training.cases import (
    batchnorm_net,
    by_trial,
    features,
    make_spec,
    net_task,
    small_net,
    train_all,
    train_only,
)

CPU = torch.device("cpu")


def numbered_task(num_examples: int) -> Task:
    """Return a task whose targets number its examples."""
    inputs = torch.zeros(num_examples, 4)
    targets = torch.arange(float(num_examples)).view(-1, 1)
    return Task("own", "", small_net, nn.functional.mse_loss, inputs=inputs, targets=targets)


@pytest.mark.parametrize("num_examples", [1, 96, 4096])
def test_a_small_task_is_evaluated_on_all_its_data(num_examples: int) -> None:
    """Up to 4,096 examples, each counts once."""
    _, targets = evaluation_set(numbered_task(num_examples), 0)

    assert targets.flatten().tolist() == list(range(num_examples))


def test_a_large_task_is_evaluated_on_a_fixed_part() -> None:
    """Beyond 4,096, that many different examples, the same for a sweep seed, others for another."""
    task = numbered_task(5000)
    first, again, other = (
        evaluation_set(task, seed)[1].flatten().int().tolist() for seed in (0, 0, 1)
    )

    assert len(set(first)) == len(first) == 4096
    assert set(first) <= set(range(5000))
    assert first == again
    assert set(other) != set(first)


def test_the_part_is_the_same_for_every_trial_and_form_of_data() -> None:
    """One initial loss per seed, whatever the batch size; a dataset is judged as its tensors."""
    inputs, targets = features(5000)
    tensors = net_task(num_examples=5000)
    dataset = replace(tensors, inputs=None, targets=None, dataset=TensorDataset(inputs, targets))
    spec = make_spec(batch_sizes=(1, 8), lrs=(0.01,), steps=2, engine="vmap")
    records = by_trial(*train_all(spec, tensors))

    assert len({record.initial_loss for record in records.values()}) == 2
    assert by_trial(*train_all(spec, dataset)) == records
    part, expected = evaluation_set(tensors, 0)
    losses = {
        tensors.loss(initial_model(tensors, spec, seed)(part), expected).item() for seed in (0, 1)
    }
    assert sorted(record.initial_loss for record in records.values())[::2] == pytest.approx(
        sorted(losses), rel=1e-6
    )


class Wide(nn.Module):
    """Widens its inputs tenfold in each of three blocks, and takes it back by BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh()) for _ in range(3)]
        self.blocks, self.last = nn.ModuleList(blocks), nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return one output for each row."""
        for block in self.blocks:
            inputs = inputs + 10 * block[1](block[0](10 * inputs))
        outputs: Tensor = self.last(inputs)
        return outputs


@pytest.mark.parametrize("engine", ["vmap", "loop"])
def test_untrained_batch_norm_is_measured_with_statistics_of_its_own(engine: str) -> None:
    """What hardly moves ends where it began, though running statistics began far from the data."""
    task = net_task(Wide)
    spec = make_spec(batch_sizes=(96,), lrs=(1e-12,), steps=200, engine=engine, sampling="epoch")
    result = train_only(spec, task)
    unfilled = initial_model(task, spec, 0).eval()
    with torch.no_grad():
        misleading = task.loss(unfilled(task.inputs), task.targets).item()

    for record in result.records:
        # One variance divides by n, the other by n - 1.
        assert record.final_loss == pytest.approx(record.initial_loss, rel=0.05)
        assert record.start_loss == record.initial_loss
        assert misleading > 50 * record.initial_loss


def test_frozen_statistics_are_those_of_the_untrained_model_too() -> None:
    """Where a recipe freezes running statistics, the untrained model is measured with them."""
    task = net_task(Wide)
    spec = make_spec(lrs=(1e-12,), recipe={"batch_norm": "frozen"}, seeds=1)
    (record,) = train_only(spec, task).records
    model = initial_model(task, spec, 0).eval()

    with torch.no_grad():
        expected = task.loss(model(task.inputs), task.targets).item()
    assert record.initial_loss == pytest.approx(expected, rel=1e-5)


def test_no_portion_is_too_small_for_batch_norm() -> None:
    """One example more than fits a portion goes with it, because one alone has no statistics."""
    (record,) = train_only(make_spec(lrs=(0.1,), seeds=1), net_task(batchnorm_net, 513)).records

    assert record.final_loss < record.initial_loss


@pytest.mark.parametrize("tokens", [1, 64])
def test_many_held_out_examples_are_judged_by_a_fixed_part(tokens: int) -> None:
    """4,096 examples or tokens, 256 examples at least: the same from tensors and a dataset."""
    inputs, targets = torch.zeros(6000, 4), torch.arange(6000.0).view(-1, 1)
    task = replace(numbered_task(5), tokens_per_example=tokens)
    tensors = replace(task, validation=(inputs, targets))
    dataset = replace(task, validation=TensorDataset(inputs, targets))
    _, part = validation_set(tensors)

    assert len(part.unique()) == len(part) == (4096 if tokens == 1 else 256)
    assert part.median() == pytest.approx(3000, abs=400)  # the median's own spread is 187
    assert torch.equal(validation_set(dataset)[1], part)


@pytest.mark.parametrize("num_examples", [7, 512, 513, 1797])
@pytest.mark.parametrize("engine", [VmapEngine, LoopEngine])
def test_portions_add_up(num_examples: int, engine: type[VmapEngine]) -> None:
    """Evaluated in portions, the loss is the mean over all examples, for every copy."""
    task = net_task(num_examples=num_examples)
    torch.manual_seed(0)
    models = [small_net() for _ in range(3)]
    copies = stack_points([Point.of(model) for model in models], [0.0] * 3, sgd(), CPU)
    expected = [task.loss(model(task.inputs), task.targets).item() for model in models]

    actual = Evaluator(task, 0, CPU).losses(copies, engine(small_net(), task, sgd()))

    assert actual.dtype == torch.float64
    assert actual.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_stream_is_judged_on_fixed_samples() -> None:
    """Fresh samples are drawn once for the whole sweep."""

    def draw(generator: torch.Generator, batch_size: int) -> Batch:
        inputs = torch.randn(batch_size, 4, generator=generator)
        return inputs, inputs.sum(1, keepdim=True)

    task = Task("own", "", small_net, nn.functional.mse_loss, stream=draw)
    spec = make_spec(batch_sizes=(1, 8), steps=5, engine="vmap")
    losses = [record.initial_loss for record in by_trial(*train_all(spec, task)).values()]
    first, again, other = (evaluation_set(task, seed)[0] for seed in (0, 0, 1))

    assert len(losses) == 8
    assert len(set(losses)) == 2
    assert first.shape == (4096, 4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_known_population_loss_is_used_as_it_is() -> None:
    """Least squares is judged by half the squared norm of its weights, exactly."""
    task = least_squares(dim=8)
    spec = make_spec(lrs=(1e-30,), seeds=3, steps=2)
    for trial, record in zip((r := train_only(spec, task)).pack.trials, r.records, strict=True):
        weight: Tensor = initial_model(task, spec, trial.seed).weight
        assert record.initial_loss == pytest.approx(0.5 * weight.square().sum().item(), rel=1e-6)
        assert record.final_loss == record.initial_loss
