"""Train one pack: trials that share everything but lr, damping and seed, in one loop."""

import math
import time
from collections.abc import Generator, Mapping, Sequence

import torch
from torch import nn

from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.planning import Pack
from scaling_sweep.spec import OptimizerSpec, SweepSpec
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.batches import Batches
from scaling_sweep.training.choosing import ProbeBatch, choose_engine, is_random
from scaling_sweep.training.copies import Copies, Point, stack_points
from scaling_sweep.training.curves import CurveRecorder
from scaling_sweep.training.engines import Engine, LoopEngine
from scaling_sweep.training.evaluation import Evaluator, untrained_engine, validate
from scaling_sweep.training.herd import Herd
from scaling_sweep.training.judging import Measured, judge_trials
from scaling_sweep.training.randomness import call_seeded, derive_seed
from scaling_sweep.training.records import PackResult
from scaling_sweep.training.shortage import run_through, train_what_fits
from scaling_sweep.training.treatment import Treatment

# Reading which copies have died makes a GPU wait, so it is done now and then (guess).
_STEPS_BETWEEN_CHECKS = 8
# How long training keeps the word: Ctrl-C must end a run within 10 s.
_SLICE_S = 1.0


def train_pack(
    pack: Pack,
    spec: SweepSpec,
    task: Task,
    starts: Mapping[int, Point] | None = None,
    device: torch.device | None = None,
) -> PackResult:
    """Train all trials of a pack for their horizon and judge them.

    A trial's result does not depend on its pack-mates: its start comes from (sweep seed, seed),
    its batches from (sweep seed, seed, batch size).

    Args:
        pack: The trials.
        spec: The sweep they belong to.
        task: The sweep's task.
        starts: The trained start of each seed; None to begin at initialisation.
        device: Where to train; the CPU unless given.

    Returns:
        One record per trial.

    Raises:
        UserError: If the sweep file demands an engine that cannot train the model.
    """
    return run_through(train_gradually(pack, spec, task, starts, device))


def train_gradually(
    pack: Pack,
    spec: SweepSpec,
    task: Task,
    starts: Mapping[int, Point] | None = None,
    device: torch.device | None = None,
) -> Generator[int, None, PackResult]:
    """Train a pack as ``train_pack`` does, giving the word back about once a second.

    A worker that trains so hears within a second that it shall stop. Where memory does not suffice
    for the whole pack, parts of it are trained one after the other.

    Args:
        pack: The trials.
        spec: The sweep they belong to.
        task: The sweep's task.
        starts: The trained start of each seed; None to begin at initialisation.
        device: Where to train; the CPU unless given.

    Yields:
        Steps taken so far.

    Returns:
        One record per trial.

    Raises:
        UserError: If the sweep file demands an engine that cannot train the model.
    """
    where = device or torch.device("cpu")
    micro_batch = spec.resources.micro_batch

    def train(part: Pack, most: int | None) -> Generator[int, None, PackResult]:
        return _train_part(part, spec, task, starts, where, most)

    if micro_batch == "auto":
        may_cut = not isinstance(make_rule(pack.optimizer.name), CurvatureRule)
        return (yield from train_what_fits(pack, train, may_cut=may_cut))
    return (yield from train_what_fits(pack, train, micro_batch))


def _train_part(
    pack: Pack,
    spec: SweepSpec,
    task: Task,
    starts: Mapping[int, Point] | None,
    device: torch.device,
    micro_batch: int | None,
) -> Generator[int, None, PackResult]:
    """Train trials that memory suffices for, or raise what the allocator says."""
    begin = time.perf_counter()
    model = initial_model(task, spec, pack.trials[0].seed).to(device)
    treatment = Treatment.of(spec.recipe, micro_batch, pack.batch_size)
    run = _PackRun(pack, spec, task, model, treatment, device)
    measured = yield from run.train(starts)
    wall_time_s = time.perf_counter() - begin
    return PackResult(
        pack,
        judge_trials(pack, spec, measured, wall_time_s),
        task.num_examples,
        _device_name(device),
        run.engine_name,
        wall_time_s,
    )


def initial_model(task: Task, spec: SweepSpec, seed: int) -> nn.Module:
    """Return the untrained model of a seed: a function of (sweep seed, seed) only."""
    return call_seeded(task.make_model, spec.sweep_seed, seed, "start")


_RULES: dict[tuple[object, ...], UpdateRule] = {}


def _rule_of(treatment: Treatment, optimizer: OptimizerSpec) -> UpdateRule:
    """Return the same object for the same optimizer, because a compiled step is kept by it."""
    key = (treatment, optimizer.name, *sorted(optimizer.hyperparameters.items()))
    if key not in _RULES:
        _RULES[key] = treatment.rule(optimizer)
    return _RULES[key]


class _PackRun:
    """The state of one pack while it trains."""

    engine_name: str

    def __init__(
        self,
        pack: Pack,
        spec: SweepSpec,
        task: Task,
        model: nn.Module,
        treatment: Treatment,
        device: torch.device,
    ) -> None:
        self._pack, self._spec, self._task = pack, spec, task
        self._model, self._treatment, self._device = model, treatment, device
        self._rule = _rule_of(treatment, pack.optimizer)
        self._seeds = [trial.seed for trial in pack.trials]
        self._noise: list[int] = []

    def train(self, starts: Mapping[int, Point] | None) -> Generator[int, None, Measured]:
        """Train and return what was measured of every copy."""
        initial = {seed: self._initial_point(seed) for seed in set(self._seeds)}
        begins = initial if starts is None else self._usable(starts)
        copies = self._stack(begins)
        engine = self._choose_engine(copies)
        self.engine_name = engine.name
        evaluator = Evaluator(self._task, self._spec.sweep_seed, self._device)
        first = untrained_engine(engine, self._model, self._task, self._rule, self._treatment)
        at_initial = self._losses_by_seed(initial, evaluator, first)
        at_start = at_initial if starts is None else self._losses_by_seed(begins, evaluator, engine)
        recorder = CurveRecorder(
            len(copies), self._pack.batch_size, self._pack.num_steps, self._device
        )
        herd = yield from self._loop(Herd.of(copies, self._pack.num_steps), engine, recorder)
        final = torch.full((len(copies),), math.inf, dtype=torch.float64)
        if herd.rows:
            final[herd.live.cpu()] = evaluator.losses(herd.copies, engine)
        return Measured(
            initial=[at_initial[seed] for seed in self._seeds],
            start=[at_start[seed] for seed in self._seeds],
            final=[loss if math.isfinite(loss) else math.inf for loss in final.tolist()],
            curves=recorder.curves(),
            steps_run=herd.steps_run.tolist(),
            validation=validate(
                self._task,
                herd.copies,
                herd.rows,
                len(copies),
                LoopEngine(self._model, self._task, self._rule, self._treatment),
            ),
        )

    def _initial_point(self, seed: int) -> Point:
        return Point.of(initial_model(self._task, self._spec, seed))

    def _usable(self, starts: Mapping[int, Point]) -> dict[int, Point]:
        """Take over the recipe's optimizer state only where the optimizer is the recipe's own."""
        start = self._spec.start
        own = not isinstance(start, str) and start.optimizer == self._pack.optimizer
        return {
            seed: point if own else Point(point.params, point.buffers)
            for seed, point in starts.items()
        }

    def _stack(self, points: Mapping[int, Point]) -> Copies:
        trials = self._pack.trials
        lr, damping = [t.lr for t in trials], [t.damping for t in trials if t.damping is not None]
        begins = [points[seed] for seed in self._seeds]
        return stack_points(begins, lr, self._rule, self._device, damping or None)

    def _batches(self) -> Batches:
        return make_batches(
            self._task, self._spec, sorted(set(self._seeds)), self._pack.batch_size, self._device
        )

    def _choose_engine(self, copies: Copies) -> Engine:
        inputs, targets = self._batches().draw(self._seeds)
        if is_random(self._model, self._task, inputs[0], targets[0]):
            self._noise = [
                derive_seed(self._spec.sweep_seed, seed, self._pack.batch_size, "noise")
                for seed in self._seeds
            ]
        batch = ProbeBatch(inputs, targets, self._pack.num_steps)
        return choose_engine(
            self._spec.engine, self._model, self._task, self._rule, copies, batch, self._treatment
        )

    def _factors(self) -> tuple[float, ...] | None:
        """Return the schedule's factor of every step; None where each has all of its lr."""
        schedule, num_examples = self._spec.recipe.schedule, self._task.num_examples
        if schedule.is_constant:
            return None
        num_warmup_steps = schedule.num_warmup_steps(self._pack.batch_size, num_examples)
        return schedule.factors(self._pack.num_steps, num_warmup_steps)

    def _losses_by_seed(
        self, points: Mapping[int, Point], evaluator: Evaluator, engine: Engine
    ) -> dict[int, float]:
        seeds = sorted(set(self._seeds))
        copies = stack_points(
            [points[seed] for seed in seeds], [0.0] * len(seeds), self._rule, self._device
        )
        return dict(zip(seeds, evaluator.losses(copies, engine).tolist(), strict=True))

    def _loop(
        self, herd: Herd, engine: Engine, recorder: CurveRecorder
    ) -> Generator[int, None, Herd]:
        """Take all steps and return the copies that are still alive."""
        batches, slice_begin = self._batches(), time.perf_counter()
        factors = self._factors()
        for step in range(self._pack.num_steps):
            inputs, targets = batches.draw([self._seeds[row] for row in herd.rows])
            noise = [self._noise[row] + step for row in herd.rows] if self._noise else []
            copies = herd.copies if factors is None else herd.copies.at_rate(factors[step])
            recorder.add(engine.step(copies, inputs, targets, noise, step), herd.live)
            if (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
                herd = herd.without(recorder.nonfinite(), step + 1, self._pack.num_steps)
                if not herd.rows:
                    break
            if time.perf_counter() - slice_begin > _SLICE_S:
                yield step + 1
                slice_begin = time.perf_counter()
        return herd


def make_batches(
    task: Task, spec: SweepSpec, seeds: Sequence[int], batch_size: int, device: torch.device
) -> Batches:
    """Return the batches of some seeds: a function of (sweep seed, seed, batch size) only."""
    names = [(spec.sweep_seed, seed, batch_size, "batches") for seed in seeds]
    replacement = spec.sampling == "replacement"
    return Batches(task, seeds, batch_size, replacement, names, device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
