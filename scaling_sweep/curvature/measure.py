"""Everything about the curvature at one point, collected: what the theory's curves start from."""

import time

import torch
from torch import Tensor

from scaling_sweep.curvature.batch_hessians import (
    BatchSharpness,
    BatchSpectrum,
    measure_batch_density,
    measure_batch_sharpness,
    measure_batch_spectrum,
)
from scaling_sweep.curvature.density import estimate_density
from scaling_sweep.curvature.gradient_noise import (
    GradientNoise,
    exact_gradient_noise,
    sample_gradient_noise,
    two_batch_gradient_noise,
)
from scaling_sweep.curvature.krylov import draw_starts
from scaling_sweep.curvature.lanczos import find_extremes
from scaling_sweep.curvature.measurement import (
    BatchDensity,
    CurvatureMeasurement,
    MatrixMeasurement,
)
from scaling_sweep.curvature.noise import (
    DirectionNoise,
    HessianNoise,
    estimate_traces,
    measure_direction_noise,
    measure_hessian_noise,
)
from scaling_sweep.curvature.objective import Curvature, Objective, Policy
from scaling_sweep.curvature.operators import DataOperator, mean_gradient, mean_loss
from scaling_sweep.curvature.options import CurvatureOptions
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.preconditioned import (
    AdaptiveOptimizer,
    PreconditionedSharpness,
    gather_moments,
    precondition,
)
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Point
from scaling_sweep.training.randomness import call_seeded, make_generator


def measure_curvature(
    task: Task,
    point: Point,
    options: CurvatureOptions | None = None,
    seed: int = 0,
    step: int = 0,
    trained_by: AdaptiveOptimizer | None = None,
    device: torch.device | None = None,
) -> CurvatureMeasurement:
    """Measure curvature and noise at a point.

    The result is a function of the arguments: each part draws from a stream of its own.

    Args:
        task: What is trained.
        point: Where.
        options: What is measured; the usual when None.
        seed: Replicate, names the random streams.
        step: Training steps before the point, for the record.
        trained_by: The optimizer whose state the point carries, to precondition by as it is.
        device: Where to compute; the CPU unless given.

    Returns:
        The measurement.

    Example:
        >>> from scaling_sweep.tasks.least_squares import least_squares
        >>> task = least_squares(dim=8)
        >>> options = CurvatureOptions(batch_sizes=(2,), num_noise_batches=8, num_batches=4)
        >>> measured = measure_curvature(task, Point.of(task.make_model()), options)
        >>> bool(abs(measured.matrix(Curvature.HESSIAN).ends.top.value - 1) < 0.2)
        True
    """
    begin = time.perf_counter()
    measuring = _Measuring(task, point, options or CurvatureOptions(), seed, device)
    matrices = measuring.matrices()
    preconditioned = measuring.preconditioned(point, trained_by)
    objective, population = measuring.objective, measuring.population
    gradient = mean_gradient(objective, population.examples, measuring.workspace)
    return CurvatureMeasurement(
        task=task.name,
        seed=seed,
        step=step,
        num_parameters=objective.size,
        num_examples=len(population.examples),
        policy=objective.policy_word,
        loss=mean_loss(objective, population.examples, measuring.workspace),
        gradient_norm=float(gradient.norm()),
        matrices=matrices,
        sharpness=measuring.sharpness(),
        gradient_noise=measuring.gradient_noise(),
        two_batch_noise=measuring.two_batch_noise(),
        preconditioned=preconditioned,
        num_products=measuring.num_products,
        wall_time_s=time.perf_counter() - begin,
    )


class _Measuring:
    """One measurement under way."""

    def __init__(
        self,
        task: Task,
        point: Point,
        options: CurvatureOptions,
        seed: int,
        device: torch.device | None,
    ) -> None:
        self._options, self._seed = options, seed
        self.num_products = 0
        # The model's own draws do not matter: the point replaces them.
        model = call_seeded(task.make_model, "curvature")
        policy = options.policy
        self.objective = Objective(
            model, task.loss, point.params, point.buffers, policy, device=device
        )
        self.population = Population.of(
            task, options.num_examples, options.replacement, self._generator("population")
        )
        examples = self.population.examples
        self.workspace = Workspace.of(self.objective, examples, options.max_bytes)
        if policy is Policy.FROZEN:
            size = self.workspace.micro_batch(len(examples))
            self.objective.freeze_statistics(
                self.objective.to_like(part.inputs) for part in examples.split(size)
            )

    def _generator(self, *parts: str | int) -> torch.Generator:
        return make_generator("curvature", self._seed, *parts)

    def matrices(self) -> tuple[MatrixMeasurement, ...]:
        """Measure every matrix asked for."""
        return tuple(self._matrix(kind) for kind in self._options.kinds)

    def _matrix(self, kind: Curvature) -> MatrixMeasurement:
        options, objective, population = self._options, self.objective, self.population
        operator = DataOperator(objective, population.examples, kind, self.workspace)
        start = draw_starts(1, objective.vector, self._generator("start", kind))[0]
        top_only = kind is Curvature.GGN
        ends = find_extremes(operator, start, options.rtol, options.max_products, top_only=top_only)
        traces = estimate_traces(
            operator, objective.vector, options.num_probes, self._generator("trace", kind)
        )
        probes = draw_starts(options.num_probes, objective.vector, self._generator("density", kind))
        steps = options.num_density_steps
        lanes = self.workspace.num_lanes(1, steps)
        density = estimate_density(operator, probes, steps, lanes)
        self.num_products += operator.num_products
        return MatrixMeasurement(
            kind=kind,
            ends=ends,
            traces=traces,
            density=density,
            noise=self._hessian_noise(kind),
            direction_noise=self._direction_noise(kind, ends.top.vector),
            batch_spectra=self._batch_spectra(kind),
            batch_densities=self._batch_densities(kind),
        )

    def _hessian_noise(self, kind: Curvature) -> HessianNoise:
        return measure_hessian_noise(
            self.objective,
            self.population,
            self._generator("noise", kind),
            self._options.noise_batch_size,
            self._options.num_noise_batches,
            self._options.num_probes,
            kind,
            self.workspace,
        )

    def _direction_noise(self, kind: Curvature, direction: Tensor) -> DirectionNoise:
        size = self._options.noise_batch_size
        if size == 1:
            batches = self.population.singles()
        else:
            num_batches = self._options.num_noise_batches
            batches = self.population.draw(num_batches, size, self._generator("direction", kind))
        factor = self.population.variance_factor(size)
        return measure_direction_noise(
            self.objective, batches, direction, kind, self.workspace, factor
        )

    def _batch_spectra(self, kind: Curvature) -> tuple[BatchSpectrum, ...]:
        options = self._options
        return tuple(
            measure_batch_spectrum(
                self.objective,
                self._batches(batch_size),
                self._generator("spectrum", kind, batch_size),
                kind,
                options.batch_rtol,
                options.max_batch_products,
                self.workspace,
            )
            for batch_size in options.batch_sizes
        )

    def _batch_densities(self, kind: Curvature) -> tuple[BatchDensity, ...]:
        densities = []
        for batch_size in self._options.density_batch_sizes:
            density = measure_batch_density(
                self.objective,
                self._batches(batch_size),
                self._generator("batch density", kind, batch_size),
                kind,
                self._options.num_density_steps,
                self.workspace,
            )
            densities.append(BatchDensity(batch_size, density))
        return tuple(densities)

    def _batches(self, batch_size: int) -> Examples:
        """Draw the mini-batches of one size: the same for every matrix and for sharpness."""
        generator = self._generator("batches", batch_size)
        return self.population.draw(self._options.num_batches, batch_size, generator)

    def sharpness(self) -> tuple[BatchSharpness, ...]:
        """Measure batch sharpness at every batch size."""
        return tuple(
            measure_batch_sharpness(self.objective, self._batches(size), self.workspace)
            for size in self._options.batch_sizes
        )

    def gradient_noise(self) -> GradientNoise:
        """Measure gradient noise exactly where examples are finite and have losses of their own."""
        options, size = self._options, self._options.noise_batch_size
        if size == 1 and self.population.stream is None:
            return exact_gradient_noise(self.objective, self.population, self.workspace)
        generator = self._generator("gradient noise")
        batches = self.population.draw(options.num_noise_batches, size, generator)
        factor = self.population.variance_factor(size)
        return sample_gradient_noise(self.objective, batches, self.workspace, factor)

    def two_batch_noise(self) -> GradientNoise:
        """Measure gradient noise from pairs of batches."""
        return two_batch_gradient_noise(
            self.objective,
            self.population,
            self._generator("two batches"),
            self._options.noise_sizes,
            self._options.num_noise_batches,
            self.workspace,
        )

    def preconditioned(
        self, point: Point, trained_by: AdaptiveOptimizer | None
    ) -> tuple[PreconditionedSharpness, ...]:
        """Measure preconditioned sharpness at every batch size, and with the point's own state."""
        options, found = self._options, []
        for optimizer in options.optimizers:
            for size in options.batch_sizes:
                diagonal = gather_moments(
                    self.objective,
                    self.population,
                    optimizer,
                    size,
                    options.num_moment_steps,
                    self._generator("moments", size),
                    self.workspace,
                )
                found.append(self._preconditioned(optimizer, size, diagonal))
        if trained_by is not None and point.state is not None:
            own = self.objective.flatten(trained_by.preconditioner(point.state))
            found.append(self._preconditioned(trained_by, None, own))
        return tuple(found)

    def _preconditioned(
        self, optimizer: AdaptiveOptimizer, batch_size: int | None, diagonal: Tensor
    ) -> PreconditionedSharpness:
        hessian = DataOperator(self.objective, self.population.examples, workspace=self.workspace)
        start = draw_starts(1, diagonal, self._generator("preconditioned", optimizer.name))[0]
        ends = find_extremes(
            precondition(hessian, diagonal),
            start,
            self._options.rtol,
            self._options.max_products,
            top_only=True,
        )
        self.num_products += hessian.num_products
        return PreconditionedSharpness(optimizer, batch_size, ends.top, ends.num_products)
