"""RMSprop (Hinton's Coursera lectures, 2012), as torch defines it."""

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


def rmsprop(alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0) -> UpdateRule:
    """Build ``v ← alpha · v + (1 − alpha) g²``, ``direction = −g / (√v + eps)``.

    Args:
        alpha: Decay of the second moment, in [0, 1).
        eps: Added to ``√v``, at least 0; in units of the gradient. Its damping, so it is kept in
            the state, where each copy may have its own.
        weight_decay: Coupled decay, at least 0.

    Returns:
        The rule, the same as ``torch.optim.RMSprop`` without momentum or centring.
    """

    def init(params: Parameters) -> State:
        return {"second": zeros_like(params), DAMPING: damping_state(params, eps)}

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        grads = decayed(grads, params, weight_decay)
        last, damping = state["second"], state[DAMPING][VALUE]
        second = {n: alpha * last[n] + (1 - alpha) * grad * grad for n, grad in grads.items()}
        direction = {n: -grad / (second[n].sqrt() + damping) for n, grad in grads.items()}
        return direction, {**state, "second": second}

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        grads, damping = decayed(grads, params, weight_decay), state[DAMPING][VALUE]
        for name, param in params.items():
            grad = grads[name]
            second = state["second"][name].mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
            step = square_root(second).add_(per_copy(damping, param)).reciprocal_().mul_(grad)
            param.addcmul_(step, per_copy(lr, param), value=-1)

    return UpdateRule(init, update, move)
