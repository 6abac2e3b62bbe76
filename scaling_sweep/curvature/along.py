"""Curvature at several points along one short, stable training."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from scaling_sweep.curvature.measure import measure_curvature
from scaling_sweep.curvature.measurement import CurvatureMeasurement
from scaling_sweep.curvature.options import CurvatureOptions
from scaling_sweep.curvature.preconditioned import ADAPTIVE_OPTIMIZERS, AdaptiveOptimizer
from scaling_sweep.errors import UserError
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.batches import Batches
from scaling_sweep.training.copies import Point, point_of, stack_points
from scaling_sweep.training.engines import LoopEngine
from scaling_sweep.training.randomness import call_seeded, derive_seed


@dataclass(frozen=True)
class ShortTraining:
    """A training that ought to be stable, and where to stop and measure.

    Attributes:
        optimizer: Name of the optimizer.
        lr: Learning rate, well below the edge.
        batch_size: Examples in each batch.
        at_steps: Steps before each measurement, ascending; 0 is the start.
        hyperparameters: Of the optimizer, by name; those left out take their usual values.
    """

    optimizer: str
    lr: float
    batch_size: int
    at_steps: tuple[int, ...]
    hyperparameters: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the order of the steps."""
        if not self.at_steps or list(self.at_steps) != sorted(set(self.at_steps)):
            raise ValueError(f"at_steps must ascend and name a step, got {self.at_steps}.")
        if self.at_steps[0] < 0:
            raise ValueError(f"at_steps counts steps from 0, got {self.at_steps[0]}.")


def measure_along(
    task: Task,
    start: Point,
    training: ShortTraining,
    options: CurvatureOptions | None = None,
    seed: int = 0,
    device: torch.device | None = None,
) -> tuple[CurvatureMeasurement, ...]:
    """Train from a point and measure curvature on the way.

    Args:
        task: What is trained.
        start: Where training begins.
        training: How it goes, and where to measure.
        options: What is measured; the usual when None.
        seed: Replicate, names the random streams.
        device: Where to compute; the CPU unless given.

    Returns:
        One measurement for each of ``training.at_steps``.

    Example:
        >>> from scaling_sweep.tasks.least_squares import least_squares
        >>> task = least_squares(dim=4)
        >>> training = ShortTraining("sgd", lr=0.1, batch_size=8, at_steps=(0, 20))
        >>> options = CurvatureOptions(batch_sizes=(2,), num_batches=2, num_noise_batches=4)
        >>> at = measure_along(task, Point.of(task.make_model()), training, options)
        >>> [point.step for point in at], at[1].loss < at[0].loss
        ([0, 20], True)
    """
    points = train_along(task, start, training, options, seed, device)
    adaptive = training.optimizer in ADAPTIVE_OPTIMIZERS
    by = AdaptiveOptimizer(training.optimizer, training.hyperparameters) if adaptive else None
    return tuple(
        measure_curvature(task, point, options, seed, step, by if step > 0 else None, device)
        for step, point in zip(training.at_steps, points, strict=True)
    )


def train_along(
    task: Task,
    start: Point,
    training: ShortTraining,
    options: CurvatureOptions | None = None,
    seed: int = 0,
    device: torch.device | None = None,
) -> tuple[Point, ...]:
    """Train from a point and return the points to measure at, with the optimizer's state.

    Args:
        task: What is trained.
        start: Where training begins.
        training: How it goes.
        options: Say whether batches are drawn with replacement.
        seed: Replicate, names the random streams.
        device: Where to compute; the CPU unless given.

    Returns:
        One point for each of ``training.at_steps``, on the CPU.

    Raises:
        UserError: If training diverges before the last of them.
    """
    device, replacement = device or torch.device("cpu"), (options or CurvatureOptions()).replacement
    rule = make_rule(training.optimizer, training.hyperparameters)
    model = call_seeded(task.make_model, "curvature").to(device)
    engine = LoopEngine(model, task, rule)
    copies = stack_points([start], [training.lr], rule, device)
    names = [("curvature", seed, training.batch_size, "training")]
    batches = Batches(task, [seed], training.batch_size, replacement, names, device)
    noise = derive_seed("curvature", seed, "noise")
    points = []
    for step in range(training.at_steps[-1] + 1):
        if step in training.at_steps:
            points.append(point_of(copies, 0))
        inputs, targets = batches.draw([seed])
        engine.step(copies, inputs, targets, [noise + step], step)
    if not all(bool(value.isfinite().all()) for value in points[-1].params.values()):
        raise UserError(
            f"curvature: training with lr {training.lr} diverged within "
            f"{training.at_steps[-1]} steps; lower its lr, so that curvature can be measured"
        )
    return tuple(points)
