"""Small tasks and studies that the training tests vary."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.spec import SweepSpec
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.records import PackResult, TrialRecord

NUM_EXAMPLES, NUM_FEATURES = 96, 4


def make_spec(
    optimizers: Sequence[object] = ("sgd",),
    batch_sizes: Sequence[int] = (8,),
    lrs: Sequence[float] = (0.05, 0.2),
    steps: int = 24,
    **changes: object,
) -> SweepSpec:
    """Return a study; keywords replace keys of the file."""
    parameters = {
        "optimizer": {"values": list(optimizers)},
        "batch_size": {"values": list(batch_sizes)},
        "lr": {"values": list(lrs)},
    }
    whole = {"name": "t", "task": "own", "seeds": 2, "horizon": {"steps": steps}}
    return SweepSpec.model_validate({**whole, "parameters": parameters, **changes})


def only_pack(spec: SweepSpec, task: Task) -> Pack:
    """Return the pack of a study that has one."""
    (pack,) = plan_packs(spec, num_examples=task.num_examples)
    return pack


def train_all(spec: SweepSpec, task: Task, **options: Any) -> list[PackResult]:  # noqa: ANN401
    """Train every pack of a study."""
    packs = plan_packs(spec, num_examples=task.num_examples)
    return [train_pack(pack, spec, task, **options) for pack in packs]


def train_only(spec: SweepSpec, task: Task, **options: Any) -> PackResult:  # noqa: ANN401
    """Train the pack of a study that has one."""
    return train_pack(only_pack(spec, task), spec, task, **options)


def mixed_packs(pack: Pack, seed: int = 0) -> Iterator[Pack]:
    """Yield packs of two trials or more from one pack: other mates, other sizes, other orders."""
    trials, generator = list(pack.trials), torch.Generator().manual_seed(seed)
    for size in range(2, len(trials) + 1):
        order = torch.randperm(len(trials), generator=generator).tolist()
        yield Pack(tuple(trials[i] for i in order[:size]), pack.num_steps)


def measurement(record: TrialRecord) -> TrialRecord:
    """Return a record without what no two runs share."""
    return replace(record, wall_time_s=0.0)


def by_trial(*results: PackResult) -> dict[str, TrialRecord]:
    """Return the measurements of packs by trial."""
    records = itertools.chain.from_iterable(result.records for result in results)
    return {record.trial_id: measurement(record) for record in records}


def features(num_examples: int = NUM_EXAMPLES) -> tuple[Tensor, Tensor]:
    """Return inputs and noisy targets to regress on."""
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(num_examples, NUM_FEATURES, generator=generator)
    noise = 0.1 * torch.randn(num_examples, 1, generator=generator)
    return inputs, torch.tanh(inputs.sum(1, keepdim=True)) + noise


def small_net() -> nn.Module:
    """Build a perceptron of 33 parameters."""
    return nn.Sequential(nn.Linear(NUM_FEATURES, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten())


def net_task(
    make_model: Callable[[], nn.Module] = small_net, num_examples: int = NUM_EXAMPLES
) -> Task:
    """Return a regression on tensors."""
    inputs, targets = features(num_examples)
    loss = nn.functional.mse_loss
    return Task("own", "A regression.", make_model, loss, inputs=inputs, targets=targets)


class Branching(nn.Module):
    """A model that looks at its data to decide what to do, which vmap cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the net's outputs, negated where the inputs are large on average."""
        outputs: Tensor = self.net(inputs)
        return -outputs if inputs.mean().item() > 0.5 else outputs


def dropout_net() -> nn.Module:
    """Build a perceptron with dropout."""
    return nn.Sequential(
        nn.Linear(NUM_FEATURES, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1), nn.Flatten()
    )


def batchnorm_net() -> nn.Module:
    """Build a perceptron with batch normalisation, which has running statistics."""
    return nn.Sequential(
        nn.Linear(NUM_FEATURES, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten()
    )


@dataclass
class SpyLoss:
    """A loss that remembers which examples it was asked about while training.

    The targets are the examples' own numbers. It can look only in the loop engine.

    Attributes:
        seen: One list of examples per call.
    """

    seen: list[list[int]]

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return some loss, and note the targets."""
        if outputs.requires_grad:
            self.seen.append(targets.flatten().int().tolist())
        return nn.functional.mse_loss(outputs, targets / NUM_EXAMPLES)


def spied_task() -> tuple[Task, SpyLoss]:
    """Return a task whose loss tells which examples each copy saw."""
    spy = SpyLoss([])
    inputs, _ = features()
    targets = torch.arange(float(NUM_EXAMPLES)).view(-1, 1)
    return Task("own", "Spied on.", small_net, spy, inputs=inputs, targets=targets), spy


class SpyDataset(Dataset[tuple[Tensor, Tensor]]):
    """A map-style dataset that remembers what it was asked for, in any engine.

    Attributes:
        seen: Indices in the order asked.
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets
        self.seen: list[int] = []

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self._inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one pair, and note which."""
        self.seen.append(index)
        return self._inputs[index], self._targets[index]


def classification() -> Task:
    """Return a classifier of 3 kinds with BatchNorm, 96 examples."""
    inputs, targets = net_task().inputs, net_task().targets
    assert inputs is not None
    assert targets is not None

    def make_model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))

    labels = torch.bucketize(targets.flatten(), torch.tensor([-0.4, 0.4]))
    loss = nn.functional.cross_entropy
    return Task("own", "Three kinds.", make_model, loss, inputs=inputs, targets=labels)
