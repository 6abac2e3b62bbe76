"""`scaling-sweep status`: how far a run is."""

from pathlib import Path

import click

from scaling_sweep.cli.errors import plain_errors


@click.command("status")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@plain_errors
def command(run: Path, as_json: bool) -> None:
    """Say how far a run is: trials finished, diverged and failed, by optimizer.

    \b
    Example:
      scaling-sweep status runs/digits
    """
    import dataclasses
    import json

    from scaling_sweep.progress import read_status

    status = read_status(run)
    click.echo(json.dumps(dataclasses.asdict(status), indent=2) if as_json else status.text())
