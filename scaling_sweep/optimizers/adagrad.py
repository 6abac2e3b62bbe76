"""Adagrad and Adadelta, as torch defines them."""

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


def adagrad(eps: float = 1e-10, lr_decay: float = 0.0, weight_decay: float = 0.0) -> UpdateRule:
    """Build ``s ← s + g²``, ``direction = −g / (√s + eps) / (1 + (t − 1) lr_decay)``.

    Duchi, Hazan and Singer 2011. The first step is the gradient's sign.

    Args:
        eps: Added to ``√s``, at least 0; in units of the gradient; its damping.
        lr_decay: By how much the step falls, per step, at least 0.
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.Adagrad``.
    """

    def init(params: Parameters) -> State:
        num_steps: Tensor = next(iter(params.values())).new_zeros(())
        return {
            "sum": zeros_like(params),
            "count": {"num_steps": num_steps},
            DAMPING: damping_state(params, eps),
        }

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads, before = decayed(grads, params, weight_decay), state["count"]["num_steps"]
        total = {n: state["sum"][n] + grad * grad for n, grad in grads.items()}
        damping, slower = state[DAMPING][VALUE], 1 + before * lr_decay
        direction = {n: -g / (total[n].sqrt() + damping) / slower for n, g in grads.items()}
        return direction, {**state, "sum": total, "count": {"num_steps": before + 1}}

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads, damping = decayed(grads, params, weight_decay), state[DAMPING][VALUE]
        rate = lr / (1 + state["count"]["num_steps"] * lr_decay)
        state["count"]["num_steps"].add_(1)
        for name, param in params.items():
            total = state["sum"][name].addcmul_(grads[name], grads[name])
            step = square_root(total).add_(per_copy(damping, param)).reciprocal_().mul_(grads[name])
            param.addcmul_(step, per_copy(rate, param), value=-1)

    return UpdateRule(init, update, move)


def adadelta(rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0) -> UpdateRule:
    """Build ``direction = −√(d + eps) / √(v + eps) · g``, with decayed means of both squares.

    ``v`` is the mean of g², ``d`` that of the direction's square (Zeiler 2012, arXiv:1212.5701).
    The paper has no learning rate; here, as in torch, it multiplies the direction, and ``d`` does
    not see it. ``eps`` stands above and below, so it is no damping.

    Args:
        rho: Decay of both means, in [0, 1).
        eps: Added to both, at least 0.
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.Adadelta``.
    """

    def init(params: Parameters) -> State:
        return {"second": zeros_like(params), "moved": zeros_like(params)}

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads, last, moved = decayed(grads, params, weight_decay), state["second"], state["moved"]
        second = {n: rho * last[n] + (1 - rho) * grad * grad for n, grad in grads.items()}
        step = {
            n: ((moved[n] + eps).sqrt() / (second[n] + eps).sqrt()) * grad
            for n, grad in grads.items()
        }
        moved = {n: rho * moved[n] + (1 - rho) * value * value for n, value in step.items()}
        return {n: -value for n, value in step.items()}, {"second": second, "moved": moved}

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads = decayed(grads, params, weight_decay)
        for name, param in params.items():
            grad, moved = grads[name], state["moved"][name]
            second = state["second"][name].mul_(rho).addcmul_(grad, grad, value=1 - rho)
            step = (moved + eps).sqrt_().div_((second + eps).sqrt_()).mul_(grad)
            moved.mul_(rho).addcmul_(step, step, value=1 - rho)
            param.addcmul_(step, per_copy(lr, param), value=-1)

    return UpdateRule(init, update, move)
