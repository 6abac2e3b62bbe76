"""`scaling-sweep predict`: what theory makes of measured curvature."""

from pathlib import Path

import click

from scaling_sweep.cli.errors import plain_errors
from scaling_sweep.cli.options import PLACE


@click.command("predict")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=PLACE,
    help="Run folder that holds the measurement; default: runs/<name>.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@plain_errors
def command(sweep: Path, out: Path | None, as_json: bool) -> None:
    """Measure curvature and say what theory makes of it, without training trials.

    Measures the points that the file's section `curvature` names, or its defaults, on this
    machine without Ray, and keeps them in curvature.parquet in the run folder; what is there is
    not measured again. `fit` then holds every theory against the measured edge.

    \b
    Example:
      scaling-sweep predict sweeps/digits.yaml
    """
    import json

    from rich.console import Console

    from scaling_sweep.cli.console import plain_console
    from scaling_sweep.cli.predictions import prediction_json, show_prediction
    from scaling_sweep.predicting import predict_sweep
    from scaling_sweep.spec import load_sweep

    status = Console(stderr=True, highlight=False)
    with status.status("looking at the task") as line:
        found = predict_sweep(
            load_sweep(sweep),
            out,
            lambda job, place, num: line.update(
                f"measuring curvature, {place + 1} of {num}: step {job.step}, seed {job.seed}"
            ),
        )
    if as_json:
        click.echo(json.dumps(prediction_json(found), indent=2, allow_nan=False))
        return
    show_prediction(found, plain_console())
