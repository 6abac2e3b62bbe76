"""A damped Newton step, solved in the Krylov space of the mini-batch's gradient."""

import torch
from torch import Tensor

from scaling_sweep.krylov import Operator
from scaling_sweep.optimizers.curvature_rule import (
    CurvatureRule,
    build_copies_krylov,
    combine,
    flatten_copies,
    split_copies,
)
from scaling_sweep.optimizers.rule import (
    DAMPING,
    VALUE,
    Parameters,
    State,
    damping_state,
    zeros_like,
)


def newton(num_lanczos: float = 10, damping: float = 1.0) -> CurvatureRule:
    """Build ``direction = −(|H_B| + damping)⁻¹ g``, gradient and Hessian of one mini-batch.

    ``|H|`` has the absolute eigenvalues of ``H``: the direction leads downhill whatever the signs
    (Dauphin et al. 2014, arXiv:1406.2572). The inverse is Lanczos' approximation of a matrix
    function, ``‖g‖ Q f(T) e₁`` after ``num_lanczos`` steps from ``g``: exact once the Krylov space
    is complete, and within it the directions that ``g`` has a share in come first. A diagonal by
    Hutchinson's probes was the other choice: it needs many probes, is wrong by the off-diagonal
    part however many there are, and would bring a noise of its own into what the sweep measures.

    The Hessian is looked at in every step, because an inverse that belongs to another mini-batch
    does not know the directions of this one's gradient.

    Args:
        num_lanczos: Hessian-vector products in each step, a whole number, at least 1.
        damping: Added to ``|H_B|``, above 0; in units of curvature. Kept in the state, where each
            copy may have its own.

    Returns:
        The rule.
    """

    def init(params: Parameters) -> State:
        return {"newton": zeros_like(params), DAMPING: damping_state(params, damping)}

    def refresh(multiply: Operator, grads: Parameters, state: State) -> None:
        gradient = flatten_copies(grads)
        solution = _solve(multiply, gradient, state[DAMPING][VALUE], int(num_lanczos))
        for name, value in split_copies(solution, grads).items():
            state["newton"][name].copy_(value)

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        del grads, params  # refresh has turned the gradient of this step into the state
        return {name: -value for name, value in state["newton"].items()}, state

    return CurvatureRule(
        init=init, update=update, refresh=refresh, refresh_every=1, num_kept=int(num_lanczos) + 2
    )


def _solve(multiply: Operator, gradient: Tensor, damping: Tensor, num_steps: int) -> Tensor:
    """Return ``(|H| + damping)⁻¹ g`` of each copy; NaN where products overflow.

    Args:
        multiply: The Hessians.
        gradient: Shape ``[num_copies, size]``.
        damping: Shape ``[num_copies]``, positive.
        num_steps: Of Lanczos.

    Returns:
        Shape ``[num_copies, size]``.
    """
    norm = gradient.norm(dim=1)
    starts = torch.where(norm[:, None] > 0, gradient / norm[:, None], 0.0)
    krylov, finite = build_copies_krylov(multiply, starts, num_steps)
    ritz = krylov.ritz()
    scale = norm.double().cpu()[:, None] / (ritz.values.abs() + damping.double().cpu()[:, None])
    coordinates = torch.einsum("lij,lj->li", ritz.vectors, ritz.vectors[:, 0, :] * scale)
    coordinates[~finite] = torch.nan
    return combine(coordinates, krylov, gradient.shape[1])
