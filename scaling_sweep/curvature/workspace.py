"""Data held in memory, and how work on them is cut so that it fits a stated number of bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scaling_sweep.curvature.budget import Budget
from scaling_sweep.curvature.objective import Objective

# What a product works on beside its arguments, in vectors: parameters, gradient, their tangents
# and the result. Counted, not measured; a test holds the sum at 1e7 parameters.
VECTORS_PER_LANE = 6
# Bytes of a product in those that a forward pass saves: values, tangents and gradients of both.
# A guess on the safe side; the same test holds it.
ACTIVATIONS_PER_LANE = 5
# Beside vectors, working memory may take this much where nobody says otherwise (guess).
DEFAULT_MAX_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Examples:
    """Data held in memory, on any device.

    Attributes:
        inputs: Shape ``[num_examples, ...]``, or ``[num_lanes, batch_size, ...]`` for mini-batches.
        targets: As the inputs.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Return the number of examples, or of lanes."""
        return len(self.inputs)

    def select(self, index: Tensor) -> "Examples":
        """Return the examples of an index of any shape."""
        return Examples(self.inputs[index], self.targets[index])

    def split(self, size: int) -> Iterator["Examples"]:
        """Yield portions of at most ``size`` along the first dimension."""
        for inputs, targets in zip(
            torch.split(self.inputs, size), torch.split(self.targets, size), strict=True
        ):
            yield Examples(inputs, targets)


@dataclass(frozen=True)
class Workspace:
    """What products may use: how they are cut to fit into memory, and how long they may go on.

    Attributes:
        max_bytes: Bound on working memory beside arguments and results.
        bytes_per_lane: What a lane takes whatever its batch.
        bytes_per_example: What each example of a lane takes on top.
        budget: How much time there is.

    Example:
        >>> Workspace(max_bytes=1000, bytes_per_lane=100, bytes_per_example=10).num_lanes(10)
        5
    """

    max_bytes: int
    bytes_per_lane: int
    bytes_per_example: int
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def of(
        cls,
        objective: Objective,
        examples: Examples,
        max_bytes: int = DEFAULT_MAX_BYTES,
        budget: Budget | None = None,
    ) -> "Workspace":
        """Measure what a product takes, from the bytes that one forward pass saves.

        Args:
            objective: The point.
            examples: Data; the first one is tried.
            max_bytes: Bound on working memory.
            budget: How much time there is; no bound when None.

        Returns:
            The plan.
        """
        item = objective.vector.element_size()
        saved = _saved_bytes(objective, examples, 2) - _saved_bytes(objective, examples, 1)
        one = examples.inputs[0].numel() * item
        return cls(
            max_bytes,
            VECTORS_PER_LANE * objective.size * item,
            max(1, ACTIVATIONS_PER_LANE * saved + 2 * one),
            budget or Budget(),
        )

    def num_lanes(self, num_examples: int, vectors_per_lane: int = 0) -> int:
        """Return how many lanes fit, at least 1.

        Args:
            num_examples: Examples in each lane.
            vectors_per_lane: Vectors of each lane that somebody else keeps, such as a basis.

        Returns:
            The number of lanes.
        """
        kept = vectors_per_lane * self.bytes_per_lane // VECTORS_PER_LANE
        lane = self.bytes_per_lane + kept + num_examples * self.bytes_per_example
        return max(1, self.max_bytes // lane)

    def micro_batch(self, num_examples: int) -> int:
        """Return how many of a lane's examples fit beside one lane, at least 1."""
        room = max(0, self.max_bytes - self.bytes_per_lane)
        return max(1, min(num_examples, room // self.bytes_per_example))


def _saved_bytes(objective: Objective, examples: Examples, num_examples: int) -> int:
    """Return the bytes that a forward pass of ``num_examples`` copies of one example saves."""
    index = torch.zeros(num_examples, dtype=torch.int64)
    sample = examples.select(index)
    total = 0

    def count(value: Tensor) -> Tensor:
        nonlocal total
        total += value.numel() * value.element_size()
        return value

    point = objective.vector.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
        objective.loss(point, objective.to_like(sample.inputs), objective.to_like(sample.targets))
    return total
