"""Places for labels that would otherwise run into each other."""

import numpy as np

from analysis.theory.inputs import FloatArray


def spread_places(places: FloatArray, gap: float) -> FloatArray:
    """Move labels apart, as little as their order allows.

    Args:
        places: Shape ``[n]``, wanted heights in [0, 1].
        gap: Least distance between two; smaller where they would not fit.

    Returns:
        Shape ``[n]``, in [0, 1] and in the same order.

    Example:
        >>> spread_places(np.array([0.5, 0.5, 0.9]), 0.2).round(2).tolist()
        [0.4, 0.6, 0.9]
        >>> spread_places(np.array([1.0, 1.0]), 0.2).round(2).tolist()
        [0.8, 1.0]
    """
    if not len(places):
        return np.empty(0)
    order = np.argsort(places, kind="stable")
    gap = min(gap, 1 / max(len(places) - 1, 1))
    # With multiples of the gap taken off, "at least the gap apart" is "not descending": the
    # closest such heights are an isotonic regression, made by pooling neighbours.
    shift = gap * np.arange(len(places))
    blocks: list[list[float]] = []
    for value in np.asarray(places, dtype=float)[order] - shift:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])
    spread = np.empty(len(places))
    spread[order] = np.clip(level, 0, 1 - shift[-1]) + shift
    return spread
