"""What W&B shows of theory beside one group's measurement."""

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.agreement import Agreement
from analysis.curvature_table import CurvatureTable
from analysis.edge_summaries import Censoring
from analysis.figures.album import Picture, draw_curvature, draw_theories
from analysis.summaries import GroupFit
from analysis.theory.beside import PointComparison, TheoryComparison, compare_theories
from analysis.words.theory import describe_basis, theory_claim, theory_details
from scaling_sweep.tracking.cells import log_line, plain, plain_key
from scaling_sweep.tracking.messages import Cell, Chart, Table

_RATIO_COLUMNS = (
    "point",
    "theory",
    "batch_size",
    "measured",
    "predicted",
    "measured_over_predicted",
    "log_ratio",
    "log_ratio_low",
    "log_ratio_high",
)
_THEORY_COLUMNS = (
    "point",
    "theory",
    "log_error",
    "log_error_low",
    "log_error_high",
    "level",
    "shape_error",
    "exponent",
    "measured_exponent",
    "slope",
    "measured_slope",
    "num_batch_sizes",
    "basis",
    "sentence",
)
_CURVE_COLUMNS = ("point", "theory", "batch_size", "lr_max", "lr_max_low", "lr_max_high")


@dataclass(frozen=True)
class TheoryFindings:
    """Theory beside one group.

    Attributes:
        summary: Numbers and words by name, for comparing runs.
        tables: Ratios, errors and curves.
        pictures: The report's figures of theory and of curvature.
        charts: Measurement and theories once more, drawn by W&B.
    """

    summary: dict[str, Cell]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]
    charts: tuple[Chart, ...]


def find_theory(group: GroupFit, table: CurvatureTable) -> TheoryFindings:
    """Hold every theory against one group's edge.

    Args:
        group: A fitted or refused group.
        table: Measured curvature.

    Returns:
        What is shown; where nothing can be compared, one sentence that says why.
    """
    comparison = compare_theories(group, table)
    if comparison.silence:
        return TheoryFindings({"theory_sentence": comparison.silence}, (), (), ())
    return TheoryFindings(
        summary=summarize_theory(comparison),
        tables=tuple(_tables(comparison)),
        pictures=(*draw_theories(group, comparison), *draw_curvature(table)),
        charts=(chart_theory(group, comparison.nearest),),
    )


def summarize_theory(comparison: TheoryComparison) -> dict[str, Cell]:
    """Return what theories amount to, by names that stay the same from run to run.

    ``theory/<theory>/<point>/log_error`` and ``…/exponent`` of each theory at each point, so that
    a column of W&B's table of runs compares one thing only; then the closest of all, in words.

    Args:
        comparison: Of one group, with something to compare.

    Returns:
        Values by name.
    """
    best = comparison.nearest.agreements[0]
    summary: dict[str, Cell] = {
        "theory_best": best.curve.name,
        "theory_best_point": comparison.nearest.point,
        "theory_best_log_error": plain(best.log_error),
        "theory_best_exponent": plain(best.exponent),
        "theory_sentence": f"{theory_claim(comparison)} {theory_details(comparison)}".strip(),
    }
    for at, found in _all(comparison):
        stem = f"theory/{plain_key(found.curve.name)}/{plain_key(at.point)}"
        summary[f"{stem}/log_error"] = plain(found.log_error)
        summary[f"{stem}/exponent"] = plain(found.exponent)
    return summary


def chart_theory(group: GroupFit, at: PointComparison) -> Chart:
    """Return the measured edge with every theory from one point, as lines.

    W&B's own charts have straight axes only, so both are given as logarithms.

    Args:
        group: A group with at least one edge inside the grid.
        at: Its theories from one point.

    Returns:
        The measured edge first, then the theories, the closest first.
    """
    inside = [edge for edge in group.edges if edge.censored is Censoring.NONE]
    sizes = [edge.batch_size for edge in inside]
    lines = [
        log_line("measured", sizes, [edge.median for edge in inside]),
        log_line("95 % low", sizes, [edge.median_ci[0] for edge in inside]),
        log_line("95 % high", sizes, [edge.median_ci[1] for edge in inside]),
        *(log_line(f.curve.name, f.curve.batch_size, f.curve.lr_max) for f in at.agreements),
    ]
    return Chart(
        "charts/theory",
        "log10 of the largest stable learning rate against log2 of the batch size; "
        f"theories from curvature at {at.point}",
        "log2(batch size)",
        tuple(line for line in lines if line.x),
    )


def _tables(comparison: TheoryComparison) -> Iterator[Table]:
    pairs = tuple(_all(comparison))
    ratios = [row for at, found in pairs for row in _ratio_rows(at.point, found)]
    yield Table("tables/theory_ratios", _RATIO_COLUMNS, ratios)
    yield Table("tables/theories", _THEORY_COLUMNS, [_theory_row(at.point, f) for at, f in pairs])
    curves = [row for at, found in pairs for row in _curve_rows(at.point, found)]
    yield Table("tables/theory_curves", _CURVE_COLUMNS, curves)


def _all(comparison: TheoryComparison) -> Iterator[tuple[PointComparison, Agreement]]:
    """Yield every theory at every point, points in the order of training."""
    for at in comparison.points:
        for found in at.agreements:
            yield at, found


def _ratio_rows(point: str, found: Agreement) -> Iterator[tuple[Cell, ...]]:
    for ratio in found.ratios:
        over = ratio.measured / ratio.predicted
        logs = (ratio.log_ratio, ratio.low, ratio.high)
        values = (ratio.measured, ratio.predicted, over, *logs)
        yield (point, found.curve.name, ratio.batch_size, *map(plain, values))


def _theory_row(point: str, found: Agreement) -> tuple[Cell, ...]:
    low, high = found.log_error_range or (None, None)
    errors = (found.log_error, low, high, found.mean_log_ratio, found.shape_error)
    slopes = (found.exponent, found.measured_exponent, found.slope, found.measured_slope)
    words = (len(found.ratios), describe_basis(found.curve), found.sentence)
    return (point, found.curve.name, *map(plain, (*errors, *slopes)), *words)


def _curve_rows(point: str, found: Agreement) -> Iterator[tuple[Cell, ...]]:
    curve = found.curve
    for values in zip(curve.batch_size, curve.lr_max, curve.low, curve.high, strict=True):
        yield (point, curve.name, *map(plain, values))
