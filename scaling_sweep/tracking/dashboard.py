"""Dashboards as code: a workspace and a report in Weights & Biases that show a study's answer."""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling_sweep.tracking.panels import (
    edge_panels,
    exponent_panels,
    load,
    progress_panels,
    theory_panels,
)

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

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
            ws.Section(name="Edges", panels=edge_panels(subject), is_open=True, pinned=True),
            ws.Section(name="Exponents", panels=exponent_panels(), is_open=True),
            ws.Section(name="Theory", panels=theory_panels(subject), is_open=True),
            ws.Section(name="Progress", panels=progress_panels(), is_open=False),
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
        grid(edge_panels(subject)),
        wr.H1("Exponents"),
        wr.P(
            "An exponent is confirmed where its whole interval lies near the predicted one, "
            "refuted where none of it does, inconclusive otherwise. The naive slope is what a "
            "straight line through the largest stable values would say."
        ),
        grid(exponent_panels()),
        wr.H1("Theory beside the measurement"),
        wr.P(
            "Curves follow from measured curvature, without looking at the edge. Which of them is "
            "closest was chosen after the measurement. Without measured curvature this is empty."
        ),
        grid(theory_panels(subject)),
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


def _filters(subject: Subject) -> Any:  # noqa: ANN401
    """Return the runs of the study, or all where a project is shown."""
    if subject.study is None:
        return ""
    expr = load("expr")
    return expr.And(expr.Metric("Group") == subject.study)
