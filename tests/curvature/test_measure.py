"""One measurement of everything, at a point and along a training."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.curvature.along import ShortTraining, measure_along, train_along
from scaling_sweep.curvature.batch_hessians import measure_batch_spectrum
from scaling_sweep.curvature.gradient_noise import NoiseMethod
from scaling_sweep.curvature.measure import measure_curvature
from scaling_sweep.curvature.measurement import CurvatureMeasurement
from scaling_sweep.curvature.objective import Curvature, Policy
from scaling_sweep.curvature.operators import DataOperator, precondition
from scaling_sweep.curvature.options import CurvatureOptions
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.preconditioned import AdaptiveOptimizer, gather_moments
from scaling_sweep.curvature.workspace import Workspace
from scaling_sweep.errors import UserError
from scaling_sweep.krylov import draw_starts
from scaling_sweep.tasks.least_squares import least_squares
from scaling_sweep.training.copies import Point
from tests.curvature.cases import Case, cnn, generator, mlp

ADAM = AdaptiveOptimizer("adam")
SMALL = CurvatureOptions(
    batch_sizes=(2, 8),
    num_batches=6,
    density_batch_sizes=(8,),
    num_noise_batches=16,
    num_probes=4,
    num_density_steps=15,
    optimizers=(ADAM,),
    num_moment_steps=40,
    noise_sizes=(2, 16),
)


def measure(case: Case, options: CurvatureOptions = SMALL) -> CurvatureMeasurement:
    """Measure a small case at its weights."""
    return measure_curvature(case.task(), Point.of(case.model), options)


def plain(value: object) -> object:
    """Return a measurement as nested values that can be compared."""
    if isinstance(value, Tensor):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def test_a_measurement_holds_what_dense_matrices_say() -> None:
    """Eigenvalues, loss, gradient and noise of one point, in single precision."""
    case = mlp((4, 6, 3))
    expected = torch.linalg.eigvalsh(case.dense_hessian())

    found = measure(case)

    ends = found.matrix(Curvature.HESSIAN).ends
    assert ends.top.value == pytest.approx(float(expected[-1]), rel=1e-5)
    assert ends.bottom.value == pytest.approx(float(expected[0]), rel=1e-4)
    ggn = torch.linalg.eigvalsh(case.dense_ggn())[-1]
    assert found.matrix(Curvature.GGN).ends.top.value == pytest.approx(float(ggn), rel=1e-5)
    gradient = case.example_gradients().mean(0)
    assert found.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-5)
    along = gradient @ case.dense_hessian() @ gradient / gradient.square().sum()
    assert found.gradient_sharpness == pytest.approx(float(along), rel=1e-4)
    assert found.gradient_noise.method is NoiseMethod.EXACT
    direction = found.matrix(Curvature.HESSIAN).direction_noise
    assert direction.mean.value == pytest.approx(ends.top.value, rel=1e-4)
    assert [s.batch_size for s in found.sharpness] == [2, 8]
    assert found.policy == "neither BatchNorm nor dropout"
    assert found.num_products > 0
    assert found.wall_time_s > 0


def test_a_measurement_is_decided_by_its_seed() -> None:
    """Everything but the wall time repeats bitwise, and torch's own generator is left alone."""
    case = mlp((4, 6, 3))
    before = torch.get_rng_state()

    first, second = (dataclasses.replace(measure(case), wall_time_s=0) for _ in range(2))

    assert plain(first) == plain(second)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unmeasured_matrix_is_named() -> None:
    """Asking for a matrix that was left out says how to have it."""
    found = measure(mlp((4, 6, 3)), dataclasses.replace(SMALL, kinds=(Curvature.GGN,)))

    with pytest.raises(KeyError, match=r"CurvatureOptions\.kinds"):
        found.matrix(Curvature.HESSIAN)


@pytest.mark.parametrize("policy", list(Policy))
def test_every_policy_measures_a_net_with_batchnorm_and_dropout(policy: Policy) -> None:
    """All three policies give finite numbers and report what they did."""
    case = cnn(nn.BatchNorm2d(4).double(), nn.Dropout(0.3))
    options = dataclasses.replace(SMALL, policy=policy, noise_batch_size=4, optimizers=())

    found = measure(case, options)

    assert found.policy == f"{policy}, dropout off"
    assert math.isfinite(found.matrix(Curvature.HESSIAN).noise.noise.value)
    assert found.matrix(Curvature.GGN).ends.top.value > 0


def test_batch_statistics_of_one_example_are_refused() -> None:
    """One example alone has no loss under batch statistics, and the options say so at once."""
    with pytest.raises(ValueError, match="at least 2, or take frozen statistics"):
        CurvatureOptions(policy=Policy.BATCH)


def test_the_sharpest_of_all_examples_is_found() -> None:
    """Asked for as many examples as there are, the largest eigenvalue of any is the dense one."""
    case = mlp((4, 6, 3))
    known = torch.linalg.eigvalsh(case.example_hessians())[:, -1].max()

    found = measure(case, dataclasses.replace(SMALL, num_noise_batches=50))

    sharpest = found.matrix(Curvature.HESSIAN).sharpest
    assert sharpest.num_batches == 50
    assert sharpest.largest == pytest.approx(float(known), rel=1e-4)


def test_preconditioned_batches_are_those_of_one_preconditioner() -> None:
    """Scaled by a constant preconditioner, batches have their plain eigenvalues over it."""
    case = mlp((4, 6, 3))
    objective = case.objective()
    batches = Population(case.examples).draw(5, 6, generator())
    four = torch.full_like(objective.vector, 4.0)

    plain_tops = measure_batch_spectrum(objective, batches, generator(), rtol=1e-6)
    scaled = measure_batch_spectrum(objective, batches, generator(), rtol=1e-6, diagonal=four)

    assert scaled.top.value == pytest.approx(plain_tops.top.value / 4)
    measured = measure(case).preconditioned
    assert [found.batches is not None for found in measured] == [True, True]


def test_fresh_samples_give_the_moments_of_a_gaussian() -> None:
    """On Gaussian least squares E‖H_i‖²_F is d(d + 2) and the top-direction variance 2 λ²."""
    dim = 32
    task = least_squares(dim=dim)
    options = dataclasses.replace(
        SMALL, kinds=(Curvature.HESSIAN,), num_examples=20_000, num_noise_batches=500, num_probes=20
    )

    found = measure_curvature(task, Point.of(task.make_model()), options)

    matrix = found.matrix(Curvature.HESSIAN)
    assert matrix.ends.top.value == pytest.approx(1, abs=2.5 * (dim / 20_000) ** 0.5)
    assert matrix.traces.trace.value == pytest.approx(dim, rel=0.02)
    squares = matrix.noise.mean_square
    assert abs(squares.value - dim * (dim + 2)) <= 4 * squares.stderr
    known = 2 * matrix.ends.top.value**2
    assert matrix.direction_noise.variance.value == pytest.approx(known, rel=0.05)
    assert found.gradient_noise.method is NoiseMethod.SAMPLE
    # x xᵀw: tr Σ / |G|² = (d + 1) ‖w‖² / ‖w‖².
    scale = found.two_batch_noise.scale
    assert abs(scale.value - (dim + 1)) <= 4 * scale.stderr


def test_preconditioned_sharpness_agrees_with_dense_algebra() -> None:
    """``P^{-1/2} H P^{-1/2}`` by products has the spectrum of the dense one."""
    case = mlp((4, 6, 3))
    objective, population = case.objective(), Population(case.examples)
    space = Workspace.of(objective, case.examples)

    diagonal = gather_moments(objective, population, ADAM, 8, 60, generator(), space)

    scale = diagonal.rsqrt()
    apply = precondition(DataOperator(objective, case.examples), diagonal)
    product = apply(torch.eye(objective.size, dtype=torch.float64))
    torch.testing.assert_close(product, scale[:, None] * case.dense_hessian() * scale)


def test_moments_at_a_frozen_point_are_those_of_the_gradients() -> None:
    """After many batches Adam's ``v̂`` is ``G² + diag Σ / B``."""
    case = mlp((4, 6, 3))
    objective, population = case.objective(), Population(case.examples)
    space = Workspace.of(objective, case.examples)
    gradients = case.example_gradients()
    known = gradients.mean(0).square() + gradients.var(0, correction=0) / 4

    diagonal = gather_moments(objective, population, ADAM, 4, 1500, generator(), space)

    assert float((diagonal / known.sqrt()).log().abs().max()) < 0.2
    torch.testing.assert_close(diagonal.log().mean(), known.sqrt().log().mean(), atol=0.02, rtol=0)


def test_only_adaptive_rules_precondition() -> None:
    """An optimizer without second moments is refused by name."""
    with pytest.raises(ValueError, match="'sgd' has no second moment"):
        AdaptiveOptimizer("sgd")


def test_curvature_along_a_training_starts_at_the_start() -> None:
    """The first of several points is the start itself; later ones bring their state."""
    case = mlp((4, 6, 3))
    start = Point.of(case.task().make_model().float())
    training = ShortTraining("adam", lr=0.01, batch_size=16, at_steps=(0, 30, 60))

    points = train_along(case.task(), start, training)
    found = measure_along(case.task(), start, training, dataclasses.replace(SMALL, optimizers=()))

    assert all(torch.equal(points[0].params[name], start.params[name]) for name in start.params)
    assert [point.step for point in found] == [0, 30, 60]
    assert found[2].loss < found[1].loss < found[0].loss
    assert found[0].preconditioned == ()
    (own,) = found[2].preconditioned
    assert own.batch_size is None
    assert own.top.value > 0


def test_a_training_that_diverges_is_refused() -> None:
    """Curvature of NaN is no number: the message asks for a smaller lr."""
    task = least_squares(dim=4)
    training = ShortTraining("sgd", lr=1e6, batch_size=4, at_steps=(40,))

    with pytest.raises(UserError, match="lower its lr"):
        train_along(task, Point.of(task.make_model()), training)


def test_steps_must_ascend() -> None:
    """Steps out of order, or none, are named."""
    with pytest.raises(ValueError, match="must ascend"):
        ShortTraining("sgd", 0.1, 8, (10, 5))
    with pytest.raises(ValueError, match="counts steps from 0"):
        ShortTraining("sgd", 0.1, 8, (-1, 5))


def test_starts_are_unit_vectors_of_the_generator() -> None:
    """Starts lie on the sphere and repeat with their generator, whatever the precision."""
    single, double = torch.zeros(50), torch.zeros(50, dtype=torch.float64)

    starts = draw_starts(3, double, generator(5))

    torch.testing.assert_close(starts.norm(dim=1), torch.ones(3).double())
    torch.testing.assert_close(draw_starts(3, single, generator(5)).double(), starts)
