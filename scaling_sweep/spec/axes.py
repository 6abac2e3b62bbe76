"""The axes of a sweep, batch size, learning rate and damping: how a file may spell them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, Tag

from scaling_sweep.spec.grids import (
    BatchSizeRange,
    BatchSizeValues,
    PositiveRange,
    PositiveValues,
)
from scaling_sweep.spec.optimizers import OptimizerSpec
from scaling_sweep.spec.section import Section, refuse
from scaling_sweep.spec.wording import as_yaml


def _kind(given: object) -> str:
    """Return which of the spellings of an axis is meant.

    The angle brackets keep these words apart from the keys of a file: both end up in the
    location of an error.
    """
    fields = getattr(type(given), "model_fields", given if isinstance(given, Mapping) else ())
    return next((f"<{kind}>" for kind in ("values", "by_optimizer") if kind in fields), "<range>")


def _check_spelling(given: object) -> object:
    """Return the axis as given, refusing a bare number or list and two spellings at once."""
    if isinstance(given, Section):
        return given
    if isinstance(given, list | int | float) and not isinstance(given, bool):
        values = as_yaml(given if isinstance(given, list) else [given])
        refuse(f"must be a mapping, got {as_yaml(given)}; did you mean {{values: {values}}}?")
    if isinstance(given, Mapping):
        both = sorted({"values", "by_optimizer"} & set(given))
        if both and len(given) > 1 and {"min", "max", "per_octave", *both} >= set(given):
            refuse(
                f"{both[0]} stands alone, got {', '.join(map(str, given))}; "
                "write either {values: […]} or {min: …, max: …, per_octave: …}"
            )
    return given


PositiveGrid = Annotated[
    Annotated[PositiveRange, Tag("<range>")] | Annotated[PositiveValues, Tag("<values>")],
    Discriminator(_kind),
    BeforeValidator(_check_spelling),
]

BatchSizeGrid = Annotated[
    Annotated[BatchSizeRange, Tag("<range>")] | Annotated[BatchSizeValues, Tag("<values>")],
    Discriminator(_kind),
    BeforeValidator(_check_spelling),
]


class PositiveByOptimizer(Section):
    """One grid per optimizer: edges differ a hundredfold between them."""

    by_optimizer: dict[str, PositiveGrid] = Field(
        examples=[{"sgd": {"min": 0.01, "max": 8, "per_octave": 2}}]
    )
    """The grid of each optimizer, by its name (`adam`) or by its label (`adam(beta1=0.95)`)."""

    def grid_for(self, optimizer: OptimizerSpec) -> PositiveRange | PositiveValues | None:
        """Return the grid of an optimizer, its label before its name; None when there is none."""
        return self.by_optimizer.get(optimizer.label) or self.by_optimizer.get(optimizer.name)


PositiveAxis = Annotated[
    Annotated[PositiveRange, Tag("<range>")]
    | Annotated[PositiveValues, Tag("<values>")]
    | Annotated[PositiveByOptimizer, Tag("<by_optimizer>")],
    Discriminator(_kind),
    BeforeValidator(_check_spelling),
]


def ends_for(
    axis: PositiveRange | PositiveValues | PositiveByOptimizer, optimizer: OptimizerSpec
) -> tuple[float, float]:
    """Return the smallest and the largest value that an axis allows one optimizer.

    Args:
        axis: The axis, in any spelling.
        optimizer: An optimizer of the sweep.

    Returns:
        `min` and `max` of a range, or the ends of a list.

    Raises:
        KeyError: If the axis has none for it.
    """
    return _grid_of(axis, optimizer).ends


def points_for(
    axis: PositiveRange | PositiveValues | PositiveByOptimizer, optimizer: OptimizerSpec
) -> tuple[float, ...]:
    """Return the points of an axis for one optimizer, ascending.

    Args:
        axis: The axis, in any spelling.
        optimizer: An optimizer of the sweep.

    Returns:
        The points.

    Raises:
        KeyError: If the axis has none for it.
    """
    return _grid_of(axis, optimizer).points()


def _grid_of(
    axis: PositiveRange | PositiveValues | PositiveByOptimizer, optimizer: OptimizerSpec
) -> PositiveRange | PositiveValues:
    grid = axis.grid_for(optimizer) if isinstance(axis, PositiveByOptimizer) else axis
    if grid is None:
        raise KeyError(optimizer.label)
    return grid
