"""The panels of a dashboard in Weights & Biases, by what they show."""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from analysis.fitting.laws import LAWS

if TYPE_CHECKING:
    from scaling_sweep.tracking.dashboard import Subject

# The keys that the mirror writes; a test holds them against a mirrored run.
_EDGE_LINES = "^curves/(measured|95_|" + "|".join(f"{law.name}_law" for law in LAWS) + "|slope_)"
_THEORY_LINES = "^(curves/(measured|95_)|theories/)"
# A grid of W&B is 24 columns wide.
_HALF, _WHOLE = 12, 24


def load(name: str) -> Any:  # noqa: ANN401  # wandb-workspaces is optional
    """Import a part of wandb-workspaces, whose own deprecated calls are not ours to hear of.

    Args:
        name: ``workspaces``, ``reports.v2`` or ``expr``.

    Returns:
        The module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(f"wandb_workspaces.{name}")


def _place(width: int, height: int = 10) -> Any:  # noqa: ANN401
    wr = load("reports.v2")

    return wr.Layout(w=width, h=height)


def _arrange(panels: list[Any]) -> list[Any]:
    """Put panels side by side, row by row; W&B would stack them all in one corner."""
    x = y = height = 0
    for panel in panels:
        layout = panel.layout
        if x + layout.w > _WHOLE:
            x, y, height = 0, y + height, 0
        layout.x, layout.y = x, y
        x, height = x + layout.w, max(height, layout.h)
    return panels


def _lines(subject: "Subject", title: str, keys: str) -> Any:  # noqa: ANN401
    wr = load("reports.v2")

    return wr.LinePlot(
        title=title,
        x=subject.axis,
        metric_regex=keys,
        log_x=True,
        log_y=True,
        title_x=subject.axis_title,
        title_y="smallest stable damping" if subject.inverse else "largest stable learning rate",
        smoothing_type="none",
        max_runs_to_show=20,
        layout=_place(_HALF),
    )


def _drawn(title: str, *names: str) -> Any:  # noqa: ANN401
    """Show figures of the report by their names."""
    keys = [f"figures/{name}" for name in names]
    return load("reports.v2").MediaBrowser(title=title, media_keys=keys, layout=_place(_HALF))


def _table(name: str, width: int) -> Any:  # noqa: ANN401
    """Show a table by its name."""
    wr = load("reports.v2")

    return wr.WeavePanelSummaryTable(table_name=f"tables/{name}", layout=_place(width, 8))


def _bars(title: str, *metrics: str) -> Any:  # noqa: ANN401
    wr = load("reports.v2")

    return wr.BarPlot(title=title, metrics=list(metrics), layout=_place(_HALF, 8))


def edge_panels(subject: "Subject") -> list[Any]:
    """Show edges: lines on logarithmic axes, the report's figures and the table.

    Args:
        subject: What the dashboard shows.

    Returns:
        Panels of wandb-workspaces, laid out.
    """
    return _arrange(
        [
            _lines(subject, "Measured edges and fitted laws", _EDGE_LINES),
            _drawn("As the report draws them", "edges", "outcomes"),
            _table("edges", _WHOLE),
        ]
    )


def exponent_panels() -> list[Any]:
    """Show exponents beside each other and against the predicted ones.

    Returns:
        Panels of wandb-workspaces, laid out.
    """
    wr = load("reports.v2")

    return _arrange(
        [
            _bars(
                "Exponents and the ends of their 95 % intervals",
                *("exponent", "exponent_low", "exponent_high"),
            ),
            wr.ScatterPlot(
                title="Measured against predicted",
                x=wr.SummaryMetric("predicted_exponent"),
                y=wr.SummaryMetric("exponent"),
                layout=_place(_HALF, 8),
            ),
        ]
    )


def theory_panels(subject: "Subject") -> list[Any]:
    """Show theory over the measured edge, and how far off it is.

    Args:
        subject: What the dashboard shows.

    Returns:
        Panels of wandb-workspaces, laid out.
    """
    return _arrange(
        [
            _lines(subject, "Theories over the measured edge", _THEORY_LINES),
            _drawn("Theory and curvature as the report draws them", "theory", "densities"),
            _bars("R.m.s. log error of the closest theory", "theory_best_log_error"),
            _table("theories", _HALF),
        ]
    )


def progress_panels() -> list[Any]:
    """Show how far a sweep is.

    Returns:
        Panels of wandb-workspaces, laid out.
    """
    wr = load("reports.v2")

    def line(title: str, x: str, y: list[str], log_x: bool = False) -> Any:  # noqa: ANN401
        return wr.LinePlot(title=title, x=x, y=y, log_x=log_x or None, layout=_place(_HALF, 8))

    counts = ["trials_stable", "trials_diverged", "trials_failed"]
    return _arrange(
        [
            line("Share of the trials", "packs_done", ["fraction_done"]),
            line("Outcomes", "packs_done", counts),
            line(
                "Stable share of each pack", "pack/batch_size", ["pack/fraction_stable"], log_x=True
            ),
            line("Seconds of each pack", "pack/batch_size", ["pack/wall_time_s"], log_x=True),
        ]
    )
