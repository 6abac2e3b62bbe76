"""Stochastic gradient descent, plain and with heavy-ball or Nesterov momentum."""

from torch import Tensor

from scaling_sweep.optimizers.rule import (
    Parameters,
    State,
    UpdateRule,
    decayed,
    per_copy,
    zeros_like,
)


def sgd(weight_decay: float = 0.0) -> UpdateRule:
    """Build ``direction = −(g + weight_decay · θ)``.

    Args:
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.SGD``.

    Example:
        >>> import torch
        >>> rule = sgd()
        >>> rule.update({"w": torch.tensor(2.0)}, {}, {"w": torch.tensor(1.0)})[0]["w"]
        tensor(-2.)
    """

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads = decayed(grads, params, weight_decay)
        return {name: -grad for name, grad in grads.items()}, state

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        del state  # there is none
        grads = decayed(grads, params, weight_decay)
        for name, param in params.items():
            param.addcmul_(grads[name], per_copy(lr, param), value=-1)

    return UpdateRule(lambda params: {}, update, move)


def momentum(momentum: float = 0.9, weight_decay: float = 0.0) -> UpdateRule:
    """Build heavy ball: ``v ← momentum · v + g``, ``direction = −v`` (Polyak 1964).

    Args:
        momentum: Share of the last velocity that is kept, in [0, 1).
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.SGD(momentum=...)``, without dampening.
    """
    return _with_velocity(momentum, weight_decay, nesterov=False)


def nesterov(momentum: float = 0.9, weight_decay: float = 0.0) -> UpdateRule:
    """Build Nesterov's momentum: ``v ← momentum · v + g``, ``direction = −(g + momentum · v)``.

    Args:
        momentum: Share of the last velocity that is kept, in [0, 1).
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.SGD(momentum=..., nesterov=True)``.
    """
    return _with_velocity(momentum, weight_decay, nesterov=True)


def _with_velocity(momentum: float, weight_decay: float, *, nesterov: bool) -> UpdateRule:
    def init(params: Parameters) -> State:
        return {"velocity": zeros_like(params)}

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads = decayed(grads, params, weight_decay)
        last = state["velocity"]
        velocity = {name: momentum * last[name] + grad for name, grad in grads.items()}
        if nesterov:
            direction = {name: -(grad + momentum * velocity[name]) for name, grad in grads.items()}
        else:
            direction = {name: -value for name, value in velocity.items()}
        return direction, {"velocity": velocity}

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads = decayed(grads, params, weight_decay)
        for name, param in params.items():
            velocity = state["velocity"][name].mul_(momentum).add_(grads[name])
            rate = per_copy(lr, param)
            if nesterov:
                param.addcmul_(grads[name], rate, value=-1)
            param.addcmul_(velocity, rate, value=-momentum if nesterov else -1)

    return UpdateRule(init, update, move)
