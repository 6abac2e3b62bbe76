"""The optimizers a sweep file may name, and the hyperparameters they take."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from scaling_sweep.spec.section import Section, refuse
from scaling_sweep.spec.wording import as_yaml, exact_text, nearest


@dataclass(frozen=True)
class Hyperparameter:
    """A number an optimizer takes beside the learning rate.

    Attributes:
        default: Value when the sweep file says nothing; those of `torch.optim`.
        below: Exclusive upper bound; every hyperparameter is at least 0.
        meaning: One sentence for the documentation.
        is_damping: Whether it is what a sweep may search as `damping`; one per optimizer at most.
    """

    default: float
    below: float | None
    meaning: str
    is_damping: bool = False


_WEIGHT_DECAY = Hyperparameter(0.0, None, "L2 penalty added to the gradient.")
_DECOUPLED = Hyperparameter(0.01, None, "Decay of the weights themselves, times the learning rate.")
_MOMENTUM = Hyperparameter(0.9, 1.0, "Share of the last velocity that is kept.")
_BETA1 = Hyperparameter(0.9, 1.0, "Decay of the mean of the gradient.")
_BETA2 = Hyperparameter(0.999, 1.0, "Decay of the mean of the squared gradient.")
_ALPHA = Hyperparameter(0.99, 1.0, "Decay of the mean of the squared gradient.")
_EPS = Hyperparameter(1e-8, None, "Added to the denominator, the damping.", is_damping=True)

OPTIMIZERS: Mapping[str, Mapping[str, Hyperparameter]] = MappingProxyType(
    {
        "sgd": {"weight_decay": _WEIGHT_DECAY},
        "momentum": {"momentum": _MOMENTUM, "weight_decay": _WEIGHT_DECAY},
        "nesterov": {"momentum": _MOMENTUM, "weight_decay": _WEIGHT_DECAY},
        "adam": {"beta1": _BETA1, "beta2": _BETA2, "eps": _EPS, "weight_decay": _WEIGHT_DECAY},
        "adamw": {"beta1": _BETA1, "beta2": _BETA2, "eps": _EPS, "weight_decay": _DECOUPLED},
        "rmsprop": {"alpha": _ALPHA, "eps": _EPS, "weight_decay": _WEIGHT_DECAY},
    }
)


class OptimizerSpec(Section):
    """An optimizer with all its hyperparameters, defaults filled in.

    In a sweep file it is a name, `adam`, or a flat mapping, `{name: adam, beta1: 0.95}`.

    Example:
        >>> OptimizerSpec.model_validate("adam").label
        'adam'
        >>> adam = OptimizerSpec.model_validate({"name": "adam", "beta1": 0.95})
        >>> adam.label, adam.hyperparameters["eps"]
        ('adam(beta1=0.95)', 1e-08)
    """

    name: str = Field(examples=["adam"])
    """One of the known optimizers."""

    hyperparameters: dict[str, float] = Field(default={})
    """Every hyperparameter of the optimizer; in a file they stand beside `name`."""

    @classmethod
    def expand(cls, given: object) -> object:
        """Return the hyperparameters that stand beside `name` gathered, or a bare name alone."""
        if isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, Mapping):
            return given
        if "name" not in given:
            refuse("missing; write for example `name: adam`", "name")
        name = given["name"]
        if not isinstance(name, str) or name not in OPTIMIZERS:
            refuse(f"unknown optimizer {as_yaml(name)}; {nearest(name, OPTIMIZERS)}")
        values = {key: value for key, value in given.items() if key != "name"}
        for key, value in values.items():
            _check_hyperparameter(name, key, value)
        return {"name": name, "hyperparameters": values}

    @model_validator(mode="after")
    def _fill_defaults(self) -> Self:
        """Return the optimizer with all its numbers: two spellings of the same one are equal."""
        defaults = {key: item.default for key, item in OPTIMIZERS[self.name].items()}
        # The model is frozen for its users; here it is still being made.
        object.__setattr__(self, "hyperparameters", defaults | self.hyperparameters)
        return self

    @property
    def label(self) -> str:
        """The name, with what differs from the defaults in brackets, keys sorted."""
        table = OPTIMIZERS[self.name]
        changed = [
            f"{key}={exact_text(value)}"
            for key, value in sorted(self.hyperparameters.items())
            if value != table[key].default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    @property
    def damping(self) -> str | None:
        """The name of the hyperparameter that is its damping, `eps` for adam; None without one."""
        table = OPTIMIZERS[self.name]
        return next((key for key, item in table.items() if item.is_damping), None)

    def __hash__(self) -> int:
        """Return a hash of the label: `hyperparameters` is a dict."""
        return hash(self.label)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return what a file may say: a name, or one flat mapping per optimizer."""
        del schema, handler  # the model's own fields are not what stands in a file
        names = {"type": "string", "enum": sorted(OPTIMIZERS)}
        return {"anyOf": [names, *(_mapping_schema(name) for name in OPTIMIZERS)]}


def _check_hyperparameter(name: str, key: str, value: object) -> None:
    """Refuse a hyperparameter the optimizer does not have, or a value outside its range."""
    known = OPTIMIZERS[name]
    if key not in known:
        refuse(f"{name} has no such hyperparameter; {nearest(key, known)}", key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(f"must be a number, got {as_yaml(value)}", key)
    below = known[key].below
    if not 0 <= value < (below if below is not None else float("inf")):
        bounds = "from 0 up" if below is None else f"from 0 to below {below:g}"
        refuse(f"must be a finite number {bounds}, got {as_yaml(value)}", key)


def _mapping_schema(name: str) -> dict[str, Any]:
    """Return the description of one optimizer's flat mapping."""
    properties: dict[str, Any] = {"name": {"const": name}}
    for key, item in OPTIMIZERS[name].items():
        bounds: dict[str, Any] = {"type": "number", "minimum": 0}
        if item.below is not None:
            bounds["exclusiveMaximum"] = item.below
        properties[key] = {**bounds, "default": item.default, "description": item.meaning}
    return {
        "type": "object",
        "properties": properties,
        "required": ["name"],
        "additionalProperties": False,
    }
