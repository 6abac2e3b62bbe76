"""Train one pack: trials that share everything but learning rate and seed, in one loop."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.planning import Pack
from scaling_sweep.spec import SweepSpec
from scaling_sweep.stability import criterion_of, judge
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.batches import Batches
from scaling_sweep.training.choosing import ProbeBatch, choose_engine, is_random
from scaling_sweep.training.copies import Copies, Point, stack_points
from scaling_sweep.training.curves import Curve, CurveRecorder
from scaling_sweep.training.engines import Engine
from scaling_sweep.training.evaluation import Evaluator
from scaling_sweep.training.randomness import call_seeded, derive_seed
from scaling_sweep.training.records import PackResult, TrialRecord

# Reading which copies have died makes a GPU wait, so it is done now and then (guess).
_STEPS_BETWEEN_CHECKS = 8
# Dropping copies moves all others once; it pays when this share of them is dead (guess).
_DEAD_SHARE_TO_DROP = 0.25


@dataclass(frozen=True)
class Losses:
    """Evaluation losses around a pack's training, each of length ``num_copies``.

    Attributes:
        initial: Of the untrained model.
        start: Where training began.
        final: After the last step; infinite when not finite.
    """

    initial: Sequence[float]
    start: Sequence[float]
    final: Sequence[float]


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
    begin = time.perf_counter()
    device = device or torch.device("cpu")
    model = initial_model(task, spec, pack.trials[0].seed).to(device)
    rule = make_rule(pack.optimizer.name, pack.optimizer.hyperparameters)
    run = _PackRun(pack, spec, task, model, rule, device)
    losses, curves, steps_run = run.train(starts)
    wall_time_s = time.perf_counter() - begin
    records = _records(pack, spec, losses, curves, steps_run, wall_time_s)
    return PackResult(
        pack, records, task.num_examples, _device_name(device), run.engine_name, wall_time_s
    )


def initial_model(task: Task, spec: SweepSpec, seed: int) -> nn.Module:
    """Return the untrained model of a seed: a function of (sweep seed, seed) only."""
    return call_seeded(task.make_model, spec.sweep_seed, seed, "start")


class _PackRun:
    """The state of one pack while it trains."""

    engine_name: str

    def __init__(
        self,
        pack: Pack,
        spec: SweepSpec,
        task: Task,
        model: nn.Module,
        rule: UpdateRule,
        device: torch.device,
    ) -> None:
        self._pack, self._spec, self._task = pack, spec, task
        self._model, self._rule, self._device = model, rule, device
        self._seeds = [trial.seed for trial in pack.trials]
        self._noise: list[int] = []

    def train(self, starts: Mapping[int, Point] | None) -> tuple[Losses, list[Curve], list[int]]:
        """Train and return the losses, the curves and the steps run of every copy."""
        initial = {seed: self._initial_point(seed) for seed in set(self._seeds)}
        begins = initial if starts is None else self._usable(starts)
        copies = self._stack(begins)
        engine = self._choose_engine(copies)
        self.engine_name = engine.name
        evaluator = Evaluator(self._task, self._spec.sweep_seed, self._device)
        at_initial = self._losses_by_seed(initial, evaluator, engine)
        at_start = at_initial if starts is None else self._losses_by_seed(begins, evaluator, engine)
        final, curves, steps_run = self._loop(copies, engine, evaluator)
        losses = Losses(
            [at_initial[seed] for seed in self._seeds],
            [at_start[seed] for seed in self._seeds],
            [loss if math.isfinite(loss) else math.inf for loss in final],
        )
        return losses, curves, steps_run

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
        lr = [trial.lr for trial in self._pack.trials]
        return stack_points([points[seed] for seed in self._seeds], lr, self._rule, self._device)

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
        return choose_engine(self._spec.engine, self._model, self._task, self._rule, copies, batch)

    def _losses_by_seed(
        self, points: Mapping[int, Point], evaluator: Evaluator, engine: Engine
    ) -> dict[int, float]:
        seeds = sorted(set(self._seeds))
        copies = stack_points(
            [points[seed] for seed in seeds], [0.0] * len(seeds), self._rule, self._device
        )
        return dict(zip(seeds, evaluator.losses(copies, engine).tolist(), strict=True))

    def _loop(
        self, copies: Copies, engine: Engine, evaluator: Evaluator
    ) -> tuple[list[float], list[Curve], list[int]]:
        num_copies, num_steps = len(copies), self._pack.num_steps
        recorder = CurveRecorder(num_copies, self._pack.batch_size, num_steps, self._device)
        steps_run = torch.full((num_copies,), num_steps)
        live = torch.arange(num_copies, device=self._device)
        batches = self._batches()
        rows = list(range(num_copies))
        for step in range(num_steps):
            inputs, targets = batches.draw([self._seeds[row] for row in rows])
            noise = [self._noise[row] + step for row in rows] if self._noise else []
            recorder.add(engine.step(copies, inputs, targets, noise), live)
            if (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
                copies, live = _drop_dead(copies, live, recorder, steps_run, step + 1)
                rows = live.tolist()
                if not rows:
                    break
        final = torch.full((num_copies,), math.inf, dtype=torch.float64)
        if rows:
            final[live.cpu()] = evaluator.losses(copies, engine)
        return final.tolist(), recorder.curves(), steps_run.tolist()


def make_batches(
    task: Task, spec: SweepSpec, seeds: Sequence[int], batch_size: int, device: torch.device
) -> Batches:
    """Return the batches of some seeds: a function of (sweep seed, seed, batch size) only."""
    names = [(spec.sweep_seed, seed, batch_size, "batches") for seed in seeds]
    replacement = spec.sampling == "replacement"
    return Batches(task, seeds, batch_size, replacement, names, device)


def _drop_dead(
    copies: Copies, live: Tensor, recorder: CurveRecorder, steps_run: Tensor, num_steps: int
) -> tuple[Copies, Tensor]:
    """Let go of copies whose loss is no longer finite, when there are enough of them."""
    dead = recorder.nonfinite()[live]
    num_dead = int(dead.sum())
    if num_dead == 0 or num_dead < _DEAD_SHARE_TO_DROP * len(live):
        return copies, live
    steps_run[live[dead].cpu()] = num_steps
    rows = torch.nonzero(~dead).flatten()
    return copies.select(rows), live[rows]


def _records(
    pack: Pack,
    spec: SweepSpec,
    losses: Losses,
    curves: Sequence[Curve],
    steps_run: Sequence[int],
    wall_time_s: float,
) -> tuple[TrialRecord, ...]:
    criterion = criterion_of(spec.stability)
    total_steps = sum(steps_run)
    records = []
    for row, trial in enumerate(pack.trials):
        curve, final = curves[row], losses.final[row]
        first_nonfinite = curve.first_nonfinite_step
        if first_nonfinite is None and not math.isfinite(final):
            first_nonfinite = pack.num_steps
        judgement = judge(
            criterion,
            initial_loss=losses.initial[row],
            start_loss=losses.start[row],
            final_loss=final,
            peak_loss=curve.peak_loss,
            first_nonfinite_step=first_nonfinite,
        )
        records.append(
            TrialRecord(
                trial_id=trial.trial_id,
                verdict=str(judgement.verdict),
                reason=judgement.reason,
                steps_run=steps_run[row],
                initial_loss=losses.initial[row],
                start_loss=losses.start[row],
                final_loss=final,
                min_loss=curve.min_loss,
                peak_loss=curve.peak_loss,
                first_nonfinite_step=first_nonfinite,
                wall_time_s=wall_time_s * steps_run[row] / total_steps,
                curve_steps=curve.steps,
                curve_losses=curve.losses,
            )
        )
    return tuple(records)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
