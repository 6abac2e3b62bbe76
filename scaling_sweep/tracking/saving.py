"""Finding out what a dashboard is to show, and saving it with the login of whoever asks."""

from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from analysis.files.places import find_place
from scaling_sweep.errors import UserError
from scaling_sweep.store import RunFolder
from scaling_sweep.tracking.dashboard import Subject, build_report, build_workspace
from scaling_sweep.tracking.panels import load
from scaling_sweep.tracking.server import find_obstacle, find_project, first_line

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace


def find_subject(named: str, entity: str | None, project: str | None) -> Subject:
    """Find out what is meant: a run folder, or a project of W&B.

    Args:
        named: ``runs/digits``, ``project`` or ``entity/project``.
        entity: Account or team, None for the login's own.
        project: Where the runs of a folder were mirrored to, None as for mirroring.

    Returns:
        What to show.

    Raises:
        UserError: If wandb-workspaces is not installed, or the name is neither.
    """
    from analysis.sweep_text import find_question
    from scaling_sweep.spec import parse_sweep

    if find_spec("wandb") is None or find_spec("wandb_workspaces") is None:
        raise UserError(
            "wandb-workspaces is not installed; write: pip install 'scaling-sweep[wandb]'"
        )
    folder = RunFolder(find_place(named))
    if folder.sweep.exists():
        text = folder.sweep.read_text()
        spec = parse_sweep(text, folder.sweep).spec
        damped = spec.parameters.searched == "damping"
        where = project or find_project()
        return Subject(entity or "", where, spec.name, find_question(text), text, damped)
    account, slash, name = named.rpartition("/")
    if folder.path.exists() or not name or "/" in account or (slash and not account):
        raise UserError(
            f"{named} is neither a run folder nor a project of W&B; write for example runs/digits, "
            "scaling-sweep or team/scaling-sweep"
        )
    return Subject(entity or account, name)


def save_dashboard(subject: Subject) -> tuple[str, str]:
    """Save the workspace and the report, in place of those of the same study if there are any.

    Not tried against W&B's server.

    Args:
        subject: What they show.

    Returns:
        Their addresses.

    Raises:
        UserError: If there is no login, or the server cannot be reached or refuses.
    """
    import wandb

    if obstacle := find_obstacle(wandb.setup().settings.base_url):
        raise UserError(f"W&B cannot be reached ({obstacle}); --json shows what would be saved")
    try:
        api = wandb.Api()
        subject = replace(subject, entity=subject.entity or str(api.default_entity))
        workspace, report = build_workspace(subject), build_report(subject)
        _take_place_of(workspace, report, subject, api)
        workspace.save()
        report.save()
    except wandb.errors.UsageError as error:
        raise UserError(f"{first_line(error)} --json shows what would be saved") from error
    except Exception as error:  # what the library raises when a server refuses is not documented
        raise UserError(
            f"W&B did not save the dashboard ({type(error).__name__}: {first_line(error)})"
        ) from error
    return str(workspace.url), str(report.url)


def _take_place_of(workspace: "Workspace", report: "Report", subject: Subject, api: Any) -> None:  # noqa: ANN401
    """Give both the ids of what was saved before, where there is such a thing."""
    internal = load("workspaces.internal")
    with suppress(ValueError):  # the library's way to say that there is none
        view = internal.get_view_dict(subject.entity, subject.project, subject.name)
        workspace._internal_id = view["id"]
    path = f"{subject.entity}/{subject.project}"
    with suppress(ValueError):
        for earlier in api.reports(path, name=subject.title):
            report.id = earlier.id
            break
