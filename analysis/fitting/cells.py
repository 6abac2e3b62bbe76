"""Edges as arrays: the brackets of one group, equal ones counted together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.edge_summaries import Edge, Place
from analysis.fitting.likelihood import FloatArray


@dataclass(frozen=True)
class Cells:
    """Brackets of one group, equal ones of one place counted together.

    Attributes:
        place: Shape ``[cells]``, index into ``places``.
        low: Shape ``[cells]``, log of the boldest stable value, ``-inf`` when none.
        high: Shape ``[cells]``, log of the mildest diverged one, ``inf`` when none.
        counts: Shape ``[seeds, cells]``, how often each seed shows each bracket.
        places: Batch sizes, with the learning rate where that is not the axis; ascending.
    """

    place: np.ndarray
    low: FloatArray
    high: FloatArray
    counts: FloatArray
    places: tuple[Place, ...]

    @property
    def batch_size(self) -> FloatArray:
        """Examples per step, shape ``[cells]``."""
        sizes: FloatArray = np.array([float(place.batch_size) for place in self.places])
        return np.asarray(sizes[self.place])

    @property
    def lr(self) -> FloatArray:
        """Learning rate that was held, shape ``[cells]``; 1 where it is the axis."""
        rates = np.array([1.0 if place.lr is None else place.lr for place in self.places])
        return np.asarray(rates[self.place])

    @property
    def weights(self) -> FloatArray:
        """Units in each cell, shape ``[cells]``."""
        weights: FloatArray = self.counts.sum(0)
        return weights

    @property
    def finite(self) -> np.ndarray:
        """Which cells are closed at both ends, shape ``[cells]``."""
        return np.isfinite(self.low) & np.isfinite(self.high)

    @property
    def num_units(self) -> int:
        """Number of (place, seed) units."""
        return round(float(self.counts.sum()))

    @property
    def num_seeds(self) -> int:
        """Number of seeds."""
        return len(self.counts)

    @property
    def num_places(self) -> int:
        """Places with at least one closed bracket."""
        return int(np.unique(self.place[self.finite]).size)

    @property
    def num_batch_sizes(self) -> int:
        """Batch sizes with at least one closed bracket."""
        return int(np.unique(self.batch_size[self.finite]).size)

    @property
    def num_lrs(self) -> int:
        """Learning rates with at least one closed bracket; 1 where it is the axis."""
        return int(np.unique(self.lr[self.finite]).size)

    @property
    def log_ratio(self) -> float:
        """Median log width of the closed brackets, ``h`` of the grid; 0 when none is closed."""
        finite = self.finite
        widths = np.repeat((self.high - self.low)[finite], self.weights[finite].astype(int))
        return float(np.median(widths)) if widths.size else 0.0


def collect_cells(edges: Sequence[Edge]) -> Cells:
    """Count equal brackets together; brackets open at both ends say nothing and are left out.

    Args:
        edges: Brackets of one group.

    Returns:
        The cells, ascending in place.

    Example:
        >>> cells = collect_cells([Edge(8, 0, 0.1, 0.2), Edge(8, 1, 0.1, 0.2), Edge(4, 0, 0, 0.1)])
        >>> cells.batch_size.tolist(), cells.weights.tolist()
        ([4.0, 8.0], [1.0, 2.0])
    """
    told = [edge for edge in edges if edge.stable > 0 or np.isfinite(edge.diverged)]
    # As numbers: a million trials have edges enough for hashing them one by one to take seconds.
    shown = [(e.batch_size, _NO_LR if e.lr is None else e.lr, e.stable, e.diverged) for e in told]
    keys, column = _unique_rows(np.array(shown, dtype=float).reshape(-1, 4))
    seeds, row = np.unique([edge.seed for edge in told], return_inverse=True)
    counts = np.zeros((len(seeds), len(keys)))
    np.add.at(counts, (row, column), 1)
    held, index = _unique_rows(keys[:, :2])
    places = tuple(Place(int(size), None if lr == _NO_LR else float(lr)) for size, lr in held)
    low, high = keys[:, 2:].T
    with np.errstate(divide="ignore"):
        return Cells(index, np.log(low), np.log(high), counts, places)


# Stands for the learning rate where it is the axis; those that are held are positive.
_NO_LR = -1.0


def _unique_rows(table: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Return the different rows, ascending from the first column on, and the place of each row."""
    rows, places = np.unique(table, axis=0, return_inverse=True)
    return rows, places.reshape(-1)
