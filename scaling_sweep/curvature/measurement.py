"""What a measurement of curvature at one point holds."""

from dataclasses import dataclass

from scaling_sweep.curvature.batch_hessians import BatchSharpness, BatchSpectrum
from scaling_sweep.curvature.density import SpectralDensity
from scaling_sweep.curvature.gradient_noise import GradientNoise
from scaling_sweep.curvature.lanczos import Extremes
from scaling_sweep.curvature.noise import DirectionNoise, HessianNoise, Traces
from scaling_sweep.curvature.objective import Curvature
from scaling_sweep.curvature.preconditioned import PreconditionedSharpness


@dataclass(frozen=True)
class BatchDensity:
    """The mean spectral density of mini-batches of one size.

    Attributes:
        batch_size: Examples in each mini-batch.
        density: The density.
    """

    batch_size: int
    density: SpectralDensity


@dataclass(frozen=True)
class MatrixMeasurement:
    """What was found out about the Hessian, or about the GGN; None where time ran out first.

    Attributes:
        kind: Which of them.
        ends: Largest and smallest eigenvalue over all the data; of the GGN only the largest is
            waited for, its smallest is 0 wherever there are more parameters than outputs.
        traces: Trace and squared Frobenius norm over all the data.
        density: Spectral density over all the data.
        noise: How much the matrices of single examples differ in random directions.
        direction_noise: How much they differ along the top eigenvector.
        sharpest: Largest eigenvalues of some single examples (of small batches where one example
            alone has no loss).
        batch_spectra: Largest eigenvalues of mini-batches, by size.
        batch_densities: Spectral densities of mini-batches, by size.
    """

    kind: Curvature
    ends: Extremes | None = None
    traces: Traces | None = None
    density: SpectralDensity | None = None
    noise: HessianNoise | None = None
    direction_noise: DirectionNoise | None = None
    sharpest: BatchSpectrum | None = None
    batch_spectra: tuple[BatchSpectrum, ...] = ()
    batch_densities: tuple[BatchDensity, ...] = ()


@dataclass(frozen=True)
class CurvatureMeasurement:
    """Curvature and noise at one point.

    Attributes:
        task: Name of the task.
        seed: Replicate.
        step: Training steps before the point.
        num_parameters: Size of the point.
        num_examples: Examples that "all the data" means here.
        policy: What was done about BatchNorm and dropout, in words.
        loss: Mean loss over all the data.
        gradient_norm: ``‖G‖`` over all the data; NaN where time ran out first.
        gradient_sharpness: ``GᵀHG / ‖G‖²`` over all the data; NaN where the gradient vanishes or
            time ran out first.
        matrices: One for each kind asked for.
        sharpness: Batch sharpness by batch size.
        gradient_noise: From single examples: all of finite data, a sample of a stream.
        two_batch_noise: From pairs of batches.
        preconditioned: Preconditioned sharpness by optimizer and batch size.
        num_products: Products with the matrices of all the data.
        wall_time_s: Seconds the measurement took.
        notes: How derivatives were taken where not as usual, and numbers short of their tolerance.
        left_out: What there was no time for, in words; the fields of it are None or shorter.
    """

    task: str
    seed: int
    step: int
    num_parameters: int
    num_examples: int
    policy: str
    loss: float
    gradient_norm: float
    gradient_sharpness: float
    matrices: tuple[MatrixMeasurement, ...]
    sharpness: tuple[BatchSharpness, ...]
    gradient_noise: GradientNoise | None
    two_batch_noise: GradientNoise | None
    preconditioned: tuple[PreconditionedSharpness, ...]
    num_products: int
    wall_time_s: float
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def matrix(self, kind: Curvature) -> MatrixMeasurement:
        """Return the measurement of one matrix.

        Args:
            kind: Which.

        Returns:
            Its measurement.

        Raises:
            KeyError: If it was not measured.
        """
        for matrix in self.matrices:
            if matrix.kind is kind:
                return matrix
        raise KeyError(f"The {kind} was not measured; name it in CurvatureOptions.kinds.")
