"""The section `curvature`: where and how finely curvature is measured for theory to start from."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.config import JsonDict

from scaling_sweep.spec.grids import BatchSize, Positive
from scaling_sweep.spec.optimizers import OptimizerSpec
from scaling_sweep.spec.section import WHOLE, Section, listed, refuse, refuse_duplicates
from scaling_sweep.spec.wording import as_yaml

# A guess far beyond use, so that a slip of the pen is an error and not an overflow.
_MAX_COUNT = 10**9
# Batch sizes of the sweep at which batch spectra are measured by default; theory is drawn straight
# between them in log-log space, where curvature bends little (by eye).
_NUM_BATCH_SIZES = 6


def _check_point(given: object) -> object:
    """Return `init` or a number of steps, refusing anything else in words that mend it."""
    if given == "init":
        return given
    number = given if isinstance(given, int | float) and not isinstance(given, bool) else 0
    if not 1 <= number <= _MAX_COUNT:
        refuse(f"must be init or a number of steps from 1 up, got {as_yaml(given)}")
    if number != int(number):
        refuse(f"must be a whole number of steps, got {as_yaml(given)}")
    return int(number)


def _not_null(schema: JsonDict) -> None:
    """Drop null from a field's schema: in a file, what is not meant is left out."""
    schema.update(schema.pop("anyOf")[0])  # type: ignore[index, arg-type]


_PointName = Annotated[
    Literal["init"] | Annotated[int, Field(ge=1, le=_MAX_COUNT)], BeforeValidator(_check_point)
]
_Count = Annotated[int, Field(ge=2, le=_MAX_COUNT), WHOLE]


class ShortTrainingSpec(Section):
    """The short, stable training along which curvature is measured."""

    optimizer: OptimizerSpec = Field(
        OptimizerSpec.model_validate("sgd"), examples=["sgd"], json_schema_extra={"default": "sgd"}
    )
    """Its optimizer."""

    lr: Positive | None = Field(None, examples=[0.05], json_schema_extra=_not_null)
    """Its learning rate, below the edge but not far: small ones lead where training near the edge
    never comes. Without it, for SGD, half of the edge 2/λ where trials begin, with λ the mean
    largest eigenvalue of its batches' Gauss-Newton matrices, halved again until the loss falls."""

    batch_size: BatchSize = 64
    """Its batch size in examples."""

    @model_validator(mode="after")
    def _check_lr(self) -> Self:
        """Return the training; only SGD's learning rate can be read off curvature."""
        if self.lr is None and self.optimizer.name != "sgd":
            refuse(f"missing for {self.optimizer.label}; write for example `lr: 0.001`", "lr")
        return self


class CurvatureSpec(Section):
    """What is measured about curvature, for theory to predict the edge from.

    Example:
        >>> CurvatureSpec(points=["init", 100]).steps
        (0, 100)
    """

    points: Annotated[tuple[_PointName, ...], BeforeValidator(listed)] = Field(
        ("init", 100, 300), examples=[["init", 100, 300]], json_schema_extra={"minItems": 1}
    )
    """Where: `init`, the point where trials begin, and numbers of steps of a short training."""

    training: ShortTrainingSpec = ShortTrainingSpec()
    """The short training that those steps are of."""

    seeds: Annotated[int, Field(ge=1, le=1000), WHOLE] = 2
    """Replicates measured, at most the sweep's: seeds 0 to n − 1 begin where their trials do."""

    batch_sizes: Annotated[tuple[BatchSize, ...], BeforeValidator(listed)] | None = Field(
        None, examples=[[1, 8, 64]], json_schema_extra=_not_null
    )
    """Batch sizes whose batches are measured; a few of the sweep's unless given."""

    num_batches: _Count = 32
    """Batches of each size."""

    probes: _Count = 10
    """Random vectors for traces, densities and noise."""

    num_examples: _Count = 4096
    """At most so many examples stand for all the data: a random part of larger data, a sample of
    data that never end. A sample of N raises λ₁ by up to (1 + √(P/N))², P parameters."""

    noise_examples: _Count = 256
    """Single examples on which each probe measures how much examples differ."""

    max_products: Annotated[int, Field(ge=3, le=_MAX_COUNT), WHOLE] = 100
    """Budget of each eigenvalue, in products with the matrix of all the data."""

    max_seconds: Positive | None = Field(None, examples=[600], json_schema_extra=_not_null)
    """Budget of each point and seed in seconds of wall-clock time, beside the short training; none
    unless given. What there is no time for is left out and named, what most theories need is
    measured first, and a larger budget measures again what a smaller one cut off."""

    batchnorm: Literal["frozen", "running", "batch"] = "frozen"
    """What BatchNorm normalises by: statistics of all the data, the running ones as they are, or
    those of each batch. Dropout is always off."""

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        """Return the section, refusing what is listed twice and batches without company."""
        refuse_duplicates(self.points, "points")
        refuse_duplicates(self.batch_sizes or (), "batch_sizes")
        if self.batchnorm == "batch" and 1 in (self.batch_sizes or ()):
            index = (self.batch_sizes or ()).index(1)
            refuse(
                "one example alone has no statistics of its batch; "
                "delete it or write batchnorm: frozen",
                *("batch_sizes", index),
            )
        return self

    @property
    def steps(self) -> tuple[int, ...]:
        """The points as steps of the short training, ascending; 0 is where trials begin."""
        return tuple(sorted(0 if point == "init" else point for point in self.points))

    def choose_batch_sizes(self, swept: tuple[int, ...]) -> tuple[int, ...]:
        """Return the batch sizes to measure.

        Args:
            swept: Batch sizes of the sweep, ascending.

        Returns:
            Those of the section, or both ends of the sweep's and a few between them; ascending.

        Example:
            >>> CurvatureSpec().choose_batch_sizes((1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
            (1, 4, 16, 32, 128, 512)
        """
        chosen = self.batch_sizes or _spread(swept, _NUM_BATCH_SIZES)
        smallest = 2 if self.batchnorm == "batch" else 1
        return tuple(sorted({max(size, smallest) for size in chosen}))


def _spread(sizes: tuple[int, ...], num: int) -> tuple[int, ...]:
    """Return at most ``num`` of the sizes, both ends among them."""
    if len(sizes) <= num:
        return sizes
    return tuple(sizes[round(i * (len(sizes) - 1) / (num - 1))] for i in range(num))
