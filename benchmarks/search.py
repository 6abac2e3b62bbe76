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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.criteria import Verdict
from analysis.groups import fit_results
from analysis.results import Results, read_results
from analysis.summaries import GroupFit
from analysis.tables import normalize_table
from scaling_sweep.planning import Measurement, Search, Trial, all_trials
from scaling_sweep.planning.evidence import read_measurements, tabulate
from scaling_sweep.planning.simulating import SimulatedEdges, simulate_search
from scaling_sweep.spec import Bisection, BisectSearch, SweepSpec, parse_sweep

PER_OCTAVE, NUM_STEPS = 4, 300
SIZES = tuple(2**i for i in range(10))
RUNGS, REDUCTION, HORIZON_POWER = (1 / 9, 1 / 3, 1.0), 3, 0.15
TPE_TRIALS = (8, 16, 32)
PRECISION, MOST_SEEDS = 0.07, 96


@dataclass(frozen=True)
class Truth:
    """A law: ``1/(1 + (B*/B)^p)`` up to a level; a power law when B* is infinite."""

    exponent: float
    bend: float

    @property
    def name(self) -> str:
        """Words for the table."""
        where = "power" if math.isinf(self.bend) else f"B*={self.bend:g}"
        return f"p={self.exponent:g} {where}"

    def lr_max(self, offset: float) -> Callable[[float], float]:
        """Return LR_max of B, within the range whatever the law."""

        def shape(size: float) -> float:
            if math.isinf(self.bend):
                return float(size**self.exponent)
            return 1 / (1 + math.pow(self.bend / size, self.exponent))

        level = math.exp(offset) / math.sqrt(shape(SIZES[0]) * shape(SIZES[-1]))
        return lambda size: level * shape(size)


@dataclass(frozen=True)
class Spent:
    """What a method has found, and what it cost.

    Attributes:
        measured: Trials of the whole horizon.
        num_trials: Trials begun.
        num_examples: Examples they saw.
    """

    measured: tuple[Measurement, ...]
    num_trials: int
    num_examples: float


def study(
    seeds: int, octaves: float = 5, bisect: bool = True, precision: float | None = None
) -> SweepSpec:
    """Return the study that all methods look at: 2^-octaves to 2^octaves."""
    settings = {
        "resolution": 2 ** (1 / PER_OCTAVE),
        "precision": precision,
        "max_seeds": MOST_SEEDS,
    }
    return SweepSpec.model_validate(
        {
            "name": "search",
            "task": "digits_mlp",
            "seeds": seeds,
            "horizon": {"steps": NUM_STEPS},
            "parameters": {
                "optimizer": {"values": ["sgd"]},
                "batch_size": {"values": SIZES},
                "lr": {"min": 2**-octaves, "max": 2**octaves, "per_octave": PER_OCTAVE},
            },
            "search": {"bisect": settings} if bisect else "grid",
        }
    )


def fit(measured: Sequence[Measurement]) -> GroupFit:
    """Fit the trials of one optimizer."""
    table = normalize_table(tabulate(measured), "search", {}).frame
    return fit_results(Results(table, "search"), loss_column="min_loss").groups[0]


def by_grid(seeds: int, world: SimulatedEdges) -> Spent:
    """Try every point."""
    trials = all_trials(study(seeds, bisect=False))
    return _whole([world.answer(trial) for trial in trials])


def by_bisection(seeds: int, world: SimulatedEdges, precision: float | None = None) -> Spent:
    """Ask the planner."""
    search = Search(study(seeds, precision=precision))
    return _whole(simulate_search(search, world.answer, lambda pack: 1.0).measured)


def by_precision(seeds: int, world: SimulatedEdges) -> Spent:
    """Ask the planner to add seeds until the interval is narrow enough."""
    return by_bisection(seeds, world, PRECISION)


def by_halving(seeds: int, world: SimulatedEdges) -> Spent:
    """Promote the largest rates that are stable so far, from a random third of the lattice."""
    found: list[Measurement] = []
    num_trials, examples = 0, 0.0
    for unit in _units(seeds):
        rng = np.random.default_rng([world.salt, unit[0].batch_size, unit[0].seed])
        num = 3 * REDUCTION ** (len(RUNGS) - 1)
        rung = [unit[i] for i in rng.choice(len(unit), min(num, len(unit)), replace=False)]
        num_trials += len(rung)
        spent = 0.0
        for share in RUNGS:
            examples += (share - spent) * len(rung) * NUM_STEPS * unit[0].batch_size
            spent = share
            if share == 1:
                found += [world.answer(trial) for trial in rung]
                break
            shown = world.edge(rung[0]) * share**-HORIZON_POWER
            stable = sorted((t for t in rung if t.lr <= shown), key=lambda t: -t.lr)
            diverged = sorted((t for t in rung if t.lr > shown), key=lambda t: t.lr)
            rung = (stable + diverged)[: max(1, len(rung) // REDUCTION)]
    return Spent(tuple(found), num_trials, examples)


def by_tpe(num: int) -> Callable[[int, SimulatedEdges], Spent]:
    """Return a search by Optuna's TPE with so many trials an edge."""

    def search(seeds: int, world: SimulatedEdges) -> Spent:
        import optuna  # type: ignore[import-not-found, unused-ignore]

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        found: list[Measurement] = []
        for unit in _units(seeds):
            sampler = optuna.samplers.TPESampler(seed=hash((world.salt, unit[0].seed)) % 2**31)
            asked = optuna.create_study(direction="maximize", sampler=sampler)
            known: dict[str, Measurement] = {}
            for _ in range(num):
                ask = asked.ask()
                trial = unit[ask.suggest_int("rank", 0, len(unit) - 1)]
                answer = world.answer(trial)
                known[trial.trial_id] = answer  # what it asks for again costs it nothing
                stable = answer.verdict is Verdict.STABLE
                # Diverged is worse than every stable rate, and the worse the bolder.
                asked.tell(ask, math.log(trial.lr) if stable else -10 - math.log(trial.lr))
            found += known.values()
        return _whole(found)

    return search


def _units(seeds: int) -> list[tuple[Trial, ...]]:
    """Return the grid's trials of every (batch size, seed), ascending in lr."""
    trials = all_trials(study(seeds, bisect=False))
    num = len(trials) // (seeds * len(SIZES))
    return [trials[i : i + num] for i in range(0, len(trials), num)]


def _whole(measured: Sequence[Measurement]) -> Spent:
    return Spent(
        tuple(measured), len(measured), float(sum(NUM_STEPS * m.batch_size for m in measured))
    )


def row(
    name: str, truth: Truth, spent: Sequence[Spent], grid: float | None, confidence: float = 0.95
) -> str:
    """Return one line of the table: what it took, how wide and how often right the interval is."""
    fits = [fit(item.measured) for item in spent]
    ends = np.array([f.exponent_ci for f in fits if f.exponent_ci is not None]).reshape(-1, 2)
    covered = np.mean((ends[:, 0] <= truth.exponent) & (truth.exponent <= ends[:, 1]))
    half = np.median((ends[:, 1] - ends[:, 0]) / 2) if len(ends) else np.nan
    examples = np.mean([item.num_examples for item in spent])
    # What it would take to be as precise as 0.07: widths fall like one over the root of the cost.
    needed = examples * (half / 0.07) ** 2
    ratio = "" if grid is None else f"{grid / needed:7.1f}"
    return (
        f"{truth.name:12} {name:12} {np.mean([s.num_trials for s in spent]):8,.0f} "
        f"{examples / 1e6:9.1f} {covered:8.3f} {half:6.3f} {1 - len(ends) / len(spent):7.2f} "
        f"{needed / 1e6:9.1f} {ratio:>7}"
    )


def needed_for(spent: Sequence[Spent]) -> float:
    """Return the examples to a half-width of 0.07, scaled as widths fall."""
    ends = [f.exponent_ci for f in map(fit, (s.measured for s in spent)) if f.exponent_ci]
    half = float(np.median([(high - low) / 2 for low, high in ends]))
    return float(np.mean([s.num_examples for s in spent])) * (half / 0.07) ** 2


def simulate(repeats: int, seeds: int, only: str | None, flipped: float) -> None:
    """Print the table of simulated edges."""
    methods: dict[str, Callable[[int, SimulatedEdges], Spent]] = {
        "grid": by_grid,
        "bisection": by_bisection,
        "precision": by_precision,
        "halving": by_halving,
    }
    if find_spec("optuna") is None:
        print("TPE left out: pip install -c constraints.txt 'scaling-sweep[bench]' has it")
    else:
        methods |= {f"TPE {num}": by_tpe(num) for num in TPE_TRIALS}
    methods = {name: methods[name] for name in methods if only in {None, name}}
    print(
        f"{repeats} worlds a row, {seeds} seeds, B = 1 … 512, sigma 0.15, "
        f"{flipped:.0%} of verdicts wrong; examples in millions"
    )
    print(
        f"{'truth':12} {'method':12} {'trials':>8} {'examples':>9} {'coverage':>8} {'half':>6} "
        f"{'refused':>7} {'to ±.07':>9} {'grid/it':>7}"
    )
    for truth in (Truth(1, 30), Truth(0.5, 30), Truth(1, 3000), Truth(0.5, math.inf)):
        grid: float | None = None
        for name, method in methods.items():
            worlds = [
                SimulatedEdges(truth.lr_max(0.01 * salt), salt=salt, flipped=flipped)
                for salt in range(repeats)
            ]
            spent = [method(seeds, world) for world in worlds]
            grid = needed_for(spent) if name == "grid" else grid
            print(row(name, truth, spent, grid), flush=True)


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
