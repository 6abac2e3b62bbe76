"""Mean-square stability: the exact edge by brute force, and its bounds around it."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from analysis.theory import (
    Conditions,
    CurvatureSummary,
    Family,
    Measured,
    Rule,
    SampleHessians,
    TheoryError,
    exact_curve,
    gaussian_curve,
    gaussian_edge,
    interpolation_curve,
    top_and_bulk_curve,
    top_direction_curve,
    trace_curve,
    wigner_curve,
)

HEAVY = Rule(Family.MOMENTUM, 0.9)


def regression() -> np.ndarray:
    """Return the inputs of the known answer: 200 examples of spectrum 1/k in 10 dimensions."""
    return np.random.default_rng(1).normal(size=(200, 10)) / np.sqrt(np.arange(1, 11))


def outer_products(inputs: np.ndarray) -> np.ndarray:
    """Return every example's Hessian ``x xᵀ``."""
    return np.einsum("ni,nj->nij", inputs, inputs)


def random_hessians(seed: int, n: int = 6, d: int = 3) -> np.ndarray:
    """Return positive definite sample Hessians that do not commute."""
    roots = np.random.default_rng(seed).normal(size=(n, d, d))
    return roots @ roots.swapaxes(1, 2)


def summarize(hessians: np.ndarray) -> CurvatureSummary:
    """Return what a perfect measurement of these Hessians gives."""
    mean = hessians.mean(axis=0)
    eigenvalues, basis = np.linalg.eigh(mean)
    products = hessians @ basis[:, -1]
    along = np.einsum("i,nij,j->n", basis[:, -1], hessians, basis[:, -1])
    return CurvatureSummary(
        num_parameters=len(mean),
        hessian_top=Measured(float(eigenvalues[-1])),
        top_direction_variance=Measured(float(along.var())),
        top_direction_product_sq=Measured(float((products**2).sum(axis=1).mean())),
        trace_hessian=Measured(float(np.trace(mean))),
        frobenius_sq=Measured(float((mean**2).sum())),
        mean_sample_frobenius_sq=Measured(float((hessians**2).sum(axis=(1, 2)).mean())),
        hessian_noise=Measured(float(((hessians - mean) ** 2).sum(axis=(1, 2)).mean() / len(mean))),
        max_sample_top=Measured(float(np.linalg.eigvalsh(hessians)[:, -1].max())),
    )


def growth(hessians: np.ndarray, batch_size: int, lr: float, beta: float) -> float:
    """Return the second moment's growth per step, by enumerating every batch."""
    d = hessians.shape[1]
    identity, total = np.eye(d), 0.0
    batches = list(combinations(range(len(hessians)), batch_size))
    for batch in batches:
        h = hessians[list(batch)].mean(axis=0)
        step = np.block([[identity - lr * h, -lr * beta * identity], [h, beta * identity]])
        total = total + np.kron(step, step)
    return float(np.abs(np.linalg.eigvals(total / len(batches))).max())


def test_finite_regression_has_its_known_edges() -> None:
    """The exact edge of the 200-example regression is the recorded one at every batch size."""
    sizes = np.array([1.0, 2, 4, 8, 16, 64])
    samples = SampleHessians(outer_products(regression()))
    exact = exact_curve(samples, Conditions(sizes, num_examples=200))
    assert samples.eigenvalues[-1] == pytest.approx(1.119, abs=5e-4)
    assert exact.lr_max == pytest.approx([0.421, 0.709, 1.055, 1.359, 1.563, 1.743], abs=6e-4)


def test_literal_wigner_is_twice_too_high_on_finite_regression() -> None:
    """The literal theorem gives .933 … 1.770 there: 2.2 × too high at B = 1."""
    sizes = np.array([1.0, 2, 4, 8, 16, 64])
    summary = summarize(outer_products(regression()))
    curve = wigner_curve(summary, Conditions(sizes, num_examples=200))
    assert curve.lr_max == pytest.approx([0.933, 1.228, 1.459, 1.609, 1.697, 1.770], abs=6e-4)


def test_top_and_bulk_together_are_close_to_exact_on_finite_regression() -> None:
    """Two matrices give the exact edge within 2 %, where either alone is 9 % and 28 % off."""
    hessians = outer_products(regression())
    conditions = Conditions(np.array([1.0, 2, 4, 8, 16, 64]), num_examples=200)
    exact = exact_curve(SampleHessians(hessians), conditions).lr_max
    summary = summarize(hessians)
    assert top_and_bulk_curve(summary, conditions).lr_max == pytest.approx(exact, rel=0.02)
    assert top_direction_curve(summary, conditions).lr_max[0] > 1.25 * exact[0]
    assert trace_curve(summary, conditions).lr_max[0] > 1.08 * exact[0]


@pytest.mark.parametrize("curve", [trace_curve, top_and_bulk_curve])
def test_trace_bounds_refuse_a_hessian_with_negative_eigenvalues(curve: object) -> None:
    """A trace that gives negative curvature away is named, not turned into a rate."""
    assert callable(curve)
    summary = replace(summarize(random_hessians(0)), trace_hessian=Measured(-1.0))
    with pytest.raises(TheoryError, match="positive semidefinite"):
        curve(summary, Conditions(np.ones(1)))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_second_moment_turns_at_the_exact_edge(batch_size: int) -> None:
    """Iterating the second moment shrinks it at 0.99 η* and blows it up at 1.01 η*."""
    hessians = outer_products(regression())
    share = (200 - batch_size) / (batch_size * 199)
    edge, mean = SampleHessians(hessians).edge(share), hessians.mean(axis=0)
    sizes = []
    for lr in (0.99 * edge, 1.01 * edge):
        moment = np.eye(10)
        for _ in range(1500):
            noise = np.mean(hessians @ moment @ hessians, axis=0)
            drift = mean @ moment + moment @ mean
            square = (1 - share) * mean @ moment @ mean + share * noise
            moment = moment - lr * drift + lr**2 * square
        sizes.append(np.trace(moment))
    assert sizes[0] < 1 < 100 < sizes[1]


def test_fast_operator_agrees_with_the_formula_written_out() -> None:
    """The edge equals 2/λ_max(C† D) with Kronecker products and a pseudo-inverse."""
    hessians, share = random_hessians(3, n=7, d=4), 0.3
    mean, identity = hessians.mean(axis=0), np.eye(4)
    c = (np.kron(mean, identity) + np.kron(identity, mean)) / 2
    d = (1 - share) * np.kron(mean, mean)
    d += share * np.mean([np.kron(h, h) for h in hessians], axis=0)
    expected = 2 / np.linalg.eigvals(np.linalg.pinv(c) @ d).real.max()
    assert SampleHessians(hessians).edge(share) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_edge_is_where_enumerated_batches_start_to_grow(batch_size: int, beta: float) -> None:
    """Over every batch without replacement, heavy ball included, growth passes 1 at the edge."""
    hessians = random_hessians(0)
    share = (6 - batch_size) / (batch_size * 5)
    edge = SampleHessians(hessians).edge(share, beta)
    assert growth(hessians, batch_size, 0.999 * edge, beta) < 1
    assert growth(hessians, batch_size, 1.001 * edge, beta) > 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", [Rule(Family.SGD), HEAVY], ids=["sgd", "momentum"])
def test_bounds_enclose_the_exact_edge(seed: int, rule: Rule) -> None:
    """Top and bulk lie above the exact edge, each alone above both, Ma–Bassily–Belkin below."""
    hessians = random_hessians(seed, n=12, d=4)
    conditions = Conditions(np.array([1.0, 2, 4, 8, 12]), rule, num_examples=12)
    summary = summarize(hessians)
    exact = exact_curve(SampleHessians(hessians), conditions).lr_max
    above = exact * (1 - 1e-9)
    one = top_direction_curve(summary, conditions).lr_max
    other = trace_curve(summary, conditions).lr_max
    both = top_and_bulk_curve(summary, conditions).lr_max
    assert np.all(both >= above)
    assert np.all(both <= np.minimum(one, other) * (1 + 1e-9))
    if rule.family is Family.SGD:
        assert np.all(interpolation_curve(summary, conditions).lr_max <= exact * (1 + 1e-9))


@pytest.mark.parametrize("rule", [Rule(Family.SGD), HEAVY], ids=["sgd", "momentum"])
def test_full_batch_edge_is_the_textbook_one(rule: Rule) -> None:
    """At B = N the exact edge is 2/λ, or 2(1 + β)/λ with heavy ball."""
    hessians = random_hessians(1)
    top = np.linalg.eigvalsh(hessians.mean(axis=0))[-1]
    curve = exact_curve(SampleHessians(hessians), Conditions(np.array([6.0]), rule, 6))
    assert curve.lr_max[0] == pytest.approx(2 * (1 + rule.momentum) / top)


def test_exact_critical_batch_size_is_where_the_edge_is_halved() -> None:
    """The edge there is half of the full-batch one, and examples that agree have none."""
    samples = SampleHessians(random_hessians(2, n=40))
    full = Conditions(np.array([40.0]), num_examples=40)
    curve = exact_curve(samples, full)
    assert curve.critical_batch_size is not None
    there = Conditions(np.array([curve.critical_batch_size]), num_examples=40)
    assert exact_curve(samples, there).lr_max[0] == pytest.approx(curve.lr_max[0] / 2, rel=1e-5)

    agreed = SampleHessians(np.array([np.eye(2), np.eye(2)]))
    assert exact_curve(agreed, Conditions(np.ones(1))).critical_batch_size is None


@pytest.mark.parametrize("dim", [1, 32, 256])
def test_gaussian_least_squares_is_the_known_answer(dim: int) -> None:
    """With white inputs the edge is 2B/(B + d + 1), critical at d + 1, exponent 1."""
    sizes = 2.0 ** np.arange(10)
    curve = gaussian_curve(np.ones(dim), Conditions(sizes))
    assert curve.lr_max == pytest.approx(2 * sizes / (sizes + dim + 1), rel=1e-10)
    assert curve.critical_batch_size == pytest.approx(dim + 1, rel=1e-6)
    assert curve.exponent == 1


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_gaussian_edge_agrees_with_fourth_moments_written_out(beta: float) -> None:
    """With coloured inputs growth computed from Isserlis' theorem passes 1 at the edge."""
    top, batch_size = np.array([1.0, 0.5, 0.2]), 2
    sigma, identity = np.diag(top), np.eye(3)
    # E[(xxᵀ − Σ) ⊗ (xxᵀ − Σ)], entry (ac, bd): Σ_ac Σ_bd + Σ_ad Σ_bc over pairs (a, b), (c, d).
    noise = np.einsum("ac,bd->acbd", sigma, sigma) + np.einsum("ad,bc->acbd", sigma, sigma)
    noise = noise.reshape(9, 9) / batch_size
    edge = gaussian_edge(top, batch_size, beta).item()
    radii = []
    for lr in (0.999 * edge, 1.001 * edge):
        step = np.block([[identity - lr * sigma, -lr * beta * identity], [sigma, beta * identity]])
        push = np.vstack([-lr * identity, identity])
        take = np.hstack([identity, 0 * identity])
        total = np.kron(step, step) + np.kron(push, push) @ noise @ np.kron(take, take)
        radii.append(np.abs(np.linalg.eigvals(total)).max())
    assert radii[0] < 1 < radii[1]


def test_large_models_of_the_small_kind_are_quick_and_flat_directions_ignored() -> None:
    """Sixty parameters of which twenty are flat give the edge of the other forty."""
    inputs = np.random.default_rng(0).normal(size=(50, 40))
    padded = np.hstack([inputs, np.zeros((50, 20))])
    expected = SampleHessians(outer_products(inputs)).edge(0.2)
    assert SampleHessians(outer_products(padded)).edge(0.2) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("hessians", "message"),
    [
        (np.ones((2, 3)), "shape"),
        (np.zeros((1, 65, 65)), "at most 64"),
        (np.array([[[1.0, 1.0], [0.0, 1.0]]]), "symmetric"),
        (np.array([np.diag([1.0, -1.0])]), "negative eigenvalue"),
    ],
)
def test_hessians_without_an_edge_are_refused(hessians: np.ndarray, message: str) -> None:
    """Wrong shapes, large models, asymmetry and saddles are named."""
    with pytest.raises(ValueError, match=message):
        SampleHessians(hessians)


def test_noise_in_flat_directions_is_refused() -> None:
    """Where examples curve and their mean does not, nothing holds the noise."""
    samples = SampleHessians(np.array([np.diag([1.0, 1.0]), np.diag([1.0, -1.0])]))
    with pytest.raises(ValueError, match="no learning rate is mean-square stable"):
        samples.edge(1.0)


def test_exact_curve_refuses_what_it_was_not_derived_for() -> None:
    """Nesterov, Adam and a part of the data have no exact curve here."""
    samples = SampleHessians(random_hessians(0))
    with pytest.raises(TheoryError, match="says nothing of nesterov"):
        exact_curve(samples, Conditions(np.ones(1), Rule(Family.NESTEROV, 0.9)))
    with pytest.raises(TheoryError, match="6 Hessians"):
        exact_curve(samples, Conditions(np.ones(1), num_examples=100))
    with pytest.raises(TheoryError, match="no finite number"):
        gaussian_curve(np.ones(4), Conditions(np.ones(1), num_examples=100))
