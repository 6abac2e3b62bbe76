"""How predictions of theory look in a terminal and as JSON."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.words.formatting import format_exponent, format_number, format_rate, optimizer_name
from analysis.words.theory import KINDS, MARKS, describe_marks, describe_measurement

if TYPE_CHECKING:
    from analysis.theory import TheoryCurve
    from scaling_sweep.predicting import OptimizerPrediction, SweepPrediction

# Signs of what a curve claims to be, by the words of its kind.
_SIGNS = {"": "", "upper bound": "≤ ", "lower bound": "≥ "}
# Characters that a table takes beside its columns of batch sizes, and each of those (by eye).
_WIDTH_BESIDE, _WIDTH_OF_SIZE, _MIN_COLUMNS = 54, 9, 3


def show_prediction(found: "SweepPrediction", console: Console) -> None:
    """Print LR_max by theory and optimizer, what could not be predicted, and what it took."""
    for prediction in found.optimizers:
        console.print()
        title = Text(optimizer_name(prediction.optimizer), style="bold")
        console.rule(title, align="left", style="dim")
        _show_optimizer(prediction, _choose(found.batch_sizes, console.width), console)
    if found.searched != "lr":
        speaks = (
            f"theory speaks of the learning rate only, at each optimizer's own {found.searched}"
        )
        console.print(Text(f"This sweep searches the {found.searched}; {speaks}.", style="yellow"))
    console.print(Text(describe_marks(), style="dim"))
    console.print(
        Text(
            "B*: where LR_max is half of its large-batch limit, or where it peaks. Exponent: the "
            "log-log slope of LR_max at small batches. ≤: an upper bound, ≥: a lower one. –: the "
            "theory says nothing there.",
            style="dim",
        )
    )
    console.print(Text(describe_measurement(found.table), style="dim"))
    took = f"{found.num_new} measured now, in {format_number(found.wall_time_s, 2)} s"
    console.print(f"Written: {found.path} ({took})", soft_wrap=True, markup=False)


def _choose(sizes: Sequence[int], width: int) -> tuple[int, ...]:
    """Return as many batch sizes as a terminal is wide for, both ends among them."""
    num = max(_MIN_COLUMNS, (width - _WIDTH_BESIDE) // _WIDTH_OF_SIZE)
    places = np.linspace(0, len(sizes) - 1, min(len(sizes), num)).round().astype(int)
    return tuple(sizes[place] for place in places)


def _show_optimizer(
    prediction: "OptimizerPrediction", sizes: Sequence[int], console: Console
) -> None:
    if prediction.silence:
        console.print(Text(prediction.silence, style="yellow"))
        console.print()
        return
    for at in prediction.points:
        table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
        table.title = Text(f"LR_max from curvature at {at.point}", style="italic")
        table.add_column("theory", min_width=20)
        for name in (*(f"B = {size}" for size in sizes), "B*", "exponent"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("confidence", no_wrap=True)
        for curve in at.prediction.curves:
            table.add_row(*_cells(curve, sizes))
        console.print(table)
        console.print()
    for reason in dict.fromkeys(r for at in prediction.points for r in at.prediction.missing):
        console.print(Text(f"Not predicted: {reason}", style="dim"))
    console.print()


def _cells(curve: "TheoryCurve", sizes: Sequence[int]) -> Iterator[str]:
    """Yield one row of the table."""
    at = dict(zip(curve.batch_size.tolist(), curve.lr_max.tolist(), strict=True))
    yield curve.name
    for size in sizes:
        yield format_rate(at[size]) if np.isfinite(at[size]) else "–"
    critical = curve.critical_batch_size
    yield "–" if critical is None else format_number(critical, 3)
    yield "–" if curve.exponent is None else format_exponent(curve.exponent)
    yield f"{_SIGNS[KINDS[curve.bound]]}{MARKS[curve.confidence]}"


def prediction_json(found: "SweepPrediction") -> dict[str, Any]:
    """Return a prediction as JSON (schema 1); null where a theory says nothing.

    Args:
        found: The prediction.

    Returns:
        Plain lists, mappings, numbers and text.
    """
    return {
        "schema": 1,
        "name": found.name,
        "searched": found.searched,
        "curvature": str(found.path),
        "num_measured": found.num_new,
        "wall_time_s": found.wall_time_s,
        "optimizers": [
            {
                "optimizer": prediction.optimizer,
                "silence": prediction.silence or None,
                "points": [
                    {
                        "point": at.point,
                        "theories": [_curve_json(curve) for curve in at.prediction.curves],
                        "missing": list(at.prediction.missing),
                    }
                    for at in prediction.points
                ],
            }
            for prediction in found.optimizers
        ],
    }


def _curve_json(curve: "TheoryCurve") -> dict[str, Any]:
    """Return one theory's curve."""
    return {
        "name": curve.name,
        "point": curve.point,
        "confidence": str(curve.confidence.name.lower()),
        "bound": str(curve.bound.name.lower()),
        "assumption": curve.assumption,
        "exponent": curve.exponent,
        "critical_batch_size": curve.critical_batch_size,
        "lr_max": [
            {
                "batch_size": int(size),
                "lr_max": _known(center),
                "low": _known(low),
                "high": _known(high),
            }
            for size, center, low, high in zip(
                curve.batch_size.tolist(), curve.lr_max, curve.low, curve.high, strict=True
            )
        ],
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
