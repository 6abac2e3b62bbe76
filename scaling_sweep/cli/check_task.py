"""`scaling-sweep check-task`: what a task is like, before a sweep is spent on it."""

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import ARGUMENT


@click.command("check-task")
@click.argument("task", metavar="NAME_OR_SWEEP")
@click.option(
    "--arg",
    "args",
    type=ARGUMENT,
    multiple=True,
    help="An argument of a task given by name, as width=32; may be given several times.",
)
@click.option(
    "--device", default="cpu", show_default=True, help="Where to try it, as torch writes it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@plain_errors
def command(task: str, args: tuple[tuple[str, object], ...], device: str, as_json: bool) -> None:
    """Look at a task from all sides and say what a sweep would meet.

    NAME_OR_SWEEP is a built-in task, package.module:attribute, or a sweep file. The exit status
    is 1 when a problem makes a sweep impossible or meaningless; notes are worth knowing.

    \b
    Example:
      scaling-sweep check-task docs/examples/spirals.yaml
      scaling-sweep check-task digits_cnn --arg width=8
    """
    import dataclasses
    import json

    from scaling_sweep.probing.checkup import check_task

    found = check_task(task, dict(args), device)
    if as_json:
        shown = {**dataclasses.asdict(found), "possible": found.possible}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(found.text())
    if not found.possible:
        raise SystemExit(1)
