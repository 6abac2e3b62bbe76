"""What a recipe does to training, against a plain loop of nn.Module, autograd and torch.optim."""

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.optimizers.sgd import sgd
from scaling_sweep.spec import Recipe, Schedule
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Point, stack_points
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from scaling_sweep.training.randomness import derive_seed
from scaling_sweep.training.treatment import Treatment
from tests.training.cases import (
    by_trial,
    classification,
    make_spec,
    mixed_packs,
    net_task,
    small_net,
    train_only,
)
from tests.training.test_reference import OPTIMIZERS, draw_indices

STEPS = 40
both_engines = pytest.mark.parametrize("engine", ["vmap", "loop"])
MakeScheduler = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


def train_plainly(
    task: Task,
    optimizer: Callable[[Any], torch.optim.Optimizer],
    seed: int,
    *,
    clip: float | None = None,
    scheduler: MakeScheduler | None = None,
    batch_norm: str = "running",
    smoothing: float = 0.0,
) -> float:
    """Train one trial as torch's own tutorials would and return the final loss."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(0, seed, "start"))
        model = task.make_model()
    stepper = optimizer(model.parameters())
    schedule = scheduler(stepper) if scheduler else None
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d)]
    more = {"label_smoothing": smoothing} if smoothing else {}
    assert task.inputs is not None
    assert task.targets is not None
    for index in draw_indices(len(task.inputs), 8, STEPS, seed, "replacement"):
        model.train()
        for layer in norms:
            layer.train(batch_norm != "frozen")
        stepper.zero_grad()
        task.loss(model(task.inputs[index]), task.targets[index], **more).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        stepper.step()
        if schedule:
            schedule.step()
    model.eval()
    for layer in norms:
        layer.train(batch_norm == "batch")
    with torch.no_grad():
        return task.loss(model(task.inputs), task.targets).item()


def assert_trains_alike(
    task: Task,
    optimizer: str,
    recipe: Mapping[str, object],
    engine: str,
    **plainly: Any,  # noqa: ANN401
) -> None:
    """Assert that all trials of a pack end where the plain loop ends, and not where plain ones."""
    spec = make_spec([optimizer], lrs=(0.03, 0.1), steps=STEPS, engine=engine, recipe=recipe)
    result = train_only(spec, task)
    assert result.engine == engine
    for trial, record in zip(result.pack.trials, result.records, strict=True):

        def make(params: Any, lr: float = trial.lr) -> torch.optim.Optimizer:  # noqa: ANN401
            return OPTIMIZERS[optimizer](params, lr)

        expected = train_plainly(task, make, trial.seed, **plainly)
        assert record.final_loss == pytest.approx(expected, rel=1e-5)
        assert abs(record.final_loss / train_plainly(task, make, trial.seed) - 1) > 1e-4


@both_engines
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_clipping_is_torchs(engine: str, optimizer: str) -> None:
    """The norm is that over all parameters of one model, and its own mates do not enter."""
    recipe = {"clip_norm": 0.2}
    assert_trains_alike(net_task(), optimizer, recipe, engine, clip=0.2)


SCHEDULES: dict[str, tuple[dict[str, object], MakeScheduler]] = {
    "cosine": (
        {"shape": "cosine", "final_share": 0.1},
        lambda opt: torch.optim.lr_scheduler.LambdaLR(
            opt, lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t / STEPS)) / 2
        ),
    ),
    "linear after warm-up": (
        {"shape": "linear", "warmup": {"steps": 10}},
        lambda opt: torch.optim.lr_scheduler.SequentialLR(
            opt,
            [
                torch.optim.lr_scheduler.LinearLR(opt, 0.1, 1.0, 9),
                torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.0, STEPS - 10),
            ],
            [10],
        ),
    ),
    "warm-up of an epoch": (
        {"warmup": {"epochs": 1}},  # 96 examples by 8
        lambda opt: torch.optim.lr_scheduler.LinearLR(opt, 1 / 12, 1.0, 11),
    ),
}


@both_engines
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_scheduled_pack_trains_as_with_torchs_scheduler(engine: str, name: str) -> None:
    """Every step's learning rate is the trial's own times the schedule's factor."""
    section, scheduler = SCHEDULES[name]
    assert_trains_alike(net_task(), "adamw", {"schedule": section}, engine, scheduler=scheduler)


@pytest.mark.parametrize("num_steps", [1, 7, 100])
@pytest.mark.parametrize("num_warmup", [0, 1, 5])
@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
def test_the_factors_are_those_of_torchs_schedulers(
    shape: str, num_warmup: int, num_steps: int
) -> None:
    """A warm-up and what follows, step by step, as LinearLR and CosineAnnealingLR have them."""
    if num_warmup >= num_steps:
        pytest.skip("refused when the file is checked against the task")
    lr, left = 2.0, num_steps - num_warmup
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    schedulers = torch.optim.lr_scheduler
    after = {
        "constant": lambda: schedulers.ConstantLR(optimizer, 1.0),
        "linear": lambda: schedulers.LinearLR(optimizer, 1.0, 0.25, left),
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, left, 0.25 * lr),
    }[shape]()
    for group in optimizer.param_groups:
        group["lr"] = lr
    expected = [(step + 1) / num_warmup for step in range(num_warmup)]
    for _ in range(left):
        expected.append(optimizer.param_groups[0]["lr"] / lr)
        optimizer.step()
        after.step()

    final = {} if shape == "constant" else {"final_share": 0.25}
    schedule = Schedule.model_validate({"shape": shape, **final})

    assert schedule.factors(num_steps, num_warmup) == pytest.approx(expected, rel=1e-12)


def step_plainly(model: nn.Module, batch: tuple[Tensor, Tensor], *, bf16: bool) -> Tensor:
    """Return all weights after one step of SGD at lr 1, in fp32 or under autocast."""
    model = copy.deepcopy(model)
    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        outputs = model(batch[0])
    nn.functional.mse_loss(outputs.float(), batch[1]).backward()
    torch.optim.SGD(model.parameters(), 1.0).step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()


@both_engines
def test_bf16_is_torchs_autocast(engine: str) -> None:
    """One step ends where autocast's does; weights, loss and evaluation are in fp32."""
    torch.manual_seed(0)
    model, task = small_net(), net_task()
    assert task.inputs is not None
    assert task.targets is not None
    kind = {"vmap": VmapEngine, "loop": LoopEngine}[engine]
    seen: list[torch.dtype] = []
    watched = nn.Sequential(*small_net().children())
    watched[0].register_forward_hook(lambda layer, given, output: seen.append(output.dtype))
    treated = kind(watched, task, sgd(), Treatment(precision="bf16"))
    copies = stack_points([Point.of(model)] * 2, [1.0, 0.0], sgd(), torch.device("cpu"))
    inputs, targets = task.inputs[:8].expand(2, 8, 4), task.targets[:8].expand(2, 8, 1)
    losses = treated.step(copies, inputs, targets, [])
    moved = torch.cat([value[0].flatten() for value in copies.params.values()])

    expected = step_plainly(model, (inputs[0], targets[0]), bf16=True)
    in_fp32 = step_plainly(model, (inputs[0], targets[0]), bf16=False)
    # Stacked, a linear layer rounds its product before it adds the bias, alone after.
    share = {"loop": 1e-3, "vmap": 1.0}[engine]
    assert (moved - expected).norm() < share * (in_fp32 - expected).norm()
    assert (in_fp32 - expected).norm() > 1e-4
    assert losses.dtype == moved.dtype == torch.float32
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    evaluated, plain = (
        one.losses(copies, task.inputs, task.targets)
        for one in (treated, kind(small_net(), task, sgd()))
    )
    torch.testing.assert_close(evaluated, plain, rtol=0, atol=0)
    assert set(seen) == {torch.float32}


@both_engines
def test_tf32_changes_nothing_on_a_cpu(engine: str) -> None:
    """There it is fp32, bit for bit, and torch's own setting is as it was."""
    before = torch.get_float32_matmul_precision()
    plain, tf32 = (
        train_only(make_spec(engine=engine, recipe=recipe), net_task())
        for recipe in ({}, {"precision": "tf32"})
    )
    assert [one.final_loss for one in plain.records] == [one.final_loss for one in tf32.records]
    assert torch.get_float32_matmul_precision() == before


@both_engines
@pytest.mark.parametrize("policy", ["batch", "frozen"])
def test_batch_norm_takes_the_statistics_it_is_told(engine: str, policy: str) -> None:
    """Of the batch in evaluation too, or the start's own throughout."""
    task = classification()
    assert_trains_alike(task, "sgd", {"batch_norm": policy}, engine, batch_norm=policy)


@both_engines
@pytest.mark.parametrize(
    ("policy", "moved"), [("running", True), ("batch", True), ("frozen", False)]
)
def test_evaluation_leaves_running_statistics_alone(
    engine: str, policy: Literal["running", "batch", "frozen"], *, moved: bool
) -> None:
    """Training moves them, unless they are frozen; evaluation never does."""
    task, kind = classification(), {"vmap": VmapEngine, "loop": LoopEngine}[engine]
    one = kind(task.make_model(), task, sgd(), Treatment(batch_norm=policy))
    points = [Point.of(task.make_model())] * 2
    copies = stack_points(points, [0.1, 0.2], sgd(), torch.device("cpu"))
    assert task.inputs is not None
    assert task.targets is not None
    one.step(copies, task.inputs[:8].expand(2, 8, 4), task.targets[:8].expand(2, 8), [])
    after = {name: value.clone() for name, value in copies.buffers.items()}
    one.losses(copies, task.inputs, task.targets)

    assert (after["1.running_mean"][0] != points[0].buffers["1.running_mean"]).any() == moved
    torch.testing.assert_close(copies.buffers, after, rtol=0, atol=0)


@both_engines
def test_label_smoothing_is_of_training_alone(engine: str) -> None:
    """The trained loss is torch's smoothed one; the losses that are judged are without."""
    task = classification()
    assert_trains_alike(task, "sgd", {"label_smoothing": 0.3}, engine, smoothing=0.3)
    records = [
        train_only(make_spec(engine=engine, recipe=recipe), task).records[0]
        for recipe in ({}, {"label_smoothing": 0.3})
    ]
    assert records[0].initial_loss == records[1].initial_loss


def test_weight_decay_is_the_optimizers_own_given_for_all() -> None:
    """A recipe's weight decay trains as the same one among the optimizer's hyperparameters."""
    for name in ("momentum", "adamw"):
        own = make_spec([{"name": name, "weight_decay": 0.3}])
        given = make_spec([name], recipe={"weight_decay": 0.3})
        trained = [train_only(spec, net_task()) for spec in (own, given)]
        one, other = ([record.final_loss for record in result.records] for result in trained)
        assert one == other


def test_a_trial_does_not_know_its_mates() -> None:
    """Clipped, scheduled and in bf16, a trial's result is the same in every pack."""
    recipe = {"clip_norm": 0.3, "schedule": "cosine", "precision": "bf16"}
    spec, task = make_spec(recipe=recipe, engine="vmap"), net_task()
    whole = train_only(spec, task)
    from scaling_sweep.training.pack import train_pack

    for pack in mixed_packs(whole.pack):
        for trial_id, record in by_trial(train_pack(pack, spec, task)).items():
            assert record == by_trial(whole)[trial_id]


def test_the_plain_recipe_does_nothing() -> None:
    """Gradients are passed on as they are, the schedule is none, the loss is the task's own."""
    plain, task = Treatment.of(Recipe()), net_task()
    grads = {"w": torch.ones(2, 3)}

    assert plain == Treatment()
    assert plain.clip(grads) is grads
    assert plain.training_loss(task) is task.loss
    assert Recipe().schedule.is_constant
    assert make_spec(recipe={}) == make_spec()


def test_a_task_may_bring_its_own_smoothed_loss() -> None:
    """`smoothed_loss` is called with the share."""

    def smoothed(outputs: Tensor, targets: Tensor, share: float) -> Tensor:
        return (outputs - (1 - share) * targets).square().mean()

    loss = replace(net_task(), smoothed_loss=smoothed).loss_with(0.5)

    assert loss(torch.tensor(2.0), torch.tensor(2.0)).item() == 1.0
