"""Copies that blow up: neighbours untouched, soon dropped, judged by their own numbers."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.training.compaction import is_worth_dropping
from scaling_sweep.training.pack import initial_model, make_batches, train_pack
from tests.training.cases import (
    by_trial,
    make_spec,
    measurement,
    net_task,
    only_pack,
    small_net,
    spied_task,
    train_only,
)

CPU = torch.device("cpu")
both_engines = pytest.mark.parametrize("engine", ["vmap", "loop"])


@both_engines
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])
@pytest.mark.parametrize("blown", [1e10, 1e30])
def test_a_copy_that_blows_up_leaves_its_neighbours_untouched(
    engine: str, optimizer: str, blown: float
) -> None:
    """Every bit of a healthy trial is the same beside a NaN as beside a healthy mate."""
    task = net_task()
    healthy = by_trial(
        train_only(make_spec([optimizer], lrs=(0.01, 0.02, 0.03), engine=engine), task)
    )
    spec = make_spec([optimizer], lrs=(0.01, 0.02, blown), engine=engine)
    beside = train_only(spec, task)

    num_blown = 0
    for trial, record in zip(beside.pack.trials, beside.records, strict=True):
        if trial.lr == blown:
            num_blown += 1
            assert record.verdict == "diverged"
            assert record.final_loss > 1e3 * record.initial_loss
        else:
            assert measurement(record) == healthy[record.trial_id]
    assert num_blown == 2


@both_engines
def test_a_dead_copy_is_dropped_within_steps(engine: str) -> None:
    """A third of the pack dies at once: it runs a few steps, the others all of them."""
    result = train_only(make_spec(lrs=(0.01, 0.02, 1e30), engine=engine, steps=100), net_task())

    for trial, record in zip(result.pack.trials, result.records, strict=True):
        if trial.lr == 1e30:
            assert record.steps_run <= 16
            assert record.final_loss == record.peak_loss == math.inf
            assert record.first_nonfinite_step is not None
            assert record.first_nonfinite_step < record.steps_run
        else:
            assert record.steps_run == 100
            assert record.first_nonfinite_step is None
    shares = [record.wall_time_s / record.steps_run for record in result.records]
    assert shares == pytest.approx([shares[0]] * len(shares))
    total = sum(record.wall_time_s for record in result.records)
    assert total == pytest.approx(result.wall_time_s)


@both_engines
def test_one_dead_copy_of_many_is_dropped_and_the_others_do_not_notice(engine: str) -> None:
    """One of 25 blows up: it stops within steps, its mates' numbers are those without it."""
    lrs = tuple(0.001 * 1.1**i for i in range(24))
    spec = make_spec(lrs=(*lrs, 1e30), seeds=1, engine=engine, steps=100)
    alone = by_trial(train_only(make_spec(lrs=lrs, seeds=1, engine=engine, steps=100), net_task()))
    result = train_only(spec, net_task())

    for trial, record in zip(result.pack.trials, result.records, strict=True):
        if trial.lr == 1e30:
            assert record.steps_run <= 16
        else:
            assert record.steps_run == 100
            assert measurement(record) == alone[record.trial_id]


def test_copies_are_dropped_where_that_saves_more_steps_than_moving_the_others_takes() -> None:
    """A share of the pack times the steps left is what is saved; half of a pack goes at once."""
    assert not is_worth_dropping(0, 48, 1000)
    assert is_worth_dropping(1, 48, 96)
    assert not is_worth_dropping(1, 48, 95)
    assert all(is_worth_dropping(num // 2, num, 4) for num in range(2, 100, 2))
    assert is_worth_dropping(5, 5, 2)
    assert not is_worth_dropping(5, 5, 0)


def test_a_dropped_copy_costs_nothing() -> None:
    """Once dropped, a copy's loss is not computed any more; with all gone, none is."""
    task, spy = spied_task()
    result = train_only(make_spec(lrs=(0.001, 1e30), seeds=1, steps=100, engine="loop"), task)
    assert len(spy.seen) == sum(record.steps_run for record in result.records) < 120

    task, spy = spied_task()
    result = train_only(make_spec(lrs=(1e29, 1e30), seeds=1, steps=100, engine="loop"), task)
    assert len(spy.seen) == sum(record.steps_run for record in result.records) <= 32
    assert {record.verdict for record in result.records} == {"diverged"}


@both_engines
def test_the_first_step_that_is_not_finite_is_the_one_a_lone_run_finds(engine: str) -> None:
    """Plain SGD by hand on the trial's own batches loses its loss at the step recorded."""
    lr = 30.0  # grows for a while before it overflows
    task = net_task(lambda: nn.Linear(4, 1))
    spec = make_spec(lrs=(lr, 0.01), seeds=1, steps=100, engine=engine)
    model, batches = initial_model(task, spec, 0), make_batches(task, spec, [0], 8, CPU)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    expected = None
    for step in range(100):
        inputs, targets = batches.draw([0])
        optimizer.zero_grad()
        loss = task.loss(model(inputs[0]), targets[0])
        if not torch.isfinite(loss):
            expected = step
            break
        loss.backward()
        optimizer.step()

    result = train_only(spec, task)
    records = {t.lr: r for t, r in zip(result.pack.trials, result.records, strict=True)}
    assert expected is not None
    assert 3 < expected < 90
    assert records[lr].first_nonfinite_step == expected
    assert str(expected) in records[lr].reason


@both_engines
def test_weights_lost_in_the_last_step_are_found_by_the_evaluation(engine: str) -> None:
    """All batch losses were finite, the final one is not: diverged, at the end of the horizon."""
    result = train_only(make_spec(lrs=(0.01, 1e30), steps=1, engine=engine), net_task())
    for trial, record in zip(result.pack.trials, result.records, strict=True):
        if trial.lr == 1e30:
            assert (record.first_nonfinite_step, record.final_loss) == (1, math.inf)
            assert record.verdict == "diverged"
            assert record.steps_run == 1
        else:
            assert record.first_nonfinite_step is None


class Poisoned(nn.Module):
    """A model whose gradient is NaN where its weight is above one, though its loss is finite."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return zeros whose derivative is 0 × ∞ once the weight has passed one."""
        excess = torch.relu(self.weight - 1)
        return inputs[:, :1] * 0 + self.weight + 0 * torch.where(excess > 0, excess * 1e38, 0) ** 2


@both_engines
def test_a_nan_gradient_reaches_no_neighbour(engine: str) -> None:
    """A copy poisoned through its gradient alone dies alone."""
    spec = make_spec(lrs=(0.001, 0.002, 1.0), steps=40, engine=engine)
    inputs = torch.ones(96, 4)
    task = replace(net_task(Poisoned), inputs=inputs, targets=torch.full((96, 1), 5.0))
    result = train_only(spec, task)

    for trial, record in zip(result.pack.trials, result.records, strict=True):
        assert (record.first_nonfinite_step is not None) == (trial.lr == 1.0)
        if trial.lr < 1.0:
            # w ← w + 2 lr (5 − w) stays below one, exactly so.
            assert record.final_loss == pytest.approx((5 * (1 - 2 * trial.lr) ** 40) ** 2, rel=1e-4)


@pytest.mark.parametrize(
    ("stability", "expected"),
    [
        ({"max_loss_ratio": 4}, lambda r: r.final_loss <= 4 * r.initial_loss),
        ({"max_loss_ratio": 0.5}, lambda r: r.final_loss <= 0.5 * r.initial_loss),
        (
            {"max_loss_ratio": 1.5, "measure": "peak"},
            lambda r: r.peak_loss <= 1.5 * r.initial_loss,
        ),
        ({"measure": "finite"}, lambda r: r.first_nonfinite_step is None),
    ],
    ids=["lenient", "final", "peak", "finite"],
)
def test_a_verdict_follows_from_the_record(
    stability: dict[str, object], expected: Callable[[object], bool]
) -> None:
    """The sweep file's words, applied by hand to the record's own numbers, give its verdict."""
    lrs = (1e-3, 0.05, 0.3, 1.0, 3.0, 1e30)
    result = train_only(make_spec(lrs=lrs, stability=stability, engine="vmap"), net_task())
    verdicts = [record.verdict for record in result.records]

    assert verdicts == ["stable" if expected(r) else "diverged" for r in result.records]
    assert set(verdicts) == {"stable", "diverged"}
    assert all(record.reason for record in result.records)


@both_engines
def test_one_dead_copy_among_many_is_kept_and_harmless(engine: str) -> None:
    """Too few to pay for moving the rest: it goes on as NaN, and nobody notices."""
    task = net_task(small_net)
    lrs = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07)
    spec = make_spec(lrs=(*lrs, 1e30), seeds=1, engine=engine)
    healthy = by_trial(train_only(make_spec(lrs=lrs, seeds=1, engine=engine), task))
    records = by_trial(train_pack(only_pack(spec, task), spec, task))

    dead = [record for trial_id, record in records.items() if trial_id not in healthy]
    assert [record.verdict for record in dead] == ["diverged"]
    assert {t: r for t, r in records.items() if t in healthy} == healthy
