"""`scaling-sweep plan`: what would run."""

from pathlib import Path

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import PLACE


@click.command("plan")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=PLACE,
    help="Run folder whose finished trials need not run again; default: runs/<name>.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Packs at a time; default: as many as this machine's cores hold.",
)
@click.option(
    "--price",
    type=click.FloatRange(min=0),
    help="Price of one GPU hour, in any currency, to say what the study costs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@plain_errors
def command(
    sweep: Path, out: Path | None, workers: int | None, price: float | None, as_json: bool
) -> None:
    """Say what a sweep file would run and what it costs; run nothing.

    The time is estimated from a probe of a few steps of every optimizer on this machine's
    processor. Diverged trials stop early, so a run usually takes less. The study, and what it
    would be with more seeds, finer steps or fewer batch sizes, is simulated to say how well it
    will know the exponent.

    \b
    Example:
      scaling-sweep plan sweeps/digits.yaml
    """
    import dataclasses
    import json

    from scaling_sweep.cli.brief import rarely_collected

    with rarely_collected():
        from scaling_sweep.previewing import preview
        from scaling_sweep.spec import load_sweep

        found = preview(load_sweep(sweep), out, workers, price)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    click.echo(found.text())
