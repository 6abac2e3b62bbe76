"""What a sweep would run and cost, found without running it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analysis.axes import AXES
from scaling_sweep.clusters import Capacity
from scaling_sweep.planning import StepTime, estimate_cost, fit_step_time
from scaling_sweep.running import default_folder, measured_trials, search_for
from scaling_sweep.spec import LoadedSweep, SweepSpec
from scaling_sweep.spec.axes import points_for
from scaling_sweep.store import RunFolder

_HOUR_S, _MINUTE_S = 3600, 60


@dataclass(frozen=True)
class Preview:
    """What ``plan`` says about a sweep file.

    Attributes:
        name: The study.
        optimizers: Labels.
        batch_sizes: In examples.
        searched: The axis whose edge is looked for: ``lr`` or ``damping``.
        num_lrs: Learning rates of each optimizer.
        dampings: Dampings of each optimizer; None where the axis is not searched.
        num_seeds: Replicates.
        num_done: Trials that the run folder has already.
        num_packs: Packs still to train.
        num_trials: Trials still to train.
        num_steps: Steps of all of them, if none diverges early.
        num_examples: Examples they see.
        num_workers: Packs at a time.
        wall_time_s: Estimated time on this machine, start-up of Ray not included.
        trials_per_pack: Most trials in one pack.
    """

    name: str
    optimizers: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    searched: str
    num_lrs: tuple[int, ...]
    dampings: tuple[tuple[float, ...], ...] | None
    num_seeds: int
    num_done: int
    num_packs: int
    num_trials: int
    num_steps: int
    num_examples: int
    num_workers: int
    wall_time_s: float
    trials_per_pack: int

    def text(self) -> str:
        """Return the preview as people read it."""
        lines = [
            f"study           {self.name}",
            f"searched        the {AXES[self.searched].edge}",
            f"batch sizes     {', '.join(map(str, self.batch_sizes))}",
            f"learning rates  {self._by_optimizer(map(str, self.num_lrs))}",
            *self._describe_dampings(),
            f"seeds           {self.num_seeds}",
            f"trials          {self.num_trials:,} to run, {self.num_done:,} there already",
            f"packs           {self.num_packs:,} of up to {self.trials_per_pack} trials",
            f"steps           {self.num_steps:,}",
            f"examples        {self.num_examples:,}",
            f"time            about {format_duration(self.wall_time_s)} with {self.num_workers} "
            f"packs at a time on this machine, if no trial diverged early",
        ]
        return "\n".join(lines)

    def _by_optimizer(self, texts: Iterable[str]) -> str:
        pairs = zip(self.optimizers, texts, strict=True)
        return ", ".join(f"{optimizer}: {text}" for optimizer, text in pairs)

    def _describe_dampings(self) -> tuple[str, ...]:
        if self.dampings is None:
            return ()
        grids = (f"{len(grid)} from {grid[0]:.3g} to {grid[-1]:.3g}" for grid in self.dampings)
        return (f"dampings        {self._by_optimizer(grids)}",)


def preview(sweep: LoadedSweep, out: Path | None = None, workers: int | None = None) -> Preview:
    """Plan a sweep and estimate its time from a probe.

    Args:
        sweep: The sweep and its file.
        out: Run folder; ``runs/<name>`` unless given.
        workers: Packs at a time; by this machine's cores unless given.

    Returns:
        What would run.

    Raises:
        UserError: If the task or the file has a fault.
    """
    from scaling_sweep.training.preflight import inspect_task, load_sweep_task, time_packs

    spec = sweep.spec
    task = load_sweep_task(sweep)
    facts = inspect_task(sweep, task)
    rows = RunFolder(out or default_folder(spec)).read_rows()
    done = measured_trials(rows)
    slots = workers or max(1, int((os.cpu_count() or 1) / spec.resources.cpus))
    here = Capacity(slots * spec.resources.cpus, slots * spec.resources.gpus)
    packs = search_for(spec, rows, facts, here).next_packs()
    largest = max((pack.num_trials for pack in packs), default=1)
    step_time = fit_step_time(time_packs(spec, task, largest)) if packs else StepTime(0, 0, 0)
    cost = estimate_cost(packs, step_time, slots)
    return Preview(
        name=spec.name,
        optimizers=tuple(optimizer.label for optimizer in spec.optimizers),
        batch_sizes=spec.batch_sizes,
        searched=spec.parameters.searched,
        num_lrs=tuple(len(spec.lrs_for(optimizer)) for optimizer in spec.optimizers),
        dampings=_dampings(spec),
        num_seeds=spec.seeds,
        num_done=len(done),
        num_packs=cost.num_packs,
        num_trials=cost.num_trials,
        num_steps=cost.num_steps,
        num_examples=cost.num_examples,
        num_workers=slots,
        wall_time_s=cost.wall_time_s,
        trials_per_pack=largest,
    )


def _dampings(spec: SweepSpec) -> tuple[tuple[float, ...], ...] | None:
    axis = spec.parameters.damping
    return None if axis is None else tuple(points_for(axis, item) for item in spec.optimizers)


def format_duration(seconds: float) -> str:
    """Write a duration with the unit a person would choose.

    Args:
        seconds: At least 0.

    Returns:
        A number and a unit.

    Example:
        >>> format_duration(42.4), format_duration(150), format_duration(9000)
        ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.1f} min"
    return f"{seconds / _HOUR_S:.1f} h"
