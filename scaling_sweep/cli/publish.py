"""`scaling-sweep publish`: a run folder to Weights & Biases, later."""

from pathlib import Path

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import PLACE


@click.command("publish")
@click.argument("run", type=PLACE)
@click.option(
    "--wandb",
    "mode",
    type=click.Choice(["online", "offline"]),
    default="online",
    show_default=True,
    help="Send it, or write it for `wandb sync`.",
)
@click.option("--project", help="W&B's project; default: WANDB_PROJECT, or scaling-sweep.")
@plain_errors
def command(run: Path, mode: str, project: str | None) -> None:
    """Mirror a finished or interrupted run to Weights & Biases.

    Publishing again replaces what was there: the runs of a folder keep their ids.

    \b
    Example:
      scaling-sweep publish runs/digits
      scaling-sweep publish runs/digits --wandb offline --project edges
    """
    from scaling_sweep.cli.console import plain_console
    from scaling_sweep.tracking.publishing import publish_run

    console = plain_console()

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    if not publish_run(run, mode, project, say):
        raise SystemExit(1)
