"""`scaling-sweep fit`: laws and exponents from a table of trials."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import CRITERION, MAPPING, PLACE

if TYPE_CHECKING:
    from analysis.criteria import Criterion
    from scaling_sweep.opening import LossName


@click.command("fit")
@click.argument("results", type=PLACE)
@click.option("--out", type=PLACE, help="Folder to write to; default: beside the table.")
@click.option(
    "--map",
    "rename",
    type=MAPPING,
    multiple=True,
    help="OURS=THEIRS: what a column is called in the table, as in lr=learning_rate.",
)
@click.option(
    "--criterion",
    type=CRITERION,
    help="Judge the trials anew: final:0.5, peak:2, finite, final:2:start.",
)
@click.option(
    "--loss",
    type=click.Choice(["final", "validation"]),
    default="final",
    show_default=True,
    help="Which loss the best learning rate makes low; validation is that of held-out data.",
)
@click.option(
    "--figures",
    type=click.Choice(["png", "svg"]),
    multiple=True,
    help="Save the report's figures in this format too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print fit.json instead of the tables.")
@plain_errors
def command(
    results: Path,
    out: Path | None,
    rename: tuple[tuple[str, str], ...],
    criterion: "Criterion | None",
    loss: "LossName",
    figures: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fit laws to a table of trials and hold the exponents against theory.

    RESULTS is a run folder, or a parquet or CSV file with batch size, lr and an outcome for each
    trial. Writes
    fit.json and report.html beside it.

    \b
    Examples:
      scaling-sweep fit runs/digits/results.parquet
      scaling-sweep fit runs/char_gpt --loss validation
      scaling-sweep fit mine.csv --map lr=learning_rate --map batch_size=bs
    """
    from scaling_sweep.opening import open_study

    study = open_study(results, rename=dict(rename), criterion=criterion, loss=loss)
    report = study.save(out, figures)
    fit_json = report.with_name("fit.json")
    if as_json:
        click.echo(fit_json.read_text(), nl=False)
        return
    from scaling_sweep.cli.console import plain_console
    from scaling_sweep.cli.showing import show_fit
    from scaling_sweep.cli.showing_theory import show_theory

    console = plain_console()
    show_fit(study.fit, console)
    if study.curvature is not None:
        show_theory(study.fit, study.curvature, console)
    console.print(f"Written: {fit_json} and {report}", soft_wrap=True, markup=False)
