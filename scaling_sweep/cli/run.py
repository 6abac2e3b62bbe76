"""`scaling-sweep run`: train what a sweep file asks for."""

from pathlib import Path

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import PLACE
from scaling_sweep.cli.submitting import OnInterrupt, make_job, show_run, submit_run, wait_for

# Registered for nothing, and below the ports that systems hand out.
_LIVE_PORT = 8642
_NOT_SERVED = (
    "--serve shows a run that this command drives itself; follow a submitted one from any shell "
    "that sees its folder: scaling-sweep status RUN --watch"
)


@click.command("run")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option("--out", type=PLACE, help="Run folder; default: runs/<name>.")
@click.option(
    "--cluster",
    default="local",
    show_default=True,
    help="local, auto, host:port or ray://host:port of a running Ray; slurm, a cluster file, or "
    "the name of one in sweeps/clusters/.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    help="Wait until the Ray at host:port has so many machines.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be run or submitted; do nothing.")
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Wait for what was submitted, and show its log.",
)
@click.option(
    "--on-interrupt",
    type=click.Choice(["ask", "cancel", "keep"]),
    default="ask",
    show_default=True,
    help="What Ctrl-C does to a submitted job; without a terminal, ask keeps it.",
)
@click.option(
    "--wandb",
    "wandb_mode",
    type=click.Choice(["off", "offline", "online"]),
    default="off",
    show_default=True,
    help="Mirror the run to Weights & Biases.",
)
@click.option(
    "--serve",
    "port",
    type=click.IntRange(0, 65_535),
    is_flag=False,
    flag_value=_LIVE_PORT,
    metavar="[PORT]",
    help=f"Show the run in a browser of this machine while it goes. [default port: {_LIVE_PORT}]",
)
@click.option(
    "--fit/--no-fit",
    default=True,
    show_default=True,
    help="Fit and report when the run is finished.",
)
@click.option("-v", "--verbose", is_flag=True, help="Let Ray speak.")
@plain_errors
def command(
    sweep: Path,
    out: Path | None,
    cluster: str,
    nodes: int | None,
    dry_run: bool,
    follow: bool,
    on_interrupt: OnInterrupt,
    wandb_mode: str,
    port: int | None,
    fit: bool,
    verbose: bool,
) -> None:
    """Run a sweep file; the same command resumes it, a longer file extends it.

    Every finished pack is stored at once. Ctrl-C stops within seconds and loses only the packs in
    flight.

    \b
    Example:
      scaling-sweep run sweeps/digits.yaml
      scaling-sweep run sweeps/digits.yaml --serve
      scaling-sweep run sweeps/digits.yaml --cluster slurm --dry-run
    """
    from scaling_sweep.cli.driving import Drive, drive_run
    from scaling_sweep.clusters import Site, find_cluster
    from scaling_sweep.errors import UserError
    from scaling_sweep.spec import load_sweep

    loaded = load_sweep(sweep)
    place = find_cluster(cluster)
    job = make_job(loaded, None if out is None else str(out), _passed_on(wandb_mode, fit, verbose))
    if dry_run:
        show_run(place, job)
        return
    if isinstance(place, Site):
        if port is not None:
            raise UserError(_NOT_SERVED)
        submit_run(place, job, follow, on_interrupt)
        return
    if nodes is not None:
        wait_for(place, nodes)
    drive_run(Drive(loaded, out, cluster, wandb_mode, port, fit, verbose))


def _passed_on(wandb_mode: str, fit: bool, verbose: bool) -> tuple[str, ...]:
    """Return the options that a submitted run gets too."""
    mirror = () if wandb_mode == "off" else ("--wandb", wandb_mode)
    return (*mirror, *(() if fit else ("--no-fit",)), *(("--verbose",) if verbose else ()))
