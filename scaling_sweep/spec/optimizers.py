"""The optimizers a sweep file may name, and the hyperparameters they take."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from scaling_sweep.spec.hyperparameters import Hyperparameter
from scaling_sweep.spec.section import Section, refuse
from scaling_sweep.spec.wording import as_yaml, exact_text, nearest

_WEIGHT_DECAY = Hyperparameter(0.0, None, "L2 penalty added to the gradient.")
_DECOUPLED = Hyperparameter(0.01, None, "Decay of the weights themselves, times the learning rate.")
_MOMENTUM = Hyperparameter(0.9, 1.0, "Share of the last velocity that is kept.")
_BETA1 = Hyperparameter(0.9, 1.0, "Decay of the mean of the gradient.")
_BETA2 = Hyperparameter(0.999, 1.0, "Decay of the mean of the squared gradient.")
_ALPHA = Hyperparameter(0.99, 1.0, "Decay of the mean of the squared gradient.")
_LANCZOS = Hyperparameter(10.0, None, "Hessian-vector products of each look at curvature.", least=2)
_REFRESH = Hyperparameter(10.0, None, "Steps from one look at curvature to the next.", least=1)
_LAMBDA_N = Hyperparameter(
    "bulk",
    None,
    "Lower end of the spectrum: the lowest Ritz value, or the smallest absolute one.",
    words=("bulk", "smallest"),
)
_BATCH_NOISE = Hyperparameter(
    "mean_square",
    None,
    "Curvature that bounds the rate: noise counted in, the largest so far, or this batch's.",
    words=("mean_square", "largest", "batch"),
)
_SAFETY = Hyperparameter(0.5, None, "Factor on the measured learning rate.", positive=True)
_MAX_MOMENTUM = Hyperparameter(0.9, 1.0, "Bound on the measured momentum.")
_DAMPING = Hyperparameter(
    1.0, None, "Added to the absolute eigenvalues.", is_damping=True, positive=True
)
_EPS = Hyperparameter(1e-8, None, "Added to the denominator, the damping.", is_damping=True)

OPTIMIZERS: Mapping[str, Mapping[str, Hyperparameter]] = MappingProxyType(
    {
        "sgd": {"weight_decay": _WEIGHT_DECAY},
        "momentum": {"momentum": _MOMENTUM, "weight_decay": _WEIGHT_DECAY},
        "nesterov": {"momentum": _MOMENTUM, "weight_decay": _WEIGHT_DECAY},
        "adam": {"beta1": _BETA1, "beta2": _BETA2, "eps": _EPS, "weight_decay": _WEIGHT_DECAY},
        "adamw": {"beta1": _BETA1, "beta2": _BETA2, "eps": _EPS, "weight_decay": _DECOUPLED},
        "rmsprop": {"alpha": _ALPHA, "eps": _EPS, "weight_decay": _WEIGHT_DECAY},
        "nadam": {
            "beta1": _BETA1,
            "beta2": _BETA2,
            "eps": _EPS,
            "momentum_decay": Hyperparameter(4e-3, None, "How fast the momentum's weight grows."),
            "weight_decay": _WEIGHT_DECAY,
        },
        "radam": {"beta1": _BETA1, "beta2": _BETA2, "eps": _EPS, "weight_decay": _WEIGHT_DECAY},
        "adamax": {
            "beta1": _BETA1,
            "beta2": replace(_BETA2, meaning="Decay of the largest gradient."),
            "eps": Hyperparameter(1e-8, None, "Added to the absolute gradient."),
            "weight_decay": _WEIGHT_DECAY,
        },
        "adagrad": {
            "eps": replace(_EPS, default=1e-10),
            "lr_decay": Hyperparameter(0.0, None, "By how much the step falls, per step."),
            "weight_decay": _WEIGHT_DECAY,
        },
        "adadelta": {
            "rho": Hyperparameter(0.9, 1.0, "Decay of the means of both squares."),
            "eps": Hyperparameter(1e-6, None, "Added to both means."),
            "weight_decay": _WEIGHT_DECAY,
        },
        "muon": {
            "momentum": replace(_MOMENTUM, default=0.95),
            "ns_steps": Hyperparameter(5.0, None, "Newton-Schulz iterations.", least=1),
            "others_share": Hyperparameter(
                0.015, None, "AdamW's lr for all that is no matrix, as a share of lr."
            ),
            "weight_decay": replace(_DECOUPLED, default=0.1),
        },
        "cauchy": {"refresh_every": replace(_REFRESH, default=1.0)},
        "slq": {
            "num_lanczos": _LANCZOS,
            "refresh_every": _REFRESH,
            "lambda_n": _LAMBDA_N,
            "batch_noise": _BATCH_NOISE,
            "safety": _SAFETY,
            "max_momentum": _MAX_MOMENTUM,
        },
        "newton": {"num_lanczos": replace(_LANCZOS, least=1), "damping": _DAMPING},
    }
)
OPTIMIZER_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "sgd": "plain stochastic gradient descent",
        "momentum": "heavy ball",
        "nesterov": "Nesterov's momentum",
        "adam": "Adam",
        "adamw": "Adam with decoupled weight decay",
        "rmsprop": "RMSprop",
        "nadam": "Adam with Nesterov's momentum",
        "radam": "Adam with a rectified beginning",
        "adamax": "Adam with a maximum for a second moment",
        "adagrad": "Adagrad",
        "adadelta": "Adadelta",
        "muon": "orthogonalised momentum for matrices, AdamW for the rest",
        "cauchy": (
            "lr is a multiplier on the step gᵀg/(gᵀHg); "
            "a reconstruction: the paper's own formulas were not reachable"
        ),
        "slq": (
            "lr is a multiplier on learning rate and momentum set on the fly by Lanczos runs; "
            "a reconstruction: the paper's own formulas were not reachable"
        ),
        "newton": "damped Newton step, -(|H| + damping)⁻¹ g, from a few steps of Lanczos",
    }
)


# Of torch.optim, but without a sense of "the largest stable learning rate".
_NO_FACTOR: Mapping[str, str] = MappingProxyType(
    {
        "rprop": "its lr is only its first step size, which the signs of gradients then change",
        "asgd": "its lr falls at a rate that depends on lr, and it averages weights",
        "adafactor": "its lr is only a bound on a step size that it sets by the weights' own size",
        "lbfgs": "its step depends on all steps before it, and it asks for the loss several times",
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

    hyperparameters: dict[str, float | str] = Field(default={})
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
        if isinstance(name, str) and name.lower() in _NO_FACTOR:
            refuse(
                f"{name} cannot be swept, its steps are not proportional to lr: "
                f"{_NO_FACTOR[name.lower()]}; take another optimizer"
            )
        if not isinstance(name, str) or name not in OPTIMIZERS:
            refuse(f"unknown optimizer {as_yaml(name)}; {nearest(name, OPTIMIZERS)}")
        values, known = {key: given[key] for key in given if key != "name"}, OPTIMIZERS[name]
        for key, value in values.items():
            if key not in known:
                refuse(f"{name} has no such hyperparameter; {nearest(key, known)}", key)
            known[key].check(value, key)
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
            f"{key}={value if isinstance(value, str) else exact_text(value)}"
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


def _mapping_schema(name: str) -> dict[str, Any]:
    """Return the description of one optimizer's flat mapping."""
    others = {key: item.schema() for key, item in OPTIMIZERS[name].items()}
    return {
        "type": "object",
        "description": OPTIMIZER_DESCRIPTIONS[name],
        "properties": {"name": {"const": name}, **others},
        "required": ["name"],
        "additionalProperties": False,
    }
