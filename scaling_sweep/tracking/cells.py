"""Numbers as W&B's tables and charts take them: plain, and as logarithms on straight axes."""

import math
from collections.abc import Iterable

import pandas as pd

from scaling_sweep.tracking.messages import Cell, Line


def plain(value: object) -> Cell:
    """Return a value that JSON has: None for NaN, infinities and what is missing.

    Args:
        value: A cell of a table, or a number of the fit.

    Returns:
        The same, as plain Python.

    Example:
        >>> plain(pd.NA), plain(float("inf")), plain(2), plain("SGD")
        (None, None, 2, 'SGD')
    """
    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool | str | int):
        return value
    number = float(value)  # type: ignore[arg-type]  # NumPy's numbers too
    return number if math.isfinite(number) else None


def log_line(label: str, sizes: Iterable[float], rates: Iterable[float]) -> Line:
    """Return a line on log axes, without points that have no logarithm.

    Args:
        label: What it shows.
        sizes: Batch sizes.
        rates: Learning rates, as many.

    Returns:
        log2 of the batch sizes against log10 of the learning rates.

    Example:
        >>> log_line("edge", [1, 2, 4], [0.1, float("nan"), 10.0])
        Line(label='edge', x=[0.0, 2.0], y=[-1.0, 1.0])
    """
    points = [
        (math.log2(size), math.log10(rate))
        for size, rate in zip(sizes, rates, strict=True)
        if 0 < rate < math.inf
    ]
    return Line(label, [x for x, _ in points], [y for _, y in points])
