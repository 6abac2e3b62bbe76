"""Where the edge of a unit is expected, from the units that were finished before it."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from scaling_sweep.planning.bracketing import Expectation
from scaling_sweep.planning.units import Lattice, Place

# Octaves that hold half of what is expected. Seeds scatter by about .15 in log (measured on
# digits), .22 octaves, so half lie within .15; laws bend and are not known (guesses, chosen by
# `python -m benchmarks.search`).
_SCALE_BESIDE_SEEDS = 0.2
_SCALE_AT_A_NEIGHBOUR = 0.25
_SCALE_PER_OCTAVE_BETWEEN, _SCALE_PER_OCTAVE_BEYOND = 0.05, 0.25
# With one neighbour only: halfway between an edge that does not move and one that is
# proportional.
_SLOPE = 0.5


def list_parents(num_places: int) -> tuple[tuple[int, ...], ...]:
    """Say which places each place waits for with its first seed: a tree along the places.

    The middle begins, then the first, then the last; then every gap's middle begins where both
    ends of the gap are known. So one edge is found without knowing any, and few rounds follow.

    Args:
        num_places: Places in a row.

    Returns:
        For each place up to two others, those that are nearest when it begins.

    Example:
        >>> list_parents(5)
        ((2,), (0, 2), (), (2, 4), (0, 2))
    """
    order = _order(num_places)
    parents: list[tuple[int, ...]] = [()] * num_places
    for turn, place in enumerate(order):
        known = sorted(order[:turn])
        below = [other for other in known if other < place]
        above = [other for other in known if other > place]
        if below and above:
            parents[place] = (below[-1], above[0])
        else:
            parents[place] = tuple(above[:2] or below[-2:])
    return tuple(parents)


def _order(num_places: int) -> list[int]:
    """Return the places in the order they begin in."""
    order = list(dict.fromkeys([num_places // 2, 0, num_places - 1])) if num_places else []
    gaps = [(low, high) for low, high in zip(sorted(order), sorted(order)[1:], strict=False)]
    while gaps:
        low, high = gaps.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return order


def expect(
    place: Place,
    beside: Sequence[float],
    neighbours: Mapping[Place, float],
    lattice: Lattice,
) -> Expectation:
    """Say where the edge of a unit is expected.

    Args:
        place: The unit's place.
        beside: Ranks of the edges of other seeds at the place.
        neighbours: Ranks of the edges of one seed at up to two other places.
        lattice: The unit's lattice.

    Returns:
        The median of other seeds; else a line through the neighbours; else the whole range.
    """
    if beside:
        return _expect(median(beside), _SCALE_BESIDE_SEEDS, lattice)
    if not neighbours:
        width = lattice.last - lattice.first
        return Expectation((lattice.first + lattice.last) / 2, max(1.0, width / 4), informed=False)
    (first, near), *rest = sorted(neighbours.items(), key=lambda pair: _gap(place, pair[0]))
    gap = _gap(place, first)
    if not rest or rest[0][0].coordinate == first.coordinate:
        center = near + _SLOPE * (place.coordinate - first.coordinate) * lattice.per_octave
        scale = _SCALE_AT_A_NEIGHBOUR + _SCALE_PER_OCTAVE_BEYOND * gap
        return _expect(center, scale, lattice)
    other, far = rest[0]
    run = place.coordinate - first.coordinate
    slope = (far - near) / (other.coordinate - first.coordinate)
    inside = run * (place.coordinate - other.coordinate) <= 0
    per_octave = _SCALE_PER_OCTAVE_BETWEEN if inside else _SCALE_PER_OCTAVE_BEYOND
    return _expect(near + slope * run, _SCALE_AT_A_NEIGHBOUR + per_octave * gap, lattice)


def _expect(center: float, octaves: float, lattice: Lattice) -> Expectation:
    """Return an expectation of a scale in octaves, half a step at least."""
    scale = max(0.5, octaves * lattice.per_octave)
    bounded = min(max(center, lattice.first - lattice.beyond), lattice.last + lattice.beyond)
    return Expectation(bounded, scale, informed=True)


def _gap(place: Place, other: Place) -> float:
    return math.fabs(place.coordinate - other.coordinate)
