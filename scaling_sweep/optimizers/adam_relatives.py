"""NAdam, RAdam and Adamax, as torch defines them."""

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

# Of Dozat's schedule for the momentum, as torch has them.
_NADAM_BASE, _NADAM_HALF = 0.96, 0.5
# Below this length of the moving average RAdam takes no second moment (Liu et al. 2020, torch).
_RADAM_LEAST_LENGTH = 5.0


def nadam(
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
    weight_decay: float = 0.0,
) -> UpdateRule:
    """Build Adam with Nesterov's momentum, whose weight grows from half of ``beta1`` to all of it.

    ``μ_t = beta1 (1 − 0.96^(t · momentum_decay) / 2)``, ``direction = −(μ_{t+1} m / (1 − Π_{t+1} μ)
    + (1 − μ_t) g / (1 − Π_t μ)) / (√v̂ + eps)`` (Dozat 2016).

    Args:
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to ``√v̂``, at least 0; in units of the gradient; its damping.
        momentum_decay: How fast the momentum's weight grows, at least 0.
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.NAdam``.
    """

    def init(params: Parameters) -> State:
        product = next(iter(params.values())).new_ones(())
        return {**_init(params, eps=eps), "momentum": {"product": product}}

    def weight(num_steps: Tensor) -> Tensor:
        return beta1 * (1 - _NADAM_HALF * _NADAM_BASE ** (num_steps * momentum_decay))

    def shares(num_steps: Tensor, product: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, next_mu = weight(num_steps), weight(num_steps + 1)
        product = product.double() * mu
        return product, next_mu / (1 - product * next_mu), (1 - mu) / (1 - product)

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads = decayed(grads, params, weight_decay)
        num_steps, now = _count(state), state["momentum"]["product"]
        first, second = _moments(grads, state, beta1, beta2)
        product, of_mean, of_grad = shares(num_steps, now)
        root, damping = (1 - beta2**num_steps).sqrt(), state[DAMPING][VALUE]
        direction = {
            n: -(of_mean.to(g.dtype) * first[n] + of_grad.to(g.dtype) * g)
            / (second[n].sqrt() / root.to(g.dtype) + damping)
            for n, g in grads.items()
        }
        return direction, {
            **_counted(state, num_steps, first, second),
            "momentum": {"product": product.to(now.dtype)},
        }

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads = decayed(grads, params, weight_decay)
        num_steps, now = _count_in_place(state), state["momentum"]["product"]
        product, of_mean, of_grad = shares(num_steps, now)
        now.copy_(product)
        root = (1 - beta2**num_steps).sqrt()
        eps, rate = root * state[DAMPING][VALUE], root * lr
        for name, param in params.items():
            first, second = _move_moments(name, grads[name], state, beta1, beta2)
            ahead = first * per_copy(rate * of_mean, param)
            ahead.addcmul_(grads[name], per_copy(rate * of_grad, param))
            param.addcdiv_(ahead, square_root(second).add_(per_copy(eps, param)), value=-1)

    return UpdateRule(init, update, move)


def radam(
    beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> UpdateRule:
    """Build rectified Adam: ``direction = −m̂``, later ``−r m̂ √(1 − beta2^t) / (√v + eps)``.

    Later is when the second moment rests on enough steps to be trusted: with the usual ``beta2``
    the first five steps are those of momentum, not of Adam. ``r`` is Liu et al.'s variance
    rectification (arXiv:1908.03265).

    Args:
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to ``√v``, at least 0; in units of the gradient; its damping.
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.RAdam``.
    """
    longest = 2 / (1 - beta2) - 1

    def rectify(num_steps: Tensor) -> tuple[Tensor, Tensor]:
        power = beta2**num_steps
        length = longest - 2 * num_steps * power / (1 - power)
        shares = (length - 4) * (length - 2) / ((longest - 4) * (longest - 2))
        rectified = (shares * longest / length * (1 - power)).clamp(min=0).sqrt()
        return length > _RADAM_LEAST_LENGTH, rectified

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads, num_steps = decayed(grads, params, weight_decay), _count(state)
        first, second = _moments(grads, state, beta1, beta2)
        (trusted, rectified), damping = rectify(num_steps), state[DAMPING][VALUE]
        unbias = -1 / (1 - beta1**num_steps)
        direction = {
            n: (unbias.to(mean.dtype) * mean)
            * torch.where(trusted, rectified.to(mean.dtype) / (second[n].sqrt() + damping), 1.0)
            for n, mean in first.items()
        }
        return direction, _counted(state, num_steps, first, second)

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads, num_steps = decayed(grads, params, weight_decay), _count_in_place(state)
        (trusted, rectified), damping = rectify(num_steps), state[DAMPING][VALUE]
        rate = torch.where(trusted, rectified, 1.0) * lr / (1 - beta1**num_steps)
        for name, param in params.items():
            first, second = _move_moments(name, grads[name], state, beta1, beta2)
            root = square_root(second).add_(per_copy(damping, param))
            root = torch.where(per_copy(trusted, param) > 0, root, 1.0)
            param.addcmul_(torch.div(first, root, out=root), per_copy(rate, param), value=-1)

    return UpdateRule(partial(_init, eps=eps), update, move)


def adamax(
    beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> UpdateRule:
    """Build Adam with a maximum for a second moment, ``u ← max(beta2 · u, |g| + eps)``.

    ``direction = −m̂ / u`` (Kingma and Ba 2015, section 7.1). ``eps`` is a floor within the
    maximum, not a damping.

    Args:
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the maximum, in [0, 1).
        eps: Added to ``|g|``, at least 0; in units of the gradient.
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.Adamax``.
    """

    def init(params: Parameters) -> State:
        return {name: value for name, value in _init(params, eps=eps).items() if name != DAMPING}

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads, num_steps = decayed(grads, params, weight_decay), _count(state)
        first = _means(grads, state, beta1)
        largest = {
            n: torch.maximum(beta2 * state["second"][n], g.abs() + eps) for n, g in grads.items()
        }
        unbias = -1 / (1 - beta1**num_steps)
        direction = {n: unbias.to(mean.dtype) * mean / largest[n] for n, mean in first.items()}
        return direction, _counted(state, num_steps, first, largest)

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads, num_steps = decayed(grads, params, weight_decay), _count_in_place(state)
        rate = lr / (1 - beta1**num_steps)
        for name, param in params.items():
            grad, largest = grads[name], state["second"][name].mul_(beta2)
            first = state["first"][name].mul_(beta1).add_(grad, alpha=1 - beta1)
            floor = grad.abs().add_(eps)
            torch.maximum(largest, floor, out=largest)
            step = torch.div(first, largest, out=floor)
            param.addcmul_(step, per_copy(rate, param), value=-1)

    return UpdateRule(init, update, move)


def _init(params: Parameters, eps: float) -> State:
    num_steps: Tensor = next(iter(params.values())).new_zeros(())
    return {
        "first": zeros_like(params),
        "second": zeros_like(params),
        "count": {"num_steps": num_steps},
        DAMPING: damping_state(params, eps),
    }


def _count(state: State) -> Tensor:
    """Return the number of this step, in float64: its powers are subtracted from each other."""
    return state["count"]["num_steps"].double() + 1


def _count_in_place(state: State) -> Tensor:
    """Count this step of stacked copies and return its number, in float64 as ``_count`` does."""
    return state["count"]["num_steps"].add_(1).double()


def _move_moments(
    name: str, grad: Tensor, state: State, beta1: float, beta2: float
) -> tuple[Tensor, Tensor]:
    """Take a gradient of stacked copies into both moments, in place."""
    first = state["first"][name].mul_(beta1).add_(grad, alpha=1 - beta1)
    return first, state["second"][name].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)


def _means(grads: Parameters, state: State, beta1: float) -> dict[str, Tensor]:
    return {n: torch.lerp(state["first"][n], grad, 1 - beta1) for n, grad in grads.items()}


def _moments(
    grads: Parameters, state: State, beta1: float, beta2: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    second = {n: beta2 * state["second"][n] + (1 - beta2) * g * g for n, g in grads.items()}
    return _means(grads, state, beta1), second


def _counted(state: State, num_steps: Tensor, first: Parameters, second: Parameters) -> State:
    count = {"num_steps": num_steps.to(state["count"]["num_steps"].dtype)}
    return {**state, "first": first, "second": second, "count": count}
