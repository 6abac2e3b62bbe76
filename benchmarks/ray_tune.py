"""The peers: Ray Tune with one function trial per (lr, seed), as people write it, tuned, with ASHA.

Each is a whole program, run in a process of its own by ``benchmarks.throughput``:

    python -m benchmarks.ray_tune written|tuned|asha TRIALS.json OUTCOMES.json
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.plain_trial import PlainTrial, train_trial

# A trial reports so often, as after the epochs of a tutorial.
NUM_REPORTS = 10
LARGEST_LOSS = 1e9
# What Ray's documentation and issues offer to make many short trials cheap.
TUNED_ENVIRONMENT: Mapping[str, str] = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


def train_as_written(config: dict[str, Any]) -> None:
    """Train one trial and report once, as in Ray's own tutorials."""
    from ray import tune

    begin_s = time.time()
    final_loss = train_trial(PlainTrial(**config["trial"]))
    tune.report({"final_loss": final_loss, **_stamps(begin_s)})


def train_tuned(config: dict[str, Any]) -> None:
    """Train one trial and report once, with one thread and fused optimizers."""
    begin_s = time.time()
    import torch
    from ray import tune

    torch.set_num_threads(1)
    final_loss = train_trial(PlainTrial(**config["trial"]), fused=True)
    tune.report({"final_loss": final_loss, **_stamps(begin_s)})


def train_for_asha(config: dict[str, Any]) -> None:
    """Train one trial and report its loss ten times, as a scheduler wants it."""
    from ray import tune

    begin_s = time.time()
    final_loss = train_trial(
        PlainTrial(**config["trial"]),
        report=lambda loss: tune.report({"loss": loss, **_stamps(begin_s)}),
        report_every=config["trial"]["num_steps"] // NUM_REPORTS,
    )
    # Finite, or ASHA's percentiles become nan and stop nothing any more (Ray 2.60).
    loss = min(final_loss, LARGEST_LOSS)
    tune.report({"loss": loss, "final_loss": final_loss, **_stamps(begin_s)})


def _stamps(begin_s: float) -> dict[str, float]:
    return {"begin_s": begin_s, "end_s": time.time(), "worker": os.getpid()}


def run_as_written(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the grid with every setting of Ray and of Tune left alone."""
    from ray import tune

    tuner = tune.Tuner(train_as_written, param_space={"trial": tune.grid_search(trials)})
    return [_outcome(result) for result in tuner.fit()]


def run_with_asha(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the grid as in Ray's own tutorial on ASHA, every other setting left alone."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    scheduler = ASHAScheduler(max_t=NUM_REPORTS, grace_period=1, reduction_factor=2)
    tuner = tune.Tuner(
        train_for_asha,
        param_space={"trial": tune.grid_search(trials)},
        tune_config=tune.TuneConfig(metric="loss", mode="min", scheduler=scheduler),
    )
    return [_outcome(result) for result in tuner.fit()]


def run_tuned(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the grid as one does who has read all of Tune's documentation."""
    os.environ.update(TUNED_ENVIRONMENT)
    import ray
    from ray import tune

    ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    tuner = tune.Tuner(
        train_tuned,
        param_space={"trial": tune.grid_search(trials)},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False)
        ),
    )
    return [_outcome(result) for result in tuner.fit()]


def _outcome(result: Any) -> dict[str, Any]:  # noqa: ANN401  # Ray is untyped
    names = ("begin_s", "end_s", "worker")
    return {
        "key": result.config["trial"]["key"],
        # A trial that was stopped has none.
        "final_loss": result.metrics.get("final_loss"),
        **{name: result.metrics[name] for name in names},
    }


def write_trials(trials: list[PlainTrial], path: Path) -> None:
    """Store trials for a peer to run."""
    path.write_text(json.dumps([asdict(trial) for trial in trials]))


def main() -> None:
    """Run one of the ways on stored trials and store what came out."""
    way, trials, outcomes = sys.argv[1:]
    run = {"written": run_as_written, "tuned": run_tuned, "asha": run_with_asha}[way]
    Path(outcomes).write_text(json.dumps(run(json.loads(Path(trials).read_text()))))


if __name__ == "__main__":
    # Workers import this module by its own name, where what is loaded once stays loaded.
    from benchmarks import ray_tune

    ray_tune.main()
