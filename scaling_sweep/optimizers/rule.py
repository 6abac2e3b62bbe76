"""The form every update rule has: pure functions on the parameters of one model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Parameters: TypeAlias = Mapping[str, Tensor]
State: TypeAlias = Mapping[str, Mapping[str, Tensor]]
# A rule that is damped keeps its damping in its state, where each copy of a pack may have its own.
DAMPING, VALUE = "damping", "value"


@dataclass(frozen=True)
class UpdateRule:
    """An optimizer without its learning rate, in the manner of optax.

    The parameters move by ``lr × direction``; ``update`` knows no ``lr``, so one rule serves all
    trials of a pack. It is what defines the rule; ``move`` is the same written for speed.

    Attributes:
        init: ``init(params) -> state``: moments by name of moment and of parameter.
        update: ``update(grads, state, params) -> (direction, state)``, pure, for one model.
        move: ``move(params, grads, state, lr)`` moves stacked copies and their state in place;
            None has ``move_copies`` map ``update`` over the copies instead.

    Example:
        >>> descent = UpdateRule(lambda params: {}, lambda grads, state, params: (
        ...     {name: -grad for name, grad in grads.items()}, state))
        >>> direction, _ = descent.update({"w": torch.ones(2)}, {}, {"w": torch.zeros(2)})
        >>> direction["w"]
        tensor([-1., -1.])
    """

    init: Callable[[Parameters], State]
    update: Callable[[Parameters, State, Parameters], tuple[Parameters, State]]
    move: Callable[[Parameters, Parameters, State, Tensor], None] | None = None


def move_copies(
    rule: UpdateRule, params: Parameters, grads: Parameters, state: State, lr: Tensor
) -> None:
    """Move stacked copies by ``lr × direction``, and their state, in place.

    Args:
        rule: The optimizer.
        params: Shape ``[num_copies, ...]`` each.
        grads: Shape ``[num_copies, ...]`` each.
        state: Shape ``[num_copies, ...]`` each.
        lr: Shape ``[num_copies]``.

    Example:
        >>> weights = {"w": torch.zeros(2, 1)}
        >>> rule = UpdateRule(lambda params: {}, lambda grads, state, params: (grads, state))
        >>> move_copies(rule, weights, {"w": torch.ones(2, 1)}, {}, torch.tensor([0.1, 0.5]))
        >>> weights["w"].flatten()
        tensor([0.1000, 0.5000])
    """
    if rule.move is not None:
        rule.move(params, grads, state, lr)
        return
    direction, moved = torch.func.vmap(rule.update)(grads, state, params)
    for name, value in params.items():
        value.addcmul_(direction[name], per_copy(lr, value))
    for moment, values in state.items():
        for name, value in values.items():
            value.copy_(moved[moment][name])


def per_copy(numbers: Tensor, like: Tensor) -> Tensor:
    """Give one number per copy the dimensions and type to multiply a stacked tensor with."""
    return numbers.view(-1, *[1] * (like.dim() - 1)).to(like.dtype)


def square_root(values: Tensor) -> Tensor:
    """Return ``√values`` to a rounding or two, as fast for zeros and tiny numbers as for any.

    On a CPU torch gives square roots to MKL's vector library, which takes 5 times as long for
    zeros and 30 times for subnormal numbers (measured, LOG 2026-11-21); second moments of units
    that never fire are such numbers.

    Args:
        values: At least 0, of any shape.

    Returns:
        A new tensor, laid out as ``values``.

    Example:
        >>> square_root(torch.tensor([0.0, 4.0, torch.inf]))
        tensor([0., 2., inf])
    """
    return values.sqrt() if values.is_cuda else values.rsqrt().reciprocal_()


def zeros_like(params: Parameters) -> dict[str, Tensor]:
    """Return zeros of each parameter's shape, the usual first value of a moment."""
    return {name: torch.zeros_like(value) for name, value in params.items()}


def damping_state(params: Parameters, value: float) -> dict[str, Tensor]:
    """Return what a damped rule keeps as ``state["damping"]``: the number, as a scalar tensor."""
    return {VALUE: next(iter(params.values())).new_tensor(value)}


def decayed(grads: Parameters, params: Parameters, weight_decay: float) -> Parameters:
    """Return the gradients of ``loss + ½ weight_decay ‖params‖²``: coupled weight decay."""
    if weight_decay == 0:
        return grads
    return {name: grad + weight_decay * params[name] for name, grad in grads.items()}
