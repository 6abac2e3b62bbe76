"""`scaling-sweep status`: how far a run is."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import PLACE

if TYPE_CHECKING:
    from scaling_sweep.watching import RunView


@click.command("status")
@click.argument("run", type=PLACE)
@click.option("--watch", is_flag=True, help="Go on until the run is complete, or Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.2),
    default=2.0,
    show_default=True,
    help="Seconds between two looks of --watch.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@plain_errors
def command(run: Path, watch: bool, every: float, as_json: bool) -> None:
    """Say how far a run is: trials, pace, time left, failures, last packs and edges so far.

    Reads the run folder and writes nothing, so it works from any shell that sees the folder.

    \b
    Example:
      scaling-sweep status runs/digits
      scaling-sweep status runs/digits --watch
    """
    from scaling_sweep.watching import RunReader

    if not watch:
        view = RunReader(run).view()
        click.echo(view.json() if as_json else view.text())
        return
    views = _until_complete(run, every)
    try:
        _print_changes(views) if as_json else _redraw(views)
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # as a shell reports Ctrl-C


def _until_complete(run: Path, every_s: float) -> "Iterator[RunView]":
    """Look again and again, until nothing is left to run."""
    import time

    from scaling_sweep.watching import RunReader

    reader = RunReader(run)
    while True:
        view = reader.view()
        yield view
        if view.complete:
            return
        time.sleep(every_s)


def _print_changes(views: "Iterator[RunView]") -> None:
    """Print one line of JSON whenever another pack is stored."""
    import json

    last = None
    for view in views:
        stored = [pack.pack_id for pack in view.last_packs], view.status
        if stored != last:
            last = stored
            click.echo(json.dumps(json.loads(view.json())))


def _redraw(views: "Iterator[RunView]") -> None:
    """Draw over what was there in a terminal; elsewhere print each change once."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        last = None
        for view in views:
            if view.status != last:
                last = view.status
                click.echo(view.text())
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for view in views:
            live.update(Text(view.text()), refresh=True)
