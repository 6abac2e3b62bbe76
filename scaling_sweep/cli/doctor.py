"""`scaling-sweep doctor`: is everything there that a run needs?"""

from pathlib import Path

import click

from scaling_sweep.cli.errors import plain_errors


@click.command("doctor")
@click.option("--cluster", help="Where runs shall go, as for run; also looks whether it answers.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="runs", help="Where run folders go."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@plain_errors
def command(cluster: str | None, out: Path, as_json: bool) -> None:
    """Look whether everything is there that a run needs, and say what to mend.

    Each line is ok, a note or a problem; with a problem the exit status is 1. Nothing is started
    or submitted, and no token or key is shown.

    \b
    Example:
      scaling-sweep doctor --cluster slurm
    """
    import dataclasses
    import json
    from itertools import chain

    from scaling_sweep.clusters.checks import Health, examine
    from scaling_sweep.clusters.site_checks import examine_cluster

    findings = []
    for finding in chain(examine(out), examine_cluster(cluster) if cluster else ()):
        findings.append(finding)
        if not as_json:
            mend = f" → {finding.mend}" if finding.mend else ""
            click.echo(f"{finding.health:8} {finding.name}: {finding.text}{mend}")
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    if any(finding.health is Health.PROBLEM for finding in findings):
        raise SystemExit(1)
