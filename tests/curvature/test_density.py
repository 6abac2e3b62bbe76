"""Spectral densities of matrices whose spectrum is known."""

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor

from scaling_sweep.curvature.batch_hessians import measure_batch_density
from scaling_sweep.curvature.density import SpectralDensity, estimate_density, join_densities
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.krylov import draw_starts
from tests.curvature.cases import generator, mlp

SIZE = 600
NUM_PROBES = 10


def density_of(matrix: Tensor, num_steps: int = 60) -> SpectralDensity:
    """Estimate the density of an explicit matrix by the code that Hessians go through."""
    starts = draw_starts(NUM_PROBES, matrix, generator(1))
    return estimate_density(lambda vectors: vectors @ matrix, starts, num_steps, max_lanes=4)


def kolmogorov(density: SpectralDensity, eigenvalues: Tensor) -> float:
    """Return the largest distance between an estimated cdf and that of eigenvalues."""
    ordered = eigenvalues.sort().values
    points = torch.linspace(float(ordered[0]) - 0.5, float(ordered[-1]) + 0.5, 4001)
    true = torch.searchsorted(ordered, points.double(), right=True) / len(ordered)
    return float((density.cdf(points) - true).abs().max())


def wigner() -> Tensor:
    """Return a symmetric matrix whose spectrum is a semicircle on [−2, 2]."""
    noise = torch.randn(SIZE, SIZE, generator=generator(2), dtype=torch.float64)
    return (noise + noise.T) / (2 * SIZE) ** 0.5


def test_a_spiked_matrix_is_recovered() -> None:
    """Semicircle and spike come back: the cdf within .05, the spike in place with weight 1/P."""
    spike = torch.nn.functional.normalize(torch.ones(SIZE, dtype=torch.float64), dim=0)
    matrix = wigner() + 3 * torch.outer(spike, spike)

    density = density_of(matrix)

    assert kolmogorov(density, torch.linalg.eigvalsh(matrix)) <= 0.05
    # BBP: a spike s above the edge of a unit semicircle shows at s + 1/s.
    assert float(density.nodes.max()) == pytest.approx(3 + 1 / 3, rel=0.05)
    beyond = density.weights[density.nodes > 2.5].sum() / NUM_PROBES
    assert 0.2 / SIZE < float(beyond) < 5 / SIZE


def marchenko_pastur_cdf(points: np.ndarray, ratio: float) -> np.ndarray:
    """Integrate the Marchenko–Pastur density of ``XᵀX / N`` with ``P / N = ratio < 1``."""
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    grid = np.linspace(low, high, 20001)[1:-1]
    density = np.sqrt((high - grid) * (grid - low)) / (2 * np.pi * ratio * grid)
    total = integrate.cumulative_trapezoid(density, grid, initial=0)
    assert total[-1] == pytest.approx(1, abs=1e-3)
    return np.interp(points, grid, total)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_marchenko_pastur_is_recovered(ratio: float) -> None:
    """A sample covariance has the limiting cdf, to a Kolmogorov distance of .05."""
    num_samples = int(SIZE / ratio)
    data = torch.randn(num_samples, SIZE, generator=generator(3), dtype=torch.float64)

    density = density_of(data.T @ data / num_samples)

    points = torch.linspace(0, 5, 2001)
    known = marchenko_pastur_cdf(points.numpy(), ratio)
    assert np.abs(density.cdf(points).numpy() - known).max() <= 0.05


def test_weights_sum_to_one_and_the_mean_is_the_trace() -> None:
    """Every probe's weights are a distribution, and their mean estimates trace over size."""
    spectrum = torch.rand(SIZE, generator=generator(4), dtype=torch.float64)

    density = density_of(torch.diag(spectrum), num_steps=20)

    torch.testing.assert_close(density.weights.sum(1), torch.ones(NUM_PROBES).double())
    assert density.mean() == pytest.approx(float(spectrum.mean()), rel=0.05)


def test_joined_densities_average() -> None:
    """Pooling densities of different lengths averages their cdfs."""
    first = SpectralDensity(torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    second = SpectralDensity(torch.tensor([[1.0, 3.0]]).double(), torch.full((1, 2), 0.5).double())

    both = join_densities([first, second])

    points = torch.tensor([-1.0, 0.5, 2.0, 4.0])
    expected = (first.cdf(points) + second.cdf(points)) / 2
    torch.testing.assert_close(both.cdf(points), expected)
    assert expected.tolist() == [0.0, 0.5, 0.75, 1.0]


def test_the_density_of_batches_is_their_mean_density() -> None:
    """Mini-batch densities in small groups agree with the spectra of dense mini-batch Hessians."""
    case = mlp((4, 6, 3))
    objective = case.objective()
    index = torch.randint(len(case.examples), (64, 8), generator=generator(5))
    batches = case.examples.select(index)
    tight = Workspace(400_000, 3000, 100)

    density = measure_batch_density(objective, batches, generator(), num_steps=51, workspace=tight)

    known = torch.cat(
        [
            torch.linalg.eigvalsh(case.dense_hessian(Examples(x, y)))
            for x, y in zip(batches.inputs, batches.targets, strict=True)
        ]
    )
    assert kolmogorov(density, known) <= 0.05
