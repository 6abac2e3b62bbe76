"""The sweep file as frozen models: what may be asked, with its units and defaults."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from scaling_sweep.spec.axes import points_for
from scaling_sweep.spec.curvature import CurvatureSpec
from scaling_sweep.spec.optimizers import OptimizerSpec
from scaling_sweep.spec.parameters import Parameters, refuse_strangers
from scaling_sweep.spec.section import TEXT, WHOLE, Named, Section, refuse
from scaling_sweep.spec.settings import CheckSpec, Horizon, Resources, Stability, Start
from scaling_sweep.spec.wording import SYNONYMS, as_yaml, call_text

# A guess: more trials than a study can mean; a slip of the pen.
MAX_TRIALS = 1_000_000
_MAX_SEEDS = 10_000
# Arguments that say where the data lie and how they are read, on one machine or another.
PLACE_ARGS = frozenset({"data_dir", "download", "num_workers"})


class TaskSpec(Named):
    """What is trained: a built-in task, or one's own as `package.module:attribute`."""

    args: dict[str, Any] = Field(default={}, examples=[{"width": 256}])
    """Keyword arguments it is made with. `data_dir`, `download` and `num_workers` say where data
    lie and how they are read: they may differ between the machines of one study."""

    @property
    def label(self) -> str:
        """The name with the arguments that tell one task from another, keys sorted."""
        telling = {key: value for key, value in self.args.items() if key not in PLACE_ARGS}
        return call_text(self.name, telling)


class MethodSpec(Named):
    """How a batch becomes a gradient."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*$", examples=["plain"]), TEXT]
    """A built-in method."""


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
    """The axes of the sweep: optimizer, batch_size, lr and, where it is searched, damping."""

    search: Annotated[Literal["grid"], BeforeValidator(_grid_only)] = "grid"
    """How the values of the searched axis are chosen: `grid` trains every point."""

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
        refuse_strangers(self.check.predicted, self.optimizers, "check", "predicted")
        num_points = sum(
            len(self.lrs_for(optimizer)) * len(self.dampings_for(optimizer))
            for optimizer in self.optimizers
        )
        num_trials = num_points * len(self.batch_sizes) * self.seeds
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
        return points_for(self.parameters.lr, optimizer)

    def dampings_for(self, optimizer: OptimizerSpec) -> tuple[float | None, ...]:
        """Return the dampings of one optimizer, ascending; None alone, its own, without the axis.

        Raises:
            KeyError: If the sweep has dampings, but none for it.
        """
        axis = self.parameters.damping
        return (None,) if axis is None else points_for(axis, optimizer)

    @property
    def start_label(self) -> str:
        """Where trials begin, in words: `init` or the recipe."""
        return self.start if isinstance(self.start, str) else self.start.label
