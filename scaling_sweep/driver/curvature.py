"""Curvature as Ray work beside the packs: one task per point and seed, kept as each arrives."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ray

from scaling_sweep.curvature_plan import MeasuringJob
from scaling_sweep.driver.workers import MAX_RETRIES, WorkerOrder
from scaling_sweep.errors import UserError

if TYPE_CHECKING:
    from analysis.curvature_table import CurvatureTable

# How often the thread hears whether it shall stop: Ctrl-C must end a run within seconds.
_SLICE_S = 0.5


class CurvatureCrew:
    """Measures in the background while packs train; a failure of its own never fails the run.

    Args:
        order: The sweep, where its task lies, and where its trials begin.
        jobs: What to measure.
        at_once: Jobs at a time, so that packs keep room.
        store: Stores one measurement; called from a thread.

    Attributes:
        num_missing: Jobs that are not stored yet.
    """

    def __init__(
        self,
        order: WorkerOrder,
        jobs: Sequence[MeasuringJob],
        at_once: int,
        store: "Callable[[MeasuringJob, CurvatureTable], None]",
    ) -> None:
        self._order, self._waiting, self._at_once = order, list(jobs), at_once
        self._store = store
        self._num_jobs = self.num_missing = len(jobs)
        self._reasons: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="curvature", daemon=True)

    def start(self) -> None:
        """Begin to hand out jobs."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until every job is done or has failed."""
        self._thread.join()

    def stop(self) -> None:
        """Give up what is in flight or waiting."""
        self._stopped.set()
        self._thread.join()

    def warning(self) -> str:
        """Return one line about what was not measured and why."""
        reason = self._reasons[0] if self._reasons else "the run was stopped"
        return (
            f"{self.num_missing} of {self._num_jobs} measurements of curvature are missing "
            f"({reason}); the same command tries them again"
        )

    def _work(self) -> None:
        running: dict[ray.ObjectRef, MeasuringJob] = {}
        try:
            while (self._waiting or running) and not self._stopped.is_set():
                while self._waiting and len(running) < self._at_once:
                    job = self._waiting.pop(0)
                    running[self._submit(job)] = job
                ready, _ = ray.wait(list(running), timeout=_SLICE_S)
                for ref in ready:
                    self._keep(running.pop(ref), ref)
        except Exception as error:  # Ray is gone, or the disk full: the packs will say so too
            self._reasons.append(_one_line(error))
        for ref in running:
            ray.cancel(ref, force=True)

    def _submit(self, job: MeasuringJob) -> ray.ObjectRef:
        resources = self._order.spec.resources
        options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
        return ray.remote(max_retries=MAX_RETRIES, **options)(_measure).remote(self._order, job)

    def _keep(self, job: MeasuringJob, ref: ray.ObjectRef) -> None:
        try:
            result: CurvatureTable | UserError = ray.get(ref)
        except ray.exceptions.RayError as error:  # the worker was lost more often than is retried
            self._reasons.append(_one_line(error))
            return
        if isinstance(result, UserError):
            self._reasons.append(str(result))
            return
        self._store(job, result)
        self.num_missing -= 1


def _measure(order: WorkerOrder, job: MeasuringJob) -> "CurvatureTable | UserError":
    """Measure one job on a worker."""
    from scaling_sweep.measuring import measure_on_worker

    try:
        return measure_on_worker(order.spec, order.search, job, order.starts.get(job.seed))
    except UserError as error:
        return error
    except Exception as error:  # whatever the user's own task raises is a reason, not a crash
        return UserError(_one_line(error))


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
