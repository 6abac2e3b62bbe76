"""The sweep file as frozen models: what may be asked, with its units and defaults."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from scaling_sweep.spec.axes import BatchSizeGrid, LRAxis, LRByOptimizer
from scaling_sweep.spec.curvature import CurvatureSpec
from scaling_sweep.spec.optimizers import OptimizerSpec
from scaling_sweep.spec.section import (
    TEXT,
    WHOLE,
    Named,
    Section,
    listed,
    refuse,
    refuse_duplicates,
)
from scaling_sweep.spec.settings import CheckSpec, Horizon, Resources, Stability, Start
from scaling_sweep.spec.wording import SYNONYMS, as_yaml, nearest

# A guess: more trials than a study can mean; a slip of the pen.
MAX_TRIALS = 1_000_000
_MAX_SEEDS = 10_000


class TaskSpec(Named):
    """What is trained: a built-in task, or one's own as `package.module:attribute`."""


class MethodSpec(Named):
    """How a batch becomes a gradient."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*$", examples=["plain"]), TEXT]
    """A built-in method."""


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

    lr: LRAxis = Field(examples=[{"min": 0.001, "max": 16, "per_octave": 2}])
    """Learning rates: `{min, max, per_octave}`, `{values: […]}`, or one such grid for each
    optimizer under `by_optimizer`."""

    @model_validator(mode="after")
    def _check_cover(self) -> Self:
        """Return the axes; every optimizer needs a grid, and every grid an optimizer."""
        if not isinstance(self.lr, LRByOptimizer):
            return self
        optimizers = self.optimizer.values
        _refuse_strangers(self.lr.by_optimizer, optimizers, "lr", "by_optimizer")
        for optimizer in optimizers:
            if self.lr.grid_for(optimizer) is None:
                refuse(
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
            refuse(f"not an optimizer of this sweep; {nearest(key, known)}", *path, key)


def _grid_only(given: object) -> object:
    """Return `grid`, refusing searches that do not exist yet."""
    if given != "grid":
        refuse(f"only grid is available so far, got {as_yaml(given)}; write search: grid")
    return given


# Where a key belongs that was written at the top; the first section that knows it is meant.
_SECTIONS: dict[str, type[Section]] = {
    "parameters": Parameters,
    "horizon": Horizon,
    "stability": Stability,
    "resources": Resources,
    "check": CheckSpec,
    "curvature": CurvatureSpec,
}


class SweepSpec(Section):
    """One study: a task, the axes of the sweep, and how trials are run and judged."""

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["digits"]), TEXT
    ]
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

    seeds: Annotated[int, Field(ge=1, le=_MAX_SEEDS), WHOLE] = Field(examples=[6])
    """Replicates: seeds 0 to n − 1, each with its own start and its own batches."""

    sweep_seed: Annotated[int, Field(ge=0, le=2**32 - 1), WHOLE] = 0
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
    """How a pack is trained: stacked (vmap), one by one (loop), or what a probe finds faster."""

    resources: Resources = Resources()
    """What one pack occupies while it trains."""

    check: CheckSpec = CheckSpec()
    """What the measured exponents are held against."""

    curvature: CurvatureSpec | None = Field(None, examples=[{"points": ["init", 100]}])
    """What `run` measures about curvature, for theory to be drawn beside the measurement; nothing
    without this section. `curvature: {}` takes the defaults."""

    @classmethod
    def refuse_unknown(cls, key: str, value: object) -> None:
        """Say under which section a key belongs that stands beside it."""
        meant = SYNONYMS.get(key, key)
        for section, model in _SECTIONS.items():
            if meant in model.model_fields:
                pair = as_yaml({section: {meant: value}})[1:-1]
                refuse(f"unknown key; it belongs under {section}, as in `{pair}`", key)
        super().refuse_unknown(key, value)

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        """Return the study, refusing strangers among the predictions and a size beyond meaning."""
        _refuse_strangers(self.check.predicted, self.optimizers, "check", "predicted")
        num_lrs = sum(len(self.lrs_for(optimizer)) for optimizer in self.optimizers)
        num_trials = num_lrs * len(self.batch_sizes) * self.seeds
        if num_trials > MAX_TRIALS:
            refuse(
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
