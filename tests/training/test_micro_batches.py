"""Batches computed in portions: the same step to rounding, but for BatchNorm's statistics."""

import pytest
import torch
from torch.nn import functional

from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Copies, Point, stack_points
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from scaling_sweep.training.treatment import Treatment
from tests.training.cases import (
    batchnorm_net,
    by_trial,
    dropout_net,
    make_spec,
    net_task,
    small_net,
    train_only,
)

CPU = torch.device("cpu")
KINDS = {"vmap": VmapEngine, "loop": LoopEngine}
both_engines = pytest.mark.parametrize("engine", KINDS)


def step_once(
    engine: str, task: Task, micro_batch: int | None, clip_norm: float | None = None
) -> tuple[Copies, torch.Tensor]:
    """Take one step of Adam with three copies on batches of 24, in double precision."""
    torch.manual_seed(0)
    points = [Point.of(task.make_model().double()) for _ in range(3)]
    rule = make_rule("adam")
    copies = stack_points(points, [0.1, 0.2, 0.3], rule, CPU)
    inputs = torch.randn(3, 24, 4, dtype=torch.float64)
    targets = torch.randn(3, 24, 1, dtype=torch.float64)
    treatment = Treatment(clip_norm=clip_norm, micro_batch=micro_batch)
    model = task.make_model().double()
    losses = KINDS[engine](model, task, rule, treatment).step(copies, inputs, targets, [])
    return copies, losses


@both_engines
@pytest.mark.parametrize("micro_batch", [1, 5, 24, 100])
def test_portions_add_up_to_the_whole_batch(engine: str, micro_batch: int) -> None:
    """Loss, weights and moments after a clipped step are those of the undivided batch."""
    whole, expected = step_once(engine, net_task(), None, clip_norm=0.1)

    cut, losses = step_once(engine, net_task(), micro_batch, clip_norm=0.1)

    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(cut.params, whole.params, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(cut.state, whole.state, rtol=1e-9, atol=1e-12)


@both_engines
def test_batch_normalisation_sees_portions(engine: str) -> None:
    """Its statistics are those of what is computed at once, so the step is another one."""
    task = net_task(batchnorm_net)
    whole, _ = step_once(engine, task, None)
    cut, _ = step_once(engine, task, 8)

    name = "1.num_batches_tracked"
    assert whole.buffers[name].tolist() == [1] * 3
    assert cut.buffers[name].tolist() == [3] * 3
    assert not torch.allclose(whole.params["0.weight"], cut.params["0.weight"], rtol=1e-3)


@pytest.mark.parametrize("make_model", [small_net, dropout_net])
def test_a_study_in_portions_trains_as_one_without(make_model: type[torch.nn.Module]) -> None:
    """Losses agree to rounding; with dropout the masks are others, the trial's own all the same."""
    task = net_task(make_model)
    cut = by_trial(train_only(make_spec(resources={"micro_batch": 3}), task))

    if make_model is small_net:
        whole = by_trial(train_only(make_spec(), task))
        for trial_id, record in cut.items():
            assert record.final_loss == pytest.approx(whole[trial_id].final_loss, rel=1e-5)
    else:
        assert cut == by_trial(train_only(make_spec(resources={"micro_batch": 3}), task))


def test_cross_entropy_that_leaves_labels_out_is_a_mean_of_means() -> None:
    """The documented limit: portions count by examples, not by labels that count."""
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    targets = torch.tensor([0, -100, 0, 1])
    whole = functional.cross_entropy(outputs, targets)
    portions = Treatment(micro_batch=2).portions(outputs, targets, 0)
    mean = sum(functional.cross_entropy(some, labels) * share for some, labels, share in portions)

    assert not torch.isclose(whole, torch.as_tensor(mean), rtol=1e-3)
