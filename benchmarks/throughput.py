"""Trials per second of ``scaling-sweep run`` against Ray Tune with one trial per (lr, seed).

Four whole programs, one after the other on the same machine, each in a process of its own:

* ours: ``scaling-sweep run`` on a grid of digits_mlp trials, without the fit, which the peers do
  not have either (its time is printed beside);
* Ray Tune as people write it: a function that trains one model by a plain torch loop and reports
  once, ``tune.Tuner(function, param_space=grid)``, every setting left alone;
* Ray Tune tuned by an expert: actors reused, loggers, dashboard and output off, no checkpoints,
  one thread per worker, fused optimizers;
* Ray Tune with ASHA on the loss, as in its tutorial: ten reports a trial, ``grace_period=1``,
  ``reduction_factor=2``, all else left alone. ASHA looks for the best trials and stops the others
  by rank, so most end before one can say whether they were stable: the table counts those that
  have a verdict, and from the others no edge can be read.

What was chosen so that the comparison does not favour us:

* A peer trains a random part of the same trials, equally many of each optimizer and batch size:
  from the same weights, on the same batches, judged by the same loss on all the data. The table
  says for how many trials ours and the peer's verdicts agree.
* A peer's loop draws batches by indexing a tensor. A ``DataLoader`` is what many write and costs
  several times as much.
* A peer ends a trial at its first loss that is not finite, as we do.
* A peer's driver never imports torch. Ours does, to look at the task.
* Fewer trials weigh start-up more. So beside the raw rate of each whole program stand the rate a
  peer would reach on as many trials as ours (its start-up once, the rest at its own pace), and
  the rate of training alone, from the first trial's begin to the last one's end.

    python -m benchmarks.throughput [--trials 960] [--written-trials 24] [--tuned-trials 192]
                                    [--asha-trials 24]
"""

import argparse
import json
import math
import os
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.plain_trial import PlainTrial
from benchmarks.rates import Entry, count_agreeing, render_table
from benchmarks.ray_tune import write_trials
from benchmarks.timing import ROOT, describe_conditions, time_command
from scaling_sweep.planning import Trial, all_trials
from scaling_sweep.spec import SweepSpec, parse_sweep

NUM_STEPS = 300
# As in sweeps/digits.yaml.
MAX_LOSS_RATIO = 0.5
SWEEP = """
name: throughput
task: digits_mlp
parameters:
  optimizer: {{values: [sgd, adam]}}
  batch_size: {{values: [4, 16, 64]}}
  lr:
    by_optimizer:
      sgd: {{min: 2e-3, max: 32, per_octave: 2}}
      adam: {{min: 6e-5, max: 1, per_octave: 2}}
seeds: {seeds}
horizon: {{steps: {steps}}}
stability: {{max_loss_ratio: {ratio}}}
"""


_LEAST = {"trials": 192, "written_trials": 24, "tuned_trials": 24, "asha_trials": 24}


def make_sweep(num_trials: int) -> str:
    """Return a sweep file with at least that many trials: seeds are added until there are."""
    one_seed = len(all_trials(parse_sweep(_sweep_text(1)).spec))
    return _sweep_text(math.ceil(num_trials / one_seed))


def _sweep_text(seeds: int) -> str:
    return SWEEP.format(seeds=seeds, steps=NUM_STEPS, ratio=MAX_LOSS_RATIO)


def pick_trials(spec: SweepSpec, num_trials: int) -> list[Trial]:
    """Draw trials at random, equally many of each optimizer and batch size.

    Args:
        spec: The grid.
        num_trials: At least how many, if the grid has them.

    Returns:
        The trials in random order.
    """
    rng = random.Random(0)
    cells: defaultdict[tuple[str, int], list[Trial]] = defaultdict(list)
    for trial in all_trials(spec):
        cells[trial.optimizer.name, trial.batch_size].append(trial)
    share = math.ceil(num_trials / len(cells))
    picked = [trial for cell in cells.values() for trial in rng.sample(cell, min(share, len(cell)))]
    rng.shuffle(picked)
    return picked


def plain_trial(trial: Trial, spec: SweepSpec) -> PlainTrial:
    """Return the same trial for a peer, with the seeds of our own random streams."""
    from scaling_sweep.training.randomness import derive_seed

    return PlainTrial(
        key=trial.trial_id,
        optimizer=trial.optimizer.name,
        batch_size=trial.batch_size,
        lr=trial.lr,
        num_steps=spec.horizon.num_steps(trial.batch_size, None),
        start_seed=derive_seed(trial.sweep_seed, trial.seed, "start"),
        batch_seed=derive_seed(trial.sweep_seed, trial.seed, trial.batch_size, "batches"),
    )


def measure_ours(sweep: Path, folder: Path) -> Entry:
    """Run our own program."""
    program = str(Path(sys.executable).parent / "scaling-sweep")
    timed = time_command([program, "run", str(sweep), "--out", str(folder), "--no-fit"])
    rows = pd.read_parquet(folder / "results.parquet")
    # A pack's time is shared out over its rows; its part was written when it had ended.
    pack_time_s = rows.groupby("pack_id")["wall_time_s"].sum()
    end_s = pd.Series({p.stem: p.stat().st_mtime for p in (folder / "parts").glob("*.parquet")})
    training_s = float(end_s.max() - (end_s - pack_time_s).min())
    losses = dict(zip(rows["trial_id"], rows["final_loss"].fillna(math.inf), strict=True))
    num_workers = os.cpu_count() or 1
    busy = float(pack_time_s.sum()) / (training_s * num_workers)
    return Entry("scaling-sweep run", len(rows), timed, training_s, num_workers, losses, busy)


def measure_peer(name: str, way: str, trials: Sequence[PlainTrial], folder: Path) -> Entry:
    """Run Ray Tune, ``written``, ``tuned`` or ``asha``, in a home of its own."""
    given, outcomes = folder / f"{way}.json", folder / f"{way}-outcomes.json"
    write_trials(list(trials), given)
    timed = time_command(
        [sys.executable, "-m", "benchmarks.ray_tune", way, str(given), str(outcomes)],
        # Workers import the peer's function from the repository.
        {"PYTHONPATH": str(ROOT), "HOME": str(folder)},
    )
    results = pd.DataFrame(json.loads(outcomes.read_text()))
    training_s = float(results["end_s"].max() - results["begin_s"].min())
    told = results[results["final_loss"].notna()]
    losses = dict(zip(told["key"], told["final_loss"].astype(float), strict=True))
    return Entry(name, len(results), timed, training_s, results["worker"].nunique(), losses)


def time_fit(folder: Path) -> float:
    """Return the seconds that fitting and reporting our table takes, start to exit."""
    program = str(Path(sys.executable).parent / "scaling-sweep")
    return time_command([program, "fit", str(folder / "results.parquet")]).wall_time_s


def measure(num_trials: int, num_written: int, num_tuned: int, num_asha: int) -> None:
    """Run the programs and print the table."""
    print(describe_conditions() + "\n", flush=True)
    text = make_sweep(num_trials)
    spec = parse_sweep(text).spec
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch:
        folder = Path(scratch)
        sweep = folder / "throughput.yaml"
        sweep.write_text(text)
        ours = measure_ours(sweep, folder / "run")
        peers = [
            measure_peer(name, way, [plain_trial(t, spec) for t in pick_trials(spec, n)], folder)
            for name, way, n in (
                ("Ray Tune, as people write it", "written", num_written),
                ("Ray Tune, tuned by an expert", "tuned", num_tuned),
                ("Ray Tune with ASHA", "asha", num_asha),
            )
        ]
        rows = pd.read_parquet(folder / "run" / "results.parquet")
        print(render_table(ours, peers))
        print(
            "\nwhole: start to exit. at N: start to exit, had it run N trials. training: no "
            "start-up. verdicts: trials that ended as stable or diverged, not stopped by rank."
        )
        print(f"Packs took {ours.busy_share:.1%} of our workers' time while we trained.")
        limits = MAX_LOSS_RATIO * rows["initial_loss"]
        stable_below = dict(zip(rows["trial_id"], limits, strict=True))
        for peer in peers:
            print(count_agreeing(ours, peer, stable_below))
        print(f"Fit and report of ours, not counted above: {time_fit(folder / 'run'):.1f} s")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=960, help="ours, at least 192")
    parser.add_argument("--written-trials", type=int, default=24, help="at least 24")
    parser.add_argument("--tuned-trials", type=int, default=192, help="at least 24")
    parser.add_argument("--asha-trials", type=int, default=24, help="at least 24")
    options = parser.parse_args()
    for name, least in _LEAST.items():
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}")
    measure(options.trials, options.written_trials, options.tuned_trials, options.asha_trials)


if __name__ == "__main__":
    main()
