"""Every update rule against ``torch.optim``, under vmap, and against what the sweep file knows."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import torch
from torch import Tensor

from scaling_sweep.optimizers import making
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rule import move_copies
from scaling_sweep.spec import OPTIMIZERS

NUM_STEPS = 50
LR = 0.02


class Stepper(Protocol):
    """What the tests need of an optimizer of torch's."""

    param_groups: list[dict[str, Any]]

    def step(self) -> object:
        """Move the parameters by their gradients."""


Step = Callable[[Iterable[Tensor]], Stepper]


@dataclass(frozen=True)
class Case:
    """A rule and the torch optimizer it must equal.

    Attributes:
        name: As the sweep file writes it.
        hyperparameters: As the sweep file writes them.
        peer: Builds torch's.
    """

    name: str
    hyperparameters: Mapping[str, float]
    peer: Step


class MuonAndAdamW:
    """torch's two optimizers side by side, as torch's own example of Muon has them."""

    def __init__(
        self, params: Iterable[Tensor], more: dict[str, Any], others_share: float = 0.015
    ) -> None:
        params = list(params)
        self._muon = torch.optim.Muon([p for p in params if p.dim() == 2] or params, LR, **more)
        decay = self._muon.param_groups[0]["weight_decay"]
        rest = [p for p in params if p.dim() != 2]
        self._adamw = torch.optim.AdamW(rest, weight_decay=decay) if rest else None
        self._share = others_share
        self.param_groups = self._muon.param_groups

    def step(self) -> None:
        """Move both, AdamW at its share of the learning rate."""
        self._muon.step()
        if self._adamw is not None:
            self._adamw.param_groups[0]["lr"] = self._share * self.param_groups[0]["lr"]
            self._adamw.step()


CASES = [
    Case("sgd", {}, lambda p: torch.optim.SGD(p, LR)),
    Case("sgd", {"weight_decay": 0.3}, lambda p: torch.optim.SGD(p, LR, weight_decay=0.3)),
    Case("momentum", {}, lambda p: torch.optim.SGD(p, LR, momentum=0.9)),
    Case(
        "momentum",
        {"momentum": 0.5, "weight_decay": 0.3},
        lambda p: torch.optim.SGD(p, LR, momentum=0.5, weight_decay=0.3),
    ),
    Case("nesterov", {}, lambda p: torch.optim.SGD(p, LR, momentum=0.9, nesterov=True)),
    Case(
        "nesterov",
        {"momentum": 0.5, "weight_decay": 0.3},
        lambda p: torch.optim.SGD(p, LR, momentum=0.5, weight_decay=0.3, nesterov=True),
    ),
    Case("adam", {}, lambda p: torch.optim.Adam(p, LR)),
    Case(
        "adam",
        {"beta1": 0.5, "beta2": 0.8, "eps": 1e-2, "weight_decay": 0.3},
        lambda p: torch.optim.Adam(p, LR, (0.5, 0.8), 1e-2, 0.3),
    ),
    Case("adamw", {}, lambda p: torch.optim.AdamW(p, LR)),
    Case(
        "adamw",
        {"beta1": 0.5, "beta2": 0.8, "eps": 1e-2, "weight_decay": 0.3},
        lambda p: torch.optim.AdamW(p, LR, (0.5, 0.8), 1e-2, 0.3),
    ),
    Case("rmsprop", {}, lambda p: torch.optim.RMSprop(p, LR)),
    Case(
        "rmsprop",
        {"alpha": 0.7, "eps": 1e-2, "weight_decay": 0.3},
        lambda p: torch.optim.RMSprop(p, LR, alpha=0.7, eps=1e-2, weight_decay=0.3),
    ),
    Case("nadam", {}, lambda p: torch.optim.NAdam(p, LR)),
    Case(
        "nadam",
        {"beta1": 0.5, "beta2": 0.8, "eps": 1e-2, "weight_decay": 0.3, "momentum_decay": 0.1},
        lambda p: torch.optim.NAdam(p, LR, (0.5, 0.8), 1e-2, 0.3, 0.1),
    ),
    Case("radam", {}, lambda p: torch.optim.RAdam(p, LR)),
    Case(
        "radam",
        {"beta1": 0.5, "beta2": 0.8, "eps": 1e-2, "weight_decay": 0.3},
        lambda p: torch.optim.RAdam(p, LR, (0.5, 0.8), 1e-2, 0.3),
    ),
    Case("adamax", {}, lambda p: torch.optim.Adamax(p, LR)),
    Case(
        "adamax",
        {"beta1": 0.5, "beta2": 0.8, "eps": 1e-2, "weight_decay": 0.3},
        lambda p: torch.optim.Adamax(p, LR, (0.5, 0.8), 1e-2, 0.3),
    ),
    Case("adagrad", {}, lambda p: torch.optim.Adagrad(p, LR)),
    Case(
        "adagrad",
        {"eps": 1e-2, "weight_decay": 0.3, "lr_decay": 0.1},
        lambda p: torch.optim.Adagrad(p, LR, 0.1, 0.3, eps=1e-2),
    ),
    Case("adadelta", {}, lambda p: torch.optim.Adadelta(p, LR)),
    Case(
        "adadelta",
        {"rho": 0.5, "eps": 1e-2, "weight_decay": 0.3},
        lambda p: torch.optim.Adadelta(p, LR, 0.5, 1e-2, 0.3),
    ),
    Case("muon", {}, lambda p: MuonAndAdamW(p, {})),
    Case(
        "muon",
        {"momentum": 0.5, "ns_steps": 3, "weight_decay": 0.3, "others_share": 0.5},
        lambda p: MuonAndAdamW(p, {"momentum": 0.5, "ns_steps": 3, "weight_decay": 0.3}, 0.5),
    ),
]
each_case = pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.name}-{'changed' if case.hyperparameters else 'usual'}"
)
# Torch keeps NAdam's product of momenta in float32, whatever the parameters are.
PEER_ROUNDING = {"nadam": 1e-7}
each_name = pytest.mark.parametrize("name", OPTIMIZERS)


def first_params(dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    """Return a matrix and a vector to train."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"weight": (3, 2), "bias": (3,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for name, shape in shapes.items()
    }


def gradient(params: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
    """Return the gradient of a curved loss with noise: it depends on where the parameters are."""
    generator = torch.Generator().manual_seed(step)
    return {
        name: torch.sin(2 * value)
        + torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
        for name, value in params.items()
    }


def train_with_rule(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the parameters after all steps of our rule."""
    rule, params = make_rule(case.name, case.hyperparameters), first_params(dtype)
    state = rule.init(params)
    for step in range(NUM_STEPS):
        direction, state = rule.update(gradient(params, step), state, params)
        params = {name: value + LR * direction[name] for name, value in params.items()}
    return params


def train_with_torch(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the parameters after all steps of torch's optimizer."""
    params = first_params(dtype)
    optimizer = case.peer(params.values())
    for step in range(NUM_STEPS):
        for name, grad in gradient(params, step).items():
            params[name].grad = grad
        optimizer.step()
    return params


# Each of 50 steps rounds to half a unit in the last place of numbers near 1, and the gradient's
# slope of 2 feeds that back: some hundred units of 1e-16 and 6e-8.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 6e-6)], ids=["64", "32"]
)
@each_case
def test_a_rule_moves_parameters_as_torch_does(
    case: Case, dtype: torch.dtype, tolerance: float
) -> None:
    """Fifty noisy steps end where ``torch.optim`` ends, to rounding."""
    expected = train_with_torch(case, dtype)
    actual = train_with_rule(case, dtype)

    start = first_params(dtype)
    # Adadelta begins with steps of the root of eps, Adagrad's become small, and Muon moves
    # vectors by a small share.
    far = 1e-3 if case.name in {"adadelta", "adagrad", "muon"} else 0.1
    assert all((expected[name] - start[name]).abs().max() > far for name in start)
    tolerance = max(tolerance, PEER_ROUNDING.get(case.name, 0.0))
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@each_case
def test_copies_are_moved_in_place_as_torch_moves_each(case: Case) -> None:
    """Fifty noisy steps of three stacked copies end where ``torch.optim`` takes each of them."""
    rule = make_rule(case.name, case.hyperparameters)
    assert rule.move is not None
    singles = [first_params(seed=seed) for seed in range(3)]
    stacked = {n: torch.stack([params[n] for params in singles]) for n in singles[0]}
    begin = [rule.init(params) for params in singles]
    state = {
        moment: {n: torch.stack([one[moment][n] for one in begin]) for n in begin[0][moment]}
        for moment in begin[0]
    }
    peers = [case.peer(params.values()) for params in singles]
    for step in range(NUM_STEPS):
        grads = [gradient(params, 100 * row + step) for row, params in enumerate(singles)]
        stacked_grads = {n: torch.stack([grad[n] for grad in grads]) for n in grads[0]}
        move_copies(rule, stacked, stacked_grads, state, torch.full((3,), LR, dtype=torch.float64))
        for params, own, peer in zip(singles, grads, peers, strict=True):
            for name, grad in own.items():
                params[name].grad = grad
            peer.step()

    # Muon rounds to 8 bits, in an order that stacking changes for matrices as small as these.
    tolerance = 5e-3 if case.name == "muon" else PEER_ROUNDING.get(case.name, 1e-12)
    for row, params in enumerate(singles):
        alone = {n: value[row] for n, value in stacked.items()}
        torch.testing.assert_close(alone, params, rtol=0, atol=tolerance)


@each_case
def test_stacked_copies_move_as_each_alone(case: Case) -> None:
    """Under vmap every copy goes where it goes alone, bit for bit in float64 but for rounding."""
    rule = make_rule(case.name, case.hyperparameters)
    singles = [first_params(seed=seed) for seed in range(3)]
    states = [rule.init(params) for params in singles]
    stacked = {n: torch.stack([p[n] for p in singles]) for n in singles[0]}
    stacked_state = {
        moment: {n: torch.stack([state[moment][n] for state in states]) for n in states[0][moment]}
        for moment in states[0]
    }
    # Copies that do different things: copy k gets its own gradients.
    for step in range(10):
        grads = [gradient(params, 100 * row + step) for row, params in enumerate(singles)]
        stacked_grads = {n: torch.stack([grad[n] for grad in grads]) for n in grads[0]}
        direction, stacked_state = torch.func.vmap(rule.update)(
            stacked_grads, stacked_state, stacked
        )
        stacked = {n: value + LR * direction[n] for n, value in stacked.items()}
        for row, params in enumerate(singles):
            one, states[row] = rule.update(grads[row], states[row], params)
            singles[row] = {n: value + LR * one[n] for n, value in params.items()}

    for row, params in enumerate(singles):
        alone = {n: value[row] for n, value in stacked.items()}
        # Muon rounds to 8 bits, in an order that stacking changes.
        tolerance = 5e-2 if case.name == "muon" else 1e-14
        torch.testing.assert_close(alone, params, rtol=tolerance, atol=tolerance / 10)


@each_case
def test_a_step_is_proportional_to_the_learning_rate(case: Case) -> None:
    """Torch's step at c × lr is c times our direction: no learning rate hides in a rule."""
    rule, start = make_rule(case.name, case.hyperparameters), first_params()
    direction, _ = rule.update(gradient(start, 0), rule.init(start), start)
    for factor in (0.1, 7.0):
        moved = first_params()
        optimizer = case.peer(moved.values())
        optimizer.param_groups[0]["lr"] = factor
        for name, grad in gradient(moved, 0).items():
            moved[name].grad = grad
        optimizer.step()

        expected = {name: (moved[name] - start[name]) / factor for name in start}
        tolerance = PEER_ROUNDING.get(case.name, 1e-12)
        torch.testing.assert_close(direction, expected, rtol=tolerance, atol=tolerance)


@each_case
def test_a_rule_changes_nothing_it_is_given(case: Case) -> None:
    """Parameters, gradients and state are as they were after an update."""
    rule, params = make_rule(case.name, case.hyperparameters), first_params()
    _, state = rule.update(gradient(params, 0), rule.init(params), params)
    grads = gradient(params, 1)
    before = [
        {n: value.clone() for n, value in tensors.items()}
        for tensors in (params, grads, *state.values())
    ]

    rule.update(grads, state, params)

    torch.testing.assert_close([params, grads, *state.values()], before, rtol=0, atol=0)


def test_every_optimizer_of_the_sweep_file_has_a_rule() -> None:
    """The names a sweep file may say are the names there are rules for."""
    assert set(OPTIMIZERS) == set(making._RULES)


@each_name
def test_hyperparameters_and_defaults_are_those_of_the_sweep_file(name: str) -> None:
    """Each rule's own signature says what the table of hyperparameters says."""
    expected = {key: item.default for key, item in OPTIMIZERS[name].items()}
    signature = inspect.signature(making._RULES[name]).parameters

    assert {key: item.default for key, item in signature.items()} == expected


@pytest.mark.parametrize("name", sorted({case.name for case in CASES}))
def test_defaults_are_those_of_torch(name: str) -> None:
    """What the table calls usual is what torch does when told nothing but the name."""
    peers = {case.name: case.peer for case in CASES if not case.hyperparameters}
    shape = (1, 1) if name == "muon" else (1,)
    group = peers[name]([torch.zeros(shape)]).param_groups[0]
    betas = dict(zip(("beta1", "beta2"), group.get("betas", ()), strict=False))

    ours = {"others_share"} if name == "muon" else set()
    for key in OPTIMIZERS[name].keys() - ours:
        assert OPTIMIZERS[name][key].default == {**group, **betas}[key]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_without_memory_of_the_mean_is_rmsprop_corrected(name: str) -> None:
    """With beta1 = 0 the first step is the gradient's sign, whatever beta2 is."""
    rule, params = make_rule(name, {"beta1": 0.0, "eps": 0.0, "weight_decay": 0.0}), first_params()
    grads = gradient(params, 0)
    direction, _ = rule.update(grads, rule.init(params), params)

    expected = {key: -grad.sign() for key, grad in grads.items()}
    torch.testing.assert_close(direction, expected, rtol=1e-14, atol=0)


def test_an_unknown_rule_is_named_with_the_known_ones() -> None:
    """Asking for a rule that does not exist lists those that do."""
    with pytest.raises(ValueError, match=r"Unknown optimizer 'sdg'; known are sgd, .*rmsprop"):
        make_rule("sdg")
