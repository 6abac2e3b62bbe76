"""What is measured at a point, and how precisely."""

from dataclasses import dataclass

from scaling_sweep.curvature.objective import Curvature, Policy
from scaling_sweep.curvature.preconditioned import AdaptiveOptimizer
from scaling_sweep.curvature.workspace import DEFAULT_MAX_BYTES


@dataclass(frozen=True)
class CurvatureOptions:
    """The settings of ``measure_curvature``.

    Attributes:
        kinds: Which matrices.
        batch_sizes: Of the mini-batches whose spectra, sharpness and preconditioners are measured.
        num_batches: Mini-batches of each size.
        density_batch_sizes: Of the mini-batches whose densities are measured.
        num_examples: Bound on what "all the data" means; of larger data a random part, of a stream
            a sample. A sample of ``N`` raises ``λ₁`` by up to ``(1 + √(P/N))²``.
        replacement: Whether mini-batches of finite data draw with replacement.
        num_probes: Random vectors for traces and densities.
        num_density_steps: Lanczos steps of each density probe.
        noise_batch_size: Examples in the mini-batches that noise is measured on. 1 but under
            ``Policy.BATCH``, where one example alone has no loss.
        num_noise_batches: Mini-batches for each probe of Hessian noise, and for gradient noise.
        noise_sizes: The two sizes of the two-batch estimate of gradient noise.
        rtol: Wanted residual of full-data eigenvalues, relative; see ``find_extremes``.
        batch_rtol: The same of mini-batch eigenvalues; see ``find_top_values``.
        max_products: Bound on products for each pair of full-data eigenvalues.
        max_batch_products: Bound on products for each mini-batch.
        optimizers: Adam-like rules whose preconditioned sharpness is wanted.
        num_moment_steps: Gradients that feed a preconditioner at the frozen point. RMSprop does
            not correct for its first steps: 300 fill its ``v`` to 95 %.
        policy: What BatchNorm normalises by.
        max_bytes: Bound on working memory beside the model and the full-data Krylov basis.
        max_seconds: Bound on wall-clock time; None for none. What there is no time for is left out.
    """

    kinds: tuple[Curvature, ...] = (Curvature.HESSIAN, Curvature.GGN)
    batch_sizes: tuple[int, ...] = (1, 8, 32, 128)
    num_batches: int = 32
    density_batch_sizes: tuple[int, ...] = ()
    num_examples: int = 4096
    replacement: bool = True
    num_probes: int = 10
    num_density_steps: int = 40
    noise_batch_size: int = 1
    num_noise_batches: int = 256
    noise_sizes: tuple[int, int] = (1, 128)
    rtol: float = 1e-3
    batch_rtol: float = 1e-3
    max_products: int = 100
    max_batch_products: int = 50
    optimizers: tuple[AdaptiveOptimizer, ...] = ()
    num_moment_steps: int = 300
    policy: Policy = Policy.RUNNING
    max_bytes: int = DEFAULT_MAX_BYTES
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse single examples where BatchNorm needs company."""
        smallest = min(self.noise_batch_size, *self.noise_sizes, *self.batch_sizes)
        if self.policy is Policy.BATCH and smallest < 2:
            raise ValueError(
                "With statistics of each batch, one example alone has no loss: set batch_sizes, "
                "noise_sizes and noise_batch_size to at least 2, or take frozen statistics."
            )
