"""The sweep file as frozen models: what may be asked, with its units and defaults."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from scaling_sweep.spec.axes import points_for
from scaling_sweep.spec.curvature import CurvatureSpec
from scaling_sweep.spec.optimizers import OPTIMIZERS, OptimizerSpec
from scaling_sweep.spec.parameters import Parameters, refuse_strangers
from scaling_sweep.spec.recipe import Recipe
from scaling_sweep.spec.search import Bisection, BisectSearch, Search
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


# Where a key belongs that was written at the top; the first section that knows it is meant.
_SECTIONS: dict[str, type[Section]] = {
    "parameters": Parameters,
    "horizon": Horizon,
    "recipe": Recipe,
    "stability": Stability,
    "resources": Resources,
    "check": CheckSpec,
    "curvature": CurvatureSpec,
    "search": BisectSearch,
}


def _refuse_two_decays(given: Mapping[str, object]) -> None:
    """Refuse a weight decay in the recipe and in an optimizer; what is no mapping comes later."""
    recipe, place = given.get("recipe"), ("parameters", "optimizer", "values")
    if not isinstance(recipe, Mapping) or recipe.get("weight_decay") is None:
        return
    found: object = given
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    for index, optimizer in enumerate(found if isinstance(found, list | tuple) else ()):
        if isinstance(optimizer, Mapping) and "weight_decay" in optimizer:
            refuse("is given here and in recipe; delete one of them", *place, index, "weight_decay")


def _refuse_undecayed(optimizers: Iterable[OptimizerSpec]) -> None:
    """Refuse a weight decay for all where an optimizer has none."""
    for optimizer in optimizers:
        if "weight_decay" not in OPTIMIZERS[optimizer.name]:
            refuse(
                f"{optimizer.name} has no weight_decay; delete it, and give those that have one "
                "theirs, as in {name: adamw, weight_decay: 0.1}",
                "recipe",
                "weight_decay",
            )


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

    search: Search = "grid"
    """How the values of the searched axis are chosen: `grid` trains every point, `{bisect: …}` only
    what it takes to close in on every edge."""

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

    recipe: Recipe = Field(Recipe(), examples=[{"clip_norm": 1, "schedule": "cosine"}])
    """What a step does beside the optimizer: clipping, schedule, precision, and the like."""

    stability: Stability = Stability()
    """When a trial counts as stable."""

    engine: Literal["auto", "vmap", "loop", "compile"] = "auto"
    """How a pack is trained: stacked (vmap), one by one (loop), or what a probe finds faster of the
    two; `compile` is vmap compiled, which every worker waits for before its first pack, and which
    `auto` tries in long sweeps."""

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

    @classmethod
    def expand(cls, given: object) -> object:
        """Return the file as given, refusing a weight decay given twice.

        Here, because an optimizer once read does not tell what was given from what is usual.
        """
        if isinstance(given, Mapping):
            _refuse_two_decays(given)
        return given

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        """Return the study, refusing strangers among the predictions and a size beyond meaning."""
        refuse_strangers(self.check.predicted, self.optimizers, "check", "predicted")
        if self.recipe.weight_decay is not None:
            _refuse_undecayed(self.optimizers)
        num_points = sum(
            len(self.lrs_for(optimizer)) * len(self.dampings_for(optimizer))
            for optimizer in self.optimizers
        )
        if self.most_seeds < self.seeds:
            refuse(
                f"must be at least seeds, {self.seeds}, got {self.most_seeds}; raise it, or "
                "delete precision",
                *("search", "bisect", "max_seeds"),
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
    def bisection(self) -> Bisection | None:
        """The settings of a search by bisection; None for a grid."""
        return None if isinstance(self.search, str) else self.search.bisect

    @property
    def most_seeds(self) -> int:
        """How many seeds may be trained: more than `seeds` where a precision is asked for."""
        wanted = self.bisection
        return self.seeds if wanted is None or wanted.precision is None else wanted.max_seeds

    @property
    def start_label(self) -> str:
        """Where trials begin, in words: `init` or the recipe."""
        return self.start if isinstance(self.start, str) else self.start.label
