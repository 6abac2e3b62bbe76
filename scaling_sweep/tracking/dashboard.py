"""Dashboards as code: a workspace and a report in Weights & Biases that show a study's answer."""

import hashlib
import importlib
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.laws import LAWS

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

# The keys that the mirror writes; a test holds them against a mirrored run.
_EDGE_LINES = "^curves/(measured|95_|" + "|".join(f"{law.name}_law" for law in LAWS) + "|slope_)"
_THEORY_LINES = "^(curves/(measured|95_)|theories/)"
_COLUMNS = (
    "config:task.value",
    "config:optimizer.value",
    "summary:exponent",
    "summary:exponent_low",
    "summary:exponent_high",
    "summary:predicted_exponent",
    "summary:check",
    "summary:law",
    "summary:naive_slope",
    "summary:theory_best",
    "summary:theory_best_log_error",
    "summary:num_trials",
    "summary:num_failed",
)
# A grid of W&B is 24 columns wide.
_HALF, _WHOLE = 12, 24
_MAX_TITLE = 128


@dataclass(frozen=True)
class Subject:
    """What a dashboard shows.

    Attributes:
        entity: Account or team; empty leaves it to the login.
        project: W&B's project.
        study: Name of the sweep, None for all studies of the project.
        question: What the study asks, empty where it does not say.
        sweep_text: Its sweep file, empty for a project.
        inverse: Whether a damping was searched, so that edges stand over lr/B.
    """

    entity: str
    project: str
    study: str | None = None
    question: str = ""
    sweep_text: str = ""
    inverse: bool = False

    @property
    def title(self) -> str:
        """What people see."""
        return f"Scaling of {self.study or 'all studies'}"[:_MAX_TITLE]

    @property
    def name(self) -> str:
        """The workspace's name in its address: the same whenever it is made again."""
        text = f"scaling-sweep {self.study or ''}"
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()[:11]

    @property
    def axis(self) -> str:
        """Key of the horizontal axis of edges."""
        return "curves/lr_b" if self.inverse else "curves/batch_size"

    @property
    def axis_title(self) -> str:
        """What stands below it."""
        return "lr / B" if self.inverse else "batch size B (examples)"


def build_workspace(subject: Subject) -> "Workspace":
    """Build the workspace, without asking anybody.

    Args:
        subject: What it shows.

    Returns:
        Sections of edges, theory, exponents and progress over the runs of the study.
    """
    ws = load("workspaces")

    workspace = ws.Workspace(
        entity=subject.entity,
        project=subject.project,
        name=subject.title,
        sections=[
            ws.Section(name="Edges", panels=_edge_panels(subject), is_open=True, pinned=True),
            ws.Section(name="Exponents", panels=_exponent_panels(), is_open=True),
            ws.Section(name="Theory", panels=_theory_panels(subject), is_open=True),
            ws.Section(name="Progress", panels=_progress_panels(), is_open=False),
        ],
        settings=ws.WorkspaceSettings(x_axis="packs_done", smoothing_type="none", max_runs=20),
        runset_settings=ws.RunsetSettings(
            filters=_filters(subject), pinned_columns=["run:displayName", *_COLUMNS]
        ),
        auto_generate_panels=False,
    )
    # Saved again under the same name it is the same workspace.
    workspace._internal_name = f"nw-{subject.name}-v"  # there is no other way
    return workspace


def build_report(subject: Subject) -> "Report":
    """Build the report, without asking anybody.

    Args:
        subject: What it shows.

    Returns:
        The question, edges, exponents and theory, and the sweep file at the end.
    """
    wr = load("reports.v2")

    def grid(panels: list[Any]) -> Any:  # noqa: ANN401
        # A set of runs that names no project takes the report's own, and needs no login for that.
        runs = wr.Runset(
            name=subject.study or "all studies",
            filters=_filters(subject),
            pinned_columns=list(_COLUMNS),
        )
        return wr.PanelGrid(runsets=[runs], panels=panels)

    blocks: list[Any] = [
        wr.P(subject.question or "How does the largest stable learning rate grow with batch size?"),
        wr.H1("Where stability ends"),
        wr.P(
            "Marks are medians over seeds with their 95 % intervals, lines are fitted laws and "
            "guides of known slope. Both axes are logarithmic."
        ),
        grid(_edge_panels(subject)),
        wr.H1("Exponents"),
        wr.P(
            "An exponent is confirmed where its whole interval lies near the predicted one, "
            "refuted where none of it does, inconclusive otherwise. The naive slope is what a "
            "straight line through the largest stable values would say."
        ),
        grid(_exponent_panels()),
        wr.H1("Theory beside the measurement"),
        wr.P(
            "Curves follow from measured curvature, without looking at the edge. Which of them is "
            "closest was chosen after the measurement. Without measured curvature this is empty."
        ),
        grid(_theory_panels(subject)),
    ]
    if subject.sweep_text:
        sweep = wr.CodeBlock(code=subject.sweep_text, language="yaml")
        blocks += [wr.H1("How it was measured"), sweep]
    return wr.Report(
        entity=subject.entity,
        project=subject.project,
        title=subject.title,
        description=subject.question,
        blocks=blocks,
        width="fluid",
    )


def render_json(subject: Subject) -> str:
    """Return both models as they would be sent.

    Args:
        subject: What they show.

    Returns:
        JSON with the keys ``workspace`` and ``report``.
    """
    models = {
        "workspace": build_workspace(subject)._to_model(),  # what save() sends
        "report": build_report(subject)._to_model(),
    }
    texts = {
        name: json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
        for name, model in models.items()
    }
    return json.dumps(texts, indent=2)


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


def _filters(subject: Subject) -> Any:  # noqa: ANN401
    """Return the runs of the study, or all where a project is shown."""
    if subject.study is None:
        return ""
    expr = load("expr")
    return expr.And(expr.Metric("Group") == subject.study)


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


def _lines(subject: Subject, title: str, keys: str) -> Any:  # noqa: ANN401
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


def _edge_panels(subject: Subject) -> list[Any]:
    wr = load("reports.v2")

    return _arrange(
        [
            _lines(subject, "Measured edges and fitted laws", _EDGE_LINES),
            wr.MediaBrowser(
                title="As the report draws them",
                media_keys=["figures/edges", "figures/outcomes"],
                layout=_place(_HALF),
            ),
            wr.WeavePanelSummaryTable(table_name="tables/edges", layout=_place(_WHOLE, 8)),
        ]
    )


def _exponent_panels() -> list[Any]:
    wr = load("reports.v2")

    return _arrange(
        [
            wr.BarPlot(
                title="Exponents and the ends of their 95 % intervals",
                metrics=["exponent", "exponent_low", "exponent_high"],
                layout=_place(_HALF, 8),
            ),
            wr.ScatterPlot(
                title="Measured against predicted",
                x=wr.SummaryMetric("predicted_exponent"),
                y=wr.SummaryMetric("exponent"),
                layout=_place(_HALF, 8),
            ),
        ]
    )


def _theory_panels(subject: Subject) -> list[Any]:
    wr = load("reports.v2")

    return _arrange(
        [
            _lines(subject, "Theories over the measured edge", _THEORY_LINES),
            wr.MediaBrowser(
                title="Theory and curvature as the report draws them",
                media_keys=["figures/theory", "figures/densities"],
                layout=_place(_HALF),
            ),
            wr.BarPlot(
                title="R.m.s. log error of the closest theory",
                metrics=["theory_best_log_error"],
                layout=_place(_HALF, 8),
            ),
            wr.WeavePanelSummaryTable(table_name="tables/theories", layout=_place(_HALF, 8)),
        ]
    )


def _progress_panels() -> list[Any]:
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
