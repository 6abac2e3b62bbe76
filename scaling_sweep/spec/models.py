"""The sweep file as frozen models: what may be asked, with its units and defaults."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from scaling_sweep.spec.axes import BatchSize, BatchSizeGrid, LRAxis, LRByOptimizer, PositiveLR
from scaling_sweep.spec.optimizers import OptimizerSpec
from scaling_sweep.spec.section import (
    Named,
    Number,
    Section,
    Text,
    Whole,
    as_yaml,
    exact_text,
    listed,
    mistake,
    nearest,
    refuse_duplicates,
)

# A guess: more trials than any one machine trains in a year of small models; a typing slip.
MAX_TRIALS = 1_000_000
# Guesses far beyond use, so that a slip is an error and not an overflow.
_MAX_SEEDS = 10_000
_MAX_COUNT = 10**12


class TaskSpec(Named):
    """What is trained: a built-in task, or one's own as `package.module:attribute`."""


class MethodSpec(Named):
    """How a batch becomes a gradient."""

    name: Annotated[Text, Field(pattern=r"^[A-Za-z_][\w.-]*$", examples=["plain"])]
    """A built-in method."""


class OptimizerValues(Section):
    """The optimizers to measure."""

    values: Annotated[tuple[OptimizerSpec, ...], BeforeValidator(listed)] = Field(
        examples=[["sgd", "adam"]], json_schema_extra={"minItems": 1}
    )
    """Names, or mappings with hyperparameters: `[sgd, {name: adam, beta1: 0.95}]`."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        """Refuse an optimizer given twice, however it is spelled."""
        refuse_duplicates((optimizer.label for optimizer in self.values), "values")
        return self


class Parameters(Section):
    """The axes of the sweep; every combination is a trial."""

    optimizer: OptimizerValues = Field(examples=[{"values": ["sgd", "adam"]}])
    """The optimizers to measure."""

    batch_size: BatchSizeGrid = Field(examples=[{"min": 1, "max": 512, "per_octave": 1}])
    """Batch sizes in examples: `{min, max, per_octave}`, or `{values: […]}`."""

    lr: LRAxis = Field(examples=[{"min": 0.001, "max": 16, "per_octave": 2}])
    """Learning rates: `{min, max, per_octave}`, `{values: […]}`, or one such grid for each
    optimizer under `by_optimizer`."""

    @model_validator(mode="after")
    def _check_cover(self) -> Self:
        """Every optimizer needs a grid, and every grid an optimizer."""
        if not isinstance(self.lr, LRByOptimizer):
            return self
        optimizers = self.optimizer.values
        _refuse_strangers(self.lr.by_optimizer, optimizers, "lr", "by_optimizer")
        for optimizer in optimizers:
            if self.lr.grid_for(optimizer) is None:
                raise mistake(
                    f"no learning rates for {optimizer.label}; "
                    f"write for example {optimizer.name}: {{min: 0.001, max: 16, per_octave: 2}}",
                    *("lr", "by_optimizer"),
                )
        return self


def _refuse_strangers(
    keys: Iterable[str], optimizers: Iterable[OptimizerSpec], *path: str | int
) -> None:
    """Refuse keys that are neither the label nor the name of an optimizer of this sweep."""
    known = {word for optimizer in optimizers for word in (optimizer.label, optimizer.name)}
    for key in keys:
        if key not in known:
            raise mistake(f"not an optimizer of this sweep; {nearest(key, known)}", *path, key)


class Horizon(Section):
    """How long a trial trains from its start: exactly one of steps, epochs or examples.

    Example:
        >>> Horizon(epochs=3).num_steps(batch_size=512, num_examples=1797)
        11
    """

    model_config = {"json_schema_extra": {"minProperties": 1, "maxProperties": 1}}

    steps: Annotated[Whole, Field(ge=1, le=_MAX_COUNT)] | None = Field(None, examples=[300])
    """Updates of the parameters."""

    epochs: Annotated[Number, Field(gt=0, le=_MAX_COUNT)] | None = Field(None)
    """Passes over the data, fractions allowed: ceil(epochs × N / batch size) steps."""

    examples: Annotated[Whole, Field(ge=1, le=_MAX_COUNT)] | None = Field(None)
    """Examples seen: ceil(examples / batch size) steps."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        """Refuse none and more than one."""
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            got = as_yaml(given) if given else "none"
            raise mistake(
                f"must be exactly one of steps, epochs or examples, got {got}; "
                "write for example {steps: 300}"
            )
        return self

    @property
    def label(self) -> str:
        """The horizon in words, for example `300 steps`."""
        ((unit, amount),) = self.model_dump(exclude_none=True).items()
        return f"{exact_text(amount)} {unit}"

    def num_steps(self, batch_size: int, num_examples: int | None) -> int:
        """Return the number of updates, rounded up: a part of a batch is a batch.

        Args:
            batch_size: Examples per step.
            num_examples: Examples in the data; None when they are drawn fresh and never end.

        Returns:
            Steps, at least 1.

        Raises:
            ValueError: If epochs are asked of data that never ends.
        """
        if self.steps is not None:
            return self.steps
        if self.examples is not None:
            return math.ceil(Fraction(self.examples, batch_size))
        if num_examples is None:
            raise ValueError("An epoch has no end when every example is drawn fresh.")
        # As a decimal, so that 0.1 epochs of 30 examples are 3 and not 3.0000000000000004.
        return math.ceil(Fraction(str(self.epochs)) * num_examples / batch_size)


class TrainedStart(Section):
    """A point trained by a fixed recipe, once per seed, where all trials of the seed begin."""

    steps: Annotated[Whole, Field(ge=1, le=_MAX_COUNT)] = Field(examples=[1000])
    """Updates of the recipe."""

    optimizer: OptimizerSpec = Field(examples=["sgd"])
    """The recipe's optimizer; trials that use the same one also get its state."""

    lr: PositiveLR = Field(examples=[0.1])
    """The recipe's learning rate."""

    batch_size: BatchSize = Field(examples=[64])
    """The recipe's batch size in examples."""

    @property
    def label(self) -> str:
        """The recipe in words."""
        return (
            f"{self.steps} steps of {self.optimizer.label}, "
            f"lr {exact_text(self.lr)}, batch size {self.batch_size}"
        )


def _start_kind(given: object) -> str:
    """Tell the word `init` from a recipe; angle brackets as in the axes."""
    return "<init>" if isinstance(given, str) else "<trained>"


def _check_start(given: object) -> object:
    """Refuse other words than `init`."""
    if isinstance(given, str) and given != "init":
        example = as_yaml(TrainedStart.example())
        raise mistake(f"must be init or a recipe, got {as_yaml(given)}; write init or {example}")
    return given


Start = Annotated[
    Annotated[Literal["init"], Tag("<init>")] | Annotated[TrainedStart, Tag("<trained>")],
    Discriminator(_start_kind),
    BeforeValidator(_check_start),
]


class Stability(Section):
    """When a trial counts as stable (method.md); can be changed later without training again."""

    max_loss_ratio: Annotated[Number, Field(gt=0)] = Field(0.5, examples=[0.5])
    """Largest stable loss as a share of the reference loss. 0.5 gives sharp edges on digits
    (method.md); 1 means that training ended below where it began. Not used by `finite`."""

    measure: Literal["final", "peak", "finite"] = "final"
    """Which loss is judged: the last one, the highest on the way, or only that all were finite."""

    reference: Literal["initial", "start"] = "initial"
    """What it is held against: the loss of the untrained model, or where the trial began."""


class Resources(Section):
    """What one pack occupies while it trains."""

    cpus: Annotated[Number, Field(gt=0)] = Field(1.0, examples=[1])
    """CPU cores per pack."""

    gpus: Annotated[Number, Field(ge=0)] = 0.0
    """GPUs per pack; a fraction lets packs share one."""

    max_trials_per_pack: Annotated[Whole, Field(ge=1)] | None = None
    """Most trials trained together as one stacked model; null leaves it to the planner."""


class CheckSpec(Section):
    """What the measured exponents are held against."""

    predicted: dict[str, Number] = Field(default={}, examples=[{"sgd": 1, "adam": 0.5}])
    """Exponent by optimizer name or label; without it, 1 for SGD and momentum, 1/2 for
    Adam and its relatives."""

    margin: Annotated[Number, Field(gt=0)] = 0.1
    """Half-width of the region around the prediction that counts as equal to it."""


def _grid_only(given: object) -> object:
    """Refuse searches that do not exist yet."""
    if given != "grid":
        raise mistake(f"only grid is available so far, got {as_yaml(given)}; write search: grid")
    return given


class SweepSpec(Section):
    """One study: a task, the axes of the sweep, and how trials are run and judged."""

    name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["digits"])]
    """Name of the study; results go to `runs/<name>` unless told otherwise."""

    task: TaskSpec = Field(examples=["digits_mlp"])
    """What is trained: a name, or `{name: package.module:attribute, args: {…}}`."""

    method: MethodSpec = MethodSpec(name="plain")
    """How a batch becomes a gradient: a name, or `{name: …, args: {…}}`."""

    parameters: Parameters = Field(
        examples=[
            {
                "optimizer": {"values": ["sgd"]},
                "batch_size": {"min": 1, "max": 512, "per_octave": 1},
                "lr": {"min": 0.001, "max": 16, "per_octave": 2},
            }
        ]
    )
    """The axes of the sweep: optimizer, batch_size and lr."""

    search: Annotated[Literal["grid"], BeforeValidator(_grid_only)] = "grid"
    """How learning rates are chosen: `grid` trains every point."""

    seeds: Annotated[Whole, Field(ge=1, le=_MAX_SEEDS)] = Field(examples=[6])
    """Replicates: seeds 0 to n − 1, each with its own start and its own batches."""

    sweep_seed: Annotated[Whole, Field(ge=0, le=2**32 - 1)] = 0
    """Changes all random numbers of the study at once."""

    horizon: Horizon = Field(examples=[{"steps": 300}])
    """How long a trial trains from its start."""

    sampling: Literal["replacement", "epoch"] = "replacement"
    """How batches are drawn: each with replacement, or epochs without."""

    start: Start = "init"
    """Where trials begin: `init`, or a point trained by a recipe."""

    stability: Stability = Stability()
    """When a trial counts as stable."""

    engine: Literal["auto", "vmap", "loop"] = "auto"
    """How a pack is trained: stacked (vmap), one by one (loop), or whichever a probe finds faster."""

    resources: Resources = Resources()
    """What one pack occupies while it trains."""

    check: CheckSpec = CheckSpec()
    """What the measured exponents are held against."""

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        """Refuse strangers among the predictions, and a sweep too large to be meant."""
        _refuse_strangers(self.check.predicted, self.optimizers, "check", "predicted")
        num_lrs = sum(len(self.lrs_for(optimizer)) for optimizer in self.optimizers)
        num_trials = num_lrs * len(self.batch_sizes) * self.seeds
        if num_trials > MAX_TRIALS:
            raise mistake(
                f"asks for {num_trials:,} trials, more than {MAX_TRIALS:,}; "
                "narrow a range or lower per_octave or seeds",
                "parameters",
            )
        return self

    @property
    def optimizers(self) -> tuple[OptimizerSpec, ...]:
        """The optimizers, in the file's order."""
        return self.parameters.optimizer.values

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes in examples, ascending."""
        return self.parameters.batch_size.points()

    def lrs_for(self, optimizer: OptimizerSpec) -> tuple[float, ...]:
        """Return the learning rates of one optimizer, ascending.

        Raises:
            KeyError: If the sweep has no learning rates for it.
        """
        axis = self.parameters.lr
        grid = axis.grid_for(optimizer) if isinstance(axis, LRByOptimizer) else axis
        if grid is None:
            raise KeyError(optimizer.label)
        return grid.points()

    @property
    def start_label(self) -> str:
        """Where trials begin, in words: `init` or the recipe."""
        return self.start if isinstance(self.start, str) else self.start.label
