"""Grids of an axis: points of a lattice, or a list."""

import math
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from scaling_sweep.spec.section import (
    NUMBER,
    WHOLE,
    Section,
    listed,
    refuse,
    refuse_duplicates,
)
from scaling_sweep.spec.wording import as_yaml, exact_text

# Room inside float32, which learning rates and dampings are applied in (1e-38 to 3e38).
_SMALLEST, _LARGEST = 1e-30, 1e30
# Batches are indexed in memory; a guess far beyond any of them.
_LARGEST_BATCH = 10**9
# A guess: beyond it, steps are finer than any edge is sharp, and the number a slip of the pen.
_MAX_PER_OCTAVE = 64
# An end may miss its lattice point by this share of a step: a point copied from a report with 6
# digits misses by at most 5e-4 of it, at 64 points per octave.
_END_TOLERANCE = 1e-3


def _positive(value: object) -> object:
    """Return a number, refusing zero and below in better words than the lower bound's."""
    if isinstance(value, int | float) and value <= 0:
        refuse(f"must be above 0, got {as_yaml(value)}; write for example 0.1")
    return value


Positive = Annotated[float, Field(ge=_SMALLEST, le=_LARGEST), NUMBER, BeforeValidator(_positive)]
BatchSize = Annotated[int, Field(ge=1, le=_LARGEST_BATCH), WHOLE]
PerOctave = Annotated[int, Field(ge=1, le=_MAX_PER_OCTAVE, examples=[2]), WHOLE]


def lattice(low: float, high: float, per_octave: int) -> tuple[float, ...]:
    """Return the points 2^(k/per_octave) in [low, high], k any integer, ascending.

    The lattice is anchored at 1 and not at an end: widening the range or multiplying
    `per_octave` keeps every old point, so that a sweep is extended and not redone.
    Points are rounded to 12 significant digits: machines differ in the last digit of a power.

    Args:
        low: Lower end, positive, included.
        high: Upper end, included.
        per_octave: Points per factor of 2.

    Returns:
        The points; empty when none lies in the range.

    Example:
        >>> lattice(0.3, 1, 2)
        (0.353553390593, 0.5, 0.707106781187, 1.0)
    """
    first = math.ceil(math.log2(low) * per_octave - _END_TOLERANCE)
    last = math.floor(math.log2(high) * per_octave + _END_TOLERANCE)
    return tuple(float(f"{2 ** (k / per_octave):.12g}") for k in range(first, last + 1))


def _neighbours(low: float, high: float, per_octave: int) -> tuple[float, float]:
    """Return the lattice points just outside an empty range."""
    below, above = 2 ** (-1 / per_octave), 2 ** (1 / per_octave)
    return lattice(low * below, low, per_octave)[-1], lattice(high, high * above, per_octave)[0]


class PositiveRange(Section):
    """Learning rates or dampings: every 2^(k/per_octave) from min to max, k any integer.

    The grid is anchored at 1, so widening the range or multiplying `per_octave` keeps every
    point there was and the sweep is extended.

    Example:
        >>> PositiveRange(min=0.25, max=1, per_octave=1).points()
        (0.25, 0.5, 1.0)
    """

    min: Positive = Field(examples=[0.001])
    """Smallest value that may occur; the grid begins at the first point from here up."""

    max: Positive = Field(examples=[16])
    """Largest value that may occur; the grid ends at the last point up to here."""

    per_octave: PerOctave
    """Values per factor of 2. Doubling it keeps the old grid."""

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value that is allowed."""
        return self.min, self.max

    def points(self) -> tuple[float, ...]:
        """Return the values, ascending."""
        return lattice(self.min, self.max, self.per_octave)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        """Return the range, refusing ends in the wrong order and a range between two points."""
        _check_ends(self.min, self.max)
        if not self.points():
            below, above = _neighbours(self.min, self.max, self.per_octave)
            _refuse_empty(self.min, self.max, self.per_octave, below, above)
        return self


class BatchSizeRange(Section):
    """A logarithmic grid: every 2^(k/per_octave) from min to max, rounded to whole examples.

    The grid is anchored at 1, so widening the range or multiplying `per_octave` keeps every
    point there was and the sweep is extended.

    Example:
        >>> BatchSizeRange(min=1, max=8, per_octave=2).points()
        (1, 2, 3, 4, 6, 8)
    """

    min: BatchSize = Field(examples=[1])
    """Smallest batch size that may occur, in examples."""

    max: BatchSize = Field(examples=[512])
    """Largest batch size that may occur, in examples."""

    per_octave: PerOctave
    """Batch sizes per factor of 2. Doubling it keeps the old grid."""

    def points(self) -> tuple[int, ...]:
        """Return the batch sizes, ascending."""
        # Rounding may carry a point into the range from outside, by at most a half.
        around = lattice(max(self.min - 0.5, 0.5), self.max + 0.5, self.per_octave)
        rounded = sorted({round(point) for point in around})
        return tuple(size for size in rounded if self.min <= size <= self.max)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        """Return the range, refusing ends in the wrong order and a range between two points."""
        _check_ends(self.min, self.max)
        if not self.points():
            below, above = _neighbours(self.min, self.max, self.per_octave)
            _refuse_empty(self.min, self.max, self.per_octave, round(below), round(above))
        return self


def _check_ends(low: float, high: float) -> None:
    """Refuse a minimum above the maximum."""
    if low > high:
        refuse(f"must not be above max, got {as_yaml(low)} with max {as_yaml(high)}", "min")


def _refuse_empty(low: float, high: float, per_octave: int, below: float, above: float) -> None:
    """Refuse a range without a point, naming the points it fell between."""
    point = "2^k" if per_octave == 1 else f"2^(k/{per_octave})"
    refuse(
        f"an empty grid: no {point} lies between {exact_text(low)} and "
        f"{exact_text(high)}; the nearest are {exact_text(below)} and {exact_text(above)}"
    )


class PositiveValues(Section):
    """Learning rates or dampings, one by one.

    Example:
        >>> PositiveValues(values=[0.1, 0.01]).points()
        (0.01, 0.1)
    """

    values: Annotated[tuple[Positive, ...], BeforeValidator(listed)] = Field(
        examples=[[0.01, 0.1, 1]], json_schema_extra={"minItems": 1}
    )
    """The values, each positive, none twice."""

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return min(self.values), max(self.values)

    def points(self) -> tuple[float, ...]:
        """Return the values, ascending."""
        return tuple(sorted(self.values))

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        """Return the list, refusing a value given twice."""
        refuse_duplicates(self.values, "values")
        return self


class BatchSizeValues(Section):
    """Batch sizes, one by one.

    Example:
        >>> BatchSizeValues(values=[16, 1]).points()
        (1, 16)
    """

    values: Annotated[tuple[BatchSize, ...], BeforeValidator(listed)] = Field(
        examples=[[1, 4, 16]], json_schema_extra={"minItems": 1}
    )
    """The batch sizes in examples, each at least 1, none twice."""

    def points(self) -> tuple[int, ...]:
        """Return the batch sizes, ascending."""
        return tuple(sorted(self.values))

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        """Return the list, refusing a value given twice."""
        refuse_duplicates(self.values, "values")
        return self
