"""Ways to look for edges: a grid, bisection, successive halving, TPE; each says what it took."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np

from analysis.criteria import Verdict
from scaling_sweep.planning import Measurement, Search, Trial, all_trials
from scaling_sweep.planning.simulating import SimulatedEdges, simulate_search
from scaling_sweep.spec import SweepSpec

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


# From seeds and a world to what was found there.
Method: TypeAlias = Callable[[int, SimulatedEdges], Spent]


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


def by_tpe(num: int) -> Method:
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


def list_methods() -> dict[str, Method]:
    """Return every search by its name; of what is not installed it says so."""
    methods: dict[str, Method] = {
        "grid": by_grid,
        "bisection": by_bisection,
        "precision": by_precision,
        "halving": by_halving,
    }
    if find_spec("optuna") is None:
        print("TPE left out: pip install -c constraints.txt 'scaling-sweep[bench]' has it")
        return methods
    return methods | {f"TPE {num}": by_tpe(num) for num in TPE_TRIALS}
