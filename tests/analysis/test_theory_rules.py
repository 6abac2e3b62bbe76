"""Update rules: noiseless edges by running them, noisy ones by brute-force second moments."""

import numpy as np
import pytest

from analysis.theory import Family, Rule, find_rule

RULES = [
    Rule(Family.SGD),
    Rule(Family.MOMENTUM, 0.5),
    Rule(Family.MOMENTUM, 0.9),
    Rule(Family.NESTEROV, 0.5),
    Rule(Family.NESTEROV, 0.9),
    Rule(Family.ADAM, 0.0),
    Rule(Family.ADAM, 0.9),
]
IDS = [f"{rule.family}-{rule.momentum}" for rule in RULES]


def step_matrix(rule: Rule, lr: float, curvature: float) -> np.ndarray:
    """Return one step on the state (parameter, velocity) as the update rule writes it."""
    beta, h = rule.momentum, curvature
    if rule.family is Family.SGD:
        velocity, parameter = [h, 0.0], [1 - lr * h, 0.0]
    elif rule.family is Family.MOMENTUM:
        velocity, parameter = [h, beta], [1 - lr * h, -lr * beta]
    elif rule.family is Family.NESTEROV:
        velocity = [h, beta]
        parameter = [1 - lr * (h + beta * h), -lr * beta * beta]
    else:
        velocity = [(1 - beta) * h, beta]
        parameter = [1 - lr * (1 - beta) * h, -lr * beta]
    return np.array([parameter, velocity])


def second_moment_radius(rule: Rule, lr: float, curvatures: list[float]) -> float:
    """Return the growth per step of the state's second moment under equally likely curvatures."""
    steps = [step_matrix(rule, lr, h) for h in curvatures]
    return float(np.abs(np.linalg.eigvals(np.mean([np.kron(m, m) for m in steps], axis=0))).max())


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_run_just_below_the_sharp_limit_decays_and_just_above_it_grows(rule: Rule) -> None:
    """Running the recursion on a quadratic of curvature 3 brackets the edge within 1 %."""
    sizes = []
    for factor in (0.99, 1.01):
        state = np.array([1.0, 0.0])
        step = step_matrix(rule, factor * rule.sharp_limit / 3.0, 3.0)
        for _ in range(4000):
            state = step @ state
        sizes.append(abs(state[0]))
    assert sizes[0] < 1e-3
    assert sizes[1] > 1e3


@pytest.mark.parametrize("rule", RULES, ids=IDS)
@pytest.mark.parametrize("ratio", [0.01, 0.3, 3.0, 100.0])
def test_edge_is_where_the_second_moment_starts_to_grow(rule: Rule, ratio: float) -> None:
    """With curvature λ ± s the brute-force second moment turns at the edge of excess s²/λ."""
    mean, spread = 2.0, 2.0 * np.sqrt(ratio)
    edge = rule.edge(np.array(mean), np.array(spread**2 / mean)).item()
    curvatures = [mean - spread, mean + spread]
    assert second_moment_radius(rule, 0.999 * edge, curvatures) < 1
    assert second_moment_radius(rule, 1.001 * edge, curvatures) > 1


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_edge_has_its_two_limits(rule: Rule) -> None:
    """Without noise the edge is sharp/λ, in pure noise it is noise/excess."""
    curvature = np.array(2.0)
    assert rule.edge(curvature, np.array(0.0)) == pytest.approx(rule.sharp_limit / 2)
    assert rule.edge(curvature, np.array(1e7)) == pytest.approx(rule.noise_limit / 1e7, rel=1e-4)


def test_limits_are_the_published_ones() -> None:
    """2, 2(1 + β), (2 + 2β)/(1 + 2β) and 38, and the noisy plateau 2(1 − β)."""
    momentum, nesterov, adam = (Rule(family, 0.9) for family in list(Family)[1:])
    assert Rule(Family.SGD).sharp_limit == 2
    assert momentum.sharp_limit == pytest.approx(3.8)
    assert nesterov.sharp_limit == pytest.approx(3.8 / 2.8)
    assert adam.sharp_limit == pytest.approx(38)
    assert (momentum.noise_limit, nesterov.noise_limit) == pytest.approx((0.2, 0.2))
    assert (Rule(Family.SGD).noise_limit, adam.noise_limit) == (2, 2)


def test_momentum_out_of_range_is_refused() -> None:
    """A momentum of 1 never forgets, and plain SGD has none."""
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1"):
        Rule(Family.MOMENTUM, 1.0)
    with pytest.raises(ValueError, match="no momentum"):
        Rule(Family.SGD, 0.9)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("sgd", Rule(Family.SGD)),
        ("sgd(weight_decay=0.1)", Rule(Family.SGD)),
        ("Nesterov(momentum=0.8)", Rule(Family.NESTEROV, 0.8)),
        ("adamw(beta1=0.95, beta2=0.99)", Rule(Family.ADAM, 0.95)),
        ("rmsprop(alpha=0.9)", Rule(Family.ADAM, 0.0)),
        ("adagrad", None),
    ],
)
def test_a_label_names_its_rule(label: str, expected: Rule | None) -> None:
    """Hyperparameters that matter are read from the label, others are not."""
    assert find_rule(label) == expected
