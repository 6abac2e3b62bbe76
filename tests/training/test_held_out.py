"""Held-out data: measured once a trial has ended, as a plain evaluation measures them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.tasks.metrics import accuracy
from scaling_sweep.training.randomness import derive_seed
from tests.training.cases import classification, make_spec, net_task, train_only
from tests.training.test_reference import draw_indices

both_engines = pytest.mark.parametrize("engine", ["vmap", "loop"])


@both_engines
def test_held_out_data_are_measured_at_the_end(engine: str) -> None:
    """Validation loss and metric are those of the trained model, smoothing left out."""
    task = classification()
    assert task.inputs is not None
    assert task.targets is not None
    held_out = task.inputs[:40] + 0.5, task.targets[:40]
    task = replace(task, validation=held_out, metric=accuracy)
    on_it = replace(task, inputs=held_out[0], targets=held_out[1], validation=None, metric=None)
    spec = make_spec(lrs=(0.1,), engine=engine, recipe={"label_smoothing": 0.1})
    records = train_only(spec, task).records

    steps = spec.horizon.steps
    assert steps is not None
    for seed, record in enumerate(records):
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(0, seed, "start"))
            model = task.make_model()
        stepper = torch.optim.SGD(model.parameters(), 0.1)
        for index in draw_indices(96, 8, steps, seed, "replacement"):
            stepper.zero_grad()
            nn.functional.cross_entropy(
                model(task.inputs[index]), task.targets[index], label_smoothing=0.1
            ).backward()
            stepper.step()
        model.eval()
        outputs = model(held_out[0])
        expected = on_it.loss(outputs, held_out[1]).item()
        right = sum(
            int(row.argmax()) == int(label) for row, label in zip(outputs, held_out[1], strict=True)
        )
        assert record.validation_loss == pytest.approx(expected, rel=1e-5)
        assert record.validation_metric == pytest.approx(right / 40)


@both_engines
def test_a_trial_that_diverged_has_no_metric(engine: str) -> None:
    """Its validation loss is infinite; its mate's numbers are there."""
    task = net_task(lambda: nn.Linear(4, 1))
    assert task.inputs is not None
    assert task.targets is not None
    held_out = task.inputs[:40], task.targets[:40]
    task = replace(task, validation=held_out, metric=nn.functional.l1_loss)
    good, bad = train_only(make_spec(lrs=(0.01, 1e30), seeds=1, engine=engine), task).records

    assert (bad.validation_loss, bad.validation_metric) == (math.inf, None)
    assert good.validation_loss is not None
    assert good.validation_metric is not None
    assert 0 < good.validation_metric < math.sqrt(good.validation_loss)


def test_without_held_out_data_nothing_is_said() -> None:
    """A task without validation leaves both empty."""
    record = train_only(make_spec(), net_task()).records[0]
    assert (record.validation_loss, record.validation_metric) == (None, None)


def test_a_metric_needs_held_out_data() -> None:
    """A task with a metric and nothing to take it on is refused when it is made."""
    with pytest.raises(ValueError, match="has a metric but no validation data"):
        replace(digits_mlp(), metric=accuracy)
