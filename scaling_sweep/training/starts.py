"""Trained starting points: one per seed, by a fixed recipe, shared by all trials of that seed."""

import io
import pickle
from collections.abc import Generator, Sequence

import torch

from scaling_sweep.errors import UserError
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.spec import SweepSpec, TrainedStart
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.batches import Batches
from scaling_sweep.training.choosing import ProbeBatch, choose_engine, is_random
from scaling_sweep.training.copies import Point, point_of, stack_points
from scaling_sweep.training.evaluation import Evaluator, untrained_engine
from scaling_sweep.training.pack import initial_model
from scaling_sweep.training.randomness import derive_seed
from scaling_sweep.training.shortage import do_what_fits, run_through


def train_starts(
    spec: SweepSpec, task: Task, seeds: Sequence[int], device: torch.device | None = None
) -> dict[int, Point]:
    """Train the sweep's recipe from initialisation for each seed.

    The result is a function of (sweep seed, seed) only. Where memory does not suffice for all of
    them at once, they are trained in parts.

    Args:
        spec: The sweep, whose ``start`` is a recipe.
        task: The sweep's task.
        seeds: Which replicates.
        device: Where to train; the CPU unless given.

    Returns:
        The trained point of each seed, with the optimizer's state.

    Raises:
        UserError: If the recipe diverges for a seed, or memory does not suffice for one copy.
        ValueError: If the sweep starts at initialisation.
    """
    if not isinstance(spec.start, TrainedStart):
        raise ValueError("The sweep starts at initialisation; there is nothing to train.")
    recipe, where = spec.start, device or torch.device("cpu")

    def train(some: tuple[int, ...]) -> Generator[int, None, dict[int, Point]]:
        return _train_stack(spec, task, recipe, some, where)

    done = run_through(do_what_fits(seeds, train))
    if done.waiting:
        raise UserError(
            f"start: out of memory with one copy at batch size {recipe.batch_size} "
            f"({done.reason}); write a smaller batch_size there, or take a smaller model"
        )
    return {seed: point for points in done.results for seed, point in points.items()}


def _train_stack(
    spec: SweepSpec, task: Task, recipe: TrainedStart, seeds: Sequence[int], device: torch.device
) -> Generator[int, None, dict[int, Point]]:
    """Train seeds that memory suffices for, or raise what the allocator says; yield the steps."""
    rule = make_rule(recipe.optimizer.name, recipe.optimizer.hyperparameters)
    models = {seed: initial_model(task, spec, seed).to(device) for seed in seeds}
    points = [Point.of(models[seed]) for seed in seeds]
    copies = stack_points(points, [recipe.lr] * len(seeds), rule, device)
    model = models[seeds[0]]
    inputs, targets = _batches(spec, task, recipe, seeds, device).draw(seeds)
    noise = [derive_seed(spec.sweep_seed, seed, "start noise") for seed in seeds]
    noise = noise if is_random(model, task, inputs[0], targets[0]) else []
    probe = ProbeBatch(inputs, targets, recipe.steps)
    engine = choose_engine(spec.engine, model, task, rule, copies, probe)
    evaluator = Evaluator(task, spec.sweep_seed, device)
    first = untrained_engine(engine, model, task, rule)
    before = evaluator.losses(copies, first).tolist()
    batches = _batches(spec, task, recipe, seeds, device)
    for step in range(recipe.steps):
        inputs, targets = batches.draw(seeds)
        engine.step(copies, inputs, targets, [seed + step for seed in noise], step)
        yield step + 1
    _refuse_diverged(seeds, before, evaluator.losses(copies, engine).tolist())
    return {seed: point_of(copies, row) for row, seed in enumerate(seeds)}


def dump_point(point: Point) -> bytes:
    """Write a point as bytes that only hold tensors."""
    buffer = io.BytesIO()
    parts = {"params": dict(point.params), "buffers": dict(point.buffers), "state": point.state}
    torch.save(parts, buffer)
    return buffer.getvalue()


def parse_point(data: bytes) -> Point:
    """Read what ``dump_point`` wrote.

    Args:
        data: Bytes of a point; anything but tensors in it is refused.

    Returns:
        The point.

    Raises:
        UserError: If they are not those of a point.

    Example:
        >>> point = Point({"w": torch.ones(2)}, {}, {})
        >>> parse_point(dump_point(point)).params["w"]
        tensor([1., 1.])
    """
    try:
        # weights_only: a pickle of anything but tensors is refused, not run.
        parts = torch.load(io.BytesIO(data), weights_only=True)
        return Point(parts["params"], parts["buffers"], parts["state"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise UserError(
            "a trained start in the run folder is not one that this program wrote; delete its "
            "folder starts and run the same command again"
        ) from error


def _batches(
    spec: SweepSpec, task: Task, recipe: TrainedStart, seeds: Sequence[int], device: torch.device
) -> Batches:
    names = [(spec.sweep_seed, seed, "start batches") for seed in seeds]
    replacement = spec.sampling == "replacement"
    return Batches(task, seeds, recipe.batch_size, replacement, names, device)


def _refuse_diverged(seeds: Sequence[int], before: Sequence[float], after: Sequence[float]) -> None:
    for seed, first, last in zip(seeds, before, after, strict=True):
        if not last < first:  # NaN is not below anything
            raise UserError(
                f"start: the recipe diverged for seed {seed} (loss {first:.4g} before, "
                f"{last:.4g} after); lower its lr, so that trials begin at a trained point"
            )
