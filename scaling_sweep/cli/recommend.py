"""`scaling-sweep recommend`: a learning rate, or a damping, for a batch size."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import CRITERION, MAPPING, PLACE

if TYPE_CHECKING:
    from analysis.criteria import Criterion
    from scaling_sweep.opening import LossName


@click.command("recommend")
@click.argument("results", type=PLACE)
@click.option(
    "--batch-size", "-b", type=click.IntRange(min=1), required=True, help="Examples per step."
)
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    help="Learning rate to train at, where the damping was searched.",
)
@click.option("--optimizer", "-o", help="Which optimizer, where the table has several.")
@click.option(
    "--safety",
    type=click.FloatRange(0, 1, min_open=True),
    default=None,
    help="Share of the largest stable lr to train at, or what the smallest stable damping is "
    "divided by; default 0.5.",
)
@click.option("--map", "rename", type=MAPPING, multiple=True, help="As for fit.")
@click.option("--criterion", type=CRITERION, help="As for fit.")
@click.option(
    "--loss",
    type=click.Choice(["final", "validation"]),
    default="final",
    show_default=True,
    help="As for fit.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@plain_errors
def command(
    results: Path,
    batch_size: int,
    lr: float | None,
    optimizer: str | None,
    safety: float | None,
    rename: tuple[tuple[str, str], ...],
    criterion: "Criterion | None",
    loss: "LossName",
    as_json: bool,
) -> None:
    """Recommend a learning rate for a batch size from measured edges.

    Where the damping was searched, recommend a damping for a batch size and a learning rate.
    Where no law could be fitted, nothing is recommended and the exit status is 1.

    \b
    Examples:
      scaling-sweep recommend runs/digits/results.parquet --batch-size 2048 --optimizer adam
      scaling-sweep recommend runs/digits_damping/results.parquet --batch-size 64 --lr 0.1
    """
    import dataclasses
    import json

    from analysis.forecasting.learning_rate import SAFETY, recommend
    from scaling_sweep.opening import open_study

    fit = open_study(results, rename=dict(rename), criterion=criterion, loss=loss).fit
    advice = recommend(fit, batch_size, optimizer, SAFETY if safety is None else safety, lr)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(advice), indent=2))
    else:
        from scaling_sweep.cli.console import plain_console
        from scaling_sweep.cli.showing import show_recommendation

        show_recommendation(advice, plain_console())
    if advice.refused:
        raise SystemExit(1)
