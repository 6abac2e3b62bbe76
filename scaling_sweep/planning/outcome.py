"""What a bisection has found so far, and where it had to leave its range, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from scaling_sweep.planning.evidence import Measurement
from scaling_sweep.planning.searching import current_needs
from scaling_sweep.spec import OptimizerSpec, SweepSpec


@dataclass(frozen=True)
class EdgeCount:
    """How many edges a bisection has found.

    Attributes:
        num_found: Edges that are found as finely as was asked, or cannot be found at all.
        num_wanted: Edges to find, with as many seeds as are asked for so far.
    """

    num_found: int
    num_wanted: int

    def text(self) -> str:
        """Return one clause for people."""
        return f"{self.num_found:,} of {self.num_wanted:,} edges found"


def count_edges(spec: SweepSpec, known: Sequence[Measurement]) -> EdgeCount:
    """Count the edges that are found.

    Args:
        spec: A study that is searched by bisection.
        known: What is known.

    Returns:
        The count over all optimizers.
    """
    needs = [need for item in spec.optimizers for need in current_needs(spec, item, known)]
    return EdgeCount(sum(need.finished for need in needs), len(needs))


def describe_widening(spec: SweepSpec, known: Sequence[Measurement]) -> tuple[str, ...]:
    """Say where a bisection looked beyond the range it was given.

    Args:
        spec: A study that is searched by bisection.
        known: What is known.

    Returns:
        At most one sentence for each end of each optimizer's range.
    """
    return tuple(line for item in spec.optimizers for line in _widened(spec, item, known))


def _widened(
    spec: SweepSpec, optimizer: OptimizerSpec, known: Sequence[Measurement]
) -> tuple[str, ...]:
    from scaling_sweep.planning.units import make_lattice  # slow to import

    lattice, axis = make_lattice(spec, optimizer), spec.parameters.searched
    own = (item for item in known if item.optimizer == optimizer.label)
    values = (item.lr if axis == "lr" else item.damping for item in own)
    ranks = [round(lattice.rank_of(value)) for value in values if value is not None]
    if not ranks:
        return ()

    def shown(rank: int) -> str:
        return f"{lattice.value_at(rank):.3g}"

    mild, bold = min(ranks), max(ranks)
    ends = ([(lattice.first, mild)] if mild < lattice.first else []) + (
        [(lattice.last, bold)] if bold > lattice.last else []
    )
    return tuple(
        f"{optimizer.label}: edges may lie beyond {axis} {shown(end)}, where the range ends; "
        f"searched as far as {shown(reached)} (search.bisect.widen)"
        for end, reached in ends
    )
