"""What theory needs to know of a model at one point: curvature, noise, and how sure we are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A number and how well it is known.

    Attributes:
        value: The estimate.
        stderr: Its standard error, in the same unit; 0 when it is exact.
    """

    value: float
    stderr: float = 0.0


@dataclass(frozen=True)
class BatchCurve:
    """A mean over random batches, at several batch sizes.

    Attributes:
        batch_size: Shape ``[n]``, ascending; examples per batch drawn *with* replacement. Batches
            of B out of N drawn without go in as ``B/(1 − B/N)``.
        mean: Shape ``[n]``, positive; mean over batches.
        stderr: Shape ``[n]``, standard error of ``mean``.
    """

    batch_size: FloatArray
    mean: FloatArray
    stderr: FloatArray

    def __post_init__(self) -> None:
        shapes = {np.shape(self.batch_size), np.shape(self.mean), np.shape(self.stderr)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"A batch curve needs three arrays of one length, got {shapes}.")
        if np.size(self.mean) == 0 or np.any(np.diff(self.batch_size) <= 0):
            raise ValueError(f"Batch sizes must ascend, got {np.asarray(self.batch_size)}.")
        if not np.all(np.asarray(self.mean) > 0):
            raise ValueError(f"A mean curvature must be positive, got {np.asarray(self.mean)}.")

    def at(self, batch_size: FloatArray) -> FloatArray:
        """Interpolate the mean, straight in log-log space.

        Args:
            batch_size: Any shape, examples drawn with replacement.

        Returns:
            Same shape; NaN outside the measured batch sizes, for nothing is extrapolated.

        Example:
            >>> curve = BatchCurve(np.array([1.0, 4.0]), np.array([8.0, 2.0]), np.zeros(2))
            >>> curve.at(np.array([2.0, 8.0])).round(6).tolist()
            [4.0, nan]
        """
        x, y = np.log(self.batch_size), np.log(self.mean)
        inside: FloatArray = np.exp(np.interp(np.log(batch_size), x, y, left=np.nan, right=np.nan))
        return inside


@dataclass(frozen=True)
class CurvatureSummary:
    """What a curvature measurement says of one model at one point; None where not measured.

    ``H_i`` and ``g_i`` are Hessian and gradient of the loss of example i alone, ``H`` and ``G``
    their means over the data, so that no entry depends on the batch it was estimated from. Where
    H has negative eigenvalues, mean-square theories want Gauss-Newton matrices in its place
    throughout: make a second summary of them.
    Curvatures are in loss per squared parameter: ``2 / curvature`` is a learning rate.

    Attributes:
        point: Where it was measured, for example ``after 1000 steps``.
        num_parameters: P.
        hessian_top: λ₁, the largest eigenvalue of H.
        ggn_top: The largest eigenvalue of the generalised Gauss-Newton matrix.
        hessian_noise: Pσ² = mean ‖(H_i − H) z‖² over examples and over z uniform on the unit
            sphere, which is mean ‖H_i − H‖²_F / P. From mini-batches of size s: s times the
            variance between batches.
        top_direction_variance: mean (vᵀH_i v − λ₁)² over examples, v the top eigenvector of H.
        top_direction_product_sq: mean ‖H_i v‖² over examples, v the top eigenvector of H.
        trace_hessian: Tr H.
        trace_ggn: Trace of the generalised Gauss-Newton matrix.
        frobenius_sq: ‖H‖²_F.
        mean_sample_frobenius_sq: mean ‖H_i‖²_F over examples.
        max_sample_top: β, the largest eigenvalue of any one H_i; max ‖x_i‖² for linear regression.
        gradient_noise_scale: B_simple = tr Σ / ‖G‖² in examples, Σ the covariance of g_i.
        gradient_sharpness: GᵀHG / ‖G‖².
        preconditioned_sharpness: The largest eigenvalue of D^(-1/2) H D^(-1/2), with D what the
            optimizer divides by (√v for Adam).
        state_batch_size: Batch size, as if with replacement, at which that v was gathered.
        batch_hessian_top: E[λ₁(H_B)] over batches B.
        batch_preconditioned_top: The same of the preconditioned batch Hessian.
        batch_sharpness: E[gᵀH_B g / ‖g‖²], g the gradient of the same batch.
    """

    point: str = ""
    num_parameters: int | None = None
    hessian_top: Measured | None = None
    ggn_top: Measured | None = None
    hessian_noise: Measured | None = None
    top_direction_variance: Measured | None = None
    top_direction_product_sq: Measured | None = None
    trace_hessian: Measured | None = None
    trace_ggn: Measured | None = None
    frobenius_sq: Measured | None = None
    mean_sample_frobenius_sq: Measured | None = None
    max_sample_top: Measured | None = None
    gradient_noise_scale: Measured | None = None
    gradient_sharpness: Measured | None = None
    preconditioned_sharpness: Measured | None = None
    state_batch_size: float | None = None
    batch_hessian_top: BatchCurve | None = None
    batch_preconditioned_top: BatchCurve | None = None
    batch_sharpness: BatchCurve | None = None

    def value(self, name: str) -> float:
        """Return a measured number.

        Args:
            name: An attribute that holds a :class:`Measured` or a plain number.

        Returns:
            Its value without the error.

        Raises:
            ValueError: If it was not measured.

        Example:
            >>> CurvatureSummary(hessian_top=Measured(2.0, 0.1)).value("hessian_top")
            2.0
        """
        entry = getattr(self, name)
        if entry is None:
            raise ValueError(f"{name} was not measured.")
        return float(entry.value if isinstance(entry, Measured) else entry)
