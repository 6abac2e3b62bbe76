"""Learning rate and momentum on the fly, from Lanczos runs on the mini-batch's Hessian.

Reconstruction: Granziol, Zohren and Roberts (arXiv:2006.09092) name a learner that sets both by
stochastic Lanczos quadrature; the paper's own formulas were not reachable. What is here is the
textbook optimum for a quadratic (Polyak 1964) fed with Ritz values, and a correction for batch
noise derived below.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_sweep.krylov import Operator, draw_starts
from scaling_sweep.optimizers.curvature_rule import (
    CurvatureRule,
    build_copies_krylov,
    combine,
    flatten_copies,
    split_copies,
)
from scaling_sweep.optimizers.rule import Parameters, State, per_copy, zeros_like

# One probe for all copies, steps and trials: what differs between them is curvature, not chance.
_PROBE_SEED = 0
# A Ritz value with less spectral weight is a filler of a complete Krylov space. Fillers have
# squares of rounding, 1e-32; an eigenvalue among 10⁷ has about 1e-7 (guess, between the two).
_FILLER_WEIGHT = 1e-24
# What one refresh keeps of those before it: a memory of ten refreshes (guess).
_DECAY = 0.9
# Curvature along last time's top direction is taken to be at least this share of the product's
# length: it may be negative by chance, and the step may not (guess).
_LEAST_SHARE = 0.01
_NUMBERS = ("rate", "momentum", "largest", "bend", "square", "weight")


@dataclass(frozen=True)
class _Look:
    """What one refresh sees, float64 on the CPU, ``NaN`` for copies whose products overflow.

    Attributes:
        top: Shape ``[num_copies]``, largest absolute Ritz value.
        low: Shape ``[num_copies]``, the chosen ``λ_n``, at most ``top``.
        vector: Shape ``[num_copies, size]``, the unit Ritz vector of ``top``, on the device.
    """

    top: Tensor
    low: Tensor
    vector: Tensor


def slq(
    num_lanczos: float = 10,
    refresh_every: float = 10,
    lambda_n: str = "bulk",
    batch_noise: str = "mean_square",
    safety: float = 0.5,
    max_momentum: float = 0.9,
) -> CurvatureRule:
    """Build heavy ball, ``v ← β v + g``, ``direction = −α v``, with ``α`` and ``β`` measured.

    Reconstruction: the paper's own formulas were not reachable. From the Ritz values of the
    mini-batch's Hessian, ``κ = λ₁/λ_n``, ``β = ((√κ − 1)/(√κ + 1))²`` and
    ``α = safety · (2/(√λ + √(λ/κ)))²``, where ``λ`` is ``λ₁`` corrected for batch noise. ``lr``
    multiplies ``α``, so 1 is the rule out of the box. Without noise and with ``safety`` 1, the
    edge of the multiplier is ``2 (1 + β)/(α λ₁) = 1 + 1/κ``: the optimum borders on instability.

    ``λ_n``: ``bulk`` takes the absolute value of the lowest Ritz value. Where the Hessian is
    positive that is the textbook's ``λ_n``; otherwise it is the left end of the bulk, which under
    the spiked Wigner model is as wide on both sides [derived]. ``smallest`` takes the smallest
    absolute Ritz value.

    Batch noise: ``batch`` takes ``λ = λ₁(H_B)`` as it is. ``largest`` takes the largest so far,
    decayed by a tenth at each refresh. ``mean_square`` asks that heavy ball be mean-square stable
    in the top direction ``u`` of the mini-batch before: with ``m = E uᵀH_B u`` and
    ``s² = E‖H_B u‖² − m²``, both decayed means, the edge of ``w ← w − η v`` with curvature of mean
    ``m`` and variance ``s²`` is ``2 (1 + β)/λ``, ``λ = m + (s²/m)(1 + β)/(1 − β)`` [derived: the
    variance of a second-order recursion with a random coefficient]. It runs from
    ``2 (1 + β)/m`` at large batches to ``2 (1 − β) m/s²`` at small ones. At the first refresh,
    where there is no mini-batch before, noise is taken to be as large as curvature, ``s = m``.

    Where no curvature is found at all, ``α`` and ``β`` stay as they were, at first 0.

    Args:
        num_lanczos: Hessian-vector products of a refresh, a whole number, at least 2.
        refresh_every: Steps from one refresh to the next, a whole number, at least 1.
        lambda_n: ``bulk`` or ``smallest``.
        batch_noise: ``mean_square``, ``largest`` or ``batch``.
        safety: Factor on ``α``, above 0. A half leaves room for what sharpens between refreshes
            (guess).
        max_momentum: Bound on ``β``, in [0, 1), kept by raising ``λ_n``. A mini-batch smaller than
            the model has ``λ_n = 0`` and would keep its velocity for ever.

    Returns:
        The rule.

    Raises:
        ValueError: If a word is not one of those above. A sweep file is checked before.
    """
    if lambda_n not in {"bulk", "smallest"}:
        raise ValueError(f"lambda_n must be bulk or smallest, got {lambda_n!r}.")
    if batch_noise not in {"mean_square", "largest", "batch"}:
        raise ValueError(f"batch_noise must be mean_square, largest or batch, got {batch_noise!r}.")

    def refresh(multiply: Operator, grads: Parameters, state: State) -> None:
        gradient = flatten_copies(grads)
        look = _look(multiply, gradient, int(num_lanczos), lambda_n)
        numbers = {name: state["numbers"][name].double().cpu() for name in _NUMBERS}
        condition = look.top / look.low.maximum(look.top / _condition(max_momentum))
        beta = ((condition.sqrt() - 1) / (condition.sqrt() + 1)).square()
        top = look.top
        if batch_noise == "largest":
            top = numbers["largest"] = torch.maximum(look.top, _DECAY * numbers["largest"])
        elif batch_noise == "mean_square":
            last = flatten_copies(state["top"])
            _gather(numbers, last, multiply(last))
            top = _mean_square(numbers, look.top, beta)
        alpha = safety * (2 / (top.sqrt() + (top / condition).sqrt())).square()
        curved = look.top != 0  # true of NaN
        numbers["rate"] = torch.where(curved, alpha, numbers["rate"])
        numbers["momentum"] = torch.where(curved, beta, numbers["momentum"])
        for name, value in numbers.items():
            state["numbers"][name].copy_(value)
        for name, value in split_copies(look.vector, grads).items():
            state["top"][name].copy_(value)

    return CurvatureRule(
        init=_init,
        update=_update,
        move=_move,
        refresh=refresh,
        refresh_every=int(refresh_every),
        num_kept=int(num_lanczos) + 4,
    )


def _init(params: Parameters) -> State:
    like = next(iter(params.values()))
    return {
        "velocity": zeros_like(params),
        "top": zeros_like(params),
        "numbers": {name: like.new_zeros(()) for name in _NUMBERS},
    }


def _update(grads: Parameters, state: State, params: Parameters) -> tuple[Parameters, State]:
    del params
    rate, momentum = state["numbers"]["rate"], state["numbers"]["momentum"]
    velocity = {name: momentum * state["velocity"][name] + grad for name, grad in grads.items()}
    direction = {name: -rate * value for name, value in velocity.items()}
    return direction, {**state, "velocity": velocity}


def _move(params: Parameters, grads: Parameters, state: State, lr: Tensor) -> None:
    rate, momentum = lr * state["numbers"]["rate"], state["numbers"]["momentum"]
    for name, param in params.items():
        velocity = state["velocity"][name].mul_(per_copy(momentum, param)).add_(grads[name])
        param.addcmul_(velocity, per_copy(rate, param), value=-1)


def _look(multiply: Operator, like: Tensor, num_steps: int, lambda_n: str) -> _Look:
    """Run Lanczos on every copy from one probe and read off both ends of the spectrum."""
    probe = draw_starts(1, like, torch.Generator().manual_seed(_PROBE_SEED))
    krylov, finite = build_copies_krylov(multiply, probe.expand(len(like), -1), num_steps)
    ritz = krylov.ritz()
    sizes = ritz.values.abs()
    top, place = sizes.max(1)
    filler = ritz.vectors[:, 0, :].square() < _FILLER_WEIGHT
    if lambda_n == "smallest":
        low = sizes.masked_fill(filler, torch.inf).amin(1)
    else:
        low = ritz.values.masked_fill(filler, torch.inf).amin(1).abs()
    low = torch.minimum(low, top)
    coordinates = ritz.vectors[torch.arange(len(place)), :, place]
    vector = combine(coordinates, krylov, like.shape[1])
    lost = ~finite
    return _Look(top.masked_fill(lost, torch.nan), low.masked_fill(lost, torch.nan), vector)


def _condition(max_momentum: float) -> float:
    """Return the ``κ`` whose ``β`` is the largest allowed, solved for ``√κ``."""
    root = math.sqrt(max_momentum)
    return ((1 + root) / (1 - root)) ** 2


def _gather(numbers: dict[str, Tensor], vectors: Tensor, products: Tensor) -> None:
    """Add curvature along the last top directions to its decayed sums; none at first."""
    known = (vectors != 0).any(1).double().cpu()
    bend = (vectors.double() * products.double()).sum(1).cpu()
    square = products.double().square().sum(1).cpu()
    for name, value in (("bend", bend), ("square", square), ("weight", torch.ones_like(bend))):
        numbers[name] = _DECAY * numbers[name] + known * value


def _mean_square(numbers: dict[str, Tensor], top: Tensor, beta: Tensor) -> Tensor:
    """Return the curvature that, without noise, has the mean-square edge of the noisy one."""
    begun = numbers["weight"] > 0
    weight = torch.where(begun, numbers["weight"], 1.0)
    square = torch.where(begun, numbers["square"] / weight, 2 * top.square())
    mean = torch.where(begun, numbers["bend"] / weight, top)
    mean = mean.maximum(_LEAST_SHARE * square.sqrt())
    noise = (square - mean.square()).clamp_min(0)
    return mean + noise / mean * (1 + beta) / (1 - beta)
