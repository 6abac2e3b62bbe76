"""From an optimizer's name and hyperparameters to its update rule."""

from collections.abc import Callable, Mapping

from scaling_sweep.optimizers.adagrad import adadelta, adagrad
from scaling_sweep.optimizers.adam import adam, adamw
from scaling_sweep.optimizers.adam_relatives import adamax, nadam, radam
from scaling_sweep.optimizers.cauchy import cauchy
from scaling_sweep.optimizers.muon import muon
from scaling_sweep.optimizers.newton import newton
from scaling_sweep.optimizers.rmsprop import rmsprop
from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.optimizers.sgd import momentum, nesterov, sgd
from scaling_sweep.optimizers.slq import slq

_RULES: Mapping[str, Callable[..., UpdateRule]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "nadam": nadam,
    "radam": radam,
    "adamax": adamax,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "muon": muon,
    "cauchy": cauchy,
    "slq": slq,
    "newton": newton,
}


def make_rule(name: str, hyperparameters: Mapping[str, float | str] | None = None) -> UpdateRule:
    """Build the update rule of an optimizer.

    Args:
        name: One of the optimizers that ``scaling-sweep tasks`` lists.
        hyperparameters: By name; those left out take their usual values.

    Returns:
        The rule.

    Raises:
        ValueError: If the optimizer is unknown. A sweep file is checked before it comes here.

    Example:
        >>> sorted(make_rule("momentum", {"momentum": 0.5}).init({}))
        ['velocity']
    """
    if name not in _RULES:
        raise ValueError(f"Unknown optimizer {name!r}; known are {', '.join(_RULES)}.")
    return _RULES[name](**(hyperparameters or {}))
