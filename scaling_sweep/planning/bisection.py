"""Which trials a bisection asks for next, as a pure function of what is known.

Every (optimizer, place, seed) unit has one edge. Seed 0 begins in the middle of the places and goes
outwards along a tree; the other seeds of a place begin where its finished seeds have their edges.
What a unit asks for depends on its own trials and on the *finished* units before it, on nothing
else: so the same trials are asked for in whatever order packs return, and after any interruption.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scaling_sweep.planning.bracketing import Expectation, Standing, place_sentinel, propose, stand
from scaling_sweep.planning.evidence import Measurement
from scaling_sweep.planning.expecting import expect, list_parents
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
from scaling_sweep.spec import Bisection, OptimizerSpec, SweepSpec

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
    if spec.bisection is None:
        raise ValueError("A grid is not searched by bisection.")
    label = optimizer.label
    known: defaultdict[Unit, list[Measurement]] = defaultdict(list)
    for item in measured:
        if item.optimizer == label:
            known[unit_of(item)].append(item)
    busy = frozenset(unit_of(trial) for trial in in_flight)
    lattice = make_lattice(spec, optimizer)
    surveyor = _Surveyor(spec, spec.bisection, optimizer, lattice, known, busy)
    return surveyor.survey(num_seeds)


@dataclass(frozen=True)
class _Surveyor:
    """One look at one optimizer.

    Attributes: as of `survey`.
    """

    spec: SweepSpec
    settings: Bisection
    optimizer: OptimizerSpec
    lattice: Lattice
    known: Mapping[Unit, Sequence[Measurement]]
    busy: frozenset[Unit]

    def survey(self, num_seeds: int) -> tuple[Need, ...]:
        """Return what all units lack."""
        places = list_places(self.spec, self.optimizer)
        parents = list_parents(len(places))
        units = [
            [Unit(self.optimizer.label, place, seed) for seed in range(num_seeds)]
            for place in places
        ]
        stands = {
            unit: stand(tuple(self.known.get(unit, ())), self.lattice)
            for row in units
            for unit in row
        }
        finished = {unit for unit, standing in stands.items() if self._is_finished(unit, standing)}
        needs = []
        for place, row in enumerate(units):
            neighbours = [units[parent][0] for parent in parents[place]]
            for unit in row:
                beside = [other for other in row if other.generation < unit.generation]
                trials: tuple[Trial, ...] = ()
                if unit not in finished | self.busy and finished.issuperset(beside or neighbours):
                    expected = self._expect(unit, stands, beside, neighbours)
                    trials = self._trials(unit, self._ranks(unit, stands[unit], expected))
                needs.append(Need(unit, stands[unit], trials, unit in finished))
        return tuple(needs)

    def _expect(
        self,
        unit: Unit,
        stands: Mapping[Unit, Standing],
        beside: Sequence[Unit],
        neighbours: Sequence[Unit],
    ) -> Expectation:
        """Say where a unit's edge is expected, from the finished units before it."""

        def found(others: Sequence[Unit]) -> Iterator[tuple[Place, float]]:
            for other in others:
                if (middle := stands[other].middle) is not None:
                    yield other.place, middle

        ranks = [middle for _, middle in found(beside)]
        return expect(unit.place, ranks, dict(found(neighbours)), self.lattice)

    def _trials(self, unit: Unit, ranks: Sequence[int]) -> tuple[Trial, ...]:
        """Return the trials of a unit at some ranks."""
        return tuple(trial_at(self.spec, self.optimizer, unit, self.lattice, k) for k in ranks)

    def _is_finished(self, unit: Unit, standing: Standing) -> bool:
        """Return whether nothing is to be tried: which does not depend on what is expected."""
        return unit not in self.busy and not self._ranks(unit, standing, self._ignorance)

    def _ranks(self, unit: Unit, standing: Standing, expected: Expectation) -> tuple[int, ...]:
        """Return the ranks to try: towards the edge, and once it is found perhaps one apart."""
        num = self.settings.probes if expected.informed else _FIRST_PROBES
        return propose(standing, expected, self.lattice, num) or _draw_sentinel(
            unit, standing, self.lattice, self.settings.sentinels, self.spec.sweep_seed
        )

    @cached_property
    def _ignorance(self) -> Expectation:
        """What is expected when nothing is known."""
        middle = (self.lattice.first + self.lattice.last) / 2
        return Expectation(middle, 1.0, informed=False)


def _draw_sentinel(
    unit: Unit, standing: Standing, lattice: Lattice, share: float, sweep_seed: int
) -> tuple[int, ...]:
    """Return the rank away from a found edge that the unit's lots choose, if they choose one."""
    whether, side, far = unit.draw_lots(sweep_seed, 3)
    rank = place_sentinel(standing, (whether, side, far), share, lattice)
    return () if rank is None else (rank,)
