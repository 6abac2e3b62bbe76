"""Adam and AdamW (Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019)."""

import math
from functools import partial

import torch
from torch import Tensor

from scaling_sweep.optimizers.rule import (
    DAMPING,
    VALUE,
    Parameters,
    State,
    UpdateRule,
    damping_state,
    decayed,
    per_copy,
    square_root,
    zeros_like,
)


def adam(
    beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> UpdateRule:
    """Build ``direction = −m̂ / (√v̂ + eps)`` with bias-corrected moments of the gradient.

    Args:
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to ``√v̂``, at least 0; in units of the gradient. Its damping, so it is kept in
            the state, where each copy may have its own.
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.Adam``.
    """

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads = decayed(grads, params, weight_decay)
        return _adam_step(grads, state, beta1, beta2)

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads = decayed(grads, params, weight_decay)
        _adam_move(params, grads, state, lr, beta1, beta2)

    return UpdateRule(partial(_init, eps=eps), update, move)


def adamw(
    beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01
) -> UpdateRule:
    """Build Adam with decoupled decay: ``direction = −m̂ / (√v̂ + eps) − weight_decay · θ``.

    Args:
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to ``√v̂``, at least 0; in units of the gradient. Its damping, so it is kept in
            the state, where each copy may have its own.
        weight_decay: Decoupled decay per unit of lr, at least 0.

    Returns:
        The rule, the same as ``torch.optim.AdamW``.
    """

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        direction, state = _adam_step(grads, state, beta1, beta2)
        return {n: value - weight_decay * params[n] for n, value in direction.items()}, state

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        for param in params.values():
            param.mul_(1 - per_copy(lr, param) * weight_decay)
        _adam_move(params, grads, state, lr, beta1, beta2)

    return UpdateRule(partial(_init, eps=eps), update, move)


def _init(params: Parameters, eps: float) -> State:
    # The step count is a tensor so that copies of a pack may differ in it.
    like = next(iter(params.values()))
    num_steps: Tensor = like.new_zeros(())
    return {
        "first": zeros_like(params),
        "second": zeros_like(params),
        "count": {"num_steps": num_steps},
        DAMPING: damping_state(params, eps),
    }


def _adam_step(
    grads: Parameters, state: State, beta1: float, beta2: float
) -> tuple[Parameters, State]:
    num_steps, eps = state["count"]["num_steps"] + 1, state[DAMPING][VALUE]
    first = {n: torch.lerp(state["first"][n], grad, 1 - beta1) for n, grad in grads.items()}
    second = {n: beta2 * state["second"][n] + (1 - beta2) * g * g for n, g in grads.items()}
    step_size = -1 / _one_minus_power(beta1, num_steps)
    root_correction = _one_minus_power(beta2, num_steps).sqrt()
    direction = {
        n: step_size * value / (second[n].sqrt() / root_correction + eps)
        for n, value in first.items()
    }
    count = {"num_steps": num_steps}
    return direction, {**state, "first": first, "second": second, "count": count}


def _adam_move(
    params: Parameters,
    grads: Parameters,
    state: State,
    lr: Tensor,
    beta1: float,
    beta2: float,
) -> None:
    """Move stacked copies in place, ``m̂ / (√v̂ + eps)`` rearranged to touch memory less often."""
    num_steps = state["count"]["num_steps"].add_(1)
    root_correction = _one_minus_power(beta2, num_steps).sqrt()
    rate = lr * root_correction / _one_minus_power(beta1, num_steps)
    eps = root_correction * state[DAMPING][VALUE]
    for name, param in params.items():
        grad = grads[name]
        # Not lerp_: slower on a CPU (measured, LOG 2026-11-21).
        first = state["first"][name].mul_(beta1).add_(grad, alpha=1 - beta1)
        second = state["second"][name].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        step = square_root(second).add_(per_copy(eps, param))
        param.addcmul_(torch.div(first, step, out=step), per_copy(rate, param), value=-1)


def _one_minus_power(beta: float, num_steps: Tensor) -> Tensor:
    """Return ``1 − beta^t``, exact to rounding: ``1 − 0.999`` in float32 is 2e-5 off."""
    return -torch.expm1(num_steps * (math.log(beta) if beta > 0 else -math.inf))
