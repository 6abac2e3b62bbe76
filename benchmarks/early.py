"""Could a trial stop before its horizon because its verdict is settled? Asked of recorded curves.

A trial whose loss is not finite has diverged whatever comes, and stops in every run. This replays
what else might be settled, on the loss curves of finished runs:

* "diverged": for a share of the horizon the windowed training loss has been above a multiple of the
  untrained model's, and another share has passed.
* "stable": it has fallen below a share of the untrained model's.

A flip is a trial that ended with the other verdict. What would be saved is counted in steps and in
examples, as shares of what the run took; the steps that trials took after their loss was lost are
shown too (a run made before these copies were let go at once has many).

    python -m benchmarks.early RUN...

RUN is a folder with results.parquet and curves.parquet.
"""

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.criteria import Verdict

# Shares of the horizon that must have passed, shares that the loss must have been high, and how
# high: rules that a first look did not rule out.
AFTER, DURING = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7), (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
RATIOS = (1.2, 1.5, 2, 3, 5, 10, 30, 100, 1e3, 1e4, 1e6)
STABLE_AFTER, STABLE_RATIOS = (0.3, 0.5, 0.7, 0.9), (0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Rule:
    """When a trial counts as settled.

    Attributes:
        verdict: What it would be given.
        after: Share of the horizon that must have passed.
        during: Share of the horizon for which the loss must have been there, without a break.
        ratio: Of the untrained model's loss: above it diverged, below it stable.
    """

    verdict: Verdict
    after: float
    during: float
    ratio: float

    def __str__(self) -> str:
        where = "above" if self.verdict is Verdict.DIVERGED else "below"
        return (
            f"{self.verdict} if {where} {self.ratio:g} x for {self.during:.0%} of the horizon, "
            f"after {self.after:.0%}"
        )


def list_rules(verdict: Verdict) -> list[Rule]:
    """Return the rules that are tried."""
    if verdict is Verdict.STABLE:
        return [
            Rule(verdict, *pair) for pair in itertools.product(STABLE_AFTER, [0], STABLE_RATIOS)
        ]
    combined = itertools.product(AFTER, DURING, RATIOS)
    return [Rule(verdict, after, during, r) for after, during, r in combined if during <= after]


@dataclass(frozen=True)
class Recorded:
    """The curves of a finished run.

    Attributes:
        name: The run.
        trials: One row per trial that was measured.
        steps: Shape ``[trials, points]``, steps taken by the end of each window, infinite where a
            curve has ended.
        losses: Shape ``[trials, points]``, over the untrained model's loss.
    """

    name: str
    trials: pd.DataFrame
    steps: np.ndarray
    losses: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> "Recorded":
        """Read a run folder."""
        rows = pd.read_parquet(folder / "results.parquet")
        curves = pd.read_parquet(folder / "curves.parquet").drop_duplicates("trial_id")
        rows = rows[rows["verdict"] != Verdict.FAILED].merge(curves, on="trial_id")
        num_points = max(map(len, rows["step"]), default=0)
        steps = np.full((len(rows), num_points), np.inf)
        losses = np.full((len(rows), num_points), np.nan)
        for row, (at, loss) in enumerate(zip(rows["step"], rows["loss"], strict=True)):
            steps[row, : len(at)], losses[row, : len(at)] = at, loss
        return cls(folder.name, rows, steps, losses / rows["initial_loss"].to_numpy()[:, None])

    def settle(self, rule: Rule) -> np.ndarray:
        """Return the step at which a rule settles each trial, infinite where it never does."""
        horizon = self.trials["num_steps"].to_numpy(float)
        with np.errstate(invalid="ignore"):
            above = self.losses > rule.ratio
            there = above if rule.verdict is Verdict.DIVERGED else self.losses < rule.ratio
        settled = np.full(len(horizon), np.inf)
        since, before = np.full(len(horizon), np.nan), np.zeros(len(horizon))
        for point in range(self.steps.shape[1]):
            step = self.steps[:, point]
            holds = there[:, point] & np.isfinite(step)
            since = np.where(holds, np.where(np.isnan(since), before, since), np.nan)
            long = holds & (step - since >= rule.during * horizon) & (step >= rule.after * horizon)
            settled = np.where(long & np.isinf(settled), step, settled)
            before = np.where(np.isfinite(step), step, before)
        return settled

    def count_flips(self, rule: Rule) -> int:
        """Return how many trials that a rule settles ended with the other verdict."""
        others = (self.trials["verdict"] != rule.verdict).to_numpy()
        return int((np.isfinite(self.settle(rule)) & others).sum())

    def saved(self, stopped: np.ndarray) -> tuple[float, float]:
        """Return the shares of the run's steps and examples after the steps trials stop at."""
        ran = self.trials["steps_run"].to_numpy(float)
        spared = np.maximum(0.0, ran - stopped)
        sizes = self.trials["batch_size"].to_numpy(float)
        return spared.sum() / ran.sum(), (spared * sizes).sum() / (ran * sizes).sum()

    def lost(self) -> np.ndarray:
        """Return the step after which each trial's loss was not finite, infinite where it was."""
        return self.trials["first_nonfinite_step"].astype(float).fillna(np.inf).to_numpy() + 1


def find_best(runs: list[Recorded], verdict: Verdict) -> Rule | None:
    """Return the rule that flips nothing in any run and saves most steps; None where all flip."""
    safe = [r for r in list_rules(verdict) if not any(run.count_flips(r) for run in runs)]
    return max(
        safe, key=lambda rule: sum(run.saved(run.settle(rule))[0] for run in runs), default=None
    )


def show(rule: Rule, runs: list[Recorded]) -> None:
    """Print what a rule does to each run."""
    flips = sum(run.count_flips(rule) for run in runs)
    print(f"\n{rule}: {flips:,} flips of {sum(len(run.trials) for run in runs):,} trials")
    for run in runs:
        steps, examples = run.saved(run.settle(rule))
        settled = np.isfinite(run.settle(rule)).mean()
        print(
            f"  {run.name:22} {run.count_flips(rule):5,} flips, {settled:5.1%} of trials settled, "
            f"saves {steps:5.1%} of steps, {examples:5.1%} of examples"
        )


def main() -> None:
    """Print the recorded runs, and what rules would do to them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    runs = [Recorded.read(folder) for folder in parser.parse_args().runs]
    for run in runs:
        lost = run.lost()
        steps, examples = run.saved(lost)
        print(
            f"{run.name:22} {len(run.trials):6,} trials, "
            f"loss lost in {np.isfinite(lost).mean():5.1%}, "
            f"after that {steps:5.1%} of steps, {examples:5.1%} of examples"
        )
    for run in runs:
        best = find_best([run], Verdict.DIVERGED)
        if best is not None:
            print(f"\nmost steps without a flip in {run.name} alone:", end="")
            show(best, runs)
    for verdict in (Verdict.DIVERGED, Verdict.STABLE):
        best = find_best(runs, verdict)
        print(
            f"\n{verdict}, without a flip in any run: {'no rule' if best is None else ''}", end=""
        )
        if best is not None:
            show(best, runs)
    print()
    show(Rule(Verdict.STABLE, 0.5, 0, 0.1), runs)


if __name__ == "__main__":
    main()
