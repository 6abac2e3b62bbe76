"""The words of a fit, and its numbers and names as they are shown."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.criteria import Criterion, Kind, Reference
from analysis.summaries import Check, GroupFit, GroupKey, LawFit, NaiveSlope, Outcome, Sensitivity
from analysis.words.formatting import format_number, format_rate, group_title
from analysis.words.laws import critical_batch_size, turning_batch_size
from analysis.words.sentences import (
    OUTCOME_MEANINGS,
    describe_criterion,
    describe_naive_slope,
    describe_sensitivity,
    describe_setting,
    describe_trials,
    headline,
)
from tests.analysis.report_cases import make_group, make_law, refuse, simulate_trials

GROUP = make_group(simulate_trials(num_seeds=2))
GREW = "Under SGD the largest stable learning rate grew like B^0.85 [0.79, 0.91]"


def with_law(law: LawFit) -> GroupFit:
    """Let another law be the one reported."""
    return replace(GROUP, laws=(law,), law=law.name)


def with_parameters(name: str, **parameters: float) -> GroupFit:
    """Let a law with other parameters be the one reported."""
    law = make_law(name)
    return with_law(replace(law, parameters={**law.parameters, **parameters}))


@pytest.mark.parametrize(
    ("group", "shape"),
    [
        (GROUP, "up to about B = 30 and then levelled off"),
        (with_law(make_law("surge")), "up to about B = 30 and then turned down"),
        (with_law(make_law("power")), "over all batch sizes measured (1 to 512)"),
        (
            with_parameters("saturating", b_star=4000.0),
            "over all batch sizes measured (1 to 512)",
        ),
        (
            with_parameters("saturating", b_star=0.4),
            "only below the batch sizes measured: it had already levelled off at B = 1, so this "
            "slope is extrapolated",
        ),
        # p/q = 100 puts the peak at 30 * 100^(1/1.01), far beyond 512: what is seen is a plateau.
        (
            with_parameters("surge", p=1.0, q=0.01),
            "up to about B = 30 and then levelled off",
        ),
    ],
    ids=["saturating", "surge", "power", "bend above", "bend below", "surge without a fall"],
)
def test_the_headline_says_how_far_the_growth_goes(group: GroupFit, shape: str) -> None:
    """The shape of the law in words fits where its bend lies among the batch sizes measured."""
    assert headline(group) == f"{GREW} {shape}; slope 1 is refuted."


@pytest.mark.parametrize(
    ("predicted", "outcome", "verdict"),
    [
        (1.0, Outcome.CONFIRMED, "slope 1 is confirmed"),
        (1.0, Outcome.REFUTED, "slope 1 is refuted"),
        (0.5, Outcome.INCONCLUSIVE, "whether the slope is 0.5 stays open"),
        (None, None, "no slope is predicted for this optimizer"),
    ],
)
def test_the_headline_ends_with_the_outcome(
    predicted: float | None, outcome: Outcome | None, verdict: str
) -> None:
    """Each outcome has its own clause, and no prediction is not an outcome."""
    group = replace(GROUP, check=Check(predicted, 0.1, outcome, ""))

    assert headline(group).endswith(f"levelled off; {verdict}.")


def test_a_refused_group_gets_its_reason_instead_of_a_number() -> None:
    """Where no law was fitted the headline holds the reason and no exponent."""
    refused = refuse(GROUP, "Every learning rate was stable.")

    assert headline(refused) == (
        "Under SGD no exponent can be given. Every learning rate was stable."
    )


def test_a_table_without_an_optimizer_is_not_given_one() -> None:
    """An unknown optimizer is left out of the sentence."""
    nameless = replace(GROUP, key=replace(GROUP.key, optimizer="unknown"))

    assert headline(nameless).startswith("Here the largest stable learning rate grew")


def test_critical_batch_size_is_given_in_examples_that_can_be_drawn() -> None:
    """Without replacement the effective b = B/(1 - B/N) is turned back into B."""
    law = replace(make_law(), num_examples=100)
    critical = critical_batch_size(law)

    assert critical is not None
    assert critical / (1 - critical / 100) == pytest.approx(law.parameters["b_star"])
    assert critical_batch_size(make_law("power")) is None


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.9, 0.2), (0.3, 1.5)])
def test_turning_batch_size_is_where_the_surge_is_highest(p: float, q: float) -> None:
    """The formula agrees with the highest point of the law on a fine grid."""
    law = make_law("surge")
    law = replace(law, parameters={**law.parameters, "p": p, "q": q})
    b = np.geomspace(0.1, 1e4, 20_001)
    lr_max = 1 / ((30 / b) ** p + (b / 30) ** q)

    assert turning_batch_size(law) == pytest.approx(b[lr_max.argmax()], rel=1e-3)


def test_a_law_that_does_not_fall_has_no_turning_point() -> None:
    """A surge with q = 0 turns at infinity, a saturating law nowhere."""
    flat = replace(make_law("surge"), parameters={"eta_peak": 1.0, "b_star": 30.0, "p": 1, "q": 0})

    assert turning_batch_size(flat) == np.inf
    assert turning_batch_size(make_law()) is None


@pytest.mark.parametrize(
    ("group", "end"),
    [
        (GROUP, "It averages the growth at small batch sizes with what comes after."),
        (
            replace(GROUP, naive_slope=NaiveSlope(0.9, (0.8, 1.0))),
            "Here it lies inside the interval of the fitted laws.",
        ),
        (with_law(make_law("power")), "It ignores where the grid ended before the edge did."),
        (
            replace(refuse(GROUP), naive_slope=NaiveSlope(0.9, (0.8, 1.0))),
            "It says nothing about whether a straight line is the right law.",
        ),
        (refuse(GROUP), "There are too few batch sizes with a stable learning rate for a straight"
         " line."),
    ],
    ids=["bent", "agrees", "power", "refused", "too few"],
)  # fmt: skip
def test_the_naive_slope_is_shown_with_what_is_wrong_with_it(group: GroupFit, end: str) -> None:
    """What is said about the straight line depends on how it compares with the law."""
    assert describe_naive_slope(group).endswith(end)


def test_the_setting_leaves_out_what_the_table_does_not_know() -> None:
    """Only known parts of the key are told; of nothing, nothing."""
    key = GroupKey("unknown", "plain", "sgd", "", "unknown")

    assert describe_setting(key) == "Method plain."
    assert describe_setting(replace(key, method="unknown")) == ""


def test_trials_are_counted_and_failures_explained() -> None:
    """The sentence has the table's own counts."""
    assert describe_trials(GROUP) == "560 trials: 10 batch sizes, 2 seeds."
    assert describe_trials(replace(GROUP, num_failed=3)) == (
        "560 trials: 10 batch sizes, 2 seeds. 3 of them failed, that is, gave no measurement; "
        "they count neither as stable nor as diverged."
    )


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (Criterion(), "the loss after its last update was at most 0.5 times the loss of the un"),
        (Criterion(Kind.FINAL, 2.0, Reference.START), "at most 2 times the loss where the trial"),
        (Criterion(Kind.PEAK, 4.0), "a mean over a window of examples, was at most 4 times"),
        (Criterion(Kind.FINITE), "its loss stayed finite at every step."),
        (None, "whoever made it judged the trials."),
    ],
)
def test_the_criterion_is_said_in_words(criterion: Criterion | None, expected: str) -> None:
    """Each part of a criterion appears in the sentence."""
    assert expected in describe_criterion(criterion)


def test_sensitivity_spans_the_smallest_to_the_largest_exponent() -> None:
    """Refused criteria are counted but have no exponent."""
    entries = (
        Sensitivity("final:0.3", "power", 0.7, (0.6, 0.8), Outcome.REFUTED),
        Sensitivity("final:1", "power", 0.9, (0.8, 1.0), Outcome.INCONCLUSIVE),
        Sensitivity("peak:4", None, None, None, None, "No law describes the edges."),
    )

    assert describe_sensitivity(replace(GROUP, sensitivity=entries)) == (
        "Under 2 of 3 other criteria a law can be fitted; its exponent spans 0.70 to 0.90."
    )
    assert "none of the other criteria" in describe_sensitivity(
        replace(GROUP, sensitivity=entries[2:])
    )


def test_every_outcome_is_explained() -> None:
    """No outcome is shown without a meaning beside it."""
    assert set(OUTCOME_MEANINGS) == set(Outcome)


@given(st.floats(1e-12, 1e12), st.integers(1, 6))
def test_a_number_keeps_its_significant_digits(value: float, digits: int) -> None:
    """Reading the text back gives the number up to half a unit of the last digit."""
    assert float(format_number(value, digits)) == pytest.approx(
        value, rel=0.5000001 * 10 ** (1 - digits)
    )


@given(st.floats(1e-4, 900))
def test_a_rate_shows_three_digits(lr: float) -> None:
    """A rate has exactly three significant digits, so that columns line up."""
    digits = format_rate(lr).replace(".", "").lstrip("0")

    assert len(digits) == 3
    assert float(format_rate(lr)) == float(format_number(lr))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (-np.inf, "−∞"), (np.inf, "∞"), (np.nan, "not a number"), (-0.25, "-0.25")],
)
def test_numbers_that_are_no_decimals_can_be_read(value: float, expected: str) -> None:
    """Zero, infinities and what is no number have a text too."""
    assert format_number(value) == expected


def test_a_group_is_named_by_what_sets_it_apart() -> None:
    """Only parts of the key that differ are in the title, and titles differ."""
    key = GroupKey("digits", "plain", "sgd", "init", "300 steps")
    keys = [key, replace(key, start="1000 steps"), replace(key, method="hard batches")]

    assert [group_title(each, keys) for each in keys] == [
        "SGD · plain · from init",
        "SGD · plain · from 1000 steps",
        "SGD · hard batches · from init",
    ]
    assert group_title(replace(key, optimizer="unknown"), [key]) == "All trials"
