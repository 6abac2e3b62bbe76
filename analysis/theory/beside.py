"""Every theory at every measured point, held against the measured edge of one group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.agreement import Agreement, compare, rank
from analysis.axes import AxisName
from analysis.curvature_columns import WORDS, Matrix, Quantity
from analysis.curvature_table import CurvatureTable
from analysis.edge_summaries import Censoring
from analysis.summaries import GroupFit
from analysis.theory import (
    THEORIES,
    Conditions,
    CurvatureSummary,
    Prediction,
    TheoryError,
    find_rule,
    interpolation_curve,
    top_and_bulk_curve,
    top_direction_curve,
    trace_curve,
)
from analysis.words.formatting import UNKNOWN, optimizer_name

# They rest on H without negative eigenvalues and take the Gauss-Newton matrix where it has some.
_MEAN_SQUARE = (top_direction_curve, trace_curve, top_and_bulk_curve, interpolation_curve)
# An eigenvalue is negative below this share of the largest: 10 × the residual that
# scaling_sweep.curvature asks of Lanczos.
_NEGATIVE = -1e-2
# Batch sizes between the measured ones, so that a curve looks like one (by eye).
_NUM_DRAWN = 48


@dataclass(frozen=True)
class PointPrediction:
    """What theory says from the curvature at one point.

    Attributes:
        point: Where curvature was measured.
        prediction: The curves, and why others are missing, in words; theories of other update
            rules are not.
    """

    point: str
    prediction: Prediction


@dataclass(frozen=True)
class PointComparison:
    """How theories from one point stand to a measured edge.

    Attributes:
        point: Where curvature was measured.
        agreements: One per theory that has something to say, the closest first.
        missing: One sentence per theory of the same update rule that has not.
    """

    point: str
    agreements: tuple[Agreement, ...]
    missing: tuple[str, ...]

    def find(self, name: str) -> Agreement | None:
        """Return a theory's comparison by name, None when it says nothing here."""
        return next((found for found in self.agreements if found.curve.name == name), None)


@dataclass(frozen=True)
class TheoryComparison:
    """How theory stands to one group's measured edge.

    Attributes:
        points: One entry per point that curvature was measured at, in the order of training.
        silence: Why nothing is compared; empty when something is.
    """

    points: tuple[PointComparison, ...]
    silence: str = ""

    @property
    def nearest(self) -> PointComparison:
        """The point from which one theory comes closest to the measurement."""
        best = rank([found for point in self.points for found in point.agreements])[0]
        return next(p for p in self.points if any(found is best for found in p.agreements))

    @property
    def names(self) -> tuple[str, ...]:
        """Every theory that speaks, those that come closest at the nearest point first."""
        order = (self.nearest, *self.points)
        return tuple(dict.fromkeys(a.curve.name for point in order for a in point.agreements))


def predict_points(
    table: CurvatureTable, optimizer: str, conditions: Conditions
) -> tuple[PointPrediction, ...]:
    """Draw every theory from the curvature at every point.

    Mean-square theories take the Gauss-Newton matrix for the Hessian wherever that has negative
    eigenvalues, or might have; the curve's ``point`` says so.

    Args:
        table: What was measured.
        optimizer: Its label in the table of trials.
        conditions: What the prediction is for.

    Returns:
        One entry per point, in the order of training.

    Example:
        >>> from analysis.curvature_table import Quantity, ValueRow
        >>> top = ValueRow("init", 0, 0, Quantity.TOP, 2.0, matrix=Matrix.HESSIAN)
        >>> [at] = predict_points(CurvatureTable((top,)), "sgd", Conditions(np.array([1.0, 8.0])))
        >>> at.point, [curve.name for curve in at.prediction.curves]
        ('init', ['edge of stability'])
    """
    hessians = table.summaries(optimizer)
    stand_ins = table.summaries(optimizer, Matrix.GGN)
    found = []
    for hessian, stand_in in zip(hessians, stand_ins, strict=True):
        convex = _is_convex(table, hessian.point)
        semidefinite = hessian if convex or stand_in.hessian_top is None else stand_in
        found.append(PointPrediction(hessian.point, _predict(hessian, semidefinite, conditions)))
    return tuple(found)


def _is_convex(table: CurvatureTable, point: str) -> bool:
    """Return whether the Hessian at a point is known to have no negative eigenvalue."""
    ends = {
        quantity: [
            row.value
            for row in table.numbers
            if (row.point, row.quantity, row.matrix) == (point, quantity, Matrix.HESSIAN)
        ]
        for quantity in (Quantity.TOP, Quantity.BOTTOM)
    }
    bottoms, tops = ends[Quantity.BOTTOM], ends[Quantity.TOP]
    return bool(bottoms and tops) and min(bottoms) >= _NEGATIVE * max(tops)


def _predict(
    hessian: CurvatureSummary, semidefinite: CurvatureSummary, conditions: Conditions
) -> Prediction:
    """Draw every theory from the matrix it wants."""
    curves, missing = [], []
    for theory in THEORIES:
        try:
            curves.append(theory(semidefinite if theory in _MEAN_SQUARE else hessian, conditions))
        except TheoryError as reason:
            missing.append(_in_words(str(reason)))
    relevant = (sentence for sentence in missing if " says nothing of " not in sentence)
    return Prediction(tuple(curves), tuple(relevant))


def _in_words(reason: str) -> str:
    """Write inputs of theory as a reader knows them; longest names first, some hold others."""
    for name in sorted(WORDS, key=len, reverse=True):
        reason = reason.replace(name, f"“{WORDS[name]}”")
    return reason


def compare_theories(group: GroupFit, table: CurvatureTable) -> TheoryComparison:
    """Hold every theory, from every point, against one group's edge.

    Args:
        group: A fitted or refused group.
        table: Curvature of its task.

    Returns:
        The comparison; its ``silence`` says why when there is none.
    """
    rule = find_rule(group.key.optimizer)
    measured = [edge for edge in group.edges if edge.censored is Censoring.NONE]
    if group.key.axis is not AxisName.LR:
        silence = "Theory here speaks of the learning rate; this group searched the damping."
    elif table.facts.task not in ("", group.key.task):
        silence = f"Curvature was measured on {table.facts.task}, not on {group.key.task}."
    elif rule is None:
        who = group.key.optimizer
        named = "an unnamed optimizer" if who in ("", UNKNOWN) else optimizer_name(who)
        silence = f"No theory here speaks of {named}."
    elif not measured:
        silence = "No edge lies inside the grid, so there is nothing to hold theory against."
    else:
        sizes = np.array([edge.batch_size for edge in measured], dtype=float)
        conditions = Conditions(_fill_in(sizes), rule, group.num_examples)
        points = _compare_points(group, predict_points(table, group.key.optimizer, conditions))
        if any(point.agreements for point in points):
            return TheoryComparison(points)
        missing = [sentence for point in points for sentence in point.missing]
        silence = f"Too little was measured for any theory: {(missing or ['no curvature.'])[0]}"
    return TheoryComparison((), silence)


def _compare_points(
    group: GroupFit, predictions: Sequence[PointPrediction]
) -> tuple[PointComparison, ...]:
    """Hold the curves of every point against the edge."""
    return tuple(
        PointComparison(
            at.point,
            rank([compare(group.edges, curve, group.exponent) for curve in at.prediction.curves]),
            at.prediction.missing,
        )
        for at in predictions
    )


def _fill_in(sizes: np.ndarray) -> np.ndarray:
    """Return batch sizes with others between them, ascending."""
    between = np.geomspace(sizes.min(), sizes.max(), _NUM_DRAWN)
    filled: np.ndarray = np.unique(np.concatenate([sizes, between[1:-1]]))
    return filled
