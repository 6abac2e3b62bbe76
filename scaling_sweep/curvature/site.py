"""One point with the data around it, ready to be measured."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from scaling_sweep.curvature.budget import Budget
from scaling_sweep.curvature.lanczos import Eigenpair
from scaling_sweep.curvature.objective import Objective, Policy
from scaling_sweep.curvature.options import CurvatureOptions
from scaling_sweep.curvature.populations import Population
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Point
from scaling_sweep.training.randomness import call_seeded, make_generator

_T = TypeVar("_T")


class Site:
    """Where curvature is measured.

    Args:
        task: What is trained.
        point: Where.
        options: What is measured.
        seed: Replicate, names the random streams.
        device: Where to compute; the CPU when None.

    Attributes:
        options: As given.
        objective: The loss around the point.
        population: The data.
        workspace: How much memory, and time.
        budget: How much time, counted from here.
        num_products: Products with the matrices of all the data, counted by those who make them.
    """

    def __init__(
        self,
        task: Task,
        point: Point,
        options: CurvatureOptions,
        seed: int,
        device: torch.device | None,
    ) -> None:
        self.options, self._seed = options, seed
        self.num_products = 0
        self._doubts: list[str] = []
        # The model's own draws do not matter: the point replaces them.
        model = call_seeded(task.make_model, "curvature")
        policy = options.policy
        self.objective = Objective(
            model, task.loss, point.params, point.buffers, policy, device=device
        )
        self.population = Population.of(
            task, options.num_examples, options.replacement, self.generator("population")
        )
        examples = self.population.examples
        self.objective.settle(examples.inputs, examples.targets)
        self.budget = Budget(options.max_seconds)
        self.workspace = Workspace.of(self.objective, examples, options.max_bytes, self.budget)
        if policy is Policy.FROZEN:
            size = self.workspace.micro_batch(len(examples))
            self.objective.freeze_statistics(
                self.objective.to_like(part.inputs) for part in examples.split(size)
            )

    def generator(self, *parts: str | int) -> torch.Generator:
        """Return the generator of a stream of this measurement, named by its parts."""
        return make_generator("curvature", self._seed, *parts)

    def batches(self, batch_size: int) -> Examples:
        """Draw the mini-batches of one size: the same for every matrix and for sharpness."""
        generator = self.generator("batches", batch_size)
        return self.population.draw(self.options.num_batches, batch_size, generator)

    def noise_batches(self, *parts: str | int) -> Examples:
        """Return the mini-batches that differences between examples are measured on.

        All single examples of the population, or, where one example alone has no loss, drawn
        batches from the stream of that name.
        """
        size = self.options.noise_batch_size
        if size == 1:
            return self.population.singles()
        return self.population.draw(self.options.num_noise_batches, size, self.generator(*parts))

    def for_sizes(
        self, what: str, batch_sizes: Sequence[int], measure: Callable[[int], _T]
    ) -> tuple[_T, ...]:
        """Measure something at every batch size; those there is no time for are left out.

        Args:
            what: What it is, in words.
            batch_sizes: Sizes, in the order to measure.
            measure: Does it at one size.

        Returns:
            What was measured, in the order of sizes.
        """
        found: list[_T] = []
        for size in batch_sizes:
            self.budget.attempt(
                f"{what}, B = {size}", partial(_append, found, measure, size), otherwise=None
            )
        return tuple(found)

    def doubt(self, what: str, pair: Eigenpair, least: float = 0.0) -> None:
        """Note an eigenvalue that fell short of its tolerance.

        Args:
            what: Which one, in words.
            pair: The eigenvalue.
            least: A smaller value is judged by this instead.
        """
        size = max(abs(pair.value), abs(least))
        if pair.residual > self.options.rtol * size:
            share = pair.residual / size if size > 0 else math.inf
            self._doubts.append(f"{what}: not settled, residual {share:.1%} of it")

    @property
    def notes(self) -> tuple[str, ...]:
        """How derivatives were taken where not as usual, then doubts about numbers."""
        return (*self.objective.notes, *self._doubts)


def _append(found: list[_T], measure: Callable[[int], _T], size: int) -> None:
    found.append(measure(size))
