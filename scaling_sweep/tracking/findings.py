"""From a fit to what W&B shows of it: summary, tables, pictures and charts of each group."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from analysis.curvature_table import CurvatureTable
from analysis.figures.album import Picture as Drawing
from analysis.figures.album import draw_pictures, select_trials
from analysis.figures.edges import compute_edges
from analysis.figures.loss_table import read_curves
from analysis.figures.losses import compute_losses
from analysis.results import Results
from analysis.summaries import Censoring, Fit, GroupFit, MaxLR
from scaling_sweep.tracking.cells import log_line, plain
from scaling_sweep.tracking.messages import Cell, Chart, Findings, Picture, Table
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
        drawn = (*draw_pictures(group, trials, losses), *theory.pictures)
        yield Findings(
            group=str(group.key),
            summary={**summarize(group), **theory.summary},
            tables=(*_tables(group, trials, losses), *theory.tables),
            pictures=tuple(_render(drawing) for drawing in drawn),
            charts=(*((chart_edges(group),) if group.edges else ()), *theory.charts),
        )


def summarize(group: GroupFit) -> dict[str, Cell]:
    """Return the group's numbers by name, as they are compared between runs.

    Args:
        group: A fitted or refused group.

    Returns:
        Exponent, law, check, the naive slope and counts; None where there is none.
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
    }
    return {name: plain(value) for name, value in summary.items()}


def _tables(group: GroupFit, trials: pd.DataFrame, losses: pd.DataFrame | None) -> Iterator[Table]:
    columns = [name for name in _TRIAL_COLUMNS if name in trials]
    yield Table("tables/trials", columns, _plain_rows(trials[columns].head(MAX_ROWS)))
    edges = pd.DataFrame([_edge_row(edge) for edge in group.edges])
    if not edges.empty:
        yield Table("tables/edges", list(edges.columns), _plain_rows(edges))
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


def _edge_row(edge: MaxLR) -> dict[str, object]:
    return {
        "batch_size": edge.batch_size,
        "lr_max": edge.lr_max,
        "lr_max_low": edge.lr_max_ci[0],
        "lr_max_high": edge.lr_max_ci[1],
        "lr_stable": edge.lr_stable,
        "lr_diverged": edge.lr_diverged,
        "censored": edge.censored.value,
        "num_seeds": edge.num_seeds,
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
    plot = compute_edges(group)
    inside = [edge for edge in group.edges if edge.censored is Censoring.NONE]
    sizes = [edge.batch_size for edge in inside]
    lines = [
        log_line("measured", sizes, [edge.lr_max for edge in inside]),
        log_line("95 % low", sizes, [edge.lr_max_ci[0] for edge in inside]),
        log_line("95 % high", sizes, [edge.lr_max_ci[1] for edge in inside]),
        *(
            log_line(f"{curve.law.name} law", curve.band.batch_size, curve.band.lr_max)
            for curve in plot.curves
        ),
        *(log_line(guide.label, guide.batch_size, guide.lr) for guide in plot.guides),
    ]
    return Chart(
        "charts/edges",
        "log10 of the largest stable learning rate against log2 of the batch size",
        "log2(batch size)",
        tuple(line for line in lines if line.x),
    )
