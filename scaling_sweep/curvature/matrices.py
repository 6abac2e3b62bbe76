"""Everything about one matrix at one point: spectrum, traces, noise and mini-batches."""

import torch
from torch import Tensor

from scaling_sweep.curvature.batch_hessians import (
    BatchSpectrum,
    measure_batch_density,
    measure_batch_spectrum,
)
from scaling_sweep.curvature.density import estimate_density
from scaling_sweep.curvature.lanczos import find_extremes
from scaling_sweep.curvature.measurement import BatchDensity, MatrixMeasurement
from scaling_sweep.curvature.noise import (
    DirectionNoise,
    HessianNoise,
    estimate_traces,
    measure_direction_noise,
    measure_hessian_noise,
)
from scaling_sweep.curvature.objective import Curvature
from scaling_sweep.curvature.operators import DataOperator
from scaling_sweep.curvature.site import Site
from scaling_sweep.krylov import draw_starts


def measure_matrix(site: Site, kind: Curvature) -> MatrixMeasurement:
    """Measure the Hessian or the GGN.

    Args:
        site: Where.
        kind: Which matrix.

    Returns:
        What ``site.options`` ask for.
    """
    options, objective = site.options, site.objective
    operator = DataOperator(objective, site.population.examples, kind, site.workspace)
    start = draw_starts(1, objective.vector, site.generator("start", kind))[0]
    top_only = kind is Curvature.GGN
    ends = find_extremes(operator, start, options.rtol, options.max_products, top_only=top_only)
    traces = estimate_traces(
        operator, objective.vector, options.num_probes, site.generator("trace", kind)
    )
    probes = draw_starts(options.num_probes, objective.vector, site.generator("density", kind))
    steps = options.num_density_steps
    density = estimate_density(operator, probes, steps, site.workspace.num_lanes(1, steps))
    site.num_products += operator.num_products
    return MatrixMeasurement(
        kind=kind,
        ends=ends,
        traces=traces,
        density=density,
        noise=_measure_noise(site, kind),
        direction_noise=_measure_direction(site, kind, ends.top.vector),
        sharpest=_find_sharpest(site, kind),
        batch_spectra=_measure_spectra(site, kind),
        batch_densities=_measure_densities(site, kind),
    )


def _measure_noise(site: Site, kind: Curvature) -> HessianNoise:
    return measure_hessian_noise(
        site.objective,
        site.population,
        site.generator("noise", kind),
        site.options.noise_batch_size,
        site.options.num_noise_batches,
        site.options.num_probes,
        kind,
        site.workspace,
    )


def _measure_direction(site: Site, kind: Curvature, direction: Tensor) -> DirectionNoise:
    factor = site.population.variance_factor(site.options.noise_batch_size)
    batches = site.noise_batches("direction", kind)
    return measure_direction_noise(site.objective, batches, direction, kind, site.workspace, factor)


def _find_sharpest(site: Site, kind: Curvature) -> BatchSpectrum:
    """Measure the top eigenvalue of every one of some examples, none twice."""
    batches = site.noise_batches("sharpest", kind)
    order = torch.randperm(len(batches), generator=site.generator("sharpest", kind))
    some = batches.select(order[: site.options.num_noise_batches])
    return measure_batch_spectrum(
        site.objective,
        some,
        site.generator("sharpest starts", kind),
        kind,
        site.options.batch_rtol,
        site.options.max_batch_products,
        site.workspace,
    )


def _measure_spectra(site: Site, kind: Curvature) -> tuple[BatchSpectrum, ...]:
    return tuple(
        measure_batch_spectrum(
            site.objective,
            site.batches(batch_size),
            site.generator("spectrum", kind, batch_size),
            kind,
            site.options.batch_rtol,
            site.options.max_batch_products,
            site.workspace,
        )
        for batch_size in site.options.batch_sizes
    )


def _measure_densities(site: Site, kind: Curvature) -> tuple[BatchDensity, ...]:
    densities = []
    for batch_size in site.options.density_batch_sizes:
        density = measure_batch_density(
            site.objective,
            site.batches(batch_size),
            site.generator("batch density", kind, batch_size),
            kind,
            site.options.num_density_steps,
            site.workspace,
        )
        densities.append(BatchDensity(batch_size, density))
    return tuple(densities)
