"""Which engine trains a pack: the sweep file says, or a probe of a few steps finds the faster."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scaling_sweep.errors import UserError
from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.engines import Engine, LoopEngine, VmapEngine

# Steps timed after one that warms up; the fastest counts, because machines only ever lag.
_NUM_TIMED_STEPS = 2
# The loop's time is proportional to its copies, so a few of them tell.
_MAX_LOOP_COPIES = 4
# A shorter pack ends before the probe could pay.
_MIN_STEPS_TO_PROBE = 20


@dataclass(frozen=True)
class ProbeBatch:
    """A batch to try engines on.

    Attributes:
        inputs: Shape ``[num_copies, batch_size, ...]``.
        targets: Shape ``[num_copies, batch_size, ...]``.
        num_steps: The horizon, so that a short pack is not probed at length.
    """

    inputs: Tensor
    targets: Tensor
    num_steps: int


def choose_engine(
    wanted: str, model: nn.Module, task: Task, rule: UpdateRule, copies: Copies, batch: ProbeBatch
) -> Engine:
    """Pick the engine of a pack.

    Args:
        wanted: ``auto``, ``vmap`` or ``loop``.
        model: An instance of the task's model.
        task: What is trained.
        rule: The optimizer.
        copies: The pack, left as it is.
        batch: Something to probe with.

    Returns:
        The engine.

    Raises:
        UserError: If vmap is demanded of a model that cannot be stacked.
    """
    loop, stacked = LoopEngine(model, task, rule), VmapEngine(model, task, rule)
    if wanted == "loop":
        return loop
    random = is_random(model, task, batch.inputs[0], batch.targets[0])
    obstacle = why_not_vmap(stacked, copies, batch, is_random=random)
    if obstacle is not None and wanted == "vmap":
        raise UserError(f"engine: vmap cannot train this model ({obstacle}); write engine: auto")
    if obstacle is not None:
        return loop
    if wanted == "vmap" or batch.num_steps < _MIN_STEPS_TO_PROBE or len(copies) == 1:
        return stacked
    few = min(_MAX_LOOP_COPIES, len(copies))
    vmap_time = _time_per_copy(stacked, copies, batch, len(copies))
    return stacked if vmap_time < _time_per_copy(loop, copies, batch, few) else loop


def is_random(model: nn.Module, task: Task, inputs: Tensor, targets: Tensor) -> bool:
    """Tell whether model or loss draw random numbers in training, as dropout does.

    Args:
        model: The model, left as it is but for its buffers.
        task: Gives the loss.
        inputs: Shape ``[batch_size, ...]``.
        targets: Shape ``[batch_size, ...]``.

    Returns:
        Whether a forward pass in training mode moves a global generator.
    """
    model.train()
    devices = [inputs.device] if inputs.is_cuda else []
    read: Callable[[], Tensor] = (
        (lambda: torch.cuda.get_rng_state(inputs.device)) if devices else torch.get_rng_state
    )
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        before = read()
        task.loss(model(inputs), targets)
        return not torch.equal(before, read())


def why_not_vmap(
    engine: VmapEngine, copies: Copies, batch: ProbeBatch, *, is_random: bool
) -> str | None:
    """Say in a few words what keeps the model from being stacked; None when nothing does."""
    if is_random:
        # Stacked masks would depend on the pack's size, and a trial must not know its mates.
        return "it draws random numbers, as dropout does"
    try:
        _steps(engine, copies, batch, num_copies=min(2, len(copies)), num_steps=1)
    except RuntimeError as error:
        return str(error).strip().splitlines()[0][:200]
    return None


def time_step(engine: Engine, copies: Copies, batch: ProbeBatch) -> float:
    """Return the seconds one step of the whole pack takes, the copies left as they are."""
    return _time_per_copy(engine, copies, batch, len(copies)) * len(copies)


def _time_per_copy(engine: Engine, copies: Copies, batch: ProbeBatch, num_copies: int) -> float:
    return min(_steps(engine, copies, batch, num_copies, 1 + _NUM_TIMED_STEPS)[1:]) / num_copies


def _steps(
    engine: Engine, copies: Copies, batch: ProbeBatch, num_copies: int, num_steps: int
) -> list[float]:
    """Take steps on a scratch copy and return the seconds of each."""
    rows = torch.arange(num_copies, device=copies.lr.device)
    scratch = copies.select(rows)
    seconds = []
    for _ in range(num_steps):
        begin = time.perf_counter()
        engine.step(scratch, batch.inputs[:num_copies], batch.targets[:num_copies], [])
        if copies.lr.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return seconds
