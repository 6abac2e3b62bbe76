"""Agreement: log ratios, errors, ranks and the words for them."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.agreement import compare, describe_exponents, rank
from analysis.edge_summaries import Censoring, MedianEdge
from analysis.theory import Bound, Confidence, Family, TheoryCurve

SIZES = np.array([1.0, 4.0, 16.0, 64.0, 256.0])
TRUTH = 2 / (1 + 30 / SIZES)


def make_curve(lr_max: np.ndarray, sizes: np.ndarray = SIZES) -> TheoryCurve:
    """Return a theory that says exactly this."""
    return TheoryCurve(
        name="theory",
        family=Family.SGD,
        batch_size=sizes,
        lr_max=lr_max,
        low=lr_max,
        high=lr_max,
        exponent=1.0,
        critical_batch_size=30.0,
        confidence=Confidence.DERIVED,
        bound=Bound.ESTIMATE,
        assumption="None.",
    )


def make_edges(lr_max: np.ndarray = TRUTH, width: float = 1.1) -> list[MedianEdge]:
    """Return measured edges, each with an interval of a factor to both sides."""
    return [
        MedianEdge(int(b), 4, lr, (lr / width, lr * width), lr / 1.01, lr * 1.01, Censoring.NONE)
        for b, lr in zip(SIZES, lr_max, strict=True)
    ]


def test_perfect_theory_has_no_error() -> None:
    """Measured equal to predicted gives zero error and says so."""
    found = compare(make_edges(), make_curve(TRUTH))
    assert found.log_error == pytest.approx(0)
    assert found.log_error_range == pytest.approx((0, np.log(1.1)))
    assert found.sentence == "theory: within 0.5 % at every B."
    assert all(ratio.overlaps for ratio in found.ratios)


def test_a_theory_that_is_off_by_two_is_shown_as_off_by_two() -> None:
    """A constant factor is level, not shape, and nothing is fitted away."""
    found = compare(make_edges(), make_curve(2 * TRUTH))
    assert found.log_error == pytest.approx(np.log(2))
    assert found.mean_log_ratio == pytest.approx(-np.log(2))
    assert found.shape_error == pytest.approx(0)
    assert found.log_error_range == pytest.approx((np.log(2 / 1.1), np.log(2 * 1.1)))
    assert found.slope == pytest.approx(found.measured_slope)
    assert found.sentence == "theory: nowhere within 25 %; 2× too high at B = 1."


def test_sentence_says_where_a_theory_holds_and_where_it_fails() -> None:
    """Large batches within 12 %, small ones 2.1 × too high, in those words."""
    off = np.array([2.1, 1.5, 1.3, 1.12, 1.05])
    found = compare(make_edges(), make_curve(off * TRUTH))
    assert found.sentence == "theory: within 12 % at B ≥ 64; 2.1× too high at B = 1."
    assert [ratio.log_ratio for ratio in found.ratios] == pytest.approx(list(-np.log(off)))


@pytest.mark.parametrize(
    ("off", "words"),
    [
        ([1, 1, 1, 0.5, 0.25], "within 0.5 % at B ≤ 16; 4× too low at B = 256"),
        ([3, 1, 1, 1, 0.5], "within 0.5 % at B = 4 to 64; 3× too high at B = 1; 2× too low"),
        ([3, 2, 1.1, 2, 3], "within 10 % at B = 16; 3× too high at B = 1"),
    ],
)
def test_sentence_names_any_stretch_of_batch_sizes(off: list[float], words: str) -> None:
    """The longest stretch that holds is named from both sides."""
    assert words in compare(make_edges(), make_curve(np.array(off) * TRUTH)).sentence


def test_censored_and_unpredicted_batch_sizes_are_left_out_and_named() -> None:
    """What the grid did not bracket, and what the theory does not cover, counts for nothing."""
    edges = make_edges()
    edges[0] = replace(edges[0], censored=Censoring.LEFT, median_ci=(0.0, 1.0))
    edges[1] = replace(edges[1], censored=Censoring.RIGHT, median_ci=(1.0, np.inf))
    gap = np.where(SIZES == 256, np.nan, TRUTH)
    found = compare(edges, make_curve(gap))
    assert [ratio.batch_size for ratio in found.ratios] == [16, 64]
    assert found.left_out == (
        "B = 1 left out: edge below the grid",
        "B = 4 left out: edge above the grid",
        "B = 256 left out: not predicted",
    )
    assert found.sentence.startswith("theory: within 0.5 % at every B; B = 1 left out")


def test_nothing_to_compare_has_no_error() -> None:
    """Without a single closed edge errors and slopes are None."""
    found = compare([], make_curve(TRUTH))
    assert (found.log_error, found.log_error_range, found.shape_error, found.slope) == (None,) * 4
    assert found.sentence == "theory: nothing to compare."


def test_batch_sizes_between_those_of_the_curve_are_interpolated() -> None:
    """A power law is read exactly between its points, and not beyond them."""
    ends = np.array([1.0, 100.0])
    found = compare(make_edges(0.1 * SIZES**0.5), make_curve(0.1 * ends**0.5, ends))
    assert [ratio.batch_size for ratio in found.ratios] == [1, 4, 16, 64]
    assert found.log_error == pytest.approx(0, abs=1e-12)
    assert found.slope == pytest.approx(0.5)


def test_open_interval_leaves_the_error_open_above() -> None:
    """A median whose interval reaches the grid's end could be any distance off."""
    edges = make_edges()
    edges[0] = replace(edges[0], median_ci=(edges[0].median, np.inf))
    found = compare(edges, make_curve(TRUTH))
    assert found.log_error_range is not None
    assert found.log_error_range[0] == 0
    assert np.isinf(found.log_error_range[1])


def test_a_measurement_beyond_a_bound_is_named() -> None:
    """An upper bound below the measured interval is contradicted there, a lower one above it."""
    off = np.array([1, 1, 1, 1, 0.5])
    upper = replace(make_curve(off * TRUTH), bound=Bound.UPPER)
    lower = replace(make_curve(TRUTH / off), bound=Bound.LOWER)
    edges = make_edges()
    assert (
        "measured above what it calls an upper bound at B = 256" in compare(edges, upper).sentence
    )
    assert "measured below what it calls a lower bound at B = 256" in compare(edges, lower).sentence
    assert "bound" not in compare(edges, replace(upper, bound=Bound.ESTIMATE)).sentence


def test_ranks_by_error_and_puts_silence_last() -> None:
    """The smallest error comes first, unless it speaks at under half of the batch sizes."""
    good = compare(make_edges(), make_curve(1.1 * TRUTH))
    bad = compare(make_edges(), make_curve(2 * TRUTH))
    terse = compare(make_edges(), make_curve(np.where(SIZES < 16, TRUTH, np.nan)))
    mute = compare([], make_curve(TRUTH))
    assert rank([mute, terse, bad, good]) == (good, bad, terse, mute)


def test_exponents_stand_side_by_side() -> None:
    """The theory's small-batch exponent is shown beside the measured one, or alone."""
    both = compare(make_edges(), make_curve(TRUTH), measured_exponent=0.86)
    alone = compare(make_edges(), make_curve(TRUTH))
    neither = compare([], replace(make_curve(TRUTH), exponent=None))
    assert describe_exponents(both) == "Exponent at small batches: 1.00 predicted, 0.86 measured."
    assert describe_exponents(alone) == "Exponent at small batches: 1.00 predicted."
    assert describe_exponents(neither) == ""
