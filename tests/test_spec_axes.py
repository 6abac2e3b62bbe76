"""The lattice behind the axes: anchored, so that a sweep can be extended."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from pydantic import ValidationError

from scaling_sweep.spec import BatchSizeRange, PositiveRange

quick = settings(max_examples=100, derandomize=True, deadline=None)
lrs = st.floats(1e-6, 1e3)
sizes = st.integers(1, 5000)
densities = st.integers(1, 12)


def lr_points(low: float, high: float, per_octave: int) -> set[float]:
    """Return a grid's points, none when the range is refused as empty."""
    return _points(PositiveRange, {"min": low, "max": high, "per_octave": per_octave})


def size_points(low: int, high: int, per_octave: int) -> set[float]:
    """Return a grid's points, none when the range is refused as empty."""
    return _points(BatchSizeRange, {"min": low, "max": high, "per_octave": per_octave})


def _points(model: type[PositiveRange] | type[BatchSizeRange], data: dict[str, Any]) -> set[float]:
    try:
        return set(model.model_validate(data).points())
    except ValidationError as error:
        if "an empty grid" not in str(error):
            raise
        return set()


@pytest.mark.parametrize(("points", "numbers"), [(lr_points, lrs), (size_points, sizes)])
@quick
@given(st.data(), densities, st.integers(1, 5))
def test_widening_and_refining_a_range_keeps_every_point(
    points: Callable[[Any, Any, int], set[float]],
    numbers: SearchStrategy[Any],
    data: DataObject,
    per_octave: int,
    factor: int,
) -> None:
    """A wider range and a multiple of `per_octave` give a superset, to the last bit.

    Rounding to whole examples does not break the rule.
    """
    ends = data.draw(st.lists(numbers, min_size=4, max_size=4))
    outer_low, low, high, outer_high = sorted(ends)

    old = points(low, high, per_octave)

    assert old <= points(outer_low, outer_high, per_octave)
    assert old <= points(low, high, per_octave * factor)


@quick
@given(sizes, sizes, densities)
def test_batch_sizes_are_the_rounded_lattice_by_brute_force(
    one: int, other: int, per_octave: int
) -> None:
    """The grid is what trying every k and keeping what falls into the range gives."""
    low, high = sorted((one, other))
    every = {round(2 ** (k / per_octave)) for k in range(14 * per_octave)}

    expected = {size for size in every if low <= size <= high}

    assert size_points(low, high, per_octave) == expected


@quick
@given(lrs, lrs, densities)
def test_learning_rates_fill_the_range_evenly(one: float, other: float, per_octave: int) -> None:
    """Neighbours lie one step apart, and no further point would fit in."""
    low, high = sorted((one, other))
    step = 2 ** (1 / per_octave)

    points = sorted(lr_points(low, high, per_octave))

    for left, right in pairwise(points):
        assert math.isclose(right / left, step, rel_tol=1e-9)
    if points:
        assert low * (1 - 1e-3) <= points[0] < low * step
        assert high / step < points[-1] <= high * (1 + 1e-3)


@pytest.mark.parametrize(
    ("high", "expected"), [(0.353553, 2**-1.5), (0.35355339, 2**-1.5), (0.353, 2**-2)]
)
def test_an_end_copied_with_six_digits_still_counts(high: float, expected: float) -> None:
    """A lattice point copied from a report, rounded down, is in the range that ends with it."""
    assert max(lr_points(0.1, high, 2)) == pytest.approx(expected, rel=1e-9)


def test_powers_of_two_are_exact() -> None:
    """The points people know by heart come out as they know them."""
    assert lr_points(2**-9, 32, 1) == {2.0**k for k in range(-9, 6)}
