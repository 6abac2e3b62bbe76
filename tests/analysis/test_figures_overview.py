"""Several groups in one picture."""

import numpy as np
import pytest
from matplotlib.text import Annotation

from analysis.figures.album import draw_overview
from analysis.figures.overview import compute_overview, overview_figure
from analysis.groups import fit_results
from analysis.results import Results
from analysis.summaries import GroupFit
from tests.analysis.report_cases import BATCH_SIZES, simulate_trials, true_lr_max


@pytest.fixture(scope="module")
def groups() -> tuple[GroupFit, ...]:
    """Two fitted groups whose truth is known."""
    import pandas as pd

    trials = pd.concat([simulate_trials("adam", num_seeds=3), simulate_trials("sgd", num_seeds=3)])
    return fit_results(Results(trials.reset_index(drop=True), "x")).groups


def test_a_row_for_each_group_holds_its_edges_and_its_exponent(
    groups: tuple[GroupFit, ...],
) -> None:
    """Rows are named after optimizers, lie near the true edges, and say what is predicted."""
    plot = compute_overview(groups)
    assert plot.names == ("Adam", "SGD")
    assert plot.predicted.tolist() == [0.5, 1.0]
    for optimizer, edges in zip(("adam", "sgd"), plot.edges, strict=True):
        heights = np.array([point.y for point in edges])
        assert [point.x for point in edges] == BATCH_SIZES.tolist()
        np.testing.assert_allclose(heights, true_lr_max(optimizer, BATCH_SIZES), rtol=0.35)
    assert (plot.interval[:, 0] < plot.exponent).all()
    assert (plot.exponent < plot.interval[:, 1]).all()


def test_names_do_not_run_into_each_other(groups: tuple[GroupFit, ...]) -> None:
    """Twelve groups that end at the same height are named one below the other."""
    figure = overview_figure([groups[0]] * 12)
    left = figure.axes[0]
    places = sorted(text.xyann[1] for text in left.texts if isinstance(text, Annotation))
    assert len(places) == 12
    height = figure.get_figheight() - 0.6
    assert min(np.diff(places)) * height > 0.16


def test_one_group_needs_no_picture_of_all(groups: tuple[GroupFit, ...]) -> None:
    """The picture is drawn from two groups on."""
    assert list(draw_overview(groups[:1])) == []
    [picture] = draw_overview(groups)
    assert picture.name == "overview"


def test_a_group_without_a_law_says_so(groups: tuple[GroupFit, ...]) -> None:
    """Where no exponent was found, the row says that and shows no mark."""
    from dataclasses import replace

    bare = replace(groups[0], exponent=None, exponent_ci=None)
    right = overview_figure([bare, groups[1]]).axes[1]
    assert [text.get_text() for text in right.texts] == ["no law"]
