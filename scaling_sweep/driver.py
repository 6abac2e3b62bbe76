"""Packs out, rows in: the Ray Tune side of a run."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from scaling_sweep.clusters import Capacity
from scaling_sweep.driver_failures import PackClock, short_reason
from scaling_sweep.driver_searcher import PackSearcher
from scaling_sweep.errors import UserError
from scaling_sweep.planning import Pack, Search
from scaling_sweep.rows import PackRows, rows_of_failure, rows_of_result
from scaling_sweep.spec import SweepSpec
from scaling_sweep.training.records import PackResult

if TYPE_CHECKING:
    from scaling_sweep.training.worker import PackWorker

# A worker that raises or dies is given two more chances: nodes get lost, bugs stay.
MAX_RETRIES = 2


class Watcher(Protocol):
    """Told of a run as it goes; what it does must be quick and must not raise."""

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Hear that a pack's rows are stored."""
        ...


@dataclass(frozen=True)
class WorkerOrder:
    """What every worker needs beside its pack.

    Attributes:
        spec: The sweep.
        search: Folders where a user's own task may lie.
        starts: The trained start of each seed as bytes; empty to begin at initialisation.
    """

    spec: SweepSpec
    search: tuple[str, ...]
    starts: Mapping[int, bytes]


class _PackTrainable(tune.Trainable):  # type: ignore[misc]  # Ray is untyped
    """One actor: trains one pack a Tune trial, and is used again for the next."""

    def setup(self, config: dict[str, Any], order: WorkerOrder) -> None:
        """Take in what all packs share, once per actor."""
        self._worker = _make_worker(order)
        self._worker.begin(config["parcel"].pack)

    def step(self) -> dict[str, Any]:
        """Train for about a second, so that the actor hears when it shall stop."""
        result = self._worker.advance()
        return {"done": False} if result is None else {"pack_result": result, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on the next pack."""
        self._worker.begin(new_config["parcel"].pack)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Have nothing to save: a pack that is interrupted is planned anew."""

    def load_checkpoint(self, checkpoint: Any) -> None:  # noqa: ANN401
        """Have nothing to load."""


def _make_worker(order: WorkerOrder) -> "PackWorker":
    """Build the task in this process, which keeps to the memory that it may take."""
    from scaling_sweep.memory_limit import limit_memory

    # Before torch is imported: what it and the data take counts too.
    limit_memory(order.spec.resources.memory_gib)
    from scaling_sweep.training.worker import PackWorker

    return PackWorker(order.spec, order.search, order.starts)


@dataclass
class _Collector(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Stores every pack's rows the moment they arrive."""

    searcher: PackSearcher
    store: Callable[[PackRows], None]
    watchers: Sequence[Watcher]
    clock: PackClock
    problem: UserError | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything behind when Tune saves its own state, which nobody reads."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ANN401
        """Begin to count a pack's seconds."""
        self.clock.start(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:  # noqa: ANN401
        """End packs that take too long; Tune calls this about ten times a second."""
        self.clock.end_overdue(trials)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ANN401
        """Store the rows of a pack that trained, and let go of them."""
        self.clock.stop(trial)
        pack, last = self.searcher.take_back(trial.trial_id), trial.last_result or {}
        last.pop("config", None)  # a copy of the pack, for which Tune has no use any more
        result: PackResult | None = last.pop("pack_result", None)
        if result is not None:
            self._keep(result.pack, rows_of_result(result), result.wall_time_s)
        elif pack is not None:
            self.searcher.lose(pack)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ANN401
        """Store rows that say why a pack could not be trained, after the last retry."""
        self.clock.stop(trial)
        pack = self.searcher.take_back(trial.trial_id)
        if pack is not None:
            self._keep(pack, rows_of_failure(pack, self.clock.reason(trial)), 0.0)

    def _keep(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        if self.problem is not None:
            return
        try:
            self.store(rows)
        except UserError as error:
            # Raising inside Tune would bury the line in a traceback: the stopper ends the run.
            self.problem = error
            return
        self.searcher.hear(pack, rows)
        for watcher in self.watchers:
            watcher.on_pack(pack, rows, wall_time_s)


class _Scheduler(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Lets every worker that starts become one.

    Tune (2.60) gives a worker that has become free to the pack that waits for a new one, and ends
    the new one: while packs take less time than a worker's start, one worker trains them all.
    Where the scheduler chooses nothing, Tune gives it to the next pack instead.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ANN401
        """Choose nothing."""


class _StopOnProblem(tune.Stopper):  # type: ignore[misc]  # Ray is untyped
    """Ends the run when rows cannot be stored."""

    def __init__(self, collector: _Collector) -> None:
        self._collector = collector

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything behind when Tune saves its own state, which nobody reads."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single pack."""
        return False

    def stop_all(self) -> bool:
        """Stop all packs once there is a problem."""
        return self._collector.problem is not None


def train_packs(
    search: Search,
    order: WorkerOrder,
    capacity: Capacity,
    store: Callable[[PackRows], None],
    watchers: Sequence[Watcher] = (),
) -> bool:
    """Train packs on the connected Ray and store each one's rows as it finishes.

    Args:
        search: Says which packs, and is asked again each time one has returned.
        order: What workers need beside.
        capacity: What the cluster offers.
        store: Stores the rows of one pack.
        watchers: Told after each pack.

    Returns:
        Whether all packs were trained or given up; False when the run was interrupted.

    Raises:
        UserError: If the cluster cannot hold one pack, a machine of it lacks the task, or rows
            cannot be stored.
    """
    resources = order.spec.resources
    at_once = capacity.num_packs(resources.cpus, resources.gpus)
    if at_once < 1:
        raise UserError(
            f"a pack asks for {resources.cpus:g} CPUs and {resources.gpus:g} GPUs, the cluster has "
            f"{capacity.cpus:g} and {capacity.gpus:g}; lower resources in the sweep file"
        )
    from scaling_sweep.driver_nodes import check_nodes

    check_nodes(order)
    if ray.util.client.ray.is_connected():
        from scaling_sweep.driver_relay import train_packs_there

        with _sigterm_as_sigint():
            return train_packs_there(search, order, capacity, store, watchers)
    # With a searcher Tune starts one worker at a time; it reads this when it begins.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once)
    searcher = PackSearcher(search)
    collector = _Collector(searcher, store, watchers, PackClock(resources.pack_timeout))
    trainable = tune.with_resources(
        tune.with_parameters(_PackTrainable, order=order),
        {"CPU": resources.cpus, "GPU": resources.gpus},
    )
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch, _sigterm_as_sigint():
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=_Scheduler(),
                num_samples=-1,
                max_concurrent_trials=at_once,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=scratch,
                verbose=0,
                callbacks=[collector],
                stop=_StopOnProblem(collector),
                failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        # Nothing is lost but packs in flight: what is finished was stored as it came.
        with suppress(KeyboardInterrupt):
            tuner.fit()
    if collector.problem is not None:
        raise collector.problem
    return searcher.is_done


def train_missing_starts(order: WorkerOrder, seeds: Sequence[int]) -> dict[int, bytes]:
    """Train the starts of some seeds on one worker, all in one pack.

    Args:
        order: The sweep and where its task lies.
        seeds: Which replicates.

    Returns:
        The points as bytes, by seed.

    Raises:
        UserError: If the recipe diverges.
    """
    resources = order.spec.resources

    @ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=MAX_RETRIES)  # type: ignore[untyped-decorator]
    def train() -> dict[int, bytes] | UserError:
        try:
            return _make_worker(order).train_starts(seeds)
        except UserError as error:
            return error

    try:
        points: dict[int, bytes] | UserError = ray.get(
            train.remote(), timeout=resources.pack_timeout
        )
    except ray.exceptions.GetTimeoutError:
        raise UserError(
            f"the starts took longer than {resources.pack_timeout:g} s (resources.pack_timeout)"
        ) from None
    except ray.exceptions.RayError as error:
        raise UserError(f"the starts could not be trained: {short_reason(str(error))}") from error
    if isinstance(points, UserError):
        raise points
    return points


def _name(trial: Any) -> str:  # noqa: ANN401
    return str(trial.trial_id)


@contextmanager
def _sigterm_as_sigint() -> Iterator[None]:
    """Let a polite kill end the run as Ctrl-C does, with everything finished kept.

    The exception is raised here and not by way of SIGINT, which a command that was started in the
    background of a script ignores.
    """
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
