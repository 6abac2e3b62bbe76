"""Everything about one matrix at one point: spectrum, traces, noise and mini-batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from scaling_sweep.curvature.batch_hessians import (
    BatchSpectrum,
    measure_batch_density,
    measure_batch_spectrum,
)
from scaling_sweep.curvature.budget import OutOfTime
from scaling_sweep.curvature.density import estimate_density
from scaling_sweep.curvature.lanczos import find_extremes
from scaling_sweep.curvature.measurement import BatchDensity, MatrixMeasurement
from scaling_sweep.curvature.noise import (
    estimate_traces,
    measure_direction_noise,
    measure_hessian_noise,
)
from scaling_sweep.curvature.objective import Curvature
from scaling_sweep.curvature.operators import DataOperator
from scaling_sweep.curvature.site import Site
from scaling_sweep.krylov import draw_starts

Part = Callable[[Site, MatrixMeasurement], MatrixMeasurement]


def measure_parts(
    site: Site, found: Sequence[MatrixMeasurement], parts: Mapping[str, Part]
) -> tuple[MatrixMeasurement, ...]:
    """Measure some parts of every matrix, each part of all before the next part of any.

    Args:
        site: Where.
        found: What is known of each matrix so far.
        parts: ``COARSE`` or ``FINE``: by what they are in words.

    Returns:
        The matrices with what there was time for.
    """
    grown = list(found)
    for what, measure in parts.items():
        for place, matrix in enumerate(grown):
            grown[place] = site.budget.attempt(
                f"{what} of the {matrix.kind}", partial(measure, site, matrix), matrix
            )
    return tuple(grown)


def _find_ends(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    options, kind = site.options, found.kind
    operator = _operator(site, kind)
    start = draw_starts(1, site.objective.vector, site.generator("start", kind))[0]
    top_only = kind is Curvature.GGN
    ends = find_extremes(operator, start, options.rtol, options.max_products, top_only=top_only)
    site.num_products += operator.num_products
    site.doubt(f"largest eigenvalue of the {kind}", ends.top)
    if not top_only:
        # As where it was looked for: relative to the other end where that is much larger.
        site.doubt(f"smallest eigenvalue of the {kind}", ends.bottom, ends.top.value / 100)
    return replace(found, ends=ends)


def _measure_traces(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    operator, generator = _operator(site, found.kind), site.generator("trace", found.kind)
    traces = estimate_traces(operator, site.objective.vector, site.options.num_probes, generator)
    site.num_products += operator.num_products
    return replace(found, traces=traces)


def _measure_density(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    operator, steps = _operator(site, found.kind), site.options.num_density_steps
    generator = site.generator("density", found.kind)
    probes = draw_starts(site.options.num_probes, site.objective.vector, generator)
    density = estimate_density(operator, probes, steps, site.workspace.num_lanes(1, steps))
    site.num_products += operator.num_products
    return replace(found, density=density)


def _operator(site: Site, kind: Curvature) -> DataOperator:
    return DataOperator(site.objective, site.population.examples, kind, site.workspace)


def _measure_noise(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    noise = measure_hessian_noise(
        site.objective,
        site.population,
        site.generator("noise", found.kind),
        site.options.noise_batch_size,
        site.options.num_noise_batches,
        site.options.num_probes,
        found.kind,
        site.workspace,
    )
    return replace(found, noise=noise)


def _measure_direction(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    if found.ends is None:  # without a direction there is nothing to measure along
        raise OutOfTime
    noise = measure_direction_noise(
        site.objective,
        site.noise_batches("direction", found.kind),
        found.ends.top.vector,
        found.kind,
        site.workspace,
        site.population.variance_factor(site.options.noise_batch_size),
    )
    return replace(found, direction_noise=noise)


def _find_sharpest(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    """Measure the top eigenvalue of every one of some examples, none twice."""
    kind = found.kind
    batches = site.noise_batches("sharpest", kind)
    order = torch.randperm(len(batches), generator=site.generator("sharpest", kind))
    some = batches.select(order[: site.options.num_noise_batches])
    sharpest = measure_batch_spectrum(
        site.objective,
        some,
        site.generator("sharpest starts", kind),
        kind,
        site.options.batch_rtol,
        site.options.max_batch_products,
        site.workspace,
    )
    return replace(found, sharpest=sharpest)


def _measure_spectra(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    """Measure batches of every size, the largest last; what is finished is kept."""

    def measure(batch_size: int) -> BatchSpectrum:
        return measure_batch_spectrum(
            site.objective,
            site.batches(batch_size),
            site.generator("spectrum", found.kind, batch_size),
            found.kind,
            site.options.batch_rtol,
            site.options.max_batch_products,
            site.workspace,
        )

    what = f"largest eigenvalues of batches of the {found.kind}"
    return replace(found, batch_spectra=site.for_sizes(what, site.options.batch_sizes, measure))


def _measure_densities(site: Site, found: MatrixMeasurement) -> MatrixMeasurement:
    """Measure the densities of batches; what is finished is kept."""

    def measure(batch_size: int) -> BatchDensity:
        density = measure_batch_density(
            site.objective,
            site.batches(batch_size),
            site.generator("batch density", found.kind, batch_size),
            found.kind,
            site.options.num_density_steps,
            site.workspace,
        )
        return BatchDensity(batch_size, density)

    what = f"densities of batches of the {found.kind}"
    sizes = site.options.density_batch_sizes
    return replace(found, batch_densities=site.for_sizes(what, sizes, measure))


COARSE: Mapping[str, Part] = {
    "ends of the spectrum": _find_ends,
    "traces": _measure_traces,
    "noise along the top direction": _measure_direction,
    "noise": _measure_noise,
}
"""What most theories start from, first things first."""

FINE: Mapping[str, Part] = {
    "largest eigenvalues of batches": _measure_spectra,
    "largest eigenvalue of single examples": _find_sharpest,
    "density": _measure_density,
    "densities of batches": _measure_densities,
}
"""What takes longest, and pictures."""
