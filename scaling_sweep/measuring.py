"""What a sweep file asks to know of curvature, measured point by point: the torch side."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from analysis.curvature_table import CurvatureTable
from scaling_sweep.curvature.along import ShortTraining, train_along
from scaling_sweep.curvature.batch_hessians import measure_batch_spectrum
from scaling_sweep.curvature.measure import measure_curvature
from scaling_sweep.curvature.objective import Curvature, Policy
from scaling_sweep.curvature.operators import mean_loss
from scaling_sweep.curvature.options import CurvatureOptions
from scaling_sweep.curvature.preconditioned import ADAPTIVE_OPTIMIZERS, AdaptiveOptimizer
from scaling_sweep.curvature.site import Site
from scaling_sweep.curvature_plan import MeasuringJob, point_label
from scaling_sweep.curvature_rows import Place, table_of
from scaling_sweep.errors import UserError
from scaling_sweep.spec import CurvatureSpec, ShortTrainingSpec, SweepSpec
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Point
from scaling_sweep.training.pack import initial_model
from scaling_sweep.training.starts import parse_point, train_starts

# The two-batch estimate of gradient noise takes single examples and this many (guess: its error
# falls slowly beyond, and its cost does not).
_LARGE_NOISE_BATCH = 128
# One example alone has no loss under statistics of its batch: noise is measured on so many (guess).
_SMALL_NOISE_BATCH = 8
# Batches whose mean sharpness sets the learning rate of the short training (guess).
_NUM_RATE_BATCHES = 8
# The short training's learning rate as a share of the edge where trials begin. It has to be large:
# a small rate wanders into regions that training near its edge never sees, on the digits MLP 5
# times sharper ones (measured, docs/theory_results.md).
_RATE_SHARE = 0.5
# Where the loss rises all the same, half of the rate, so many times (guess).
_NUM_RATES = 6


def measure_job(
    spec: SweepSpec,
    task: Task,
    job: MeasuringJob,
    start: bytes | None = None,
    device: torch.device | None = None,
) -> CurvatureTable:
    """Measure curvature at one point under one seed.

    Args:
        spec: The sweep; its section ``curvature``, or the defaults.
        task: The sweep's task.
        job: Which point and seed.
        start: The trained start of the seed, where the sweep has a recipe and it was trained.
        device: Where to compute; the CPU unless given.

    Returns:
        The table of this point and seed.

    Raises:
        UserError: If the short training diverges or raises the loss.
    """
    section = spec.curvature or CurvatureSpec()
    options = choose_options(spec, task)
    point = _begin(spec, task, job.seed, start, device)
    if job.step:
        # The short training is not measuring: the budget of time begins after it.
        site = Site(task, point, replace(options, max_seconds=None), job.seed, device)
        point = _train(task, point, site, section, job, device)
    measured = measure_curvature(task, point, options, job.seed, job.step, device=device)
    without = not options.replacement and task.num_examples is not None
    place = Place(spec.task.label, point_label(spec, job.step), without)
    return table_of(measured, place, section.max_seconds)


def measure_on_worker(
    spec: SweepSpec, search: tuple[str, ...], job: MeasuringJob, start: bytes | None
) -> CurvatureTable:
    """Measure one point and seed in a process of its own, within the resources of a pack.

    Args:
        spec: The sweep.
        search: Folders where a user's own task may lie.
        job: Which point and seed.
        start: The trained start of the seed; None to begin at initialisation.

    Returns:
        The table of this point and seed.
    """
    torch.set_num_threads(max(1, int(spec.resources.cpus)))
    task = load_task(spec.task.name, spec.task.args, search)
    return measure_job(spec, task, job, start, choose_device(spec))


def choose_device(spec: SweepSpec) -> torch.device:
    """Return the GPU where the sweep asks for one and there is one, else the CPU."""
    use_gpu = spec.resources.gpus > 0 and torch.cuda.is_available()
    return torch.device("cuda" if use_gpu else "cpu")


def choose_options(spec: SweepSpec, task: Task) -> CurvatureOptions:
    """Translate the section ``curvature`` for this task.

    Args:
        spec: The sweep; its section, or the defaults.
        task: The sweep's task.

    Returns:
        What is measured; without replacement, batches are smaller than the data.
    """
    section = spec.curvature or CurvatureSpec()
    policies = {"frozen": Policy.FROZEN, "running": Policy.RUNNING, "batch": Policy.BATCH}
    num_examples = min(section.num_examples, task.num_examples or section.num_examples)
    # Batches from a part of the data would be less noisy than those from all of it.
    replacement = spec.sampling == "replacement" or num_examples != task.num_examples
    sizes = _choose_sizes(section, spec, task, replacement)
    smallest = _SMALL_NOISE_BATCH if section.batchnorm == "batch" else 1
    large = _LARGE_NOISE_BATCH if replacement else min(_LARGE_NOISE_BATCH, num_examples)
    return CurvatureOptions(
        batch_sizes=sizes,
        num_batches=section.num_batches,
        density_batch_sizes=_choose_densities(sizes),
        num_examples=section.num_examples,
        replacement=replacement,
        num_probes=section.probes,
        noise_batch_size=smallest,
        num_noise_batches=section.noise_examples,
        noise_sizes=(smallest, max(large, smallest + 1)),
        max_products=section.max_products,
        max_seconds=section.max_seconds,
        optimizers=tuple(
            AdaptiveOptimizer(optimizer.name, optimizer.hyperparameters)
            for optimizer in spec.optimizers
            if optimizer.name in ADAPTIVE_OPTIMIZERS
        ),
        policy=policies[section.batchnorm],
    )


def _choose_sizes(
    section: CurvatureSpec, spec: SweepSpec, task: Task, replacement: bool
) -> tuple[int, ...]:
    """Return the batch sizes to measure, so that theory can be drawn at all of the sweep's.

    Batches of B out of N without replacement that are drawn with it take B/(1 − B/N) examples to
    be as noisy, rounded outwards at the ends; all of the data have no noise and are left out.
    """
    sizes = section.choose_batch_sizes(spec.batch_sizes)
    num_examples = task.num_examples
    if spec.sampling == "replacement" or num_examples is None:
        return sizes
    inside = [size for size in sizes if size < num_examples] or [1]
    if not replacement:
        return tuple(inside)
    alike = [size / (1 - size / num_examples) for size in inside]
    ends = {math.floor(alike[0]), math.ceil(alike[-1])}
    return tuple(sorted(ends | {round(size) for size in alike[1:-1]}))


def _choose_densities(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the batch sizes whose densities are measured: a small one and one in the middle."""
    return tuple(sorted({sizes[min(1, len(sizes) - 1)], sizes[len(sizes) // 2]}))


def _begin(
    spec: SweepSpec, task: Task, seed: int, start: bytes | None, device: torch.device | None
) -> Point:
    """Return where the trials of a seed begin, without an optimizer's state."""
    if spec.start == "init":
        return Point.of(initial_model(task, spec, seed))
    trained = parse_point(start) if start else train_starts(spec, task, [seed], device)[seed]
    return Point(trained.params, trained.buffers)


def _train(
    task: Task,
    point: Point,
    site: Site,
    section: CurvatureSpec,
    job: MeasuringJob,
    device: torch.device | None,
) -> Point:
    """Follow the short training to the job's point; one that goes uphill is refused."""
    recipe = section.training
    # All points of a seed lie on one training, so it has to be stable up to the last of them.
    steps = tuple(sorted({job.step, section.steps[-1]}))
    name, hyperparameters = recipe.optimizer.name, recipe.optimizer.hyperparameters
    for lr in _choose_rates(site, recipe):
        training = ShortTraining(name, lr, recipe.batch_size, steps, hyperparameters)
        try:
            points = train_along(task, point, training, site.options, job.seed, device)
            _refuse_uphill(task, site, points[-1], training, job.seed, device)
        except UserError as error:
            problem = error
        else:
            return points[steps.index(job.step)]
    raise problem


def _refuse_uphill(
    task: Task,
    site: Site,
    trained: Point,
    training: ShortTraining,
    seed: int,
    device: torch.device | None,
) -> None:
    there = Site(task, trained, site.options, seed, device)
    before, after = (
        mean_loss(at.objective, at.population.examples, at.workspace) for at in (site, there)
    )
    if not after < before:
        raise UserError(
            f"curvature: training with lr {training.lr:.4g} raised the loss from {before:.4g} to "
            f"{after:.4g} within {training.at_steps[-1]} steps; lower its lr, so that curvature "
            "can be measured"
        )


def _choose_rates(site: Site, recipe: ShortTrainingSpec) -> tuple[float, ...]:
    """Return the learning rates to try: the given one, or half of the edge and less."""
    if recipe.lr is not None:
        return (recipe.lr,)
    options, size = site.options, recipe.batch_size
    if not options.replacement:
        size = min(size, len(site.population.examples))
    found = measure_batch_spectrum(
        site.objective,
        site.population.draw(_NUM_RATE_BATCHES, size, site.generator("rate")),
        site.generator("rate starts"),
        Curvature.GGN,
        options.batch_rtol,
        options.max_batch_products,
        site.workspace,
    )
    if not found.top.value > 0:
        raise UserError(
            "curvature: there is none where training begins, so no lr for the short training can "
            "be read off it; give curvature.training.lr"
        )
    first = _RATE_SHARE * 2 / found.top.value
    return tuple(first / 2**halvings for halvings in range(_NUM_RATES))
