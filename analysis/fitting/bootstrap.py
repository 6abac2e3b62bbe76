"""A law refitted to seeds drawn with replacement: what the spread between seeds does to it."""

import numpy as np

from analysis.fitting.intervals import students_t
from analysis.fitting.likelihood import FloatArray
from analysis.fitting.maximize import Maxima, Problem, maximize

# 200 draws give the standard error to 5 %, small beside t with 5 degrees of freedom.
NUM_DRAWS = 200
# With 2 seeds t has 1 degree of freedom (12.7) and the interval says nothing.
MIN_SEEDS = 3
_RANDOM_SEED = 20201103  # any fixed number: the same table gives the same interval


def resample_seeds(problem: Problem, best: Maxima) -> FloatArray:
    """Refit a law to seeds drawn with replacement, each with all its batch sizes.

    Args:
        problem: The law, the brackets and the box.
        best: The maximum, one row, where each refit starts.

    Returns:
        Shape ``[draws, k]``, the law's parameters; no rows with fewer than 3 seeds.
    """
    counts = problem.cells.counts
    num_seeds = len(counts)
    if num_seeds < MIN_SEEDS:
        return np.empty((0, best.parameters.shape[1] - 1))
    rng = np.random.default_rng(_RANDOM_SEED)
    picks = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=NUM_DRAWS)
    start = np.repeat(best.parameters, NUM_DRAWS, axis=0)
    return maximize(problem, picks @ counts, start).parameters[:, :-1]


def bootstrap_half_width(values: FloatArray, confidence: float, num_seeds: int) -> FloatArray:
    """Compute ``SE sqrt(G/(G - 1)) t_{G-1}`` from values over resampled seeds.

    The bootstrap over seeds with the small-sample factor: it covers .955 to .98 also when the
    deviations of a seed drift along B, where the likelihood covers .80 (statistics.md).

    Args:
        values: Shape ``[draws, ...]``; no draws give no width.
        confidence: Coverage wanted, in (0, 1).
        num_seeds: G, the number of seeds.

    Returns:
        Half-widths, shape ``[...]``.

    Example:
        >>> float(bootstrap_half_width(np.array([1.0, 1.0, 1.0]), 0.95, 6))
        0.0
    """
    if not len(values):
        return np.zeros(values.shape[1:])
    t = students_t(confidence, num_seeds - 1)
    width: FloatArray = values.std(0, ddof=1) * np.sqrt(num_seeds / (num_seeds - 1)) * t
    return width
