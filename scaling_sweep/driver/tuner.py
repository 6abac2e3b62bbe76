"""Ray Tune set up for packs, beside the cluster that trains them."""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler

from scaling_sweep.driver.collector import Collector, StopOnProblem, Watcher
from scaling_sweep.driver.failures import PackClock
from scaling_sweep.driver.searcher import PackSearcher
from scaling_sweep.driver.workers import MAX_RETRIES, PackTrainable, WorkerOrder
from scaling_sweep.planning import Search
from scaling_sweep.rows import PackRows


class _Scheduler(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Lets every worker that starts become one.

    Tune (2.60) gives a worker that has become free to the pack that waits for a new one, and ends
    the new one: while packs take less time than a worker's start, one worker trains them all.
    Where the scheduler chooses nothing, Tune gives it to the next pack instead.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ANN401
        """Choose nothing."""


def train_here(
    search: Search,
    order: WorkerOrder,
    at_once: int,
    store: Callable[[PackRows], None],
    watchers: Sequence[Watcher],
) -> bool:
    """Train packs by Tune in this process, which no client stands between and the cluster.

    Args:
        search: Says which packs, and is asked again each time one has returned.
        order: What workers need beside.
        at_once: Packs at the same time.
        store: Stores the rows of one pack.
        watchers: Told after each pack.

    Returns:
        Whether all packs were trained or given up; False when the run was interrupted.

    Raises:
        UserError: If rows cannot be stored.
    """
    searcher = PackSearcher(search)
    collector = Collector(searcher, store, watchers, PackClock(order.spec.resources.pack_timeout))
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch:
        tuner = tune.Tuner(
            _trainable_for(order),
            tune_config=_hand_out(searcher, at_once),
            run_config=_look_after(collector, scratch),
        )
        # Nothing is lost but packs in flight: what is finished was stored as it came.
        with suppress(KeyboardInterrupt):
            tuner.fit()
    if collector.problem is not None:
        raise collector.problem
    return searcher.is_done


def _trainable_for(order: WorkerOrder) -> Any:  # noqa: ANN401
    """Return the actor's class with what every worker needs, and the room that each takes."""
    needs = {"CPU": order.spec.resources.cpus, "GPU": order.spec.resources.gpus}
    return tune.with_resources(tune.with_parameters(PackTrainable, order=order), needs)


def _hand_out(searcher: PackSearcher, at_once: int) -> tune.TuneConfig:
    """Return settings by which Tune takes packs from the searcher, so many at the same time."""
    # With a searcher Tune starts one worker at a time; it reads this when it begins.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once)
    return tune.TuneConfig(
        search_alg=searcher,
        scheduler=_Scheduler(),
        num_samples=-1,
        max_concurrent_trials=at_once,
        reuse_actors=True,
        trial_name_creator=_name,
        trial_dirname_creator=_name,
    )


def _look_after(collector: Collector, scratch: str) -> tune.RunConfig:
    """Return settings by which every pack's end reaches the collector."""
    return tune.RunConfig(
        name="packs",
        storage_path=scratch,
        verbose=0,
        callbacks=[collector],
        stop=StopOnProblem(collector),
        failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
    )


def _name(trial: Any) -> str:  # noqa: ANN401
    return str(trial.trial_id)
