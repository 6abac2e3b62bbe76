"""The Cauchy step: as far along the gradient as the mini-batch's own curvature asks for."""

import torch
from torch import Tensor

from scaling_sweep.krylov import Operator
from scaling_sweep.optimizers.curvature_rule import CurvatureRule, flatten_copies
from scaling_sweep.optimizers.rule import Parameters, State, per_copy

# Below this cosine between gradient and product, positive curvature is taken for chance (guess;
# with 0 instead, 2 of 12 digits trials at B = 1 and 8 took one step too far, LOG 2026-11-21).
_LEAST_COSINE = 0.1


def cauchy(refresh_every: float = 1) -> CurvatureRule:
    """Build ``direction = −α g`` with ``α = gᵀg / (gᵀ H_B g)``, the minimum along ``−g``.

    Reconstruction: the paper's own formulas were not reachable. This is Cauchy's steepest descent
    (1847), which the group's public code sets as learning rate once an epoch; ``lr`` multiplies
    ``α``, so 1 is the rule as it stands. On one mini-batch's quadratic, 2 is the edge.

    Where the curvature along the gradient is not positive there is no minimum, and where it is
    next to nothing the minimum lies beyond what a quadratic can tell. So where ``gᵀ H_B g`` is
    below a tenth of ``‖g‖ ‖H_B g‖``, ``α = ‖g‖ / ‖H_B g‖``, which is at most
    ``gᵀg / (gᵀ |H_B| g)``, the same step for the Hessian with all eigenvalues made positive. A
    convex quadratic is below only if its condition number is above 397 (Kantorovich's inequality).
    Where ``H_B g = 0``, ``α`` stays as it was, at first 0.

    Args:
        refresh_every: Steps for which one ``α`` is kept, a whole number, at least 1. With 1 each
            mini-batch sets its own.

    Returns:
        The rule.

    Example:
        >>> rule = cauchy()
        >>> grads, state = {"w": torch.tensor([[3.0, 4.0]])}, {"step": {"rate": torch.zeros(1)}}
        >>> rule.refresh(lambda vectors: 5 * vectors, grads, state)
        >>> state["step"]["rate"]
        tensor([0.2000])
    """

    def refresh(multiply: Operator, grads: Parameters, state: State) -> None:
        gradient = flatten_copies(grads)
        rate = state["step"]["rate"]
        rate.copy_(_rate(gradient.double(), multiply(gradient).double(), rate))

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        del params
        rate = state["step"]["rate"]
        return {name: -rate * grad for name, grad in grads.items()}, state

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        rate = lr * state["step"]["rate"]
        for name, param in params.items():
            param.addcmul_(grads[name], per_copy(rate, param), value=-1)

    return CurvatureRule(
        init=_init,
        update=update,
        move=move,
        refresh=refresh,
        refresh_every=int(refresh_every),
        num_kept=2,
    )


def _init(params: Parameters) -> State:
    rate: Tensor = next(iter(params.values())).new_zeros(())
    return {"step": {"rate": rate}}


def _rate(gradient: Tensor, product: Tensor, last: Tensor) -> Tensor:
    """Return each copy's step, shape ``[num_copies]``; not finite where the copy has diverged."""
    square, bend = gradient.square().sum(1), (gradient * product).sum(1)
    bound = square.sqrt() * product.norm(dim=1)
    rate = square / torch.where(bend < _LEAST_COSINE * bound, bound, bend)
    return torch.where(bound == 0, last.to(rate), rate)
