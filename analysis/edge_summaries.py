"""What is said of an edge: of one seed, and of the median over seeds."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.axes import Axis


class Censoring(StrEnum):
    """Whether the grid of values ended before the edge did.

    In edges it speaks of boldness: of the learning rate itself, of the inverse of a damping.
    """

    NONE = "none"
    LEFT = "left"  # even the smallest learning rate diverged: the edge lies below the grid
    RIGHT = "right"  # even the largest learning rate was stable: the edge lies above the grid

    def seen_on(self, axis: Axis) -> "Censoring":
        """Return the side in the axis' own values: small dampings are the bold ones."""
        mirrored = {Censoring.LEFT: Censoring.RIGHT, Censoring.RIGHT: Censoring.LEFT}
        return mirrored.get(self, self) if axis.inverse else self


@dataclass(frozen=True, order=True)
class Place:
    """What is held while an axis is searched, seeds apart.

    Attributes:
        batch_size: Examples per step.
        lr: The learning rate, None where it is the axis.
    """

    batch_size: int
    lr: float | None = None


@dataclass(frozen=True)
class Edge:
    """Where stability ends for one (place, seed): ``stable < edge <= diverged``, in boldness.

    Attributes:
        batch_size: Examples per step.
        seed: The replicate.
        stable: Lower end of the bracket; 0 when no value of the grid was stable.
        diverged: Upper end of the bracket; infinity when none diverged.
        num_misplaced: Trials on the wrong side of the split; 0 for a monotone outcome.
        lr: The learning rate that was held, None where it is the axis.
    """

    batch_size: int
    seed: int
    stable: float
    diverged: float
    num_misplaced: int = 0
    lr: float | None = None

    @property
    def place(self) -> Place:
        """What was held."""
        return Place(self.batch_size, self.lr)

    @property
    def censored(self) -> Censoring:
        """Which end of the bracket is open."""
        if self.stable == 0:
            return Censoring.LEFT
        return Censoring.RIGHT if np.isinf(self.diverged) else Censoring.NONE


@dataclass(frozen=True)
class MedianEdge:
    """The median edge over the seeds of one place, in boldness: LR_max(B) where lr is the axis.

    Attributes:
        batch_size: Examples per step.
        num_seeds: Seeds with an edge (failed trials give none).
        median: Median edge. The known end of the bracket when it is censored.
        median_ci: 95 % interval of the median; an end may be 0 or infinity when censored.
        stable: Median of the seeds' ``stable``.
        diverged: Median of the seeds' ``diverged``.
        censored: Whether the median edge lies outside the grid.
        lr: The learning rate that was held, None where it is the axis.
    """

    batch_size: int
    num_seeds: int
    median: float
    median_ci: tuple[float, float]
    stable: float
    diverged: float
    censored: Censoring
    lr: float | None = None

    @property
    def place(self) -> Place:
        """What was held."""
        return Place(self.batch_size, self.lr)
