"""The figures of theory and curvature: their numbers, and that the drawings hold them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from analysis.edge_summaries import Censoring
from analysis.figures.album import draw_curvature
from analysis.figures.canvas import render_svg
from analysis.figures.density import compute_density, density_figure
from analysis.figures.files import save_figures
from analysis.figures.labels import spread_places
from analysis.figures.theory import theory_figure
from analysis.figures.theory_plot import compute_theory
from analysis.results import Results
from analysis.summaries import Fit, GroupFit
from analysis.theory.beside import compare_theories
from tests.analysis.curvature_cases import make_table
from tests.analysis.report_cases import make_group, refuse, simulate_trials

TABLE = make_table()
TRIALS = simulate_trials()
SGD = make_group(TRIALS)
ADAM = make_group(simulate_trials("adam"))
FOUND = compare_theories(SGD, TABLE)


@given(
    st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=14),
    st.floats(0.01, 0.2),
)
def test_labels_never_touch(places: list[float], gap: float) -> None:
    """Heights end up in order, apart by the gap or evenly, and within the axis."""
    wanted = np.array(places)
    spread = spread_places(wanted, gap)
    order = np.argsort(wanted, kind="stable")

    least = min(gap, 1 / max(len(places) - 1, 1))
    assert np.all(np.diff(spread[order]) >= least - 1e-9)
    assert spread.min() >= -1e-9
    assert spread.max() <= 1 + 1e-9


@given(st.lists(st.floats(0.3, 0.7), min_size=2, max_size=5))
def test_labels_move_as_little_as_possible(places: list[float]) -> None:
    """No other arrangement of the same order found by a general optimiser is closer."""
    wanted, gap = np.sort(np.array(places)), 0.05
    apart = {"type": "ineq", "fun": lambda y: np.diff(y) - gap}
    best = optimize.minimize(
        lambda y: np.sum((y - wanted) ** 2),
        np.linspace(0.2, 0.8, len(places)),
        constraints=[apart],
        options={"ftol": 1e-12},
    )

    assert np.sum((spread_places(wanted, gap) - wanted) ** 2) <= best.fun + 1e-6


def test_the_axis_holds_the_measurement_and_the_closest_theories() -> None:
    """Every measured interval and the three bold curves lie inside; the rest are named anyway."""
    plot = compute_theory(SGD, FOUND.nearest)
    shown = [line.curve.lr_max for line in plot.lines if line.bold]
    shown += [np.array(edge.median_ci) for edge in SGD.edges]
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]

    assert len([line for line in plot.lines if line.bold]) == 3
    assert plot.lr_range[0] < values.min() < values.max() < plot.lr_range[1]
    assert [line.agreement for line in plot.lines] == list(FOUND.nearest.agreements)
    assert all(0 <= line.place <= 1 for line in plot.lines)


def test_a_theory_far_off_is_named_with_an_arrow() -> None:
    """A curve outside the picture still has its name, which says where it went."""
    point = FOUND.points[0]
    near = [found for found in point.agreements if found.curve.name != "edge of stability"]
    far = point.find("edge of stability")
    far = replace(far, curve=replace(far.curve, lr_max=far.curve.lr_max * 1e6))
    plot = compute_theory(SGD, replace(point, agreements=(*near, far)))

    assert plot.lines[-1].label == f"{len(plot.lines)}  ↑ edge of stability"
    assert plot.lines[-1].anchor[1] == pytest.approx(plot.lr_range[1])


def test_reconstructions_carry_a_dagger() -> None:
    """In the figure a reconstruction is marked, and nothing else is."""
    plot = compute_theory(SGD, FOUND.nearest)

    marked = {line.curve.name for line in plot.lines if line.label.endswith("†")}
    assert marked == {"spiked Wigner", "Baik–Silverstein (GGN)"}


@pytest.mark.parametrize("group", [SGD, ADAM, refuse(SGD)])
def test_every_curve_is_named_in_the_drawing(group: GroupFit) -> None:
    """The SVG holds each theory's name, the point, and both axes' labels as text."""
    point = compare_theories(group, TABLE).nearest
    svg = render_svg(theory_figure(group, point))

    for found in point.agreements:
        assert found.curve.name in svg
    assert f"theories from curvature at {point.point}" in svg
    assert "measured / theory" in svg


def test_a_censored_edge_is_drawn_and_not_compared() -> None:
    """Where the grid ended first there is a triangle, and no ratio."""
    first = replace(SGD.edges[0], censored=Censoring.LEFT)
    group = replace(SGD, edges=(first, *SGD.edges[1:]))
    point = compare_theories(group, TABLE).nearest

    assert 1 not in [ratio.batch_size for ratio in point.agreements[0].ratios]
    assert "edge below the grid" in render_svg(theory_figure(group, point))


def test_densities_keep_their_weight() -> None:
    """The smoothed density integrates to 1, and its mass above a gap is the nodes' weight there."""
    plot = compute_density(TABLE)
    step = plot.position[1] - plot.position[0]

    assert [panel.point for panel in plot.panels] == ["init", "100 steps", "1000 steps"]
    for panel in plot.panels:
        assert [line.label for line in panel.lines] == ["B = 1", "B = 16", "all data"]
        for line in panel.lines:
            assert line.height.sum() * step == pytest.approx(1.0, abs=1e-3)
    [line] = [line for line in plot.panels[0].lines if line.label == "all data"]
    above = np.sinh(plot.position) * plot.linear > 0.5
    assert line.height[above].sum() * step == pytest.approx(1e-4, rel=0.01)
    assert line.largest == pytest.approx(1.0)


def test_few_densities_are_chosen_from_many() -> None:
    """At most three points and four sizes are drawn, the ends among them, colours by size."""
    spectra = [
        replace(row, step=10 * step, point=f"{10 * step} steps", batch_size=size)
        for row in TABLE.spectra[:1]
        for step in range(6)
        for size in (1.0, 2.0, 4.0, 8.0, 16.0, None)
    ]
    plot = compute_density(replace(TABLE, spectra=tuple(spectra)))

    assert [panel.point for panel in plot.panels] == ["0 steps", "20 steps", "50 steps"]
    labels = {panel.point: [line.label for line in panel.lines] for panel in plot.panels}
    assert set(map(tuple, labels.values())) == {("B = 1", "B = 4", "B = 8", "all data")}
    assert {panel.lines[0].color for panel in plot.panels} == {plot.panels[0].lines[0].color}
    assert "all data" in render_svg(density_figure(replace(TABLE, spectra=tuple(spectra))))


def test_without_densities_there_is_no_picture() -> None:
    """Curvature without spectra draws nothing and refuses to compute."""
    bare = replace(TABLE, spectra=())

    assert list(draw_curvature(bare)) == []
    with pytest.raises(ValueError, match="none was measured"):
        compute_density(bare)


def test_figures_are_saved_with_those_of_curvature(tmp_path: Path) -> None:
    """Files of theory stand with their group, densities on their own."""
    fit, results = Fit("x", (SGD,)), Results(TRIALS, "x")

    written = save_figures(fit, results, None, tmp_path, ("svg",), curvature=TABLE)

    names = [path.name for path in written]
    assert "1-sgd-theory.svg" in names
    assert names[-1] == "curvature-densities.svg"
    before = save_figures(fit, results, None, tmp_path / "before", ("svg",))
    assert {path.name for path in before} < set(names)
