"""The commands as functions: load, plan, run, fit, predict and recommend from Python.

Every function is also an attribute of the package, as in ``scaling_sweep.fit``. Nothing heavy is
imported before it is needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from analysis.files.places import find_place
from scaling_sweep.spec import LoadedSweep, parse_sweep
from scaling_sweep.spec import load_sweep as _load_file

if TYPE_CHECKING:
    import pandas as pd

    from analysis.criteria import Criterion
    from analysis.forecasting.learning_rate import DampingRecommendation, Recommendation
    from scaling_sweep.opening import LossName
    from scaling_sweep.predicting import SweepPrediction
    from scaling_sweep.previewing import Preview
    from scaling_sweep.running import RunOutcome
    from scaling_sweep.study import Study

__all__ = ["fit", "load_sweep", "plan", "predict", "recommend", "run"]


def load_sweep(source: "Path | str | Mapping[str, Any] | LoadedSweep") -> LoadedSweep:
    """Read and check a sweep.

    Args:
        source: A sweep file's path, or what would stand in the file as nested dicts and lists.

    Returns:
        The sweep; what is asked is its ``spec``.

    Raises:
        UserError: If it cannot be meant; one line that says what to write instead.

    Example:
        >>> sweep = load_sweep({
        ...     "name": "tiny", "task": "digits_mlp", "seeds": 2, "horizon": {"steps": 30},
        ...     "parameters": {"optimizer": {"values": ["sgd"]},
        ...                    "batch_size": {"min": 1, "max": 64, "per_octave": 1},
        ...                    "lr": {"min": 0.01, "max": 1, "per_octave": 2}}})
        >>> sweep.spec.batch_sizes
        (1, 2, 4, 8, 16, 32, 64)
    """
    if isinstance(source, LoadedSweep):
        return source
    if isinstance(source, Mapping):
        import yaml

        text = yaml.safe_dump(dict(source), sort_keys=False)
        return parse_sweep(text, f"{source.get('name', 'sweep')}.yaml")
    return _load_file(source)


def plan(
    sweep: "Path | str | Mapping[str, Any] | LoadedSweep",
    out: Path | str | None = None,
    *,
    workers: int | None = None,
) -> "Preview":
    """Say what a sweep would run and cost, from a probe of a few steps; run nothing.

    Args:
        sweep: As for ``load_sweep``.
        out: Run folder whose finished trials need not run again; ``runs/<name>`` unless given.
        workers: Packs at a time; by this machine's cores unless given.

    Returns:
        Counts, examples and an estimate of the time.
    """
    from scaling_sweep.previewing import preview

    return preview(load_sweep(sweep), _path(out), workers)


def run(
    sweep: "Path | str | Mapping[str, Any] | LoadedSweep",
    out: Path | str | None = None,
    *,
    cluster: str = "local",
    wandb: Literal["off", "offline", "online"] = "off",
    progress: bool = True,
) -> "RunOutcome":
    """Train what a sweep asks for and its folder does not have yet.

    The same call resumes what was interrupted; a sweep with more in it extends it.

    Args:
        sweep: As for ``load_sweep``.
        out: Run folder; ``runs/<name>`` unless given.
        cluster: ``local``, ``auto``, or the address of a running Ray, as for ``--cluster``.
        wandb: Whether to mirror the run to Weights & Biases.
        progress: Whether to print how it goes.

    Returns:
        The run folder and its rows, one per trial; ``fit`` takes it as it is.

    Raises:
        UserError: If the sweep, the task, the folder or the cluster has a fault, or the cluster
            takes whole runs, which the command line submits.
    """
    from rich.console import Console

    from scaling_sweep.clusters import Site, find_cluster
    from scaling_sweep.display import SilentDisplay, TerminalDisplay
    from scaling_sweep.errors import UserError
    from scaling_sweep.running import default_folder, run_sweep
    from scaling_sweep.tracking import open_tracker

    loaded, console = load_sweep(sweep), Console(highlight=False)
    if isinstance(find_cluster(cluster), Site):
        raise UserError(
            f"{cluster} takes whole runs; submit one with `scaling-sweep run … --cluster "
            f"{cluster}`, and read what it leaves with scaling_sweep.fit(its run folder)"
        )
    folder = _path(out) or default_folder(loaded.spec)
    silent = SilentDisplay()
    say = console.print if progress else silent.on_warning
    with open_tracker(wandb, loaded.spec, folder, loaded.text, say) as tracker:
        if not progress:
            return run_sweep(loaded, folder, cluster, silent, tracker=tracker)
        is_search = loaded.spec.bisection is not None
        with TerminalDisplay(console, loaded.spec.name, is_search) as display:
            return run_sweep(loaded, folder, cluster, display, tracker=tracker)


def fit(
    source: "RunOutcome | Path | str | pd.DataFrame",
    *,
    rename: Mapping[str, str] | None = None,
    criterion: "Criterion | str | None" = None,
    predicted: Mapping[str, float | None] | None = None,
    margin: float | None = None,
    loss: "LossName" = "final",
) -> "Study":
    """Fit laws to a table of trials and hold the exponents against theory.

    Args:
        source: What ``run`` returned, a run folder, a parquet or CSV file, or a table in memory
            with ``batch_size``, ``lr`` and an outcome.
        rename: Our column names to the table's, as in ``{"lr": "learning_rate"}``.
        criterion: Judge the trials anew, as in ``"final:0.5"``.
        predicted: Exponents to check against, by optimizer.
        margin: Half-width of the region around a prediction that counts as equal to it.
        loss: Which loss the best learning rate makes low: ``final``, or ``validation`` where the
            task holds data out.

    Returns:
        The study: its text says what was found, ``save`` writes fit.json and the report.

    Raises:
        UserError: If the criterion cannot be read or the table lacks that loss; an
            `AnalysisError` says what is wrong with a table.
    """
    from scaling_sweep.opening import open_study
    from scaling_sweep.running import RunOutcome

    if isinstance(source, RunOutcome):
        source = source.folder.results
    return open_study(
        source, rename=rename, criterion=criterion, predicted=predicted, margin=margin, loss=loss
    )


def predict(
    sweep: "Path | str | Mapping[str, Any] | LoadedSweep", out: Path | str | None = None
) -> "SweepPrediction":
    """Measure curvature and say what theory makes of it, without training trials.

    Args:
        sweep: As for ``load_sweep``.
        out: Run folder that keeps the measurement; ``runs/<name>`` unless given.

    Returns:
        What each theory says of LR_max(B), by optimizer and point.
    """
    from scaling_sweep.predicting import predict_sweep

    return predict_sweep(load_sweep(sweep), _path(out))


def recommend(
    source: "RunOutcome | Path | str | pd.DataFrame",
    batch_size: int,
    optimizer: str | None = None,
    *,
    safety: float = 0.5,
    lr: float | None = None,
    loss: "LossName" = "final",
) -> "Recommendation | DampingRecommendation":
    """Recommend a learning rate for a batch size, or a damping where that was searched.

    Args:
        source: As for ``fit``.
        batch_size: Examples per step; need not have been measured.
        optimizer: Which, where the table has several.
        safety: Share of the largest stable learning rate, in (0, 1].
        lr: The learning rate to train at, where the damping was searched.
        loss: As for ``fit``.

    Returns:
        The learning rate or damping, its interval and what to know about it; or why there is none.
    """
    return fit(source, loss=loss).recommend(batch_size, optimizer, safety=safety, lr=lr)


def _path(out: Path | str | None) -> Path | None:
    return None if out is None else find_place(out)
