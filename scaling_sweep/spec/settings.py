"""The settings of a sweep file beside its axes: horizon, start, stability, resources, check."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.config import JsonDict

from scaling_sweep.spec.grids import BatchSize, Positive
from scaling_sweep.spec.optimizers import OptimizerSpec
from scaling_sweep.spec.section import NUMBER, WHOLE, Section, refuse
from scaling_sweep.spec.wording import as_yaml, exact_text

# A guess far beyond use, so that a slip of the pen is an error and not an overflow.
_MAX_COUNT = 10**12


_Count = Annotated[int, Field(ge=1, le=_MAX_COUNT), WHOLE]
_Passes = Annotated[float, Field(gt=0, le=_MAX_COUNT), NUMBER]


def _not_null(schema: JsonDict) -> None:
    """Drop null from a field's schema: in a file, what is not meant is left out."""
    options = schema.pop("anyOf")
    schema.update(options[0])  # type: ignore[index, arg-type]


class Horizon(Section):
    """How long a trial trains from its start: exactly one of steps, epochs or examples.

    Example:
        >>> Horizon(epochs=3).num_steps(batch_size=512, num_examples=1797)
        11
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    steps: _Count | None = Field(None, examples=[300], json_schema_extra=_not_null)
    """Updates of the parameters."""

    epochs: _Passes | None = Field(None, json_schema_extra=_not_null)
    """Passes over the data, fractions allowed: ceil(epochs × N / batch size) steps."""

    examples: _Count | None = Field(None, json_schema_extra=_not_null)
    """Examples seen: ceil(examples / batch size) steps."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        """Return the horizon, refusing none and more than one."""
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            got = as_yaml(given) if given else "none"
            refuse(
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

    steps: _Count = Field(examples=[1000])
    """Updates of the recipe."""

    optimizer: OptimizerSpec = Field(examples=["sgd"])
    """The recipe's optimizer; trials that use the same one also get its state."""

    lr: Positive = Field(examples=[0.1])
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
    """Return which spelling is meant, `init` or a recipe; angle brackets as in the axes."""
    return "<init>" if isinstance(given, str) else "<trained>"


def _check_start(given: object) -> object:
    """Return the start as given, refusing what is neither `init` nor a mapping."""
    if given != "init" and not isinstance(given, Mapping | TrainedStart):
        example = as_yaml(TrainedStart.example(), max_length=120)
        refuse(f"must be init or a recipe, got {as_yaml(given)}; write init or {example}")
    return given


Start = Annotated[
    Annotated[Literal["init"], Tag("<init>")] | Annotated[TrainedStart, Tag("<trained>")],
    Discriminator(_start_kind),
    BeforeValidator(_check_start),
]


class Stability(Section):
    """When a trial counts as stable (method.md); can be changed later without training again."""

    max_loss_ratio: Annotated[float, Field(gt=0), NUMBER] = Field(0.5, examples=[0.5])
    """Largest stable loss as a share of the reference loss. 0.5 gives sharp edges on digits
    (method.md); 1 means that training ended below where it began. Not used by `finite`."""

    measure: Literal["final", "peak", "finite"] = "final"
    """Which loss is judged: the last one, the highest on the way, or only that all were finite."""

    reference: Literal["initial", "start"] = "initial"
    """What it is held against: the loss of the untrained model, or where the trial began."""


def _check_micro_batch(given: object) -> object:
    """Return what was given, refusing what is neither a number of examples, auto nor null."""
    whole = isinstance(given, int) and not isinstance(given, bool) and given >= 1
    if given is not None and given != "auto" and not whole:
        refuse(
            f"must be a number of examples, at least 1, or auto, got {as_yaml(given)}; "
            "write for example micro_batch: 256"
        )
    return given


MicroBatch = Annotated[
    Annotated[int, Field(ge=1)] | Literal["auto"] | None, BeforeValidator(_check_micro_batch)
]


class Resources(Section):
    """What one pack occupies while it trains."""

    cpus: Annotated[float, Field(gt=0), NUMBER] = Field(1.0, examples=[1])
    """CPU cores per pack."""

    gpus: Annotated[float, Field(ge=0), NUMBER] = 0.0
    """GPUs per pack; a fraction lets packs share one."""

    max_trials_per_pack: Annotated[int, Field(ge=1), WHOLE] | None = None
    """Most trials trained together as one stacked model; null leaves it to the planner."""

    micro_batch: MicroBatch = None
    """Examples of each trial computed at once, for batches larger than memory: their gradients are
    added up to the whole batch's. `auto` cuts a batch only where a single trial does not fit; null
    never. BatchNorm takes its statistics of what is computed at once."""

    pack_timeout: Annotated[float, Field(gt=0), NUMBER] | None = Field(None, examples=[600])
    """Seconds a pack may take; one that takes longer is given up after two more tries, its trials
    fail with that reason, and the sweep goes on. Null waits for ever."""

    memory_gib: Annotated[float, Field(gt=0), NUMBER] | None = Field(None, examples=[4])
    """GiB of main memory a worker may take, on Linux; what needs more is trained in parts or
    fails with that reason, and the other workers keep theirs. Null sets no limit."""


class CheckSpec(Section):
    """What the measured exponents are held against."""

    predicted: dict[str, Annotated[float, NUMBER]] = Field(
        default={}, examples=[{"sgd": 1, "adam": 0.5}]
    )
    """Exponent by optimizer name or label; without it, 1 for SGD and momentum, 1/2 for
    Adam and its relatives."""

    margin: Annotated[float, Field(gt=0), NUMBER] = 0.1
    """Half-width of the region around the prediction that counts as equal to it."""
