"""The section `parameters`: the axes of a sweep, and which of them is searched."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from scaling_sweep.spec.axes import BatchSizeGrid, PositiveAxis, PositiveByOptimizer
from scaling_sweep.spec.optimizers import OPTIMIZERS, OptimizerSpec
from scaling_sweep.spec.section import Section, listed, refuse, refuse_duplicates
from scaling_sweep.spec.wording import nearest


class OptimizerValues(Section):
    """The optimizers to measure."""

    values: Annotated[tuple[OptimizerSpec, ...], BeforeValidator(listed)] = Field(
        examples=[["sgd", "adam"]], json_schema_extra={"minItems": 1}
    )
    """Names, or mappings with hyperparameters: `[sgd, {name: adam, beta1: 0.95}]`."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        """Return the list, refusing an optimizer given twice, however it is spelled."""
        refuse_duplicates((optimizer.label for optimizer in self.values), "values")
        return self


class Parameters(Section):
    """The axes of the sweep; every combination is a trial."""

    optimizer: OptimizerValues = Field(examples=[{"values": ["sgd", "adam"]}])
    """The optimizers to measure."""

    batch_size: BatchSizeGrid = Field(examples=[{"min": 1, "max": 512, "per_octave": 1}])
    """Batch sizes in examples: `{min, max, per_octave}`, or `{values: […]}`."""

    lr: PositiveAxis = Field(examples=[{"min": 0.001, "max": 16, "per_octave": 2}])
    """Learning rates: `{min, max, per_octave}`, `{values: […]}`, or one such grid for each
    optimizer under `by_optimizer`."""

    damping: PositiveAxis | None = Field(None, examples=[{"min": 1e-6, "max": 10, "per_octave": 4}])
    """Dampings, spelled like learning rates. With them the smallest stable damping is searched, at
    each of the learning rates; without them, the largest stable learning rate. A damping takes
    the place of the hyperparameter that is one: `eps` of adam, adamw and rmsprop."""

    @property
    def searched(self) -> Literal["lr", "damping"]:
        """The axis on which stability ends somewhere, to be found; the others are settings."""
        return "lr" if self.damping is None else "damping"

    @model_validator(mode="before")
    @classmethod
    def _check_damping_once(cls, given: object) -> object:
        """Return the axes; what is given by hand is filled in and forgotten once it is read."""
        if isinstance(given, Mapping) and given.get("damping") is not None:
            for index, key in _dampings_by_hand(given.get("optimizer")):
                refuse(
                    "is what damping searches; delete it here, or delete damping",
                    *("optimizer", "values", index, key),
                )
        return given

    @model_validator(mode="after")
    def _check_cover(self) -> Self:
        """Return the axes; every optimizer needs a grid, and every grid an optimizer."""
        _check_grids(self.lr, self.optimizer.values, "lr", "learning rates")
        if self.damping is not None:
            _refuse_undamped(self.optimizer.values)
            _check_grids(self.damping, self.optimizer.values, "damping", "dampings")
        return self


def _dampings_by_hand(optimizers: object) -> Iterator[tuple[int, str]]:
    """Yield place and key of every damping that stands beside an optimizer's name in a file."""
    values = optimizers.get("values") if isinstance(optimizers, Mapping) else None
    for index, given in enumerate(values if isinstance(values, list | tuple) else ()):
        if isinstance(given, Mapping) and isinstance(given.get("name"), str):
            table = OPTIMIZERS.get(given["name"], {})
            yield from (
                (index, key) for key, item in table.items() if item.is_damping & (key in given)
            )


def _refuse_undamped(optimizers: Iterable[OptimizerSpec]) -> None:
    """Refuse an optimizer without a damping that could be searched."""
    for index, optimizer in enumerate(optimizers):
        if optimizer.damping is None:
            having = sorted(name for name in OPTIMIZERS if OptimizerSpec(name=name).damping)
            refuse(
                f"{optimizer.name} has no damping to search; delete it, or delete damping "
                f"({', '.join(having)} have one)",
                *("optimizer", "values", index),
            )


def _check_grids(
    axis: PositiveAxis, optimizers: tuple[OptimizerSpec, ...], key: str, values: str
) -> None:
    """Refuse an axis by optimizer that lacks one, or names one that is not swept."""
    if not isinstance(axis, PositiveByOptimizer):
        return
    refuse_strangers(axis.by_optimizer, optimizers, key, "by_optimizer")
    for optimizer in optimizers:
        if axis.grid_for(optimizer) is None:
            refuse(
                f"no {values} for {optimizer.label}; "
                f"write for example {optimizer.name}: {{min: 0.001, max: 16, per_octave: 2}}",
                *(key, "by_optimizer"),
            )


def refuse_strangers(
    keys: Iterable[str], optimizers: Iterable[OptimizerSpec], *path: str | int
) -> None:
    """Refuse keys that are neither the label nor the name of an optimizer of a sweep.

    Args:
        keys: What was written for an optimizer.
        optimizers: Those of the sweep.
        path: Where the keys stand, from the section being validated.
    """
    known = {word for optimizer in optimizers for word in (optimizer.label, optimizer.name)}
    for key in keys:
        if key not in known:
            refuse(f"not an optimizer of this sweep; {nearest(key, known)}", *path, key)
