"""Where the edge of one unit may still lie, and which point of the lattice to try next."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.criteria import Verdict
from analysis.edges import bracket_edge
from scaling_sweep.planning.evidence import Measurement
from scaling_sweep.planning.units import Lattice

# Two ends a step apart are as near as was asked; ends of an older grid need not be whole ranks.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Expectation:
    """Where an edge is expected: a Cauchy distribution over ranks.

    Its tails are heavy, so that the points tried step out by doubling where it was wrong.

    Attributes:
        center: Rank where as much lies above as below.
        scale: Ranks from there that hold half of it.
        informed: Whether any edge was known when it was made.
    """

    center: float
    scale: float
    informed: bool

    def between(self, low: float, high: float, share: float) -> float:
        """Return the rank below which lies a share of what lies between two ranks."""
        below, above = (math.atan((end - self.center) / self.scale) for end in (low, high))
        angle = below + share * (above - below)
        return self.center + self.scale * math.tan(angle)


@dataclass(frozen=True)
class Standing:
    """What the trials of one unit say.

    Attributes:
        low: Boldest rank below the edge, minus infinity when none is known.
        high: Mildest rank above it, infinity when none is known.
        met: Whether any trial was stable, or none was too slow to be.
        slowest: Mildest rank that was too slow, infinity when none was.
        tried: Whole ranks that were tried, failed trials included.
    """

    low: float
    high: float
    met: bool
    slowest: float
    tried: frozenset[int]

    @property
    def middle(self) -> float | None:
        """Rank of the edge as far as it is known: between both ends, or at the known one."""
        if not self.met or (math.isinf(self.low) and math.isinf(self.high)):
            return None
        if math.isinf(self.low) or math.isinf(self.high):
            return self.low if math.isinf(self.high) else self.high
        return (self.low + self.high) / 2


@lru_cache(maxsize=10_000)  # a search looks at every unit again whenever one has moved
def stand(measured: tuple[Measurement, ...], lattice: Lattice) -> Standing:
    """Tell where the edge of a unit may still lie.

    The bracket is that of `analysis.edges`, and what counts as too slow that of `analysis.slow`: a
    diverged trial milder than a stable one says nothing, and where none is stable, those that
    lowered their loss, up to the first that did not, were too slow: the edge is above them, or,
    if nothing there is stable either, they were above it and it is below.

    Args:
        measured: Trials of one unit.
        lattice: The unit's lattice.

    Returns:
        Where it stands.
    """
    ranked = sorted(
        ((lattice.rank_of(_searched(item, lattice)), item) for item in measured), key=_rank
    )
    tried = frozenset(int(rank) for rank, _ in ranked if rank.is_integer())
    told = [(rank, item) for rank, item in ranked if item.verdict is not Verdict.FAILED]
    stable = [rank for rank, item in told if item.verdict is Verdict.STABLE]
    if stable:
        kept = [(rank, rank not in stable) for rank, _ in told if rank >= stable[0]]
        return Standing(*_split(kept), met=True, slowest=math.inf, tried=tried)
    stuck = next((rank for rank, item in told if not item.lowered_loss), math.inf)
    slow = [rank for rank, _ in told if rank < stuck]
    if slow:
        return Standing(slow[-1], stuck, met=False, slowest=slow[0], tried=tried)
    return Standing(-math.inf, stuck, met=True, slowest=math.inf, tried=tried)


def _searched(item: Measurement, lattice: Lattice) -> float:
    return item.lr if item.damping is None or not lattice.axis.inverse else item.damping


def _rank(pair: tuple[float, Measurement]) -> float:
    return pair[0]


def _split(kept: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Return the ranks of the split with the fewest misplaced trials."""
    # Positions stand for the ranks, which may be negative where the bracket's open end is 0.
    places = np.arange(1.0, len(kept) + 1)
    low, high, _ = bracket_edge(places, np.array([diverged for _, diverged in kept]))
    return (
        kept[int(low) - 1][0] if low > 0 else -math.inf,
        kept[int(high) - 1][0] if math.isfinite(high) else math.inf,
    )


def propose(
    standing: Standing, expected: Expectation, lattice: Lattice, num: int = 1
) -> tuple[int, ...]:
    """Choose the next ranks to try, none when the edge is found as finely as it can be.

    Each is where the expectation, cut to where the edge may still lie, is split into equal
    shares: its median for one, which gives the most information.

    Args:
        standing: Where the unit stands.
        expected: Where its edge is expected.
        lattice: The unit's lattice.
        num: Most ranks at a time.

    Returns:
        Whole ranks that were not tried, ascending.
    """
    for low, high in _where(standing, expected, lattice):
        if high - low <= 1 + _ROUNDING:
            continue
        ranks = _choose(low, high, standing.tried, expected, lattice, num)
        if ranks:
            return ranks
    return ()


def _where(
    standing: Standing, expected: Expectation, lattice: Lattice
) -> Iterator[tuple[float, float]]:
    """Yield where to look, between ranks: the bracket; for a unit without a stable trial, twice."""
    mildest, boldest = lattice.first - lattice.beyond - 1, lattice.last + lattice.beyond + 1
    here = (max(standing.low, mildest), min(standing.high, boldest))
    if standing.met:
        yield here
        return
    # Values milder than the range that are too slow within it would be slower still.
    below = (float(lattice.first - 1), standing.slowest)
    above_expected = expected.informed and standing.slowest > expected.center
    yield from (below, here) if above_expected else (here, below)


def _choose(
    low: float,
    high: float,
    tried: Collection[int],
    expected: Expectation,
    lattice: Lattice,
    num: int,
) -> tuple[int, ...]:
    """Return up to `num` ranks strictly between two that share the expectation out."""
    chosen: set[int] = set()
    for part in range(1, num + 1):
        target = expected.between(low, high, part / (num + 1))
        rank = _nearest(_kept_in_range(target, low, high, expected, lattice), low, high, tried)
        if rank is not None and rank not in chosen:
            chosen.add(rank)
    return tuple(sorted(chosen))


def _kept_in_range(
    target: float, low: float, high: float, expected: Expectation, lattice: Lattice
) -> float:
    """Return the target, or the range's end before it while nothing is known beyond that."""
    if target > lattice.last > low and expected.center <= lattice.last:
        return lattice.last
    if target < lattice.first < high and expected.center >= lattice.first:
        return lattice.first
    return target


def _nearest(target: float, low: float, high: float, tried: Collection[int]) -> int | None:
    """Return the nearest rank strictly between two that was not tried, the milder of equals."""
    first, last = math.floor(low + _ROUNDING) + 1, math.ceil(high - _ROUNDING) - 1
    if first > last:
        return None
    start = min(max(math.ceil(target - 0.5), first), last)
    for away in range(last - first + 1):
        # On the side of the target first, where the two are not equally far.
        near = (start - away, start + away) if start >= target else (start + away, start - away)
        for rank in near:
            if first <= rank <= last and rank not in tried:
                return rank
    return None


def place_sentinel(
    standing: Standing, lots: tuple[float, float, float], share: float, lattice: Lattice
) -> int | None:
    """Choose a rank away from a found edge, where a non-monotone outcome would show.

    Args:
        standing: A unit that is finished but for this.
        lots: Whether, on which side and how far: numbers in [0, 1) that depend on the unit alone.
        share: Of the units that get one.
        lattice: The unit's lattice.

    Returns:
        A rank a factor 2 to 8 away from the edge; None where the unit gets none, or a trial
        there is known already.
    """
    whether, side, far = lots
    if whether >= share or not standing.met or math.isinf(standing.low + standing.high):
        return None
    steps = lattice.per_octave * (1 + 2 * far)
    zones = [
        (standing.low - 3 * lattice.per_octave, standing.low - lattice.per_octave),
        (standing.high + lattice.per_octave, standing.high + 3 * lattice.per_octave),
    ]
    goals = [standing.low - steps, standing.high + steps]
    # Milder than the range it would be slow; then look above the edge.
    bold = side < 0.5 or goals[0] < lattice.first
    zone, goal = zones[bold], goals[bold]
    known = any(zone[0] - _ROUNDING <= rank <= zone[1] + _ROUNDING for rank in standing.tried)
    if known or goal > lattice.last + lattice.beyond:
        return None
    return _nearest(goal, zone[0] - 1, zone[1] + 1, standing.tried)
