"""`scaling-sweep dashboard`: a workspace and a report in Weights & Biases."""

import click

from scaling_sweep.cli.errors import plain_errors


@click.command("dashboard")
@click.argument("run_or_project")
@click.option("--entity", help="Account or team; default: the login's own.")
@click.option("--project", help="Project of a run folder; default: WANDB_PROJECT or scaling-sweep.")
@click.option("--json", "as_json", is_flag=True, help="Print what would be saved; save nothing.")
@plain_errors
def command(run_or_project: str, entity: str | None, project: str | None, as_json: bool) -> None:
    """Make a workspace and a report of a study in Weights & Biases.

    Edges over logarithmic axes, exponents, theory and progress of the runs that were mirrored by
    `run --wandb` or `publish`. A second time both are brought up to date.

    \b
    Example:
      scaling-sweep dashboard runs/digits
      scaling-sweep dashboard team/scaling-sweep --json
    """
    from scaling_sweep.tracking.dashboard import render_json
    from scaling_sweep.tracking.saving import find_subject, save_dashboard

    subject = find_subject(run_or_project, entity, project)
    if as_json:
        click.echo(render_json(subject))
        return
    for address in save_dashboard(subject):
        click.echo(address)
