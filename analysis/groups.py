"""From a table to everything that is said about it: one fit per group of trials."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.answers import Expected, answer_edges, select_usable
from analysis.axes import AXES, LR_AXIS, Axis, AxisName
from analysis.checks import MARGIN, predict_exponent
from analysis.criteria import Criterion, Kind, Reference, Verdict, judge, needed_columns
from analysis.edges import find_boldest_stable, find_edges, find_median_edges
from analysis.fit_json import to_json, write_fit_json
from analysis.fitting.fits import fit_apart
from analysis.fitting.intervals import hull, students_t
from analysis.grouping import split_groups
from analysis.optimal.estimates import LOSS_COLUMN
from analysis.optimal.laws import fit_optimum
from analysis.refusals import (
    warn_apart,
    warn_edges,
    warn_law,
    warn_recipe,
    warn_sensitivity,
)
from analysis.results import Results
from analysis.slow import warn_unmet
from analysis.summaries import Fit, GroupFit, GroupKey, NaiveSlope, Sensitivity
from analysis.sweep_text import is_bisection

__all__ = ["Fit", "find_naive_slope", "fit_results", "split_groups", "to_json", "write_fit_json"]

# Other places to draw the line, tried on every table that has losses. The exponent of a first
# study moved by more than its interval over these (statistics.md, "Real data").
_OTHER_CRITERIA = tuple(Criterion(Kind.FINAL, ratio) for ratio in (0.3, 0.7, 1.0))
_FROM_START = Criterion(Kind.FINAL, 2.0, Reference.START)


def find_naive_slope(frame: pd.DataFrame, axis: Axis = LR_AXIS) -> NaiveSlope | None:
    """Fit a straight line to log(boldest stable value), as people usually do.

    To the largest stable learning rate on log B, or to the smallest stable damping on log(lr/B).

    Args:
        frame: Rows of one group.
        axis: What was searched.

    Returns:
        The slope with Student's interval, None with fewer than 3 values to draw it through.
    """
    boldest = find_boldest_stable(frame, axis)
    if len(boldest) < 3:
        return None
    held = boldest.index.to_frame().astype(float)
    lr = held["lr"].to_numpy() if axis.inverse else 1.0
    x = np.log(axis.variable(held["batch_size"].to_numpy(), lr, None))
    y = np.log(boldest.to_numpy(float))
    spread = ((x - x.mean()) ** 2).sum()
    slope = float(((x - x.mean()) * y).sum() / spread)
    residual = y - y.mean() - slope * (x - x.mean())
    df = len(boldest) - 2
    half = students_t(0.95, df) * float(np.sqrt((residual**2).sum() / df / spread))
    return NaiveSlope(slope, (slope - half, slope + half))


def fit_results(
    results: Results,
    criterion: Criterion | None = None,
    predicted: Mapping[str, float | None] | None = None,
    margin: float = MARGIN,
    loss_column: str = LOSS_COLUMN,
) -> Fit:
    """Fit every group of a table.

    Args:
        results: The table.
        criterion: Judge the trials anew by their losses; None keeps the table's verdicts.
        predicted: Exponents to check against, by optimizer; they come before theory's.
        margin: Half-width of the region around the prediction that counts as equal to it.
        loss_column: The loss that the best learning rate makes low.

    Returns:
        The fit, groups in the order of their keys.

    Raises:
        ResultsError: If the table has no verdicts and no criterion is given, or the criterion
            needs losses that the table lacks.

    Example:
        >>> import numpy as np
        >>> from analysis.simulate import Design, simulate_table
        >>> from analysis.tables import normalize_table
        >>> truth = lambda b: 2 / (1 + 30 / b)
        >>> table = simulate_table(truth, Design(grid_ratio=1.2), np.random.default_rng(0))
        >>> [group] = fit_results(Results(normalize_table(table, "x", {}).frame, "x")).groups
        >>> group.law, group.check.predicted
        ('saturating', 1.0)
    """
    groups = []
    for key, rows in split_groups(results.judged_by(criterion).frame):
        exponent = predict_exponent(key.optimizer, predicted, key.axis)
        expected = Expected(exponent, margin, AXES[key.axis])
        group = _fit_group(rows, key, expected)
        # A bisection does not go where the loss is lowest.
        if key.axis is AxisName.LR and not is_bisection(results.sweep_text or ""):
            group = _add_optimum(group, rows, expected, loss_column)
        sensitivity = tuple(
            _try_criterion(rows, expected, other) for other in _other_criteria(rows, criterion)
        )
        group = replace(group, sensitivity=sensitivity)
        warnings = (*results.warnings, *group.warnings, *warn_sensitivity(group))
        groups.append(replace(group, warnings=warnings))
    return Fit(results.source, tuple(groups))


def _fit_group(rows: pd.DataFrame, key: GroupKey, expected: Expected) -> GroupFit:
    """Say everything about one group but how it depends on the criterion."""
    axis = expected.axis
    seed_edges = find_edges(rows, axis)
    edges = find_median_edges(seed_edges)
    answer = answer_edges(rows, seed_edges, expected)
    best, usable = answer.best, answer.usable
    apart = answer.apart or (fit_apart(usable.edges, usable.num_examples) if best else None)
    return GroupFit(
        key=key,
        num_trials=len(rows),
        num_failed=_count_failed(rows),
        seed_edges=seed_edges,
        edges=edges,
        laws=answer.laws,
        law=best.name if best else None,
        exponent=best.exponent if best else None,
        exponent_ci=answer.exponent_ci,
        naive_slope=find_naive_slope(rows, axis),
        check=answer.check,
        warnings=(
            *_warn_failed(rows),
            *warn_recipe(key.recipe),
            *warn_unmet(rows, axis),
            *usable.warnings,
            *warn_edges(seed_edges, edges, axis),
            *(warn_law(best, usable.edges, axis) if best else ()),
            *warn_apart(apart, edges),
        ),
        refused=answer.refused,
        exponent_ci90=hull([law.exponent_ci90 for law in answer.laws if law.kept]),
        num_examples=usable.num_examples,
        apart=apart,
    )


def _add_optimum(
    group: GroupFit, rows: pd.DataFrame, expected: Expected, loss_column: str
) -> GroupFit:
    """Add the learning rates with the lowest loss."""
    optimal = fit_optimum(
        rows,
        expected.exponent,
        expected.margin,
        num_examples=group.num_examples,
        loss_column=loss_column,
        refused=select_usable(rows, ()).refused,
    )
    return replace(group, optimal=optimal)


def _count_failed(rows: pd.DataFrame) -> int:
    return int((rows["verdict"] == Verdict.FAILED).sum())


def _warn_failed(rows: pd.DataFrame) -> tuple[str, ...]:
    """Say how many trials gave no measurement."""
    failed = _count_failed(rows)
    return (f"{failed} of {len(rows)} trials failed and say nothing.",) if failed else ()


def _other_criteria(rows: pd.DataFrame, criterion: Criterion | None) -> tuple[Criterion, ...]:
    """Return the other criteria that the group's losses allow."""
    others = _OTHER_CRITERIA
    if (rows["start"] != "init").any():
        others = (*others, _FROM_START)
    return tuple(
        other
        for other in others
        if other != criterion and all(rows[name].notna().any() for name in needed_columns(other))
    )


def _try_criterion(rows: pd.DataFrame, expected: Expected, criterion: Criterion) -> Sensitivity:
    """Fit one group under another criterion."""
    judged = rows.assign(verdict=judge(criterion, rows))
    answer = answer_edges(judged, find_edges(judged, expected.axis), expected)
    best = answer.best
    return Sensitivity(
        str(criterion),
        best.name if best else None,
        best.exponent if best else None,
        answer.exponent_ci,
        answer.check.outcome,
        answer.refused,
    )
