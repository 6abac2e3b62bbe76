"""Numbers as W&B's tables and charts take them: plain, and as logarithms on straight axes."""

import math
import unicodedata
from collections.abc import Iterable, Iterator

import pandas as pd

from scaling_sweep.tracking.messages import Cell, Chart, Line, Series

# More points than a panel shows as a line are only sent (by eye).
_POINTS_OF_A_SERIES = 64


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


def plain_key(name: str) -> str:
    """Return a name as part of a key: lower-case ASCII and underscores.

    Args:
        name: As the report has it.

    Returns:
        The key.

    Example:
        >>> plain_key("measured λ₁ of batches"), plain_key("Baik–Silverstein (GGN)")
        ('measured_lambda1_of_batches', 'baik_silverstein_ggn')
    """
    spelled = unicodedata.normalize("NFKD", name).replace("λ", "lambda").lower()
    kept = "".join(c if c.isascii() and c.isalnum() else " " for c in spelled)
    return "_".join(kept.split())


def unfold_charts(charts: Iterable[Chart]) -> Iterator[Series]:
    """Return the lines of charts on log axes as series of the plain numbers, each once.

    Args:
        charts: Of one group; a line that stands in several of them is taken from the first.

    Yields:
        ``curves/<label>``, or ``theories/<label>`` for what the theory's chart adds, over
        ``curves/batch_size`` or ``curves/lr_b``.

    Example:
        >>> line = Line("power law", x=[0.0, 3.0], y=[-1.0, 0.0])
        >>> list(unfold_charts([Chart("charts/edges", "", "log2(batch size)", (line,))]))
        [Series(axis='curves/batch_size', name='curves/power_law', x=[1.0, 8.0], y=[0.1, 1.0])]
    """
    seen = set()
    for chart in charts:
        axis = f"curves/{plain_key(chart.xname.removeprefix('log2'))}"
        of = "theories" if chart.name == "charts/theory" else "curves"
        for line in chart.lines:
            label = plain_key(line.label)
            if label in seen:
                continue
            seen.add(label)
            # Whole steps from the last point on, so that it is always among them.
            every = -math.ceil(len(line.x) / _POINTS_OF_A_SERIES)
            x, y = list(line.x)[::every][::-1], list(line.y)[::every][::-1]
            yield Series(axis, f"{of}/{label}", [2.0**v for v in x], [10.0**v for v in y])
