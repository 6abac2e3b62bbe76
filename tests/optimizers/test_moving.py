"""The fast form of each rule does what its defining form does."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rule import UpdateRule, move_copies, square_root

CASES: list[tuple[str, Mapping[str, float | str]]] = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.1}),
    ("momentum", {}),
    ("momentum", {"momentum": 0.5, "weight_decay": 0.1}),
    ("nesterov", {}),
    ("nesterov", {"momentum": 0.5, "weight_decay": 0.1}),
    ("adam", {}),
    ("adam", {"beta1": 0.0, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.3, "eps": 1e-3}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    ("adagrad", {}),
    ("adagrad", {"lr_decay": 0.3, "eps": 1e-2, "weight_decay": 0.1}),
    ("adadelta", {}),
    ("adadelta", {"rho": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    ("nadam", {}),
    ("nadam", {"beta1": 0.5, "beta2": 0.9, "eps": 1e-2, "momentum_decay": 0.1}),
    ("nadam", {"weight_decay": 0.1}),
    ("radam", {}),
    ("radam", {"beta1": 0.5, "beta2": 0.9, "eps": 1e-2, "weight_decay": 0.1}),
    ("adamax", {}),
    ("adamax", {"beta1": 0.5, "beta2": 0.9, "eps": 1e-2, "weight_decay": 0.1}),
    ("cauchy", {}),
    ("slq", {}),
]


def trajectory(rule: UpdateRule) -> dict[str, Tensor]:
    """Move three copies with their own rates twenty times along seeded gradients."""
    generator = torch.Generator().manual_seed(0)

    def draw() -> dict[str, Tensor]:
        shapes = {"weight": (3, 4, 2), "bias": (3, 2)}
        return {
            name: torch.randn(shape, generator=generator, dtype=torch.float64)
            for name, shape in shapes.items()
        }

    params, scales = draw(), torch.linspace(0.1, 4.0, 10, dtype=torch.float64)
    state = torch.func.vmap(rule.init)(params)
    state = {
        moment: {name: value.clone() for name, value in values.items()}
        for moment, values in state.items()
    }
    for _ in range(20):
        grads = draw()
        if isinstance(rule, CurvatureRule):
            rule.refresh(lambda vectors: vectors * scales, grads, state)
        move_copies(rule, params, grads, state, torch.tensor([0.0, 0.01, 0.3]))
    return {**params, **{f"{m}.{n}": v for m, values in state.items() for n, v in values.items()}}


@pytest.mark.parametrize(("name", "hyperparameters"), CASES)
def test_moving_in_place_equals_the_pure_rule(
    name: str, hyperparameters: Mapping[str, float | str]
) -> None:
    """Parameters and moments after twenty steps are the same, whichever form moved them."""
    rule = make_rule(name, hyperparameters)
    assert rule.move is not None
    expected = trajectory(replace(rule, move=None))
    actual = trajectory(rule)
    assert expected.keys() == actual.keys()
    for key, value in expected.items():
        torch.testing.assert_close(actual[key], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_square_roots_are_right_from_zero_to_the_largest(dtype: torch.dtype) -> None:
    """Zero, subnormal, ordinary and huge numbers have the root that Python finds."""
    kind = torch.finfo(dtype)
    numbers = [0.0, kind.smallest_normal / 64, kind.smallest_normal, 1e-30, 0.3, 2.0, kind.max / 3]
    values = torch.tensor(numbers, dtype=dtype)
    expected = [math.sqrt(value) for value in values.tolist()]
    found = square_root(values)
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=dtype), rtol=2 * kind.eps, atol=0
    )


def test_square_roots_lie_as_what_they_are_of() -> None:
    """Roots of a turned matrix lie column by column too, as the moments they are added to."""
    values = torch.rand(3, 4, 5).mT.contiguous().mT
    assert square_root(values).stride() == values.stride()
