"""The form every update rule has: pure functions on the parameters of one model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Parameters: TypeAlias = Mapping[str, Tensor]
State: TypeAlias = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class UpdateRule:
    """An optimizer without its learning rate, in the manner of optax.

    The parameters move by ``lr × direction``; nothing here knows ``lr``, so one rule serves all
    trials of a pack and the training loop maps it over the stacked copies.

    Attributes:
        init: ``init(params) -> state``: moments by name of moment and of parameter.
        update: ``update(grads, state, params) -> (direction, state)``, pure.

    Example:
        >>> descent = UpdateRule(lambda params: {}, lambda grads, state, params: (
        ...     {name: -grad for name, grad in grads.items()}, state))
        >>> direction, _ = descent.update({"w": torch.ones(2)}, {}, {"w": torch.zeros(2)})
        >>> direction["w"]
        tensor([-1., -1.])
    """

    init: Callable[[Parameters], State]
    update: Callable[[Parameters, State, Parameters], tuple[Parameters, State]]


def zeros_like(params: Parameters) -> dict[str, Tensor]:
    """Return zeros of each parameter's shape, the usual first value of a moment."""
    return {name: torch.zeros_like(value) for name, value in params.items()}


def decayed(grads: Parameters, params: Parameters, weight_decay: float) -> Parameters:
    """Return the gradients of ``loss + ½ weight_decay ‖params‖²``: coupled weight decay."""
    if weight_decay == 0:
        return grads
    return {name: grad + weight_decay * params[name] for name, grad in grads.items()}
