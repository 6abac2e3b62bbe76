"""Rules that look at curvature, on quadratics where everything is known."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from scaling_sweep.krylov import Operator
from scaling_sweep.optimizers.curvature_rule import CurvatureRule, split_copies
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rule import move_copies
from scaling_sweep.training.copies import Copies, Point, stack_points

CPU = torch.device("cpu")
SPECTRUM = (9.0, 5.0, 4.0, 2.5, 1.0, 0.25)
TEXTBOOK: Mapping[str, float | str] = {
    "batch_noise": "batch",
    "safety": 1.0,
    "refresh_every": 1,
    "num_lanczos": 6,
}


def rotated(spectrum: tuple[float, ...], seed: int = 0) -> Tensor:
    """Return a dense symmetric matrix of that spectrum, float64."""
    generator = torch.Generator().manual_seed(seed)
    size = len(spectrum)
    square = torch.randn(size, size, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(square).Q
    return basis @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ basis.T


def curvature_rule(name: str, hyperparameters: Mapping[str, float | str]) -> CurvatureRule:
    """Return a rule that is known to look at curvature."""
    rule = make_rule(name, hyperparameters)
    assert isinstance(rule, CurvatureRule)
    return rule


def begin(rule: CurvatureRule, size: int, num_copies: int, lr: float = 1.0) -> Copies:
    """Stack copies of one seeded point in two tensors, float64."""
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(size, generator=generator, dtype=torch.float64)
    point = Point({"a": whole[:2].view(2, 1), "b": whole[2:]}, {})
    copies = stack_points([point] * num_copies, [lr] * num_copies, rule, CPU)
    return Copies(copies.params, copies.buffers, copies.state, copies.lr.double())


def flat(params: Mapping[str, Tensor]) -> Tensor:
    """Return stacked parameters as vectors, shape ``[num_copies, size]``."""
    return torch.cat([value.flatten(1) for value in params.values()], 1)


def step(rule: CurvatureRule, copies: Copies, multiply: Operator) -> None:
    """Refresh and move along the gradients of ``½ xᵀHx``."""
    grads = split_copies(multiply(flat(copies.params)), copies.params)
    rule.refresh(multiply, grads, copies.state)
    move_copies(rule, copies.params, grads, copies.state, copies.lr)


@pytest.mark.parametrize("noise", ["batch", "largest", "mean_square"])
@pytest.mark.parametrize("lambda_n", ["bulk", "smallest"])
def test_slq_finds_the_textbook_rate_and_momentum(noise: str, lambda_n: str) -> None:
    """Without noise, every choice arrives at Polyak's optimum of the known spectrum."""
    given = {**TEXTBOOK, "batch_noise": noise, "lambda_n": lambda_n}
    rule, matrix = curvature_rule("slq", given), rotated(SPECTRUM)
    copies = begin(rule, 6, 2)
    for _ in range(2):  # the first time mean_square has no mini-batch before
        step(rule, copies, lambda vectors: vectors @ matrix)

    root, low = math.sqrt(SPECTRUM[0]), math.sqrt(SPECTRUM[-1])
    assert copies.state["numbers"]["rate"].tolist() == pytest.approx(
        [(2 / (root + low)) ** 2] * 2, rel=1e-5
    )
    assert copies.state["numbers"]["momentum"].tolist() == pytest.approx(
        [((root - low) / (root + low)) ** 2] * 2, rel=1e-5
    )


def test_slq_converges_at_the_best_rate_of_momentum() -> None:
    """The error shrinks by (√κ − 1)/(√κ + 1) a step in the long run."""
    rule, matrix = curvature_rule("slq", TEXTBOOK), rotated(SPECTRUM)
    copies = begin(rule, 6, 1)
    sizes = []
    for _ in range(160):
        step(rule, copies, lambda vectors: vectors @ matrix)
        sizes.append(float(flat(copies.params).norm()))
    shrink = (sizes[139] / sizes[39]) ** (1 / 100)

    root = math.sqrt(SPECTRUM[0] / SPECTRUM[-1])
    # Heavy ball at its optimum has double roots: k-th errors carry a factor k, 139/39 here.
    assert shrink == pytest.approx((root - 1) / (root + 1), rel=0.02)


def test_the_multiplier_of_slq_has_the_edge_of_heavy_ball() -> None:
    """Multipliers below 2 (1 + β)/(α λ₁) = 1 + 1/κ shrink the error, those above make it grow."""
    rule, matrix = curvature_rule("slq", TEXTBOOK), rotated(SPECTRUM)
    kappa = SPECTRUM[0] / SPECTRUM[-1]
    root = math.sqrt(kappa)
    alpha = (2 / (math.sqrt(SPECTRUM[0]) + math.sqrt(SPECTRUM[-1]))) ** 2
    beta = ((root - 1) / (root + 1)) ** 2
    edge = 2 * (1 + beta) / (alpha * SPECTRUM[0])
    assert edge == pytest.approx(1 + 1 / kappa)

    def grown(multiplier: float) -> float:
        copies = begin(rule, 6, 1, multiplier)
        for _ in range(800):
            step(rule, copies, lambda vectors: vectors @ matrix)
        return float(flat(copies.params).norm())

    assert grown(0.99 * edge) < 1e-2
    assert grown(1.01 * edge) > 1e2


def test_slq_halves_the_rate_and_bounds_the_momentum_when_told() -> None:
    """Safety multiplies the rate; a bound on momentum raises λ_n for both."""
    rule = curvature_rule("slq", {**TEXTBOOK, "safety": 0.5, "max_momentum": 0.25})
    matrix = rotated(SPECTRUM)
    copies = begin(rule, 6, 1)
    step(rule, copies, lambda vectors: vectors @ matrix)

    # β = ¼ is √κ = 3: λ_n is raised to 9/9 = 1.
    assert copies.state["numbers"]["momentum"].item() == pytest.approx(0.25, rel=1e-9)
    assert copies.state["numbers"]["rate"].item() == pytest.approx(0.5 * (2 / (3 + 1)) ** 2)


def test_the_bulk_edge_of_an_indefinite_hessian_is_its_negative_end() -> None:
    """With spectrum −1 … 9, bulk takes 1 for λ_n where smallest takes 0.1."""
    matrix = rotated((9.0, 0.3, 0.1, -0.2, -0.5, -1.0))

    def momentum(word: str) -> float:
        rule = curvature_rule("slq", {**TEXTBOOK, "lambda_n": word, "max_momentum": 0.99})
        copies = begin(rule, 6, 1)
        step(rule, copies, lambda vectors: vectors @ matrix)
        return copies.state["numbers"]["momentum"].item()

    assert momentum("bulk") == pytest.approx(((3 - 1) / (3 + 1)) ** 2, rel=1e-5)
    root = math.sqrt(90)
    assert momentum("smallest") == pytest.approx(((root - 1) / (root + 1)) ** 2, rel=1e-5)


@pytest.mark.parametrize(("beta", "factor"), [(0.0, 0.9), (0.8, 0.9)])
def test_the_mean_square_edge_of_heavy_ball_is_where_the_second_moment_turns(
    beta: float, factor: float
) -> None:
    """The derived edge 2 (1 + β)/λ is that of the exact recursion of second moments."""
    mean, noise = 1.5, 0.7

    def radius(rate: float) -> float:
        # Moments (E w², E w v, E v²) of v ← βv + hw, w ← w − ηv, with E h and E h² known.
        square = mean**2 + noise**2
        v_v = torch.tensor([square, 2 * beta * mean, beta**2], dtype=torch.float64)
        w_v = torch.tensor([mean, beta, 0.0], dtype=torch.float64)
        w_w = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        new_w_v = w_v - rate * v_v
        new_w_w = w_w - 2 * rate * w_v + rate**2 * v_v
        return float(torch.linalg.eigvals(torch.stack([new_w_w, new_w_v, v_v])).abs().max())

    effective = mean + noise**2 / mean * (1 + beta) / (1 - beta)
    edge = 2 * (1 + beta) / effective
    assert radius(factor * edge) < 1
    assert radius(1.001 * edge) > 1
    assert radius(0.999 * edge) < 1


def test_batch_noise_lowers_the_rate_as_derived() -> None:
    """With mini-batches of known mean and variance, the rate is the noiseless one of ``λ``."""
    given = {"batch_noise": "mean_square", "safety": 1.0, "refresh_every": 1, "num_lanczos": 2}
    rule = curvature_rule("slq", given)
    copies = begin(rule, 4, 1)
    # Diagonal, top direction fixed, curvature 2 or 6 in turn along it: m = 4, s² = 4 at last.
    other = torch.full((3,), 1.0, dtype=torch.float64)
    for turn in range(400):
        top = torch.tensor([2.0 if turn % 2 else 6.0], dtype=torch.float64)
        diagonal = torch.cat([top, other])
        step(rule, copies, lambda vectors, diagonal=diagonal: vectors * diagonal)

    rate, beta = (copies.state["numbers"][name].item() for name in ("rate", "momentum"))
    root = math.sqrt(2.0)  # the last one has κ = 2
    assert beta == pytest.approx(((root - 1) / (root + 1)) ** 2, rel=1e-5)
    # Decayed means of 2, 6, 2, …, the latest 2: (2 + 0.9 · 6)/1.9, and of their squares.
    mean, square = (2 + 0.9 * 6) / 1.9, (4 + 0.9 * 36) / 1.9
    effective = mean + (square - mean**2) / mean * (1 + beta) / (1 - beta)
    assert rate == pytest.approx(
        (2 / (math.sqrt(effective) + math.sqrt(effective / 2))) ** 2, rel=1e-5
    )


def test_cauchy_is_the_closed_form_and_ends_in_one_step_where_all_is_one_eigenvalue() -> None:
    """The step is gᵀg/gᵀHg; on a round bowl it lands on the bottom."""
    rule, matrix = curvature_rule("cauchy", {}), rotated(SPECTRUM)
    copies = begin(rule, 6, 2)
    gradient = flat(copies.params) @ matrix
    expected = gradient.square().sum(1) / torch.einsum("ki,ij,kj->k", gradient, matrix, gradient)
    step(rule, copies, lambda vectors: vectors @ matrix)
    torch.testing.assert_close(copies.state["step"]["rate"], expected, rtol=1e-12, atol=0)

    copies = begin(rule, 6, 2)
    step(rule, copies, lambda vectors: 7 * vectors)
    assert flat(copies.params).abs().max() < 1e-14


@pytest.mark.parametrize("spectrum", [(-1.0, -2.0, -3.0, -1.0), (3.0, -3.0, 2.0, -2.0)])
def test_cauchy_does_not_run_away_along_negative_curvature(spectrum: tuple[float, ...]) -> None:
    """Where gᵀHg is not clearly positive the step is ‖g‖/‖Hg‖, shorter than that of ``|H|``."""
    rule = curvature_rule("cauchy", {})
    diagonal = torch.tensor(spectrum, dtype=torch.float64)
    params = {"a": torch.ones(1, 2, 1, dtype=torch.float64), "b": torch.ones(1, 2).double()}
    state = {"step": {"rate": torch.zeros(1, dtype=torch.float64)}}
    rule.refresh(lambda vectors: vectors * diagonal, params, state)

    rate = state["step"]["rate"].item()
    assert rate == pytest.approx(2 / diagonal.norm().item())
    assert rate <= 4 / diagonal.abs().sum().item()


def test_newton_is_the_dense_inverse_once_the_krylov_space_is_complete() -> None:
    """The direction is −(|H| + d)⁻¹ g of an indefinite matrix, each copy with its own d."""
    matrix = rotated((4.0, 1.0, 0.3, -0.2, -2.0, -3.0))
    dampings = (1e-3, 0.1, 5.0)
    rule = curvature_rule("newton", {"num_lanczos": 6})
    copies = begin(rule, 6, 3)
    copies.state["damping"]["value"].copy_(torch.tensor(dampings))
    before = flat(copies.params)
    step(rule, copies, lambda vectors: vectors @ matrix)

    values, vectors = torch.linalg.eigh(matrix)
    for row, damping in enumerate(copies.state["damping"]["value"].tolist()):
        inverse = vectors @ torch.diag(1 / (values.abs() + damping)) @ vectors.T
        expected = before[row] - inverse @ (matrix @ before[row])
        torch.testing.assert_close(flat(copies.params)[row], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["slq", "cauchy", "newton"])
def test_a_copy_that_overflows_leaves_its_mates_as_they_are(name: str) -> None:
    """NaN and huge products of one copy change nothing in the others, bit for bit."""
    rule, matrix = curvature_rule(name, {}), rotated(SPECTRUM)
    sound, mixed = begin(rule, 6, 3), begin(rule, 6, 3)
    scale = torch.tensor([[1.0], [torch.nan], [1e300]], dtype=torch.float64)
    for _ in range(3):
        step(rule, sound, lambda vectors: vectors @ matrix)
        step(rule, mixed, lambda vectors: scale * (vectors @ matrix))

    assert torch.equal(flat(sound.params)[0], flat(mixed.params)[0])
    assert flat(sound.params).isfinite().all()
    assert not flat(mixed.params)[1].isfinite().any()


@pytest.mark.parametrize("name", ["slq", "cauchy"])
def test_no_curvature_at_all_is_no_step(name: str) -> None:
    """A loss that is linear bounds no rate: the copy stays until it sees curvature."""
    rule = curvature_rule(name, {})
    copies = begin(rule, 6, 1)
    before = flat(copies.params)
    grads = split_copies(torch.ones_like(before), copies.params)
    rule.refresh(torch.zeros_like, grads, copies.state)
    move_copies(rule, copies.params, grads, copies.state, copies.lr)

    assert torch.equal(flat(copies.params), before)


@pytest.mark.parametrize("given", [{"lambda_n": "middle"}, {"batch_noise": "none"}])
def test_a_word_slq_does_not_know_is_refused(given: Mapping[str, str]) -> None:
    """The message lists the words there are."""
    with pytest.raises(ValueError, match=r"must be .* or "):
        make_rule("slq", given)
