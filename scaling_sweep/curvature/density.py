"""Spectral densities by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017).

For a start ``z`` uniform on the sphere, the Ritz values of ``k`` Lanczos steps with the squares of
their eigenvectors' first entries are the Gauss quadrature of the spectral measure that ``z`` sees,
and that measure's mean over ``z`` is the density of eigenvalues.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_sweep.krylov import Operator, build_krylov


@dataclass(frozen=True)
class SpectralDensity:
    """A density of eigenvalues as weighted points.

    Attributes:
        nodes: Shape ``[num_probes, num_nodes]``, float64, ascending in each row.
        weights: As ``nodes``, float64; each row sums to 1.
    """

    nodes: Tensor
    weights: Tensor

    def cdf(self, points: Tensor) -> Tensor:
        """Return the share of eigenvalues below each point, averaged over probes.

        A node counts half at its own place: there the true share lies between the sums without
        and with it (Chebyshev, Markov and Stieltjes).

        Args:
            points: Shape ``[num_points]``.

        Returns:
            Shape ``[num_points]``, float64, in [0, 1].
        """
        points = points.double()
        nodes, order = self.nodes.flatten().sort()
        weights = self.weights.flatten()[order] / len(self.nodes)
        sums = torch.cat([weights.new_zeros(1), weights.cumsum(0)])
        below = sums[torch.searchsorted(nodes, points)]
        upto = sums[torch.searchsorted(nodes, points, right=True)]
        return (below + upto) / 2

    def mean(self) -> float:
        """Return the mean eigenvalue, trace over size."""
        return float((self.nodes * self.weights).sum(1).mean())


def estimate_density(
    apply: Operator, starts: Tensor, num_steps: int = 60, max_lanes: int | None = None
) -> SpectralDensity:
    """Estimate the spectral density of a matrix, or the mean density of many.

    Args:
        apply: The matrix, or one for each lane.
        starts: Shape ``[num_probes, size]``, uniform on the sphere; see ``draw_starts``.
        num_steps: Lanczos steps of each probe; features narrower than about the width of the
            spectrum over ``num_steps`` are smeared.
        max_lanes: Probes run at once, for a matrix that all lanes share; all when None.

    Returns:
        The density.

    Example:
        >>> matrix = torch.diag(torch.tensor([0.0, 0.0, 0.0, 2.0]).double())
        >>> starts = torch.full((1, 4), 0.5).double()
        >>> estimate_density(lambda vectors: vectors @ matrix, starts).cdf(torch.tensor([1.0]))
        tensor([0.7500], dtype=torch.float64)
    """
    parts = []
    for some in torch.split(starts, max_lanes or len(starts)):
        krylov = build_krylov(apply, some, num_steps)
        ritz = krylov.ritz()
        parts.append(SpectralDensity(ritz.values, ritz.vectors[:, 0, :].square()))
    return join_densities(parts)


def join_densities(densities: Sequence[SpectralDensity]) -> SpectralDensity:
    """Average densities by pooling their probes, weightless nodes filling the shorter rows."""
    width = max(density.nodes.shape[1] for density in densities)
    nodes, weights = [], []
    for density in densities:
        missing = width - density.nodes.shape[1]
        last = density.nodes[:, -1:].expand(-1, missing)
        nodes.append(torch.cat([density.nodes, last], dim=1))
        weights.append(torch.nn.functional.pad(density.weights, (0, missing)))
    return SpectralDensity(torch.cat(nodes), torch.cat(weights))
