"""A whole run from sweep file to results.parquet: look, plan, train what is missing, assemble."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from analysis.criteria import Verdict
from scaling_sweep.clusters import (
    Capacity,
    Place,
    connected,
    entered_ahead,
    find_cluster,
)
from scaling_sweep.environment import describe_environment
from scaling_sweep.memory_room import describe_room, read_room, room_of_run
from scaling_sweep.planning import (
    MemoryRoom,
    Pack,
    PackLimits,
    Search,
    all_trials,
    check_extends,
    describe_widening,
    read_measurements,
    start_id,
)
from scaling_sweep.rows import PackRows
from scaling_sweep.spec import LoadedSweep, SweepSpec, parse_sweep
from scaling_sweep.store import RunFolder
from scaling_sweep.tracking import Tracker

if TYPE_CHECKING:
    from scaling_sweep.curvature_plan import MeasuringJob
    from scaling_sweep.driver.curvature import CurvatureCrew
    from scaling_sweep.driver.workers import WorkerOrder
    from scaling_sweep.training.preflight import TaskFacts


class RunDisplay(Protocol):
    """Shows a run to a person."""

    def on_plan(self, packs: Sequence[Pack], num_done: int) -> None:
        """Show what will run, and how many trials are there already."""
        ...

    def on_stage(self, text: str) -> None:
        """Show what is being waited for."""
        ...

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Show that a pack is finished."""
        ...

    def on_warning(self, text: str) -> None:
        """Show one line about what went wrong without failing the run."""
        ...


@dataclass(frozen=True)
class RunOutcome:
    """What a run left behind.

    Attributes:
        folder: Where.
        rows: All rows, those of earlier runs included.
        num_new: Trials trained by this run.
        complete: Whether nothing is left to run; failed trials count as run.
    """

    folder: RunFolder
    rows: pd.DataFrame
    num_new: int
    complete: bool

    def count(self, verdict: Verdict) -> int:
        """Return how many trials have that verdict."""
        return int((self.rows["verdict"] == str(verdict)).sum())

    def text(self) -> str:
        """Return one line for people."""
        failed = self.count(Verdict.FAILED)
        lost = f", {failed:,} failed (run again to retry them)" if failed else ""
        return (
            f"{len(self.rows):,} trials in {self.folder.results}: "
            f"{self.count(Verdict.STABLE):,} stable, "
            f"{self.count(Verdict.DIVERGED):,} diverged{lost}."
        )


def default_folder(spec: SweepSpec) -> Path:
    """Return where a study runs unless told otherwise."""
    return Path("runs") / spec.name


def run_sweep(
    sweep: LoadedSweep,
    out: Path,
    cluster: str,
    display: RunDisplay,
    *,
    tracker: Tracker | None = None,
    verbose: bool = False,
) -> RunOutcome:
    """Run what a sweep file asks for and the folder does not have yet.

    Args:
        sweep: The sweep and its file.
        out: The run folder; made when it is not there.
        cluster: What ``CLUSTER=`` named.
        display: Shows the run.
        tracker: Mirrors the run; None mirrors nothing.
        verbose: Let Ray speak.

    Returns:
        The rows, assembled into results.parquet and curves.parquet.

    Raises:
        UserError: If the sweep changes what was already run, or the task, the folder or the
            cluster has a fault that a person can mend.
    """
    folder, tracker = RunFolder(out), tracker or Tracker()
    display.on_stage("waiting for the run folder")
    with folder.opened():
        rows = folder.read_rows()
        if len(rows) and folder.sweep.exists():
            check_extends(parse_sweep(folder.sweep.read_text(), folder.sweep).spec, sweep.spec)
        display.on_stage("looking at the task")
        done = measured_trials(rows)
        surely = _lacks_trials(sweep.spec, done)
        with _reaching_ray(cluster, verbose, surely=surely) as reach_ray:
            # Slow to import, and meanwhile Ray starts.
            from scaling_sweep.training.preflight import inspect_task, load_sweep_task

            task = load_sweep_task(sweep)
            facts = inspect_task(sweep, task)
            for line in facts.warnings:
                display.on_warning(line)
            folder.write_bytes(folder.sweep, sweep.text.encode())
            here = describe_environment()
            environment = here | read_room(folder.environment)
            folder.write_environment(environment)
            complete = not search_for(sweep.spec, rows, facts).next_packs()
            if not complete or _unmeasured(sweep.spec, folder):
                display.on_stage("starting Ray")
                if surely:  # while it starts, and its settings are made
                    import_module("scaling_sweep.driver.packs")
                capacity = reach_ray()
                display.on_stage("looking at memory")
                room = room_of_run(sweep, task, facts, capacity, cluster)
                environment = here | describe_room(room, sweep.spec)
                folder.write_environment(environment)
                search = search_for(sweep.spec, rows, facts, capacity, room)
                _tell_plan(search.next_packs(), rows, display, tracker)
                complete = _train(sweep, folder, search, capacity, display, tracker)
            else:
                _tell_plan((), rows, display, tracker)
        rows = folder.assemble(sweep.text, environment)
    if sweep.spec.bisection is not None:
        for line in describe_widening(sweep.spec, read_measurements(rows)):
            display.on_warning(line)
    return RunOutcome(folder, rows, len(rows) - len(done), complete)


def _tell_plan(
    packs: Sequence[Pack], rows: pd.DataFrame, display: RunDisplay, tracker: Tracker
) -> None:
    display.on_plan(packs, len(measured_trials(rows)))
    tracker.on_plan(packs, rows)


def _reaching_ray(
    cluster: str, verbose: bool, *, surely: bool
) -> AbstractContextManager[Callable[[], Capacity]]:
    """Return what leads to Ray: begun at once where it surely will be needed, or when it is."""
    connect = partial(connected, cluster, verbose=verbose)
    if not surely:
        return entered_ahead(connect, now=False)
    ray = connect()  # a cluster that is not there is refused before torch is imported
    return entered_ahead(lambda: ray, now=find_cluster(cluster) == Place("local"))


def _lacks_trials(spec: SweepSpec, done: Collection[str]) -> bool:
    """Return whether trials are missing for sure; of a search that has begun, only it can tell."""
    if spec.bisection is not None:
        return not done
    return any(trial.trial_id not in done for trial in all_trials(spec))


def measured_trials(rows: pd.DataFrame) -> Collection[str]:
    """Return the ids of trials that have a measurement; failed ones are worth another try."""
    return set(rows.loc[rows["verdict"] != str(Verdict.FAILED), "trial_id"])


def search_for(
    spec: SweepSpec,
    rows: pd.DataFrame,
    facts: "TaskFacts",
    capacity: Capacity | None = None,
    room: MemoryRoom | None = None,
) -> Search:
    """Return the search for what is missing, with packs that suit the task and the cluster.

    Args:
        spec: The sweep.
        rows: What the run folder has; trials that failed are worth another try.
        facts: What the task turned out to be.
        capacity: What the cluster offers; None when only one pack at a time is asked about.
        room: What memory lets packs be; None where it is not looked at.

    Returns:
        The search.
    """
    resources = spec.resources
    slots = 1 if capacity is None else capacity.num_packs(resources.cpus, resources.gpus)
    limits = PackLimits(facts.num_examples, facts.max_trials_per_pack, max(1, slots), room)
    measured = rows[rows["verdict"] != str(Verdict.FAILED)]
    return Search(spec, limits, read_measurements(measured))


def _train(
    sweep: LoadedSweep,
    folder: RunFolder,
    search: Search,
    capacity: Capacity,
    display: RunDisplay,
    tracker: Tracker,
) -> bool:
    # Ray reads its settings when it is imported, and connecting has made them.
    from scaling_sweep.driver.packs import train_packs
    from scaling_sweep.driver.starts import train_missing_starts
    from scaling_sweep.driver.workers import WorkerOrder
    from scaling_sweep.training.preflight import search_folders

    order = WorkerOrder(sweep.spec, search_folders(sweep), {})
    if sweep.spec.start != "init":
        display.on_stage("training the starts")
        recipe = start_id(sweep.spec)
        there = folder.read_starts(recipe)
        missing = [seed for seed in range(sweep.spec.most_seeds) if seed not in there]
        for seed, data in train_missing_starts(order, missing).items() if missing else ():
            folder.write_start(recipe, seed, data)
        order = replace(order, starts=folder.read_starts(recipe))
    display.on_stage("training")
    with _measuring_beside(order, folder, capacity) as crew:
        complete = not search.next_packs() or train_packs(
            search, order, capacity, folder.write_part, [display, tracker]
        )
        if complete and crew.num_missing:
            display.on_stage("measuring curvature")
            crew.finish()
            if crew.num_missing:
                display.on_warning(crew.warning())
    return complete


def _unmeasured(spec: SweepSpec, folder: RunFolder) -> "tuple[MeasuringJob, ...]":
    """Return the points and seeds whose curvature is asked for and not there yet."""
    from scaling_sweep.curvature_store import CurvatureStore

    return () if spec.curvature is None else CurvatureStore(folder, spec).missing()


@contextmanager
def _measuring_beside(
    order: "WorkerOrder", folder: RunFolder, capacity: Capacity
) -> "Iterator[CurvatureCrew]":
    """Measure the curvature that is missing while packs train, on half of the cluster."""
    from scaling_sweep.curvature_store import CurvatureStore
    from scaling_sweep.driver.curvature import CurvatureCrew

    resources, jobs = order.spec.resources, _unmeasured(order.spec, folder)
    at_once = max(1, capacity.num_packs(resources.cpus, resources.gpus) // 2)
    crew = CurvatureCrew(order, jobs, at_once, CurvatureStore(folder, order.spec).write)
    crew.start()
    try:
        yield crew
    finally:
        crew.stop()
