"""From a fit to what W&B shows of it: summary, tables, pictures and charts of each group."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from analysis.axes import Axis, AxisName
from analysis.curvature_table import CurvatureTable
from analysis.edge_summaries import Censoring, MedianEdge
from analysis.figures.album import Picture as Drawing
from analysis.figures.album import draw_optima, draw_pictures
from analysis.figures.edges import compute_edges
from analysis.figures.loss_table import read_curves
from analysis.figures.losses import compute_losses
from analysis.figures.points import place_points
from analysis.grouping import select_trials
from analysis.optimal.summaries import OptimalFit, OptimalLR
from analysis.results import Results
from analysis.summaries import Fit, GroupFit
from scaling_sweep.tracking.cells import log_line, plain, unfold_charts
from scaling_sweep.tracking.messages import Cell, Chart, Findings, Line, Picture, Table
from scaling_sweep.tracking.theory import TheoryFindings, find_theory

# W&B shows no more rows of a table (wandb.Table.MAX_ROWS).
MAX_ROWS = 10_000
# A figure of 7 inches is then 840 pixels wide, what a W&B panel shows.
_DPI = 120
# Of a group without measured curvature.
_NOTHING = TheoryFindings({}, (), (), ())
_TRIAL_COLUMNS = (
    "batch_size",
    "lr",
    "damping",
    "seed",
    "verdict",
    "reason",
    "final_loss",
    "initial_loss",
    "start_loss",
    "peak_loss",
    "steps_run",
    "first_nonfinite_step",
    "wall_time_s",
    "trial_id",
    "pack_id",
)


def find_findings(
    fit: Fit, results: Results, curves: Path | None, curvature: CurvatureTable | None = None
) -> Iterator[Findings]:
    """Collect what is shown of each group.

    Args:
        fit: Of one table.
        results: The table.
        curves: File of its loss curves, None or missing when there is none.
        curvature: Measured curvature, None when there is none.

    Yields:
        One message for each group, in the fit's order.
    """
    losses = read_curves(curves) if curves is not None and curves.exists() else None
    for group in fit.groups:
        trials = select_trials(results.frame, group.key)
        theory = _NOTHING if curvature is None else find_theory(group, curvature)
        drawn = (
            *draw_pictures(group, trials, losses),
            *draw_optima(group, trials),
            *theory.pictures,
        )
        charts = (*((chart_edges(group),) if group.edges else ()), *theory.charts)
        yield Findings(
            group=str(group.key),
            summary={**summarize(group), **theory.summary},
            tables=(*_tables(group, trials, losses), *theory.tables),
            pictures=tuple(_render(drawing) for drawing in drawn),
            charts=charts,
            series=tuple(unfold_charts(charts)),
        )


def summarize(group: GroupFit) -> dict[str, Cell]:
    """Return the group's numbers by name, as they are compared between runs.

    Args:
        group: A fitted or refused group.

    Returns:
        Exponent, law, check, the naive slope and counts; None where there is none. The same of the
        best learning rate, and its value at every batch size, where the table has losses.
    """
    low, high = group.exponent_ci or (None, None)
    naive = group.naive_slope
    naive_low, naive_high = naive.exponent_ci if naive else (None, None)
    law = group.best_law()
    summary = {
        "exponent": group.exponent,
        "exponent_low": low,
        "exponent_high": high,
        "law": group.law,
        "check": group.check.outcome and group.check.outcome.value,
        "check_reason": group.check.reason,
        "predicted_exponent": group.check.predicted,
        "refused": group.refused,
        "naive_slope": naive and naive.exponent,
        "naive_slope_low": naive_low,
        "naive_slope_high": naive_high,
        "num_trials": group.num_trials,
        "num_failed": group.num_failed,
        "warnings": "\n".join(group.warnings),
        **{f"law_{name}": value for name, value in (law.parameters if law else {}).items()},
        **(_summarize_optimum(group.optimal) if group.optimal else {}),
    }
    return {name: plain(value) for name, value in summary.items()}


def _summarize_optimum(optimal: OptimalFit) -> dict[str, object]:
    """Return what is said about the learning rates with the lowest loss."""
    low, high = optimal.exponent_ci or (None, None)
    return {
        "lr_opt_loss": optimal.loss_column,
        "lr_opt_exponent": optimal.exponent,
        "lr_opt_exponent_low": low,
        "lr_opt_exponent_high": high,
        "lr_opt_law": optimal.law,
        "lr_opt_check": optimal.check.outcome and optimal.check.outcome.value,
        "lr_opt_refused": optimal.refused,
        "lr_opt_warnings": "\n".join(optimal.warnings),
        **{f"lr_opt/{one.batch_size}": one.lr_opt for one in optimal.lrs},
    }


def _tables(group: GroupFit, trials: pd.DataFrame, losses: pd.DataFrame | None) -> Iterator[Table]:
    empty = {"damping"} if group.key.axis is AxisName.LR else set()
    columns = [name for name in _TRIAL_COLUMNS if name in trials and name not in empty]
    yield Table("tables/trials", columns, _plain_rows(trials[columns].head(MAX_ROWS)))
    edges = pd.DataFrame([_edge_row(edge, group.axis) for edge in group.edges])
    if not edges.empty:
        yield Table("tables/edges", list(edges.columns), _plain_rows(edges))
    optima = pd.DataFrame([_optimum_row(one) for one in group.optimal.lrs] if group.optimal else [])
    if not optima.empty:
        yield Table("tables/optima", list(optima.columns), _plain_rows(optima))
    panels = () if losses is None else compute_losses(trials, losses, group)
    points = [
        (panel.batch_size, number, curve.stable, int(step), float(ratio))
        for panel in panels
        for number, curve in enumerate(panel.curves)
        for step, ratio in zip(curve.step, curve.ratio, strict=True)
    ]
    if points:
        names = ("batch_size", "curve", "stable", "step", "loss_over_initial_loss")
        yield Table("tables/loss_curves", names, points[:MAX_ROWS])


def _edge_row(edge: MedianEdge, axis: Axis) -> dict[str, object]:
    held = {} if edge.lr is None else {"lr": edge.lr}
    symbol = "lr_max" if axis.name is AxisName.LR else "damping_min"
    low, high = axis.show_interval(edge.median_ci)
    return {
        "batch_size": edge.batch_size,
        **held,
        symbol: axis.show(edge.median),
        f"{symbol}_low": low,
        f"{symbol}_high": high,
        f"{axis.name}_stable": axis.show(edge.stable),
        f"{axis.name}_diverged": axis.show(edge.diverged),
        "censored": edge.censored.seen_on(axis).value,
        "num_seeds": edge.num_seeds,
    }


def _optimum_row(one: OptimalLR) -> dict[str, object]:
    low, high = one.lr_opt_ci
    return {
        "batch_size": one.batch_size,
        "lr_opt": one.lr_opt,
        "lr_opt_low": low,
        "lr_opt_high": high,
        "loss": one.loss,
        "where": one.where.value,
        "num_seeds": one.num_seeds,
    }


def _plain_rows(frame: pd.DataFrame) -> Sequence[Sequence[Cell]]:
    return [[plain(cell) for cell in row] for row in frame.astype(object).itertuples(index=False)]


def _render(drawing: Drawing) -> Picture:
    buffer = BytesIO()
    drawing.figure.savefig(buffer, format="png", dpi=_DPI)
    return Picture(f"figures/{drawing.name}", buffer.getvalue(), drawing.caption)


def chart_edges(group: GroupFit) -> Chart:
    """Return the edge plot as lines.

    W&B's own charts have straight axes only, so both are given as logarithms.

    Args:
        group: A group with at least one edge.

    Returns:
        The measured edges, the laws that count and the guide lines.
    """
    plot, axis = compute_edges(group), group.axis
    lines = [
        *(line for lr in _rates(group) for line in _measured(group, lr)),
        *(
            log_line(f"{curve.law.name} law{_at(curve.lr)}", curve.x, curve.y)
            for curve in plot.curves
        ),
        *(log_line(guide.label, guide.x, guide.y) for guide in plot.guides),
    ]
    against = "lr/B" if axis.inverse else "batch size"
    return Chart(
        "charts/edges",
        f"log10 of the {axis.edge} against log2 of {'' if axis.inverse else 'the '}{against}",
        f"log2({against})",
        tuple(line for line in lines if line.x),
    )


def _rates(group: GroupFit) -> list[float | None]:
    """Return the learning rates that were held; None alone where it is the axis."""
    rates = sorted({edge.lr for edge in group.edges if edge.lr is not None})
    return [*rates] or [None]


def _at(lr: float | None) -> str:
    """Name a learning rate that was held."""
    return "" if lr is None else f", lr {lr:g}"


def _measured(group: GroupFit, lr: float | None) -> tuple[Line, ...]:
    """Return the median edges at one learning rate, with the ends of their intervals."""
    inside = [p for p in place_points(group) if p.lr == lr and p.censored is Censoring.NONE]
    x = [point.x for point in inside]
    return (
        log_line(f"measured{_at(lr)}", x, [point.y for point in inside]),
        log_line(f"95 % low{_at(lr)}", x, [point.low for point in inside]),
        log_line(f"95 % high{_at(lr)}", x, [point.high for point in inside]),
    )
