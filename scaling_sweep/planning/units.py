"""What a bisection closes in on: one edge per optimizer, place and seed, found on one lattice."""

import hashlib
import math
from dataclasses import dataclass

from analysis.axes import AXES, Axis
from scaling_sweep.planning.evidence import Measurement
from scaling_sweep.planning.grid import TrialMaker
from scaling_sweep.planning.trials import Trial
from scaling_sweep.spec import OptimizerSpec, SweepSpec
from scaling_sweep.spec.axes import ends_for

# Seeds 1 to 7 follow seed 0, and 8 to 63 follow them: few generations, so that packs are many and
# not thin. To know the median of three edges and not one saves about a tenth of a trial (guess).
_GENERATION = 8
# As far as an end may miss its lattice point, in steps: see `scaling_sweep.spec.grids`.
_NEAR = 1e-3


@dataclass(frozen=True, order=True)
class Place:
    """What is held while the axis is searched.

    Attributes:
        coordinate: Base-2 logarithm of what laws are a function of: batch size, or that over lr.
        batch_size: Examples per step.
        lr: Learning rate; None where it is what is searched.
    """

    coordinate: float
    batch_size: int
    lr: float | None


@dataclass(frozen=True)
class Unit:
    """One edge to be found.

    Attributes:
        optimizer: Label.
        place: What is held.
        seed: The replicate.
    """

    optimizer: str
    place: Place
    seed: int

    @property
    def generation(self) -> int:
        """Which units of the place must be finished before this one begins: those of lower ones."""
        generation, seeds = 0, self.seed
        while seeds:
            generation, seeds = generation + 1, seeds // _GENERATION
        return generation

    def at_seed(self, seed: int) -> "Unit":
        """Return the unit of another seed at the same place."""
        return Unit(self.optimizer, self.place, seed)

    def draw_lots(self, sweep_seed: int, num: int) -> tuple[float, ...]:
        """Draw numbers that depend on the unit alone.

        Args:
            sweep_seed: The study's own seed.
            num: How many, at most 8.

        Returns:
            Numbers in [0, 1).
        """
        parts = (sweep_seed, self.optimizer, self.place.batch_size, self.place.lr, self.seed)
        digest = hashlib.blake2b(repr(parts).encode(), digest_size=8 * num).digest()
        words = (digest[8 * i : 8 * i + 8] for i in range(num))
        return tuple(int.from_bytes(word, "big") / 2**64 for word in words)


@dataclass(frozen=True)
class Lattice:
    """The points that may be tried for one optimizer, counted by their rank in boldness.

    Rank ``k`` is the boldness ``2^(k/per_octave)``.

    Attributes:
        axis: What is searched.
        per_octave: Points per factor of 2.
        first: Mildest rank of the sweep's own range.
        last: Boldest rank of the sweep's own range.
        beyond: Ranks by which the search may leave the range, at either end.
    """

    axis: Axis
    per_octave: int
    first: int
    last: int
    beyond: int

    def rank_of(self, value: float) -> float:
        """Return the rank of a value of the axis, whole for a point of the lattice."""
        rank = float(math.log2(self.axis.bold(value))) * self.per_octave
        return float(round(rank)) if abs(rank - round(rank)) < _NEAR else rank

    def value_at(self, rank: int) -> float:
        """Return the value of the axis at a rank, rounded as a grid's points are."""
        sign = -1 if self.axis.inverse else 1
        return float(f"{2 ** (sign * rank / self.per_octave):.12g}")


def make_lattice(spec: SweepSpec, optimizer: OptimizerSpec) -> Lattice:
    """Return the lattice of one optimizer of a study that is searched by bisection.

    Args:
        spec: The study.
        optimizer: One of its optimizers.

    Returns:
        The lattice; a range between two points is widened to both.

    Raises:
        ValueError: If the study is a grid.
    """
    if spec.bisection is None:
        raise ValueError("A grid has no lattice of its own.")
    axis, steps = AXES[spec.parameters.searched], spec.bisection.per_octave
    grid = spec.parameters.lr if spec.parameters.damping is None else spec.parameters.damping
    bold = sorted(math.log2(axis.bold(end)) * steps for end in ends_for(grid, optimizer))
    first, last = math.ceil(bold[0] - _NEAR), math.floor(bold[1] + _NEAR)
    beyond = math.floor(math.log2(spec.bisection.widen) * steps + _NEAR)
    return Lattice(axis, steps, min(first, last), max(first, last), beyond)


def list_places(spec: SweepSpec, optimizer: OptimizerSpec) -> tuple[Place, ...]:
    """Return every place of an optimizer where an edge is searched, ascending.

    Args:
        spec: The study.
        optimizer: One of its optimizers.

    Returns:
        The batch sizes, each with each learning rate where the damping is searched.
    """
    rates = (None,) if spec.parameters.damping is None else spec.lrs_for(optimizer)
    return tuple(
        sorted(
            Place(math.log2(size / (lr or 1.0)), size, lr)
            for size in spec.batch_sizes
            for lr in rates
        )
    )


def trial_at(
    maker: TrialMaker, optimizer: OptimizerSpec, unit: Unit, lattice: Lattice, rank: int
) -> Trial:
    """Return the trial of a unit at a rank.

    Args:
        maker: Makes the study's trials.
        optimizer: The unit's optimizer.
        unit: Which edge is looked for.
        lattice: The optimizer's lattice.
        rank: Where to look.

    Returns:
        The trial.
    """
    value, place = lattice.value_at(rank), unit.place
    lr, damping = (value, None) if place.lr is None else (place.lr, value)
    return maker.make(optimizer, place.batch_size, lr, unit.seed, damping)


def unit_of(item: Measurement | Trial) -> Unit:
    """Return the unit that a trial or its measurement belongs to."""
    optimizer = item.optimizer if isinstance(item.optimizer, str) else item.optimizer.label
    lr = None if item.damping is None else item.lr
    place = Place(math.log2(item.batch_size / (lr or 1.0)), item.batch_size, lr)
    return Unit(optimizer, place, item.seed)
