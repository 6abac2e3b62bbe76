"""Loss curves on both sides of the edge, and the table they come from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.edge_summaries import Censoring
from analysis.errors import AnalysisError
from analysis.figures.loss_table import CURVES_SCHEMA, read_curves
from analysis.figures.losses import LossCurve, compute_losses, loss_figure
from tests.analysis.report_cases import RATES, make_group, simulate_curves, simulate_trials

TRIALS = simulate_trials()
CURVES = simulate_curves(TRIALS)
GROUP = make_group(TRIALS)


def draw_one(loss: list[float], **columns: object) -> LossCurve:
    """Scale one curve: that of a diverged trial next to the edge."""
    edge = GROUP.seed_edges[0]
    chosen = (
        (TRIALS["batch_size"] == edge.batch_size)
        & (TRIALS["seed"] == edge.seed)
        & (TRIALS["lr"] == edge.diverged)
    )
    trial = TRIALS[chosen].assign(first_nonfinite_step=pd.NA, **columns)
    curve = pd.DataFrame(
        {
            "trial_id": trial["trial_id"].tolist(),
            "step": [np.arange(1, len(loss) + 1)],
            "loss": [np.array(loss)],
        }
    )
    [panel] = compute_losses(trial, curve, GROUP)
    [drawn] = panel.curves
    return drawn


def test_the_trials_on_both_sides_of_every_seeds_edge_are_shown() -> None:
    """Panels show the smallest, a middle and the largest batch size, two trials per seed."""
    panels = compute_losses(TRIALS, CURVES, GROUP)

    assert [panel.batch_size for panel in panels] == [1, 16, 512]
    for panel in panels:
        assert [curve.stable for curve in panel.curves].count(True) == 6
        assert [curve.stable for curve in panel.curves].count(False) == 6


def test_only_bracketed_batch_sizes_are_shown() -> None:
    """A batch size whose edge lies outside the grid has no other side to show."""
    trials = simulate_trials(rates=RATES[RATES < 2])
    group = make_group(trials)
    open_sizes = {e.batch_size for e in group.edges if e.censored is not Censoring.NONE}
    assert 512 in open_sizes

    shown = {panel.batch_size for panel in compute_losses(trials, simulate_curves(trials), group)}

    assert len(shown) == 3
    assert not shown & open_sizes


def test_losses_are_multiples_of_the_initial_one() -> None:
    """The table's initial loss is the unit; without it the first point of the curve is."""
    loss = [2.0, 4.0, 8.0]

    np.testing.assert_allclose(draw_one(loss, initial_loss=4.0).ratio, [0.5, 1.0, 2.0])
    np.testing.assert_allclose(draw_one(loss, initial_loss=np.nan).ratio, [1.0, 2.0, 4.0])


@pytest.mark.parametrize("last", [np.inf, -np.inf, np.nan])
def test_a_curve_ends_where_it_is_no_number(last: float) -> None:
    """What is not finite ends the curve, and its step is marked."""
    curve = draw_one([1.0, 2.0, last, 1.0], initial_loss=1.0)

    np.testing.assert_allclose(curve.ratio, [1.0, 2.0])
    assert curve.left_at == 3


def test_a_curve_may_leave_and_come_back() -> None:
    """A passing peak above the axes is marked, and what follows is kept."""
    curve = draw_one([1.0, 500.0, 300.0, 0.5], initial_loss=1.0)

    np.testing.assert_allclose(curve.ratio, [1.0, 500.0, 300.0, 0.5])
    assert curve.left_at == 2


def test_a_blow_up_between_points_is_marked_too() -> None:
    """Where a thinned curve misses the step, the table's first step that was not finite counts."""
    edge = GROUP.seed_edges[0]
    trials = TRIALS.assign(first_nonfinite_step=pd.array([7] * len(TRIALS), dtype="Int64"))
    trials = trials[(trials["lr"] == edge.diverged) & (trials["seed"] == edge.seed)]
    curves = pd.DataFrame(
        {"trial_id": trials["trial_id"], "step": [[1, 2]] * len(trials),
         "loss": [[1.0, 1.5]] * len(trials)}
    )  # fmt: skip

    assert compute_losses(trials, curves, GROUP)[0].curves[0].left_at == 7
    assert np.isnan(draw_one([1.0, 1.5]).left_at)


def test_vanishing_losses_stay_on_the_axis() -> None:
    """A loss of 0 has no logarithm and is drawn at the floor."""
    assert draw_one([1.0, 0.0], initial_loss=1.0).ratio.tolist() == [1.0, 1e-4]


def test_without_curves_there_are_no_panels() -> None:
    """No trial identifiers, no curves or no bracket: nothing to draw, no error."""
    assert compute_losses(TRIALS.drop(columns="trial_id"), CURVES, GROUP) == ()
    assert compute_losses(TRIALS, CURVES.iloc[:0], GROUP) == ()
    assert compute_losses(TRIALS, CURVES, replace(GROUP, edges=())) == ()


def test_a_panel_per_batch_size_is_drawn_on_one_scale() -> None:
    """All panels share the vertical axis and name their batch size."""
    figure = loss_figure(compute_losses(TRIALS, CURVES, GROUP))

    assert [axes.get_title() for axes in figure.axes] == ["B = 1", "B = 16", "B = 512"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    """A table written with the schema comes back with the same numbers."""
    path = tmp_path / "curves.parquet"
    pq.write_table(pa.Table.from_pandas(CURVES, schema=CURVES_SCHEMA, preserve_index=False), path)

    curves = read_curves(path)

    assert curves["trial_id"].tolist() == CURVES["trial_id"].tolist()
    np.testing.assert_array_equal(curves["loss"][7], CURVES["loss"][7])
    np.testing.assert_array_equal(curves["step"][7], CURVES["step"][7])


def test_a_broken_table_of_curves_is_named(tmp_path: Path) -> None:
    """A file that is no parquet, or lacks a column, is an error with its path."""
    path = tmp_path / "curves.parquet"
    path.write_bytes(b"PAR1 but not for long")
    with pytest.raises(AnalysisError, match=r"curves\.parquet is no parquet file of loss curves"):
        read_curves(path)
    pq.write_table(pa.table({"trial_id": ["a"], "step": [[1]]}), path)
    with pytest.raises(AnalysisError, match="lacks the column 'loss'"):
        read_curves(path)
