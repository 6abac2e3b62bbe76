"""From table to fit: groups, refusals, warnings, fit.json."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.columns import COLUMN_NAMES
from analysis.criteria import parse_criterion
from analysis.edge_summaries import Censoring
from analysis.groups import (
    Fit,
    find_naive_slope,
    fit_results,
    split_groups,
    to_json,
    write_fit_json,
)
from analysis.results import Results
from analysis.simulate import Design, simulate_table
from analysis.summaries import GroupFit, Outcome
from analysis.tables import ResultsError, normalize_table
from analysis.words.formatting import group_title
from analysis.words.sentences import describe_setting


def saturating(b: np.ndarray) -> np.ndarray:
    """Return the usual truth: p = 1, plateau 2, B* = 30."""
    return 2 / (1 + 30 / b)


def simulate(design: Design | None = None, seed: int = 0, optimizer: str = "sgd") -> pd.DataFrame:
    """Return a table with the usual truth."""
    rng = np.random.default_rng(seed)
    return simulate_table(saturating, design or Design(), rng, optimizer)


def with_losses(table: pd.DataFrame, sharpness: float = 8.0) -> pd.DataFrame:
    """Add losses that cross half of the initial one where the verdict changes."""
    bad = table["verdict"] == "diverged"
    final = np.where(bad, 2.3 * sharpness, 2.3 / sharpness)
    return table.assign(initial_loss=2.3, start_loss=2.3, final_loss=final, peak_loss=2.3)


def fit_table(table: pd.DataFrame, criterion: str | None = None) -> Fit:
    """Fit a table as a foreign one."""
    results = Results(normalize_table(table, "table.csv", {}).frame, "table.csv")
    return fit_results(results, None if criterion is None else parse_criterion(criterion))


def fit_one(table: pd.DataFrame, criterion: str | None = None) -> GroupFit:
    """Fit a table with one group."""
    [group] = fit_table(table, criterion).groups
    return group


def test_saturating_truth_is_found_and_refutes_nothing_true() -> None:
    """On a good table the true law, exponent and plateau are found, with the checks to match."""
    group = fit_one(simulate(Design(grid_ratio=2**0.25, sigma=0.05, num_seeds=8)))
    assert group.refused is None
    assert group.law == "saturating"
    assert group.exponent_ci is not None
    assert group.exponent_ci[0] < 1 < group.exponent_ci[1]
    assert group.check.outcome is Outcome.CONFIRMED
    best = group.best_law()
    assert best is not None
    assert best.parameters["eta_inf"] == pytest.approx(2, rel=0.1)


def test_headline_is_the_union_over_the_laws_kept() -> None:
    """The group's intervals are the hulls of the kept laws' intervals."""
    group = fit_one(simulate())
    kept = [law for law in group.laws if law.kept]
    assert group.exponent_ci == (
        min(law.exponent_ci[0] for law in kept),
        max(law.exponent_ci[1] for law in kept),
    )
    assert group.exponent == group.laws[0].exponent
    assert group.exponent_ci90 is not None
    assert group.exponent_ci[0] <= group.exponent_ci90[0] <= group.exponent_ci90[1]


def test_groups_are_never_mixed() -> None:
    """Optimizers and horizons are fitted apart, in the order of their names."""
    tables = [
        simulate(optimizer=name).assign(horizon=horizon)
        for name, horizon in (("sgd", "300 steps"), ("adam", "300 steps"), ("sgd", "100 steps"))
    ]
    keys = [(g.key.optimizer, g.key.horizon) for g in fit_table(pd.concat(tables)).groups]
    assert keys == [("adam", "300 steps"), ("sgd", "100 steps"), ("sgd", "300 steps")]


def test_naive_slope_makes_a_linear_law_look_like_a_square_root() -> None:
    """Truth p = 1 with B* = 30, B = 1 … 512: the straight line says about .548 (statistics.md)."""
    b = 2.0 ** np.arange(10)
    exact = np.polyfit(np.log(b), np.log(saturating(b)), 1)[0]
    slopes = [find_naive_slope(simulate(seed=seed)) for seed in range(10)]
    mean = np.mean([slope.exponent for slope in slopes if slope is not None])
    assert exact == pytest.approx(0.548, abs=0.02)
    assert mean == pytest.approx(exact, abs=0.02)


def test_naive_slope_is_linear_regression() -> None:
    """Slope and interval are those of ``scipy.stats.linregress`` with Student's t."""
    table = simulate()
    largest = table[table["verdict"] == "stable"].groupby("batch_size")["lr"].max()
    line = stats.linregress(np.log(largest.index), np.log(largest))
    half = stats.t.ppf(0.975, 8) * line.stderr
    found = find_naive_slope(table)
    assert found is not None
    assert found.exponent == pytest.approx(line.slope)
    assert found.exponent_ci == pytest.approx((line.slope - half, line.slope + half))


def test_naive_slope_needs_three_batch_sizes() -> None:
    """Two points have a slope, but it is not shown."""
    assert find_naive_slope(simulate(Design(batch_sizes=(1, 8)))) is None


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (simulate().query("verdict == 'stable'"), "Every learning rate was stable"),
        (simulate().query("verdict == 'diverged'"), "Every learning rate diverged"),
        (simulate().assign(verdict="failed"), "all trials failed"),
        (simulate(Design(batch_sizes=(8, 64))), "Only 2 batch sizes have both"),
        (simulate(Design(batch_sizes=(8,))), "Only 1 batch size has both"),
        (simulate(Design(batch_sizes=(1, 2, 4, 8), num_seeds=1)), "Only 4 edges are known"),
        (simulate(Design(grid_ratio=4, sigma=0.001)), "perfect because the grid is too coarse"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(table: pd.DataFrame, reason: str) -> None:
    """No law, no exponent and no outcome, but the reason; edges are still reported."""
    group = fit_one(table)
    assert group.refused is not None
    assert reason in group.refused
    assert (group.laws, group.law, group.exponent, group.exponent_ci) == ((), None, None, None)
    assert group.check.outcome is None
    assert group.check.predicted == 1.0


def test_edges_that_no_law_follows_are_refused() -> None:
    """A zigzag beyond the spread of the seeds is lack of fit."""
    zigzag = simulate_table(
        lambda b: 0.01 * b * np.where(np.log2(b) % 2 == 0, 1, 6),
        Design(sigma=0.05),
        np.random.default_rng(0),
    )
    group = fit_one(zigzag)
    assert group.refused is not None
    assert "No law describes the edges" in group.refused


def test_flat_edges_are_refused() -> None:
    """Where LR_max does not grow there is no exponent to check."""
    flat = simulate_table(lambda b: 0.1 + 0 * b, Design(), np.random.default_rng(0))
    group = fit_one(flat)
    assert group.refused is not None
    assert "do not show that LR_max grows" in group.refused


def test_unbounded_exponent_is_refused() -> None:
    """With the bend below all but one batch size, the small-batch slope is anybody's guess."""
    design = Design(batch_sizes=(4, 128, 256, 512, 1024), sigma=0.3, num_seeds=3)
    truth = lambda b: 1 / (1 + (20 / b) ** 3)  # noqa: E731
    group = fit_one(simulate_table(truth, design, np.random.default_rng(1)))
    assert group.refused is not None
    assert "exponent" in group.refused


@pytest.mark.parametrize(
    ("table", "warning"),
    [
        (simulate(Design(num_seeds=2)), "Only 2 seeds"),
        (simulate(Design(num_seeds=1)), "Only 1 seed:"),
        (simulate(Design(sigma=0.02, num_seeds=6)), "coarse beside the spread"),
        (simulate().query("lr < 1"), "most seeds were stable at the largest"),
        (simulate().query("lr > 0.1"), "most seeds diverged at the smallest"),
    ],
)
def test_what_can_be_fitted_with_care_carries_a_warning(table: pd.DataFrame, warning: str) -> None:
    """Few seeds, a coarse grid and censored batch sizes are said."""
    assert any(warning in text for text in fit_one(table).warnings)


def test_a_good_table_carries_no_warning() -> None:
    """Warnings mean something: a table without faults has none."""
    assert fit_one(simulate()).warnings == ()


def test_non_monotone_outcomes_are_warned_about() -> None:
    """Verdicts flipped at random near the edge make units that are not monotone."""
    table = simulate()
    flip = np.random.default_rng(0).uniform(size=len(table)) < 0.05
    other = np.where(table["verdict"] == "stable", "diverged", "stable")
    table["verdict"] = np.where(flip, other, table["verdict"])
    assert any("not monotone" in text for text in fit_one(table).warnings)


def test_failed_trials_are_counted_and_said() -> None:
    """A failed trial keeps its row, and the reader learns of it."""
    table = simulate()
    table.loc[table.index[:5], "verdict"] = "failed"
    group = fit_one(table)
    assert (group.num_trials, group.num_failed) == (len(table), 5)
    assert any(text.startswith("5 of ") for text in group.warnings)


def test_full_batch_without_replacement_is_left_out_of_the_laws() -> None:
    """At B = N the effective batch size is infinite: an edge is reported, no law uses it."""
    design = Design(batch_sizes=(8, 16, 32, 64, 128, 256, 512))
    rng = np.random.default_rng(0)
    truth = lambda b: 2 / (1 + 100 / np.minimum(b / (1 - np.minimum(b, 511.9) / 512), 1e9))  # noqa: E731
    table = simulate_table(truth, design, rng).assign(sampling="epoch", num_examples=512)
    group = fit_one(table)
    assert [edge.batch_size for edge in group.edges][-1] == 512
    assert group.laws[0].num_places == 6
    assert group.num_examples == 512
    assert any("Batch size 512 is all the data" in text for text in group.warnings)


def test_batch_larger_than_the_data_is_an_error() -> None:
    """Without replacement such a row cannot exist."""
    table = simulate().assign(sampling="epoch", num_examples=256)
    with pytest.raises(ResultsError, match="batch size 512 is larger than num_examples 256"):
        fit_table(table)


def test_mixed_ways_of_drawing_batches_are_refused() -> None:
    """Trials that drew batches differently are not one group."""
    table = simulate()
    table["sampling"] = np.where(table["seed"] < 3, "epoch", "replacement")
    group = fit_one(table)
    assert group.refused is not None
    assert "different ways" in group.refused


def test_criterion_judges_anew() -> None:
    """A criterion takes the place of the table's verdicts."""
    table = with_losses(simulate())
    expected = fit_one(table).exponent_ci
    judged = fit_one(table.assign(verdict="stable"), "final:0.5")
    assert judged.exponent_ci == expected


def test_table_without_verdicts_needs_a_criterion() -> None:
    """Losses alone do not say what is stable, and the message says what to write."""
    table = with_losses(simulate()).drop(columns="verdict")
    with pytest.raises(ResultsError, match=r"--criterion final:0\.5"):
        fit_table(table)
    assert fit_table(table, "final:0.5").groups[0].law == "saturating"


def test_criterion_without_its_losses_is_refused() -> None:
    """A criterion needs its columns, and the message names the missing one."""
    with pytest.raises(ResultsError, match=r"has no final_loss.*--map final_loss=COLUMN"):
        fit_table(simulate(), "final:0.5")


def test_sensitivity_is_silent_where_the_criterion_does_not_matter() -> None:
    """With losses far from every threshold all criteria agree, and nobody is warned."""
    group = fit_one(with_losses(simulate()))
    assert [s.criterion for s in group.sensitivity] == ["final:0.3", "final:0.7", "final:1"]
    assert {s.outcome for s in group.sensitivity} == {group.check.outcome}
    assert {s.exponent_ci for s in group.sensitivity} == {group.exponent_ci}
    assert group.warnings == ()


def test_criterion_that_changes_the_outcome_is_warned_about() -> None:
    """Where a laxer threshold moves the edges of large batches, the reader is told."""
    table = with_losses(simulate(Design(grid_ratio=2**0.25, sigma=0.05, num_seeds=8)))
    edge = table[table["verdict"] == "stable"].groupby("batch_size")["lr"].max()
    lax = edge * (edge.index.to_numpy() ** 0.4)  # stable up to here by the laxer criterion
    between = (table["verdict"] == "diverged") & (table["lr"] < table["batch_size"].map(lax))
    table.loc[between, "final_loss"] = 2.3 * 0.65
    group = fit_one(table)
    assert group.check.outcome is Outcome.CONFIRMED
    [warning] = [text for text in group.warnings if text.startswith("Criterion-sensitive")]
    assert "confirmed here" in warning
    assert "with final:0.7" in warning


def test_trained_start_is_also_judged_by_the_loss_it_started_from() -> None:
    """From a trained point, twice the start's loss is among the other criteria."""
    table = with_losses(simulate()).assign(start="1000 steps sgd")
    criteria = [s.criterion for s in fit_one(table).sensitivity]
    assert criteria[-1] == "final:2:start"


def test_own_predictions_take_the_place_of_theory() -> None:
    """A mapping by optimizer sets what the exponent is held against."""
    results = Results(normalize_table(simulate(), "x", {}).frame, "x")
    [group] = fit_results(results, predicted={"sgd": 0.25}).groups
    assert group.check.predicted == 0.25
    assert group.check.outcome is Outcome.REFUTED


def test_fit_json_has_the_keys_of_schema_1(tmp_path: Path) -> None:
    """Every key of the contract is there, in order, and no other."""
    write_fit_json(fit_table(simulate()), tmp_path / "fit.json")
    data = json.loads((tmp_path / "fit.json").read_text())
    assert list(data) == ["schema", "source", "groups"]
    assert (data["schema"], data["source"]) == (1, "table.csv")
    [group] = data["groups"]
    assert list(group) == [
        *("task", "method", "optimizer", "start", "horizon", "recipe", "axis"),
        *("num_trials", "num_failed"),
        *("edges", "laws", "law", "exponent", "exponent_ci", "naive_slope", "check"),
        *("warnings", "refused", "optimal"),
    ]
    edge_keys = "batch_size num_seeds lr_max lr_max_ci lr_stable lr_diverged censored"
    assert list(group["edges"][0]) == edge_keys.split()
    law_keys = "name parameters exponent exponent_ci log_likelihood aicc"
    assert list(group["laws"][0]) == law_keys.split()
    assert list(group["naive_slope"]) == ["exponent", "exponent_ci"]
    assert list(group["check"]) == ["predicted", "margin", "outcome", "reason"]
    assert group["refused"] is None


def test_fit_json_has_no_infinity() -> None:
    """Open ends are null, a learning rate below the grid is 0, and strict JSON accepts it all."""
    table = simulate().query("lr < 1 and lr > 0.1")
    data = to_json(fit_table(table))
    json.dumps(data, allow_nan=False)
    edges = data["groups"][0]["edges"]
    assert edges[0]["censored"] == Censoring.LEFT.value
    assert edges[0]["lr_stable"] == 0
    assert edges[0]["lr_max_ci"][0] == 0
    assert edges[-1]["censored"] == Censoring.RIGHT.value
    assert edges[-1]["lr_diverged"] is None
    assert edges[-1]["lr_max_ci"][1] is None


def test_refused_fit_is_written_too() -> None:
    """A refused group has nulls and its reason."""
    [group] = to_json(fit_table(simulate(Design(batch_sizes=(8, 64)))))["groups"]
    assert group["law"] is group["exponent"] is group["exponent_ci"] is None
    assert group["laws"] == []
    assert group["check"]["outcome"] is None
    assert group["naive_slope"] is None
    assert group["refused"].startswith("Only 2 batch sizes")


def test_table_handed_on_has_all_columns() -> None:
    """What fits see is the table's one shape, whatever the file lacked."""
    assert tuple(normalize_table(simulate(), "x", {}).frame.columns) == COLUMN_NAMES


def test_recipes_are_fitted_apart_and_named() -> None:
    """Rows of another recipe are another group, in fit.json and in titles; plain is the default."""
    table = simulate()
    both = pd.concat([table, table.assign(recipe="clip_norm=1")], ignore_index=True)
    both["recipe"] = both["recipe"].fillna("plain")
    groups = fit_table(both).groups

    assert [group.key.recipe for group in groups] == ["clip_norm=1", "plain"]
    assert [entry["recipe"] for entry in to_json(fit_table(both))["groups"]] == [
        "clip_norm=1",
        "plain",
    ]
    assert groups[0].edges == groups[1].edges == fit_table(table).groups[0].edges
    keys = [group.key for group in groups]
    assert [group_title(key, keys).split(" · ")[-1] for key in keys] == [
        "recipe clip_norm=1",
        "recipe plain",
    ]
    assert "recipe" not in group_title(keys[0], keys[:1])
    assert "recipe clip_norm=1" in describe_setting(keys[0])
    assert "recipe" not in describe_setting(keys[1])
    assert any("Trained with clip_norm=1" in warning for warning in groups[0].warnings)
    assert not any("Trained with" in warning for warning in groups[1].warnings)


def test_rows_of_before_there_were_recipes_are_plain() -> None:
    """Without the column, or with it empty in the older rows, they are of the plain group."""
    table = normalize_table(simulate(), "x", {}).frame
    half = len(table) // 2
    mixed = table.assign(recipe=[None] * half + ["plain"] * (len(table) - half))
    for frame in (table.drop(columns="recipe"), mixed):
        [(key, rows)] = split_groups(frame)
        assert key.recipe == "plain"
        assert len(rows) == len(table)


def test_a_plain_group_is_called_as_before_there_were_recipes() -> None:
    """Its name is what mirrored runs are found again by."""
    [group] = fit_table(simulate()).groups
    assert "recipe" not in str(group.key)
    assert "recipe='clip_norm=1'" in str(replace(group.key, recipe="clip_norm=1"))
