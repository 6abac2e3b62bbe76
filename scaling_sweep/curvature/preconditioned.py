"""Sharpness as an adaptive optimizer sees it: the top of ``P^{-1/2} H P^{-1/2}``.

Adam-like rules move by ``P⁻¹`` times a gradient, ``P = diag(√v̂ + ε)``, so what decides their
stability is the curvature in the coordinates ``P^{1/2} θ`` (Cohen et al. 2022, arXiv:2207.14484).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scaling_sweep.curvature.batch_hessians import BatchSpectrum
from scaling_sweep.curvature.lanczos import Eigenpair
from scaling_sweep.curvature.objective import Objective
from scaling_sweep.curvature.operators import lane_gradients
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.workspace import Workspace
from scaling_sweep.optimizers.adam import adam, adamw
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rmsprop import rmsprop
from scaling_sweep.optimizers.rule import State, UpdateRule

# The rules whose direction is a gradient over ``√v + ε``, and their decay of ``v`` where the first
# steps are corrected for.
_ADAPTIVE: Mapping[str, Callable[..., UpdateRule]] = {
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
}
ADAPTIVE_OPTIMIZERS = tuple(_ADAPTIVE)
_POINT = "point"  # the one parameter of a flat model, for update rules


@dataclass(frozen=True)
class AdaptiveOptimizer:
    """An Adam-like optimizer.

    Attributes:
        name: One of ``ADAPTIVE_OPTIMIZERS``.
        hyperparameters: By name; those left out take their usual values.
    """

    name: str
    hyperparameters: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the name."""
        if self.name not in _ADAPTIVE:
            raise ValueError(
                f"{self.name!r} has no second moment to precondition by; "
                f"those that have are {', '.join(ADAPTIVE_OPTIMIZERS)}."
            )

    def preconditioner(self, state: State) -> dict[str, Tensor]:
        """Return ``√v̂ + ε`` of each parameter from the optimizer's state.

        Args:
            state: As the rule left it, after at least one step.

        Returns:
            Positive tensors by name.

        Example:
            >>> state = {"second": {"w": torch.tensor([0.04])}}
            >>> AdaptiveOptimizer("rmsprop", {"eps": 0.0}).preconditioner(state)["w"]
            tensor([0.2000])
        """
        correction = torch.ones(())
        if "count" in state:
            num_steps = state["count"]["num_steps"]
            correction = 1 - self._hyperparameter("beta2") ** num_steps
        eps = self._hyperparameter("eps")
        return {
            name: (second / correction.to(second)).sqrt() + eps
            for name, second in state["second"].items()
        }

    def _hyperparameter(self, name: str) -> float:
        usual = inspect.signature(_ADAPTIVE[self.name]).parameters[name].default
        return float(self.hyperparameters.get(name, usual))


@dataclass(frozen=True)
class PreconditionedSharpness:
    """The largest eigenvalue of ``P^{-1/2} H P^{-1/2}``.

    Attributes:
        optimizer: Whose preconditioner.
        batch_size: Examples of each batch that fed it; None where its state came with the point.
        top: The eigenvalue, with its vector in the optimizer's coordinates and its residual.
        num_products: Hessian-vector products used.
        batches: The same of mini-batches of ``batch_size``; None where that is None.
    """

    optimizer: AdaptiveOptimizer
    batch_size: int | None
    top: Eigenpair
    num_products: int
    batches: BatchSpectrum | None = None


def gather_moments(
    objective: Objective,
    population: Population,
    optimizer: AdaptiveOptimizer,
    batch_size: int,
    num_steps: int,
    generator: torch.Generator,
    workspace: Workspace,
) -> Tensor:
    """Let an optimizer see batches at a frozen point and return its preconditioner.

    The point stays, so that preconditioner and Hessian belong together; after many steps ``v̂`` is
    ``G² + diag Σ / B``, which is how it depends on batch size.

    Args:
        objective: The point.
        population: Where batches come from.
        optimizer: Whose moments.
        batch_size: Examples in each batch.
        num_steps: Batches, at least 1.
        generator: Draws them.
        workspace: How much memory.

    Returns:
        Shape ``[size]``, ``√v̂ + ε``.
    """
    rule = make_rule(optimizer.name, optimizer.hyperparameters)
    params = {_POINT: objective.vector}
    state = rule.init(params)
    for _ in range(num_steps):
        batch = population.draw(1, batch_size, generator)
        gradient = next(lane_gradients(objective, batch, workspace))[0]
        _, state = rule.update({_POINT: gradient}, state, params)
    return optimizer.preconditioner(state)[_POINT]
