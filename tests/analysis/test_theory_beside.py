"""Theory beside a measurement: what is compared with what, and the words for it."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.agreement import compare
from analysis.curvature_table import CurvatureTable, Matrix, Quantity, ValueRow
from analysis.figures.album import draw_theories
from analysis.summaries import GroupFit
from analysis.theory import Conditions, CurvatureSummary, Measured, edge_of_stability_curve
from analysis.theory.beside import TheoryComparison, compare_theories, predict_points
from analysis.words.theory import (
    choose_sizes,
    describe_marks,
    describe_measurement,
    ratio_at,
    theory_claim,
    theory_details,
)
from tests.analysis.curvature_cases import make_table
from tests.analysis.report_cases import make_group, simulate_trials

TABLE = make_table()
SGD = make_group(simulate_trials())
ADAM = make_group(simulate_trials("adam"))
FOUND = compare_theories(SGD, TABLE)


def place_edges(lr_max: np.ndarray) -> GroupFit:
    """Return a group whose measured LR_max is exactly this."""
    edges = [
        replace(edge, median=lr, median_ci=(lr / 1.05, lr * 1.05))
        for edge, lr in zip(SGD.edges, lr_max, strict=True)
    ]
    return replace(SGD, edges=tuple(edges))


def only(top: float, point: str = "init") -> CurvatureTable:
    """Return a measurement of the largest eigenvalue alone: edge of stability at 2/top."""
    row = ValueRow(point, 0, 0, Quantity.TOP, top, 0.0, Matrix.HESSIAN)
    return CurvatureTable((row,))


def test_each_theory_speaks_at_each_point() -> None:
    """Every point of training gets its own curves, which say where they come from."""
    names = [{found.curve.name for found in point.agreements} for point in FOUND.points]

    assert [point.point for point in FOUND.points] == ["init", "100 steps", "1000 steps"]
    assert names[0] == names[1] == names[2] == set(FOUND.names)
    for point in FOUND.points:
        assert all(found.curve.point.startswith(point.point) for found in point.agreements)


def test_a_curve_is_the_theorys_own() -> None:
    """The edge of stability at a point is 2 over the mean largest eigenvalue there."""
    at = {point.point: point.find("edge of stability") for point in FOUND.points}

    assert at["init"].curve.lr_max == pytest.approx(2 / 1.0)
    assert at["100 steps"].curve.lr_max == pytest.approx(2 / 8.0)
    direct = edge_of_stability_curve(
        CurvatureSummary(hessian_top=Measured(8.0)), Conditions(np.array([1.0, 512.0]))
    )
    expected = compare(SGD.edges, direct).log_error
    assert at["100 steps"].log_error == pytest.approx(expected)


def test_mean_square_theories_take_what_has_no_negative_eigenvalues() -> None:
    """With negative eigenvalues, or unknown ones, Gauss-Newton stands in and is named."""
    conditions = Conditions(np.array([1.0, 64.0]))

    def find(table: CurvatureTable) -> tuple[str, float]:
        curves = predict_points(table, "sgd", conditions)[0].prediction.curves
        [curve] = [c for c in curves if c.name == "mean-square bound, top direction"]
        return curve.point, float(curve.lr_max[0])

    rows = [row for row in TABLE.numbers if row.quantity is not Quantity.BOTTOM]
    # λ = 1 and Var = 30 for the Hessian, twice and four times that for Gauss-Newton; seeds differ
    # by ± 10 %, so squares average to 1.01.
    assert find(make_table(bottom=0.0)) == ("init", pytest.approx(2 / (1 + 30 * 1.01)))
    stand_in = ("init, Gauss–Newton", pytest.approx(4 / (4 + 120 * 1.01)))
    assert find(make_table(bottom=-0.5)) == stand_in
    assert find(replace(TABLE, numbers=tuple(rows))) == stand_in


def test_momentum_and_sampling_reach_the_theories() -> None:
    """Heavy ball's edge is 2(1 + β)/λ, and without replacement the full batch has no noise."""
    momentum = replace(SGD, key=replace(SGD.key, optimizer="momentum(momentum=0.5)"))
    found = compare_theories(momentum, only(3.0)).nearest.agreements[0]
    assert found.curve.lr_max == pytest.approx(2 * 1.5 / 3.0)

    whole = compare_theories(replace(SGD, num_examples=512), TABLE).points[0]
    wigner = whole.find("spiked Wigner")
    assert wigner.curve.lr_max[-1] == pytest.approx(2 / 1.0)


def test_adam_gets_its_own_theories() -> None:
    """Adam is held against its preconditioned curvature: 38 over it without noise."""
    found = compare_theories(ADAM, TABLE)

    assert set(found.names) == {
        "edge of stability",
        "Adam, mean-square stability",
        "Adam, surge",
        "gradient noise scale, Adam form",
    }
    assert found.points[0].find("edge of stability").curve.lr_max == pytest.approx(38 / 100)
    assert found.points[0].find("spiked Wigner") is None


def test_missing_inputs_are_named_in_words() -> None:
    """What a theory of this update rule lacks is said as a reader knows it; others are silent."""
    missing = FOUND.points[0].missing

    assert "Ma–Bassily–Belkin needs “largest eigenvalue of any single example”, not measured." in (
        missing
    )
    assert not any("Adam" in sentence or "_" in sentence for sentence in missing)


@pytest.mark.parametrize(
    ("group", "table", "words"),
    [
        (replace(SGD, key=replace(SGD.key, optimizer="lion")), TABLE, "speaks of lion"),
        (replace(SGD, key=replace(SGD.key, task="cnn")), TABLE, "on digits_mlp, not on cnn"),
        (replace(SGD, edges=()), TABLE, "No edge lies inside the grid"),
        (SGD, replace(TABLE, numbers=TABLE.numbers[:1]), "Too little was measured"),
        (SGD, replace(TABLE, numbers=()), "Too little was measured"),
    ],
)
def test_silence_has_a_reason(group: GroupFit, table: CurvatureTable, words: str) -> None:
    """Where nothing can be compared, the page says why and draws nothing."""
    found = compare_theories(group, table)

    assert words in theory_claim(found)
    assert theory_details(found) == ""
    assert list(draw_theories(group, found)) == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.1, "“edge of stability” (upper bound) from curvature at init explains the measurement"),
        (1.6, "No theory is close everywhere: “edge of stability”"),
        (3.0, "No theory explains the measurement: “edge of stability”"),
    ],
)
def test_a_theory_that_is_off_is_said_to_be_off(factor: float, words: str) -> None:
    """Nothing is scaled away: the claim has the factor by which the measurement differs."""
    found = compare_theories(place_edges(np.full(10, 2 / 4.0 / factor)), only(4.0))

    assert theory_claim(found).startswith(words)
    assert f"off by a factor of {factor:.2g} " in theory_claim(found)
    assert f"r.m.s. log error {np.log(factor):.2f} over 10 batch sizes" in theory_claim(found)
    assert ratio_at(found.nearest.agreements[0], 1) == f"{1 / factor:.2g}"


def test_the_nearest_point_is_the_one_with_the_closest_theory() -> None:
    """Among points, the one whose best theory errs least is shown; the first is named too."""
    at = [only(top, point).numbers[0] for top, point in ((4.0, "init"), (16.0, "9 steps"))]
    table = CurvatureTable((at[0], replace(at[1], step=9)))
    found = compare_theories(place_edges(np.full(10, 2 / 15.0)), table)

    assert found.nearest.point == "9 steps"
    details = theory_details(found)
    assert "closest of 2 curves (1 theory at 2 points), chosen after the measurement" in details
    assert "From init alone, the closest would be “edge of stability”" in details
    assert "off by a factor of 3.8" in details


def test_ratios_are_shown_at_both_ends() -> None:
    """The table's batch sizes are measured ones, the smallest and the largest among them."""
    assert choose_sizes(SGD) == (1, 8, 64, 512)
    assert choose_sizes(replace(SGD, edges=SGD.edges[:3])) == (1, 2, 4)
    assert ratio_at(FOUND.nearest.agreements[0], 3) == "–"


def test_the_measurement_is_described() -> None:
    """Points, seeds, the policy and the cost are said."""
    text = describe_measurement(TABLE)

    assert "init, 100 steps and 1000 steps, under 2 seeds over 1,797 examples" in text
    assert "dropout off" in text
    assert "420 products" in text
    assert all(mark in describe_marks().lower() for mark in ("derived", "source", "reconstruction"))


def test_a_reconstruction_that_wins_is_called_one() -> None:
    """The claim never names a reconstructed formula without saying so."""
    point = FOUND.points[0]
    wigner = point.find("spiked Wigner")
    alone = TheoryComparison((replace(point, agreements=(wigner,)),))

    assert "“spiked Wigner” (reconstruction) from curvature at init" in theory_claim(alone)


def test_a_bound_broken_at_many_batch_sizes_is_said_briefly() -> None:
    """Up to three batch sizes are named one by one, more are counted."""
    high = np.where(np.arange(10) < 2, 1.0, 0.2)
    few = compare_theories(place_edges(high), only(4.0)).nearest.agreements[0]
    many = compare_theories(place_edges(np.full(10, 1.0)), only(4.0)).nearest.agreements[0]

    assert "measured above what it calls an upper bound at B = 1 and 2." in few.sentence
    assert "an upper bound at 10 batch sizes, B = 1 to 512." in many.sentence
