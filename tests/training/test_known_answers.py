"""Edges that are known exactly, found by training packs on both sides of them."""

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.planning import plan_packs
from scaling_sweep.tasks.least_squares import least_squares
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.pack import train_pack
from tests.training.cases import make_spec, train_only

# Eigenvalues of the Hessian of the quadratic below.
CURVATURES = (4.0, 1.0, 0.25)
BETA = 0.8


def half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return half the mean square error, whose Hessian is XᵀX / N."""
    return 0.5 * (outputs - targets).square().mean()


def quadratic() -> Task:
    """Return a linear regression whose Hessian is diagonal with the curvatures above."""
    # Orthogonal columns of ±1: XᵀX / N is the identity before scaling.
    hadamard = torch.tensor([[1.0, 1, 1], [1, -1, 1], [1, 1, -1], [1, -1, -1]])
    inputs = hadamard * torch.tensor(CURVATURES).sqrt()
    return Task(
        "own",
        "A quadratic.",
        lambda: nn.Linear(3, 1, bias=False),
        half_square,
        inputs=inputs,
        targets=torch.zeros(4, 1),
    )


@pytest.mark.parametrize(
    ("optimizer", "edge"),
    [
        ("sgd", 2 / 4.0),
        ({"name": "momentum", "momentum": BETA}, 2 * (1 + BETA) / 4.0),
        # z² − (1 + β)(1 − ηλ) z + β(1 − ηλ) has its root at −1 there.
        ({"name": "nesterov", "momentum": BETA}, 2 * (1 + BETA) / (1 + 2 * BETA) / 4.0),
    ],
    ids=["sgd", "momentum", "nesterov"],
)
@pytest.mark.parametrize("engine", ["vmap", "loop"])
def test_the_full_batch_edge_of_a_quadratic(optimizer: object, edge: float, engine: str) -> None:
    """One per cent below the known edge every seed is stable, one per cent above none is."""
    spec = make_spec(
        [optimizer],
        batch_sizes=(4,),
        lrs=(0.5 * edge, 0.99 * edge, 1.01 * edge),
        steps=800,
        seeds=3,
        sampling="epoch",
        stability={"max_loss_ratio": 1.0},
        engine=engine,
    )
    result = train_only(spec, quadratic())

    for trial, record in zip(result.pack.trials, result.records, strict=True):
        assert record.verdict == ("stable" if trial.lr < edge else "diverged")


def test_gradient_descent_shrinks_each_direction_by_its_own_factor() -> None:
    """After k full-batch steps the loss is ½ Σ λ (1 − ηλ)^2k w², with the weights it began at."""
    from scaling_sweep.training.pack import initial_model

    task, num_steps = quadratic(), 12
    spec = make_spec(
        batch_sizes=(4,), lrs=(0.1, 0.3, 0.6), steps=num_steps, sampling="epoch", engine="vmap"
    )
    result = train_only(spec, task)
    curvatures = torch.tensor(CURVATURES, dtype=torch.float64)

    for trial, record in zip(result.pack.trials, result.records, strict=True):
        weight = initial_model(task, spec, trial.seed).weight.detach().double().flatten()
        after = weight * (1 - trial.lr * curvatures) ** num_steps
        expected = 0.5 * (curvatures * after.square()).sum().item()
        assert record.final_loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_the_least_squares_edge_is_the_known_one(batch_size: int) -> None:
    """In 64 dimensions the median edge of six seeds lies within 5 % of 2B / (B + d + 1)."""
    edge = 2 * batch_size / (batch_size + 64 + 1)
    spec = make_spec(
        batch_sizes=(batch_size,),
        lrs=(0.95 * edge, 1.05 * edge),
        steps=2000,
        seeds=6,
        stability={"max_loss_ratio": 1.0},
        engine="vmap",
    )
    task = least_squares(dim=64)
    (pack,) = plan_packs(spec)
    result = train_pack(pack, spec, task)
    num_stable = {
        lr: sum(
            record.verdict == "stable"
            for trial, record in zip(pack.trials, result.records, strict=True)
            if trial.lr == lr
        )
        for lr in spec.lrs_for(spec.optimizers[0])
    }

    below, above = num_stable.values()
    assert below >= 4
    assert above <= 2
