"""`scaling-sweep new-task`: a task of one's own to begin with."""

from pathlib import Path

import click

from scaling_sweep.cli.errors import plain_errors


@click.command("new-task")
@click.argument("file", type=click.Path(path_type=Path))
@plain_errors
def command(file: Path) -> None:
    """Write a task of your own to begin with, and a sweep file beside it.

    Both run as they are; comments say where to put your model, data and loss. Nothing that
    exists is overwritten.

    \b
    Example:
      scaling-sweep new-task my_task.py
    """
    from scaling_sweep.starting import write_new_task

    click.echo(write_new_task(file).text())
