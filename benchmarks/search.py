"""What it takes to know the exponent equally well: a grid, bisection, and other searches.

Every method looks for the same edges, one for each (batch size, seed), and its trials are put
through the same fit as ``scaling-sweep fit``. On simulated edges (a law with a known exponent,
edges that scatter between seeds by 0.15 in log) nothing trains, and every trial counts for its
whole horizon, as it does on digits, where diverged trials seldom blow up. On digits, the search is
replayed: each trial it asks for is looked up in a finished grid run, and costs the steps it ran.

* grid: every point of the lattice, a factor 2^(1/4) apart over ten octaves.
* bisection: ``search: {bisect: {resolution: 1.19}}``, with its sentinels.
* precision: the same with ``precision: 0.07``: seeds are added, from the first six on, until half
  of the exponent's interval is no wider. What stops it is the width alone, so it should cover the
  truth as often as a fixed number of seeds does.
* halving: successive halving as in ASHA (Li et al. 2020), rungs at 1/9, 1/3 and all of the horizon,
  reduction 3, keeping the largest rates that are stable so far. A shorter horizon shows an edge
  ``horizon^-0.15`` higher (a guess; a public report has 36 times at a tenth of the horizon).
* TPE: Optuna's sampler, asked for the largest stable rate of the same range, 8, 16 and 32 trials an
  edge; where Optuna is not installed it is left out.

    python -m benchmarks.search [--repeats 6] [--only METHOD]
    python -m benchmarks.search --repeats 0 --digits runs/digits/results.parquet
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from analysis.groups import fit_results
from analysis.results import Results, read_results
from analysis.summaries import GroupFit
from analysis.tables import normalize_table
from benchmarks.searches import PER_OCTAVE, Spent, Truth, list_methods
from scaling_sweep.planning import Measurement, Search
from scaling_sweep.planning.evidence import read_measurements, tabulate
from scaling_sweep.planning.simulating import SimulatedEdges, simulate_search
from scaling_sweep.spec import Bisection, BisectSearch, parse_sweep

TRUTHS = (Truth(1, 30), Truth(0.5, 30), Truth(1, 3000), Truth(0.5, math.inf))
HEAD = (
    f"{'truth':12} {'method':12} {'trials':>8} {'examples':>9} {'coverage':>8} {'half':>6} "
    f"{'refused':>7} {'to ±.07':>9} {'grid/it':>7}"
)


@dataclass(frozen=True)
class Tally:
    """What one method took and found over several worlds.

    Attributes:
        num_trials: Trials begun, a mean.
        num_examples: Examples they saw, a mean.
        num_worlds: How many worlds.
        ends: Shape ``[fitted worlds, 2]``, intervals of the exponent.
    """

    num_trials: float
    num_examples: float
    num_worlds: int
    ends: np.ndarray

    @classmethod
    def of(cls, spent: Sequence[Spent]) -> Self:
        """Fit what was found in each world."""
        intervals = [fit(item.measured).exponent_ci for item in spent]
        return cls(
            num_trials=float(np.mean([item.num_trials for item in spent])),
            num_examples=float(np.mean([item.num_examples for item in spent])),
            num_worlds=len(spent),
            ends=np.array([ends for ends in intervals if ends is not None]).reshape(-1, 2),
        )

    @property
    def half_width(self) -> float:
        """Half of the exponent's interval, a median."""
        return float(np.median(np.diff(self.ends) / 2)) if len(self.ends) else math.nan

    @property
    def num_needed(self) -> float:
        """Examples to a half-width of 0.07: widths fall like one over the root of the cost."""
        return self.num_examples * (self.half_width / 0.07) ** 2

    def covers(self, exponent: float) -> float:
        """Return how often the interval holds the true exponent."""
        return float(np.mean((self.ends[:, 0] <= exponent) & (exponent <= self.ends[:, 1])))


def fit(measured: Sequence[Measurement]) -> GroupFit:
    """Fit the trials of one optimizer."""
    table = normalize_table(tabulate(measured), "search", {}).frame
    return fit_results(Results(table, "search"), loss_column="min_loss").groups[0]


def row(name: str, truth: Truth, tally: Tally, grid: Tally | None) -> str:
    """Return one line of the table: what it took, how wide and how often right the interval is."""
    ratio = "" if grid is None else f"{grid.num_needed / tally.num_needed:7.1f}"
    return (
        f"{truth.name:12} {name:12} {tally.num_trials:8,.0f} {tally.num_examples / 1e6:9.1f} "
        f"{tally.covers(truth.exponent):8.3f} {tally.half_width:6.3f} "
        f"{1 - len(tally.ends) / tally.num_worlds:7.2f} {tally.num_needed / 1e6:9.1f} {ratio:>7}"
    )


def simulate(repeats: int, seeds: int, only: str | None, flipped: float) -> None:
    """Print the table of simulated edges."""
    methods = {name: method for name, method in list_methods().items() if only in {None, name}}
    print(
        f"{repeats} worlds a row, {seeds} seeds, B = 1 … 512, sigma 0.15, "
        f"{flipped:.0%} of verdicts wrong; examples in millions"
    )
    print(HEAD)
    for truth in TRUTHS:
        grid: Tally | None = None
        for name, method in methods.items():
            worlds = [
                SimulatedEdges(truth.lr_max(0.01 * salt), salt=salt, flipped=flipped)
                for salt in range(repeats)
            ]
            tally = Tally.of([method(seeds, world) for world in worlds])
            grid = tally if name == "grid" else grid
            print(row(name, truth, tally, grid), flush=True)


def replay(results: Path) -> None:
    """Print what bisection would have asked of a finished grid, and what it would have found."""
    read = read_results(results)
    folder = results.parent
    spec = parse_sweep((folder / "sweep.yaml").read_text(), folder / "sweep.yaml").spec
    settings = Bisection(resolution=2 ** (1 / PER_OCTAVE), widen=1)
    wanted = spec.model_copy(update={"search": BisectSearch(bisect=settings)})
    known = {item.trial_id: item for item in read_measurements(read.frame)}
    asked = simulate_search(
        Search(wanted), lambda trial: known[trial.trial_id], lambda pack: 1.0
    ).measured
    ids = {item.trial_id for item in asked}
    kept = read.frame[read.frame["trial_id"].isin(ids)]
    print(f"\n{results}, replayed: examples in millions, as many as the trials ran")
    for optimizer, whole in read.frame.groupby("optimizer"):
        part = kept[kept["optimizer"] == optimizer]
        for name, frame in (("grid", whole), ("bisection", part)):
            group = fit_results(Results(frame.reset_index(drop=True), "replay")).groups[0]
            print(f"{optimizer:10} {name:10} {_told(frame, group)}")
        ratio = _examples(whole) / _examples(part)
        print(
            f"{optimizer:10} grid / bisection: {len(whole) / len(part):.1f} trials, "
            f"{ratio:.1f} examples"
        )


def _examples(frame: pd.DataFrame) -> float:
    return float((frame["steps_run"].astype(float) * frame["batch_size"]).sum())


def _told(frame: pd.DataFrame, group: GroupFit) -> str:
    ci = group.exponent_ci
    said = "refused"
    if ci is not None and group.exponent is not None:
        half = (ci[1] - ci[0]) / 2
        said = f"{group.law} {group.exponent:.2f} [{ci[0]:.2f}, {ci[1]:.2f}], half {half:.3f}"
    return f"{len(frame):6,} trials {_examples(frame) / 1e6:7.1f} examples  {said}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=6, help="worlds per row")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--digits", type=Path, help="results.parquet of a finished grid run")
    parser.add_argument("--only", help="one method, for example bisection")
    parser.add_argument("--flipped", type=float, default=0, help="share of wrong verdicts")
    options = parser.parse_args()
    if options.repeats:
        simulate(options.repeats, options.seeds, options.only, options.flipped)
    if options.digits:
        replay(options.digits)


if __name__ == "__main__":
    main()
