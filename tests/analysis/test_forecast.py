"""A learning rate for a new batch size."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.edge_summaries import Censoring
from analysis.errors import AnalysisError
from analysis.fitting.bands import law_band
from analysis.forecasting.learning_rate import recommend, recommend_group, select_group
from analysis.groups import fit_results
from analysis.results import Results
from analysis.summaries import Fit, GroupFit
from tests.analysis.report_cases import (
    RATES,
    make_group,
    make_law,
    refuse,
    simulate_trials,
    true_lr_max,
)

SGD = make_group(simulate_trials())
ADAM = make_group(simulate_trials("adam"))
FIT = Fit("table", (SGD, ADAM))


def widen(group: GroupFit) -> GroupFit:
    """Make the only law very uncertain."""
    law = group.laws[0]
    return replace(group, laws=(replace(law, covariance=100 * law.covariance),))


@pytest.mark.parametrize("batch_size", [1, 3, 48, 512, 2048])
def test_half_of_the_true_edge_is_recommended(batch_size: int) -> None:
    """With the true law fitted exactly, the rate is half of the true LR_max."""
    advice = recommend(FIT, batch_size, "sgd")

    truth = float(true_lr_max("sgd", np.array([batch_size]))[0])
    assert advice.lr_max == pytest.approx(truth)
    assert advice.lr == pytest.approx(0.5 * truth)
    assert recommend(FIT, batch_size, "sgd", safety=0.25).lr == pytest.approx(0.25 * truth)


def test_the_rate_never_exceeds_the_lower_end_of_the_interval() -> None:
    """Where the interval is wide its lower end decides, and the reader is told."""
    advice = recommend_group(widen(SGD), 8, safety=0.9)

    assert advice.lr_max is not None
    assert advice.lr_max_ci is not None
    assert advice.lr == advice.lr_max_ci[0] < 0.9 * advice.lr_max
    assert any("The interval is wide" in note for note in advice.notes)


def test_the_interval_covers_all_laws_that_count() -> None:
    """The ends are the outermost ones of the kept laws' own bands."""
    laws = (make_law("saturating"), make_law("surge"), make_law("power", kept=False))
    advice = recommend_group(replace(SGD, laws=laws), 256)

    bands = [law_band(SGD, law, 256) for law in laws[:2]]
    assert advice.lr_max_ci == pytest.approx(
        (min(band.low[0] for band in bands), max(band.high[0] for band in bands))
    )


def test_the_rules_scale_the_nearest_measured_edge() -> None:
    """The linear and the square-root rule start from the nearest batch size in ratio."""
    advice = recommend(FIT, 3000, "sgd")

    lr_max = SGD.edges[-1].median
    assert advice.nearest_batch_size == 512
    assert [rule.lr_max for rule in advice.rules] == pytest.approx(
        [lr_max * 3000 / 512, lr_max * np.sqrt(3000 / 512)]
    )
    assert [rule.lr for rule in advice.rules] == pytest.approx(
        [rule.lr_max / 2 for rule in advice.rules]
    )


@pytest.mark.parametrize(
    ("batch_size", "expected"),
    [
        (4096, "B = 4096 is an extrapolation: 8 times above the largest batch size measured (512)"),
        (1, None),
        (100, None),
        (512, None),
    ],
)
def test_an_extrapolation_is_called_one(batch_size: int, expected: str | None) -> None:
    """Beyond the measured batch sizes a note says so and how far, inside them none does."""
    notes = [note for note in recommend(FIT, batch_size, "sgd").notes if "extrapol" in note]

    assert [note.startswith(expected) for note in notes] == ([] if expected is None else [True])


def test_an_extrapolation_to_small_batches_is_called_one_too() -> None:
    """Below the measured batch sizes the factor is counted downwards."""
    group = make_group(simulate_trials(batch_sizes=2 ** np.arange(4, 10)))

    [note] = [note for note in recommend_group(group, 2).notes if "extrapol" in note]
    assert "8 times below the smallest batch size measured (16)" in note


@pytest.mark.parametrize(("batch_size", "past"), [(29, False), (31, True)])
def test_a_batch_past_the_critical_one_is_marked(batch_size: int, past: bool) -> None:
    """The note appears exactly beyond B* = 30."""
    notes = recommend(FIT, batch_size, "sgd").notes

    assert any("past the critical batch size of about 30" in note for note in notes) is past


def test_a_censored_neighbour_is_named_and_no_rule_starts_from_it() -> None:
    """Where the grid ended first, its end is no measured edge."""
    group = make_group(simulate_trials(rates=RATES[RATES < 2]))
    assert group.edges[-1].censored is Censoring.RIGHT

    advice = recommend_group(group, 600)

    assert any("At the neighbouring B = 512 the grid" in note for note in advice.notes)
    measured = [edge for edge in group.edges if edge.censored is Censoring.NONE]
    assert advice.nearest_batch_size == measured[-1].batch_size < 512


def test_a_refused_fit_gives_no_rate_but_its_reason() -> None:
    """Nothing is recommended where no law was fitted; the rules are still there to compare."""
    advice = recommend_group(refuse(SGD, "Every seed failed."), 64)

    assert advice.lr is None
    assert advice.lr_max is None
    assert advice.refused == "No learning rate is recommended. Every seed failed."
    assert len(advice.rules) == 2


def test_a_law_without_an_answer_is_a_refusal() -> None:
    """A power law has no value at the full batch, which has no noise."""
    law = replace(make_law("power"), num_examples=1797)
    group = replace(SGD, laws=(law,), law="power", num_examples=1797)

    assert recommend_group(group, 1797).refused == "The power law says nothing about a full batch."
    with pytest.raises(AnalysisError, match="ask for at most 1797"):
        recommend_group(group, 1798)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (None, "This table has 2 groups. Choose one with --optimizer: 'SGD'; 'Adam'."),
        ("lion", "The table has no optimizer 'lion'. Choose one with --optimizer: 'SGD'; 'Adam'."),
    ],
)
def test_an_unclear_choice_lists_what_there_is(optimizer: str | None, message: str) -> None:
    """The error names every group that can be chosen."""
    with pytest.raises(AnalysisError, match=message):
        recommend(FIT, 64, optimizer)


def test_groups_with_one_optimizer_are_chosen_by_title() -> None:
    """Where the optimizer is not enough the report's title is, in any case."""
    longer = replace(SGD, key=replace(SGD.key, horizon="1000 steps"))

    assert select_group([SGD, longer], "sgd · 1000 STEPS") is longer
    with pytest.raises(AnalysisError, match="'SGD · 300 steps'; 'SGD · 1000 steps'"):
        select_group([SGD, longer], "sgd")
    assert select_group([longer]) is longer
    with pytest.raises(AnalysisError, match="no group"):
        select_group([])


@pytest.mark.parametrize(
    ("batch_size", "safety", "message"),
    [(0, 0.5, "at least 1, got 0"), (8, 0.0, "got 0; try 0.5"), (8, 1.5, "got 1.5")],
)
def test_a_question_out_of_range_is_refused(batch_size: int, safety: float, message: str) -> None:
    """Batch sizes below 1 and factors outside (0, 1] are errors."""
    with pytest.raises(AnalysisError, match=message):
        recommend(FIT, batch_size, "sgd", safety)


def test_the_interval_of_a_real_fit_holds_the_truth_beyond_the_data() -> None:
    """Fitted to simulated trials up to 512, the interval at 1024 holds the true edge."""
    trials = simulate_trials(seed=3)
    advice = recommend(fit_results(Results(pd.DataFrame(trials), "simulated")), 1024)

    truth = float(true_lr_max("sgd", np.array([1024]))[0])
    assert advice.lr_max_ci is not None
    assert advice.lr_max_ci[0] < truth < advice.lr_max_ci[1]
    assert advice.lr is not None
    assert advice.lr < truth
