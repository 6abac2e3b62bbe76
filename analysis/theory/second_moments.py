"""The exact mean-square edge of a linear recursion, from every example's Hessian.

Near a minimum that all examples share, a step multiplies the parameters by ``I − η H_B``. Their
second moment stays bounded up to ``η* = 2/λ_max(C† D)`` with ``C = ½(H ⊕ H)`` and
``D = (1 − p) H ⊗ H + p mean H_i ⊗ H_i`` (Mulayoff and Michaeli 2024, arXiv:2306.07850). Heavy ball
has the same form with ``C → (1 − β) C`` and ``D`` as in :func:`_momentum_term` [derived: the gain
of one AR(2) process per pair of eigenvalues; compared with brute force in the tests].
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, optimize
from scipy.sparse.linalg import eigsh

from analysis.theory.inputs import FloatArray

# The operator has d(d + 1)/2 rows and its making d⁴ numbers: 134 MB at 64.
MAX_DIMENSION: Final = 64
# Eigenvalues below this share of the largest count as flat (float64 and sums over examples).
_FLAT: Final = 1e-9
# Below this many rows a dense eigensolver is quicker than Lanczos (measured: a few ms).
_DENSE_ROWS: Final = 120


class SampleHessians:
    """Every example's Hessian at one shared minimum, ready for edges at any batch size.

    Works on symmetric matrices only, in the eigenbasis of the mean Hessian, where all but one term
    of the operator is diagonal.
    """

    def __init__(self, hessians: ArrayLike) -> None:
        """Prepare the operator, which costs ``n d⁴`` multiplications once.

        Args:
            hessians: Shape ``[n, d, d]``, symmetric, loss per squared parameter; their mean must
                have no negative eigenvalue, and ``d ≤ 64``.

        Raises:
            ValueError: If the shape is wrong, d too large, or the mean Hessian not positive
                semidefinite, so that no learning rate is stable.

        Example:
            >>> x = np.array([[1.0, 0.0], [0.0, 2.0]])
            >>> samples = SampleHessians(np.einsum("ni,nj->nij", x, x))
            >>> round(samples.edge(noise_share=1.0), 9), round(samples.edge(noise_share=0.0), 9)
            (0.5, 1.0)
        """
        matrices = np.asarray(hessians, dtype=float)
        _check(matrices)
        self.num_examples, self.dimension = matrices.shape[:2]
        eigenvalues, basis = linalg.eigh(matrices.mean(axis=0))
        if eigenvalues[0] < -_FLAT * max(abs(eigenvalues[-1]), np.finfo(float).tiny):
            raise ValueError(
                f"The mean Hessian has a negative eigenvalue, {eigenvalues[0]:.3g}: this is no "
                "minimum, and no learning rate keeps it. Use the Gauss-Newton matrices instead."
            )
        self.eigenvalues: FloatArray = np.maximum(eigenvalues, 0.0)
        self._rows = np.triu_indices(self.dimension)
        a, c = self.eigenvalues[self._rows[0]], self.eigenvalues[self._rows[1]]
        self._sums, self._products = a + c, a * c
        noise = _second_moment(basis.T @ matrices @ basis, self._rows)
        self._noise = noise - np.diag(self._products)

    def edge(self, noise_share: float, momentum: float = 0.0) -> float:
        """Return the largest learning rate whose second moment stays bounded.

        Args:
            noise_share: p, the variance of a batch mean over that between examples, not negative:
                ``(n − B)/(B(n − 1))``, or ``1/B`` with replacement.
            momentum: β of heavy ball, ``v ← βv + g``, in [0, 1).

        Returns:
            The edge.

        Raises:
            ValueError: If examples disagree in flat directions, where nothing holds the noise.
        """
        kept = self._sums > _FLAT * self._sums.max()
        noise = noise_share * self._noise
        stray = np.abs(np.diag(noise)[~kept]).max(initial=0.0)
        if stray > np.sqrt(_FLAT) * np.abs(noise).max(initial=0.0):
            raise ValueError(
                "Examples have curvature in directions in which the mean Hessian is flat: no "
                "learning rate is mean-square stable. Use the Gauss-Newton matrices instead."
            )
        scale = 1 / np.sqrt((1 - momentum) * self._sums[kept] / 2)
        operator = noise[np.ix_(kept, kept)]
        operator[np.diag_indices_from(operator)] += _momentum_term(
            self._sums[kept], self._products[kept], momentum
        )
        return 2 / _largest(scale[:, None] * operator * scale)

    def halving_share(self, momentum: float = 0.0) -> float:
        """Return the noise share at which the edge is half of the noiseless one.

        Args:
            momentum: β of heavy ball, in [0, 1).

        Returns:
            p, infinity where examples do not differ.
        """
        still = self.edge(0.0, momentum)

        def excess(share: float) -> float:
            return still / self.edge(share, momentum) - 2

        # 1/edge is convex in p and grows without end, unless there is no noise at all.
        high = 1.0
        while excess(high) < 0:
            if high > 1e9:
                return float("inf")
            high *= 8
        return float(optimize.brentq(excess, 0.0, high, rtol=1e-6, xtol=1e-12))


def gaussian_edge(
    eigenvalues: ArrayLike, batch_size: ArrayLike, momentum: float = 0.0
) -> FloatArray:
    """Return the exact mean-square edge of least squares on fresh Gaussian inputs.

    For inputs ``x ~ N(0, Σ)``, ``H_i = xxᵀ`` and ``E[xxᵀ S xxᵀ] = 2ΣSΣ + tr(ΣS) Σ``, so the
    operator closes on d diagonal entries. With Σ = I and no momentum the edge is ``2B/(B + d + 1)``
    [derived].

    Args:
        eigenvalues: Shape ``[d]``, of Σ, positive.
        batch_size: Examples per step, fresh in each, any shape.
        momentum: β of heavy ball, in [0, 1).

    Returns:
        The edge, shape of ``batch_size``.

    Example:
        >>> gaussian_edge(np.ones(64), [1, 65, 1e12]).round(6).tolist()
        [0.030303, 1.0, 2.0]
    """
    top = np.asarray(eigenvalues, dtype=float)
    noise = np.diag(top**2) + np.outer(top, top)
    scale = 1 / np.sqrt((1 - momentum) * top)
    still = np.diag(_momentum_term(2 * top, top**2, momentum))
    sizes = np.asarray(batch_size, dtype=float)
    edges = [
        2 / _largest(scale[:, None] * (noise / size + still) * scale) for size in sizes.ravel()
    ]
    return np.array(edges).reshape(sizes.shape)


def _momentum_term(sums: FloatArray, products: FloatArray, momentum: float) -> FloatArray:
    """Return the noiseless part of D for pairs of eigenvalues, by their sums and products.

    ``[(1 + β²) λ_a λ_c − β(λ_a² + λ_c²)]/(1 − β²)``: ``λ_a λ_c`` without momentum.
    """
    squares = sums**2 - 2 * products
    term: FloatArray = ((1 + momentum**2) * products - momentum * squares) / (1 - momentum**2)
    return term


def _check(matrices: FloatArray) -> None:
    """Refuse what is no stack of small symmetric matrices."""
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not matrices.size:
        raise ValueError(f"Sample Hessians need shape [n, d, d], got {list(matrices.shape)}.")
    if matrices.shape[1] > MAX_DIMENSION:
        raise ValueError(
            f"The exact edge takes at most {MAX_DIMENSION} parameters, got {matrices.shape[1]}. "
            "Use top_direction_curve or trace_curve, which bound it."
        )
    if not np.allclose(matrices, matrices.swapaxes(1, 2), rtol=1e-6, atol=1e-9):
        raise ValueError("Sample Hessians must be symmetric; got some that are not.")


def _second_moment(matrices: FloatArray, rows: tuple[np.ndarray, np.ndarray]) -> FloatArray:
    """Return ``S ↦ mean H_i S H_i`` on symmetric matrices, in the basis ``(E_ad + E_da)/√2``.

    Args:
        matrices: Shape ``[n, d, d]``.
        rows: Row and column indices of the upper triangle.

    Returns:
        Shape ``[m, m]`` with ``m = d(d + 1)/2``, symmetric.
    """
    n, d = matrices.shape[:2]
    flat = matrices.reshape(n, d * d)
    moments = (flat.T @ flat / n).reshape(d, d, d, d)
    (a, c), weight = rows, np.where(rows[0] == rows[1], np.sqrt(0.5), 1.0)
    straight = moments[a[:, None], a[None], c[:, None], c[None]]
    crossed = moments[a[:, None], c[None], c[:, None], a[None]]
    operator: FloatArray = weight[:, None] * (straight + crossed) * weight
    return operator


def _largest(operator: FloatArray) -> float:
    """Return the largest eigenvalue of a symmetric matrix."""
    size = len(operator)
    if size <= _DENSE_ROWS:
        return float(linalg.eigvalsh(operator, subset_by_index=[size - 1, size - 1])[0])
    start = np.ones(size)  # fixed, so that the same input gives the same digits
    return float(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)[0])
