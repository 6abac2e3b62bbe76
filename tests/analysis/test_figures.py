"""The numbers behind the figures, and that the drawings hold them without cutting anything off."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.edge_summaries import Censoring
from analysis.figures.album import draw_pictures
from analysis.figures.canvas import LAW_COLORS, new_figure, render_svg, save_figure, tick_values
from analysis.figures.edges import compute_edges, edge_figure
from analysis.figures.files import save_figures
from analysis.figures.losses import compute_losses, loss_figure
from analysis.figures.outcomes import compute_outcomes, outcome_figure
from analysis.figures.sensitivity import compute_sensitivity, sensitivity_figure
from analysis.grouping import select_trials
from analysis.results import Results
from analysis.summaries import Fit, GroupFit, Outcome, Sensitivity
from tests.analysis.report_cases import (
    RATES,
    make_group,
    make_law,
    refuse,
    simulate_curves,
    simulate_trials,
    true_lr_max,
)

TRIALS = simulate_trials()
GROUP = make_group(TRIALS, laws=(make_law("saturating"), make_law("surge"), make_law("power")))
SENSITIVITY = (
    Sensitivity("final:0.3", "power", 0.9, (0.8, 1.1), Outcome.INCONCLUSIVE),
    Sensitivity("finite", None, None, None, None, "No law describes the edges."),
)


def fail(trials: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
    """Let some trials end without a measurement."""
    return trials.assign(verdict=trials["verdict"].mask(rows, "failed"))


def test_guides_have_the_slope_they_are_named_after() -> None:
    """Log-log slopes of the drawn lines are 1 and 1/2, through the reported law's first point."""
    slopes = {
        guide.label: np.diff(np.log(guide.y)) / np.diff(np.log(guide.x))
        for guide in compute_edges(GROUP).guides
    }

    assert slopes == {"slope 1": pytest.approx(1.0), "slope ½": pytest.approx(0.5)}
    first = true_lr_max("sgd", np.array([1]))[0]
    assert compute_edges(GROUP).guides[0].y[0] == pytest.approx(first, rel=0.01)


def test_the_axis_holds_every_finite_bracket_and_guide() -> None:
    """Nothing that is known lies outside the vertical axis."""
    plot = compute_edges(GROUP)
    low, high = plot.y_range

    ends = [end for edge in plot.brackets for end in (edge.stable, edge.diverged)]
    ends += [end for guide in plot.guides for end in guide.y]
    assert low < min(ends)
    assert max(ends) <= high * (1 + 1e-9)


def test_the_reported_law_is_drawn_on_top_and_follows_the_truth() -> None:
    """Of the laws that count the reported one comes last; its curve is the law's formula."""
    plot = compute_edges(GROUP)

    assert [curve.reported for curve in plot.curves] == [False, False, True]
    curve = plot.curves[-1]
    np.testing.assert_allclose(curve.y, true_lr_max("sgd", curve.x))
    assert curve.x[0] < 1
    assert curve.x[-1] > 512


def test_a_law_that_does_not_count_is_not_drawn() -> None:
    """Laws beyond the cut are in the table only."""
    laws = (make_law("saturating"), make_law("power", kept=False))

    assert [c.law.name for c in compute_edges(replace(GROUP, laws=laws)).curves] == ["saturating"]


def test_curves_end_where_the_data_end_without_replacement() -> None:
    """No batch can be larger than the data it is drawn from."""
    laws = (replace(make_law(), num_examples=600),)
    plot = compute_edges(replace(GROUP, laws=laws, num_examples=600))

    assert plot.curves[0].x[-1] == pytest.approx(600)


def test_seeds_stand_beside_each_other_near_their_batch_size() -> None:
    """Brackets of one batch size have places of their own within a third of an octave."""
    plot = compute_edges(GROUP)
    sizes = np.array([edge.batch_size for edge in plot.brackets])

    assert np.unique(plot.positions).size == sizes.size
    assert np.abs(np.log2(plot.positions / sizes)).max() <= 1 / 6 + 1e-9


def test_guides_start_from_a_measured_edge() -> None:
    """A refused group has guides from its first bracketed edge, none with fewer than two."""
    high = make_group(simulate_trials(rates=RATES[RATES > 0.3]))
    assert high.edges[0].censored is Censoring.LEFT
    first = next(edge for edge in high.edges if edge.censored is Censoring.NONE)

    guide = compute_edges(refuse(high)).guides[0]

    assert (guide.x[0], guide.y[0]) == (first.batch_size, first.median)
    alone = make_group(simulate_trials(batch_sizes=np.array([8])))
    assert compute_edges(refuse(alone)).guides == ()


def test_cells_hold_the_share_of_measured_trials_that_were_stable() -> None:
    """The grid agrees with a pivot table of the rows."""
    trials = fail(TRIALS, (TRIALS["seed"] == 2) & (TRIALS["batch_size"] == 4))
    grid = compute_outcomes(trials, GROUP)

    measured = trials[trials["verdict"] != "failed"]
    expected = measured.assign(stable=measured["verdict"] == "stable").pivot_table(
        index="lr", columns="batch_size", values="stable", aggfunc="mean"
    )
    np.testing.assert_allclose(grid.stable_share, expected.to_numpy())
    np.testing.assert_allclose(grid.value, expected.index)
    assert grid.num_failed.sum() == RATES.size
    assert grid.num_failed[:, 2].tolist() == [1] * RATES.size


def test_cells_without_a_measurement_are_told_apart() -> None:
    """A failed cell counts its failures, a cell that was not run has none; both have no share."""
    smallest = TRIALS["lr"].min()
    trials = fail(TRIALS, (TRIALS["batch_size"] == 512) & (TRIALS["lr"] > 10))
    trials = trials[(trials["batch_size"] != 1) | (trials["lr"] > smallest)]
    grid = compute_outcomes(trials, GROUP)

    assert np.isnan(grid.stable_share[-1, -1])
    assert grid.num_failed[-1, -1] == 6
    assert np.isnan(grid.stable_share[0, 0])
    assert grid.num_failed[0, 0] == 0


def test_many_different_rates_share_rows_without_losing_trials() -> None:
    """A bisection's rates are binned: few rows, each rate within half a row of its own."""
    rng = np.random.default_rng(0)
    trials = TRIALS.assign(lr=TRIALS["lr"] * np.exp(rng.uniform(-0.1, 0.1, len(TRIALS))))
    grid = compute_outcomes(fail(trials, pd.Series(True, trials.index)), GROUP)

    assert grid.value.size <= 60
    assert grid.num_failed.sum() == len(trials)
    nearest = np.abs(np.log(trials["lr"].to_numpy()[:, None] / grid.value)).min(axis=1)
    span = np.log(trials["lr"].max() / trials["lr"].min())
    assert nearest.max() <= span / 60 / 2 + 1e-8


def test_the_edge_over_the_grid_is_the_fits() -> None:
    """The drawn line is LR_max of each column, and a column without one has none."""
    grid = compute_outcomes(TRIALS, replace(GROUP, edges=GROUP.edges[1:]))

    np.testing.assert_array_equal(grid.edge, [np.nan, *(e.median for e in GROUP.edges[1:])])


def test_an_empty_figure_is_an_error_that_says_so() -> None:
    """Without edges or trials there is nothing to compute."""
    with pytest.raises(ValueError, match="no measured trial"):
        compute_edges(replace(GROUP, edges=()))
    with pytest.raises(ValueError, match="at least one trial"):
        compute_outcomes(TRIALS.iloc[:0], GROUP)


def test_sensitivity_has_a_row_per_criterion_after_the_reported_one() -> None:
    """Rows keep their order; a refused criterion has no interval."""
    plot = compute_sensitivity(replace(GROUP, sensitivity=SENSITIVITY))

    assert plot.labels == ("as reported", "final:0.3", "finite")
    np.testing.assert_allclose(plot.exponent, [0.85, 0.9, np.nan])
    np.testing.assert_allclose(plot.low, [0.79, 0.8, np.nan])
    np.testing.assert_allclose(plot.high, [0.91, 1.1, np.nan])
    assert plot.predicted == 1.0


@given(st.floats(1e-8, 1e5), st.floats(1.05, 1e8))
def test_ticks_are_round_numbers_inside_the_axis(low: float, ratio: float) -> None:
    """At least two ascending ticks lie within the axis."""
    ticks = tick_values(low, low * ratio)

    assert len(ticks) >= 2
    assert ticks == sorted(set(ticks))
    assert low <= ticks[0]
    assert ticks[-1] <= low * ratio


def find_cut_texts(figure: Figure) -> list[str]:
    """Return every visible text that reaches beyond the paper."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    # Matplotlib keeps labels for ticks just beyond an axis and does not draw them.
    hidden = [
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]
    cut = []
    for text in figure.findobj(Text):
        if not (text.get_visible() and text.get_text()) or text in hidden:
            continue
        box = text.get_window_extent()
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
            cut.append(text.get_text())
    return cut


ODD = simulate_trials(batch_sizes=np.array([3, 17, 1000, 65536]), num_seeds=1)
CENSORED = make_group(simulate_trials(rates=RATES[(RATES > 0.3) & (RATES < 2)]))
SINGLE = simulate_trials(batch_sizes=np.array([8]), rates=RATES[10:11], num_seeds=1)


FIGURES = {
    "edges": lambda: edge_figure(GROUP),
    "edges, refused": lambda: edge_figure(refuse(GROUP)),
    "edges, censored": lambda: edge_figure(CENSORED),
    "edges, odd sizes": lambda: edge_figure(make_group(ODD)),
    "edges, one cell": lambda: edge_figure(refuse(make_group(SINGLE))),
    "outcomes": lambda: outcome_figure(fail(TRIALS, TRIALS["lr"] < 0.002), GROUP),
    "outcomes, odd sizes": lambda: outcome_figure(ODD, make_group(ODD)),
    "outcomes, one cell": lambda: outcome_figure(SINGLE, make_group(SINGLE)),
    "sensitivity": lambda: sensitivity_figure(replace(GROUP, sensitivity=SENSITIVITY)),
    "sensitivity, refused": lambda: sensitivity_figure(
        replace(refuse(GROUP), sensitivity=SENSITIVITY[1:])
    ),
    "losses": lambda: loss_figure(compute_losses(TRIALS, simulate_curves(TRIALS), GROUP)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off(name: str) -> None:
    """Every label, tick and legend entry lies on the paper."""
    assert find_cut_texts(FIGURES[name]()) == []


def test_a_text_beyond_the_paper_would_be_found() -> None:
    """The check above is able to fail."""
    figure = Figure(figsize=(1, 1))
    figure.text(0.5, 0.5, "far too long a text for an inch of paper")

    assert len(find_cut_texts(figure)) == 1


def test_svg_is_the_same_each_time_and_asks_for_nothing() -> None:
    """Two drawings agree byte for byte; no address but names of XML vocabularies occurs."""
    svg = render_svg(edge_figure(GROUP))

    assert svg == render_svg(edge_figure(GROUP))
    attributes = [value for node in ET.fromstring(svg).iter() for value in node.attrib.values()]
    assert not [value for value in attributes if "http" in value and "purl.org" not in value]


def test_laws_have_the_colours_of_their_names() -> None:
    """The law of the headline too: black is for what was measured."""
    (axes,) = edge_figure(GROUP).axes
    drawn = {str(line.get_label()): line.get_color() for line in axes.get_lines()}

    for name in ("saturating", "surge", "power"):
        (color,) = [color for label, color in drawn.items() if label.startswith(f"{name}, ")]
        assert color == LAW_COLORS[name]


def test_text_in_a_figure_stays_text() -> None:
    """Markup in a label is drawn as it stands."""
    label = "<script>alert(1)</script> & more"
    figure = new_figure(4, 2)
    figure.subplots().set_title(label)

    texts = ["".join(node.itertext()) for node in ET.fromstring(render_svg(figure)).iter()]
    assert label in texts
    assert "<script" not in render_svg(figure)


def test_rows_of_a_group_are_found_by_its_key() -> None:
    """Selecting gives the rows the group was made from, also when the table has fewer columns."""
    both = pd.concat([TRIALS, simulate_trials("adam")], ignore_index=True)

    pd.testing.assert_frame_equal(select_trials(both, GROUP.key), TRIALS)
    assert len(select_trials(both.drop(columns="task"), GROUP.key)) == len(TRIALS)


def test_pictures_are_those_that_the_data_allow() -> None:
    """Without curves, other criteria or edges the pictures that need them are left out."""

    def names(group: GroupFit, curves: pd.DataFrame | None) -> list[str]:
        return [picture.name for picture in draw_pictures(group, TRIALS, curves)]

    rich = replace(GROUP, sensitivity=SENSITIVITY)
    assert names(rich, simulate_curves(TRIALS)) == ["edges", "outcomes", "losses", "sensitivity"]
    assert names(GROUP, None) == ["edges", "outcomes"]
    assert names(replace(GROUP, edges=(), seed_edges=()), None) == ["outcomes"]
    assert names(replace(GROUP, sensitivity=SENSITIVITY[1:]), None) == ["edges", "outcomes"]


def test_figures_are_saved_under_names_that_are_safe(tmp_path: Path) -> None:
    """A hostile optimizer name becomes plain letters; the files are what their endings say."""
    trials = TRIALS.assign(optimizer="../../<b>lion")
    group = replace(GROUP, key=replace(GROUP.key, optimizer="../../<b>lion"))

    files = save_figures(Fit("x", (group,)), Results(trials, "x"), None, tmp_path / "figures")

    assert sorted(file.name for file in files) == [
        "1-b-lion-edges.png",
        "1-b-lion-edges.svg",
        "1-b-lion-outcomes.png",
        "1-b-lion-outcomes.svg",
    ]
    for file in files:
        start = b"\x89PNG" if file.suffix == ".png" else b"<?xml"
        assert file.read_bytes().startswith(start)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """The error names the formats that can be written."""
    with pytest.raises(ValueError, match="written as png, svg, pdf, got gif"):
        save_figure(new_figure(1, 1), tmp_path / "x.gif")


def test_drawing_needs_no_window_and_nothing_that_trains() -> None:
    """Making a report loads neither pyplot nor torch, ray or wandb."""
    code = (
        "import sys, analysis.report, analysis.forecasting.learning_rate;"
        "heavy = {'matplotlib.pyplot', 'torch', 'ray', 'wandb', 'rich', 'scaling_sweep'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
