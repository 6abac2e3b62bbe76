"""`scaling-sweep tasks`: what a sweep file may name."""

import click


@click.command("tasks")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(as_json: bool) -> None:
    """List tasks, optimizers and methods.

    \b
    Example:
      scaling-sweep tasks
    """
    import json

    from scaling_sweep.listing import list_names

    sections = list_names()
    if as_json:
        plain = {
            section.title: {e.name: e.description for e in section.entries} for section in sections
        }
        click.echo(json.dumps(plain, indent=2))
        return
    for section in sections:
        click.secho(section.title, bold=True)
        width = max(len(entry.name) for entry in section.entries)
        for entry in section.entries:
            click.echo(f"  {entry.name:<{width}}  {entry.description}")
        click.echo()
    click.echo("Your own task is written package.module:attribute; see docs/own_task.md.")
