"""The best learning rate in figures, sentences, the report, recommendations and fit.json."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.edge_summaries import Censoring
from analysis.figures.album import draw_optima
from analysis.figures.optimal import bowl_figure, compute_bowls, draw_growth, growth_figure
from analysis.fitting.bands import predict_edge
from analysis.forecasting.learning_rate import recommend_group
from analysis.groups import fit_results, to_json
from analysis.optimal.laws import as_group
from analysis.report import render_report
from analysis.results import Results
from analysis.simulate_bowls import BowlDesign, simulate_bowls
from analysis.summaries import Fit, GroupFit
from analysis.tables import normalize_table
from analysis.words.optimal import describe_growth, describe_optimum, find_share

CLIFF = 0.8


def fit_table(table: pd.DataFrame) -> tuple[Fit, Results]:
    """Fit a simulated table as a foreign one."""
    results = Results(normalize_table(table, "bowls", {}).frame, "bowls")
    return fit_results(results), results


@pytest.fixture(scope="module")
def study() -> tuple[Fit, Results]:
    """A study whose bowls end in a cliff, and whose grid begins too late at small batch sizes."""
    design = BowlDesign(cliff=CLIFF, below=-1.5, num_seeds=4)
    table = simulate_bowls(lambda b: 0.6 / (1 + 30 / b), design, np.random.default_rng(0))
    return fit_table(table)


@pytest.fixture(scope="module")
def group(study: tuple[Fit, Results]) -> GroupFit:
    """The study's only group."""
    return study[0].groups[0]


def test_share_of_the_edge_is_the_cliffs_distance(group: GroupFit) -> None:
    """The optimum lies below the edge by the factor that was simulated, at every batch size."""
    median, low, high = find_share(group)

    assert median == pytest.approx(np.exp(-CLIFF), rel=0.1)
    assert low < median < high
    assert f"{median:.2g}" in describe_optimum(group)


def test_optimum_is_held_against_the_same_prediction(group: GroupFit) -> None:
    """The optimum's exponent is checked against the edge's prediction, in words as in numbers."""
    assert group.optimal.check.predicted == group.check.predicted == 1
    assert f"{group.optimal.exponent:.2f}" in describe_growth(group.optimal)
    assert str(group.optimal.law) in describe_growth(group.optimal)


def test_refusal_is_said_in_the_sentence(group: GroupFit) -> None:
    """Without a law the sentence says why."""
    refused = replace(group.optimal, exponent=None, law=None, laws=(), refused="Too few.")

    assert describe_growth(refused).endswith("Too few.")


def test_optima_stand_in_for_edges(group: GroupFit) -> None:
    """As a group, optima are edges: the law predicts them, and those at the end are censored."""
    optima = as_group(group)

    band = predict_edge(optima, 64)
    assert band.low[0] < 0.6 / (1 + 30 / 64) < band.high[0]
    assert {e.batch_size for e in optima.edges if e.censored is Censoring.LEFT} == {
        one.batch_size for one in group.optimal.lrs if one.at_edge
    }
    assert as_group(replace(group, optimal=None)) is None


def test_growth_shows_both_and_marks_what_lies_outside(group: GroupFit) -> None:
    """Every optimum is drawn: a square inside the grid, a hollow triangle at its end."""
    axes = Figure().subplots()

    draw_growth(group, axes)

    by_marker = {line.get_marker(): line for line in axes.lines if line.get_xdata().size}
    outside = sum(one.at_edge for one in group.optimal.lrs)
    assert by_marker["v"].get_xdata().size == outside > 0
    assert by_marker["s"].get_xdata().size == len(group.optimal.lrs) - outside
    inside = [edge for edge in group.edges if edge.censored is Censoring.NONE]
    assert by_marker["o"].get_xdata().size == len(inside)


def test_bowls_are_drawn_for_a_few_batch_sizes(study: tuple[Fit, Results], group: GroupFit) -> None:
    """At most six panels from the smallest to the largest batch size, with a line per seed."""
    panels = compute_bowls(study[1].frame, group)
    figure = bowl_figure(panels)

    assert len(panels) == 6
    assert (panels[0].optimum, panels[-1].optimum) == group.optimal.lrs[
        :: len(group.optimal.lrs) - 1
    ]
    assert sum(line.get_label() == "one seed" for line in figure.axes[0].lines) == 4
    assert figure.axes[0].get_title() == f"B = {panels[0].optimum.batch_size}"


def test_no_losses_no_pictures(group: GroupFit) -> None:
    """A table without losses has no pictures of optima, and growth says why."""
    bare = replace(group, optimal=None)

    assert list(draw_optima(bare, pd.DataFrame())) == []
    assert describe_optimum(bare) == ""
    with pytest.raises(ValueError, match="no losses"):
        growth_figure(bare)


def test_report_has_a_section_and_a_row_for_every_optimum(study: tuple[Fit, Results]) -> None:
    """The page has the section, its two figures, and a note where the grid ended too early."""
    fit, results = study

    page = render_report(fit, results, None)

    section = page[page.index("Best learning rate by batch size") :]
    assert section.count("<img") >= 2
    assert section.count('<th scope="row" class="n">') == len(fit.groups[0].optimal.lrs)
    assert "at the low end of the grid" in section


def test_recommendation_puts_the_optimum_beside_the_edge(group: GroupFit) -> None:
    """At a batch size that was not measured, the optimum comes from its law."""
    advice = recommend_group(group, 48)

    assert advice.lr_opt_ci[0] < 0.6 / (1 + 30 / 48) < advice.lr_opt_ci[1]
    assert advice.lr_opt < advice.lr_max
    assert advice.lr == recommend_group(replace(group, optimal=None), 48).lr


def test_recommendation_without_a_law_is_what_was_measured(group: GroupFit) -> None:
    """Without a law only a measured, bounded optimum is recommended."""
    lawless = replace(group, optimal=replace(group.optimal, laws=(), law=None, refused="Too few."))
    last = group.optimal.lrs[-1]

    assert recommend_group(lawless, last.batch_size).lr_opt == last.lr_opt
    assert recommend_group(lawless, 48).lr_opt is None
    assert recommend_group(lawless, group.optimal.lrs[0].batch_size).lr_opt is None


def test_fit_json_holds_the_optimum(study: tuple[Fit, Results]) -> None:
    """The key optimal has the keys of the contract, and strict JSON accepts it."""
    optimal = to_json(study[0])["groups"][0]["optimal"]

    json.dumps(optimal, allow_nan=False)
    assert list(optimal) == [
        *("loss_column", "lrs", "laws", "law", "exponent", "exponent_ci", "check"),
        *("warnings", "refused"),
    ]
    keys = "batch_size num_seeds lr_opt lr_opt_ci loss at_edge where"
    assert list(optimal["lrs"][0]) == keys.split()
    assert optimal["lrs"][0]["at_edge"]
    assert optimal["lrs"][0]["lr_opt_ci"][0] == 0


def test_table_with_verdicts_only_has_no_optimum() -> None:
    """Without a loss column the optimum is null."""
    table = simulate_bowls(lambda b: 0.01 * b, BowlDesign(num_seeds=2), np.random.default_rng(0))

    fit, _ = fit_table(table.drop(columns="final_loss"))

    assert to_json(fit)["groups"][0]["optimal"] is None


def test_a_bisection_has_no_best_learning_rate() -> None:
    """What closes in on the edge has not looked where the loss is lowest, and claims nothing."""
    table = simulate_bowls(lambda b: 0.01 * b, BowlDesign(num_seeds=3), np.random.default_rng(0))
    grid = Results(normalize_table(table, "x", {}).frame, "x", sweep_text="search: grid\n")
    bisected = replace(grid, sweep_text="search: {bisect: {resolution: 1.1}}\n")

    assert fit_results(grid).groups[0].optimal is not None
    assert fit_results(bisected).groups[0].optimal is None


def test_losses_that_vanish_have_no_lowest() -> None:
    """Where training ended at exactly 0, as least squares does, no optimum is claimed."""
    table = simulate_bowls(lambda b: 0.01 * b, BowlDesign(num_seeds=3), np.random.default_rng(0))
    table.loc[table["final_loss"] < 2 * table["final_loss"].min(), "final_loss"] = 0.0
    results = Results(normalize_table(table, "x", {}).frame, "x")

    optimal = fit_results(results).groups[0].optimal

    assert optimal is not None
    assert optimal.lrs == ()
    assert "none is the lowest" in str(optimal.refused)
