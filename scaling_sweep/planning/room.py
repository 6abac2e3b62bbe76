"""How many copies of a model fit into the memory that a pack may take."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from scaling_sweep.spec import OptimizerSpec, SweepSpec

# A search begins with so many trials of a unit at once (`scaling_sweep.planning.bisection`).
_FIRST_PROBES = 3
# While a batch is drawn the one before lies there, its seed's and what is laid out for the copy
# (`scaling_sweep.training.batches`).
_BATCHES_WHILE_DRAWING = 3


class Basis(StrEnum):
    """What a law of memory rests on; the values are what a person reads."""

    GUESS = "a guess from one forward pass"
    MEASURED = "measured in a few small steps"


@dataclass(frozen=True)
class MemoryLaw:
    """Peak memory of a pack of K copies at batch size B, in bytes: an estimate.

    ``fixed + M · fixed_per_example + K · max(least_per_copy, per_copy + batch)``, where
    ``batch = max(M · per_copy_example + (B - M) · drawn_per_example, 3 · B · drawn_per_example)``
    and M of the examples are computed at once, all of them where no ``micro_batch`` cuts the batch:
    its inputs lie in memory as a whole even then, its activations a portion at a time.

    Attributes:
        fixed: Whatever the pack.
        fixed_per_example: Activations of a copy, where copies take turns (loop engine).
        least_per_copy: Of a copy while the optimizer moves it, or while it is evaluated.
        per_copy: Weights, moments and gradients, at the end of the forward pass.
        per_copy_example: Activations, where copies go together (vmap engine), and inputs.
        drawn_per_example: Inputs and targets.

    Example:
        >>> law = MemoryLaw(100, 0, 50, 30, 5, 1)
        >>> law.peak(num_copies=2, batch_size=20)
        360
        >>> law.peak(num_copies=2, batch_size=20, micro_batch=4)
        280
    """

    fixed: int
    fixed_per_example: int
    least_per_copy: int
    per_copy: int
    per_copy_example: int
    drawn_per_example: int

    def peak(self, num_copies: int, batch_size: int, micro_batch: int | None = None) -> int:
        """Return the estimated peak in bytes."""
        at_once = min(batch_size, micro_batch or batch_size)
        shared = self.fixed + at_once * self.fixed_per_example
        return shared + num_copies * self._copy(batch_size, at_once)

    def most_copies(self, num_bytes: int, batch_size: int, micro_batch: int | None = None) -> int:
        """Return how many copies fit into so much memory."""
        at_once = min(batch_size, micro_batch or batch_size)
        room = num_bytes - self.fixed - at_once * self.fixed_per_example
        return max(0, room // max(1, self._copy(batch_size, at_once)))

    def largest_batch(self, num_bytes: int) -> int:
        """Return the largest batch of a single copy that fits, computed as a whole."""
        drawing = _BATCHES_WHILE_DRAWING * self.drawn_per_example
        per_example = max(1, self.fixed_per_example + max(self.per_copy_example, drawing))
        largest = (num_bytes - self.fixed - self.per_copy) // per_example
        return max(0, largest) if self.peak(1, 1) <= num_bytes else 0

    def _copy(self, batch_size: int, at_once: int) -> int:
        waiting = (batch_size - at_once) * self.drawn_per_example
        drawing = _BATCHES_WHILE_DRAWING * batch_size * self.drawn_per_example
        batch = max(at_once * self.per_copy_example + waiting, drawing)
        return max(self.least_per_copy, self.per_copy + batch)


@dataclass(frozen=True)
class PackSize:
    """What memory lets packs of one kind be.

    Attributes:
        optimizer: Label.
        batch_size: Examples per step.
        most_copies: Copies that fit; 0 where not even one is expected to.
    """

    optimizer: str
    batch_size: int
    most_copies: int


@dataclass(frozen=True)
class MemoryRoom:
    """What memory lets packs be: decided once for a run, so that no pack has to be halved.

    Attributes:
        num_bytes: What a pack may take, a reserve for what no law sees left out.
        laws: What packs take, by the optimizer's label.
        basis: What the laws rest on.
        micro_batch: Examples of a copy computed at once; None for whole batches.

    Example:
        >>> law = MemoryLaw(100, 0, 50, 30, 2, 0)
        >>> MemoryRoom(1000, {"sgd": law}, Basis.MEASURED).most_copies("sgd", 20)
        12
    """

    num_bytes: int
    laws: Mapping[str, MemoryLaw]
    basis: Basis
    micro_batch: int | None = None

    def most_copies(self, optimizer: str, batch_size: int) -> int:
        """Return how many copies fit; 0 where not even one is expected to."""
        return self.laws[optimizer].most_copies(self.num_bytes, batch_size, self.micro_batch)

    def sizes(self, batch_sizes: Iterable[int]) -> tuple[PackSize, ...]:
        """Return what fits of every optimizer at each of some batch sizes, in that order."""
        sizes = tuple(batch_sizes)
        return tuple(
            PackSize(label, size, self.most_copies(label, size))
            for label in self.laws
            for size in sizes
        )

    def holds(self, num_copies: int, batch_sizes: Iterable[int]) -> bool:
        """Return whether so many copies fit of every optimizer at all of the batch sizes."""
        return all(size.most_copies >= num_copies for size in self.sizes([max(batch_sizes)]))


def most_together(spec: SweepSpec, most: int) -> int:
    """Return the most trials that a pack of a study can have.

    Args:
        spec: The study.
        most: How many train well together.

    Returns:
        As many, or fewer where fewer trials share a batch size and an optimizer.

    Example:
        >>> spec = SweepSpec.model_validate({
        ...     "name": "tiny", "task": "digits_mlp", "seeds": 2, "horizon": {"steps": 30},
        ...     "parameters": {"optimizer": {"values": ["sgd"]},
        ...                    "batch_size": {"values": [8]}, "lr": {"values": [0.1, 1]}}})
        >>> most_together(spec, 49), most_together(spec, 3)
        (4, 3)
    """
    bisect, damped = spec.bisection, spec.parameters.damping is not None

    def alike(optimizer: OptimizerSpec) -> int:
        rates = len(spec.lrs_for(optimizer))
        if bisect is None:
            return spec.seeds * rates * len(spec.dampings_for(optimizer))
        probes = max(_FIRST_PROBES, bisect.probes)
        return spec.most_seeds * probes * (rates if damped else 1)

    return min(most, max(map(alike, spec.optimizers)))
