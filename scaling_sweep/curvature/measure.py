"""Everything about the curvature at one point, collected: what the theory's curves start from."""

import math
import time
from functools import partial

import torch
from torch import Tensor

from scaling_sweep.curvature.batch_hessians import (
    BatchSharpness,
    measure_batch_sharpness,
    measure_batch_spectrum,
)
from scaling_sweep.curvature.gradient_noise import (
    GradientNoise,
    exact_gradient_noise,
    sample_gradient_noise,
    two_batch_gradient_noise,
)
from scaling_sweep.curvature.lanczos import find_extremes
from scaling_sweep.curvature.matrices import COARSE, FINE, measure_parts
from scaling_sweep.curvature.measurement import CurvatureMeasurement, MatrixMeasurement
from scaling_sweep.curvature.operators import DataOperator, mean_gradient, mean_loss, precondition
from scaling_sweep.curvature.options import CurvatureOptions
from scaling_sweep.curvature.preconditioned import (
    AdaptiveOptimizer,
    PreconditionedSharpness,
    gather_moments,
)
from scaling_sweep.curvature.site import Site
from scaling_sweep.krylov import draw_starts
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Point


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
        >>> from scaling_sweep.curvature.objective import Curvature
        >>> from scaling_sweep.tasks.least_squares import least_squares
        >>> task = least_squares(dim=8)
        >>> options = CurvatureOptions(batch_sizes=(2,), num_noise_batches=8, num_batches=4)
        >>> measured = measure_curvature(task, Point.of(task.make_model()), options)
        >>> bool(abs(measured.matrix(Curvature.HESSIAN).ends.top.value - 1) < 0.2)
        True
    """
    begin = time.perf_counter()
    site = Site(task, point, options or CurvatureOptions(), seed, device)
    objective, examples, attempt = site.objective, site.population.examples, site.budget.attempt
    # What is cheap and what most theories need comes first: time may run out.
    gradient, along = attempt("gradient", partial(_measure_gradient, site), (math.nan, math.nan))
    blank = tuple(MatrixMeasurement(kind) for kind in site.options.kinds)
    matrices = measure_parts(site, blank, COARSE)
    noise = attempt("gradient noise", partial(_measure_gradient_noise, site), None)
    sizes = site.options.batch_sizes
    sharpness = site.for_sizes("batch sharpness", sizes, partial(_measure_sharpness, site))
    preconditioned = _measure_preconditioned(site, point, trained_by)
    matrices = measure_parts(site, matrices, FINE)
    pairs = "gradient noise from pairs of batches"
    return CurvatureMeasurement(
        task=task.name,
        seed=seed,
        step=step,
        num_parameters=objective.size,
        num_examples=len(examples),
        policy=objective.policy_word,
        loss=mean_loss(objective, examples, site.workspace),
        gradient_norm=gradient,
        gradient_sharpness=along,
        matrices=matrices,
        sharpness=sharpness,
        gradient_noise=noise,
        two_batch_noise=attempt(pairs, partial(_measure_two_batch_noise, site), None),
        preconditioned=preconditioned,
        num_products=site.num_products,
        wall_time_s=time.perf_counter() - begin,
        notes=site.notes,
        left_out=tuple(site.budget.left_out),
    )


def _measure_gradient(site: Site) -> tuple[float, float]:
    """Return ``‖G‖`` and ``GᵀHG / ‖G‖²``; the latter is NaN where the gradient vanishes."""
    gradient = mean_gradient(site.objective, site.population.examples, site.workspace)
    return float(gradient.norm()), _measure_along_gradient(site, gradient)


def _measure_along_gradient(site: Site, gradient: Tensor) -> float:
    """Return ``GᵀHG / ‖G‖²``; NaN where the gradient vanishes."""
    hessian = DataOperator(site.objective, site.population.examples, workspace=site.workspace)
    along = torch.nn.functional.normalize(gradient, dim=0)
    site.num_products += 1
    square = float(along @ along)
    return float(along @ hessian(along[None])[0]) if square > 0 else math.nan


def _measure_sharpness(site: Site, batch_size: int) -> BatchSharpness:
    return measure_batch_sharpness(site.objective, site.batches(batch_size), site.workspace)


def _measure_gradient_noise(site: Site) -> GradientNoise:
    """Measure gradient noise exactly where examples are finite and have losses of their own."""
    options, size = site.options, site.options.noise_batch_size
    if size == 1 and site.population.stream is None:
        return exact_gradient_noise(site.objective, site.population, site.workspace)
    generator = site.generator("gradient noise")
    batches = site.population.draw(options.num_noise_batches, size, generator)
    factor = site.population.variance_factor(size)
    return sample_gradient_noise(site.objective, batches, site.workspace, factor)


def _measure_two_batch_noise(site: Site) -> GradientNoise:
    """Measure gradient noise from pairs of batches."""
    return two_batch_gradient_noise(
        site.objective,
        site.population,
        site.generator("two batches"),
        site.options.noise_sizes,
        site.options.num_noise_batches,
        site.workspace,
    )


def _measure_preconditioned(
    site: Site, point: Point, trained_by: AdaptiveOptimizer | None
) -> tuple[PreconditionedSharpness, ...]:
    """Measure preconditioned sharpness at every batch size, and with the point's own state."""
    found: list[PreconditionedSharpness] = []
    for optimizer in site.options.optimizers:
        measure = partial(_precondition_at, site, optimizer)
        what = f"sharpness as {optimizer.name} sees it"
        found += site.for_sizes(what, site.options.batch_sizes, measure)
    if trained_by is not None and point.state is not None:
        own = site.objective.flatten(trained_by.preconditioner(point.state))
        measure_own = partial(_precondition_by, site, trained_by, None, own)
        with_own = site.budget.attempt(
            f"sharpness as {trained_by.name}'s own state sees it", measure_own, None
        )
        found += [with_own] if with_own is not None else []
    return tuple(found)


def _precondition_at(
    site: Site, optimizer: AdaptiveOptimizer, batch_size: int
) -> PreconditionedSharpness:
    """Measure preconditioned sharpness with moments of batches of one size."""
    diagonal = gather_moments(
        site.objective,
        site.population,
        optimizer,
        batch_size,
        site.options.num_moment_steps,
        site.generator("moments", batch_size),
        site.workspace,
    )
    return _precondition_by(site, optimizer, batch_size, diagonal)


def _precondition_by(
    site: Site, optimizer: AdaptiveOptimizer, batch_size: int | None, diagonal: Tensor
) -> PreconditionedSharpness:
    """Find the preconditioned tops: of all the data, and of batches as large as fed the state."""
    options = site.options
    hessian = DataOperator(site.objective, site.population.examples, workspace=site.workspace)
    start = draw_starts(1, diagonal, site.generator("preconditioned", optimizer.name))[0]
    ends = find_extremes(
        precondition(hessian, diagonal), start, options.rtol, options.max_products, top_only=True
    )
    site.num_products += hessian.num_products
    at = "" if batch_size is None else f", B = {batch_size}"
    site.doubt(f"largest eigenvalue preconditioned by {optimizer.name}{at}", ends.top)
    batches = None
    if batch_size is not None:
        batches = measure_batch_spectrum(
            site.objective,
            site.batches(batch_size),
            site.generator("preconditioned batches", optimizer.name, batch_size),
            rtol=options.batch_rtol,
            max_products=options.max_batch_products,
            workspace=site.workspace,
            diagonal=diagonal,
        )
    return PreconditionedSharpness(optimizer, batch_size, ends.top, ends.num_products, batches)
