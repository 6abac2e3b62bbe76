"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), as torch defines it."""

import math

import torch
from torch import Tensor

from scaling_sweep.optimizers.adam import adamw
from scaling_sweep.optimizers.rule import Parameters, State, UpdateRule, per_copy

# Newton and Schulz's quintic, as Jordan tuned it; torch's default.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_EPS = 1e-7
_MATRICES, _OTHERS = "momentum", "others."


def muon(
    momentum: float = 0.95,
    ns_steps: float = 5,
    others_share: float = 0.015,
    weight_decay: float = 0.1,
) -> UpdateRule:
    """Build momentum whose matrices are made orthogonal, with AdamW for all that is no matrix.

    For a matrix of A rows and B columns ``v ← momentum · v + (1 − momentum) g``,
    ``direction = −√max(1, A/B) · NS((1 − momentum) g + momentum · v) − weight_decay · θ``, where
    ``NS`` takes the singular values near 1, in bf16 as torch does. What has not two dimensions,
    biases, norms and the kernels of convolutions, moves as AdamW's ``others_share · direction``,
    with its usual settings and this weight decay.

    Args:
        momentum: Share of the last velocity that is kept, in [0, 1).
        ns_steps: Newton-Schulz iterations, a whole number, at least 1.
        others_share: AdamW's learning rate as a share of Muon's: 3e-4 to 0.02, those of torch's
            own example.
        weight_decay: Decoupled decay per unit of lr, at least 0.

    Returns:
        The rule; for matrices the same as ``torch.optim.Muon``, with Nesterov's momentum.
    """
    others = adamw(weight_decay=weight_decay)
    assert others.move is not None
    others_move = others.move

    def init(params: Parameters) -> State:
        matrices, rest = _split(params, params)
        state = {_MATRICES: {name: torch.zeros_like(value) for name, value in matrices.items()}}
        inner = others.init(rest) if rest else {}
        return {**state, **{_OTHERS + moment: values for moment, values in inner.items()}}

    def update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
        matrices, rest = _split(params, grads)
        velocity = {
            n: torch.lerp(state[_MATRICES][n], grad, 1 - momentum) for n, grad in matrices.items()
        }
        direction = {
            n: -_stretch(grad) * _orthogonal(torch.lerp(grad, velocity[n], momentum), int(ns_steps))
            - weight_decay * params[n]
            for n, grad in matrices.items()
        }
        if not rest:
            return direction, {_MATRICES: velocity}
        moved, after = others.update(rest, _inner(state), params)
        direction |= {n: others_share * value for n, value in moved.items()}
        # In the parameters' order: copies of a pack are matched by it.
        direction = {n: direction[n] for n in params}
        return direction, {
            _MATRICES: velocity,
            **{_OTHERS + moment: values for moment, values in after.items()},
        }

    def move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
        matrices, rest = _split(params, grads, stacked=True)
        for name, grad in matrices.items():
            velocity = state[_MATRICES][name].lerp_(grad, 1 - momentum)
            ahead = _orthogonal(torch.lerp(grad, velocity, momentum), int(ns_steps))
            param = params[name].mul_(1 - per_copy(lr, grad) * weight_decay)
            param.addcmul_(ahead, per_copy(lr, grad), value=-_stretch(grad))
        if rest:
            own = {name: params[name] for name in rest}
            others_move(own, rest, _inner(state), others_share * lr)

    return UpdateRule(init, update, move)


def _split(
    params: Parameters, values: Parameters, *, stacked: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Part values by whether their parameter is a matrix."""
    num_dims = 2 + stacked
    matrices = {name: value for name, value in values.items() if params[name].dim() == num_dims}
    return matrices, {name: value for name, value in values.items() if name not in matrices}


def _inner(state: State) -> State:
    """Return AdamW's part of the state."""
    return {key.removeprefix(_OTHERS): v for key, v in state.items() if key != _MATRICES}


def _stretch(matrix: Tensor) -> float:
    """Return the factor that lets wide and tall matrices change alike."""
    return math.sqrt(max(1.0, matrix.shape[-2] / matrix.shape[-1]))


def _orthogonal(matrix: Tensor, num_steps: int) -> Tensor:
    """Bring singular values near 1: between about 0.7 and 1.2 after five steps; of stacks too."""
    tall = matrix.shape[-2] > matrix.shape[-1]
    wide = matrix.to(torch.bfloat16)
    wide = wide.mT if tall else wide
    wide = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPS)
    add = torch.addmm if wide.dim() == 2 else torch.baddbmm
    for _ in range(num_steps):
        gram = wide @ wide.mT
        wide = add(wide, add(gram, gram, gram, beta=_B, alpha=_C), wide, beta=_A)
    return (wide.mT if tall else wide).to(matrix.dtype)
