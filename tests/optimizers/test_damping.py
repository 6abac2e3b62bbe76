"""The damping of a rule: kept in its state, each copy's own, torch's where all have one."""

from collections.abc import Callable, Iterable, Mapping

import pytest
import torch
from torch import Tensor

from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rule import DAMPING, VALUE, move_copies
from scaling_sweep.spec import OPTIMIZERS, OptimizerSpec
from scaling_sweep.training.copies import Point, stack_points

CPU = torch.device("cpu")
EPS = (1e-8, 1e-3, 0.5, 10.0)
LR, NUM_STEPS = 0.02, 30
Peer = Callable[[Iterable[Tensor], float], torch.optim.Optimizer]
PEERS: Mapping[str, Peer] = {
    "adam": lambda params, eps: torch.optim.Adam(params, LR, eps=eps),
    "adamw": lambda params, eps: torch.optim.AdamW(params, LR, eps=eps),
    "rmsprop": lambda params, eps: torch.optim.RMSprop(params, LR, eps=eps),
    "nadam": lambda params, eps: torch.optim.NAdam(params, LR, eps=eps),
    "radam": lambda params, eps: torch.optim.RAdam(params, LR, eps=eps),
    "adagrad": lambda params, eps: torch.optim.Adagrad(params, LR, eps=eps),
}
each_form = pytest.mark.parametrize("in_place", [True, False], ids=["move", "update"])


def first_params() -> dict[str, Tensor]:
    """Return a matrix and a vector in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (3, 2), "bias": (3,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def gradient(value: Tensor, step: int) -> Tensor:
    """Return a gradient that depends on where the parameters are and changes from step to step."""
    return torch.sin(2 * value) + 0.1 * step


@each_form
@pytest.mark.parametrize("name", PEERS)
def test_each_copy_moves_as_torch_does_with_its_own_eps(name: str, in_place: bool) -> None:
    """Copies that differ in damping alone end where torch.optim ends with each eps."""
    rule = make_rule(name)
    move = rule.move if in_place else None
    rule = type(rule)(rule.init, rule.update, move)
    points = [Point(first_params(), {})] * len(EPS)
    copies = stack_points(points, [LR] * len(EPS), rule, CPU, EPS)
    lr = torch.full((len(EPS),), LR, dtype=torch.float64)
    for step in range(NUM_STEPS):
        grads = {n: gradient(value, step) for n, value in copies.params.items()}
        move_copies(rule, copies.params, grads, copies.state, lr)

    for row, eps in enumerate(EPS):
        expected = first_params()
        peer = PEERS[name](expected.values(), eps)
        for step in range(NUM_STEPS):
            for value in expected.values():
                value.grad = gradient(value, step)
            peer.step()
        actual = {n: value[row] for n, value in copies.params.items()}
        # Torch keeps NAdam's product of momenta in float32.
        tolerance = 1e-7 if name == "nadam" else 1e-13
        torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rules_with_a_damping_are_those_the_sweep_file_may_search_it_for(name: str) -> None:
    """A rule keeps a damping exactly where the table says it has one, and begins with it."""
    spec = OptimizerSpec.model_validate(name)
    state = make_rule(name).init(first_params())

    assert (DAMPING in state) == (spec.damping is not None)
    if spec.damping is not None:
        assert state[DAMPING][VALUE].item() == spec.hyperparameters[spec.damping]


def test_a_rule_without_damping_cannot_be_given_one() -> None:
    """Stacking trials that have a damping under SGD is a mistake, not a silent nothing."""
    point = Point(first_params(), {})

    with pytest.raises(ValueError, match="no damping"):
        stack_points([point], [0.1], make_rule("sgd"), CPU, [1.0])


def test_a_state_from_before_there_was_a_damping_is_completed() -> None:
    """A trained point whose state has no damping takes the rule's own."""
    params = first_params()
    rule = make_rule("adam", {"eps": 0.25})
    old = {key: value for key, value in rule.init(params).items() if key != DAMPING}
    copies = stack_points([Point(params, {}, old)] * 2, [0.1, 0.2], rule, CPU)

    assert copies.state[DAMPING][VALUE].tolist() == [0.25, 0.25]
