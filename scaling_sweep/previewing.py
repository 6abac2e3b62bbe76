"""What a sweep would run and cost, found without running it."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.axes import AXES
from scaling_sweep.clusters import Capacity
from scaling_sweep.memory_room import room_here
from scaling_sweep.planning import (
    MemoryRoom,
    Pack,
    SweepCost,
    estimate_cost,
    fit_step_time,
    most_together,
)
from scaling_sweep.planning.cost import StepTimes
from scaling_sweep.preview_text import PackMemory, format_forecasts, format_memory, format_pairs
from scaling_sweep.preview_text import format_duration as format_duration  # others look here
from scaling_sweep.running import default_folder, measured_trials, search_for
from scaling_sweep.spec import LoadedSweep, SweepSpec
from scaling_sweep.spec.axes import points_for
from scaling_sweep.store import RunFolder

if TYPE_CHECKING:
    from scaling_sweep.planning.forecasting import StudyForecast
    from scaling_sweep.tasks.task import Task


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
        search: ``grid``, or the bisection in words.
        forecasts: What the whole study would cost and tell, simulated; then what neighbours would.
        price: Of one GPU hour; None when none was given.
        on_gpus: Whether packs ask for GPUs.
        tokens_per_example: Tokens in an example where the task knows them; 1 otherwise.
        memory: What memory lets packs be; None where it was not looked at.
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
    search: str
    forecasts: "tuple[StudyForecast, ...]"
    price: float | None
    on_gpus: bool
    tokens_per_example: int = 1
    memory: PackMemory | None = None

    def text(self) -> str:
        """Return the preview as people read it."""
        about = "" if self.search == "grid" else "about "
        pairs = [
            ("study", self.name),
            ("searched", f"the {AXES[self.searched].edge}"),
            ("batch sizes", ", ".join(map(str, self.batch_sizes))),
            *self._describe_tokens(),
            ("search", self.search),
            *self._describe_lrs(),
            *self._describe_dampings(),
            ("seeds", str(self.num_seeds)),
            ("trials", f"{about}{self.num_trials:,} to run, {self.num_done:,} there already"),
            ("packs", f"{about}{self.num_packs:,} of up to {self.trials_per_pack} trials"),
            *(() if self.memory is None else [("memory", format_memory(self.memory))]),
            ("steps", f"{about}{self.num_steps:,}"),
            ("examples", f"{about}{self.num_examples:,}"),
            ("time", self._describe_time()),
        ]
        table = format_forecasts(self.forecasts, self.price, on_gpus=self.on_gpus)
        return "\n\n".join(filter(None, [format_pairs(pairs), table]))

    def _describe_time(self) -> str:
        packs = "1 pack" if self.num_workers == 1 else f"{self.num_workers} packs"
        return (
            f"about {format_duration(self.wall_time_s)} on this machine's processor, {packs} at a "
            "time; less where trials diverge early"
        )

    def _describe_lrs(self) -> tuple[tuple[str, str], ...]:
        if self.search != "grid" and self.dampings is None:
            return ()  # a range where the search begins, and no list
        return (("learning rates", self._by_optimizer(map(str, self.num_lrs))),)

    def _describe_tokens(self) -> tuple[tuple[str, str], ...]:
        each = self.tokens_per_example
        if each == 1:
            return ()
        sizes = ", ".join(f"{each * size:,}" for size in self.batch_sizes)
        return (("in tokens", f"{sizes} ({each} in an example)"),)

    def _by_optimizer(self, texts: Iterable[str]) -> str:
        pairs = zip(self.optimizers, texts, strict=True)
        return ", ".join(f"{optimizer}: {text}" for optimizer, text in pairs)

    def _describe_dampings(self) -> tuple[tuple[str, str], ...]:
        if self.dampings is None:
            return ()
        grids = (f"{len(grid)} from {grid[0]:.3g} to {grid[-1]:.3g}" for grid in self.dampings)
        return (("dampings", self._by_optimizer(grids)),)


def preview(
    sweep: LoadedSweep,
    out: Path | None = None,
    workers: int | None = None,
    price: float | None = None,
) -> Preview:
    """Plan a sweep, estimate its time from a probe, and simulate what it will tell.

    Args:
        sweep: The sweep and its file.
        out: Run folder; ``runs/<name>`` unless given.
        workers: Packs at a time; by this machine's cores unless given.
        price: Of one GPU hour, in any currency.

    Returns:
        What would run.

    Raises:
        UserError: If the task or the file has a fault.
    """
    from scaling_sweep.planning.forecasting import Prices, forecast_study
    from scaling_sweep.training.preflight import inspect_task, load_sweep_task

    spec = sweep.spec
    task = load_sweep_task(sweep)
    facts = inspect_task(sweep, task)
    rows = RunFolder(out or default_folder(spec)).read_rows()
    num_done = len(measured_trials(rows))
    slots = workers or max(1, int((os.cpu_count() or 1) / spec.resources.cpus))
    here = Capacity(slots * spec.resources.cpus, slots * spec.resources.gpus)
    room = room_here(sweep, task, facts, slots)
    search = search_for(spec, rows, facts, here, room)
    packs = search.next_packs()
    largest = _largest(spec, packs, facts.max_trials_per_pack)
    clock = _time_steps(spec, task, largest)
    forecasts = forecast_study(spec, search.limits, Prices(clock, slots, price))
    cost = estimate_cost(packs, clock, slots)
    if spec.bisection is not None and packs:
        cost = _rest_of(forecasts[0], num_done)
    return Preview(
        name=spec.name,
        optimizers=tuple(optimizer.label for optimizer in spec.optimizers),
        batch_sizes=spec.batch_sizes,
        searched=spec.parameters.searched,
        num_lrs=tuple(len(spec.lrs_for(optimizer)) for optimizer in spec.optimizers),
        dampings=_dampings(spec),
        num_seeds=spec.seeds,
        num_done=num_done,
        num_packs=cost.num_packs,
        num_trials=cost.num_trials,
        num_steps=cost.num_steps,
        num_examples=cost.num_examples,
        num_workers=slots,
        wall_time_s=cost.wall_time_s,
        trials_per_pack=largest,
        search=describe_search(spec),
        forecasts=forecasts,
        price=price,
        on_gpus=spec.resources.gpus > 0,
        tokens_per_example=task.tokens_per_example,
        memory=None if room is None else _describe_room(room, spec, facts.max_trials_per_pack),
    )


def _describe_room(room: MemoryRoom, spec: SweepSpec, most: int) -> PackMemory:
    wanted = most_together(spec, most)
    return PackMemory(room.num_bytes, str(room.basis), wanted, room.sizes(spec.batch_sizes))


def _largest(spec: SweepSpec, packs: Sequence[Pack], most: int) -> int:
    """Return the most trials of a pack; a search's largest come when all seeds are on their way."""
    seeds = 0 if spec.bisection is None else spec.seeds * spec.bisection.probes
    rates = 1 if spec.parameters.damping is None else len(spec.lrs_for(spec.optimizers[0]))
    largest = max((pack.num_trials for pack in packs), default=1)
    return max(largest, min(seeds * rates, most))


def _time_steps(spec: SweepSpec, task: "Task", num_trials: int) -> StepTimes:
    """Time packs of every optimizer."""
    from scaling_sweep.training.preflight import time_packs

    return StepTimes(
        {
            item.label: fit_step_time(time_packs(spec, task, item, num_trials))
            for item in spec.optimizers
        }
    )


def _rest_of(whole: "StudyForecast", num_done: int) -> SweepCost:
    """Return what is left of a simulated search when some of its trials are there."""
    left = max(0.0, 1 - num_done / whole.num_trials)
    return SweepCost(
        num_packs=round(whole.num_packs * left),
        num_trials=max(0, whole.num_trials - num_done),
        num_steps=round(whole.num_steps * left),
        num_examples=round(whole.num_examples * left),
        pack_time_s=whole.wall_time_s * left,
        wall_time_s=whole.wall_time_s * left,
    )


def describe_search(spec: SweepSpec) -> str:
    """Return how values of the searched axis are chosen, in words.

    Args:
        spec: A study.

    Returns:
        ``grid``, or the bisection's resolution and where it ends.
    """
    bisect = spec.bisection
    if bisect is None:
        return "grid"
    words = f"bisection to a factor {2 ** (1 / bisect.per_octave):.3g}"
    if bisect.precision is None:
        return words
    return f"{words}, seeds added up to {bisect.max_seeds} until ±{bisect.precision:g}"


def _dampings(spec: SweepSpec) -> tuple[tuple[float, ...], ...] | None:
    axis = spec.parameters.damping
    return None if axis is None else tuple(points_for(axis, item) for item in spec.optimizers)
