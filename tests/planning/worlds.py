"""Worlds in which every trial's verdict is known, for a search to be tried on."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from analysis.criteria import Verdict
from scaling_sweep.planning import Measurement, Pack, Search, Trial, measurement_of
from scaling_sweep.spec import SweepSpec

START, LEARNED, SLOW, BLOWN = 2.3, 0.1, 2.0, 9.0


@dataclass(frozen=True)
class World:
    """Answers a trial by its boldness alone.

    Attributes:
        edge: Boldness above which a trial diverges.
        slow: Boldness below which a trial learns too little to meet the criterion.
        flipped: Share of the trials with the wrong verdict, drawn by lot from their names.
        salt: Makes the lots of one world differ from those of another.
    """

    edge: Callable[[Trial], float]
    slow: float = 0.0
    flipped: float = 0.0
    salt: int = 0

    def answer(self, trial: Trial) -> Measurement:
        """Return what training the trial would measure."""
        boldness = trial.lr if trial.damping is None else 1 / trial.damping
        lot = np.random.default_rng([int(trial.trial_id, 16), self.salt]).uniform()
        diverged = (boldness > self.edge(trial)) ^ (lot < self.flipped)
        if not diverged and boldness < self.slow:
            return measurement_of(trial, Verdict.DIVERGED, START, SLOW)
        if diverged:
            return measurement_of(trial, Verdict.DIVERGED, START, BLOWN)
        return measurement_of(trial, Verdict.STABLE, START, LEARNED)


@dataclass
class Run:
    """A search that was followed to its end.

    Attributes:
        found: Every measurement, in the order of arrival.
        rounds: Packs that were handed out.
    """

    found: list[Measurement] = field(default_factory=list)
    packs: list[Pack] = field(default_factory=list)

    @property
    def ids(self) -> set[str]:
        """Names of all trials."""
        return {item.trial_id for item in self.found}


def follow(
    spec: SweepSpec, world: World, rng: np.random.Generator | None = None, stop_after: int = 10**6
) -> Run:
    """Follow a search as a driver does, packs returning one by one.

    Args:
        spec: The study.
        world: What its trials do.
        rng: Chooses which pack returns next; None returns them in order.
        stop_after: Packs after which the driver is killed; those in flight are lost.

    Returns:
        What was found.
    """
    return resume(Search(spec), world, rng, stop_after)


def resume(
    search: Search, world: World, rng: np.random.Generator | None = None, stop_after: int = 10**6
) -> Run:
    """Follow a search that may have rows already; see `follow`."""
    run, flying = Run(), list(search.next_packs())
    while flying and stop_after > len(run.packs):
        pack = flying.pop(0 if rng is None else int(rng.integers(len(flying))))
        run.packs.append(pack)
        run.found += [world.answer(trial) for trial in pack.trials]
        in_flight = [trial for other in flying for trial in other.trials]
        flying += search.next_packs(run.found, in_flight)
        for trials in zip(*[iter(flying)] * 2, strict=False):
            assert not {t.trial_id for t in trials[0].trials} & {
                t.trial_id for t in trials[1].trials
            }
    return run


def scattered(
    lr_max: Callable[[float], float], sigma: float, salt: int
) -> Callable[[Trial], float]:
    """Return edges that scatter between seeds around a law of the batch size."""

    def edge(trial: Trial) -> float:
        rng = np.random.default_rng([salt, trial.batch_size, trial.seed])
        return lr_max(trial.batch_size) * math.exp(sigma * rng.normal())

    return edge


def units(run: Run) -> Iterator[tuple[tuple[object, ...], list[Measurement]]]:
    """Yield what was found of every unit."""
    keys = {
        (m.optimizer, m.batch_size, m.seed, None if m.damping is None else m.lr) for m in run.found
    }
    for key in sorted(keys, key=str):
        yield (
            key,
            [
                m
                for m in run.found
                if (m.optimizer, m.batch_size, m.seed, None if m.damping is None else m.lr) == key
            ],
        )
