"""Whole trainings against a plain loop of nn.Module, autograd and torch.optim."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.tasks.digits import digits_cnn
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.randomness import derive_seed
from tests.training.cases import batchnorm_net, make_spec, net_task, small_net, train_only

MakeOptimizer = Callable[[Iterator[nn.Parameter], float], torch.optim.Optimizer]
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda params, lr: torch.optim.SGD(params, lr),
    "momentum": lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9),
    "nesterov": lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9, nesterov=True),
    "adam": lambda params, lr: torch.optim.Adam(params, lr),
    "adamw": lambda params, lr: torch.optim.AdamW(params, lr),
    "rmsprop": lambda params, lr: torch.optim.RMSprop(params, lr),
}
both_engines = pytest.mark.parametrize("engine", ["vmap", "loop"])


@dataclass(frozen=True)
class Reference:
    """What the plain loop found.

    Attributes:
        initial_loss: On all data, before.
        batch_losses: One per step.
        final_loss: On all data, after.
    """

    initial_loss: float
    batch_losses: Sequence[float]
    final_loss: float


def draw_indices(
    num_examples: int, batch_size: int, num_steps: int, seed: int, sampling: str
) -> Iterator[Tensor]:
    """Yield the batches of a seed of sweep 0."""
    name = derive_seed(0, seed, batch_size, "batches")
    generator = torch.Generator().manual_seed(name)
    if sampling == "replacement":
        for _ in range(num_steps):
            yield torch.randint(num_examples, (batch_size,), generator=generator)
        return
    per_epoch = num_examples // batch_size
    for step in range(num_steps):
        if step % per_epoch == 0:
            order = torch.randperm(num_examples, generator=generator)
        first = step % per_epoch * batch_size
        yield order[first : first + batch_size]


def train_plainly(
    task: Task, optimizer: str, lr: float, seed: int, steps: int, sampling: str = "replacement"
) -> Reference:
    """Train one trial the way a textbook does."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(0, seed, "start"))
        model = task.make_model()
    inputs, targets = task.inputs, task.targets

    def evaluate(model: nn.Module) -> float:
        with torch.no_grad():
            return task.loss(model(inputs), targets).item()

    # These nets draw nothing, so training mode means batch statistics and no more.
    initial, losses = evaluate(deepcopy(model).train()), []
    stepper = OPTIMIZERS[optimizer](model.parameters(), lr)
    for index in draw_indices(len(inputs), 8, steps, seed, sampling):
        model.train()
        stepper.zero_grad()
        loss = task.loss(model(inputs[index]), targets[index])
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    return Reference(initial, losses, evaluate(model.eval()))


def assert_matches(
    task: Task, optimizer: str, lrs: Sequence[float], *, engine: str, steps: int, sampling: str
) -> None:
    """Assert that every trial of a pack equals its plain training."""
    spec = make_spec([optimizer], lrs=lrs, steps=steps, engine=engine, sampling=sampling)
    result = train_only(spec, task)
    assert result.engine == engine
    for trial, record in zip(result.pack.trials, result.records, strict=True):
        expected = train_plainly(task, optimizer, trial.lr, trial.seed, steps, sampling)
        windows = np.reshape(expected.batch_losses, (-1, 8)).mean(1)  # 8 steps of 8 examples
        assert expected.final_loss < 0.9 * expected.initial_loss
        # Float32 rounding, 6e-8 a step, grows a little while training contracts.
        assert record.initial_loss == pytest.approx(expected.initial_loss, rel=1e-6)
        assert record.start_loss == record.initial_loss
        assert record.final_loss == pytest.approx(expected.final_loss, rel=1e-5)
        assert record.peak_loss == pytest.approx(windows.max(), rel=1e-5)
        assert record.min_loss == pytest.approx(windows.min(), rel=1e-5)
        assert record.curve_losses == pytest.approx(windows, rel=1e-5)
        assert record.curve_steps == tuple(range(8, steps + 1, 8))
        assert record.steps_run == steps


@both_engines
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_pack_trains_as_a_textbook_does(engine: str, sampling: str, optimizer: str) -> None:
    """Losses before, during and after equal those of a plain loop with torch's optimizer."""
    lrs = (0.01, 0.03) if optimizer != "sgd" else (0.03, 0.1)

    assert_matches(net_task(small_net), optimizer, lrs, engine=engine, steps=48, sampling=sampling)


@both_engines
def test_batch_normalisation_trains_as_a_textbook_does(engine: str) -> None:
    """Running statistics are each copy's own, learnt in training and used in evaluation."""
    task = net_task(batchnorm_net)

    assert_matches(task, "sgd", (0.03, 0.1), engine=engine, steps=48, sampling="replacement")


@pytest.mark.slow
@both_engines
def test_the_cnn_trains_as_a_textbook_does(engine: str) -> None:
    """The same holds for convolutions on real images."""
    task = digits_cnn(width=4)

    assert_matches(task, "momentum", (0.05, 0.1), engine=engine, steps=80, sampling="epoch")
