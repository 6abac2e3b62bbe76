"""What theory predicts for a sweep, from curvature that is measured first."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_sweep.spec import LoadedSweep, SweepSpec

if TYPE_CHECKING:
    from analysis.curvature_table import CurvatureTable
    from analysis.theory.beside import PointPrediction
    from scaling_sweep.curvature_plan import MeasuringJob
    from scaling_sweep.store import RunFolder
    from scaling_sweep.tasks.task import Task


@dataclass(frozen=True)
class OptimizerPrediction:
    """What theory says of one optimizer of the sweep.

    Attributes:
        optimizer: Its label.
        points: One entry per point that curvature was measured at, in the order of training.
        silence: Why nothing is predicted; empty when something is.
    """

    optimizer: str
    points: "tuple[PointPrediction, ...]"
    silence: str = ""


@dataclass(frozen=True)
class SweepPrediction:
    """What theory says of a sweep.

    Attributes:
        name: The study.
        batch_sizes: In examples, ascending.
        optimizers: One entry per optimizer, in the file's order.
        table: The curvature it starts from.
        path: Where that lies.
        num_new: Points and seeds measured now; the others were there.
        wall_time_s: Seconds that took.
        searched: The axis whose edge the sweep looks for: ``lr`` or ``damping``.
    """

    name: str
    batch_sizes: tuple[int, ...]
    optimizers: tuple[OptimizerPrediction, ...]
    table: "CurvatureTable"
    path: Path
    num_new: int
    wall_time_s: float
    searched: str = "lr"


def predict_sweep(
    sweep: LoadedSweep,
    out: Path | None = None,
    on_job: "Callable[[MeasuringJob, int, int], None] | None" = None,
) -> SweepPrediction:
    """Measure the curvature that is missing in the run folder, and predict from all of it.

    Args:
        sweep: The sweep and its file; without a section ``curvature`` its defaults hold.
        out: Run folder; ``runs/<name>`` unless given.
        on_job: Told of each measurement before it begins, with its place and how many there are.

    Returns:
        The predictions.

    Raises:
        UserError: If the task has a fault, the short training diverges, or the folder cannot be
            written.
    """
    from scaling_sweep.curvature_store import CurvatureStore
    from scaling_sweep.running import default_folder
    from scaling_sweep.store import RunFolder
    from scaling_sweep.training.preflight import inspect_task, load_sweep_task

    begin = time.perf_counter()
    folder = RunFolder(out or default_folder(sweep.spec))
    task = load_sweep_task(sweep)
    facts = inspect_task(sweep, task)
    with folder.opened():
        num_new = _measure_missing(sweep.spec, task, folder, on_job)
        table = CurvatureStore(folder, sweep.spec).assemble()
    return SweepPrediction(
        name=sweep.spec.name,
        batch_sizes=sweep.spec.batch_sizes,
        optimizers=predict_optimizers(sweep.spec, table, facts.num_examples),
        table=table,
        path=folder.curvature,
        num_new=num_new,
        wall_time_s=time.perf_counter() - begin,
        searched=sweep.spec.parameters.searched,
    )


def predict_optimizers(
    spec: SweepSpec, table: "CurvatureTable", num_examples: int | None
) -> tuple[OptimizerPrediction, ...]:
    """Predict the edge of every optimizer of a sweep.

    Args:
        spec: The sweep.
        table: Measured curvature.
        num_examples: Examples in the data; None when they never end.

    Returns:
        One entry per optimizer, in the file's order.
    """
    import numpy as np

    from analysis.theory import Conditions, find_rule
    from analysis.theory.beside import predict_points
    from analysis.words.formatting import optimizer_name

    finite = num_examples if spec.sampling == "epoch" else None
    sizes = np.array(spec.batch_sizes, dtype=float)
    found = []
    for label in (optimizer.label for optimizer in spec.optimizers):
        rule = find_rule(label)
        if rule is None:
            silence = f"No theory here speaks of {optimizer_name(label)}."
            found.append(OptimizerPrediction(label, (), silence))
        else:
            points = predict_points(table, label, Conditions(sizes, rule, finite))
            found.append(OptimizerPrediction(label, points))
    return tuple(found)


def _measure_missing(
    spec: SweepSpec,
    task: "Task",
    folder: "RunFolder",
    on_job: "Callable[[MeasuringJob, int, int], None] | None",
) -> int:
    """Measure what a run folder lacks, one point and seed after the other; return how many."""
    import torch

    from scaling_sweep.curvature_store import CurvatureStore
    from scaling_sweep.measuring import choose_device, measure_job

    # As a pack would: two threads on two busy cores took 3 times as long as one (measured).
    torch.set_num_threads(max(1, int(spec.resources.cpus)))
    store, device = CurvatureStore(folder, spec), choose_device(spec)
    jobs = store.missing()
    starts = _train_starts(spec, task, folder, {job.seed for job in jobs})
    for place, job in enumerate(jobs):
        if on_job is not None:
            on_job(job, place, len(jobs))
        store.write(job, measure_job(spec, task, job, starts.get(job.seed), device))
    return len(jobs)


def _train_starts(
    spec: SweepSpec, task: "Task", folder: "RunFolder", seeds: set[int]
) -> dict[int, bytes]:
    """Return where the trials of some seeds begin; none where that is at initialisation."""
    from scaling_sweep.measuring import choose_device
    from scaling_sweep.planning import start_id
    from scaling_sweep.training.starts import dump_point, train_starts

    if spec.start == "init":
        return {}
    recipe = start_id(spec)
    missing = sorted(seeds - set(folder.read_starts(recipe)))
    if missing:
        points = train_starts(spec, task, missing, choose_device(spec))
        for seed, point in points.items():
            folder.write_start(recipe, seed, dump_point(point))
    return folder.read_starts(recipe)
