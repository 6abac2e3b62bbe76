"""Which trials a bisection asks for next, as a pure function of what is known.

Every (optimizer, place, seed) unit has one edge. Seed 0 begins in the middle of the places and goes
outwards along a tree; the other seeds of a place begin where its finished seeds have their edges.
What a unit asks for depends on its own trials and on the *finished* units before it, on nothing
else: so the same trials are asked for in whatever order packs return, and after any interruption.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from scaling_sweep.planning.bracketing import Expectation, Standing, place_sentinel, propose, stand
from scaling_sweep.planning.evidence import Measurement
from scaling_sweep.planning.expecting import expect, list_parents
from scaling_sweep.planning.grid import TrialMaker
from scaling_sweep.planning.trials import Trial
from scaling_sweep.planning.units import (
    Lattice,
    Place,
    Unit,
    list_places,
    make_lattice,
    trial_at,
    unit_of,
)
from scaling_sweep.spec import OptimizerSpec, SweepSpec

# Where nothing at all is known, three trials at once cut the range to a quarter in one pack
# (guess: it happens once per optimizer).
_FIRST_PROBES = 3


@dataclass(frozen=True)
class Need:
    """What one unit lacks.

    Attributes:
        unit: Which.
        standing: Where it stands.
        trials: What to train now; none while it waits, or when it is finished.
        finished: Whether its edge is found as finely as was asked, or cannot be.
    """

    unit: Unit
    standing: Standing
    trials: tuple[Trial, ...]
    finished: bool


def survey(
    spec: SweepSpec,
    optimizer: OptimizerSpec,
    num_seeds: int,
    measured: Sequence[Measurement],
    in_flight: Collection[Trial] = (),
) -> tuple[Need, ...]:
    """Say of every unit of an optimizer what it lacks.

    Args:
        spec: A study that is searched by bisection.
        optimizer: One of its optimizers.
        num_seeds: Replicates.
        measured: What is known, of any optimizer; failed trials are not tried again.
        in_flight: Trials that were asked for and have not returned.

    Returns:
        The units by place and seed.

    Raises:
        ValueError: If the study is a grid.
    """
    surveyor = Surveyor(spec, optimizer, num_seeds)
    surveyor.hear(measured)
    surveyor.ask(in_flight)
    return surveyor.needs()


class Surveyor:
    """What every unit of an optimizer lacks, kept up to date as its trials return.

    A unit is looked at again only when one of its trials was asked for or has returned, or when a
    unit it waits for has moved: so following a search costs as much for each trial of a large study
    as for each of a small one.

    Args:
        spec: A study that is searched by bisection.
        optimizer: One of its optimizers.
        num_seeds: Replicates.

    Raises:
        ValueError: If the study is a grid.
    """

    def __init__(self, spec: SweepSpec, optimizer: OptimizerSpec, num_seeds: int) -> None:
        if spec.bisection is None:
            raise ValueError("A grid is not searched by bisection.")
        self._spec, self._optimizer, self._settings = spec, optimizer, spec.bisection
        self._label, self._maker = optimizer.label, TrialMaker.of(spec)
        self._lattice = make_lattice(spec, optimizer)
        self._places = list_places(spec, optimizer)
        self._rows = {place: i for i, place in enumerate(self._places)}
        self._parents = list_parents(len(self._places))
        self._children = _children(self._parents)
        self._known: defaultdict[Unit, list[Measurement]] = defaultdict(list)
        self._num_away: Counter[Unit] = Counter()
        self._stands: dict[Unit, Standing] = {}
        self._needs: dict[Unit, Need] = {}
        self._finished: set[Unit] = set()
        self._wanting: set[Unit] = set()
        self._moved: set[Unit] = set()
        self._num_seeds = 0
        self.add_seeds(num_seeds)

    def add_seeds(self, num_seeds: int) -> None:
        """Look for the edges of so many seeds from now on."""
        self._moved |= {
            Unit(self._label, place, seed)
            for place in self._places
            for seed in range(self._num_seeds, num_seeds)
        }
        self._num_seeds = num_seeds

    def hear(self, measured: Iterable[Measurement]) -> None:
        """Take in what is known of trials, of whatever optimizer, in flight or not."""
        for item in measured:
            if item.optimizer == self._label:
                unit = unit_of(item)
                self._known[unit].append(item)
                self._moved.add(unit)

    def measured(self) -> tuple[Measurement, ...]:
        """Return what is known of the optimizer's trials, in the order of their names."""
        known = (item for items in self._known.values() for item in items)
        return tuple(sorted(known, key=lambda item: item.trial_id))

    def ask(self, trials: Iterable[Trial]) -> None:
        """Take note of trials, of whatever optimizer, that are in flight from now on."""
        self._count_away(trials, 1)

    def land(self, trials: Iterable[Trial]) -> None:
        """Take note of trials that are not in flight any more."""
        self._count_away(trials, -1)

    def _count_away(self, trials: Iterable[Trial], change: int) -> None:
        for trial in trials:
            if trial.optimizer.label == self._label:
                unit = unit_of(trial)
                self._num_away[unit] += change
                self._moved.add(unit)

    def needs(self) -> tuple[Need, ...]:
        """Return what all units lack, by place and seed."""
        self._look_again()
        seeds = range(self._num_seeds)
        units = (Unit(self._label, place, seed) for place in self._places for seed in seeds)
        return tuple(self._needs[unit] for unit in units)

    @property
    def is_finished(self) -> bool:
        """Whether every edge is found as finely as was asked, or cannot be."""
        self._look_again()
        return len(self._finished) == len(self._places) * self._num_seeds

    def wanted(self) -> tuple[Trial, ...]:
        """Return the trials to train now, by place and seed."""
        self._look_again()
        units = sorted(self._wanting, key=lambda unit: (unit.place, unit.seed))
        return tuple(trial for unit in units for trial in self._needs[unit].trials)

    def _look_again(self) -> None:
        """Bring every unit that has moved up to date, and those that look at it."""
        moved, self._moved = self._moved, set()
        moved = {unit for unit in moved if unit.seed < self._num_seeds and unit.place in self._rows}
        affected = set(moved)
        for unit in moved:
            before = self._told(unit)
            self._stands[unit] = stand(tuple(self._known.get(unit, ())), self._lattice)
            self._finished.discard(unit)
            if not self._num_away[unit] and not self._ranks(unit, self._ignorance):
                self._finished.add(unit)
            if self._told(unit) != before:
                affected.update(self._followers(unit))
        self._wanting -= affected
        for unit in affected:
            finished = unit in self._finished
            trials = () if finished or self._num_away[unit] else self._trials(unit)
            self._needs[unit] = Need(unit, self._stands[unit], trials, finished)
            if trials:
                self._wanting.add(unit)

    def _told(self, unit: Unit) -> tuple[bool, float | None]:
        """Return what others look at of a unit: whether it is finished, and where its edge is."""
        known = self._stands.get(unit)
        return unit in self._finished, None if known is None else known.middle

    def _followers(self, unit: Unit) -> Iterator[Unit]:
        """Yield the units that wait for a unit, or expect their edge from its."""
        for seed in range(unit.seed + 1, self._num_seeds):
            other = unit.at_seed(seed)
            if other.generation > unit.generation:
                yield other
        if unit.seed == 0:
            for child in self._children[self._rows[unit.place]]:
                yield Unit(self._label, self._places[child], 0)

    def _trials(self, unit: Unit) -> tuple[Trial, ...]:
        """Return what an unfinished unit wants: nothing before those it waits for are finished."""
        seeds = range(unit.seed)
        beside = [
            other for seed in seeds if (other := unit.at_seed(seed)).generation < unit.generation
        ]
        parents = self._parents[self._rows[unit.place]]
        neighbours = [Unit(self._label, self._places[parent], 0) for parent in parents]
        if not self._finished.issuperset(beside or neighbours):
            return ()
        ranks = self._ranks(unit, self._expect(unit, beside, neighbours))
        return tuple(trial_at(self._maker, self._optimizer, unit, self._lattice, k) for k in ranks)

    def _expect(
        self, unit: Unit, beside: Sequence[Unit], neighbours: Sequence[Unit]
    ) -> Expectation:
        """Say where a unit's edge is expected, from the finished units before it."""

        def found(others: Sequence[Unit]) -> Iterator[tuple[Place, float]]:
            for other in others:
                if (middle := self._stands[other].middle) is not None:
                    yield other.place, middle

        ranks = [middle for _, middle in found(beside)]
        return expect(unit.place, ranks, dict(found(neighbours)), self._lattice)

    def _ranks(self, unit: Unit, expected: Expectation) -> tuple[int, ...]:
        """Return the ranks to try: towards the edge, and once it is found perhaps one apart.

        Whether there are any does not depend on what is expected.
        """
        num = self._settings.probes if expected.informed else _FIRST_PROBES
        standing, lattice = self._stands[unit], self._lattice
        return propose(standing, expected, lattice, num) or _draw_sentinel(
            unit, standing, lattice, self._settings.sentinels, self._spec.sweep_seed
        )

    @cached_property
    def _ignorance(self) -> Expectation:
        """What is expected when nothing is known."""
        middle = (self._lattice.first + self._lattice.last) / 2
        return Expectation(middle, 1.0, informed=False)


def _children(parents: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """Return the places that wait for each place."""
    children: dict[int, list[int]] = {place: [] for place in range(len(parents))}
    for place, others in enumerate(parents):
        for other in others:
            children[other].append(place)
    return children


def _draw_sentinel(
    unit: Unit, standing: Standing, lattice: Lattice, share: float, sweep_seed: int
) -> tuple[int, ...]:
    """Return the rank away from a found edge that the unit's lots choose, if they choose one."""
    whether, side, far = unit.draw_lots(sweep_seed, 3)
    rank = place_sentinel(standing, (whether, side, far), share, lattice)
    return () if rank is None else (rank,)
