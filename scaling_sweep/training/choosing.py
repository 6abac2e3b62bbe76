"""Which engine trains a pack: the sweep file says, or a probe of a few steps finds the faster."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scaling_sweep.errors import UserError
from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.compiled import CompiledEngine, why_not_compiled
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.earning import Earnings
from scaling_sweep.training.engines import Engine, LoopEngine, VmapEngine
from scaling_sweep.training.shortage import is_shortage
from scaling_sweep.training.treatment import PLAIN_TREATMENT, Treatment

# Steps timed in turn after one that warms up; the fastest counts, because machines only ever lag.
_NUM_TIMED_STEPS = 5
# The loop must be this much faster to be chosen: a tie is noise, and vmap is what packs are for.
_LOOP_ADVANTAGE = 1.15
# Compiled steps too, a little; of what a step takes beside its products they spare some third (none
# to a half on the digits MLP, LOG 2026-11-21).
_COMPILED_ADVANTAGE, _SPARED = 1.1, 1 / 3
# The loop's time is proportional to its copies, so a few of them tell.
_MAX_LOOP_COPIES = 4
# A shorter pack ends before the probe could pay.
_MIN_STEPS_TO_PROBE = 20
# Of this process.
_EARNINGS = Earnings()


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


@dataclass(frozen=True)
class ChosenEngine:
    """The engine of a pack, and what a step takes with it where several were tried.

    Attributes:
        engine: The engine.
        seconds_per_copy: Time of a step, shared by its copies; None where nothing was timed.
    """

    engine: Engine
    seconds_per_copy: float | None = None


def choose_engine(
    wanted: str,
    model: nn.Module,
    task: Task,
    rule: UpdateRule,
    copies: Copies,
    batch: ProbeBatch,
    treatment: Treatment = PLAIN_TREATMENT,
) -> Engine:
    """Pick the engine of a pack.

    Args:
        wanted: ``auto``, ``vmap``, ``loop`` or ``compile``.
        model: An instance of the task's model.
        task: What is trained.
        rule: The optimizer.
        copies: The pack, left as it is.
        batch: Something to probe with.
        treatment: What the sweep's recipe does within a step.

    Returns:
        The engine.

    Raises:
        UserError: If vmap or compile is demanded of a model that cannot be stacked or compiled.
    """
    return choose_and_time(wanted, model, task, rule, copies, batch, treatment).engine


def choose_and_time(
    wanted: str,
    model: nn.Module,
    task: Task,
    rule: UpdateRule,
    copies: Copies,
    batch: ProbeBatch,
    treatment: Treatment = PLAIN_TREATMENT,
) -> ChosenEngine:
    """Pick the engine of a pack as ``choose_engine`` does, and keep what its probe timed."""
    stacked = VmapEngine(model, task, rule, treatment)
    loop = LoopEngine(model, task, rule, treatment, stacked.attention)
    if wanted == "loop":
        return ChosenEngine(loop)
    random = is_random(model, task, batch.inputs[0], batch.targets[0])
    obstacle = why_not_vmap(stacked, copies, batch, is_random=random)
    if obstacle is not None and wanted != "auto":
        raise UserError(_cannot_train(wanted, obstacle))
    if obstacle is not None:
        return ChosenEngine(loop)
    if wanted == "compile" and why_not_compiled(rule, treatment) is None:
        compiled = CompiledEngine(stacked, model, task, rule, treatment)
        return ChosenEngine(_compiled(compiled, copies, batch))
    if wanted != "auto" or batch.num_steps < _MIN_STEPS_TO_PROBE or len(copies) == 1:
        return ChosenEngine(stacked)
    chosen = _faster_of(stacked, loop, copies, batch)
    saved_s = _seconds_saved(stacked, chosen, copies, batch)
    if chosen.engine is loop or saved_s is None or why_not_compiled(rule, treatment) is not None:
        return chosen
    kind = (id(task), id(rule), treatment, batch.inputs.shape[1] == 1)  # 1 has a graph of its own
    if not _EARNINGS.pays(kind, saved_s):
        return chosen
    compiled = CompiledEngine(stacked, model, task, rule, treatment)
    return _compiled_if_faster(compiled, chosen, copies, batch, kind)


def _faster_of(
    stacked: VmapEngine, loop: LoopEngine, copies: Copies, batch: ProbeBatch
) -> ChosenEngine:
    few = min(_MAX_LOOP_COPIES, len(copies))
    at_once, one_by_one = (
        _Probe(stacked, copies, batch, len(copies)),
        _Probe(loop, copies, batch, few),
    )
    for _ in range(1 + _NUM_TIMED_STEPS):
        at_once.step()
        one_by_one.step()
    together, alone = at_once.seconds_per_copy(), one_by_one.seconds_per_copy()
    if together > _LOOP_ADVANTAGE * alone:
        return ChosenEngine(loop, alone)
    return ChosenEngine(stacked, together)


def _seconds_saved(
    stacked: VmapEngine, chosen: ChosenEngine, copies: Copies, batch: ProbeBatch
) -> float | None:
    """Return what compiled steps might save a pack; None where it was not measured."""
    products_s = stacked.playback.seconds_of_products
    if products_s is None or chosen.seconds_per_copy is None or copies.lr.is_cuda:
        return None
    beside_s = max(0.0, chosen.seconds_per_copy * len(copies) - products_s)
    return _SPARED * beside_s * batch.num_steps


def _compiled_if_faster(
    compiled: CompiledEngine,
    chosen: ChosenEngine,
    copies: Copies,
    batch: ProbeBatch,
    kind: Hashable,
) -> ChosenEngine:
    """Compile, and return the engine that takes less time; the chosen one where that fails."""
    try:
        _compiled(compiled, copies, batch)
    except UserError:  # nobody asked for it
        _EARNINGS.give_up(kind)
        return chosen
    seconds = time_step(compiled, copies, batch) / len(copies)
    assert chosen.seconds_per_copy is not None
    is_faster = _COMPILED_ADVANTAGE * seconds < chosen.seconds_per_copy
    return ChosenEngine(compiled, seconds) if is_faster else chosen


def _compiled(engine: CompiledEngine, copies: Copies, batch: ProbeBatch) -> CompiledEngine:
    """Let a compiled engine compile, so that what keeps it from that is heard now."""
    try:
        _Probe(engine, copies, batch, len(copies)).step()
    except Exception as error:  # of dynamo, of inductor, of the C++ compiler, of the machine
        if is_shortage(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(_cannot_train(engine.name, lines[0][:200])) from error
    return engine


def _cannot_train(engine: str, obstacle: str) -> str:
    return f"engine: {engine} cannot train this model ({obstacle}); write engine: auto"


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
    probe = _Probe(engine, copies, batch, num_copies=min(2, len(copies)))
    try:
        probe.step()
        if engine.turned:  # weights lie otherwise from the second step on
            probe.step()
    except RuntimeError as error:
        if is_shortage(error):
            raise  # of this machine, not of the model
        return str(error).strip().splitlines()[0][:200]
    return None


def time_step(engine: Engine, copies: Copies, batch: ProbeBatch) -> float:
    """Return the seconds one step of the whole pack takes, the copies left as they are."""
    probe = _Probe(engine, copies, batch, len(copies))
    for _ in range(1 + _NUM_TIMED_STEPS):
        probe.step()
    return probe.seconds_per_copy() * len(copies)


class _Probe:
    """Takes steps on a scratch copy and times them."""

    def __init__(self, engine: Engine, copies: Copies, batch: ProbeBatch, num_copies: int) -> None:
        self._engine = engine
        self._scratch = copies.select(torch.arange(num_copies, device=copies.lr.device))
        self._inputs, self._targets = batch.inputs[:num_copies], batch.targets[:num_copies]
        self._seconds: list[float] = []

    def step(self) -> None:
        """Take one step, and one that looks at curvature for a rule that does so now and then."""
        usual = self._time(number=1)
        every = self._engine.refresh_every
        if every is not None:
            usual = (self._time(number=0) + (every - 1) * usual) / every
        self._seconds.append(usual)

    def _time(self, number: int) -> float:
        begin = self._now()
        self._engine.step(self._scratch, self._inputs, self._targets, [], number)
        return self._now() - begin

    def seconds_per_copy(self) -> float:
        """Return the time of the fastest step after the first, shared by the copies."""
        return min(self._seconds[1:]) / len(self._scratch)

    def _now(self) -> float:
        # On a busy machine wall time says more about the neighbours than about the step.
        if not self._scratch.lr.is_cuda and torch.get_num_threads() == 1:
            return time.thread_time()
        if self._scratch.lr.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()
